"""The figures as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.plan import Figure

WIDTH = 46
COMPARED = (
    ("delivery, window 1", "floor, window 1"),
    ("delivery, window 32", "floor, window 32"),
    ("delivery, window 32", "floor, 32 in one write"),
    ("login refused, unknown address", "login refused, known address"),
    ("ack p50 at 50 messages/s, 200 logins/s", "ack p50 at 50 messages/s"),
    ("ack p99 at 50 messages/s, 200 logins/s", "ack p99 at 50 messages/s"),
    ("ack p50 at 50 messages/s, 200 logins/s", "ack p50 at 50 messages/s, 200 logins/s elsewhere"),
    ("ack p99 at 50 messages/s, 200 logins/s", "ack p99 at 50 messages/s, 200 logins/s elsewhere"),
)


def line(figure: Figure) -> str:
    """Return one line of the table: median, then smallest and largest round."""
    low, high = min(figure.values), max(figure.values)
    spread = f"{_number(low)} - {_number(high)}"
    return (
        f"{figure.name:<{WIDTH}} {_number(figure.median):>10} {figure.unit:<7} "
        f"{spread:>21}   {len(figure.values)} rounds"
    )


def ratios(figures: Sequence[Figure]) -> dict[str, float]:
    """Return delivery over each floor, where the run has both."""
    medians = {figure.name: figure.median for figure in figures}
    return {
        f"{measured} / {below}": medians[measured] / medians[below]
        for measured, below in COMPARED
        if measured in medians and below in medians
    }


def ratio_line(name: str, value: float) -> str:
    """Return one line of the table for a ratio."""
    return f"{name:<{WIDTH}} {value:>10.2f} x"


def write_json(path: Path, figures: Sequence[Figure], *, wire: str, frame_bytes: int) -> None:
    """Write everything that was measured, and on what."""
    content = {
        "wire": wire,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "loadAverage": os.getloadavg(),  # others on the machine make every figure worse
        "frameBytes": frame_bytes,
        "figures": [
            {
                "name": figure.name.strip(),
                "unit": figure.unit,
                "median": figure.median,
                "min": min(figure.values),
                "max": max(figure.values),
                "rounds": figure.values,
            }
            for figure in figures
        ],
        "ratios": ratios(figures),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
