"""On a kernel's socket a request is taken where it is read: nobody can tell, but for the time.

Whatever a client says, in whatever pieces, it hears over a socket what it hears over a stream that
is read by the connection's task.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from websockets.frames import Frame
from websockets.protocol import Protocol, Side, State

from chatd.contract import Store
from chatd.errors import CloseCode
from chatd.nurseries.chat_socket import ChatSocket
from chatd.nurseries.poller import Poller
from chatd.store.memory import MemoryStore
from chatd.testing import ChatServer
from tests.people import World, open_world
from tests.scenarios.wire import frame
from tests.socketio_kit import (
    UPGRADE_LINES,
    WEBSOCKET,
    Chatter,
    chatter,
    open_socket,
    request,
)

WIRES = ("plain", "socketio")
QUIET = 0.01  # seconds on the test's clock: what is in the kernel has come by then
VOLATILE = re.compile(r'"(\w*[iI]d|\w*At|serverTime|epoch|avatarColor)":"[^"]*"|"0:\d+"')


def kernel_streams() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Return the two ends of a connection that the kernel carries."""
    ours, theirs = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
    )


class KernelWorld(World):
    """A world whose people come over sockets."""

    def __init__(self, server: ChatServer) -> None:
        super().__init__(server)
        self.streams: list[trio.abc.Stream] = []

    def kernel_stream(self, link: object = None) -> trio.abc.Stream:
        """Return the client's end of a new connection."""
        assert link is None
        ours, theirs = kernel_streams()
        self.streams.append(ours)
        self.nursery.start_soon(self.server._serve, theirs, "c")
        return ours


@asynccontextmanager
async def open_kernel_world(
    tmp_path: Path, store: Store | None = None, *, is_kernel: bool = True, **chosen: Any
) -> AsyncIterator[KernelWorld]:
    """Run a daemon whose clients come over sockets, or over memory as in all other tests."""
    async with open_world(tmp_path, store, **chosen) as world:
        made = KernelWorld(world.server)
        if is_kernel:
            made.stream = made.kernel_stream
        try:
            yield made
        finally:
            for stream in made.streams:
                await trio.aclose_forcefully(stream)


