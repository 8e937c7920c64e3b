"""Members of sessions in PostgreSQL. Every change locks the session's row first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from chatd.contract.acts import Act, Mute
from chatd.rows import LeftReason, MemberChange, MemberRow, Role
from chatd.store.acts import lock_session, note, stand
from chatd.store.checks import update_notes
from chatd.store.pool import Params, Pool, Rows, Transaction

_MEMBERS = """
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen, m.muted_until, m.joined_seq, m.left_reason
    FROM session_users m
    JOIN users u ON u.id = m.user_id
    WHERE m.session_id = %(session_id)s AND m.left_at IS NULL
      AND (%(after)s::uuid IS NULL OR m.user_id > %(after)s::uuid)
    ORDER BY m.user_id
    LIMIT %(limit)s
"""

# Locked: whoever ends the account meanwhile waits, and then finds the membership.
_USER_EXISTS = """
    SELECT FROM users WHERE id = %(user_id)s AND erased_at IS NULL FOR SHARE
"""

_MEMBER = """
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen, m.muted_until, m.joined_seq, m.left_reason
    FROM session_users m
    JOIN users u ON u.id = m.user_id
    WHERE m.session_id = %(session_id)s AND m.user_id = %(user_id)s AND m.left_at IS NULL
"""

# A marker starts where the session stands: what was said before is history, not unread.
_JOIN = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1, member_count = member_count + 1
        WHERE id = %(session_id)s
        RETURNING id, seq, message_count, member_count
    ), joined AS (
        INSERT INTO session_users (
            session_id, user_id, role, joined_at, last_read_seq, last_read_ordinal, changed_seq,
            joined_seq
        )
        SELECT id, %(user_id)s, %(role)s, %(at)s, seq, message_count, seq, seq FROM raised
        ON CONFLICT (session_id, user_id) DO UPDATE
        SET role = excluded.role, joined_at = excluded.joined_at, left_at = NULL,
            left_reason = NULL, joined_seq = excluded.joined_seq,
            last_read_seq = excluded.last_read_seq,
            last_read_ordinal = excluded.last_read_ordinal, mention_count = 0,
            set_back_ordinal = NULL, own_above = 0, marked_unread = false,
            changed_seq = excluded.changed_seq
        RETURNING *
    )
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen, m.muted_until, m.joined_seq, m.left_reason,
           raised.member_count
    FROM raised, joined m
    JOIN users u ON u.id = m.user_id
"""

_LEAVE = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1, member_count = member_count - 1
        WHERE id = %(session_id)s
        RETURNING id, seq, member_count
    ), gone AS (
        UPDATE session_users m
        SET left_at = %(at)s, left_reason = %(reason)s, changed_seq = raised.seq
        FROM raised
        WHERE m.session_id = raised.id AND m.user_id = %(user_id)s
        RETURNING m.*
    )
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen, m.muted_until, m.joined_seq, m.left_reason,
           raised.member_count
    FROM raised, gone m
    JOIN users u ON u.id = m.user_id
"""

_SET_MEMBER = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1
        WHERE id = %(session_id)s
        RETURNING id, seq, member_count
    ), changed AS (
        UPDATE session_users m
        SET role = %(role)s, muted_until = %(muted_until)s, changed_seq = raised.seq
        FROM raised
        WHERE m.session_id = raised.id AND m.user_id = %(user_id)s
        RETURNING m.*
    )
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen, m.muted_until, m.joined_seq, m.left_reason,
           raised.member_count
    FROM raised, changed m
    JOIN users u ON u.id = m.user_id
"""

# Who inherits a session whose last OWNER goes; nobody when they are not the last, and no program.
_HEIR = """
    SELECT m.user_id
    FROM session_users m
    WHERE m.session_id = %(session_id)s AND m.left_at IS NULL AND m.role IN ('ADMIN', 'MEMBER')
      AND NOT EXISTS (
          SELECT FROM session_users o
          WHERE o.session_id = m.session_id AND o.left_at IS NULL AND o.role = 'OWNER'
            AND o.user_id <> %(user_id)s
      )
      AND substr(m.user_id::text, 15, 1) <> '8'  -- a bot's id: chatd.ids
    ORDER BY m.role = 'ADMIN' DESC, m.joined_at, m.user_id
    LIMIT 1
"""

_SET_WISHES = """
    UPDATE session_users
    SET muted = coalesce(%(muted)s, muted), favourite = coalesce(%(favourite)s, favourite)
    WHERE session_id = %(session_id)s AND user_id = %(user_id)s AND left_at IS NULL
    RETURNING muted, favourite
"""


