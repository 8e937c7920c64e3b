"""The chain over the audit log, in the memory twin."""

from __future__ import annotations

from chatd.audit_chain import START, AuditLink, Head
from chatd.store.memory_state import Tables, statement


class MemoryAuditChain(Tables):
    """The part of the contract about the chain."""

    @statement
    def audit_links(self, *, above: int, limit: int) -> list[AuditLink]:
        """Return links above a position."""
        return [
            link._replace(line=self._audit_line(link.position))
            for link in self._chain[above : above + limit]
        ]

    @statement
    def audit_head(self) -> Head:
        """Return how far the chain goes."""
        last = self._chain[-1] if self._chain else None
        return START if last is None else Head(last.position, last.hash)

    @statement
    def unchained_audit_lines(self, limit: int) -> list[int]:
        """Return lines that are in no link."""
        written = len(self.audit) + len(self._acts)
        return list(range(len(self._chain) + 1, written + 1))[:limit]
