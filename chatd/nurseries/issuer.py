"""The OpenID Connect issuer of the settings, as a client sees it: its description, keys and tokens.

OpenID Connect Core 1.0 and Discovery 1.0; PKCE with S256 (RFC 7636). Whatever the issuer does
costs the one who signs in, nobody else: a step of a sign-in has one deadline (`oidc_timeout`),
an answer has a size, redirects are not followed. What is read of the issuer is kept for an hour.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2
import orjson
import structlog
import trio
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.jwk import KeySet

from chatd.config import GOOGLE, Settings
from chatd.context import Claims
from chatd.errors import Unauthorized, Unavailable
from chatd.id_tokens import Expected, IdTokenError, UnknownKeyError, check_id_token, read_keys
from chatd.nurseries.bounded_http import BoundedTransport
from chatd.urls import is_safe_url

CALLBACK_PATH = "/auth/google/callback"
DISCOVERY_PATH = "/.well-known/openid-configuration"
SCOPE = "openid email profile"
KEPT_SECONDS = 3600.0  # keys that an issuer withdraws are good for so long at most
KEYS_INTERVAL = 60.0  # seconds between two looks for new keys: tokens with made-up ones ask for it
RETRY_AFTER = 5.0  # seconds that a refusal tells to wait
CONNECTIONS = 16  # to the issuer at once; who waits for one has the same deadline

log = structlog.get_logger("chatd.issuer")


class IssuerError(Exception):
    """The issuer does not do what the standard says; the text tells the operator what."""


@dataclass(frozen=True, slots=True)
class _Description:
    """What the issuer says of itself, and when we asked."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    auth_method: str
    read_at: float


