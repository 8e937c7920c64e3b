"""Events of one session on their way to its members: encoded once a wire, given to each.

The innermost loop of the daemon: what stands in it is paid for each delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chatd.context import RoomEvent
from chatd.nurseries.ring import DATA_BYTES, FEW, Ring
from chatd.nurseries.seat import TRAIL, Receiver, Run, Sink, Wire


class Piece:
    """Some events that leave as one byte string."""

    __slots__ = ("_events", "_frames", "_ring", "_run")

    def __init__(
        self, session_id: UUID, events: Sequence[RoomEvent], ring: Ring | None = None
    ) -> None:
        self._events = events
        self._frames: dict[Wire, bytes] = {}
        self._run = Run(session_id, events[0].seq, events[-1].seq)
        self._ring = ring

    @property
    def first(self) -> int:
        """The `seq` of the first event."""
        return self._run.first

    def give(self, members: Sequence[Receiver]) -> int:
        """Send it to these members; never waits. Return the number of deliveries."""
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
        for wire, outboxes in of_wires.items():
            self._push(outboxes, self._encoded(wire))
        return len(members) * len(self._events)

    def _push(self, outboxes: list[Sink], data: bytes) -> None:
        ring, count = self._ring, len(self._events)
        if ring is None or len(outboxes) <= FEW or len(data) > DATA_BYTES:
            for outbox in outboxes:
                outbox.push(data, count)
            return
        descriptors = [outbox.direct for outbox in outboxes]
        if min(descriptors) < 0:
            for outbox in outboxes:
                if outbox.direct < 0:
                    outbox.push(data, count)
            outboxes = [outbox for outbox in outboxes if outbox.direct >= 0]
            descriptors = [outbox.direct for outbox in outboxes]
        results = ring.send(descriptors, data)
        if results.count(len(data)) < len(outboxes):
            for outbox, result in zip(outboxes, results, strict=False):
                outbox.was_written(result, data, count)
            for outbox in outboxes[len(results) :]:  # the kernel was not asked
                outbox.push(data, count)

    def _encoded(self, wire: Wire) -> bytes:
        data = self._frames.get(wire)
        if data is None:
            data = self._frames[wire] = b"".join([wire.durable(event) for event in self._events])
        return data
