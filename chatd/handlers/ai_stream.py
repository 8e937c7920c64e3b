"""Answers of the assistant as server-sent events (https://html.spec.whatwg.org/#server-sent-events).

The id of an event is how far its reader has come, in UTF-16 units: who comes back shows it as
`Last-Event-ID`. The client's end ends its stream, and not the answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple
from uuid import UUID

import trio

from chatd.ai_payloads import marked, usage_dict
from chatd.ai_rows import AiStatus, Usage
from chatd.contract.assistant import Answer
from chatd.handlers.operations import Streamed
from chatd.model import dumps
from chatd.rows import UNREADABLE
from chatd.units import slice_units, units_in

Event = tuple[str, bytes]  # name, and data as JSON
KEEP_ALIVE = 15.0  # seconds of silence: proxies cut after 60, and a client that is gone is found


class Kept(NamedTuple):
    """An answer as it stands: one that is not under way any more, as it is stored."""

    id: UUID
    text: str
    status: AiStatus
    finish_reason: str | None
    error_code: str | None
    usage: Usage | None = None

    @property
    def mark(self) -> dict[str, bool]:
        """What tells a text that does not decrypt from an empty one."""
        return marked(is_unreadable=self.text is UNREADABLE)


def stream(pieces: AsyncGenerator[bytes, None]) -> Streamed:
    """Return the answer of REST that such events are."""
    return Streamed(pieces, "text/event-stream")


async def events_of(
    answer: Answer,
    index: int,
    interval: float,
    is_revoked: Callable[[], bool],
    *,
    first: Event | None = None,
) -> AsyncGenerator[bytes, None]:
    """Give an answer from an index on, up to its end.

    Args:
        interval: seconds between two pieces of text, at least.
        is_revoked: whether the reader's login has ended: then nothing more is given.
        first: an event ahead of it, name and data.
    """
    answer.readers += 1
    try:
        if first is not None:
            yield event(*first)
        yield event("ai:start", answer.payload(model=answer.model))
        while True:
            if is_revoked():
                return
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


async def kept_events(
    kept: Kept, index: int, *, first: Event | None = None
) -> AsyncGenerator[bytes, None]:
    """Give what is missing of an answer that has ended, and its end."""
    if first is not None:
        yield event(*first)
    text, start = slice_units(kept.text, index)
    if text:
        index = start + units_in(text)
        yield event("ai:delta", dumps({"messageId": kept.id, "index": start, "text": text}), index)
    end: dict[str, object] = {"messageId": kept.id, **kept.mark}
    if kept.error_code is None:
        usage = None if kept.usage is None else usage_dict(kept.usage)
        end |= {"content": kept.text, "finishReason": kept.finish_reason, "usage": usage}
        yield event("ai:done", dumps(end), index)
    else:
        message = "the answer has ended early"
        end |= {"code": kept.error_code, "message": message}
        yield event("ai:error", dumps(end | {"partial": kept.text, "retryable": True}), index)


def event(name: str, data: bytes, index: int | None = None) -> bytes:
    """Return one event; its data is JSON, which has no line breaks."""
    mark = b"" if index is None else b"id: %d\n" % index
    return b"%bevent: %b\ndata: %b\n\n" % (mark, name.encode(), data)
