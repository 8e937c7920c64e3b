"""Sessions of another daemon: polls and sockets are passed on, as the client's own."""

from __future__ import annotations

import random
import time
from functools import partial

import pytest
import trio

from chatd.errors import CloseCode
from chatd.wire.forwarded import HEADER, MAX_AGE, client_in, mark, polling_head
from chatd.wire.http import parse_head
from tests.forwarding_kit import UNKNOWN, FakePeers, Node, open_node, open_pair, opened, until_idle
from tests.http_kit import Client, wait_until
from tests.redis_kit import free_port
from tests.socketio_kit import (
    POLLING,
    UPGRADE_LINES,
    WEBSOCKET,
    Poller,
    ask,
    probe,
    request,
    shake,
    upgraded,
)
from tests.test_engine import UNKNOWN_SESSION


async def test_a_poller_talks_through_a_daemon_that_does_not_have_its_session() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            assert poller.sid.startswith("owning")
            await poller.send("4with milk")
            assert await poller.receive() == "4with milk"
            parked = await poller.park()
            await poller.send("4with sugar", "4and ünïcode")
            assert (await parked.read()).body.decode().startswith("4with sugar")
        assert [len(near.desk.sessions), len(far.desk.sessions)] == [0, 1]


async def test_many_polls_cost_one_connection_to_the_owner() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            for number in range(10):
                await poller.send(f"4{number}")
                assert await poller.receive() == f"4{number}"
            assert far.door.guard.open == 1


async def test_a_body_without_a_declared_length_is_passed_on() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            head = request(
                "POST", poller.query, "Transfer-Encoding: chunked", "Content-Type: text/plain"
            )
            answer = await ask(near.desk.stream, head + b"3\r\n4he\r\n3\r\nllo\r\n0\r\n\r\n")
            assert (answer.status, answer.body) == (200, b"ok")
            assert await poller.receive() == "4hello"


async def test_a_large_answer_comes_back_whole() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            await poller.send("4" + "x" * 900_000)
            assert await poller.receive() == "4" + "x" * 900_000


async def test_what_is_too_large_is_refused_as_the_owner_would() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            far.desk.session.allow(100)
            assert (await poller.post("4" + "x" * 1000)).status == 413
            assert (await poller.post("4" + "x" * 1_100_000)).status == 413
            await poller.send("4still here")
            assert await poller.receive() == "4still here"


async def test_a_client_that_leaves_a_parked_poll_ends_its_session_at_once() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            parked = await poller.park()
            await wait_until(lambda: far.desk.session.polling.is_getting)
            await trio.aclose_forcefully(parked.stream)
            await until_idle(near)
            await wait_until(lambda: not len(far.desk.engine))


async def test_a_session_is_upgraded_through_another_daemon() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            socket = await upgraded(poller)
            await socket.send("4over the wire", b"\x00\x01")
            assert [await socket.receive(), await socket.receive()] == [
                "4over the wire",
                b"\x00\x01",
            ]
            assert far.desk.session.transport == "websocket"
            await socket.say_goodbye()
            await socket.closed()
            await until_idle(near)


async def test_the_owner_sees_the_address_of_the_client_and_believes_nobody_else() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            poller = await opened(far, near)
            doors = far.desk.server._doors
            socket = await probe(poller)
            assert doors._open == {"192.0.2.1": 1}
            await trio.aclose_forcefully(socket.stream)
            await wait_until(lambda: not doors._open)


@pytest.mark.parametrize(
    ("sid", "why"),
    [
        ("owning" + "x" * 24, "the owner does not know it"),
        ("nobody" + "x" * 24, "nobody has the tag"),
        ("inside" + "x" * 24, "it would be ours"),
        ("short", "it is none of ours"),
    ],
)
async def test_a_session_that_nobody_has_is_unknown(sid: str, why: str) -> None:
    async with open_pair() as (near, _):
        with trio.fail_after(10):
            for method in ("GET", "POST", "PUT"):
                answer = await ask(near.desk.stream, request(method, f"{POLLING}&sid={sid}"))
                assert (answer.status, answer.json) == (400, UNKNOWN), why
            refused = await raw_upgrade(near, sid)
            assert refused.startswith(b"HTTP/1.1 400 "), why
            assert refused.endswith(UNKNOWN_SESSION[2].encode())


async def raw_upgrade(node: Node, sid: str, *lines: str) -> bytes:
    """Ask for a WebSocket and return all that comes to the end."""
    client = Client(node.desk.stream())
    await client.send(upgrade_request(sid, *lines))
    data = await client.read_until_closed()
    await trio.aclose_forcefully(client.stream)
    return data


def upgrade_request(sid: str, *lines: str) -> bytes:
    """Return the handshake of a session's second transport."""
    return request("GET", f"{WEBSOCKET}&sid={sid}", *UPGRADE_LINES, *lines)


async def test_an_owner_that_is_down_is_told_to_the_client_as_an_unknown_session() -> None:
    async with open_node("inside") as near:
        near.peers.urls["owning"] = f"http://127.0.0.1:{free_port()}"
        sid = "owning" + "x" * 24
        with trio.fail_after(10):
            answer = await ask(near.desk.stream, request("GET", f"{POLLING}&sid={sid}"))
            assert (answer.status, answer.json) == (400, UNKNOWN)
            refused = await raw_upgrade(near, sid)
        assert refused.startswith(b"HTTP/1.1 400 ")
        assert refused.endswith(UNKNOWN_SESSION[2].encode())