class Members:
    """The statements on members."""

    _pool: Pool

    async def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id."""
        params = {"session_id": session_id, "after": after, "limit": limit}
        return [MemberRow(*row) for row in await self._pool.fetch(_MEMBERS, params)]

    async def add_member(
        self, session_id: UUID, user_id: UUID, *, role: Role, at: datetime, act: Act | None = None
    ) -> MemberChange | None:
        """Make a user a member and take a `seq`."""
        params = {"session_id": session_id, "user_id": user_id, "role": role, "at": at}

        async def work(transaction: Transaction) -> MemberChange | None:
            locked = await lock_session(transaction, session_id)
            if locked is None or not await has_account(transaction, user_id):
                return None
            present = await transaction.fetch(_MEMBER, params)
            if present:
                row, count = MemberRow(*present[0]), locked.member_count
                return MemberChange(row, locked.seq, count, is_changed=False)
            standing = await stand(transaction, act, session_id, user_id, at)
            if locked.kind == "DIRECT" or (act is None and standing.ban is not None):
                return None
            if act is not None:
                act.judge(standing)
            return changed(await join(transaction, params))

        return await self._pool.transact(work)

    async def remove_member(
        self, session_id: UUID, user_id: UUID, *, at: datetime, act: Act | None = None
    ) -> MemberChange | None:
        """End a membership and take a `seq`."""

        async def work(transaction: Transaction) -> MemberChange | None:
            locked = await lock_session(transaction, session_id)
            if locked is None or locked.kind == "DIRECT":
                return None
            standing = await stand(transaction, act, session_id, user_id, at)
            if standing.target is None:
                return None
            if act is not None:
                act.judge(standing)
            is_own = act is None or act.by == user_id
            if act is not None and not is_own:
                await note(transaction, act, "member_removed", session_id, user_id)
            reason: LeftReason = "left" if is_own else "removed"
            return await leave(transaction, session_id, user_id, at, reason, standing.target)

        return await self._pool.transact(work)

    async def update_member(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        role: Role | None = None,
        mute: Mute | None = None,
        act: Act,
    ) -> MemberChange | None:
        """Give a member another role, mute them or both, and take a `seq`."""

        async def work(transaction: Transaction) -> MemberChange | None:
            locked = await lock_session(transaction, session_id)
            params = {"session_id": session_id, "user_id": user_id}
            rows = await transaction.fetch(_MEMBER, params)
            if locked is None or locked.kind == "DIRECT" or not rows:
                return None
            before = MemberRow(*rows[0])
            after = before._replace(role=role or before.role)
            if mute is not None:
                after = after._replace(muted_until=mute.until)
            if after.role == "OWNER" != before.role:  # nobody could take the mute off
                after = after._replace(muted_until=None)
            if after == before:
                return MemberChange(before, locked.seq, locked.member_count, is_changed=False)
            standing = await stand(transaction, act, session_id, user_id, act.at)
            act.judge(standing)
            change = changed(await _set(transaction, after))
            is_handed_over = after.role == "OWNER" and before.role != "OWNER"
            if is_handed_over and standing.role == "OWNER":
                [giver] = await transaction.fetch(_MEMBER, params | {"user_id": act.by})
                given = MemberRow(*giver)._replace(role="ADMIN")
                given = changed(await _set(transaction, given)).member
                change = replace(change, seq=given.changed_seq, others=(given,))
            await _note_update(transaction, act, before, after)
            return change

        return await self._pool.transact(work)

    async def set_wishes(
        self, session_id: UUID, user_id: UUID, *, muted: bool | None, favourite: bool | None
    ) -> tuple[bool, bool] | None:
        """Set what members wish for their own list."""
        params = {
            "session_id": session_id,
            "user_id": user_id,
            "muted": muted,
            "favourite": favourite,
        }
        rows = await self._pool.fetch(_SET_WISHES, params, writes=True)
        return (rows[0][0], rows[0][1]) if rows else None


def changed(rows: Rows) -> MemberChange:
    """Return the change of the one member that a statement gives back."""
    [(*row, member_count)] = rows
    member = MemberRow(*row)
    return MemberChange(member, member.changed_seq, member_count, is_changed=True)


async def member_of(transaction: Transaction, session_id: UUID, user_id: UUID) -> MemberRow | None:
    """Return a current member."""
    params = {"session_id": session_id, "user_id": user_id}
    rows = await transaction.fetch(_MEMBER, params)
    return MemberRow(*rows[0]) if rows else None


async def has_account(transaction: Transaction, user_id: UUID) -> bool:
    """Return whether there is such a user, and their account has not ended."""
    return bool(await transaction.fetch(_USER_EXISTS, {"user_id": user_id}))


async def join(transaction: Transaction, params: Params) -> Rows:
    """Make a user a member: `session_id`, `user_id`, `role`, `at`; under the session's lock."""
    return await transaction.fetch(_JOIN, params)


async def leave(
    transaction: Transaction,
    session_id: UUID,
    user_id: UUID,
    at: datetime,
    reason: LeftReason,
    role: Role,
) -> MemberChange:
    """End a membership, after that of an OWNER has an heir; under the session's lock."""
    params = {"session_id": session_id, "user_id": user_id, "at": at, "reason": reason}
    others: tuple[MemberRow, ...] = ()
    if role == "OWNER":
        for (heir_id,) in await transaction.fetch(_HEIR, params):
            heir = {"user_id": heir_id, "role": "OWNER", "muted_until": None}
            others = (changed(await transaction.fetch(_SET_MEMBER, params | heir)).member,)
    return replace(changed(await transaction.fetch(_LEAVE, params)), others=others)


async def _set(transaction: Transaction, row: MemberRow) -> Rows:
    params = {
        "session_id": row.session_id,
        "user_id": row.user_id,
        "role": row.role,
        "muted_until": row.muted_until,
    }
    return await transaction.fetch(_SET_MEMBER, params)


async def _note_update(
    transaction: Transaction, act: Act, before: MemberRow, after: MemberRow
) -> None:
    for action, details in update_notes(before, after):
        await note(transaction, act, action, before.session_id, before.user_id, details)
