"""Events of one session on their way to its members: encoded once a wire, given to each.

The innermost loop of the daemon: what stands in it is paid for each delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from chatd.context import RoomEvent
from chatd.nurseries.seat import TRAIL, Receiver, Run, Sink, Trail, Wire
from chatd.nurseries.volley import Volley


class Group(NamedTuple):
    """Members of one wire: where their frames go, and what remembers the order."""

    wire: Wire
    outboxes: list[Sink]
    trails: list[Trail]


def grouped(members: Iterable[Receiver]) -> list[Group]:
    """Return members by their wires of now."""
    of_wires: dict[Wire, Group] = {}
    for member in members:
        group = of_wires.get(member.wire)
        if group is None:
            group = of_wires[member.wire] = Group(member.wire, [], [])
        group.outboxes.append(member.outbox)
        if member.trail is not None:
            group.trails.append(member.trail)
    return list(of_wires.values())


class Piece:
    """Some events that leave as one byte string."""

    __slots__ = ("_events", "_frames", "_run")

    def __init__(self, session_id: UUID, events: Sequence[RoomEvent]) -> None:
        self._events = events
        self._frames: dict[Wire, bytes] = {}
        self._run = Run(session_id, events[0].seq, events[-1].seq)

    @property
    def first(self) -> int:
        """The `seq` of the first event."""
        return self._run.first

    @property
    def count(self) -> int:
        """How many events these are."""
        return len(self._events)

    def encode(self, groups: Iterable[Group]) -> None:
        """Encode it for the wires of these members.

        What cannot be encoded raises here, before anybody counts as told.
        """
        for group in groups:
            self._encoded(group.wire)

    def give(self, groups: Iterable[Group], volley: Volley) -> None:
        """Add it for these members, for whom it was encoded, to a volley."""
        run, count = self._run, self.count
        for wire, outboxes, trails in groups:
            for trail in trails:
                trail.append(run)
                if len(trail) > TRAIL:
                    trail.trim()
            volley.add(outboxes, self._encoded(wire), count)

    def _encoded(self, wire: Wire) -> bytes:
        data = self._frames.get(wire)
        if data is None:
            data = self._frames[wire] = b"".join([wire.durable(event) for event in self._events])
        return data
