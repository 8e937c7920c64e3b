"""The files of an export: each a JSON array with one object a line, in an order that stays."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from chatd.ai_payloads import ai_message_dict, ai_session_dict
from chatd.ai_rows import AiSessionRow
from chatd.context import Services
from chatd.contract.own import (
    OwnMentionRow,
    OwnMessageRow,
    OwnReactionRow,
    OwnRevisionRow,
    OwnSessionRow,
)
from chatd.errors import NotFound
from chatd.handlers.api_tokens import api_token_dict
from chatd.handlers.audit import audit_dict
from chatd.model import attachment_dict, device_dict, iso, iso_or_none, user_dict
from chatd.rows import UNREADABLE, FileRow

T = TypeVar("T", OwnMessageRow, OwnReactionRow, OwnRevisionRow, OwnMentionRow)


class Span(NamedTuple):
    """A part of a session: above `start`, up to `until`."""

    session_id: UUID
    start: int
    until: int


Rows = AsyncGenerator[dict[str, Any], None]
PAGE = 200  # rows of one read: 13 MB at most, when each is as long as a message can be
READ = 262_144  # bytes of one read of a file
SPAN = 10_000  # of `seq` that one read looks through for somebody's rows: some ms


async def devices(services: Services, user_id: UUID) -> Rows:
    """Give every device that ever logged in."""
    after = None
    while rows := await services.store.own_devices(user_id, after=after, limit=PAGE):
        for row in rows:
            device = device_dict(row, row.id)
            del device["isCurrent"]
            yield device
        after = rows[-1].id


async def identities(services: Services, user_id: UUID) -> Rows:
    """Give what the user signs in with elsewhere."""
    for row in await services.store.identities_of(user_id):
        yield {"issuer": row.issuer, "subject": row.subject, "createdAt": iso(row.created_at)}


async def bots(services: Services, user_id: UUID) -> Rows:
    """Give the user's bots."""
    for row in await services.store.bots_of(user_id):
        yield user_dict(row) | {"createdAt": iso(row.created_at)}


async def tokens(services: Services, user_id: UUID) -> Rows:
    """Give the API tokens of the user and the user's bots, not what they are known by."""
    for row in await services.store.api_tokens(user_id):
        yield api_token_dict(row)


async def sessions(services: Services, user_id: UUID) -> Rows:
    """Give every session that the user is or was in, with the read marker."""
    async with aclosing(_own_sessions(services, user_id)) as found:
        async for row in found:
            yield {
                "id": row.session_id,
                "kind": row.kind,
                "name": row.name,
                "role": row.role,
                "joinedAt": iso(row.joined_at),
                "leftAt": iso_or_none(row.left_at),
                "lastReadSeq": row.last_read_seq,
                "muted": row.muted,
                "favourite": row.favourite,
            }


async def messages(services: Services, user_id: UUID) -> Rows:
    """Give every message that the user wrote."""

    async def fetch(span: Span, last: OwnMessageRow | None) -> list[OwnMessageRow]:
        after = span.start if last is None else last.seq
        return await services.store.own_messages(
            user_id, span.session_id, after=after, until=span.until, limit=PAGE
        )

    async with aclosing(_walk(services, user_id, fetch)) as rows:
        async for row in rows:
            yield _message(row)


async def revisions(services: Services, user_id: UUID) -> Rows:
    """Give the earlier texts of messages that the user wrote."""

    async def fetch(span: Span, last: OwnRevisionRow | None) -> list[OwnRevisionRow]:
        after = (span.start + 1, 0) if last is None else (last.seq, last.version)
        return await services.store.own_revisions(
            user_id, span.session_id, after=after, until=span.until, limit=PAGE
        )

    async with aclosing(_walk(services, user_id, fetch)) as rows:
        async for row in rows:
            yield {
                "messageId": row.message_id,
                "version": row.version,
                "content": row.content,
                "createdAt": iso(row.created_at),
                **_marked(row.content),
            }


async def reactions(services: Services, user_id: UUID) -> Rows:
    """Give every reaction of the user."""

    async def fetch(span: Span, last: OwnReactionRow | None) -> list[OwnReactionRow]:
        after = (span.start + 1, "") if last is None else (last.seq, last.emoji)
        return await services.store.own_reactions(
            user_id, span.session_id, after=after, until=span.until, limit=PAGE
        )

    async with aclosing(_walk(services, user_id, fetch)) as rows:
        async for row in rows:
            yield {"messageId": row.message_id, "emoji": row.emoji}


async def mentions(services: Services, user_id: UUID) -> Rows:
    """Give every message that mentions the user: where it is, not what another wrote."""

    async def fetch(span: Span, last: OwnMentionRow | None) -> list[OwnMentionRow]:
        after = span.start if last is None else last.seq
        return await services.store.own_mentions(
            user_id, span.session_id, after=after, until=span.until, limit=PAGE
        )

    async with aclosing(_walk(services, user_id, fetch)) as rows:
        async for row in rows:
            yield {"messageId": row.message_id}


