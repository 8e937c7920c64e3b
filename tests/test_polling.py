"""Long-polling: GETs that are parked, POSTs that bring packets, and how each of them ends."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.nurseries.polling import Polling
from chatd.wire.engineio import MAX_PACKETS
from chatd.wire.frames import Binary
from tests.http_kit import Client as HttpClient
from tests.socketio_kit import Desk, Near, Poller, ask, come, open_desk, packets_of, request


async def opened(desk: Desk) -> Poller:
    """Return a client that has a session and waits for nothing yet."""
    poller = Poller(desk.stream)
    await poller.open()
    return poller


async def begin_post(poller: Poller, body: bytes, of: int) -> HttpClient:
    """Send the head of a POST and a part of its body."""
    client = HttpClient(Near(poller.connect()))
    whole = request("POST", poller.query, "Content-Type: text/plain", body=b"x" * of)
    await client.send(whole[:-of] + body)
    await wait_all_tasks_blocked()
    return client


# GET


async def test_a_get_is_parked_until_something_is_queued(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        parked = await poller.park()
        mock_clock.jump(24)
        assert await come(parked.stream) is None
        desk.session.send([b"4tea"])
        answer = await parked.read()
        assert packets_of(answer) == ["4tea"]
        assert answer.headers["cache-control"] == "no-store"


async def test_a_get_drains_everything_in_order(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        for number in range(100):
            desk.session.send([b"4%d" % number])
        desk.session.send([b"451-", Binary(b"\x00\xff"), Binary(b"")])
        numbers = [f"4{number}" for number in range(100)]
        assert await poller.poll() == [*numbers, "451-", "bAP8=", "b"]
        assert await come((await poller.park()).stream) is None


async def test_a_get_that_a_proxy_sends_again_is_answered_as_before(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        client = HttpClient(Near(poller.connect()))
        for number in range(2):
            desk.session.send([b"4%d" % number, b"4tea"])
            for _ in range(3):
                await client.send(request("GET", f"{poller.query}&t=uyz{number}"))
                assert packets_of(await client.read()) == [f"4{number}", "4tea"]
        await client.send(request("GET", f"{poller.query}&t=uyz0"))  # no longer the last one
        await wait_all_tasks_blocked()
        desk.session.send([b"4next"])
        assert packets_of(await client.read()) == ["4next"]


async def test_a_get_without_a_stamp_is_a_new_one(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        for stamp in ("", "&t="):
            for text in (b"4one", b"4two"):
                desk.session.send([text])
                client = HttpClient(Near(poller.connect()))
                await client.send(request("GET", poller.query + stamp))
                assert packets_of(await client.read()) == [text.decode()]


async def test_the_connection_of_a_get_serves_the_next_one(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        client = await poller.park()
        for number in range(3):
            desk.session.send([b"4%d" % number])
            assert packets_of(await client.read()) == [f"4{number}"]
            await client.send(request("GET", poller.query))


async def test_what_is_pipelined_behind_a_parked_get_is_served_behind_it(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        client = await poller.park()
        await client.send(request("GET", poller.query))
        await wait_all_tasks_blocked()
        desk.session.send([b"4one"])
        assert packets_of(await client.read()) == ["4one"]
        desk.session.send([b"4two"])
        assert packets_of(await client.read()) == ["4two"]


async def test_a_second_get_is_refused_the_first_gets_a_close_and_the_session_ends(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        first = await poller.park()
        second = await poller.get()
        assert (second.status, second.json["code"]) == (400, 3)
        assert packets_of(await first.read()) == ["1"]
        assert desk.session.ends == [CloseCode.ABNORMAL]
        assert (await poller.get()).json["code"] == 1


async def test_a_client_that_leaves_its_get_ends_the_session_while_it_is_parked(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        parked = await poller.park()
        await trio.aclose_forcefully(parked.stream)
        await wait_all_tasks_blocked()
        assert desk.session.ends == [CloseCode.ABNORMAL]
        assert len(desk.engine) == 0
        assert (await poller.get()).json["code"] == 1


async def test_an_answer_that_cannot_be_sent_ends_the_session(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        desk.session.send([b"4tea"])
        stream = desk.stream()
        await stream.send_all(request("GET", poller.query))
        await trio.aclose_forcefully(stream)
        await wait_all_tasks_blocked()
        assert desk.session.ends == [CloseCode.ABNORMAL]
        assert len(desk.engine) == 0


# POST


async def test_a_post_is_answered_ok_in_html_and_its_packets_are_handled_in_order(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        answer = await poller.post("4one", "bAP8=", "4two", "3", "4\u00e9\U0001f600")
        assert (answer.status, answer.body) == (200, b"ok")
        assert answer.headers["content-type"] == "text/html"
        assert await poller.poll() == ["4one", "bAP8=", "4two", "4\u00e9\U0001f600"]
        assert desk.session.messages[1] == b"\x00\xff"


async def test_500_packets_of_one_post_are_all_handled_in_order(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        packets = [f"4{number}" for number in range(500)]
        assert (await poller.post(*packets)).status == 200
        await wait_all_tasks_blocked()
        assert await poller.poll() == packets


@pytest.mark.parametrize(("count", "status"), [(MAX_PACKETS, 200), (MAX_PACKETS + 1, 400)])
async def test_a_post_holds_1000_packets_and_not_1001(
    mock_clock: MockClock, count: int, status: int
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        assert (await poller.post(*["4"] * count)).status == status
        await wait_all_tasks_blocked()
        assert len(desk.session.messages) == (count if status == 200 else 0)
        assert desk.session.ends == ([] if status == 200 else [CloseCode.BAD_REQUEST])


@pytest.mark.parametrize("is_getting", [False, True])
@pytest.mark.parametrize("body", ["", "x", "7", "4tea\x1e", "\x1e4tea", "b!", "b=AA=", "\u0664"])
async def test_a_malformed_post_is_refused_and_ends_the_session(
    mock_clock: MockClock, body: str, is_getting: bool
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        parked = await poller.park() if is_getting else None
        answer = await poller.post(body)
        assert (answer.status, answer.json) == (400, {"code": 3, "message": "Bad request"})
        if parked is not None:
            assert packets_of(await parked.read()) == ["1"]
        else:
            assert await poller.poll() == ["1"]
        await wait_all_tasks_blocked()
        assert desk.session.messages == []
        assert desk.session.ends == [CloseCode.BAD_REQUEST]
        assert (await poller.get()).json["code"] == 1


async def test_bytes_that_are_not_utf_8_are_malformed(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        answer = await ask(desk.stream, request("POST", poller.query, body=b"4\xff"))
        assert answer.status == 400


@pytest.mark.parametrize("packet", ["2", "2probe", "0"])
async def test_a_packet_that_a_client_may_not_send_ends_the_session(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        parked = await poller.park()
        assert (await poller.post("4before", packet, "4behind")).status == 200
        packets = packets_of(await parked.read())
        if "1" not in packets:
            packets += await poller.poll()
        assert packets == ["4before", "1"]
        assert desk.session.messages == [b"before"]
        assert desk.session.ends == [CloseCode.BAD_REQUEST]


@pytest.mark.parametrize(
    "content_type", ["application/octet-stream", "Application/Octet-Stream; charset=x"]
)
async def test_a_binary_post_is_refused_and_ends_the_session(
    mock_clock: MockClock, content_type: str
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        answer = await poller.post("4tea", content_type=content_type)
        assert (answer.status, answer.json["code"]) == (400, 3)
        await wait_all_tasks_blocked()
        assert desk.session.ends == [CloseCode.ABNORMAL]
        assert desk.session.messages == []


async def test_a_post_beside_a_post_is_refused_and_ends_the_session(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        parked = await poller.park()
        first = await begin_post(poller, b"4", of=4)
        answer = await poller.post("4pot")
        assert (answer.status, answer.json["code"]) == (400, 3)
        assert packets_of(await parked.read()) == ["1"]
        await first.send(b"tea")
        late = await first.read()
        assert (late.status, late.json["code"]) == (400, 1)
        assert desk.session.messages == []
        assert desk.session.ends == [CloseCode.ABNORMAL]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_post_over_max_payload_is_refused_and_the_session_and_its_get_live_on(
    mock_clock: MockClock, is_chunked: bool
) -> None:
    async with open_desk(frame_bytes=1024) as desk:
        poller = await opened(desk)
        parked = await poller.park()
        if is_chunked:
            head = request("POST", poller.query, "Transfer-Encoding: chunked")
            chunk = b"401\r\n4%b\r\n0\r\n\r\n" % (b"x" * 1024)
            answer = await ask(desk.stream, head + chunk)
        else:
            answer = await poller.post("4" + "x" * 1024)
        assert answer.status == 413
        assert await come(parked.stream) is None
        await poller.send("4" + "x" * 1023)
        assert packets_of(await parked.read()) == ["4" + "x" * 1023]
        assert desk.session.ends == []


async def test_a_client_that_leaves_within_its_post_ends_the_session(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        client = await begin_post(poller, b"4t", of=4)
        await trio.aclose_forcefully(client.stream)
        await wait_all_tasks_blocked()
        assert desk.session.ends == [CloseCode.ABNORMAL]
        assert desk.session.messages == []


async def test_a_post_that_does_not_arrive_in_time_ends_the_session(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        client = await begin_post(poller, b"4t", of=4)
        mock_clock.jump(9.9)
        await wait_all_tasks_blocked()
        assert desk.session.ends == []
        mock_clock.jump(0.1)
        assert (await client.read()).status == 408
        assert desk.session.ends == [CloseCode.ABNORMAL]


async def test_posts_wait_while_a_slow_handler_has_the_one_before(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        gate = desk.session.gate = trio.Event()
        await poller.send("4one")  # is handled
        await poller.send("4two")  # waits to be handled
        third = HttpClient(Near(desk.stream()))
        await third.send(request("POST", poller.query, body=b"4three"))
        assert await come(third.stream) is None  # the client waits as well
        gate.set()
        assert (await third.read()).body == b"ok"
        assert await poller.heard() == ["4one", "4two", "4three"]


async def test_a_post_that_waits_when_the_session_ends_is_told(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        desk.session.gate = trio.Event()
        await poller.send("4one")
        await poller.send("4two")
        third = HttpClient(Near(desk.stream()))
        await third.send(request("POST", poller.query, body=b"4three"))
        await wait_all_tasks_blocked()
        desk.session.cut(CloseCode.SHUTDOWN)
        answer = await third.read()
        assert (answer.status, answer.json["code"]) == (400, 1)


# The end


async def test_a_client_that_closes_gets_a_noop_to_its_get_and_nothing_behind(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        parked = await poller.park()
        assert (await poller.post("1")).body == b"ok"
        assert packets_of(await parked.read()) == ["6"]
        assert desk.session.ends == [CloseCode.NORMAL]
        for answer in (await poller.get(), await poller.post("4tea")):
            assert (answer.status, answer.json["code"]) == (400, 1)


async def test_a_client_that_closes_without_a_get_is_gone_at_once(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = await opened(desk)
        await poller.send("1")
        await wait_all_tasks_blocked()
        assert len(desk.engine) == 0
        answer = await poller.get()
        assert (answer.status, answer.json["code"]) == (400, 1)


@pytest.mark.parametrize("bound", ["frames", "bytes"])
async def test_a_client_that_does_not_fetch_is_evicted_when_its_outbox_is_full(
    mock_clock: MockClock, bound: str
) -> None:
    async with open_desk(outbox_frames=10, outbox_bytes=1024) as desk:
        poller = await opened(desk)
        packet = b"4tea" if bound == "frames" else b"4" + b"x" * 300
        count = 10 if bound == "frames" else 3
        for _ in range(count):
            desk.session.send([packet])
        assert len(desk.engine) == 1
        desk.session.send([packet])
        await wait_all_tasks_blocked()
        assert desk.session.ends == [CloseCode.SLOW]
        assert len(desk.engine) == 0
        assert (await poller.get()).json["code"] == 1


async def test_an_answer_above_the_bound_stops_the_reading_until_it_is_fetched(
    mock_clock: MockClock,
) -> None:
    async with open_desk(outbox_bytes=1024) as desk:
        poller = await opened(desk)
        desk.session.outbox.push_answer(b"\x1e4" + b"x" * 5000)
        await poller.send("4tea")
        await wait_all_tasks_blocked()
        assert desk.session.messages == []
        assert await poller.poll() == ["4" + "x" * 5000]
        assert await poller.poll() == ["4tea"]


async def test_who_fetches_nothing_above_the_bound_is_gone_like_any_silent_client(
    mock_clock: MockClock,
) -> None:
    async with open_desk(outbox_bytes=1024) as desk:
        poller = await opened(desk)
        desk.session.outbox.push_answer(b"\x1e4" + b"x" * 5000)
        await poller.send("4tea")
        await wait_all_tasks_blocked()
        for seconds in (25, 20):
            mock_clock.jump(seconds)
            await wait_all_tasks_blocked()
        assert len(desk.engine) == 0
        assert desk.session.messages == []


async def test_the_last_word_counts_once(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        polling = Polling(desk)  # type: ignore[arg-type]  # it is never asked for anything
        polling.close(b"1")
        polling.close(b"6")
        polling.close(None)
        assert await polling.receive() == []
        assert polling._last_word == b"1"
