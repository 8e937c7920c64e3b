"""chatd and its peers side by side: medians, ratios, and what was wanted."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.scenarios import RATE

NAME_WIDTH = 48
PEERS = ("node", "python")

Figures = dict[str, dict[str, list[float]]]  # by name of the figure, then of the server: rounds


@dataclass(frozen=True)
class Wanted:
    """What chatd : node should be; `is_least` for figures where more is better."""

    ratio: float
    is_least: bool = False

    def is_met(self, ratio: float) -> bool:
        """Tell whether a ratio is good enough."""
        return ratio >= self.ratio if self.is_least else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.ratio:g}"


WANTED = {
    "deliveries per CPU second, window 1": Wanted(1.5, is_least=True),
    "deliveries per CPU second, window 16": Wanted(3, is_least=True),
    "stored per CPU second, window 1": Wanted(2, is_least=True),
    "stored per CPU second, window 4": Wanted(2, is_least=True),
    f"ack p99, ms, {RATE:.0f}/s": Wanted(1),
    "idle connection, KiB": Wanted(1),
    "connect, CPU µs": Wanted(1),
    "history page of 50, CPU µs": Wanted(1.5),
}


def ratio(rounds: Mapping[str, Sequence[float]], peer: str) -> float | None:
    """Return chatd's median over a peer's, where both were measured."""
    if "chatd" not in rounds or peer not in rounds:
        return None
    below = statistics.median(rounds[peer])
    return statistics.median(rounds["chatd"]) / below if below else None


def heading(servers: Sequence[str]) -> str:
    """Return the head of the table."""
    columns = "".join(f"{server:>27}" for server in servers)
    ratios = "".join(f"{': ' + peer:>10}" for peer in PEERS)
    return f"{'median (smallest - largest)':<{NAME_WIDTH}}{columns}{ratios}   wanted of node"


def line(name: str, rounds: Mapping[str, Sequence[float]], servers: Sequence[str]) -> str:
    """Return one line of the table."""
    columns = "".join(f"{_cell(rounds[server]):>27}" for server in servers)
    found = [ratio(rounds, peer) for peer in PEERS]
    ratios = "".join(f"{'-' if one is None else format(one, '.2f'):>10}" for one in found)
    wanted = WANTED.get(name)
    if wanted is None:
        return f"{name:<{NAME_WIDTH}}{columns}{ratios}"
    verdict = "" if found[0] is None else "  met" if wanted.is_met(found[0]) else "  MISSED"
    return f"{name:<{NAME_WIDTH}}{columns}{ratios}   {wanted}{verdict}"


def write_json(path: Path, figures: Figures) -> None:
    """Write every round, and on what it was measured."""
    content = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "loadAverage": os.getloadavg(),  # others on the machine make every figure worse
        "figures": [
            {
                "name": name.strip(),
                "servers": {
                    server: {"median": statistics.median(values), "rounds": values}
                    for server, values in rounds.items()
                },
                "ratios": {peer: ratio(rounds, peer) for peer in PEERS},
            }
            for name, rounds in figures.items()
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _cell(values: Sequence[float]) -> str:
    median = _number(statistics.median(values))
    return f"{median} ({_number(min(values))} - {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
