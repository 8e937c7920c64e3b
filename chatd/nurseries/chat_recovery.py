"""What a chat client's recovery needs: where it stands in each session, and what it was sent.

The offset in each durable event is the session and the `seq`, the same for all who get it. Events
of many sessions interleave on one connection in an order that only that connection knows: its
trail. From one returned offset the trail gives the position in every session, and what is above
comes from the store, so that nothing has to be kept of the events themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from chatd.nurseries.seat import Run, Trail

MAX_OFFSET = 64  # characters: a UUID, a colon, a bigint


def offset_of(session_id: UUID | None, seq: int) -> str:
    """Return the offset of an event; without a session that of a `connection:ready`."""
    return f"{0 if session_id is None else _text_of(session_id.int)}:{seq}"


@lru_cache(maxsize=4096)
def _text_of(number: int) -> str:
    """Return a UUID's text, which takes Python 0.6 µs: every event of a session has it."""
    return str(UUID(int=number))


def clean_offset(offset: object) -> str | None:
    """Return an offset as a client shows it, None for what is none of ours."""
    return offset if isinstance(offset, str) and _parse_offset(offset) is not None else None


def is_in(trail: Trail, offset: object) -> bool:
    """Return whether an event with this offset was sent here."""
    at = _parse_offset(offset)
    return at is not None and any(_holds(run, at) for run in trail)


def _holds(run: Run, at: tuple[UUID | None, int]) -> bool:
    return run.session_id == at[0] and run.first <= at[1] <= run.last


def _parse_offset(offset: object) -> tuple[UUID | None, int] | None:
    if not isinstance(offset, str):
        return None
    if len(offset) > MAX_OFFSET:
        return None
    session, _, number = offset.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < 20):  # noqa: PLR2004 - a bigint
        return None
    try:
        return (None if session == "0" else UUID(session)), int(number)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ChatState:
    """A chat connection that went, or is to be replaced.

    `positions` is up to where it was sent each session that it had joined; `trail` the order of
    that; `origin` the offset that its client had when the connection began.
    """

    socket_id: str
    epoch: UUID
    positions: Mapping[UUID, int]
    trail: Trail
    origin: str | None

    def positions_at(self, offset: str | None) -> dict[UUID, int] | None:
        """Return where a client stands whose last durable event had this offset.

        None when that cannot be told: the offset is not of this connection, or too old.
        """
        at = _parse_offset(offset)
        positions = dict(self.positions)
        for run in reversed(self.trail):
            if at is not None and _holds(run, at):
                if run.session_id in positions:
                    positions[run.session_id] = at[1]
                return positions
            if run.session_id in positions:
                positions[run.session_id] = run.first - 1
        # It got nothing from this connection, if the trail still reaches back to its beginning.
        return positions if self.trail.is_whole and offset == self.origin else None

    def gone_at(self, offset: str | None) -> set[UUID]:
        """Return the sessions that this client may believe to be in, though its place is gone."""
        at = _parse_offset(offset)
        gone: set[UUID] = set()
        for run in reversed(self.trail):
            if run.session_id is not None and run.session_id not in self.positions:
                gone.add(run.session_id)
            if at is not None and _holds(run, at):
                break
        return gone

    def to_json(self) -> bytes:
        """Return it for the store."""
        # Sessions that it has left stand in the trail too: its offset may be of one of them.
        known = dict.fromkeys([*self.positions, *(run.session_id for run in self.trail)])
        indexes = {session_id: index for index, session_id in enumerate(known)}
        trail: list[list[int]] = []
        for run in self.trail:
            index = indexes[run.session_id]
            if trail and trail[-1][0] == index and trail[-1][2] + 1 == run.first:
                trail[-1][2] = run.last
            else:
                trail.append([index, run.first, run.last])
        return orjson.dumps(
            {
                "socketId": self.socket_id,
                "epoch": self.epoch,
                "sessions": list(known),
                "positions": [
                    None if session_id is None else self.positions.get(session_id)
                    for session_id in known
                ],
                "trail": trail,
                "isWhole": self.trail.is_whole,
                "origin": self.origin,
            }
        )


def state_from_json(raw: bytes) -> ChatState:
    """Return what `ChatState.to_json` wrote."""
    value: dict[str, Any] = orjson.loads(raw)
    sessions = [None if session is None else UUID(session) for session in value["sessions"]]
    runs = [Run(sessions[index], first, last) for index, first, last in value["trail"]]
    trail = Trail(runs, is_whole=value["isWhole"])
    positions = {
        session_id: seq
        for session_id, seq in zip(sessions, value["positions"], strict=True)
        if session_id is not None and seq is not None
    }
    return ChatState(value["socketId"], UUID(value["epoch"]), positions, trail, value["origin"])
