"""Commands and answers of what a session is set to (protocol.md section 3)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, model_validator

from chatd.events.fields import Name, Switch
from chatd.events.sessions import SessionRef
from chatd.model import Shape

MAX_SLOW_MODE = 120  # seconds between two messages of one member


class SessionUpdate(SessionRef):
    """Set what is given: at least one setting."""

    name: Name | None = None
    read_only: Switch | None = None
    archived: Switch | None = None
    slow_mode_seconds: Annotated[int, Field(ge=0, le=MAX_SLOW_MODE, strict=True)] | None = None

    @model_validator(mode="after")
    def _something(self) -> SessionUpdate:
        settings = (self.name, self.read_only, self.archived, self.slow_mode_seconds)
        if all(setting is None for setting in settings):
            msg = "takes at least one of name, readOnly, archived and slowModeSeconds"
            raise ValueError(msg)
        return self


class SessionDelete(SessionRef):
    """Delete a session with everything in it."""


class SessionPrefs(SessionRef):
    """Set what the caller wishes for their own list: at least one wish."""

    muted: Switch | None = None
    favourite: Switch | None = None

    @model_validator(mode="after")
    def _something(self) -> SessionPrefs:
        if self.muted is None and self.favourite is None:
            msg = "takes muted, favourite or both"
            raise ValueError(msg)
        return self


class Prefs(Shape):
    """What the caller wishes for a session in their own list."""

    session_id: UUID
    muted: bool
    favourite: bool
