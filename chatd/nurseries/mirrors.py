"""Answers of the assistant that are made at another daemon, followed here as if they were ours.

Whoever looks for an answer that the store says is under way, and that is not ours, asks all: the
one that makes it sends its text so far, then each piece, then the end. A piece that was lost shows
by its index, and then the text is asked for anew; a lost end by its maker's saying so, whom we ask
when nothing has come for a while. Nobody asks a provider twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog
import trio

from chatd.ai_rows import Usage
from chatd.contract.assistant import Ending
from chatd.errors import ChatError, Unavailable
from chatd.nurseries.control import Control, Message, id_or_none
from chatd.nurseries.generation import Generation

TIMEOUT = 1.0  # seconds for whoever makes an answer to say so
QUIET = 5.0  # seconds without a piece: then its maker is asked whether there is more to come
MAX_MIRRORS = 1000
NOT_TOLD = Usage(0, 0, is_estimated=True)

log = structlog.get_logger("chatd.assistant")


class Mirror(Generation):
    """An answer of another daemon. See `chatd.nurseries.generation.Generation`."""

    def __init__(self, message: Message, owner: str, stop: Callable[[], object]) -> None:
        super().__init__(
            UUID(message["id"]),
            UUID(message["user"]),
            str(message["model"]),
            max_chars=1 << 24,  # its maker has a bound
            ai_session_id=id_or_none(message["ai"]),
            session_id=id_or_none(message["session"]),
            reply_to_id=id_or_none(message["reply"]),
        )
        self.owner = owner
        self.heard_at = trio.current_time()
        self._stop_there = stop
        self._last: tuple[str, bytes] | None = None

    def stop(self, reason: object = None) -> None:
        """Have it ended where it is made."""
        del reason
        self._stop_there()

    def end_with(self, last: tuple[str, bytes] | None, end: Ending | None) -> None:
        """Tell everybody here of the end, in its maker's words."""
        self._last = last
        self.finish(end)

    def last_event(self) -> tuple[str, bytes] | None:
        """Return the event that tells the end, as its maker has told it; None before it."""
        if self.end is not None and self._last is None:
            return super().last_event()
        return self._last


@dataclass(frozen=True, slots=True)
class _Listener:
    """Sends an answer of ours to a daemon that follows it: once, however often it asks.

    See `chatd.contract.assistant.Listener`.
    """

    generation: Generation
    control: Control
    tag: str

    def push(self, name: str, data: bytes) -> None:
        """Send the end."""
        end = self.generation.end
        fields: dict[str, Any] = {"e": name, "d": orjson.Fragment(data)}
        if end is not None:
            code = None if end.error is None else end.error.code
            fields |= {"status": end.status, "finish": end.finish_reason, "code": code}
            fields["usage"] = list(end.usage)
        self.control.say_to(self.tag, "mirror-end", id=self.generation.id, **fields)

    def push_ephemeral(self, name: str, data: bytes) -> bool:
        """Send a piece."""
        del name
        told = orjson.Fragment(data)
        return self.control.say_to(self.tag, "mirror-piece", id=self.generation.id, d=told)


class Ends(Protocol):
    """Ends answers that are made here."""

    def end_session_here(self, session_id: UUID) -> None:
        """Those of a conversation, or a session, that was deleted."""

    def end_user_here(self, user_id: UUID) -> None:
        """Those of an account that has ended."""


