"""What every change of a session by somebody begins and ends with, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from chatd.contract.acts import Act, Standing
from chatd.model import dumps
from chatd.rows import BanRow, SessionKind
from chatd.store.pool import Transaction

_LOCK_SESSION = """
    SELECT kind, seq, member_count FROM sessions
    WHERE id = %(session_id)s AND deleted_at IS NULL
    FOR NO KEY UPDATE
"""

_STANDING = """
    SELECT mine.role, theirs.role, b.session_id, b.user_id, u.name, u.avatar_url, b.banned_by,
           b.banned_at, b.banned_until, b.reason
    FROM sessions s
    LEFT JOIN session_users mine
        ON mine.session_id = s.id AND mine.user_id = %(by)s AND mine.left_at IS NULL
    LEFT JOIN session_users theirs
        ON theirs.session_id = s.id AND theirs.user_id = %(user_id)s AND theirs.left_at IS NULL
    LEFT JOIN session_bans b
        ON b.session_id = s.id AND b.user_id = %(user_id)s
        AND (b.banned_until IS NULL OR b.banned_until > %(at)s)
    LEFT JOIN users u ON u.id = b.user_id
    WHERE s.id = %(session_id)s
"""

_NOTE = """
    INSERT INTO audit_log (at, action, user_id, session_id, target_id, details)
    VALUES (%(at)s, %(action)s, %(by)s, %(session_id)s, %(target_id)s, %(details)s::jsonb)
"""


class Locked(NamedTuple):
    """A session whose lock is held."""

    kind: SessionKind
    seq: int
    member_count: int


async def lock_session(transaction: Transaction, session_id: UUID) -> Locked | None:
    """Take a session's lock, which every durable change of it takes; None: there is none."""
    rows = await transaction.fetch(_LOCK_SESSION, {"session_id": session_id})
    return Locked(*rows[0]) if rows else None


async def stand(
    transaction: Transaction, act: Act | None, session_id: UUID, user_id: UUID, at: datetime
) -> Standing:
    """Return where who acts and who it is done to stand now; without an act they are the same."""
    by = user_id if act is None else act.by
    params = {"session_id": session_id, "user_id": user_id, "by": by, "at": at}
    [(role, target, *ban)] = await transaction.fetch(_STANDING, params)
    return Standing(role, target, BanRow(*ban) if ban[0] is not None else None)


async def note(
    transaction: Transaction,
    act: Act,
    action: str,
    session_id: UUID,
    target_id: UUID | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Write into the audit log what somebody did."""
    params = {
        "at": act.at,
        "action": action,
        "by": act.by,
        "session_id": session_id,
        "target_id": target_id,
        "details": dumps(details or {}).decode(),
    }
    await transaction.fetch(_NOTE, params)
