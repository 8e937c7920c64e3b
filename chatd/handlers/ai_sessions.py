"""Conversations with the assistant: begin, list, change, delete (protocol.md section 7)."""

from __future__ import annotations

from chatd.ai_payloads import ai_message_dict, ai_session_dict
from chatd.ai_rows import AiSessionRow
from chatd.context import Caller, Services
from chatd.contract.assistant import Assistant
from chatd.errors import NotFound, NotSetUp, Unauthorized
from chatd.events.ai import (
    AiMessageList,
    AiMessagePage,
    AiSessionAnswer,
    AiSessionCreate,
    AiSessionList,
    AiSessionPage,
    AiSessionRef,
    AiSessionUpdate,
)
from chatd.events.answers import Nothing
from chatd.handlers.cursors import cursor_of, read_cursor
from chatd.handlers.operations import Operation, Route
from chatd.handlers.refusals import wrong
from chatd.ids import uuid7
from chatd.limits import Rate
from chatd.model import dumps

NO_CONVERSATION = "no such conversation"


def assistant_of(services: Services) -> Assistant:
    """Return the assistant.

    Raises:
        NotSetUp: this server has none; nothing of it is done.
    """
    if services.assistant is None:
        msg = "the assistant is not set up on this server"
        raise NotSetUp(msg)
    return services.assistant


async def create(services: Services, caller: Caller, command: AiSessionCreate) -> bytes:
    """Begin a conversation."""
    assistant = assistant_of(services)
    model = _offered(assistant, command.model)
    row = await services.store.create_ai_session(
        ai_session_id=uuid7(),
        user_id=caller.user_id,
        title=command.title,
        model=model or next(iter(assistant.models)),
        system_prompt=command.system_prompt,
        at=services.now(),
    )
    if row is None:
        raise Unauthorized
    return _answer(row)


async def sessions(services: Services, caller: Caller, command: AiSessionList) -> bytes:
    """Return a page of the caller's conversations."""
    assistant_of(services)
    before = None if command.cursor is None else read_cursor(command.cursor)
    rows = await services.store.ai_sessions(caller.user_id, before=before, limit=command.limit + 1)
    page = rows[: command.limit]
    last = page[-1] if len(rows) > command.limit else None
    cursor = None if last is None else cursor_of(last.active_at, last.id)
    return dumps({"aiSessions": [ai_session_dict(row) for row in page], "nextCursor": cursor})


async def session(services: Services, caller: Caller, command: AiSessionRef) -> bytes:
    """Return one conversation."""
    assistant_of(services)
    return _answer(await services.store.ai_session(command.ai_session_id, caller.user_id))


async def update(services: Services, caller: Caller, command: AiSessionUpdate) -> bytes:
    """Change a conversation, and tell the caller's other devices."""
    model = _offered(assistant_of(services), command.model)
    row = await services.store.update_ai_session(
        command.ai_session_id,
        caller.user_id,
        title=command.title,
        model=model,
        system_prompt=command.system_prompt,
        sets_prompt=command.sets_prompt,
    )
    answer = _answer(row)
    if row is not None:
        tell_updated(services, row, but=caller)
    return answer


async def delete(services: Services, caller: Caller, command: AiSessionRef) -> bytes:
    """Delete a conversation; an answer that is under way ends with it."""
    assistant = assistant_of(services)
    if not await services.store.delete_ai_session(command.ai_session_id, caller.user_id):
        raise NotFound(NO_CONVERSATION)
    assistant.end_session(command.ai_session_id)
    return b"{}"


async def messages(services: Services, caller: Caller, command: AiMessageList) -> bytes:
    """Return a page of a conversation, oldest first."""
    assistant_of(services)
    rows = await services.store.ai_messages(
        command.ai_session_id,
        caller.user_id,
        before=command.before_seq,
        limit=command.limit + 1,
    )
    if rows is None:
        raise NotFound(NO_CONVERSATION)
    page = rows[-command.limit :]
    has_before = len(rows) > command.limit
    return dumps({"messages": [ai_message_dict(row) for row in page], "hasBefore": has_before})


def tell_updated(services: Services, row: AiSessionRow, *, but: Caller | None = None) -> None:
    """Tell a user's sockets what a conversation is now, except the one that knows."""
    data = _answer(row)
    knows = None if but is None else but.socket
    services.sockets.tell(row.user_id, "ai:updated", data, but=knows)


def _offered(assistant: Assistant, model: str | None) -> str | None:
    """Return a model that people may choose, None for none.

    Raises:
        ValidationFailed: it is not offered here.
    """
    if model is not None and model not in assistant.models:
        refusal = wrong("model", "is not offered here")
        refusal.details = (refusal.details or {}) | {"models": list(assistant.models)}
        raise refusal
    return model


def _answer(row: AiSessionRow | None) -> bytes:
    if row is None:
        raise NotFound(NO_CONVERSATION)
    return dumps({"aiSession": ai_session_dict(row)})


_PATH = "/ai/sessions"
_ONE = _PATH + "/<uuid:ai_session_id>"

OPERATIONS = (
    Operation(
        "ai-session-create",
        AiSessionCreate,
        AiSessionAnswer,
        "Begin a conversation with the assistant",
        run=create,
        rate=Rate(0.5, 20),
        event="ai:create",
        route=Route("POST", _PATH, 201),
    ),
    Operation(
        "ai-session-list",
        AiSessionList,
        AiSessionPage,
        "The caller's conversations with the assistant, latest activity first",
        run=sessions,
        event="ai:list",
        route=Route("GET", _PATH),
    ),
    Operation(
        "ai-session-get",
        AiSessionRef,
        AiSessionAnswer,
        "One conversation with the assistant",
        run=session,
        event="ai:get",
        route=Route("GET", _ONE),
    ),
    Operation(
        "ai-session-update",
        AiSessionUpdate,
        AiSessionAnswer,
        "Change a conversation's title, model or system prompt",
        run=update,
        rate=Rate(1, 20),
        event="ai:update",
        route=Route("PATCH", _ONE),
    ),
    Operation(
        "ai-session-delete",
        AiSessionRef,
        Nothing,
        "Delete a conversation with everything in it",
        run=delete,
        rate=Rate(1, 20),
        event="ai:delete",
        route=Route("DELETE", _ONE),
    ),
    Operation(
        "ai-message-list",
        AiMessageList,
        AiMessagePage,
        "Messages of a conversation, oldest first",
        run=messages,
        event="ai:messages",
        route=Route("GET", _ONE + "/messages"),
    ),
)
