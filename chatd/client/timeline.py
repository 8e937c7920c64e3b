"""What a follower hands on, and how wire objects become that. Nothing here waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from chatd.client.errors import ClientError, JsonObject
from chatd.client.events import Event, Position

# `message:read` is not among them: its `seq` is a marker, not a change.
DURABLE_EVENTS = frozenset({
    "message:new", "message:updated", "message:deleted", "message:reaction",
    "message:pinned",
    "member:joined", "member:left", "member:updated", "session:updated", "session:removed",
})  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A durable change of a session; `is_replay` when it happened while we were away."""

    session_id: str
    seq: int
    event: str
    data: JsonObject
    is_replay: bool = False


@dataclass(frozen=True)
class Signal:
    """Something that was only true at its moment: typing, presence, an unread count."""

    event: str
    data: JsonObject


@dataclass(frozen=True)
class Connected:
    """There is a connection; `data` is that of `connection:ready`."""

    data: JsonObject


@dataclass(frozen=True)
class Disconnected:
    """There is no connection; the next try comes in `retry_in` seconds."""

    error: ClientError
    retry_in: float


@dataclass(frozen=True)
class Removed:
    """The user is no longer in the session."""

    session_id: str
    reason: str


@dataclass(frozen=True)
class Joined:
    """A session's stream began, or began again.

    When `is_first` or not `is_recovered`, `messages` is the newest page and replaces what was
    known. Else the `missed` changes follow as `Change`.
    """

    session_id: str
    position: Position
    is_first: bool
    is_recovered: bool
    data: JsonObject
    messages: list[JsonObject] = field(default_factory=list)
    missed: int = 0

    @classmethod
    def first(cls, answer: JsonObject) -> Self:
        """Read the answer to a join without `since`."""
        return cls(
            session_id=str(answer.get("sessionId", "")),
            position=_position(answer),
            is_first=True,
            is_recovered=False,
            data=answer,
            messages=_messages(answer),
        )


Item = Change | Signal | Connected | Disconnected | Removed | Joined


def change_of(event: Event) -> Change | None:
    """Return the durable change that an event is, or None for what is only a signal.

    `session:removed` need not carry a `seq`: whoever was removed sees no later ones. Anything
    else without one has no place in the order.
    """
    session_id, seq = event.data.get("sessionId"), _seq_of(event.data)
    if event.name not in DURABLE_EVENTS or not isinstance(session_id, str):
        return None
    if seq == 0 and event.name != "session:removed":
        return None
    return Change(session_id, seq, event.name, event.data)


def told_positions(event: Event) -> dict[str, int]:
    """Return how far the server has sent each session, as a `session:heartbeat` says."""
    positions = event.data.get("positions")
    if not isinstance(positions, dict):
        return {}
    return {key: seq for key, seq in positions.items() if isinstance(seq, int)}


def replay(answer: JsonObject, since: Position | None) -> tuple[Joined, list[Change]]:
    """Return the notice and the changes that the answer to a join with `since` comes to."""
    first = Joined.first(answer)
    if since is None:
        return first, []
    if not answer.get("recovered"):
        notice = Joined(
            first.session_id, first.position, is_first=False, is_recovered=False,
            data=answer, messages=first.messages,
        )  # fmt: skip
        return notice, []
    changes = [
        Change(first.session_id, _seq_of(row), _event_of(row, since.seq), row, is_replay=True)
        for row in sorted(first.messages, key=_seq_of)
        if _seq_of(row) > since.seq
    ]
    notice = Joined(
        first.session_id, first.position, is_first=False, is_recovered=True,
        data=answer, missed=len(changes),
    )  # fmt: skip
    return notice, changes


def _position(answer: JsonObject) -> Position:
    seq = answer.get("seq")
    if not isinstance(seq, int):
        raise ClientError("bad_answer", "session:join was answered without a seq")
    return Position(str(answer.get("epoch", "")), seq)


def _messages(answer: JsonObject) -> list[JsonObject]:
    return [message for message in answer.get("messages") or [] if isinstance(message, dict)]


def _seq_of(data: JsonObject) -> int:
    """Return the `seq` of a row's last change: an edited message keeps its own, lower one."""
    seq = data.get("changedSeq", data.get("seq"))
    return seq if isinstance(seq, int) else 0


def _event_of(message: JsonObject, since: int) -> str:
    """Return the event that a replayed row stands for: new, if it was not there at `since`."""
    seq = message.get("seq")
    if isinstance(seq, int) and seq > since:
        return "message:new"
    return "message:deleted" if message.get("deletedAt") is not None else "message:updated"
