"""What a socket of an `EventNamespace` is recovered from: its events, kept for some time."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from chatd.wire import socketio

LOG = 512  # events of one socket that are kept for its return


@dataclass(slots=True)
class EventState:
    """What a client that comes back finds again; its socket adds to it, also while it is away."""

    socket_id: str
    data: dict[str, Any]
    origin: object  # the offset that the client had when it connected
    sent: deque[tuple[str, list[bytes]]] = field(default_factory=lambda: deque(maxlen=LOG))
    count: int = 0
    holder: object = None  # the one socket that adds: a later one takes its place

    def note(self, namespace: str, data: list[Any]) -> list[bytes]:
        """Keep an event and return its packets, the offset behind its arguments."""
        offset = f"{self.socket_id}:{self.count + 1}"
        packets: list[bytes] = list(socketio.encode(socketio.EVENT, namespace, [*data, offset]))
        self.count += 1
        self.sent.append((offset, packets))
        return packets

    def missed(self, offset: object) -> list[list[bytes]] | None:
        """Return the packets behind an offset; None when that cannot be told any more."""
        offsets = [known for known, _ in self.sent]
        if offset in offsets:
            start = offsets.index(str(offset)) + 1
        elif offset == self.origin and len(offsets) < LOG:
            start = 0
        else:
            return None
        return [packets for _, packets in itertools.islice(self.sent, start, None)]
