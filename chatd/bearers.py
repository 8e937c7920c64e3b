"""Who shows a token: an access token is judged by itself, an API token by the store.

What the store says of an API token is remembered for a while, so that a bot which asks all the
time costs a read a minute. A revocation on this daemon does not wait for that: revoked ids are
asked for beside this (`chatd.context.Sockets.is_revoked`) for as long as access tokens live, and
nothing is remembered for longer. On another daemon, or by the command line, it counts when the
memory ends.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
import trio

from chatd.addresses import address_key
from chatd.api_tokens import PREFIX, is_api_token
from chatd.contract import Store
from chatd.errors import StoreBug, StoreError, Unauthorized, Unavailable
from chatd.limits import Limiter, Rate
from chatd.tokens import AccessTokens, Identity, hash_token

REMEMBERED = 4096  # API tokens, 600 bytes each: then the one used least recently goes
REMEMBER_SECONDS = 60.0  # also how exact lastUsedAt is
# Of one address: API tokens that nothing is remembered of. Random ones cost a read each; an office
# full of bots that comes back after a restart is let in.
ASK_RATE = Rate(20, 500)

log = structlog.get_logger("chatd.bearers")


class _Known(NamedTuple):
    identity: Identity
    until: float  # on Trio's clock


class Bearers:
    """Says whom a token speaks for.

    Args:
        lifetime: seconds for which revoked ids are known.
        now: the wall clock.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        store: Store,
        limiter: Limiter,
        *,
        lifetime: float,
        now: Callable[[], datetime],
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._limiter = limiter
        self._lifetime = min(REMEMBER_SECONDS, lifetime)
        self._now = now
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def identify(self, token: str, address: str) -> Identity:
        """Return whom a token speaks for; whether that is revoked is asked elsewhere.

        Waits for the store only with an API token that nothing is remembered of.

        Raises:
            TokenExpired: an access token was good once.
            Unauthorized: anything else is wrong with the token.
            RateLimited: the address shows too many unknown API tokens.
            Unavailable: the store is away.
        """
        if not token.startswith(PREFIX):
            return self._tokens.verify(token, self._now())
        if not is_api_token(token):
            raise Unauthorized
        identity = await self._known_or_asked(hash_token(token), address)
        if identity.expires_at <= self._now().timestamp():
            raise Unauthorized  # not TokenExpired: nothing renews it
        return identity

    async def _known_or_asked(self, token_hash: bytes, address: str) -> Identity:
        clock = trio.current_time()
        known = self._known.get(token_hash)
        if known is not None and clock < known.until:
            self._known.move_to_end(token_hash)
            return known.identity
        self._limiter.check("address", ("api token", address_key(address)), ASK_RATE, clock)
        identity = await self._ask(token_hash)
        # From when it was asked on: what was revoked meanwhile is known for longer than this.
        self._known[token_hash] = _Known(identity, clock + self._lifetime)
        self._known.move_to_end(token_hash)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return identity

    async def _ask(self, token_hash: bytes) -> Identity:
        now = self._now()
        used_before = now - timedelta(seconds=REMEMBER_SECONDS)
        try:
            row = await self._store.use_api_token(token_hash, now, used_before=used_before)
        except StoreBug:
            raise
        except StoreError as trouble:
            log.warning("store", error=str(trouble))
            raise Unavailable(retry_after=1) from None
        if row is None:
            self._known.pop(token_hash, None)
            raise Unauthorized
        ends = math.inf if row.expires_at is None else row.expires_at.timestamp()
        return Identity(row.user_id, row.id, row.id, ends, scopes=frozenset(row.scopes))
