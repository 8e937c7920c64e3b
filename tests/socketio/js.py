"""Stock Socket.IO clients in one Node process, driven from Trio. The other half is `driver.mjs`."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import trio

from tests.scenarios.talker import Json, Person

WAIT = 30.0  # seconds for one thing to happen; the machine is shared
EXIT_TIMEOUT = 5.0  # seconds for Node to end when its stdin has
HERE = Path(__file__).parent
PACKAGE = HERE.parent / "js/node_modules/socket.io-client/package.json"
TRANSPORTS = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrade": ["polling", "websocket"],
}


class Lost(Exception):
    """The connection ended before the ack came: it is not known what the daemon did."""


class JsClient:
    """One client, and everything that happened to it, in order."""

    def __init__(self, driver: Driver, number: int) -> None:
        self.reports: list[Json] = []
        self._driver = driver
        self._number = number
        self._acks = itertools.count(1)
        self._changed = trio.Event()

    def take(self, report: Json) -> None:
        """Note what happened."""
        self.reports.append(report)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, is_true: Callable[[], object]) -> None:
        """Wait until something holds; it is asked again after everything that happens."""
        with trio.move_on_after(WAIT) as scope:
            while not is_true():
                await self._changed.wait()
        assert not scope.cancelled_caught, f"it never came; the last were {self.reports[-5:]}"

    # What it does

    async def command(self, do: str, **more: Any) -> None:
        """Let the driver do something with this client."""
        await self._driver.write({"do": do, "client": self._number, **more})

    async def emit(self, event: str, *args: Any) -> None:
        """Emit an event without an ack."""
        await self.command("emit", event=event, args=args, ack=None)

    async def ask(self, event: str, *args: Any) -> Json:
        """Emit an event and return the one argument of its ack.

        Raises:
            Lost: the connection ended first.
        """
        id_ = next(self._acks)
        await self.command("emit", event=event, args=args, ack=id_)
        found: list[Json] = []

        def is_answered() -> bool:
            found.extend(one for one in self.reports[start:] if one.get("ack") == id_)
            return bool(found)

        start = len(self.reports)
        await self.until(is_answered)
        if found[0]["kind"] == "lost":
            raise Lost
        answer: Json = found[0]["answer"]
        return answer

    async def join(self, session_id: str, since: Json | None = None) -> Json:
        """Join a session and return its state."""
        more = {} if since is None else {"since": since}
        state = await self.ask("session:join", {"sessionId": session_id, **more})
        assert state["ok"], state
        return state

    async def say(self, session_id: str, content: str = "hello") -> int:
        """Send a message and return its `seq`."""
        answer = await self.ask("message:send", {"sessionId": session_id, "content": content})
        assert answer["ok"], answer
        seq: int = answer["message"]["seq"]
        return seq

    async def leave(self) -> None:
        """Disconnect for good."""
        await self.command("leave")
        await self.until(lambda: self.reports[-1]["kind"] == "disconnect")

    # What happened to it

    def of(self, kind: str) -> list[Json]:
        """Return the reports of one kind."""
        return [report for report in self.reports if report["kind"] == kind]

    async def first(self, kind: str, count: int = 1) -> Json:
        """Wait for the first report of a kind, or for the one that makes it so many."""
        await self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def events(self, name: str) -> list[Json]:
        """Return the payloads of the events of one name."""
        return payloads(self.reports, name)

    async def event(self, name: str, count: int = 1) -> None:
        """Wait for an event, until there are so many of it."""
        await self.until(lambda: len(self.events(name)) >= count)

    @property
    def offset(self) -> str:
        """The offset that the client would show: the last argument that was a string."""
        offsets = [event["args"][-1] for event in self.of("event")]
        last: str = [offset for offset in offsets if isinstance(offset, str)][-1]
        return last

    def seqs(self, session_id: str) -> list[int]:
        """Return the `seq` of each message of a session that it got, over all connections."""
        return seqs_of(self.reports, session_id)

    async def sees(self, session_id: str, seq: int) -> None:
        """Wait for a message."""
        await self.until(lambda: seq in self.seqs(session_id))

    async def has(self, session_id: str, sent: list[int]) -> None:
        """Wait for the last of these messages; by then it has these, in this order, each once."""
        await self.sees(session_id, sent[-1])
        assert self.seqs(session_id) == sent

    def connections(self) -> list[list[Json]]:
        """Return the reports of each connection: what was missed stands before the `connect`."""
        found: list[list[Json]] = [[]]
        for report in self.reports:
            found[-1].append(report)
            if report["kind"] == "disconnect":
                found.append([])
        return found


def payloads(reports: list[Json], name: str) -> list[Json]:
    """Return the payloads of the events of one name among reports."""
    events = [one for one in reports if one["kind"] == "event" and one["name"] == name]
    return [event["args"][0] for event in events]


def seqs_of(reports: list[Json], session_id: str) -> list[int]:
    """Return the `seq` of every `message:new` of a session among reports."""
    messages = payloads(reports, "message:new")
    return [message["seq"] for message in messages if message["sessionId"] == session_id]


class Driver:
    """The Node process; made by `open_driver`."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._clients: list[JsClient] = []
        self._one_at_a_time = trio.Lock()  # who writes

    async def open(
        self, url: str, person: Person | str, transport: str = "upgrade", **more: Any
    ) -> JsClient:
        """Start a client with a person's token, or a bare one; it is not connected yet.

        Args:
            url: with the namespace as its path.
            person: or the token.
            transport: a name in `TRANSPORTS`.
            more: options of the client, and `resume`.
        """
        token = person if isinstance(person, str) else person.token
        resume = more.pop("resume", None)
        client = JsClient(self, len(self._clients))
        self._clients.append(client)
        options = {"transports": TRANSPORTS[transport], "auth": {"token": token}, **more}
        await client.command("open", url=url, options=options, resume=resume)
        return client

    async def connect(
        self, url: str, person: Person, transport: str = "upgrade", **more: Any
    ) -> JsClient:
        """Start a client and wait until it is connected and ready. Args as `open`."""
        client = await self.open(url, person, transport, **more)
        await client.first("connect")
        await client.event("connection:ready")
        return client

    async def write(self, command: Json) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        async with self._one_at_a_time:
            with trio.fail_after(WAIT):
                await self._process.stdin.send_all(orjson.dumps(command) + b"\n")

    async def read(self) -> None:
        """Hand out what is reported, until Node ends; it must not before the block does."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                report = orjson.loads(line)
                self._clients[report["client"]].take(report)
        raise AssertionError("Node has ended; what it said is on stderr")


@asynccontextmanager
async def open_driver() -> AsyncIterator[Driver]:
    """Run a Node process for the length of the block."""
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    node = shutil.which("node", path=path)
    assert node is not None, "there is no `node`: `make test` installs one"
    assert PACKAGE.is_file(), "socket.io-client is not installed: `make test` does it"
    command = [node, str(HERE / "driver.mjs")]
    pipe = subprocess.PIPE
    process = await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe)
    try:
        async with trio.open_nursery() as nursery:
            driver = Driver(process)
            nursery.start_soon(driver.read)
            yield driver
            nursery.cancel_scope.cancel(reason="the test is over")
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + EXIT_TIMEOUT) as scope:
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.wait()
        if scope.cancelled_caught:
            process.kill()
