"""Accounts: register, log in, refresh, log out, me (protocol.md section 2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import trio

from chatd.addresses import address_key
from chatd.context import Caller, Services
from chatd.errors import CloseCode, Conflict, Unauthorized
from chatd.events.accounts import AuthRefresh, AuthRefreshed, Login, Me, Refresh, Register, Tokens
from chatd.events.answers import Nothing
from chatd.handlers.audit import Act, write_down
from chatd.handlers.authenticator import demand_second_factor
from chatd.handlers.guarding import begin_guess, known_device, spend_login
from chatd.handlers.links import ask_to_verify, is_unverified
from chatd.handlers.operations import Operation, Route, spend
from chatd.handlers.proof import refuse_telling
from chatd.ids import uuid7
from chatd.limits import Rate, rate_of
from chatd.model import account_dict, dumps, iso
from chatd.rows import PasswordProof, Rotation, UserRow
from chatd.tokens import hash_token, new_refresh_token, successor_of

MAX_DEVICE_NAME = 200  # characters of a User-Agent that are kept


async def register(services: Services, caller: Caller, command: Register) -> bytes:
    """Open an account and log it in."""
    address = ("registered", address_key(caller.address))
    rate = rate_of(services.settings.register_rate)
    spend(services, caller, "address", address, rate, trio.current_time())
    refuse_telling(services, command.password, command.email, "password")
    password_hash = await services.passwords.hash(command.password)
    user = await services.store.insert_user(
        user_id=uuid7(),
        email=command.email,
        name=command.name or command.email.split("@")[0],
        password_hash=password_hash,
        created_at=services.now(),
    )
    if user is None:
        msg = "this address has an account"
        raise Conflict(msg)
    services.presence.account_opened()
    ask_to_verify(services, user)
    return await open_login(services, caller, user, Act.REGISTER)


async def login(services: Services, caller: Caller, command: Login) -> bytes:
    """Log in with a password; an unknown address answers the same, after the same time."""
    settings, clock = services.settings, trio.current_time()
    address = ("password", address_key(caller.address))
    spend(services, caller, "address", address, rate_of(settings.login_rate), clock)
    services.passwords.expect_room()  # a flood costs the store nothing
    user = await services.store.user_by_email(command.email)
    device_id = known_device(services, user, command.device_token)
    # By the address, known or not: the refusal does not tell which accounts there are.
    with begin_guess(services, caller, ("password", command.email), device_id) as guess:
        spend_login(services, caller, command.email, device_id)
        stored = user.password_hash if user else None
        fits = await services.passwords.check(command.password, stored)
        guess.settle(trio.current_time(), fits=fits)
    if user is None or not fits:
        await write_down(services, caller, Act.LOGIN_FAILED, user.id if user else None)
        msg = "wrong address or password"
        raise Unauthorized(msg)
    await demand_second_factor(services, user, device_id)
    return await open_login(services, caller, user, Act.LOGIN)


async def open_login(services: Services, caller: Caller, user: UserRow, act: Act) -> bytes:
    """Begin a login of a new device and return its token pair.

    The second factor, where one is asked for, has been shown before.
    """
    now, settings = services.now(), services.settings
    family_id, device_id, refresh_token = uuid7(), uuid7(), new_refresh_token()
    is_opened = await services.store.open_family(
        family_id=family_id,
        user_id=user.id,
        device_id=device_id,
        device_name=caller.user_agent[:MAX_DEVICE_NAME],
        address=caller.address,
        token_hash=hash_token(refresh_token),
        at=now,
        expires_at=now + timedelta(seconds=min(settings.refresh_token_ttl, settings.login_max_age)),
        proof=PasswordProof(user.password_hash),
    )
    if not is_opened:  # a new password was set at this moment, which ends all other logins
        raise Unauthorized
    await write_down(services, caller, act, user.id, deviceId=device_id)
    keep = settings.max_logins_per_user
    displaced = await services.store.revoke_oldest(user.id, keep=keep, at=now)
    if displaced:
        services.sockets.cut_families(displaced, CloseCode.REVOKED)
        await write_down(services, caller, Act.LOGIN_DISPLACED, user.id, logins=len(displaced))
    return await _tokens(services, user, family_id, device_id, refresh_token)


async def _tokens(
    services: Services, user: UserRow, family_id: UUID, device_id: UUID, refresh_token: str
) -> bytes:
    access, expires_at = services.tokens.issue(
        user.id,
        family_id,
        device_id,
        services.now(),
        is_unverified=await is_unverified(services, user),
    )
    return dumps(
        {
            "user": account_dict(user),
            "accessToken": access,
            "refreshToken": refresh_token,
            "expiresAt": iso(expires_at),
            "deviceId": device_id,
            "deviceToken": services.tokens.device_token(user.id, device_id),
        }
    )


async def refresh(services: Services, caller: Caller, command: Refresh) -> bytes:
    """Exchange a refresh token; a stolen one ends the whole login."""
    now, settings = services.now(), services.settings
    successor = successor_of(command.refresh_token, services.successor_key.secret)
    rotation = await services.store.rotate_refresh_token(
        token_hash=hash_token(command.refresh_token),
        successor_hash=hash_token(successor),
        at=now,
        grace_until=now - timedelta(seconds=settings.refresh_grace),
        expires_at=now + timedelta(seconds=settings.refresh_token_ttl),
        max_age=timedelta(seconds=settings.login_max_age),
        address=caller.address,
    )
    if rotation.outcome is Rotation.REUSED and rotation.family_id is not None:
        services.sockets.cut_families([rotation.family_id], CloseCode.REVOKED)
    if rotation.user_id is None or rotation.outcome in {Rotation.REUSED, Rotation.REFUSED}:
        raise Unauthorized
    assert rotation.family_id is not None  # noqa: S101 - set with user_id
    assert rotation.device_id is not None  # noqa: S101 - set with user_id
    users = await services.store.users_by_ids([rotation.user_id])
    if not users:
        raise Unauthorized
    return await _tokens(services, users[0], rotation.family_id, rotation.device_id, successor)


async def logout(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """End this login: its refresh tokens, its access tokens, its sockets."""
    assert caller.identity is not None  # noqa: S101 - needs_login
    is_new = await services.store.revoke_family(caller.identity.family_id, services.now())
    services.sockets.cut_families([caller.identity.family_id], CloseCode.REVOKED)
    if is_new:
        device_id = caller.identity.device_id
        await write_down(services, caller, Act.LOGOUT, caller.user_id, deviceId=device_id)
    return b"{}"


async def logout_all(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """End all logins of the caller, API tokens among them."""
    assert caller.identity is not None  # noqa: S101 - needs_login
    family_ids = set(await services.store.revoke_user(caller.user_id, services.now()))
    # And those that a call whose answer was lost has revoked.
    family_ids.add(caller.identity.family_id)
    services.sockets.cut_user(caller.user_id, family_ids, CloseCode.REVOKED)
    await write_down(services, caller, Act.LOGOUT_ALL, caller.user_id)
    return b"{}"


async def me(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """Return the caller's account."""
    users = await services.store.users_by_ids([caller.user_id])
    if not users:
        raise Unauthorized
    return dumps({"user": account_dict(users[0])})


