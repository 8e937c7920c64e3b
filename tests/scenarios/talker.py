"""People with live connections to a real daemon, cheap enough to have fifty of them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import orjson
import trio

from chatd.client import ClientError
from chatd.client.errors import refusal
from chatd.client.nursery import open_private_nursery
from chatd.client.rest import Rest
from tests.scenarios.daemon import Daemon
from tests.scenarios.wire import CLOSE, PING, PONG, TEXT, Wire, frame, open_wire

ANSWER_TIMEOUT = 20.0  # seconds; the daemon's own deadlines add up to 12
RETRY_PAUSE = 0.02  # seconds between two tries while the store is away
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """An account, and a token that lasts for a test."""

    id: str
    name: str
    token: str


@dataclass(frozen=True, slots=True)
class Push:
    """An event as it arrived."""

    name: str
    data: Any
    at: float  # on Trio's clock


class Lost(Exception):
    """The connection ended before the answer came: it is not known what the daemon did."""


async def rest(daemon: Daemon, method: str, path: str, token: str | None, body: Json) -> Json:
    """Call the daemon's REST door once, on a connection of its own."""
    door = Rest(daemon.url)
    try:
        return await door.call(method, path, body=body, token=token)
    finally:
        await door.aclose()


async def register(daemon: Daemon, name: str) -> Person:
    """Open an account. The address is new each time."""
    body = {"email": f"{name}-{uuid4().hex}@example.com", "password": "swordfish-9", "name": name}
    answer = await rest(daemon, "POST", "/auth/register", None, body)
    return Person(answer["user"]["id"], name, answer["accessToken"])


async def create_session(daemon: Daemon, owner: Person, *others: Person) -> str:
    """Create a session of these people and return its id; its `seq` is 0."""
    body = {"kind": "GROUP", "name": "tea", "memberIds": [other.id for other in others]}
    answer = await rest(daemon, "POST", "/chat/sessions", owner.token, body)
    session_id: str = answer["session"]["id"]
    return session_id


class Talker:
    """One live connection; requests may overlap, pushes are kept in `pushes` as they came."""

    def __init__(self, person: Person, wire: Wire) -> None:
        self.person = person
        self.wire = wire
        self.pushes: list[Push] = []
        self.close_code: int | None = None
        self.is_lost = False
        self._ids = itertools.count(1)
        self._answers: dict[int, Json] = {}
        self._changed = trio.Event()

    async def read(self) -> None:
        """Take what arrives until the end."""
        while (frames := await self.wire.frames()) is not None:
            now = trio.current_time()
            for one in frames:
                if one.opcode == TEXT:
                    self._take(orjson.loads(one.payload), now)
                elif one.opcode == PING:
                    await self.wire.send(frame(one.payload, PONG))
                elif one.opcode == CLOSE:
                    self.close_code = one.code
            self._tell()
        self.is_lost = True
        self._tell()

    def _take(self, message: Json, now: float) -> None:
        if "ok" in message:
            self._answers[message["id"]] = message
        else:
            self.pushes.append(Push(message["event"], message["data"], now))

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait until something holds; it is asked again after everything that arrives.

        Raises:
            Lost: the connection ended, and it does not hold.
        """
        while not is_true():
            if self.is_lost:
                raise Lost
            await self._changed.wait()

    async def emit(self, event: str, **data: Any) -> int:
        """Send a request and return its id, without waiting."""
        id_ = next(self._ids)
        try:
            await self.wire.send(frame(orjson.dumps({"event": event, "id": id_, "data": data})))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Lost from None
        return id_

    async def answer(self, id_: int) -> Json:
        """Wait for the answer of a request and return its data.

        Raises:
            ClientError: it was refused.
            Lost: the connection ended first.
        """
        with trio.fail_after(ANSWER_TIMEOUT):
            await self.until(lambda: id_ in self._answers)
        answer = self._answers.pop(id_)
        if not answer["ok"]:
            raise refusal(answer["error"])
        data: Json = answer["data"]
        return data

    async def ask(self, event: str, **data: Any) -> Json:
        """Send a request and return the data of its answer. Raises as `answer` does."""
        return await self.answer(await self.emit(event, **data))

    async def join(self, session_id: str, **data: Any) -> Json:
        """Join a session and return its state."""
        return await self.ask("session:join", sessionId=session_id, **data)

    async def send(self, session_id: str, content: str, key: str | None = None) -> Json:
        """Send a message, again while it is refused for a passing reason; return the ack.

        Raises:
            Lost: the connection ended; send it on another one with the same key.
        """
        key = key or uuid4().hex
        while True:
            try:
                return await self.ask(
                    "message:send", sessionId=session_id, content=content, clientMsgId=key
                )
            except ClientError as error:
                if not error.retryable:
                    raise
            await trio.sleep(RETRY_PAUSE)

    async def history(self, session_id: str, after: int) -> list[Json]:
        """Return every stored message above a `seq`, page by page."""
        found: list[Json] = []
        has_after = True
        while has_after:
            page = await self.ask(
                "message:history", sessionId=session_id, afterSeq=after, limit=100
            )
            found += page["messages"]
            has_after = page["hasAfter"]
            after = found[-1]["seq"] if found else after
        return found

    def messages(self, session_id: str) -> list[Json]:
        """Return the messages that were pushed, in the order of their arrival."""
        return [
            push.data
            for push in self.pushes
            if push.name == "message:new" and push.data["sessionId"] == session_id
        ]

    def seqs(self, session_id: str) -> list[int]:
        """Return the `seq` of each message that was pushed, in the order of their arrival."""
        return [message["seq"] for message in self.messages(session_id)]


T = TypeVar("T", bound=Talker)


def talking(daemon: Daemon, person: Person) -> AbstractAsyncContextManager[Talker]:
    """Hold a live connection, ready to talk, for the length of the block; then drop it."""
    return talking_as(Talker, daemon, person)


@asynccontextmanager
async def talking_as(kind: type[T], daemon: Daemon, person: Person) -> AsyncIterator[T]:
    """Hold a live connection of another kind of talker. As `talking`."""
    async with open_wire(daemon.port) as raw, open_private_nursery() as nursery:
        talker = kind(person, raw)
        await raw.upgrade(person.token)
        nursery.start_soon(talker.read)
        await talker.until(lambda: bool(talker.pushes))
        assert talker.pushes[0].name == "connection:ready"
        yield talker
