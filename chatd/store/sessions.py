"""Sessions in PostgreSQL: making them, listing them, where a user stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from chatd.rows import (
    PositionRow,
    Role,
    RulesRow,
    SessionKind,
    SessionListRow,
    SessionRow,
    UserRow,
)
from chatd.store.arrays import Uuids
from chatd.store.checks import direct_key, members_to_be
from chatd.store.columns import MESSAGE, USER
from chatd.store.contents import Contents
from chatd.store.pool import Pool, Transaction

# Where a session's columns end, and those of its line in a list: a message's follow.
_SESSION = len(SessionRow._fields)
_USER = len(fields(UserRow))
_POSITION = len(PositionRow._fields)
_UNREAD = PositionRow._fields.index("unread_count")
_LINE = _SESSION + 7

# Whoever ends one of these accounts meanwhile waits, and then finds the membership.
_LOCK_USERS = """
    SELECT FROM users WHERE id = ANY (%(everyone)s) ORDER BY id FOR SHARE
"""

_MISSING_USER = """
    SELECT wanted.id
    FROM unnest(%(everyone)s) WITH ORDINALITY AS wanted (id, place)
    WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = wanted.id AND u.erased_at IS NULL)
    ORDER BY place
    LIMIT 1
"""

# Of two that ask for the same pair at once, the second waits here for the first to commit.
_INSERT_SESSION = """
    INSERT INTO sessions (
        id, kind, name, direct_key, created_by, created_at, active_at, member_count
    )
    VALUES (
        %(session_id)s, %(kind)s, %(name)s, %(direct_key)s, %(creator_id)s, %(at)s, %(at)s,
        %(member_count)s
    )
    ON CONFLICT (direct_key) WHERE direct_key IS NOT NULL DO NOTHING
    RETURNING id, kind, name, seq, member_count, created_at, is_read_only, archived_at,
              slow_mode_seconds
"""

_INSERT_MEMBERS = """
    INSERT INTO session_users (session_id, user_id, role, joined_at)
    SELECT %(session_id)s, user_id,
           CASE WHEN %(kind)s <> 'DIRECT' AND user_id = %(creator_id)s THEN 'OWNER'
                ELSE 'MEMBER' END,
           %(at)s
    FROM unnest(%(everyone)s) AS user_id
"""

_DIRECT_SESSION = """
    SELECT id, kind, name, seq, member_count, created_at, is_read_only, archived_at,
           slow_mode_seconds
    FROM sessions
    WHERE direct_key = %(direct_key)s
"""

_SESSION_FOR = """
    SELECT s.id, s.kind, s.name, s.seq, s.member_count, s.created_at, s.is_read_only,
           s.archived_at, s.slow_mode_seconds, m.role
    FROM sessions s
    LEFT JOIN session_users m
        ON m.session_id = s.id AND m.user_id = %(user_id)s AND m.left_at IS NULL
    WHERE s.id = %(session_id)s AND (m.role IS NOT NULL OR s.kind = 'PUBLIC')
      AND s.deleted_at IS NULL
"""

_RULES_FOR = """
    SELECT mine.role, s.archived_at IS NOT NULL, s.is_read_only, mine.muted_until
    FROM sessions s
    JOIN session_users mine
        ON mine.session_id = s.id AND mine.user_id = %(user_id)s AND mine.left_at IS NULL
    WHERE s.id = %(session_id)s AND s.deleted_at IS NULL