async def test_what_was_passed_on_once_is_not_passed_on_again() -> None:
    async with open_pair() as (near, far):
        far.peers.urls["nobody"] = near.url  # each believes that the other has it
        near.peers.urls["nobody"] = far.url
        sid = "nobody" + "x" * 24
        with trio.fail_after(10):
            answer = await ask(near.desk.stream, request("GET", f"{POLLING}&sid={sid}"))
            assert (answer.status, answer.json) == (400, UNKNOWN)
            assert (await raw_upgrade(near, sid)).startswith(b"HTTP/1.1 400 ")
        assert near.door.guard.open == 0


async def test_more_than_the_settings_allow_is_refused_and_the_rest_goes_on() -> None:
    async with open_pair(max_forwards=1) as (near, far):
        with trio.fail_after(10):
            anna, bert = await opened(far, near), await opened(far, near)
            parked = await anna.park()
            await wait_until(lambda: far.desk.sessions[0].polling.is_getting)
            refused = await bert.post("4hello")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert (await raw_upgrade(near, bert.sid)).startswith(b"HTTP/1.1 503 ")
            far.desk.sessions[0].send([b"4news"])
            assert (await parked.read()).body == b"4news"
            await bert.send("4hello")


async def test_an_owner_that_hangs_up_within_an_answer_is_an_unknown_session() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some(1 << 16)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")

    async with open_node("inside") as near, trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        near.peers.urls["owning"] = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        with trio.fail_after(10):
            sid = "owning" + "x" * 24
            answer = await ask(near.desk.stream, request("GET", f"{POLLING}&sid={sid}"))
        assert (answer.status, answer.json) == (400, UNKNOWN)
        nursery.cancel_scope.cancel()


async def test_an_owner_that_ends_lets_its_clients_go() -> None:
    async with open_node("inside") as near:
        with trio.fail_after(20):
            async with open_node("owning") as far:
                near.peers.urls["owning"] = far.url
                socket = await upgraded(await opened(far, near))
                await socket.send("4hello")
                assert await socket.receive() == "4hello"
                poller = await opened(far, near)
                parked = await poller.park()
                await wait_until(lambda: far.desk.session.polling.is_getting)
                far.desk.engine.drain()
                assert (await parked.read()).body == b"1"
                far.desk.engine.cut_all()
                assert await socket.closed() == CloseCode.SHUTDOWN.code
            answer = await poller.get()
        assert (answer.status, answer.json) == (400, UNKNOWN)


async def test_a_drain_ends_the_sockets_that_are_passed_on() -> None:
    async with open_pair() as (near, far):
        with trio.fail_after(10):
            sockets = [await upgraded(await opened(far, near)) for _ in range(3)]
            await near.desk.engine.drain_forwards(0.1, random.SystemRandom())
            assert [await socket.closed() for socket in sockets] == [None, None, None]
            await wait_until(lambda: not len(far.desk.engine))
            await until_idle(near)


# -- Whose a request is


def signed(address: str, now: float, peers: FakePeers, target: str = "/?sid=a") -> bytes:
    """Return a request of a client as a daemon passes it on."""
    head = parse_head(f"GET {target} HTTP/1.1\r\nhost: x\r\ncookie: secret\r\n".encode(), 9999)
    return polling_head(head, mark(peers, head, address, now))[:-2]


@pytest.mark.threat("T27")
async def test_only_who_has_the_key_says_whose_a_request_is_and_not_for_long() -> None:
    peers, stranger = FakePeers("inside"), FakePeers("inside", key=b"of nobody")
    now = time.time()
    good = signed("192.0.2.7", now, peers)
    assert b"secret" not in good
    assert client_in(peers, parse_head(good, 9999), now) == "192.0.2.7"
    assert client_in(peers, parse_head(good, 9999), now + MAX_AGE - 1) == "192.0.2.7"
    assert client_in(peers, parse_head(good, 9999), now + MAX_AGE + 1) is None
    assert client_in(peers, parse_head(good, 9999), now - MAX_AGE - 1) is None
    assert client_in(stranger, parse_head(good, 9999), now) is None
    for forged in (
        good.replace(b"sid=a", b"sid=b"),
        good.replace(b"GET", b"POST"),
        good.replace(b"192.0.2.7", b"192.0.2.8"),
        good.replace(HEADER + b": ", HEADER + b": 192.0.2.8 "),
        good + HEADER + b": 192.0.2.8 1 aa\r\n",
        good[:-3] + b"\r\n",
    ):
        assert client_in(peers, parse_head(forged, 9999), now) is None


@pytest.mark.threat("T27")
async def test_an_address_that_nobody_signed_counts_for_nothing() -> None:
    async with open_node("owning") as node:
        with trio.fail_after(10):
            poller = Poller(node.desk.stream)
            await poller.open()
            line = f"{HEADER.decode()}: 203.0.113.9 {int(time.time())} {'ab' * 32}"
            socket = await shake(node.desk.stream, f"{WEBSOCKET}&sid={poller.sid}", line)
            assert node.desk.server._doors._open == {}
            await trio.aclose_forcefully(socket.stream)
