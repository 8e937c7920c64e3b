"""What a daemon hears in one read is told in its order, the events of all sessions at once."""

from __future__ import annotations

from typing import cast
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from chatd.context import RoomEvent
from chatd.metrics import Metrics
from chatd.nurseries.backplane import Backplane, Heard
from chatd.peers import TAG_CHARS
from chatd.wire.cluster import (
    CONTROL,
    EVENTS,
    Signer,
    WireEvent,
    pack_events,
)

KEYS = [b"k" * 32]
FIRST, SECOND = uuid4(), uuid4()


class Ear:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.is_broken = False

    def events(self, events: list[RoomEvent]) -> None:
        if self.is_broken:
            raise RuntimeError
        self.told.append([(event.session_id, event.seq) for event in events])

    def hear(self, sender: str, body: bytes) -> None:
        self.told.append((sender, body))

    def disconnected(self) -> None:
        self.told.append("disconnected")


class Desk:
    """A backplane, and another daemon that publishes."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.backplane = Backplane("chat", Signer(KEYS, "b" * TAG_CHARS), Metrics())
        self.backplane.heard_by = cast("Heard", self.ear)
        self.other = Signer(KEYS, "a" * TAG_CHARS)

    def events(self, session_id: UUID, *seqs: int) -> None:
        channel = b"chat:s:" + session_id.hex.encode()
        body = pack_events([WireEvent(seq, "message:new", b"{}", None, "") for seq in seqs])
        self.backplane.heard(channel, self.other.frame(channel, EVENTS, body))

    def control(self, body: bytes) -> None:
        self.backplane.heard(b"chat:control", self.other.frame(b"chat:control", CONTROL, body))


def test_the_events_of_one_read_are_told_at_once() -> None:
    desk = Desk()
    desk.events(FIRST, 1, 2)
    desk.events(SECOND, 7)
    desk.events(FIRST, 3)
    assert desk.ear.told == []
    desk.backplane.paused()
    desk.backplane.paused()
    assert desk.ear.told == [[(FIRST, 1), (FIRST, 2), (SECOND, 7), (FIRST, 3)]]


def test_what_is_no_event_is_told_behind_the_events_before_it() -> None:
    desk = Desk()
    desk.events(FIRST, 1)
    desk.control(b"one")
    desk.events(SECOND, 2)
    desk.backplane.paused()
    assert desk.ear.told == [[(FIRST, 1)], (desk.other.tag, b"one"), [(SECOND, 2)]]


def test_a_connection_that_is_lost_within_a_read_loses_nothing_of_it() -> None:
    desk = Desk()
    desk.events(FIRST, 1)
    desk.backplane.disconnected()
    assert desk.ear.told == [[(FIRST, 1)], "disconnected"]


@pytest.mark.parametrize("is_bad", [True, False], ids=["forged", "a bug"])
async def test_a_frame_that_is_no_good_ends_nothing(is_bad: bool) -> None:
    desk = Desk()
    with capture_logs() as logs:
        if is_bad:
            desk.backplane.heard(b"chat:control", b"forged")
        else:
            desk.ear.is_broken = True
            desk.events(FIRST, 1)
            desk.backplane.paused()
            desk.ear.is_broken = False
        desk.events(SECOND, 2)
        desk.backplane.paused()
    assert desk.ear.told == [[(SECOND, 2)]]
    assert [line["event"] for line in logs] == ["bad frame" if is_bad else "bug"]
