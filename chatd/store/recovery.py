"""What Socket.IO connections need to come back, in PostgreSQL: kept at a stop, taken once after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

from chatd.rows import RecoveryRow
from chatd.store.arrays import Texts, Times, Uuids
from chatd.store.pool import Pool

PIECE_ROWS = 500  # of one statement: each row is an entry in three indexes and a lock of its user
PIECE_BYTES = 1 << 20  # of states in one statement: it is copied a few times on its way

# A pid given again replaces what is there. The lock waits for somebody who deletes the user at this
# moment and then leaves the row out; without it the reference would fail the whole statement. The
# order is the same for all nodes, so none deadlock. `b` is psycopg's binary form: as text a state
# is four times as long and 5,000 of 10 KiB take 4 s instead of 1.5.
_SAVE = """
    INSERT INTO socket_recoveries (pid, user_id, state, expires_at)
    SELECT b.pid, b.user_id, b.state, b.expires_at
    FROM unnest(%(pids)s, %(user_ids)s, %(states)b, %(times)s)
        AS b (pid, user_id, state, expires_at)
    JOIN users u ON u.id = b.user_id
    ORDER BY b.pid
    FOR KEY SHARE OF u
    ON CONFLICT (pid) DO UPDATE
    SET user_id = excluded.user_id, state = excluded.state, expires_at = excluded.expires_at
"""

_DELETE_EXPIRED = """
    DELETE FROM socket_recoveries WHERE expires_at <= %(at)s
"""

# Of two that ask at once the second waits for the first, and finds the row gone.
_TAKE = """
    DELETE FROM socket_recoveries
    WHERE pid = %(pid)s AND user_id = %(user_id)s AND expires_at > %(at)s
    RETURNING pid, user_id, state, expires_at
"""

_MEMBERSHIPS = """
    SELECT s.id, s.seq
    FROM session_users m
    JOIN sessions s ON s.id = m.session_id
    WHERE m.session_id = ANY (%(session_ids)s) AND m.user_id = %(user_id)s AND m.left_at IS NULL
"""


class Recoveries:
    """The statements for connections that come back."""

    _pool: Pool

    async def save_recoveries(self, rows: Sequence[RecoveryRow], at: datetime) -> None:
        """Keep these for a restart, and delete what has expired."""
        latest = {row.pid: row for row in rows}
        for piece in _pieces(latest.values()):
            params = {
                "pids": Texts([row.pid for row in piece]),
                "user_ids": Uuids([row.user_id for row in piece]),
                "states": [row.state for row in piece],
                "times": Times([row.expires_at for row in piece]),
            }
            await self._pool.fetch(_SAVE, params, writes=True)
        await self._pool.fetch(_DELETE_EXPIRED, {"at": at}, writes=True)

    async def take_recovery(self, pid: str, user_id: UUID, at: datetime) -> RecoveryRow | None:
        """Return and delete the state of a connection."""
        if not (pid.isascii() and pid.isprintable()):
            return None  # made up by a client; PostgreSQL would refuse NUL and lone surrogates
        params = {"pid": pid, "user_id": user_id, "at": at}
        rows = await self._pool.fetch(_TAKE, params, writes=True)
        return RecoveryRow(*rows[0]) if rows else None

    async def memberships(self, user_id: UUID, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of those sessions in which the user is a member."""
        params = {"user_id": user_id, "session_ids": Uuids(session_ids)}
        return dict(await self._pool.fetch(_MEMBERSHIPS, params))


def _pieces(rows: Iterable[RecoveryRow]) -> Iterator[list[RecoveryRow]]:
    """Cut rows into pieces of bounded length and size; a larger state goes alone."""
    piece: list[RecoveryRow] = []
    size = 0
    for row in rows:
        size += len(row.state)
        if piece and (len(piece) == PIECE_ROWS or size > PIECE_BYTES):
            yield piece
            piece, size = [], len(row.state)
        piece.append(row)
    if piece:
        yield piece
