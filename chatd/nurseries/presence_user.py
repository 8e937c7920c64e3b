"""One user as presence knows them: their devices, their own status, what others were told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import trio

from chatd.context import Socket
from chatd.model import iso_or_none
from chatd.payloads import presence_dict
from chatd.rows import ManualStatus

TELL_INTERVAL = 1.0  # seconds between two user:status of one user


class Manual(NamedTuple):
    """A manual status, and when it was set, seconds since 1970: of two the newer one counts."""

    status: ManualStatus | None
    text: str | None
    until: datetime | None
    at: float


class StateElsewhere(NamedTuple):
    """What another daemon says of a user who has devices there."""

    is_away: bool  # all of them


@dataclass(slots=True, eq=False)
class PresentUser:
    """Somebody with a device here or elsewhere, or within the grace behind their last one here."""

    id: UUID
    last_seen: datetime | None
    sessions: set[UUID] = field(default_factory=set)
    manual: ManualStatus | None = None
    text: str | None = None
    until: datetime | None = None
    devices: dict[str, tuple[Socket, bool]] = field(default_factory=dict)  # is AWAY by hand
    shown: tuple[str, str | None] = ("OFFLINE", None)  # what the others were last told
    told: bytes = b""  # the same as the user:status that told it
    told_at: float = -TELL_INTERVAL
    is_waiting: bool = False  # a telling is scheduled
    ending: trio.CancelScope | None = None  # waits for `until`
    in_grace: bool = False  # no device here, and it is not yet said
    leaving: int = 0  # counts disconnects: a grace that is not the latest is void
    elsewhere: dict[str, StateElsewhere] = field(default_factory=dict)  # by daemon's tag
    sessions_elsewhere: set[UUID] = field(default_factory=set)
    moves: int = 0  # counts what was heard of sessions that they have come to, or left
    manual_at: float = 0.0  # when the manual status was set, seconds since 1970; the newest counts

    @property
    def public(self) -> tuple[str, str | None]:
        """Status and text as others are to see them."""
        if not self.is_present or self.manual == "INVISIBLE":
            return "OFFLINE", None
        if self.manual is not None:
            return self.manual, self.text
        is_away = self.is_away and all(each.is_away for each in self.elsewhere.values())
        return "AWAY" if is_away else "ONLINE", self.text

    @property
    def is_present(self) -> bool:
        """Whether they have a device, here or elsewhere."""
        return bool(self.devices or self.elsewhere)

    @property
    def is_away(self) -> bool:
        """Whether all their devices here are AWAY; so is somebody who has none here."""
        return all(by_hand or socket.is_idle for socket, by_hand in self.devices.values())

    @property
    def all_sessions(self) -> set[UUID]:
        """In which sessions they are seen."""
        return self.sessions | self.sessions_elsewhere if self.sessions_elsewhere else self.sessions

    @property
    def own_manual(self) -> tuple[ManualStatus | None, str | None, datetime | None]:
        """Their manual status, its text, and until when: a `Manual` without its time."""
        return self.manual, self.text, self.until

    @property
    def is_shown(self) -> bool:
        """Whether the others were told that they are there."""
        return self.shown[0] != "OFFLINE"

    def own_status(self) -> dict[str, Any]:
        """Return what the user has set, as they see it themselves."""
        return {
            "status": self.manual or "ONLINE",
            "text": self.text,
            "until": iso_or_none(self.until),
        }

    def view(self, public: tuple[str, str | None]) -> dict[str, Any]:
        """Return the `Presence` with this status and text."""
        return presence_dict(self.id, *public, self.last_seen)
