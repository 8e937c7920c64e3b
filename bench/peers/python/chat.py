"""The operations: validation and SQL. Shapes are chatd's, statements those of the Node peer."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation

from bench.peers.python.auth import ChatError, hash_password, issue_token
from bench.peers.python.database import Pool, fetch

MAX_CONTENT = 16_384
MAX_SEQ = 2**53 - 1
PAGE = 50

# One statement, one commit. The update's row lock makes the session's messages wait for each
# other, so seq has no holes; a repeated client_msg_id fails the whole statement and takes none.
_SEND = """
    WITH member AS (
        SELECT u.id, u.name, u.avatar_url
        FROM session_users s JOIN users u ON u.id = s.user_id
        WHERE s.session_id = %(session_id)s AND s.user_id = %(user_id)s
    ), raised AS (
        UPDATE sessions SET seq = seq + 1
        WHERE id = %(session_id)s AND EXISTS (SELECT FROM member)
        RETURNING seq
    ), m AS (
        INSERT INTO messages (id, session_id, seq, sender_id, content, created_at, client_msg_id)
        SELECT %(id)s, %(session_id)s, raised.seq, %(user_id)s, %(content)s, now(),
               %(client_msg_id)s
        FROM raised
        RETURNING *
    )
    SELECT m.id, m.session_id, m.seq, m.sender_id, u.name, u.avatar_url, m.content, m.created_at,
           m.client_msg_id
    FROM m, member u
"""

_FIND = """
    SELECT m.id, m.session_id, m.seq, m.sender_id, u.name, u.avatar_url, m.content, m.created_at,
           m.client_msg_id
    FROM messages m JOIN users u ON u.id = m.sender_id
    WHERE m.sender_id = %(user_id)s AND m.client_msg_id = %(client_msg_id)s
"""

_IS_MEMBER = """
    SELECT 1 FROM session_users WHERE session_id = %(session_id)s AND user_id = %(user_id)s
"""

# The membership is part of the query: its row comes back even when there is no message.
_HISTORY = """
    SELECT s.seq AS head, m.id, m.session_id, m.seq, m.sender_id, u.name, u.avatar_url, m.content,
           m.created_at, m.client_msg_id
    FROM session_users mine
    JOIN sessions s ON s.id = mine.session_id
    LEFT JOIN LATERAL (
        SELECT * FROM messages
        WHERE session_id = s.id AND seq < %(before)s
        ORDER BY seq DESC LIMIT %(limit)s
    ) m ON true
    LEFT JOIN users u ON u.id = m.sender_id
    WHERE mine.session_id = %(session_id)s AND mine.user_id = %(user_id)s
    ORDER BY m.seq
"""

_REGISTER = """
    INSERT INTO users (id, email, name, password_hash)
    VALUES (%(id)s, %(email)s, %(name)s, %(password_hash)s)
    RETURNING id
"""

_CREATE = """
    WITH session AS (
        INSERT INTO sessions (id, kind, name, created_by)
        VALUES (%(id)s, %(kind)s, %(name)s, %(user_id)s)
        RETURNING *
    ), members AS (
        INSERT INTO session_users (session_id, user_id, role)
        SELECT %(id)s::uuid, %(user_id)s::uuid, 'OWNER' UNION ALL
        SELECT %(id)s, unnest(%(others)s::uuid[]), 'MEMBER'
    )
    SELECT * FROM session
