"""The chain over the audit log, in PostgreSQL; chain_audit() in schema.sql makes its links."""

from __future__ import annotations

from chatd.audit_chain import START, AuditLine, AuditLink, Head
from chatd.store.pool import Pool

_LINKS = """
    SELECT c.position, c.audit_id, c.erasable, c.hash,
           a.id, a.at, a.action, a.user_id, a.session_id, a.target_id, a.address,
           a.details::text, a.salt, u.erased_at IS NOT NULL
    FROM audit_chain c
    LEFT JOIN audit_log a ON a.id = c.audit_id
    LEFT JOIN users u ON u.id = a.user_id
    WHERE c.position > %(above)s
    ORDER BY c.position
    LIMIT %(limit)s
"""

_HEAD = "SELECT position, hash FROM audit_chain ORDER BY position DESC LIMIT 1"

_UNCHAINED = """
    SELECT id FROM audit_log a
    WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id)
    ORDER BY id
    LIMIT %(limit)s
"""


class AuditChain:
    """The statements on the chain."""

    _pool: Pool

    async def audit_links(self, *, above: int, limit: int) -> list[AuditLink]:
        """Return links above a position."""
        rows = await self._pool.fetch(_LINKS, {"above": above, "limit": limit})
        return [
            AuditLink(position, audit_id, erasable, digest, AuditLine(*line) if line[0] else None)
            for position, audit_id, erasable, digest, *line in rows
        ]

    async def audit_head(self) -> Head:
        """Return how far the chain goes."""
        rows = await self._pool.fetch(_HEAD)
        return Head(*rows[0]) if rows else START

    async def unchained_audit_lines(self, limit: int) -> list[int]:
        """Return lines that are in no link."""
        return [each for (each,) in await self._pool.fetch(_UNCHAINED, {"limit": limit})]
