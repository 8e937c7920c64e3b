"""Answers of the assistant as server-sent events (https://html.spec.whatwg.org/#server-sent-events).

The id of an event is how far its reader has come, in UTF-16 units: who comes back shows it as
`Last-Event-ID`. The client's end ends its stream, and not the answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from chatd.contract.assistant import Answer
from chatd.handlers.operations import Streamed
from chatd.units import units_in

KEEP_ALIVE = 15.0  # seconds of silence: proxies cut after 60, and a client that is gone is found


def stream(pieces: AsyncGenerator[bytes, None]) -> Streamed:
    """Return the answer of REST that such events are."""
    return Streamed(pieces, "text/event-stream")


async def events_of(
    answer: Answer, index: int, interval: float, *, first: tuple[str, bytes] | None = None
) -> AsyncGenerator[bytes, None]:
    """Give an answer from an index on, up to its end.

    Args:
        interval: seconds between two pieces of text, at least.
        first: an event ahead of it, name and data.
    """
    answer.readers += 1
    try:
        if first is not None:
            yield event(*first)
        yield event("ai:start", answer.payload(model=answer.model))
        while True:
            text, start = answer.since(index)
            if text:
                index = start + units_in(text)
                yield event("ai:delta", answer.payload(index=start, text=text), index)
            if answer.is_over:
                last = answer.last_event()
                if last is not None:
                    yield event(*last, index)
                return
            with trio.move_on_after(KEEP_ALIVE) as silence:
                await answer.news(index)
            if silence.cancelled_caught:
                yield b": keep-alive\n\n"
            else:
                await trio.sleep(interval)
    finally:
        answer.readers -= 1


def event(name: str, data: bytes, index: int | None = None) -> bytes:
    """Return one event; its data is JSON, which has no line breaks."""
    mark = b"" if index is None else b"id: %d\n" % index
    return b"%bevent: %b\ndata: %b\n\n" % (mark, name.encode(), data)
