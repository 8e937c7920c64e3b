"""People for tests: a daemon without sockets and PostgreSQL, and clients of its `/ws`.

The daemon is the one of `chatd.testing`. The clients here are trio-websocket's, which knows nothing
of ours, and check that every frame has its documented shape.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from chatd.contract import Store
from chatd.events.server import SERVER_EVENTS
from chatd.handlers.catalogue import BY_EVENT
from chatd.nurseries.provider import Provider
from chatd.rows import UserRow
from chatd.testing import ChatServer, open_chatd
from tests.http_kit import Answer


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
        """Leave without a word; the server has seen it when this returns."""
        await trio.aclose_forcefully(self.stream)
        await wait_all_tasks_blocked()


class World:
    """A daemon and its people, as `chatd.testing` has them, with clients that check every shape."""

    def __init__(self, server: ChatServer) -> None:
        self.server = server
        self.daemon = server.daemon
        self.store = server.store
        self.nursery = server.nursery
        self.session = server.session
        self.stream = server.stream

    async def person(self, name: str) -> UserRow:
        """Return a new account; no password, no bcrypt thread."""
        return (await self.server.person(name)).row

    def token(self, user: UserRow, family_id: UUID | None = None) -> str:
        """Return an access token of a login."""
        return self.server.token(user.id, family_id)

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
        answer = await self.server.rest(method, path, body, token=token, headers=headers)
        return Answer(answer.status, answer.headers, answer.body)

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
    tmp_path: Path,
    store: Store | None = None,
    provider: Provider | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run a daemon on the memory store, on whatever clock the test has."""
    chosen = {"data_dir": tmp_path, **settings}
    async with open_chatd(store=store, provider=provider, **chosen) as server:
        yield World(server)
