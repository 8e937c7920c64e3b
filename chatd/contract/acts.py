"""Who does something to a session or to somebody in it, judged at the moment of the change.

A role read before a change may be another one when the change gets its turn. So who may is judged
inside the transaction, under the session's lock, with the roles as they then are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from chatd.rows import BanRow, Role


class Standing(NamedTuple):
    """Where two people stand in a session; a role of None is that of nobody in it."""

    role: Role | None  # of who acts
    target: Role | None  # of whom it is done to
    ban: BanRow | None = None  # in force against the target


class Act(NamedTuple):
    """Who changes something, when, and who decides whether they may.

    `judge` raises to refuse, which undoes everything; what is so already is not judged, so that
    a change whose COMMIT was lost can be run again.
    """

    by: UUID
    at: datetime
    judge: Callable[[Standing], None]


class Mute(NamedTuple):
    """Until when somebody may not write; None: they may."""

    until: datetime | None
