"""People with passwords and second factors, on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import trio

from chatd.contract import Store
from chatd.events.accounts import Tokens
from chatd.events.second_factor import RecoveryCodes, TotpBegun
from chatd.store.memory import MemoryStore
from tests.authenticator import InstantPasswords, code_at
from tests.http_kit import Answer
from tests.people import World, open_world

PASSWORD = "correct horse battery"
STEP = 30


class Account:
    """Somebody with a password and, after `enroll`, an authenticator and recovery codes."""

    def __init__(self, site: Site, email: str, tokens: Tokens) -> None:
        self.site = site
        self.email = email
        self.tokens = tokens
        self.secret = ""
        self.recovery_codes: list[str] = []

    def code(self, seconds: float = 0) -> str:
        """Return what the authenticator shows, by a clock that is some seconds ahead."""
        return code_at(self.secret, self.site.now(seconds))

    async def next_code(self) -> str:
        """Return a code that was not shown before."""
        await trio.sleep(STEP)
        return self.code()

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask by REST with the access token of the first login."""
        return await self.site.world.rest(method, path, body, token=self.tokens.access_token)

    async def enroll(self) -> Account:
        """Set up the second factor."""
        answer = await self.ask("POST", "/auth/totp", {"password": PASSWORD})
        assert answer.status == 200, answer.body
        self.secret = TotpBegun.model_validate(answer.json).secret
        answer = await self.ask("POST", "/auth/totp/confirm", {"code": self.code()})
        assert answer.status == 200, answer.body
        self.recovery_codes = RecoveryCodes.model_validate(answer.json).recovery_codes
        await trio.sleep(STEP)  # the code of the confirmation is spent
        return self

    async def log_in(self, **more: Any) -> Answer:
        """Show the password."""
        body = {"email": self.email, "password": PASSWORD, **more}
        return await self.site.world.rest("POST", "/auth/login", body)

    async def challenge(self, **more: Any) -> str:
        """Show the password and return the challenge."""
        answer = await self.log_in(**more)
        assert (answer.status, answer.code) == (401, "second_factor_required"), answer.body
        challenge: str = answer.json["error"]["details"]["challenge"]
        return challenge

    async def acts(self) -> list[str]:
        """Return what the audit log says of the account, the newest first."""
        answer = await self.ask("GET", "/users/me/audit")
        return [entry["action"] for entry in answer.json["entries"]]


class Site:
    """A daemon with people who have passwords."""

    def __init__(self, world: World, passwords: InstantPasswords) -> None:
        self.world = world
        self.passwords = passwords
        self.services = world.daemon.services

    def now(self, seconds: float = 0) -> datetime:
        """Return the daemon's time of day, some seconds on."""
        return self.services.now() + timedelta(seconds=seconds)

    async def register(self, name: str) -> Account:
        """Open an account."""
        email = f"{name}@example.com"
        body = {"email": email, "password": PASSWORD}
        answer = await self.world.rest("POST", "/auth/register", body)
        assert answer.status == 201, answer.body
        return Account(self, email, Tokens.model_validate(answer.json))

    async def finish(self, challenge: str, **proof: Any) -> Answer:
        """Show the second factor."""
        body = {"challenge": challenge, **proof}
        return await self.world.rest("POST", "/auth/login/totp", body)


@asynccontextmanager
async def open_site(
    tmp_path: Path, store: Store | None = None, **settings: Any
) -> AsyncIterator[Site]:
    """Run a daemon that compares passwords without threads."""
    async with open_world(tmp_path, store or MemoryStore(), **settings) as world:
        passwords = InstantPasswords()
        world.daemon.services.passwords = passwords
        yield Site(world, passwords)