class Issuer:
    """One issuer; made by `open_issuer`."""

    def __init__(self, settings: Settings, http: AsyncOAuth2Client) -> None:
        assert settings.oidc_client_id is not None  # noqa: S101 - the opener's promise
        self.name = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._timeout = settings.oidc_timeout
        self._http = http
        self._lock = trio.Lock()
        self._description: _Description | None = None
        self._keys: KeySet | None = None
        self._sought_at = -math.inf  # when new keys were last looked for

    async def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to sign in.

        Raises:
            Unavailable: the issuer does not answer, or not as the standard says.
        """
        with self._deadline():
            description = await self._described()
            url, _ = self._http.create_authorization_url(
                description.authorization_endpoint, state, verifier, nonce=nonce
            )
            return str(url)

    async def claims(self, *, code: str, nonce: str, verifier: str, now: datetime) -> Claims:
        """Exchange the code of a return for what the issuer says of the person.

        Raises:
            Unauthorized: the code or the token is not good.
            Unavailable: as above.
        """
        with self._deadline():
            description = await self._described()
            tokens = await self._exchange(description, code, verifier)
            claims = await self._checked(description, str(tokens.get("id_token")), nonce, now)
            if "email" not in claims and description.userinfo_endpoint is not None:
                claims |= await self._userinfo(description.userinfo_endpoint, tokens, claims["sub"])
        email, name = claims.get("email"), claims.get("name")
        return Claims(
            subject=claims["sub"],
            email=email if isinstance(email, str) else None,
            is_email_verified=claims.get("email_verified") is True,
            name=name if isinstance(name, str) else None,
        )

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Limit the block, and say one thing of all that an issuer can do wrong."""
        try:
            with trio.fail_after(self._timeout):
                yield
        except (trio.TooSlowError, httpx2.HTTPError, httpx2.InvalidURL, IssuerError) as error:
            log.warning("issuer", issuer=self.name, error=f"{type(error).__name__}: {error}")
            msg = "the sign-in service does not answer as it should: try again"
            raise Unavailable(msg, retry_after=RETRY_AFTER) from None
        except IdTokenError as error:
            log.warning("id_token", issuer=self.name, error=str(error))
            msg = "the sign-in service's token is not valid: start again"
            raise Unauthorized(msg) from None

    async def _described(self) -> _Description:
        """Return the issuer's description; one task asks, the others wait for it."""
        async with self._lock:
            known = self._description
            if known is None or trio.current_time() >= known.read_at + KEPT_SECONDS:
                document = await self._get(self.name.rstrip("/") + DISCOVERY_PATH)
                known = self._description = _describe(document, self.name)
                self._http.token_endpoint_auth_method = _auth_method(
                    known, has_secret=bool(self._http.client_secret)
                )
                self._keys = None
            return known

    async def _exchange(
        self, description: _Description, code: str, verifier: str
    ) -> dict[str, Any]:
        try:
            tokens = await self._http.fetch_token(
                description.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=verifier,
            )
        except OAuthError as refusal:
            if refusal.error == "invalid_grant":  # RFC 6749 5.2: the code is not good
                msg = "the sign-in service refuses this code: start again"
                raise Unauthorized(msg) from None
            msg = f"the token endpoint refuses: {str(refusal.error)[:100]}"
            raise IssuerError(msg) from None
        except (ValueError, TypeError, AttributeError):
            msg = "the token endpoint's answer is not what RFC 6749 says"
            raise IssuerError(msg) from None
        return dict(tokens)

    async def _checked(
        self, description: _Description, token: str, nonce: str, now: datetime
    ) -> dict[str, Any]:
        """Return the claims of an ID token; a key that is not known is looked for once."""
        aliases = [self.name, self.name.removeprefix("https://")]
        issuers = aliases if self.name == GOOGLE else [self.name]  # Google's may lack the scheme
        expected = Expected(issuers, self._client_id, nonce)
        async with self._lock:
            if self._keys is None:
                await self._read_keys(description)
            assert self._keys is not None  # noqa: S101 - just read
            try:
                return check_id_token(token, self._keys, expected, now.timestamp())
            except UnknownKeyError:
                if trio.current_time() < self._sought_at + KEYS_INTERVAL:
                    raise
                self._sought_at = trio.current_time()
                await self._read_keys(description)
                return check_id_token(token, self._keys, expected, now.timestamp())

    async def _read_keys(self, description: _Description) -> None:
        document = await self._get(description.jwks_uri)
        try:
            self._keys = read_keys(document)
        except IdTokenError as error:
            raise IssuerError(str(error)) from None

    async def _userinfo(
        self, endpoint: str, tokens: dict[str, Any], subject: str
    ) -> dict[str, Any]:
        """Return what the issuer tells beside the token (Core, section 5.3)."""
        bearer = f"Bearer {tokens.get('access_token')}"
        info = await self._get(endpoint, {"Authorization": bearer})
        if info.get("sub") != subject:  # Core, section 5.3.2: it may be about somebody else
            msg = "the userinfo is about another subject"
            raise IssuerError(msg)
        return {name: info[name] for name in ("email", "email_verified", "name") if name in info}

    async def _get(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        answer = await self._http.get(
            url, auth=None, headers={"Accept": "application/json", **(headers or {})}
        )
        if answer.status_code != httpx2.codes.OK:
            msg = f"{url} answers {answer.status_code}"
            raise IssuerError(msg)
        try:
            document = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            msg = f"{url} does not answer with a JSON object"
            raise IssuerError(msg)
        return document


@asynccontextmanager
async def open_issuer(settings: Settings) -> AsyncIterator[Issuer]:
    """Keep connections to the issuer for the length of the block; it is asked when it is needed."""
    secret = settings.oidc_client_secret
    timeout = httpx2.Timeout(settings.oidc_timeout)
    async with AsyncOAuth2Client(
        client_id=settings.oidc_client_id,
        client_secret=None if secret is None else secret.get_secret_value(),
        scope=SCOPE,
        redirect_uri=f"{settings.public_url}{CALLBACK_PATH}",
        code_challenge_method="S256",
        transport=BoundedTransport(limits=httpx2.Limits(max_connections=CONNECTIONS)),
        timeout=timeout,
        headers={"Accept-Encoding": "identity"},
        trust_env=False,  # a proxy of the environment would go around the transport
    ) as http:
        yield Issuer(settings, http)


def _describe(document: dict[str, Any], issuer: str) -> _Description:
    """Return what we need of an issuer's description (Discovery, section 4.3)."""
    if document.get("issuer") != issuer:
        msg = f"it calls itself {str(document.get('issuer'))[:200]!r}: set oidc_issuer to that"
        raise IssuerError(msg)
    urls = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        url = document.get(name)
        if url is None and name == "userinfo_endpoint":
            continue
        if not isinstance(url, str) or not is_safe_url(url):
            msg = f"its {name} is no https URL"
            raise IssuerError(msg)
        urls[name] = url
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    is_basic = not isinstance(methods, list) or "client_secret_basic" in methods
    return _Description(
        authorization_endpoint=urls["authorization_endpoint"],
        token_endpoint=urls["token_endpoint"],
        jwks_uri=urls["jwks_uri"],
        userinfo_endpoint=urls.get("userinfo_endpoint"),
        auth_method="client_secret_basic" if is_basic else "client_secret_post",
        read_at=trio.current_time(),
    )


def _auth_method(description: _Description, *, has_secret: bool) -> str:
    return description.auth_method if has_secret else "none"
