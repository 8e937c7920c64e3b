"""Events of one session on their way to its members: encoded once a wire, given to each.

The innermost loop of the daemon: what stands in it is paid for each delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chatd.context import RoomEvent
from chatd.nurseries.seat import TRAIL, Receiver, Run, Sink, Wire
from chatd.nurseries.volley import Volley


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

    def encode(self, members: Sequence[Receiver]) -> None:
        """Encode it for the wires of these members.

        What cannot be encoded raises here, before anybody counts as told.
        """
        wire = None
        for member in members:
            if member.wire is not wire:
                wire = member.wire
                self._encoded(wire)

    def give(self, members: Sequence[Receiver], volley: Volley) -> int:
        """Add it for these members, for whom it was encoded, to a volley.

        Return the number of deliveries.
        """
        run, wire = self._run, None
        outboxes: list[Sink] = []
        of_wires: dict[Wire, list[Sink]] = {}
        for member in members:
            if member.wire is not wire:
                wire = member.wire
                outboxes = of_wires.setdefault(wire, [])
            trail = member.trail
            if trail is not None:
                trail.append(run)
                if len(trail) > TRAIL:
                    trail.trim()
            outboxes.append(member.outbox)
        count = len(self._events)
        for each, outboxes in of_wires.items():
            volley.add(outboxes, self._encoded(each), count)
        return len(members) * count

    def _encoded(self, wire: Wire) -> bytes:
        data = self._frames.get(wire)
        if data is None:
            data = self._frames[wire] = b"".join([wire.durable(event) for event in self._events])
        return data
