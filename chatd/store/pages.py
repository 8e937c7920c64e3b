"""What readers of a session see, in PostgreSQL: each page is one statement, hence one snapshot.

`FULL JOIN ... ON false` puts unlike rows under each other: each row that comes back has the columns
of one part, and NULL in those of the others.
"""

from __future__ import annotations

from uuid import UUID

from chatd.rows import ChangesPage, HistoryPage, JoinPage, MemberRow, MessageRow, SessionRow
from chatd.store.checks import JOIN_MEMBERS, one_bound
from chatd.store.columns import MESSAGE
from chatd.store.contents import Contents
from chatd.store.pool import Pool

MAX_SEQ = 2**63 - 1

# Where columns begin: a message's behind a session's, in a join page 5 more; a member's behind it.
_SESSION = len(SessionRow._fields)
_HEAD = _SESSION + 5
_PLACE = _HEAD + len(MessageRow._fields)
_MEMBER = _SESSION + len(MessageRow._fields)

# All kinds of pages have a pivot: `older` messages below it, `newer` from it on, and one more on
# each side that tells whether there are more.
_HISTORY = f"""
    WITH pivot AS (
        SELECT CASE WHEN %(around_id)s::uuid IS NULL THEN %(pivot)s::bigint ELSE (
            SELECT seq FROM messages
            WHERE id = %(around_id)s::uuid AND session_id = %(session_id)s
        ) END AS seq
    )
    SELECT s.seq, m.seq < pivot.seq,
           {MESSAGE}
    FROM session_users mine
    JOIN sessions s ON s.id = mine.session_id
    CROSS JOIN pivot
    LEFT JOIN LATERAL (
        (SELECT * FROM messages m
         WHERE m.session_id = s.id AND m.seq < pivot.seq
         ORDER BY m.seq DESC LIMIT %(older)s + 1)
        UNION ALL
        (SELECT * FROM messages m
         WHERE m.session_id = s.id AND m.seq >= pivot.seq
         ORDER BY m.seq LIMIT %(newer)s + 1)
    ) m ON true
    LEFT JOIN users u ON u.id = m.sender_id
    WHERE mine.session_id = %(session_id)s AND mine.user_id = %(user_id)s
      AND mine.left_at IS NULL
    ORDER BY m.seq
"""

_JOIN_PAGE = f"""
    WITH head AS (
        SELECT s.id, s.kind, s.name, s.seq, s.member_count, s.created_at,
               s.is_read_only, s.archived_at, s.slow_mode_seconds, mine.role,
               unread_of(s, mine) AS unread_count, mine.mention_count, mine.last_read_seq,
               coalesce(s.seq - %(since)s::bigint BETWEEN 0 AND %(replay)s, false) AS is_recovered
        FROM session_users mine
        JOIN sessions s ON s.id = mine.session_id
        WHERE mine.session_id = %(session_id)s AND mine.user_id = %(user_id)s
          AND mine.left_at IS NULL
    ), page AS (
        SELECT m.*
        FROM head
        CROSS JOIN LATERAL (
            (SELECT *, changed_seq AS place FROM messages
             WHERE head.is_recovered AND session_id = head.id
               AND changed_seq > %(since)s::bigint)
            UNION ALL
            (SELECT *, seq AS place FROM messages
             WHERE NOT head.is_recovered AND session_id = head.id
             ORDER BY seq DESC LIMIT %(limit)s + 1)
        ) m
    ), message AS (
        SELECT {MESSAGE},
               m.place
        FROM page m JOIN users u ON u.id = m.sender_id
    ), member AS (
        SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
               m.left_at, u.last_seen, m.muted_until, m.joined_seq, m.left_reason
        FROM head
        JOIN session_users m ON m.session_id = head.id AND m.left_at IS NULL
        JOIN users u ON u.id = m.user_id
        ORDER BY m.user_id
        LIMIT %(members)s
    )
    SELECT head.*, message.*, member.*
    FROM head
    FULL JOIN message ON false
    FULL JOIN member ON false
    ORDER BY message.place, member.user_id
"""

