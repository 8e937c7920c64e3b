"""Two streams, spliced: what one says the other hears, until both have ended."""

from __future__ import annotations

import trio

READ_BYTES = 65_536  # of each direction are in memory at most
HALF_OPEN = 5.0  # seconds for the other direction to end too: a goodbye takes two


async def splice(near: trio.abc.Stream, far: trio.abc.Stream, write_timeout: float) -> None:
    """Carry bytes both ways; return when both have ended or one broke. The caller closes them.

    Args:
        write_timeout: seconds for what was read to leave; a side that reads slower ends both.
    """
    with trio.CancelScope() as both:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, near, far, write_timeout, both)
            nursery.start_soon(_pump, far, near, write_timeout, both)


async def _pump(
    source: trio.abc.Stream,
    sink: trio.abc.Stream,
    write_timeout: float,
    both: trio.CancelScope,
) -> None:
    try:
        while data := await source.receive_some(READ_BYTES):
            with trio.fail_after(write_timeout):
                await sink.send_all(data)
        if isinstance(sink, trio.abc.HalfCloseableStream):
            await sink.send_eof()
            both.deadline = min(both.deadline, trio.current_time() + HALF_OPEN)
            return
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        pass  # an end like another
    both.cancel(reason="one side has ended")
