"""People for tests: a daemon without sockets and PostgreSQL, and clients of its `/ws`.

The daemon is the real one (`open_daemon`) over the memory twin of the store; its connections are
memory streams, so everything runs on a mock clock. `lag_by` shifts nothing: the wall clock follows
Trio's clock.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import orjson
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from chatd.config import Settings
from chatd.contract import Store
from chatd.events import SERVER_EVENTS
from chatd.handlers.catalogue import BY_EVENT
from chatd.ids import uuid7
from chatd.nurseries.daemon import Daemon, open_daemon
from chatd.rows import SessionKind, UserRow
from chatd.store.memory import MemoryStore
from tests.http_kit import Answer
from tests.http_kit import Client as HttpClient

START = datetime(2026, 1, 1, tzinfo=UTC)


class Wire(trio.abc.Stream):
    """The server's end of a memory stream; like a socket with room it finishes what it begins."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):  # never waits: the memory has room
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class Client:
    """One connection to `/ws` as a person has it."""

    def __init__(self, socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        self._socket = socket
        self.stream = stream
        self._ids = 0
        self.waiting: list[dict[str, Any]] = []  # pushes that came before the answer asked for

    async def send_raw(self, text: str) -> None:
        await self._socket.send_message(text)

    async def emit(self, event: str, **data: Any) -> int:
        """Send a request without waiting and return its id."""
        self._ids += 1
        await self.send_raw(json.dumps({"event": event, "id": self._ids, "data": data}))
        return self._ids

    async def frame(self) -> dict[str, Any]:
        """Return the next frame, whatever it is; an event must have its documented shape."""
        frame: dict[str, Any] = json.loads(await self._socket.get_message())
        if "event" in frame:
            assert set(frame) == {"event", "data"}
            SERVER_EVENTS[frame["event"]].model_validate(frame["data"])
        return frame

    async def answer(self, request_id: int) -> dict[str, Any]:
        """Wait for the answer of one request; pushes on the way are kept."""
        while True:
            frame = await self.frame()
            if frame.get("id") == request_id and "ok" in frame:
                return frame
            self.waiting.append(frame)

    async def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """Send a request and return what it answers, in the operation's documented shape."""
        frame = await self.answer(await self.emit(event, **data))
        assert frame["ok"], frame
        answer: dict[str, Any] = frame["data"]
        if event != "auth":
            shape = BY_EVENT[event].answer
            assert shape is not None
            shape.model_validate(answer)
        return answer

    async def refusal(self, event: str, **data: Any) -> str:
        """Send a request and return the code with which it is refused."""
        frame = await self.answer(await self.emit(event, **data))
        assert not frame["ok"], frame
        code: str = frame["error"]["code"]
        return code

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for the next push of this name and return its payload; others are dropped."""
        while True:
            frame = self.waiting.pop(0) if self.waiting else await self.frame()
            if frame.get("event") == name:
                payload: dict[str, Any] = frame["data"]
                return payload

    async def heard(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return all pushes of this name (or of any) since the last call, when all is quiet."""
        await wait_all_tasks_blocked()
        await self.answer(await self.emit("no:such"))  # a barrier: what was said before is here
        pushes, self.waiting = self.waiting, []
        return [
            frame["data"] if name else frame
            for frame in pushes
            if "event" in frame and name in {None, frame["event"]}
        ]

    async def events_until(self, marker: str) -> list[dict[str, Any]]:
        """Return all pushes up to and including the message with this content."""
        frames = []
        while True:
            frame = self.waiting.pop(0) if self.waiting else await self.frame()
            frames.append(frame)
            if frame.get("event") == "message:new" and frame["data"]["content"] == marker:
                return frames

    async def closed(self) -> int | None:
        """Read until the server closes and return the close code, None without one."""
        while True:
            try:
                self.waiting.append(await self.frame())
            except ConnectionClosed as end:
                return None if end.reason is None else end.reason.code

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)


