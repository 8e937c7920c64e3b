"""Access tokens and refresh tokens."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest

from chatd.errors import TokenExpired, Unauthorized
from chatd.keys import SigningKey
from chatd.tokens import (
    CACHE_TOKENS,
    MAX_TOKEN_BYTES,
    AccessTokens,
    hash_token,
    new_refresh_token,
    successor_of,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
OLD, NEW = SigningKey("old", b"o" * 32), SigningKey("new", b"n" * 32)
USER, FAMILY, DEVICE = uuid4(), uuid4(), uuid4()
CLAIMS: dict[str, Any] = {
    "iss": "chatd",
    "aud": "chatd",
    "sub": str(USER),
    "sid": str(FAMILY),
    "did": str(DEVICE),
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 900,
}
HEADERS: dict[str, Any] = {"kid": "new", "typ": "at+jwt"}


def tokens() -> AccessTokens:
    return AccessTokens([NEW, OLD], ttl=900)


def forged(
    claims: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    key: bytes = NEW.secret,
    algorithm: str = "HS256",
    without: str | None = None,
) -> str:
    """Return a token that differs from a good one in what is given."""
    body = {name: value for name, value in (CLAIMS | (claims or {})).items() if name != without}
    return jwt.encode(body, key, algorithm, HEADERS | (headers or {}))


def test_an_issued_token_speaks_for_its_user_login_and_device() -> None:
    token, expires_at = tokens().issue(USER, FAMILY, DEVICE, NOW)
    identity = tokens().verify(token, NOW)
    assert (identity.user_id, identity.family_id, identity.device_id) == (USER, FAMILY, DEVICE)
    assert identity.expires_at == expires_at.timestamp()
    assert expires_at == NOW.replace(microsecond=0) + timedelta(seconds=900)


def test_a_token_is_good_until_it_expires_and_not_after() -> None:
    keeper = tokens()
    token, expires_at = keeper.issue(USER, FAMILY, DEVICE, NOW)
    keeper.verify(token, expires_at - timedelta(milliseconds=1))
    for _ in range(2):  # remembered or not
        with pytest.raises(TokenExpired):
            keeper.verify(token, expires_at)
    with pytest.raises(TokenExpired):
        tokens().verify(token, expires_at)


@pytest.mark.threat("T65")
def test_a_token_of_the_previous_key_still_speaks() -> None:
    token, _ = AccessTokens([OLD], ttl=900).issue(USER, FAMILY, DEVICE, NOW)
    assert tokens().verify(token, NOW).user_id == USER
    with pytest.raises(Unauthorized):
        AccessTokens([NEW], ttl=900).verify(token, NOW)


def test_the_forger_of_these_tests_can_make_a_good_one() -> None:
    assert tokens().verify(forged(), NOW).user_id == USER


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "x" * (MAX_TOKEN_BYTES + 1),
        "é.é.é",
        forged(key=b"e" * 32),
        forged(headers={"kid": "nobody's"}),
        forged(headers={"kid": "old"}),
        forged(headers={"typ": "JWT"}),
        forged(headers={"crit": ["b64"]}),
        forged(algorithm="HS512", key=NEW.secret * 2),
        forged({"iss": "other"}),
        forged({"aud": "other"}),
        forged({"iat": int(NOW.timestamp()) + 60}),
        forged({"sub": "not an id"}),
        forged({"exp": "soon"}),
        forged({"exp": 10**400}),
        forged({"exp": 10**17}),
        forged({"exp": float("inf")}),
        forged({"exp": float("nan")}),
        forged({"exp": [1]}),
        forged({"sid": 7}),
        forged({"did": {}}),
        *(forged(without=name) for name in CLAIMS),
    ],
)
@pytest.mark.threat("T59", "T60", "T61", "T62", "T63")
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        tokens().verify(token, NOW)


def test_a_token_without_a_signature_is_refused() -> None:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    unsigned = f"{part(HEADERS | {'alg': 'none'})}.{part(CLAIMS)}."
    with pytest.raises(Unauthorized):
        tokens().verify(unsigned, NOW)


def test_the_clocks_of_two_nodes_may_differ_a_little() -> None:
    token, _ = tokens().issue(USER, FAMILY, DEVICE, NOW + timedelta(seconds=29))
    assert tokens().verify(token, NOW).user_id == USER


def test_remembered_tokens_do_not_fill_the_memory() -> None:
    keeper = AccessTokens([NEW], ttl=900)
    first, _ = keeper.issue(USER, FAMILY, DEVICE, NOW)
    keeper.verify(first, NOW)
    identity = keeper.verify(first, NOW)
    for number in range(CACHE_TOKENS):
        keeper._verified[f"token {number}"] = identity
    another, _ = keeper.issue(USER, FAMILY, uuid4(), NOW)
    keeper.verify(another, NOW)
    assert len(keeper._verified) <= CACHE_TOKENS + 1
    assert keeper.verify(first, NOW).user_id == USER


@pytest.mark.threat("T69")
def test_a_refresh_token_has_one_successor_that_only_the_key_can_tell() -> None:
    token = new_refresh_token()
    assert successor_of(token, b"key") == successor_of(token, b"key")
    assert successor_of(token, b"key") != successor_of(token, b"other")
    assert successor_of(token, b"key") != successor_of(new_refresh_token(), b"key")
    assert len(successor_of(token, b"key")) == len(token) == 43
    assert token not in hash_token(token).hex()
    assert len(hash_token(token)) == 32