class Mirrors:
    """Follows and lets follow.

    Attributes:
        own: returns an answer that is made here.
        ends: told what others have ended.
        tag: of this daemon.
    """

    def __init__(self, control: Control, tag: str) -> None:
        self.tag = tag
        self.own: Callable[[UUID], Generation | None] = _nothing
        self.ends: Ends | None = None
        self._control = control
        self._mirrors: dict[UUID, Mirror] = {}
        self._asked: dict[UUID, trio.Event] = {}
        for kind, hear in {
            "mirror": self._heard_question,
            "mirrored": self._heard_whole,
            "mirror-piece": self._heard_piece,
            "mirror-end": self._heard_end,
            "mirror-stop": self._heard_stop,
            "mirror-check": self._heard_check,
            "mirror-over": self._heard_over,
            "ai-session-ended": self._heard_session_ended,
            "ai-user-ended": self._heard_user_ended,
        }.items():
            control.on(kind, hear)

    async def find(self, message_id: UUID) -> Generation | None:
        """Return an answer that is made at another daemon; None when nobody says so in time."""
        known = self._mirrors.get(message_id)
        if known is not None or len(self._mirrors) + len(self._asked) >= MAX_MIRRORS:
            return known
        answered = self._asked.get(message_id)
        if answered is not None:
            with trio.move_on_after(TIMEOUT):
                await answered.wait()
            return self._mirrors.get(message_id)
        answered = self._asked[message_id] = trio.Event()
        try:
            self._control.mention("mirror", id=message_id)
            with trio.move_on_after(TIMEOUT):
                await answered.wait()
        finally:
            del self._asked[message_id]
        return self._mirrors.get(message_id)

    def end_session(self, session_id: UUID) -> None:
        """Have the answers of a conversation ended that are made elsewhere."""
        self._control.say("ai-session-ended", id=session_id)

    def end_user(self, user_id: UUID) -> None:
        """Have the answers of an account ended that are made elsewhere."""
        self._control.say("ai-user-ended", id=user_id)

    def lose(self, tag: str) -> None:
        """End what a daemon that has died was making."""
        for mirror in [each for each in self._mirrors.values() if each.owner == tag]:
            self._break_off(mirror)

    async def look(self) -> None:
        """Ask the makers of what is quiet whether more comes, until cancelled."""
        while True:
            await trio.sleep(QUIET / 2)
            until = trio.current_time() - QUIET
            for mirror in self._mirrors.values():
                if mirror.heard_at <= until:
                    self._control.say_to(mirror.owner, "mirror-check", id=mirror.id)

    def _break_off(self, mirror: Mirror) -> None:
        """End what is not heard of any more; whoever asks again is told what is stored."""
        error = Unavailable("the answer has ended early")
        self._end(mirror, None, Ending("INTERRUPTED", None, error, NOT_TOLD))

    def _end(self, mirror: Mirror, last: tuple[str, bytes] | None, end: Ending | None) -> None:
        self._mirrors.pop(mirror.id, None)
        mirror.end_with(last, end)

    # Where it is made

    def _heard_question(self, tag: str, message: Message) -> None:
        generation = self.own(UUID(message["id"]))
        if generation is None or generation.is_over:
            return
        self._control.say_to(
            tag,
            "mirrored",
            id=generation.id,
            user=generation.user_id,
            model=generation.model,
            ai=generation.ai_session_id,
            session=generation.session_id,
            reply=generation.reply_to_id,
            text=generation.text,
        )
        generation.watch(_Listener(generation, self._control, tag), generation.units)

    def _heard_check(self, tag: str, message: Message) -> None:
        generation = self.own(UUID(message["id"]))
        if generation is None or generation.is_over:
            self._control.say_to(tag, "mirror-over", id=message["id"])
        else:
            self._heard_question(tag, message)

    def _heard_stop(self, tag: str, message: Message) -> None:
        del tag
        generation = self.own(UUID(message["id"]))
        if generation is not None:
            generation.stop()

    def _heard_session_ended(self, tag: str, message: Message) -> None:
        del tag
        if self.ends is not None:
            self.ends.end_session_here(UUID(message["id"]))

    def _heard_user_ended(self, tag: str, message: Message) -> None:
        del tag
        if self.ends is not None:
            self.ends.end_user_here(UUID(message["id"]))

    # Where it is followed

    def _heard_whole(self, tag: str, message: Message) -> None:
        message_id = UUID(message["id"])
        mirror = self._mirrors.get(message_id)
        if mirror is None:
            if message_id not in self._asked:
                return  # too late: nobody waits
            stop = partial(self._control.say_to, tag, "mirror-stop", id=message_id)
            mirror = self._mirrors[message_id] = Mirror(message, tag, stop)
        mirror.heard_at = trio.current_time()
        mirror.add(str(message["text"])[len(mirror.text) :])
        mirror.flush()
        answered = self._asked.get(message_id)
        if answered is not None:
            answered.set()

    def _heard_piece(self, tag: str, message: Message) -> None:
        del tag
        mirror = self._mirrors.get(UUID(message["id"]))
        if mirror is None:
            return
        mirror.heard_at = trio.current_time()
        index = int(message["d"]["index"])
        if index == mirror.units:
            mirror.add(str(message["d"]["text"]))
            mirror.flush()
        elif index > mirror.units:  # a piece is lost
            self._control.mention("mirror", id=mirror.id)

    def _heard_over(self, tag: str, message: Message) -> None:
        mirror = self._mirrors.get(UUID(message["id"]))
        if mirror is not None and mirror.owner == tag:
            self._break_off(mirror)  # its end was lost

    def _heard_end(self, tag: str, message: Message) -> None:
        del tag
        mirror = self._mirrors.get(UUID(message["id"]))
        if mirror is None:
            return
        told = message["d"]
        whole = told.get("content", told.get("partial")) or ""
        mirror.add(str(whole)[len(mirror.text) :])
        code, usage = message["code"], message["usage"]
        error = None if code is None else _error(str(code))
        end = Ending(message["status"], message["finish"], error, Usage(*usage))
        self._end(mirror, (str(message["e"]), orjson.dumps(told)), end)


def _nothing(message_id: UUID) -> None:
    del message_id


def _error(code: str) -> ChatError:
    """Return an error with the code of another daemon's: only that is told of it here."""
    error = ChatError()
    error.code = code  # type: ignore[misc]  # of this one
    return error
