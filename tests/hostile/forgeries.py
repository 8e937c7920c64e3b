"""Access tokens as forgers make them: each differs from a good one in what its name says."""

from __future__ import annotations

import base64
import hmac
import time
from typing import Any
from uuid import uuid4

import jwt
import orjson

from chatd.tokens import MAX_TOKEN_BYTES

NEW, OLD, RETIRED = ("n" * 31 + "1", "o" * 31 + "2", "r" * 31 + "3")
KEYS = f"new:{NEW},old:{OLD}"
Claims = dict[str, Any]


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims_of(token: str) -> Claims:
    """Return what a token says."""
    claims: Claims = jwt.decode(token, options={"verify_signature": False})
    return claims


def claims(own: Claims, **others: object) -> Claims:
    """Return claims with others in their place; None takes one out."""
    return {name: value for name, value in (own | others).items() if value is not None}


def signed(
    body: Claims | bytes, header: Claims | None = None, *, key: str = NEW, algorithm: str = "HS256"
) -> str:
    """Return a token as somebody makes it who has a key. No library: they refuse what is wrong."""
    head = part({"alg": algorithm, "kid": "new", "typ": "at+jwt"} | (header or {}))
    signing = f"{head}.{part(body)}"
    digest = hmac.digest(key.encode(), signing.encode(), f"sha{algorithm[2:]}")
    return f"{signing}.{part(digest)}"


def raw(body: object, header: object, signature: bytes = b"x" * 32) -> str:
    """Return a token as somebody makes it who has none."""
    return f"{part(header)}.{part(body)}.{part(signature)}"


def forgeries(token: str) -> dict[str, str]:
    """Return bad tokens by what is wrong with them; all are about whom a good one is about."""
    own, now = claims_of(token), int(time.time())
    good = {"alg": "HS256", "kid": "new", "typ": "at+jwt"}
    return {
        "T59 none": raw(own, good | {"alg": "none"}, b""),
        "T59 None": raw(own, good | {"alg": "None"}, b""),
        "T59 empty signature": raw(own, good, b""),
        "T59 no signature": raw(own, good).rpartition(".")[0],
        "T59 another signature": raw(own, good),
        "T59 another algorithm": signed(own, algorithm="HS512", key=NEW + NEW),
        "T59 RS256": raw(own, good | {"alg": "RS256"}),
        "T59 no algorithm": raw(own, {"kid": "new", "typ": "at+jwt"}),
        "T59 an algorithm that is a list": raw(own, good | {"alg": ["HS256"]}),
        "T59 two signatures": token + "." + token.rpartition(".")[2],
        "T59 a changed body": "{}.{}.{}".format(
            token.split(".", maxsplit=1)[0],
            part(claims(own, sub=str(uuid4()))),
            token.split(".")[2],
        ),
        "T59 a key that is empty": raw(own, good | {"kid": ""}),
        "T60 crit": signed(own, {"crit": ["exp"]}),
        "T60 crit unknown": signed(own, {"crit": ["x"], "x": 1}),
        "T60 b64 false": signed(own, {"crit": ["b64"], "b64": False}),
        "T60 jku": raw(own, good | {"jku": "http://127.0.0.1:1/keys"}),
        "T60 x5u": raw(own, good | {"x5u": "file:///etc/passwd"}),
        "T60 jwk": raw(own, good | {"jwk": {"kty": "oct", "k": part(b"x" * 32)}}),
        "T60 kid a path": signed(own, {"kid": "../../dev/null"}, key="x" * 32),
        "T60 kid SQL": signed(own, {"kid": "' UNION SELECT 'x' --"}, key="x" * 32),
        "T60 kid a list": raw(own, good | {"kid": ["new"]}),
        "T60 kid null": raw(own, good | {"kid": None}),
        "T60 kid of another key": signed(own, {"kid": "old"}),
        "T61 aud": signed(claims(own, aud="other")),
        "T61 aud a list of others": signed(claims(own, aud=["chatd2", "x"])),
        "T61 iss": signed(claims(own, iss="other")),
        "T61 iss a part": signed(claims(own, iss="cha")),
        "T61 iss more": signed(claims(own, iss="chatd.evil")),
        "T61 iss a list": signed(claims(own, iss=["chatd"])),
        "T61 no exp": signed(claims(own, exp=None)),
        "T61 exp a word": signed(claims(own, exp="soon")),
        "T61 exp a list": signed(claims(own, exp=[now + 60])),
        "T61 exp 1e400": signed(orjson.dumps(claims(own, exp=7)).replace(b":7", b":1e400")),
        "T61 exp beyond the calendar": signed(claims(own, exp=10**17)),
        "T61 nbf ahead": signed(claims(own, nbf=now + 600)),
        "T61 iat far ahead": signed(claims(own, iat=now + 600)),
        "T61 sub a number": signed(claims(own, sub=7)),
        "T61 sub no id": signed(claims(own, sub="ann")),
        "T61 sid a number": signed(claims(own, sid=7)),
        "T61 sid a list": signed(claims(own, sid=["x"])),
        "T61 did an object": signed(claims(own, did={})),
        "T62 JWT": signed(own, {"typ": "JWT"}),
        "T62 rt+jwt": signed(own, {"typ": "rt+jwt"}),
        "T62 no typ": raw(own, {"alg": "HS256", "kid": "new"}),
        "T62 an ID token": signed(
            {"iss": "https://accounts.google.com", "aud": "x", "sub": "1", "exp": now + 60},
            {"typ": "JWT", "alg": "HS256"},
        ),
        "T62 a refresh token": "x" * 43,
        "T63 at the bound": raw(own, good, b"x" * (MAX_TOKEN_BYTES // 2)),
        "T63 deep": raw(b"[" * 100, b"[" * 5000),
        "T63 deep body": raw(b'{"a":' * 1000, good),
        "T63 digits": raw({}, b'{"alg":' + b"9" * 5000 + b"}"),
        "T65 retired key": signed(own, {"kid": "retired"}, key=RETIRED),
        "T65 retired key by the name of the new one": signed(own, key=RETIRED),
    }
