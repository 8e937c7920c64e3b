"""ID tokens of an OpenID Connect issuer, checked. Pure: keys and time come in.

OpenID Connect Core 1.0, section 3.1.3.7. The algorithms are fixed: what a token says of its own
algorithm only ever chooses among them, and a key fits one kind (RFC 8725 2.1 and 3.1). What stands
in a token's header beside `alg` and `kid`, such as a key, is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from authlib.oidc.core import CodeIDToken
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import CompactSignature, JWSRegistry, deserialize_compact, extract_compact

MAX_TOKEN_BYTES = 16_384  # longer ones are refused before any work
MAX_SUBJECT = 255  # characters, ASCII (Core, section 2)
LEEWAY = 30  # seconds between the issuer's clock and ours
_KEY_TYPES: dict[str, type[Any]] = {"RS256": RSAKey, "ES256": ECKey}
_ALGORITHMS = tuple(_KEY_TYPES)


class IdTokenError(Exception):
    """The token is not one of this issuer for this client and this sign-in; the text says why."""


class UnknownKeyError(IdTokenError):
    """The token is signed with a key that is not among the issuer's: they may be new ones."""


class Expected(NamedTuple):
    """What a token has to say."""

    issuers: Sequence[str]
    client_id: str
    nonce: str


def read_keys(document: object) -> KeySet:
    """Return the keys of a JSON Web Key Set; those of kinds that we do not take are left out.

    Raises:
        IdTokenError: it is none, or has no key for us.
    """
    try:
        found = document["keys"]  # type: ignore[index]  # TypeError is caught
        ours = [each for each in found if each.get("kty") in {"RSA", "EC"}]
        signing = [each for each in ours if each.get("use", "sig") == "sig" and "d" not in each]
        return KeySet.import_key_set({"keys": signing})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"the issuer's keys cannot be read: {error!r}"
        raise IdTokenError(msg) from None


def check_id_token(token: str, keys: KeySet, expected: Expected, now: float) -> dict[str, Any]:
    """Return the claims of a token.

    Raises:
        UnknownKeyError: there is no key of the name that the token gives.
        IdTokenError: anything else is wrong with it.
    """
    if len(token) > MAX_TOKEN_BYTES:
        msg = "it is too long"
        raise IdTokenError(msg)
    try:
        signed = _verified(token, keys)
        claims = orjson.loads(signed.payload)
        if not isinstance(claims, dict):
            msg = "its claims are no object"
            raise IdTokenError(msg)
        _check_claims(claims, signed.headers(), expected, now)
    except (JoseError, ValueError, TypeError) as error:
        msg = f"it is not valid: {error}"
        raise IdTokenError(msg) from None
    return claims


def _verified(token: str, keys: KeySet) -> CompactSignature:
    registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
    header = extract_compact(token.encode(), registry=registry).headers()
    kind = _KEY_TYPES.get(str(header.get("alg")))
    if kind is None:
        msg = f"its algorithm is none of {', '.join(_ALGORITHMS)}"
        raise IdTokenError(msg)
    kid = header.get("kid")
    fitting = [
        key for key in keys.keys if isinstance(key, kind) and (kid is None or key.get("kid") == kid)
    ]
    if len(fitting) != 1:  # without a name there must be no choice (Core, section 10.1)
        msg = "there is no such key"
        raise UnknownKeyError(msg)
    return deserialize_compact(token, fitting[0], _ALGORITHMS, registry)


def _check_claims(
    claims: dict[str, Any], header: dict[str, Any], expected: Expected, now: float
) -> None:
    options: Any = {
        "iss": {"essential": True, "values": list(expected.issuers)},
        "aud": {"essential": True, "value": expected.client_id},
        "nonce": {"essential": True, "value": expected.nonce},
    }
    params = {"client_id": expected.client_id, "nonce": expected.nonce}
    CodeIDToken(claims, header, options, params).validate(now=int(now), leeway=LEEWAY)
    subject = claims["sub"]
    is_sound = isinstance(subject, str) and subject.isascii() and subject.isprintable()
    if not is_sound or not 0 < len(subject) <= MAX_SUBJECT:
        msg = "its subject is none"
        raise IdTokenError(msg)
