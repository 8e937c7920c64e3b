"""What a process has cost, from the operating system's books. Linux only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
NANO = 1e9


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a process alone, and of all its descendants, also ended ones, together."""

    own: float
    children: float

    def __sub__(self, earlier: Cost) -> Cost:
        return Cost(self.own - earlier.own, self.children - earlier.children)


@dataclass(frozen=True)
class ThreadTime:
    """Seconds that a thread has run, and has waited for a core although it could."""

    ran: float
    waited: float

    def __sub__(self, earlier: ThreadTime) -> ThreadTime:
        return ThreadTime(self.ran - earlier.ran, self.waited - earlier.waited)


def cost(pid: int) -> Cost:
    """Return what a process and its descendants have cost so far."""
    below = sum(_family_seconds(child) for child in descendants(pid))
    return Cost(cpu_seconds(pid), below + _buried_seconds(pid))


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, all its threads, in seconds.

    The process's CPU clock (clock_getcpuclockid(3)) is what utime + stime are made of, in
    nanoseconds instead of ticks of 10 ms.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # a kernel or a sandbox without foreign CPU clocks
        return stat_seconds(pid)


def main_thread_time(pid: int) -> ThreadTime:
    """Return the time of a process's first thread: of the daemon's that is the event loop."""
    ran, waited, _ = (PROC / str(pid) / "task" / str(pid) / "schedstat").read_text().split()
    return ThreadTime(int(ran) / NANO, int(waited) / NANO)


def stat_seconds(pid: int) -> float:
    """Return utime + stime of /proc/<pid>/stat, in seconds."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def _family_seconds(pid: int) -> float:
    """Return what a descendant has cost, with the children that it has buried."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it ended since it was listed
        return cpu_seconds(pid) + _buried_seconds(pid)
    return 0.0


def _buried_seconds(pid: int) -> float:
    """Return cutime + cstime: a backend that ended is not forgotten."""
    return sum(int(field) for field in _stat(pid)[13:15]) / TICKS


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat behind the name, which may hold anything: proc(5)."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                yield int(entry.name), int(_stat(int(entry.name))[1])


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process alone, in KiB."""
    try:
        return _field(PROC / str(pid) / "smaps_rollup", "Rss:")
    except PermissionError:
        return _field(PROC / str(pid) / "status", "VmRSS:")


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise LookupError(f"no {name} in {path}")