"""


def _check(is_valid: bool) -> None:  # noqa: FBT001 - it is the only argument
    if not is_valid:
        raise ChatError(400, "validation")


def _uuid(value: object) -> UUID:
    _check(isinstance(value, str))
    try:
        return UUID(str(value))
    except ValueError:
        raise ChatError(400, "validation") from None


def _text(value: object, shortest: int, longest: int) -> str:
    _check(isinstance(value, str) and shortest <= len(value) <= longest)
    return str(value)


def _message(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "sessionId": str(row["session_id"]),
        "seq": row["seq"],
        "sender": {
            "id": str(row["sender_id"]),
            "name": row["name"],
            "avatarUrl": row["avatar_url"],
        },
        "content": row["content"],
        "createdAt": row["created_at"].isoformat(timespec="milliseconds"),
        "clientMsgId": row["client_msg_id"],
        "replyTo": None,
        "mentions": [],
        "attachments": [],
    }


async def register(pool: Pool, body: dict[str, Any]) -> dict[str, Any]:
    """Make an account and return it with an access token."""
    email, name = _text(body.get("email"), 3, 254), _text(body.get("name"), 1, 64)
    password = _text(body.get("password"), 8, 72)
    user_id = uuid4()
    values = {"id": user_id, "email": email, "name": name}
    try:
        await fetch(pool, _REGISTER, values | {"password_hash": await hash_password(password)})
    except UniqueViolation:
        raise ChatError(409, "conflict") from None
    user = {"id": str(user_id), "name": name, "avatarUrl": None, "email": email}
    return {"user": user, "accessToken": issue_token(str(user_id))}


async def create_session(pool: Pool, user_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Open a session of the caller and others."""
    kind, name, members = body.get("kind"), _text(body.get("name"), 1, 255), body.get("memberIds")
    _check(kind in {"GROUP", "PUBLIC"})
    _check(isinstance(members, list) and len(members) <= 1000)
    others = [one for one in dict.fromkeys(map(_uuid, members or [])) if str(one) != user_id]
    values = {"id": uuid4(), "kind": kind, "name": name, "user_id": user_id, "others": others}
    (row,) = await fetch(pool, _CREATE, values)
    return {
        "id": str(row["id"]),
        "kind": row["kind"],
        "name": row["name"],
        "seq": row["seq"],
        "memberCount": len(others) + 1,
        "createdAt": row["created_at"].isoformat(timespec="milliseconds"),
    }


async def check_member(pool: Pool, user_id: str, session_id: UUID) -> None:
    """Let members pass."""
    if not await fetch(pool, _IS_MEMBER, {"session_id": session_id, "user_id": user_id}):
        raise ChatError(403, "not_a_member")


async def page(
    pool: Pool, user_id: str, session_id: UUID, *, before: int | None = None, limit: int = PAGE
) -> dict[str, Any]:
    """Return a page of messages by keyset, oldest first."""
    values = {
        "session_id": session_id,
        "user_id": user_id,
        "before": MAX_SEQ if before is None else before,
        "limit": limit + 1,
    }
    rows = await fetch(pool, _HISTORY, values)
    if not rows:
        raise ChatError(403, "not_a_member")
    found = [row for row in rows if row["id"] is not None]
    return {
        "messages": [_message(row) for row in found[-limit:]],
        "hasBefore": len(found) > limit,
        "hasAfter": before is not None and rows[0]["head"] >= before,
        "seq": rows[0]["head"],
    }


async def history(pool: Pool, user_id: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    """Return what GET /chat/sessions/:id/messages answers."""
    session_id = _uuid(path)
    try:
        limit = int(query.get("limit", PAGE))
        before = int(query["beforeSeq"]) if "beforeSeq" in query else None
    except ValueError:
        raise ChatError(400, "validation") from None
    _check(1 <= limit <= 100 and (before is None or before <= MAX_SEQ))
    return await page(pool, user_id, session_id, before=before, limit=limit)


async def send(pool: Pool, user_id: str, payload: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Store a message; return it, committed, and whether it was there already."""
    values = {
        "id": uuid4(),
        "session_id": _uuid(payload.get("sessionId")),
        "user_id": user_id,
        "content": _text(payload.get("content"), 1, MAX_CONTENT),
        "client_msg_id": _text(payload.get("clientMsgId"), 1, 255),
    }
    try:
        rows = await fetch(pool, _SEND, values)
    except UniqueViolation:
        return await _repeated(pool, values), True
    if not rows:
        raise ChatError(403, "not_a_member")
    return _message(rows[0]), False


async def _repeated(pool: Pool, values: dict[str, Any]) -> dict[str, Any]:
    keys = {name: values[name] for name in ("user_id", "client_msg_id")}
    for row in await fetch(pool, _FIND, keys):
        if (row["session_id"], row["content"]) == (values["session_id"], values["content"]):
            return _message(row)
    raise ChatError(409, "idempotency_conflict")


def session_id_of(payload: dict[str, Any]) -> UUID:
    """Return the session that an event names."""
    return _uuid(payload.get("sessionId"))