async def auth_refresh(services: Services, caller: Caller, command: AuthRefresh) -> bytes:
    """Renew the access token of a live socket; it must speak for the same user and login."""
    identity = services.tokens.verify(command.access_token, services.now())
    assert caller.identity is not None  # noqa: S101 - needs_login
    assert caller.socket is not None  # noqa: S101 - needs_socket
    same = (identity.user_id, identity.family_id) == (
        caller.identity.user_id,
        caller.identity.family_id,
    )
    if not same or services.sockets.is_revoked(identity.family_id):
        raise Unauthorized
    caller.socket.renew(identity)
    return dumps({"expiresAt": iso(datetime.fromtimestamp(identity.expires_at, UTC))})


LOGIN_PATH = "/auth/login"
LOGIN_RATE = Rate(per_second=10 / 60, burst=20)  # bad requests count too; the rest: settings

OPERATIONS = (
    Operation(
        "register",
        Register,
        Tokens,
        "Open an account and log in",
        run=register,
        route=Route("POST", "/auth/register", 201),
        needs_login=False,
        rate=LOGIN_RATE,
    ),
    Operation(
        "login",
        Login,
        Tokens,
        "Log in with a password",
        run=login,
        route=Route("POST", LOGIN_PATH),
        needs_login=False,
        rate=LOGIN_RATE,
    ),
    Operation(
        "refresh",
        Refresh,
        Tokens,
        "Exchange a refresh token for a new pair",
        run=refresh,
        route=Route("POST", "/auth/refresh"),
        needs_login=False,
        rate=Rate(1, 30),
    ),
    Operation(
        "logout",
        Nothing,
        Nothing,
        "End this login",
        run=logout,
        is_for_unverified=True,
        route=Route("POST", "/auth/logout"),
    ),
    Operation(
        "logout-all",
        Nothing,
        Nothing,
        "End all logins and API tokens of the caller",
        run=logout_all,
        is_for_unverified=True,
        route=Route("POST", "/auth/logout-all"),
    ),
    Operation(
        "me",
        Nothing,
        Me,
        "The caller's account",
        run=me,
        route=Route("GET", "/auth/me"),
    ),
    Operation(
        "auth-refresh",
        AuthRefresh,
        AuthRefreshed,
        "Renew the token of a live socket",
        run=auth_refresh,
        is_for_unverified=True,
        event="auth:refresh",
        needs_socket=True,
        is_activity=False,  # a timer sends it
    ),
)