class World:
    """A daemon and its people."""

    def __init__(self, daemon: Daemon, store: Store, nursery: trio.Nursery) -> None:
        self.daemon = daemon
        self.store = store
        self.nursery = nursery
        self._connections = 0

    async def person(self, name: str) -> UserRow:
        """Return a new account; no password, no bcrypt thread."""
        user = await self.store.insert_user(
            user_id=uuid7(),
            email=f"{name}@example.com",
            name=name,
            password_hash=None,
            created_at=self.daemon.services.now(),
        )
        assert user is not None
        return user

    def token(self, user: UserRow, family_id: UUID | None = None) -> str:
        """Return an access token of a login."""
        services = self.daemon.services
        token, _ = services.tokens.issue(user.id, family_id or uuid7(), uuid7(), services.now())
        return token

    async def session(self, owner: UserRow, *others: UserRow, kind: SessionKind = "GROUP") -> UUID:
        """Return a new session of these people."""
        row, _ = await self.store.create_session(
            session_id=uuid7(),
            kind=kind,
            name=None if kind == "DIRECT" else "room",
            creator_id=owner.id,
            member_ids=[other.id for other in others],
            at=self.daemon.services.now(),
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
        """Ask by REST on a connection of its own; `body` is JSON, or raw bytes."""
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        lines = [f"{method} {path} HTTP/1.1", "Host: chatd.test", *headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if body is not None:
            lines.append(f"Content-Length: {len(raw)}")
            if not any(line.lower().startswith("content-type") for line in lines):
                lines.append("Content-Type: application/json")
        stream = self.stream()
        client = HttpClient(stream)
        await client.send("\r\n".join([*lines, "", ""]).encode() + raw)
        answer = await client.read(method)
        await trio.aclose_forcefully(stream)
        return answer

    def stream(self) -> trio.abc.Stream:
        """Return the client's end of a new connection."""
        ours, theirs = memory_stream_pair()
        self._connections += 1
        connection_id = f"c{self._connections}"
        self.nursery.start_soon(
            self.daemon.http.serve_connection, Wire(theirs), "192.0.2.1", connection_id
        )
        return ours

    @asynccontextmanager
    async def socket(self, token: str | None = None) -> AsyncIterator[Client]:
        """Open `/ws`, with the token in the handshake where one is given."""
        stream = self.stream()
        headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
        async with trio.open_nursery() as nursery:
            socket = await wrap_client_stream(
                nursery,
                cast("trio.SocketStream", stream),  # any stream will do
                "chatd.test",
                "/ws",
                extra_headers=headers,
                message_queue_size=2000,
            )
            client = Client(socket, stream)
            try:
                yield client
            finally:
                await client.aclose()
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def connect(self, user: UserRow, family_id: UUID | None = None) -> AsyncIterator[Client]:
        """Open `/ws` as somebody, ready to talk."""
        async with self.socket(self.token(user, family_id)) as client:
            await client.event("connection:ready")
            yield client


@asynccontextmanager
async def open_world(
    tmp_path: Path, store: Store | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Run a daemon on the memory store, on whatever clock the test has."""
    defaults: dict[str, Any] = {
        "environment": "development",
        "data_dir": tmp_path,
        "bcrypt_rounds": 4,
        "rate_limits": "off",
        "signing_keys": ("test:" + "k" * 40,),
    }
    twin = store if store is not None else MemoryStore()
    epoch = trio.current_time()

    def now() -> datetime:
        return START + timedelta(seconds=trio.current_time() - epoch)

    async with (
        open_daemon(Settings(**(defaults | settings)), twin, now=now) as daemon,
        trio.open_nursery() as nursery,
    ):
        try:
            yield World(daemon, twin, nursery)
        finally:
            if isinstance(twin, MemoryStore):
                twin.latency = 0  # a mock clock stands still: the stop would wait for ever
        nursery.cancel_scope.cancel()
