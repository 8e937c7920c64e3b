"""What systemd is told: that the daemon serves, that it stops, and that its loop still runs.

The protocol is one datagram of `NAME=value` lines to the socket in `NOTIFY_SOCKET` (sd_notify(3)).
Without that variable, as in a terminal or a container, nothing is sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import structlog
import trio

NOTIFY_TIMEOUT = 2.0  # seconds for systemd to take a line; it reads at once or is in trouble itself
STATUS_INTERVAL = 10.0  # seconds between two lines when there is no watchdog

log = structlog.get_logger("chatd.systemd")


async def tell_systemd(
    connections: Callable[[], int], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Say READY=1, report as started, then say WATCHDOG=1 and STATUS until cancelled.

    The lines come from a task of the loop that serves: one that is stuck sends none, and systemd
    ends and restarts the daemon after `WatchdogSec`. A drain is no reason to end it.

    Args:
        connections: returns how many are open, for STATUS.
    """
    await notify("READY=1")
    task_status.started()
    while "NOTIFY_SOCKET" in os.environ:
        await notify("WATCHDOG=1", f"STATUS={connections()} connections")
        await trio.sleep(watchdog_interval() or STATUS_INTERVAL)


def watchdog_interval() -> float | None:
    """Return half of the time after which systemd takes us for dead, in seconds; None without one.

    A watchdog that is meant for another process, as a parent of this one, is not ours to feed.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdecimal() and int(microseconds) else None


def reloading() -> str:
    """Return the line that begins a reload; READY=1 ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


async def notify(*lines: str) -> None:
    """Send systemd one datagram of lines, if there is a systemd. A failure is logged only.

    It takes at most `NOTIFY_TIMEOUT`: a supervisor that does not listen stops no chat.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # a name without a file, unix(7)
        address = f"\0{address[1:]}"
    try:
        with trio.fail_after(NOTIFY_TIMEOUT):
            with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as channel:
                await channel.sendto("\n".join(lines).encode(), address)
    except (OSError, trio.TooSlowError) as trouble:
        log.warning("systemd_not_told", line=lines[0], reason=str(trouble) or "it does not read")
