"""The assistant as a member of a session: called by a message, it answers with one."""

from __future__ import annotations

import unicodedata

import orjson
import trio

from chatd.ai_rows import ASSISTANT_ID
from chatd.context import RoomEvent, Services
from chatd.contract.acts import Act, Standing
from chatd.contract.assistant import Ending
from chatd.errors import (
    ChatError,
    Muted,
    NotAMember,
    NotFound,
    PayloadTooLarge,
    SessionReadOnly,
    SlowMode,
    Unavailable,
)
from chatd.events.fields import MAX_CONTENT
from chatd.handlers.access import check, refuse_banned
from chatd.handlers.members import bring_in
from chatd.handlers.permissions import Action
from chatd.handlers.refusals import send_refusal
from chatd.ids import is_bot, uuid7
from chatd.model import dumps, message_dict
from chatd.nurseries.generation import Generation, StopReason, error_fields
from chatd.nurseries.provider import ModelRequest
from chatd.prompts import TooLong, session_conversation
from chatd.rows import Append, AppendRow, MessageRow, NewMessage, SessionRow

CONTEXT_MESSAGES = 50  # of a session that are read for an answer
CUT = " […]"  # behind a text that is not whole
SETTLE_TIMEOUT = 15.0  # seconds: the journal's own deadlines add up to less
MAY_NOT_WRITE = "the assistant may not write in this session"
SLOW_WAITS = 3  # times that an answer waits for slow mode, 120 s at most each


