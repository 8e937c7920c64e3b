"""An answer under way: its text, who follows it, and how it is told.

The text is kept whole until the end is stored, so that whoever comes later reads it from where they
stand; nothing is queued for anybody. Indexes are UTF-16 units, as strings of JavaScript count.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol
from uuid import UUID

import trio

from chatd.ai_payloads import usage_dict
from chatd.ai_rows import Usage
from chatd.contract.assistant import Ending, Listener
from chatd.errors import ChatError, Draining, InternalError, NotFound
from chatd.model import dumps
from chatd.units import slice_units, units_in


class StopReason(Enum):
    """What ends an answer, other than the provider and the deadlines."""

    STOPPED = "stopped"  # by its user
    UNWATCHED = "unwatched"  # nobody follows it any more
    DRAINING = "draining"
    DELETED = "deleted"  # with its conversation
    ERASED = "erased"  # with its user's account: nothing of it is kept or told


REFUSALS: dict[StopReason, type[ChatError]] = {
    StopReason.DRAINING: Draining,
    StopReason.DELETED: NotFound,
    StopReason.ERASED: NotFound,
}


class Hall(Protocol):
    """Where everybody hears an answer who has joined a session."""

    def __call__(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """Send an ephemeral event; never waits."""


class Generation:
    """See `chatd.contract.assistant.Answer`.

    Args:
        max_chars: characters that are taken.
        hall: for an answer in a session.
    """

    def __init__(
        self,
        id_: UUID,
        user_id: UUID,
        model: str,
        *,
        max_chars: int,
        ai_session_id: UUID | None = None,
        session_id: UUID | None = None,
        reply_to_id: UUID | None = None,
        hall: Hall | None = None,
    ) -> None:
        self.id = id_
        self.user_id = user_id
        self.model = model
        self.ai_session_id = ai_session_id
        self.session_id = session_id
        self.reply_to_id = reply_to_id
        self.text = ""
        self.end: Ending | None = None
        self.reason: StopReason | None = None
        self.scope = trio.CancelScope()
        self.readers = 0
        self.watchers: dict[Listener, int] = {}  # up to where each was sent it
        self._hall = hall
        self._in_hall = 0
        self._max_chars = max_chars
        self._units = 0
        self._has_news = trio.Event()
        self._has_ended = trio.Event()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._has_ended.is_set()

    @property
    def units(self) -> int:
        """How long the text is, in UTF-16 units."""
        return self._units

    # Growing

    def add(self, text: str) -> bool:
        """Take a piece of text; return whether more is taken."""
        text = text[: self._max_chars - len(self.text)]
        self.text += text
        self._units += units_in(text)
        self._tell_news()
        return len(self.text) < self._max_chars

    def stop(self, reason: StopReason = StopReason.STOPPED) -> None:
        """End it at once, for the first reason given."""
        if self.reason is None and self.end is None:
            self.reason = reason
            self.scope.cancel(reason=reason.value)

    def finish(self, end: Ending | None) -> None:
        """Tell everybody of the end, which is stored; None: it is not to be told."""
        self.end = end
        last = self.last_event()
        if last is not None:
            self.flush()
            for listener in self.watchers:
                listener.push(*last)
            self._announce(*last)
        self.watchers.clear()
        self._tell_news()
        self._has_ended.set()

    def abandon(self) -> None:
        """Tell everybody that there is no end, unless there is one."""
        if not self._has_ended.is_set():
            self.finish(Ending("FAILED", None, InternalError(), Usage(0, 0, is_estimated=True)))

    async def ended(self) -> None:
        """Wait until its end is stored."""
        await self._has_ended.wait()

    # Reading

    def since(self, index: int) -> tuple[str, int]:
        """Return the text from an index on, and where it really begins."""
        index = min(index, self._units)
        return slice_units(self.text, index)

    async def news(self, index: int) -> None:
        """Wait until there is text behind an index, or the end."""
        while index >= self._units and not self._has_ended.is_set():
            await self._has_news.wait()

    def _tell_news(self) -> None:
        self._has_news.set()
        self._has_news = trio.Event()

    # Telling

    def watch(self, listener: Listener, index: int) -> None:
        """Send the rest from an index on to a socket too, and the end."""
        last = self.last_event()
        if last is not None:
            listener.push(*last)
        elif not self._has_ended.is_set():
            self.watchers[listener] = min(index, self._units)

    def start(self) -> None:
        """Tell those who have joined the session that it begins."""
        self._announce("ai:start", self.payload(model=self.model))

    def flush(self) -> None:
        """Send what has come since the last time.

        What a slow socket does not take comes with the next piece: it misses nothing.
        """
        made: dict[int, bytes] = {}
        for listener, index in self.watchers.items():
            if index < self._units and listener.push_ephemeral(
                "ai:delta", self._delta(index, made)
            ):
                self.watchers[listener] = self._units
        if self._hall is not None and self._in_hall < self._units:
            self._announce("ai:delta", self._delta(self._in_hall, made))
            self._in_hall = self._units

    def _delta(self, index: int, made: dict[int, bytes]) -> bytes:
        if index not in made:
            text, start = self.since(index)
            made[index] = self.payload(index=start, text=text)
        return made[index]

    def _announce(self, name: str, data: bytes) -> None:
        if self._hall is not None and self.session_id is not None:
            self._hall(self.session_id, name, data, but=None)

    def payload(self, **fields: object) -> bytes:
        """Return the payload of an event of this answer."""
        where = {
            "messageId": self.id,
            "aiSessionId": self.ai_session_id,
            "sessionId": self.session_id,
            "replyToId": self.reply_to_id,
        }
        told = {name: each for name, each in where.items() if each is not None}
        return dumps(told | fields)

    def last_event(self) -> tuple[str, bytes] | None:
        """Return the event that tells the end; None before it."""
        end = self.end
        if end is None:
            return None
        if end.error is not None:
            is_gone = self.reason in {StopReason.DELETED, StopReason.ERASED}
            fields = error_fields(end.error, "" if is_gone else self.text)
            return "ai:error", self.payload(**fields)
        done = {
            "content": self.text,
            "finishReason": end.finish_reason,
            "usage": usage_dict(end.usage),
        }
        return "ai:done", self.payload(**done)


def error_fields(error: ChatError, partial: str) -> dict[str, object]:
    """Return what `ai:error` says of a failure."""
    fields: dict[str, object] = {
        "code": error.code,
        "message": error.message,
        "partial": partial,
        "retryable": error.retryable,
    }
    if error.retry_after is not None:
        fields["retryAfterMs"] = max(1, round(error.retry_after * 1000))  # 0 says: at once
    return fields
