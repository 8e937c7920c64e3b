"""The way to another daemon: connections that are used again, deadlines, TLS, the splice."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from chatd.config import Settings
from chatd.nurseries.certificates import tls_context
from chatd.nurseries.listener import open_listeners
from chatd.nurseries.node_links import IDLE_SECONDS, Away, NodeLink, NodeLinks
from chatd.nurseries.splice import splice
from tests.forwarding_kit import UNKNOWN, open_node, open_pair, opened
from tests.http_kit import wait_until
from tests.listener_kit import open_door
from tests.socketio_kit import POLLING, ask, request


async def test_an_owner_that_says_nothing_is_given_up_after_ping_interval_and_timeout() -> None:
    async with open_node("inside", ping_interval=0.1, ping_timeout=0.1) as near:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes connections
            near.peers.urls["owning"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with trio.fail_after(10):
                sid = "owning" + "x" * 24
                answer = await ask(near.desk.stream, request("GET", f"{POLLING}&sid={sid}"))
        assert (answer.status, answer.json) == (400, UNKNOWN)


async def test_a_connection_that_the_owner_has_closed_is_not_used_again() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            await poller.send("4one")
            far.desk.server.drain()  # idle connections are closed
            far.desk.server.is_draining = far.desk.server._is_closing = False
            await wait_until(lambda: far.door.guard.open == 0)
            await poller.send("4two")
            assert [await poller.receive(), await poller.receive()] == ["4one", "4two"]


async def test_connections_that_nobody_uses_are_dropped(autojump_clock: MockClock) -> None:
    links = NodeLinks(1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.sweep)
        ours, theirs = socket.socketpair()
        with theirs:
            tcp = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            link = NodeLink(tcp, tcp, 1.0)
            link.since = trio.current_time()
            links._idle["http://far.test"] = [link]
            await trio.sleep(IDLE_SECONDS - 0.1)
            assert link.is_quiet()
            await trio.sleep(IDLE_SECONDS)
            assert tcp.socket.fileno() == -1
            assert links._idle == {}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"SSH-2.0-tea\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000,
    ],
)
async def test_what_is_no_answer_of_a_chatd_is_an_unknown_session(answer: bytes) -> None:
    async def mumble(stream: trio.SocketStream) -> None:
        await stream.receive_some(1 << 16)
        await stream.send_all(answer)
        await trio.sleep_forever()

    async with open_node("inside") as near, trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, mumble, 0, host="127.0.0.1"))
        near.peers.urls["owning"] = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        with trio.fail_after(10):
            sid = "owning" + "x" * 24
            refused = await ask(near.desk.stream, request("GET", f"{POLLING}&sid={sid}"))
        assert (refused.status, refused.json) == (400, UNKNOWN)
        nursery.cancel_scope.cancel()


async def test_an_owner_behind_tls_is_verified(certificate: tuple[Path, Path]) -> None:
    settings = Settings(port=0, tls_certfile=certificate[0], tls_keyfile=certificate[1])
    async with open_node("owning") as far:
        listeners = await open_listeners(settings, tls_context(settings))
        async with open_door(listeners, far.desk.server.serve_connection) as door:
            url = f"https://localhost:{door.port}"
            trusting = ssl.create_default_context(cafile=certificate[0])
            with trio.fail_after(10):
                with pytest.raises(Away):
                    async with NodeLinks(5).dialled(url):
                        pass
                async with NodeLinks(5, trusting).dialled(url) as link:
                    await link.send(
                        b"GET /socket.io/?EIO=4&transport=tea HTTP/1.1\r\nHost: x\r\n\r\n"
                    )
                    assert (await link.read_head()).status == 400


async def test_both_sides_of_a_splice_end_when_one_does_not_read(autojump_clock: MockClock) -> None:
    near, near_far = memory_stream_pair()
    far = lockstep_stream_pair()[0]  # nobody reads at its other end
    async with trio.open_nursery() as nursery:
        nursery.start_soon(splice, near_far, far, 10.0)
        await near.send_all(b"hello")
        began = trio.current_time()
    assert trio.current_time() - began == 10.0