class SessionAnswer:
    """One answer in a session; what it costs is the asking user's."""

    def __init__(self, services: Services, asking: MessageRow) -> None:
        self._services = services
        self.asking = asking
        self.id = uuid7()

    def generation(self) -> Generation:
        """Return the answer that is to come."""
        services, asking = self._services, self.asking
        return Generation(
            self.id,
            asking.sender_id,
            services.settings.openai_model or "",
            max_chars=MAX_CONTENT - len(CUT),
            session_id=asking.session_id,
            reply_to_id=asking.id,
            hall=services.rooms.broadcast,
        )

    async def request(self) -> ModelRequest | None:
        """Become a member and return what is asked of the model; None: a program has asked.

        Only messages of this session are sent, and only while the asking user may read them.

        Raises:
            NotAMember, NotFound, Forbidden, Conflict, SessionReadOnly, PayloadTooLarge: not here,
                or not now.
        """
        services, asking = self._services, self.asking
        if is_bot(asking.sender_id):
            return None
        await self._enter()
        page = await services.store.history(
            asking.session_id,
            asking.sender_id,
            before_seq=asking.seq + 1,
            limit=CONTEXT_MESSAGES,
        )
        if page is None or not page.messages or page.messages[-1].id != asking.id:
            raise NotAMember
        if page.messages[-1].deleted_at is not None:
            msg = "the message was deleted"
            raise NotFound(msg)
        settings = services.settings
        try:
            turns = session_conversation(
                page.messages,
                instructions=settings.ai_instructions,
                budget=settings.ai_context_tokens,
            )
        except TooLong as excess:
            details = {"tokens": excess.tokens, "limit": settings.ai_context_tokens}
            msg = "the message is longer than a model is given"
            raise PayloadTooLarge(msg, details=details) from None
        return ModelRequest(settings.openai_model or "", turns, settings.ai_max_tokens)

    async def _enter(self) -> None:
        """Become a member by the right of who asks, unless the assistant is one."""
        services, asking = self._services, self.asking
        found = await services.store.session_for(asking.session_id, ASSISTANT_ID)
        if found is None or found[1] is None:
            found = await services.store.session_for(asking.session_id, asking.sender_id)
            if found is None or found[1] is None:
                raise NotAMember
            check(found[1], Action.ADD_MEMBER, found[0].kind)
            _check_open(found[0])
            await self._join(found[0])
        elif found[1] in {"MEMBER", "READ_ONLY"}:
            _check_open(found[0], is_reader=found[1] == "READ_ONLY")

    async def _join(self, session: SessionRow) -> None:
        def judge(standing: Standing) -> None:
            check(standing.role, Action.ADD_MEMBER, session.kind, standing.target)
            refuse_banned(standing.ban)

        judged = Act(self.asking.sender_id, self._services.now(), judge)
        if await bring_in(self._services, session, ASSISTANT_ID, judged) is None:
            raise NotFound

    async def save(self, text: str) -> None:
        """Keep nothing: the answer is a message when it is whole."""

    async def finish(self, end: Ending, generation: Generation) -> Ending:
        """Store the answer as a message of the assistant's; return how that ended."""
        text = unicodedata.normalize("NFC", generation.text.strip())
        if generation.reason in {StopReason.DELETED, StopReason.ERASED}:
            return end
        if end.error is not None and text:
            text += CUT
        if not text:
            if end.status == "STOPPED" or end.error is not None:
                return end
            return end._replace(status="FAILED", error=Unavailable("the model said nothing"))
        outcome = await self._send(text[:MAX_CONTENT])
        if isinstance(outcome, Muted | NotAMember | SessionReadOnly):
            outcome = type(outcome)(MAY_NOT_WRITE)  # its own text means who reads it
        if isinstance(outcome, ChatError):
            return end._replace(status="FAILED", error=outcome)
        return end

    async def _send(self, text: str) -> ChatError | None:
        """Send a message; in slow mode wait for its time. Return why it was not stored."""
        for _ in range(SLOW_WAITS):
            refusal = await self._submit(text)
            if not isinstance(refusal, SlowMode) or refusal.retry_after is None:
                return refusal
            await trio.sleep(refusal.retry_after)
        return await self._submit(text)

    async def _submit(self, text: str) -> ChatError | None:
        message = NewMessage(
            id=self.id,
            session_id=self.asking.session_id,
            sender_id=ASSISTANT_ID,
            content=text,
            created_at=self._services.now(),
            client_msg_id=str(self.id),
            reply_to_id=self.asking.id,
        )
        refusals: list[ChatError | None] = []
        settled = trio.Event()

        def settle(outcome: AppendRow | ChatError) -> RoomEvent | None:
            settled.set()
            if isinstance(outcome, ChatError):
                refusals.append(outcome)
                return None
            row = outcome.row
            refusals.append(send_refusal(outcome, message) if row is None else None)
            if row is None or outcome.outcome is Append.DUPLICATE:
                return None
            encoded = orjson.dumps(message_dict(row))
            return RoomEvent(row.session_id, row.seq, "message:new", encoded)

        try:
            self._services.journal.submit(message, settle)
        except ChatError as refusal:
            return refusal
        with trio.move_on_after(SETTLE_TIMEOUT, shield=True):
            await settled.wait()
        return refusals[0] if refusals else Unavailable("the answer is not known to be stored")


def refuse(services: Services, asking: MessageRow, refusal: ChatError) -> None:
    """Tell who has asked in a session that there will be no answer."""
    where = {
        "messageId": uuid7(),
        "sessionId": asking.session_id,
        "replyToId": asking.id,
    }
    data = dumps(where | error_fields(refusal, ""))
    services.sockets.tell(asking.sender_id, "ai:error", data)


def tell_failure(services: Services, generation: Generation) -> None:
    """Tell who has asked of an answer's failure where they have not joined the session."""
    last = generation.last_event()
    if last is None or last[0] != "ai:error":
        return
    services.sockets.tell(generation.user_id, *last, outside=generation.session_id)


def _check_open(session: SessionRow, *, is_reader: bool = False) -> None:
    """Refuse ahead of the cost what the store would refuse behind it."""
    if session.archived_at is not None or session.is_read_only or is_reader:
        raise SessionReadOnly(MAY_NOT_WRITE)
