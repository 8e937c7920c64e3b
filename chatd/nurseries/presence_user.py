"""One user as presence knows them: their devices, their own status, what others were told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import trio

from chatd.context import Socket
from chatd.model import iso_or_none
from chatd.rows import ManualStatus

TELL_INTERVAL = 1.0  # seconds between two user:status of one user


@dataclass(slots=True, eq=False)
class PresentUser:
    """Somebody with a device here, or within the grace behind their last one."""

    id: UUID
    last_seen: datetime | None
    sessions: set[UUID] = field(default_factory=set)
    manual: ManualStatus | None = None
    text: str | None = None
    until: datetime | None = None
    devices: dict[str, tuple[Socket, bool]] = field(default_factory=dict)  # is AWAY by hand
    shown: tuple[str, str | None] = ("OFFLINE", None)  # what the others were last told
    told_at: float = -TELL_INTERVAL
    is_waiting: bool = False  # a telling is scheduled
    ending: trio.CancelScope | None = None  # waits for `until`
    leaving: int = 0  # counts disconnects: a grace that is not the latest is void

    @property
    def public(self) -> tuple[str, str | None]:
        """Status and text as others are to see them."""
        if not self.devices or self.manual == "INVISIBLE":
            return "OFFLINE", None
        if self.manual is not None:
            return self.manual, self.text
        is_away = all(by_hand or socket.is_idle for socket, by_hand in self.devices.values())
        return "AWAY" if is_away else "ONLINE", self.text

    def view(self, public: tuple[str, str | None]) -> dict[str, Any]:
        """Return the `Presence` with this status and text."""
        return presence_dict(self.id, *public, self.last_seen)


def presence_dict(
    user_id: UUID, status: str, text: str | None, last_seen: datetime | None
) -> dict[str, Any]:
    """Return a `Presence`."""
    return {
        "userId": user_id,
        "status": status,
        "lastSeen": iso_or_none(last_seen),
        "text": text,
    }