_CHANGES_SINCE = f"""
    WITH message AS (
        SELECT {MESSAGE}
        FROM messages m
        JOIN users u ON u.id = m.sender_id
        WHERE m.session_id = %(session_id)s AND m.changed_seq > %(seq)s
        ORDER BY m.changed_seq
        LIMIT %(limit)s + 1
    ), member AS (
        SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
               m.left_at, u.last_seen, m.muted_until, m.joined_seq, m.left_reason
        FROM session_users m
        JOIN users u ON u.id = m.user_id
        WHERE m.session_id = %(session_id)s AND m.changed_seq > %(seq)s
        ORDER BY m.changed_seq
        LIMIT %(limit)s + 1
    ), head AS (
        SELECT s.id, s.kind, s.name, s.seq, s.member_count, s.created_at,
               s.is_read_only, s.archived_at, s.slow_mode_seconds
        FROM sessions s
        WHERE s.id = %(session_id)s AND s.deleted_at IS NULL
    )
    SELECT head.*, message.*, member.*
    FROM head
    FULL JOIN message ON false
    FULL JOIN member ON false
    ORDER BY message.changed_seq, member.changed_seq
"""


class Pages:
    """The statements that read a session."""

    _pool: Pool
    _contents: Contents

    async def history(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        around_id: UUID | None = None,
        limit: int = 50,
    ) -> HistoryPage | None:
        """Return a page by keyset."""
        one_bound(before_seq, after_seq, around_id)
        pivot, older, newer = MAX_SEQ, limit, 0
        if before_seq is not None:
            pivot = before_seq
        elif after_seq is not None:
            pivot, older, newer = after_seq + 1, 0, limit
        elif around_id is not None:
            older, newer = limit // 2, limit - limit // 2
        params = {
            "session_id": session_id,
            "user_id": user_id,
            "around_id": around_id,
            "pivot": pivot,
            "older": older,
            "newer": newer,
        }
        rows = await self._pool.fetch(_HISTORY, params)
        if not rows:
            return None
        below = sum(row[1] is True for row in rows)
        above = sum(row[1] is False for row in rows)
        first, last = max(below - older, 0), below + min(above, newer)
        return HistoryPage(
            [self._contents.message_row(*row[2:]) for row in rows[first:last]],
            has_before=below > older,
            has_after=above > newer,
            seq=rows[0][0],
        )

    async def join_page(
        self, session_id: UUID, user_id: UUID, *, since: int | None, replay: int, limit: int
    ) -> JoinPage | None:
        """Read what a member sees at join."""
        params = {
            "session_id": session_id,
            "user_id": user_id,
            "since": since,
            "replay": replay,
            "limit": limit,
            "members": JOIN_MEMBERS,
        }
        rows = await self._pool.fetch(_JOIN_PAGE, params)
        head = next((row for row in rows if row[0] is not None), None)
        if head is None:
            return None
        role, unread_count, mention_count, last_read_seq, is_recovered = head[_SESSION:_HEAD]
        message_row = self._contents.message_row
        messages = [message_row(*row[_HEAD:_PLACE]) for row in rows if row[_HEAD] is not None]
        has_more = not is_recovered and len(messages) > limit
        return JoinPage(
            session=SessionRow(*head[:_SESSION]),
            role=role,
            messages=messages[1:] if has_more else messages,
            has_more=has_more,
            recovered=is_recovered,
            members=[MemberRow(*row[_PLACE + 1 :]) for row in rows if row[_PLACE + 1] is not None],
            unread_count=unread_count,
            mention_count=mention_count,
            last_read_seq=last_read_seq,
        )

    async def changes_since(self, session_id: UUID, seq: int, limit: int) -> ChangesPage:
        """Return current rows whose `changed_seq` is above `seq`."""
        params = {"session_id": session_id, "seq": seq, "limit": limit}
        rows = await self._pool.fetch(_CHANGES_SINCE, params)
        head = next((row for row in rows if row[0] is not None), None)
        if head is None:
            return ChangesPage(seq, is_complete=True, messages=[], members=[], session=None)
        session = SessionRow(*head[:_SESSION])
        messages = [
            self._contents.message_row(*row[_SESSION:_MEMBER])
            for row in rows
            if row[_SESSION] is not None
        ]
        members = [MemberRow(*row[_MEMBER:]) for row in rows if row[_MEMBER] is not None]
        changes = sorted([m.changed_seq for m in messages] + [m.changed_seq for m in members])
        is_complete = len(changes) <= limit
        reach = session.seq if is_complete else changes[limit - 1]
        return ChangesPage(
            seq=reach,
            is_complete=is_complete,
            messages=[row for row in messages if row.changed_seq <= reach],
            members=[row for row in members if row.changed_seq <= reach],
            session=session,
        )
