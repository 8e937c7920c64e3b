"""Locks of the members whose mentions change, in PostgreSQL.

Counts of mentions are changed in the statement behind these. One that was under way while a marker
moved would judge by where it stood before, and leave a count that is wrong until it moves again.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chatd.store.arrays import Uuids
from chatd.store.pool import Transaction

_LOCK_MENTIONED = """
    SELECT FROM session_users
    WHERE session_id = %(session_id)s
      AND user_id IN (SELECT user_id FROM mentions WHERE message_id = ANY (%(message_ids)s))
    ORDER BY user_id
    FOR NO KEY UPDATE
"""

_LOCK_TO_BE_MENTIONED = """
    SELECT FROM messages m
    JOIN session_users who ON who.session_id = m.session_id
        AND (m.mentions = '{}' OR who.user_id = ANY (m.mentions))
    WHERE m.id = %(message_id)s
    ORDER BY who.user_id
    FOR NO KEY UPDATE OF who
"""


async def lock_mentioned(
    transaction: Transaction, session_id: UUID, message_ids: Sequence[UUID]
) -> None:
    """Keep the markers of those whom messages mention; under the session's lock."""
    params = {"session_id": session_id, "message_ids": Uuids(message_ids)}
    await transaction.fetch(_LOCK_MENTIONED, params)


async def lock_to_be_mentioned(transaction: Transaction, message_id: UUID) -> None:
    """Keep the markers of those whom a message now names; under the session's lock."""
    await transaction.fetch(_LOCK_TO_BE_MENTIONED, {"message_id": message_id})
