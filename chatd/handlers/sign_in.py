"""Sign-in with Google or any OpenID Connect issuer (protocol.md section 2, docs/security.md).

Two secrets hold a sign-in together: the `state`, which travels through the issuer, and a cookie,
which stays in the browser that began it. The nonce and the PKCE verifier are derived from both, and
of both only hashes are stored; so nobody can end a sign-in who did not begin it.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from chatd.config import Settings
from chatd.context import Caller, Claims, Issuer, Services
from chatd.errors import Conflict, Forbidden, NotFound, Unauthorized, Unavailable
from chatd.events.accounts import Tokens
from chatd.events.fields import Email, Name
from chatd.events.sign_in import Exchange, SignInReturn, SignInStart
from chatd.handlers.accounts import LOGIN_RATE, open_login
from chatd.handlers.audit import Act, write_down
from chatd.handlers.links import notify
from chatd.handlers.operations import Operation, Redirect, Route
from chatd.handlers.refusals import wrong
from chatd.ids import uuid7
from chatd.letters import identity_linked
from chatd.rows import Link
from chatd.tokens import hash_token

STATE_TTL = 600.0  # seconds to sign in at the issuer, a second factor included
CODE_TTL = 60.0  # seconds for the page that the browser is sent to to load
COOKIE_TTL = int(STATE_TTL + CODE_TTL)
RETURN_PATH = "/auth/return"
_COOKIE = "chatd-sign-in"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_NOT_OURS = "this sign-in was not begun in this browser, or it is over: start again"
# What a person or the issuer's rules decided, in OAuth 2.0 and OpenID Connect.
_DENIALS = {
    "access_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "login_required",
}
_email: TypeAdapter[str] = TypeAdapter(Email)
_name: TypeAdapter[str] = TypeAdapter(Name)


async def start(services: Services, caller: Caller, command: SignInStart) -> Redirect:
    """Send a browser to the issuer."""
    issuer = _issuer(services)
    # Sign-ins in several tabs share the cookie.
    browser = _browser(services.settings, caller) or secrets.token_urlsafe(32)
    state = secrets.token_urlsafe(32)
    url = await issuer.authorization_url(
        state=state,
        nonce=_derive(browser, state, "nonce"),
        verifier=_derive(browser, state, "verifier"),
    )
    now = services.now()
    await services.store.save_sign_in(
        secret_hash=hash_token(state),
        browser_hash=hash_token(browser),
        user_id=None,
        next_path=command.next,
        at=now,
        expires_at=now + timedelta(seconds=STATE_TTL),
    )
    return Redirect(url, _set_cookie(services.settings, browser))


async def come_back(services: Services, caller: Caller, command: SignInReturn) -> Redirect:
    """Take a browser back from the issuer, and hand it a one-time code for its page."""
    issuer = _issuer(services)
    browser = _required_browser(services.settings, caller)
    begun = await services.store.take_sign_in(
        hash_token(command.state), hash_token(browser), services.now(), is_known=False
    )
    if begun is None or command.iss not in {None, issuer.name}:  # RFC 9207
        raise Unauthorized(_NOT_OURS)
    claims = await issuer.claims(
        code=_code(command),
        nonce=_derive(browser, command.state, "nonce"),
        verifier=_derive(browser, command.state, "verifier"),
        now=services.now(),
    )
    now, code = services.now(), secrets.token_urlsafe(32)
    await services.store.save_sign_in(
        secret_hash=hash_token(code),
        browser_hash=hash_token(browser),
        user_id=await _account(services, caller, issuer, claims),
        next_path=begun.next_path,
        at=now,
        expires_at=now + timedelta(seconds=CODE_TTL),
    )
    query = urlencode({"code": code, "next": begun.next_path})
    return Redirect(f"{services.settings.public_url}{RETURN_PATH}?{query}")


async def exchange(services: Services, caller: Caller, command: Exchange) -> bytes:
    """Log in with the one-time code of a sign-in."""
    _issuer(services)
    browser = _required_browser(services.settings, caller)
    done = await services.store.take_sign_in(
        hash_token(command.code), hash_token(browser), services.now(), is_known=True
    )
    if done is None or done.user_id is None:
        raise Unauthorized(_NOT_OURS)
    users = await services.store.users_by_ids([done.user_id])
    if not users:
        raise Unauthorized
    return await open_login(services, caller, users[0], Act.SIGN_IN)


def _issuer(services: Services) -> Issuer:
    if services.issuer is None:
        msg = "this server has no sign-in service: oidc_client_id is not set"
        raise NotFound(msg)
    return services.issuer


def _code(command: SignInReturn) -> str:
    if command.error in _DENIALS:
        msg = "the sign-in was not allowed: start again, or use a password"
        raise Forbidden(msg)
    if command.error is not None:
        msg = "the sign-in service could not do it: try again"
        raise Unavailable(msg)
    if command.code is None:
        raise wrong("code", "was not sent by the sign-in service")
    return command.code


async def _account(services: Services, caller: Caller, issuer: Issuer, claims: Claims) -> UUID:
    """Return the account of who has signed in (docs/security.md has the rules)."""
    email = _clean(_email, claims.email) if claims.is_email_verified else None
    row = await services.store.account_of_identity(
        issuer=issuer.name,
        subject=claims.subject,
        email=email,
        name=_clean(_name, claims.name) or (email or "").split("@")[0],
        user_id=uuid7(),
        at=services.now(),
    )
    if row.link is Link.TAKEN:
        msg = (
            f"{email} has an account here, to which no sign-in is connected while this server has "
            "not verified the address itself, or the account has a second factor: log in as before"
        )
        raise Conflict(msg)
    if row.user_id is None:
        msg = "the sign-in service has not verified your mail address: nobody can be found by it"
        raise Forbidden(msg)
    if row.link is Link.OPENED:
        services.presence.account_opened()
    if row.link is Link.LINKED:
        await write_down(services, caller, Act.IDENTITY_LINKED, row.user_id, issuer=issuer.name)
        assert email is not None  # noqa: S101 - nothing is linked without one
        notify(services, identity_linked, email, issuer.name)
    return row.user_id


def _clean(kind: TypeAdapter[str], text: str | None) -> str | None:
    """Return a text as we keep it; None for one that we do not."""
    try:
        return None if text is None else kind.validate_python(text)
    except ValidationError:
        return None


def _derive(browser: str, state: str, purpose: str) -> str:
    """Return a secret of this sign-in, 43 characters as RFC 7636 wants a verifier."""
    digest = hmac.digest(browser.encode(), f"{purpose} {state}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# The cookie


def _cookie_name(settings: Settings) -> str:
    # `__Host-`: no other host of the domain, and no plain http, can set it (RFC 6265bis 4.1.3.2).
    return f"__Host-{_COOKIE}" if _is_https(settings) else _COOKIE


def _is_https(settings: Settings) -> bool:
    return settings.public_url is not None and settings.public_url.startswith("https:")


def _set_cookie(settings: Settings, browser: str) -> str:
    secure = "; Secure" if _is_https(settings) else ""
    return (
        f"{_cookie_name(settings)}={browser}; Path=/; Max-Age={COOKIE_TTL}; HttpOnly; SameSite=Lax"
        f"{secure}"
    )


def _browser(settings: Settings, caller: Caller) -> str | None:
    """Return the secret of the caller's browser, if it has one of ours."""
    name = _cookie_name(settings)
    for pair in caller.cookie.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name and _SECRET.fullmatch(value):
            return value
    return None


def _required_browser(settings: Settings, caller: Caller) -> str:
    browser = _browser(settings, caller)
    if browser is None:
        raise Unauthorized(_NOT_OURS)
    return browser


OPERATIONS = (
    Operation(
        "sign-in",
        SignInStart,
        None,
        "Sign in with Google, or the issuer of the settings: a redirect for browsers",
        run=start,
        route=Route("GET", "/auth/google", 302),
        needs_login=False,
        is_page=True,
        rate=LOGIN_RATE,
    ),
    Operation(
        "sign-in-return",
        SignInReturn,
        None,
        "Where the issuer sends the browser back to",
        run=come_back,
        route=Route("GET", "/auth/google/callback", 302),
        needs_login=False,
        is_page=True,
        rate=LOGIN_RATE,
    ),
    Operation(
        "exchange",
        Exchange,
        Tokens,
        "Log in with the one-time code of a sign-in, in the browser that began it",
        run=exchange,
        route=Route("POST", "/auth/exchange"),
        needs_login=False,
        rate=LOGIN_RATE,
    ),
)