"""

_LIST_SESSIONS = f"""
    SELECT s.id, s.kind, s.name, s.seq, s.member_count, s.created_at,
           s.is_read_only, s.archived_at, s.slow_mode_seconds,
           mine.role, mine.unread_count, mine.mention_count, mine.last_read_seq, mine.muted,
           mine.favourite, mine.is_marked,
           {MESSAGE}
    FROM (
        SELECT s.id, m.role, unread_of(s, m) AS unread_count, m.mention_count, m.last_read_seq,
               m.muted, m.favourite,
               m.marked_unread AND m.set_back_ordinal = m.last_read_ordinal AS is_marked
        FROM session_users m
        JOIN sessions s ON s.id = m.session_id
        WHERE m.user_id = %(user_id)s AND m.left_at IS NULL
          AND (%(before_at)s::timestamptz IS NULL
               OR (s.active_at, s.id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
        ORDER BY s.active_at DESC, s.id DESC
        LIMIT %(limit)s
    ) mine
    JOIN sessions s ON s.id = mine.id
    LEFT JOIN LATERAL (
        SELECT * FROM messages m WHERE m.session_id = s.id ORDER BY m.seq DESC LIMIT 1
    ) m ON true
    LEFT JOIN users u ON u.id = m.sender_id
    ORDER BY s.active_at DESC, s.id DESC
"""

# A row an account and a row a position, because an account may have hundreds of positions. A count
# that is no plain difference is NULL here and read behind: a call of `unread_of` would take 8 % of
# a statement that every connect runs, also where it has nothing to look up.
_FIRST_STATES = f"""
    WITH account AS (
        SELECT {USER}
        FROM users u
        WHERE id = ANY (%(user_ids)s)
    ), position AS (
        SELECT account.id AS user_id, latest.*
        FROM account
        CROSS JOIN LATERAL (
            SELECT s.id, s.seq,
                   CASE WHEN s.last_deleted_ordinal <= m.last_read_ordinal
                             AND m.set_back_ordinal IS NULL
                        THEN s.message_count - m.last_read_ordinal END AS unread_count,
                   m.mention_count, m.last_read_seq, s.member_count, s.active_at
            FROM session_users m
            JOIN sessions s ON s.id = m.session_id
            WHERE m.user_id = account.id AND m.left_at IS NULL
            ORDER BY s.active_at DESC, s.id DESC
            LIMIT %(limit)s
        ) latest
    )
    SELECT account.*, position.*
    FROM account
    FULL JOIN position ON false
    ORDER BY account.id, position.active_at DESC, position.id DESC
"""

_POSITIONS = """
    SELECT m.user_id, s.id, s.seq, unread_of(s, m), m.mention_count, m.last_read_seq, s.member_count
    FROM unnest(%(user_ids)s, %(session_ids)s) AS asked (user_id, session_id)
    JOIN session_users m
        ON m.session_id = asked.session_id AND m.user_id = asked.user_id AND m.left_at IS NULL
    JOIN sessions s ON s.id = m.session_id
"""

_HEADS = """
    SELECT id, seq FROM sessions WHERE id = ANY (%(session_ids)s) AND deleted_at IS NULL
"""


class Sessions:
    """The statements on sessions."""

    _pool: Pool
    _contents: Contents

    async def create_session(
        self,
        *,
        session_id: UUID,
        kind: SessionKind,
        name: str | None,
        creator_id: UUID,
        member_ids: Sequence[UUID],
        at: datetime,
    ) -> tuple[SessionRow, bool]:
        """Store a session and its members, or return the DIRECT session of the pair."""
        everyone = members_to_be(kind, creator_id, member_ids)
        params = {
            "session_id": session_id,
            "kind": kind,
            "name": name,
            "direct_key": direct_key(kind, everyone),
            "creator_id": creator_id,
            "everyone": Uuids(everyone),
            "member_count": len(everyone),
            "at": at,
        }

        async def work(transaction: Transaction) -> tuple[SessionRow, bool]:
            await transaction.fetch(_LOCK_USERS, params)
            for (missing,) in await transaction.fetch(_MISSING_USER, params):
                raise KeyError(missing)
            rows = await transaction.fetch(_INSERT_SESSION, params)
            if not rows:
                [row] = await transaction.fetch(_DIRECT_SESSION, params)
                return SessionRow(*row), False
            await transaction.fetch(_INSERT_MEMBERS, params)
            return SessionRow(*rows[0]), True

        return await self._pool.transact(work)

    async def session_for(
        self, session_id: UUID, user_id: UUID
    ) -> tuple[SessionRow, Role | None] | None:
        """Return a session that the user may see."""
        params = {"session_id": session_id, "user_id": user_id}
        rows = await self._pool.fetch(_SESSION_FOR, params)
        return (SessionRow(*rows[0][:_SESSION]), rows[0][_SESSION]) if rows else None

    async def rules_for(self, session_id: UUID, user_id: UUID) -> RulesRow | None:
        """Return what a session lets a member do."""
        params = {"session_id": session_id, "user_id": user_id}
        rows = await self._pool.fetch(_RULES_FOR, params)
        return RulesRow(*rows[0]) if rows else None

    async def list_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[SessionListRow]:
        """Return the sessions of a user, latest activity first."""
        before_at, before_id = before or (None, None)
        params = {
            "user_id": user_id,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        }
        return [self._line(*row) for row in await self._pool.fetch(_LIST_SESSIONS, params)]

    async def first_states(
        self, user_ids: Sequence[UUID], limit: int
    ) -> dict[UUID, tuple[UserRow, list[PositionRow]]]:
        """Return accounts and where each stands in its sessions."""
        params = {"user_ids": Uuids(user_ids), "limit": limit}
        states: dict[UUID, tuple[UserRow, list[PositionRow]]] = {}
        rough: list[tuple[UUID, UUID]] = []
        for row in await self._pool.fetch(_FIRST_STATES, params):
            if row[0] is not None:  # accounts come first: NULLs sort last
                states[row[0]] = UserRow(*row[:_USER]), []
            else:
                user_id, *position = row[_USER:]
                states[user_id][1].append(PositionRow(*position[:_POSITION]))
                if position[_UNREAD] is None:
                    rough.append((user_id, position[0]))
        if rough:
            await self._count_exactly(states, rough)
        return states

    async def _count_exactly(
        self,
        states: dict[UUID, tuple[UserRow, list[PositionRow]]],
        rough: Sequence[tuple[UUID, UUID]],
    ) -> None:
        """Put whole positions in place of those without a count; who left meanwhile has none."""
        params = {
            "user_ids": Uuids([user_id for user_id, _ in rough]),
            "session_ids": Uuids([session_id for _, session_id in rough]),
        }
        rows = await self._pool.fetch(_POSITIONS, params)
        exact = {(row[0], row[1]): PositionRow(*row[1:]) for row in rows}
        gone = set(rough) - exact.keys()
        for user_id in {user_id for user_id, _ in rough}:
            positions = states[user_id][1]
            positions[:] = [
                exact.get((user_id, each.session_id), each)
                for each in positions
                if (user_id, each.session_id) not in gone
            ]

    async def heads(self, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of each of these sessions that exists."""
        return dict(await self._pool.fetch(_HEADS, {"session_ids": Uuids(session_ids)}))

    def _line(self, *row: Any) -> SessionListRow:
        role, unread_count, mention_count, last_read_seq, muted, favourite, is_marked = row[
            _SESSION:_LINE
        ]
        last = None if row[_LINE] is None else self._contents.message_row(*row[_LINE:])
        return SessionListRow(
            session=SessionRow(*row[:_SESSION]),
            role=role,
            unread_count=unread_count,
            mention_count=mention_count,
            last_read_seq=last_read_seq,
            muted=muted,
            last_message=last,
            favourite=favourite,
            marked_unread=is_marked,
        )
