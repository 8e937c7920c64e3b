"""The daemon for tests: the real one, over the memory store and connections in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import trio

from chatd.client.nursery import open_private_nursery
from chatd.config import Settings
from chatd.contract import Store
from chatd.ids import uuid7
from chatd.keyring import load_keyring
from chatd.nurseries.daemon import Daemon, open_daemon
from chatd.nurseries.provider import Provider
from chatd.peers import Peers
from chatd.rows import SessionKind, UserRow
from chatd.store.memory import MemoryStore
from chatd.testing.http import Answer, ask, request_bytes
from chatd.testing.link import Link, link_streams
from chatd.testing.socket import PersonSocket, Wire, open_person_socket

START = datetime(2026, 1, 1, tzinfo=UTC)  # what the wall clock says when the daemon opens
PEER = "192.0.2.1"  # the address of all clients (RFC 5737)


class Account(Protocol):
    """Who may be in a session: a `Person`, or a row of the store."""

    @property
    def id(self) -> UUID:
        """The id of the account."""


class ChatServer:
    """A daemon under test; made by `open_chatd`.

    Attributes:
        daemon: what runs, for a look inside.
        store: what it stores in.
        nursery: for tasks that end with the daemon; its connections are there.
    """

    def __init__(self, daemon: Daemon, store: Store, nursery: trio.Nursery) -> None:
        self.daemon = daemon
        self.store = store
        self.nursery = nursery
        self._connections = 0

    @property
    def settings(self) -> Settings:
        """The settings it runs with."""
        return self.daemon.settings

    @property
    def now(self) -> datetime:
        """The daemon's time of day: `START` and what has passed on Trio's clock since then."""
        return self.daemon.services.now()

    async def person(self, name: str) -> Person:
        """Return somebody with a new account `<name>@example.com`; it has no password.

        Raises:
            ValueError: there is somebody of this name.
        """
        user = await self.store.insert_user(
            user_id=uuid7(),
            email=f"{name}@example.com",
            name=name,
            password_hash=None,  # a hash takes a thread, and a mock clock does not wait for one
            created_at=self.now,
        )
        if user is None:
            msg = f"{name} has an account"
            raise ValueError(msg)
        return Person(self, user)

    async def session(
        self, owner: Account, *others: Account, kind: SessionKind = "GROUP", name: str = "room"
    ) -> UUID:
        """Return the id of a new session of these people; a DIRECT one has no name."""
        row, _ = await self.store.create_session(
            session_id=uuid7(),
            kind=kind,
            name=None if kind == "DIRECT" else name,
            creator_id=owner.id,
            member_ids=[other.id for other in others],
            at=self.now,
        )
        return row.id

    async def rest(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Iterable[str] = (),
    ) -> Answer:
        """Ask by REST, on a connection of its own.

        Args:
            body: JSON, or raw bytes.
            token: of a `PersonSocket`, or of `Person.token`.
            headers: whole lines, `Name: value`.

        Raises:
            trio.TooSlowError: no answer within a minute on Trio's clock.
        """
        request = request_bytes(method, path, body, token=token, headers=headers)
        stream = self.stream()
        try:
            return await ask(stream, request, method)
        finally:
            await trio.aclose_forcefully(stream)

    def token(self, user_id: UUID, family_id: UUID | None = None) -> str:
        """Return an access token of a login, by default of a new one."""
        services = self.daemon.services
        token, _ = services.tokens.issue(user_id, family_id or uuid7(), uuid7(), services.now())
        return token

    def stream(self, link: Link | None = None) -> trio.abc.Stream:
        """Return the client's end of a new connection, for bytes of one's own."""
        ours, theirs = link_streams(link)
        self._connections += 1
        self.nursery.start_soon(self._serve, theirs, f"c{self._connections}")
        return ours

    async def _serve(self, stream: trio.abc.Stream, connection_id: str) -> None:
        try:
            await self.daemon.http.serve_connection(stream, PEER, connection_id)
        finally:
            await trio.aclose_forcefully(stream)


class Person:
    """Somebody with an account on a `ChatServer`."""

    def __init__(self, server: ChatServer, row: UserRow) -> None:
        self.row = row
        self._server = server

    @property
    def id(self) -> UUID:
        """The id of the account."""
        return self.row.id

    @property
    def name(self) -> str:
        """The name that others see."""
        return self.row.name

    @property
    def email(self) -> str:
        """The address of the account."""
        return self.row.email

    def token(self) -> str:
        """Return an access token of a new login, good for `access_token_ttl`."""
        return self._server.token(self.id)

    def connect(
        self, link: Link | None = None, wire: Wire = "ws"
    ) -> AbstractAsyncContextManager[PersonSocket]:
        """Connect a device with a login of its own, for the length of the block.

        The end of the block is a clean goodbye; what a half-open link does not let through the
        server does not hear.

        Args:
            link: the network in between; without one everything arrives at once.
            wire: `ws` for the plain WebSocket, `socketio` for Socket.IO on one.

        Raises:
            Refused, SocketClosed: the server does not let it in.
            trio.TooSlowError: no `connection:ready` within `CONNECT_TIMEOUT`.
        """
        return open_person_socket(self._server.stream(link), self.token(), wire)


@asynccontextmanager
async def open_chatd(
    *,
    store: Store | None = None,
    provider: Provider | None = None,
    peers: Peers | None = None,
    **settings: Any,
) -> AsyncIterator[ChatServer]:
    """Run a daemon for the length of the block, on whatever clock the test has.

    Args:
        store: what it stores in; by default an empty `MemoryStore`.
        provider: who answers for the assistant, which is off without.
        peers: other daemons that its polling clients may come through.
        settings: as in `chatd.config.Settings`. Rate limits are off unless they are asked for.

    Raises:
        pydantic.ValidationError: there is no such setting, or not with this value.
    """
    defaults: dict[str, Any] = {
        "environment": "development",
        "files": "off",  # a mock clock does not wait for a disk
        "bcrypt_rounds": 4,
        "rate_limits": "off",
        "signing_keys": ("test:" + "k" * 40,),
    }
    if provider is not None:
        defaults |= {"openai_model": "test-model", "openai_base_url": "http://provider.test/v1"}
    chosen = Settings(**(defaults | settings))
    memory = store if store is not None else MemoryStore(keyring=load_keyring(chosen))
    opened = trio.current_time()

    def now() -> datetime:
        return START + timedelta(seconds=trio.current_time() - opened)

    async with (
        open_daemon(chosen, memory, now=now, provider=provider, peers=peers) as daemon,
        open_private_nursery() as nursery,
    ):
        try:
            yield ChatServer(daemon, memory, nursery)
        finally:
            if isinstance(memory, MemoryStore):
                memory.latency = 0  # a mock clock that stands still would never end the stop
        nursery.cancel_scope.cancel()
