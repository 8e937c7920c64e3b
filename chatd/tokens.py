"""Access tokens (JWT) and refresh tokens: made, checked, hashed. Pure: time comes in.

An access token is a JWT with an explicit `typ` (RFC 8725 3.11), a fixed algorithm, issuer,
audience and a key id that is only looked up among our own keys. A refresh token is 256 random
bits; its successor is derived from it by HMAC, so that a repeat within the grace gives the same
successor and nothing but hashes is stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from jwt.types import Options

from chatd.errors import TokenExpired, Unauthorized
from chatd.keys import SigningKey

ALGORITHM = "HS256"
TYPE = "at+jwt"  # RFC 9068: a refresh or foreign token never passes for an access token
ISSUER = AUDIENCE = "chatd"
MAX_TOKEN_BYTES = 8192  # longer ones are refused before any hashing
CACHE_TOKENS = 4096  # verified tokens remembered; 1 MiB at most, saves 40 µs a request
DEVICE_TOKEN_BYTES = 48  # an id and the HMAC over it
_WHOM = ("sub", "sid", "did")
_CLAIMS: Options = {
    "verify_exp": False,  # expiry is judged by the caller's clock, not by PyJWT's
    "verify_iat": False,
    "require": ["exp", "iat", "iss", "aud", *_WHOM],
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for.

    Of an API token `family_id` and `device_id` are the token's own id: it is revoked, and its
    sockets are cut, as a login is.
    """

    user_id: UUID
    family_id: UUID
    device_id: UUID
    expires_at: float  # seconds since the epoch; infinity for an API token without an end
    is_unverified: bool = False  # nobody has verified the account's address, and that is required
    scopes: frozenset[str] | None = None  # of an API token; None: a login, which may do all

    @property
    def ends_at(self) -> datetime | None:
        """When it expires; None when it does not."""
        if math.isinf(self.expires_at):
            return None
        return datetime.fromtimestamp(self.expires_at, UTC)


class AccessTokens:
    """Issues and checks access tokens; the first key signs, every key verifies."""

    def __init__(self, keys: Sequence[SigningKey], ttl: float) -> None:
        self._keys = {key.kid: key.secret for key in keys}
        self._kid = keys[0].kid
        self._ttl = ttl
        self._verified: OrderedDict[str, Identity] = OrderedDict()

    def issue(
        self,
        user_id: UUID,
        family_id: UUID,
        device_id: UUID,
        now: datetime,
        *,
        is_unverified: bool = False,
    ) -> tuple[str, datetime]:
        """Return a signed token and when it expires."""
        expires_at = (now + timedelta(seconds=self._ttl)).replace(microsecond=0)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(family_id),
            "did": str(device_id),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        if is_unverified:
            claims["unv"] = True
        headers = {"kid": self._kid, "typ": TYPE}
        return jwt.encode(claims, self._keys[self._kid], ALGORITHM, headers), expires_at

    def verify(self, token: str, now: datetime) -> Identity:
        """Return whom a token speaks for.

        Raises:
            TokenExpired: it was good once.
            Unauthorized: anything else is wrong with it.
        """
        identity = self._verified.get(token)
        if identity is None:
            identity = self._decode(token, now)
            self._verified[token] = identity
            if len(self._verified) > CACHE_TOKENS:
                self._verified.popitem(last=False)
        if identity.expires_at <= now.timestamp():
            raise TokenExpired
        return identity

    def device_token(self, user_id: UUID, device_id: UUID) -> str:
        """Return what a device shows at a later login to prove that it was logged in before."""
        mac = _device_mac(self._keys[self._kid], user_id, device_id)
        return base64.urlsafe_b64encode(device_id.bytes + mac).decode()

    def device_of(self, device_token: str, user_id: UUID) -> UUID | None:
        """Return the device of this user whose token it is; None when it is not one."""
        try:
            raw = base64.b64decode(device_token, altchars=b"-_", validate=True)
        except ValueError:
            return None
        if len(raw) != DEVICE_TOKEN_BYTES:
            return None
        device_id = UUID(bytes=raw[:16])
        for key in self._keys.values():
            if hmac.compare_digest(raw[16:], _device_mac(key, user_id, device_id)):
                return device_id
        return None

    def _decode(self, token: str, now: datetime) -> Identity:
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.get(str(header.get("kid")))
            if key is None or header.get("typ") != TYPE or "crit" in header:
                raise Unauthorized
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options=_CLAIMS,
            )
            if int(claims["iat"]) > now.timestamp() + 30:  # made ahead of time: not by us
                raise Unauthorized
            user_id, family_id, device_id = (UUID(str(claims[name])) for name in _WHOM)
            expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)  # within the calendar
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, OSError):
            raise Unauthorized from None
        is_unverified = claims.get("unv") is True
        return Identity(
            user_id, family_id, device_id, expires_at.timestamp(), is_unverified=is_unverified
        )


def _device_mac(key: bytes, user_id: UUID, device_id: UUID) -> bytes:
    text = b"chatd device\0" + user_id.bytes + device_id.bytes
    return hmac.digest(key, text, "sha256")


def new_refresh_token() -> str:
    """Return 256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def successor_of(refresh_token: str, key: bytes) -> str:
    """Return the one token that follows this one; only the server can derive it."""
    digest = hmac.digest(key, b"chatd refresh successor\0" + refresh_token.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def hash_token(refresh_token: str) -> bytes:
    """Return what the store keeps; a random 256-bit token needs no slow hash."""
    return hashlib.sha256(refresh_token.encode()).digest()