class Steps(trio.abc.Instrument):
    """Counts the steps of the tasks in which connections live."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += ChatServer.__name__ in task.name


async def two(world: KernelWorld) -> tuple[Chatter, Chatter, str]:
    """Return two people on Socket.IO who have joined their session."""
    alice, bob = await world.person("alice"), await world.person("bob")
    session_id = str(await world.session(alice, bob))
    one, other = await chatter(world, alice), await chatter(world, bob)
    for somebody in (one, other):
        await somebody.done("session:join", sessionId=session_id)
    return one, other, session_id


@pytest.mark.parametrize("wire", WIRES)
async def test_a_message_does_not_wake_the_task_of_its_sender(
    wire: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    del autojump_clock
    async with open_kernel_world(tmp_path) as world:
        alice = await world.person("alice")
        session_id = str(await world.session(alice))
        steps = Steps()
        async with world.connect(alice) as plain:
            somebody = await chatter(world, alice)
            ask = plain.ask if wire == "plain" else somebody.done
            await ask("session:join", sessionId=session_id)
            await wait_all_tasks_blocked(QUIET)
            trio.lowlevel.add_instrument(steps)
            for number in range(5):
                await ask("message:send", sessionId=session_id, content=f"{number}")
            refusal = plain.refusal if wire == "plain" else somebody.refused
            half = {"sessionId": session_id, "content": "half \ud83d"}
            assert await refusal("message:send", **half) == "validation_failed"
            assert steps.count == 0
            await ask("session:leave", sessionId=session_id)
            trio.lowlevel.remove_instrument(steps)
            assert steps.count > 0  # so that the zero means something


async def test_with_too_many_under_way_the_next_one_waits_unread(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    del autojump_clock
    store = MemoryStore(latency=1.0)
    async with open_kernel_world(tmp_path, store, max_inflight=1) as world:
        one, other, session_id = await two(world)
        for number in range(4):
            text = json.dumps(["message:send", {"sessionId": session_id, "content": f"{number}"}])
            await one.link.send(f"42{number + 100}{text}")
            await wait_all_tasks_blocked(QUIET)
        await trio.sleep(10)
        assert other.contents(await other.heard()) == ["0", "1", "2", "3"]
        acks = [packet[:5] for packet in await one.heard() if packet.startswith("43")]
        assert acks == ["43100", "43101", "43102", "43103"]


async def test_what_is_behind_a_request_that_waits_stays_behind_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    del autojump_clock
    async with open_kernel_world(tmp_path, MemoryStore(latency=1.0)) as world:
        one, other, session_id = await two(world)
        await one.link.send("421" + json.dumps(["session:leave", {"sessionId": session_id}]))
        await one.link.send("422" + json.dumps(["session:join", {"sessionId": session_id}]))
        await wait_all_tasks_blocked(QUIET)  # its page is read: the task is busy
        await one.link.send(
            "423" + json.dumps(["message:send", {"sessionId": session_id, "content": "tea"}])
        )
        await other.event("message:new")
        await trio.sleep(5)
        acks = [packet[:3] for packet in await one.heard() if packet.startswith("43")]
        assert acks == ["431", "432", "433"]


async def test_a_flood_of_sends_is_refused_and_then_cut(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    del autojump_clock
    async with open_kernel_world(tmp_path, rate_limits="on", event_rate="1/s burst 5") as world:
        one, _, session_id = await two(world)
        text = json.dumps(["message:send", {"sessionId": session_id, "content": "tea"}])
        for number in range(200):
            await one.link.send(f"42{number}{text}")
            await wait_all_tasks_blocked()
        await trio.sleep(1)
        heard = await one.heard()
        assert any('"rate_limited"' in packet for packet in heard)
        assert one.link.close_code == CloseCode.RATE_LIMITED.code  # type: ignore[union-attr]


async def test_a_bug_in_an_operation_is_answered(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("bug")

    async with open_kernel_world(tmp_path) as world:
        one, _, session_id = await two(world)
        monkeypatch.setattr(world.daemon.services.journal, "submit", fail)
        with capture_logs() as logs:
            code = await one.refused("message:send", sessionId=session_id, content="tea")
        assert code == "internal"
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["bug"]


async def test_a_bug_of_the_server_ends_that_connection_and_no_other(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock

    def fail(*_: object) -> bool:
        raise RuntimeError("bug")

    async with open_kernel_world(tmp_path) as world:
        one, other, session_id = await two(world)
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(ChatSocket, "request_at_once", fail)
            await one.link.send(
                "421" + json.dumps(["message:send", {"sessionId": session_id, "content": "tea"}])
            )
            await trio.sleep(5)
        errors = [line["event"] for line in logs if line["log_level"] == "error"]
        assert errors == ["session_failed"]
        await one.heard()
        assert one.link.is_ended  # type: ignore[union-attr]
        await other.done("message:send", sessionId=session_id, content="still here")


@pytest.mark.parametrize("trouble", [OSError(28, "no room in epoll"), ValueError("closed")])
async def test_a_socket_that_cannot_be_watched_ends_alone(
    trouble: Exception, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock

    def fail(*_: object) -> None:
        raise trouble

    async with open_kernel_world(tmp_path) as world:
        one, _, session_id = await two(world)
        with monkeypatch.context() as patch:
            patch.setattr(Poller, "watch", fail)
            socket, _ = await open_socket(world.stream)
            await wait_all_tasks_blocked(QUIET)
            await socket.heard()
            assert socket.is_ended
        await one.done("message:send", sessionId=session_id, content="still here")


# Whatever is said, in whatever pieces


class Script:
    """What a client says on a wire, by word."""

    def __init__(self, wire: str, session_id: str) -> None:
        self.wire = wire
        self.session_id = session_id
        self.ids = 10

    def request(self, event: str, data: object, *more: object) -> bytes:
        """Return a request, with what no request has behind it."""
        self.ids += 1
        if self.wire == "plain":
            members = {"event": event, "id": self.ids, "data": data}
            return json.dumps(members | dict.fromkeys(["more"][: len(more)], 1)).encode()
        return f"42{self.ids}".encode() + json.dumps([event, data, *more]).encode()

    def send(self, content: object = "tea", **other: object) -> bytes:
        """Return a request to send a message."""
        data = {"sessionId": self.session_id, "content": content, **other}
        return self.request("message:send", data)

    def text(self, word: str) -> bytes:
        """Return the text of a word that is one; of others an empty one."""
        session = {"sessionId": self.session_id}
        texts: dict[str, Callable[[], bytes]] = {
            "send": self.send,
            "long": lambda: self.send("x" * 2000),
            "huge": lambda: self.send("x" * 20_000),
            "vast": lambda: self.send("x" * 70_000),
            "umlaut": lambda: self.send("tee").replace(b"tee", "grün 🍵".encode()),
            "stranger": lambda: self.send(sessionId=str(UUID(int=1))),
            "invalid": lambda: self.send(7),
            "nothing": lambda: self.request("message:send", None),
            "more": lambda: self.request("message:send", session | {"content": "tea"}, 1),
            "other": lambda: self.request("no:such", {"content": '"message:send"'}),
            "typing": lambda: self.request("typing:start", session),
            "half": lambda: self.send()[:-4],
            "emoji": lambda: self.send().replace(b"tea", b"\\ud83d"),
            "twice": lambda: self.send().replace(b"content", b"sessionId"),
            "bytes": lambda: self.send().replace(b"tea", b"\xff"),
        }
        return texts.get(word, bytes)()

    def said(self, word: str) -> bytes:
        """Return the bytes of a word."""
        frames: dict[str, Callable[[], bytes]] = {
            "ping": lambda: frame(b'"message:send"', 0x9),
            "pong": lambda: frame(b"", 0xA),
            "close": lambda: frame(b"\x03\xe8", 0x8),
            "binary": lambda: frame(b'"message:send"', 0x2),
            "bare": lambda: frame(self.send(), masked=False),
            "fragments": lambda: self.fragments(self.send()),
        }
        return frames[word]() if word in frames else frame(self.text(word))

    def fragments(self, text: bytes) -> bytes:
        """Return a text in two frames."""
        return frame(text[:9], fin=False) + frame(text[9:], 0x0)


WORDS = (
    *("send", "long", "umlaut", "stranger", "invalid", "nothing", "more", "other", "typing"),
    *("huge", "emoji", "twice", "fragments", "ping", "pong"),
)
LAST_WORDS = ("send", "half", "bytes", "bare", "close", "binary", "empty")
WAYS = ("alone", "joined", "torn")  # by itself, in front of the next one, or in two parts

Said = list[tuple[str, str]]


def pieces_of(script: Script, said: Said) -> list[bytes]:
    """Return what is written at once."""
    pieces, waiting = [], b""
    for word, way in said:
        data = script.said(word)
        if way == "joined":
            waiting += data
        elif way == "alone":
            pieces.append(waiting + data)
            waiting = b""
        else:
            middle = len(data) // 2
            pieces += [waiting + data[:middle], data[middle:]]
            waiting = b""
    return [*pieces, waiting] if waiting else pieces


def tidied(packet: str, session_id: str) -> str:
    """Return a packet without what no two runs have in common."""
    return VOLATILE.sub(r'"\1"', packet.replace(session_id, "SESSION"))


async def heard_by(wire: str, said: Said, tmp_path: Path, *, is_kernel: bool) -> list[str]:
    """Return all that a client is told that says this, how it ends, and what is stored."""
    async with open_kernel_world(tmp_path, is_kernel=is_kernel) as world:
        alice = await world.person("alice")
        session_id = str(await world.session(alice))
        script, token = Script(wire, session_id), world.token(alice)
        path = "/ws" if wire == "plain" else "/socket.io/"
        bearer = f"Authorization: Bearer {token}"
        head = request("GET", WEBSOCKET, *UPGRADE_LINES, bearer, path=path)
        join = frame(script.request("session:join", {"sessionId": session_id}))
        pieces = [head, join, *pieces_of(script, said)]
        if wire == "socketio":
            pieces.insert(1, frame(b"40" + json.dumps({"token": token}).encode()))
        stream = world.stream()
        told = b""
        for piece in pieces:
            try:
                await stream.send_all(piece)
            except trio.BrokenResourceError:
                break  # it was cut before
            with trio.move_on_after(QUIET):
                while part := await stream.receive_some(1 << 20):
                    told += part
        await trio.aclose_forcefully(stream)
        await wait_all_tasks_blocked(QUIET)
        stored = await world.store.history(UUID(session_id), alice.id, limit=100)
        assert stored is not None
        contents = [row.content[:9] for row in stored.messages]
        return [*(tidied(packet, session_id) for packet in packets_in(told)), repr(contents)]


def packets_in(told: bytes) -> list[str]:
    """Return the packets of all that a server has written."""
    protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    protocol.receive_data(told.partition(b"\r\n\r\n")[2])
    frames = [each for each in protocol.events_received() if isinstance(each, Frame)]
    return [f"{each.opcode.name} {bytes(each.data).decode(errors='replace')}" for each in frames]


@pytest.mark.parametrize("wire", WIRES)
@given(
    said=st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WAYS)), max_size=6),
    last=st.tuples(st.sampled_from(LAST_WORDS), st.sampled_from(WAYS)),
)
@settings(max_examples=40, deadline=None)
def test_over_a_socket_a_client_hears_what_it_hears_over_any_stream(
    wire: str, said: Said, last: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Apart from the end, which an answer that is under way may miss.
    everything = [*said, ("pong", "alone"), last]
    heard = [
        trio.run(
            partial(heard_by, wire, everything, tmp_path_factory.mktemp("world"), is_kernel=kernel),
            clock=MockClock(autojump_threshold=0),
        )
        for kernel in (True, False)
    ]
    assert heard[0] == heard[1]


@pytest.mark.parametrize("wire", WIRES)
async def test_what_is_sent_in_front_of_the_end_is_stored(
    wire: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    del autojump_clock
    told = await heard_by(wire, [("send", "joined"), ("close", "alone")], tmp_path, is_kernel=True)
    assert told[-1] == "['tea']"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("word", sorted({*WORDS, *LAST_WORDS, "vast"}))
async def test_each_word_alone_is_heard_the_same(
    wire: str, word: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    del autojump_clock
    said = [("send", "alone"), (word, "alone"), ("send", "alone")]
    over_socket = await heard_by(wire, said, tmp_path / "1", is_kernel=True)
    assert over_socket == await heard_by(wire, said, tmp_path / "2", is_kernel=False)
    assert "'tea'" in over_socket[-1]
