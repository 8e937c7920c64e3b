"""A scripted issuer on a real port: it does what the standard says, except where a test says not.

It checks what a client owes it: its secret, the redirect URI, the verifier, a code used once.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlsplit

import orjson
import trio
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from chatd.config import Settings
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http import HttpServer, Routes
from chatd.nurseries.listener import bound_port
from tests.http_kit import no_app
from tests.listener_kit import open_door

CLIENT_ID = "chatd-client"
CLIENT_SECRET = "a secret / of the client"
Json = dict[str, Any]
Key = RSAKey | ECKey
Handler = Callable[[Exchange], Awaitable[None]]


@functools.cache
def rsa_key(kid: str = "one") -> RSAKey:
    """Return the key of a name; making one takes a tenth of a second."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@functools.cache
def ec_key(kid: str = "curve", curve: str = "P-256") -> ECKey:
    """Return the key of a name on an elliptic curve."""
    return ECKey.generate_key(curve, {"kid": kid, "use": "sig"})


def sign(claims: Json, key: Key | None = None, *, alg: str = "RS256", **header: Any) -> str:
    """Return an ID token as an honest issuer makes it."""
    key = key or rsa_key()
    named = {"alg": alg, "kid": key.kid, "typ": "JWT", **header}
    return jwt.encode({k: v for k, v in named.items() if v is not None}, claims, key, [alg])


def forge(claims: Json, header: Json, secret: bytes | None = None) -> str:
    """Return a token with any header; signed with HMAC, or not at all."""
    signed = b".".join(_base64(orjson.dumps(part)) for part in (header, claims))
    mac = b"" if secret is None else hmac.digest(secret, signed, "sha256")
    return (signed + b"." + _base64(mac)).decode()


class ScriptedIssuer:
    """An issuer and its one person, Zoe; made by `open_issuer`.

    Attributes:
        person: what it says of whoever signs in.
        document: what its description says differently; None leaves a field out.
        claims: what an ID token says differently; None leaves a claim out.
        sign: makes the ID token of claims.
        keys: what it publishes.
        answers: for a path, what to do instead.
        asked: how often each path was asked.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.secret = CLIENT_SECRET
        self.person: Json = {
            "sub": "zoe-1",
            "email": "Zoe@example.com",
            "email_verified": True,
            "name": "Zoe",
        }
        self.document: Json = {}
        self.claims: Json = {}
        self.sign: Callable[[Json], str] = sign
        self.keys: list[Json] = [key.as_dict(private=False) for key in (rsa_key(), ec_key())]
        self.answers: dict[str, Handler] = {}
        self.asked: Counter[str] = Counter()
        self._grants: dict[str, dict[str, str]] = {}

    def grant(self, url: str) -> dict[str, str]:
        """Sign Zoe in at an authorization URL; return the parameters of the way back."""
        assert url.startswith(f"{self.url}/authorize?"), url
        asked = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert set(asked["scope"].split()) == {"openid", "email", "profile"}
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self._grants[code] = asked
        return {"code": code, "state": asked["state"]}

    # What it answers

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        path = urlsplit(exchange.head.target).path
        self.asked[path] += 1
        usual = {
            "/.well-known/openid-configuration": self._describe,
            "/jwks": self._publish,
            "/token": self._token,
            "/userinfo": self._userinfo,
        }
        await self.answers.get(path, usual[path])(exchange)

    async def _describe(self, exchange: Exchange) -> None:
        usual = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "userinfo_endpoint": f"{self.url}/userinfo",
        }
        await answer(exchange, _changed(usual, self.document))

    async def _publish(self, exchange: Exchange) -> None:
        await answer(exchange, {"keys": self.keys})

    async def _token(self, exchange: Exchange) -> None:
        form = {k: v[0] for k, v in parse_qs((await exchange.read_body(10_000)).decode()).items()}
        if not self._is_client(exchange, form):
            return await answer(exchange, {"error": "invalid_client"}, 401)
        asked = self._grants.pop(form["code"], None)
        challenge = _base64(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
        if asked is None or (asked["code_challenge"], asked["redirect_uri"]) != (
            challenge,
            form["redirect_uri"],
        ):
            return await answer(exchange, {"error": "invalid_grant"}, 400)
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": asked["nonce"],
            **self.person,
        }
        token = self.sign(_changed(usual, self.claims))
        bearer = {"access_token": "access", "token_type": "Bearer", "id_token": token}
        return await answer(exchange, bearer)

    def _is_client(self, exchange: Exchange, form: dict[str, str]) -> bool:
        wants_post = self.document.get("token_endpoint_auth_methods_supported")
        given = dict(exchange.head.headers).get(b"authorization")
        if wants_post == ["client_secret_post"]:
            shown = form["client_id"], form["client_secret"]
            return given is None and shown == (CLIENT_ID, self.secret)
        assert given is not None
        name, _, secret = base64.b64decode(given.removeprefix(b"Basic ")).decode().partition(":")
        # Encoded as a form (RFC 6749 2.3.1).
        return (unquote_plus(name), unquote_plus(secret)) == (CLIENT_ID, self.secret)

    async def _userinfo(self, exchange: Exchange) -> None:
        assert (b"authorization", b"Bearer access") in exchange.head.headers
        await answer(exchange, self.person)


async def answer(exchange: Exchange, body: object, status: int = 200) -> None:
    """Answer with JSON."""
    await exchange.respond(status, [(b"content-type", b"application/json")], orjson.dumps(body))


@asynccontextmanager
async def open_issuer() -> AsyncIterator[ScriptedIssuer]:
    """Run an issuer on a free port of this machine for the length of the block."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    issuer = ScriptedIssuer(f"http://127.0.0.1:{bound_port(listeners[0])}")
    paths = ("/.well-known/openid-configuration", "/jwks", "/token", "/userinfo")
    routes = Routes(no_app, dict.fromkeys(paths, issuer.serve), {})
    async with open_door([*listeners], HttpServer(routes, Settings(port=0)).serve_connection):
        yield issuer


def _changed(usual: Json, changes: Json) -> Json:
    return {name: value for name, value in (usual | changes).items() if value is not None}


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
