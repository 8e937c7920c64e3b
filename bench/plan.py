"""What a run is made of: how much of everything, on which server, and what comes out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.daemon import Server
from bench.swarm import Swarm
from bench.wires import Wire

FRAME_BYTES = 480  # of a delivery of `scenarios.CONTENT`; the delivery scenario measures its own


@dataclass(frozen=True)
class Scale:
    """How much of everything: the full run and the smoke run differ in nothing else."""

    rounds: int = 7
    seconds: float = 2.0  # of one round
    people: int = 50
    sockets_each: int = 10
    sessions: int = 50
    idle_step: int = 1000
    idle_steps: int = 5
    history_calls: int = 300
    floor_writes: int = 200_000
    search_messages: int = 1_000_000
    login_tries: int = 200
    flood_seconds: float = 10.0
    flood_rounds: int = 3
    upload_bytes: int = 2**30
    upload_rounds: int = 3


QUICK = Scale(
    rounds=3, seconds=0.4, people=20, sessions=10, idle_step=150, idle_steps=3,
    history_calls=60, floor_writes=20_000, search_messages=10_000,
    login_tries=4, flood_seconds=1.0, flood_rounds=1,
    upload_bytes=2**24, upload_rounds=1,
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One number of the report, one value a round."""

    name: str
    unit: str
    values: list[float] = field(repr=False)

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)


def ratio(name: str, values: Sequence[float], beside: Sequence[float]) -> Figure:
    """Return what each round cost, over the one beside it."""
    return Figure(name, "x", [one / other for one, other in zip(values, beside, strict=True)])


@dataclass
class Bench:
    """What a scenario works with; `frame_bytes` is handed from `delivery` to `floor`."""

    scale: Scale
    make_wire: Callable[[], Wire]
    server: Server | None = None
    frame_bytes: int = FRAME_BYTES

    def swarm(self) -> Swarm:
        """Return an empty swarm on the server's wire."""
        return Swarm(self.make_wire(), self.daemon.address)

    @property
    def daemon(self) -> Server:
        """The server that is measured."""
        assert self.server is not None
        return self.server
