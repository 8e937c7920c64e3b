"""A daemon in development, whose letters are in its log, and people who read them."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from chatd.contract import Store
from chatd.rows import UserRow
from tests.http_kit import Answer
from tests.people import World, open_world
from tests.test_accounts import PASSWORD, open_login

OTHER = "another horse battery"
URL = "https://chat.example.org"


class Shown(NamedTuple):
    """A letter as the log shows it."""

    kind: str
    to: str
    link: str | None

    @property
    def token(self) -> str:
        """The secret of its link."""
        assert self.link is not None
        return self.link.partition("#token=")[2]


class Login(NamedTuple):
    """A login without a password."""

    family_id: UUID
    token: str
    refresh_token: str


class Desk:
    """The daemon, its log, and its people."""

    def __init__(self, world: World, logs: Sequence[MutableMapping[str, Any]]) -> None:
        self.world = world
        self.store = world.store
        self.logs = logs
        self._read = 0

    async def letters(self) -> list[Shown]:
        """Return the letters since the last call, when all are sent."""
        await wait_all_tasks_blocked()
        new, self._read = list(self.logs[self._read :]), len(self.logs)
        return [
            Shown(entry["kind"], entry["to"], entry["link"])
            for entry in new
            if entry["event"] == "mail"
        ]

    async def letter(self, kind: str) -> Shown:
        """Return the one letter since the last call."""
        [letter] = await self.letters()
        assert letter.kind == kind
        return letter

    async def post(self, path: str, body: Any = None, token: str | None = None) -> Answer:
        """Ask by REST."""
        return await self.world.rest("POST", path, body or {}, token=token)

    async def get(self, path: str, token: str | None = None) -> Answer:
        """Ask by REST."""
        return await self.world.rest("GET", path, token=token)

    async def register(self, name: str = "anna", password: str = PASSWORD) -> dict[str, Any]:
        """Open an account with a password; return the tokens."""
        body = {"email": f"{name}@example.com", "password": password}
        answer = await self.post("/auth/register", body)
        assert answer.status == 201, answer.body
        tokens: dict[str, Any] = answer.json
        return tokens

    async def can_log_in(self, password: str, email: str = "anna@example.com") -> bool:
        """Whether a password is good."""
        answer = await self.post("/auth/login", {"email": email, "password": password})
        assert answer.status in {200, 401}
        return answer.status == 200

    async def log_in(self, user: UserRow) -> Login:
        """Return a new login of an account, however it has logged in."""
        family_id, refresh_token = await open_login(self.world, user)
        return Login(family_id, self.world.token(user, family_id), refresh_token)

    async def acts(self, user_id: UUID) -> list[str]:
        """Return what was done to an account, the newest first."""
        rows = await self.store.audit_page(user_id, before=None, limit=50)
        return [row.action for row in rows]

    async def forgot(self, email: str = "anna@example.com") -> str:
        """Ask for a new password; return the secret of the link."""
        assert (await self.post("/auth/password/forgot", {"email": email})).status == 202
        return (await self.letter("password_reset")).token

    async def reset(self, token: str, password: str = OTHER) -> int:
        """Set a new password with a link; return the status."""
        body = {"token": token, "password": password}
        return (await self.post("/auth/password/reset", body)).status

    async def is_verified(self, token: str) -> bool:
        """Whether the caller's address is verified, as they see it."""
        answer = await self.get("/auth/me", token)
        assert answer.status == 200
        verified: bool = answer.json["user"]["emailVerified"]
        return verified

    async def ask_change(self, token: str, email: str) -> int:
        """Ask for another address, with the usual password; return the status."""
        body = {"email": email, "password": PASSWORD}
        return (await self.post("/auth/email", body, token)).status

    async def verify(self, token: str) -> int:
        """Use a link of an address; return the status."""
        return (await self.post("/auth/email/verify", {"token": token})).status


@asynccontextmanager
async def open_desk(
    tmp_path: Path, store: Store | None = None, **settings: Any
) -> AsyncIterator[Desk]:
    """Run a daemon in development on whatever clock the test has."""
    usual: dict[str, Any] = {"public_url": URL}
    with capture_logs() as logs:
        async with open_world(tmp_path, store, **(usual | settings)) as world:
            yield Desk(world, logs)
    errors = [entry for entry in logs if entry["log_level"] in {"error", "critical"}]
    assert errors == []