async def audit(services: Services, user_id: UUID) -> Rows:
    """Give the audit log of the account, the newest first."""
    before = None
    while rows := await services.store.audit_page(user_id, before=before, limit=PAGE):
        for row in rows:
            yield audit_dict(row)
        before = rows[-1].id


async def ai_sessions(services: Services, user_id: UUID) -> Rows:
    """Give every conversation with the assistant."""
    async with aclosing(_own_conversations(services, user_id)) as found:
        async for row in found:
            conversation = ai_session_dict(row)
            del conversation["runningId"]
            yield conversation


async def ai_messages(services: Services, user_id: UUID) -> Rows:
    """Give every question and every answer of these conversations."""
    async with aclosing(_own_conversations(services, user_id)) as found:
        async for conversation in found:
            after = 0
            while rows := await services.store.own_ai_messages(
                conversation.id, user_id, after=after, limit=PAGE
            ):
                for row in rows:
                    yield ai_message_dict(row)
                after = rows[-1].seq


async def _own_conversations(
    services: Services, user_id: UUID
) -> AsyncGenerator[AiSessionRow, None]:
    after = None
    while rows := await services.store.own_ai_sessions(user_id, after=after, limit=PAGE):
        for row in rows:
            yield row
        after = rows[-1].id


async def files(services: Services, user_id: UUID) -> Rows:
    """Give what is known of the user's files, and where the archive has each."""
    async with aclosing(_own_files(services, user_id)) as found:
        async for row in found:
            yield attachment_dict(row.attachment) | {
                "sessionId": row.session_id,
                "messageId": row.message_id,
                "createdAt": iso(row.created_at),
                "path": _path(row),
            }


async def contents(services: Services, user_id: UUID) -> AsyncGenerator[tuple[str, bytes], None]:
    """Give the bytes of the user's files, piece by piece, each with its path in the archive.

    Of a file that is deleted meanwhile the rest is missing.

    Raises:
        Unavailable: they cannot be reached.
    """
    if services.files is None:
        return
    async with aclosing(_own_files(services, user_id)) as found:
        async for row in found:
            path = _path(row)
            with suppress(NotFound):
                for start in range(0, row.size, READ):
                    length = min(READ, row.size - start)
                    yield path, await services.files.blobs.read(row.key, start, length)


def _path(row: FileRow) -> str:
    return f"files/{row.id}/{row.name}"


async def _own_files(services: Services, user_id: UUID) -> AsyncGenerator[FileRow, None]:
    after = None
    while rows := await services.store.own_files(user_id, after=after, limit=PAGE):
        for row in rows:
            yield row
        after = rows[-1].id


async def _own_sessions(services: Services, user_id: UUID) -> AsyncGenerator[OwnSessionRow, None]:
    after = None
    while rows := await services.store.own_sessions(user_id, after=after, limit=PAGE):
        for row in rows:
            yield row
        after = rows[-1].session_id


async def _walk(
    services: Services, user_id: UUID, fetch: Callable[[Span, T | None], Awaitable[list[T]]]
) -> AsyncGenerator[T, None]:
    """Give the rows of all sessions, by session and `seq`, of which a read is in one span."""
    async with aclosing(_own_sessions(services, user_id)) as found:
        async for session in found:
            for start in range(0, session.seq, SPAN):
                span = Span(session.session_id, start, min(start + SPAN, session.seq))
                last: T | None = None
                while rows := await fetch(span, last):
                    for row in rows:
                        yield row
                    if len(rows) < PAGE:
                        break
                    last = rows[-1]


def _message(row: OwnMessageRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "sessionId": row.session_id,
        "seq": row.seq,
        "content": row.content,
        "createdAt": iso(row.created_at),
        "clientMsgId": row.client_msg_id,
        "replyToId": row.reply_to_id,
        "version": row.version,
        "editedAt": iso_or_none(row.edited_at),
        "deletedAt": iso_or_none(row.deleted_at),
        "mentions": row.mentions or (),
        **_marked(row.content),
    }


def _marked(content: str) -> dict[str, bool]:
    """Return what tells a text that does not decrypt from an empty one."""
    return {"unreadable": True} if content is UNREADABLE else {}


PARTS: dict[str, Callable[[Services, UUID], Rows]] = {
    "devices.json": devices,
    "identities.json": identities,
    "bots.json": bots,
    "tokens.json": tokens,
    "sessions.json": sessions,
    "messages.json": messages,
    "revisions.json": revisions,
    "reactions.json": reactions,
    "mentions.json": mentions,
    "ai_sessions.json": ai_sessions,
    "ai_messages.json": ai_messages,
    "audit.json": audit,
    "files.json": files,
}
