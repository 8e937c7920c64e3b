"""Who may come in, whatever the wire: what the daemon has for it, and what is read first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import structlog
from orjson import Fragment

from chatd.context import Services
from chatd.errors import CloseCode, Forbidden, RateLimited, StoreError, Unavailable
from chatd.events.fields import MAX_CONTENT
from chatd.model import dumps
from chatd.nurseries.cluster import Cluster
from chatd.nurseries.first_states import FirstStates
from chatd.nurseries.presence import Presence
from chatd.nurseries.sockets import Sockets
from chatd.nurseries.typing import Typing
from chatd.rows import PositionRow, UserRow
from chatd.tokens import Identity

TYPING_RESEND_MS = 3000  # below half of the expiry: one lost start does not end a typing

log = structlog.get_logger("chatd.connection")


@dataclass(frozen=True)
class Live:
    """What connections need of the daemon beside the handlers' services."""

    services: Services
    sockets: Sockets
    presence: Presence
    typing: Typing
    first_states: FirstStates
    cluster: Cluster | None = None  # None: there are no other daemons

    @cached_property
    def constants(self) -> dict[str, Fragment]:
        """What `connection:ready` tells every client, encoded once."""
        settings = self.services.settings
        limits = {
            "maxFrameBytes": settings.frame_bytes,
            "maxContentChars": MAX_CONTENT,
            "maxJoinedSessions": settings.max_joined_sessions,
            "replayEvents": settings.replay_events,
        }
        timings = {
            "pingIntervalMs": round(settings.ping_interval * 1000),
            "pingTimeoutMs": round(settings.ping_timeout * 1000),
            "typingResendMs": TYPING_RESEND_MS,
            "typingExpiryMs": round(settings.typing_expiry * 1000),
            "idleAfterMs": round(settings.idle_after * 1000),
        }
        return {"limits": Fragment(dumps(limits)), "timings": Fragment(dumps(timings))}


@dataclass(frozen=True, slots=True)
class FirstState:
    """Who connects, and where they stand in each session; read before the registration."""

    identity: Identity
    user: UserRow
    positions: list[PositionRow]


class NotAdmitted(Exception):
    """A client with a good token that may not, or cannot, be let in now."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(code.reason)
        self.code = code


async def identify(live: Live, token: str, address: str) -> Identity:
    """Return whom the token of a socket speaks for.

    Raises:
        ChatError: the token is no good, or not good for a socket.
        NotAdmitted: nobody can tell now; the client is to come back.
    """
    try:
        identity = await live.services.bearers.identify(token, address)
    except Unavailable:
        raise NotAdmitted(CloseCode.INTERNAL) from None
    except RateLimited:
        raise NotAdmitted(CloseCode.RATE_LIMITED) from None
    if identity.scopes is not None and "read" not in identity.scopes:
        msg = "a socket hears what its user may read: this token has no scope read"
        raise Forbidden(msg, details={"scope": "read"})
    return identity


async def read_first_state(live: Live, identity: Identity) -> FirstState:
    """Return what a connect has to know of the store, from a read that it may share.

    Raises:
        NotAdmitted: the login is revoked, the account is gone, or the store is away.
    """
    if live.sockets.is_revoked(identity.family_id):
        raise NotAdmitted(CloseCode.REVOKED)
    if live.cluster is not None:  # or what is told meanwhile at another daemon would be missed
        await live.cluster.backplane.attend(identity.user_id)
    try:
        first = await live.first_states.read(identity.user_id)
    except StoreError as trouble:
        log.warning("no first state", error=str(trouble))
        raise NotAdmitted(CloseCode.INTERNAL) from None
    if first is None:
        raise NotAdmitted(CloseCode.REVOKED)
    return FirstState(identity, *first)
