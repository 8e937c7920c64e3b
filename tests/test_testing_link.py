"""What a `Link` of the testing kit does to the connections over it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.testing import Link, Wire, open_chatd
from chatd.testing.link import RETRANSMISSION_TIMEOUT, LinkStream, link_streams


async def timed(stream: LinkStream, count: int) -> list[tuple[float, bytes]]:
    """Return so many bytes, each with the time at which it was there."""
    came = []
    for _ in range(count):
        data = await stream.receive_some(1)
        came.append((trio.current_time(), data))
    return came


async def test_an_end_that_closes_is_heard_of_behind_what_it_has_sent(
    autojump_clock: MockClock,
) -> None:
    near, far = link_streams(Link(latency=1))
    await near.send_all(b"last words")
    await near.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"no more")
    assert (await far.receive_some(4), await far.receive_some()) == (b"last", b" words")
    assert await far.receive_some() == b""
    await far.send_all(b"an answer")  # one direction has ended, the other has not
    assert await near.receive_some() == b"an answer"
    await near.aclose()
    await far.send_all(b"it has not heard of that yet")
    await trio.sleep(1)
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"now it has")
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()


async def test_latency_holds_in_each_direction_and_not_a_moment_less(
    mock_clock: MockClock,
) -> None:
    for near, far in (link_streams(Link(latency=2)), link_streams(Link(latency=2))[::-1]):
        async with trio.open_nursery() as nursery:
            came: list[bytes] = []

            async def read(stream: LinkStream, came: list[bytes] = came) -> None:
                came.append(await stream.receive_some())

            nursery.start_soon(read, far)
            await near.send_all(b"tea")
            mock_clock.jump(1.9)
            await wait_all_tasks_blocked()
            assert came == []
            mock_clock.jump(0.1)
            await wait_all_tasks_blocked()
            assert came == [b"tea"]


async def test_an_answer_takes_the_latency_twice(autojump_clock: MockClock) -> None:
    async with open_chatd() as server:
        anna = await server.person("anna")
        async with anna.connect(Link(latency=0.25)) as a:
            before = trio.current_time()
            await a.ask("session:list")
            assert trio.current_time() - before == pytest.approx(0.5)


async def test_loss_delays_and_never_reorders_or_drops_a_byte(autojump_clock: MockClock) -> None:
    near, far = link_streams(Link(loss=0.4, latency=0.05, seed=7))
    sent = bytes(range(200))
    for byte in sent:
        await near.send_all(bytes([byte]))
    await near.aclose()
    came = await timed(far, 200)
    assert bytes(byte[0] for _, byte in came) == sent
    assert await far.receive_some() == b""
    assert came[-1][0] >= 0.05 + RETRANSMISSION_TIMEOUT


async def test_a_lost_chunk_comes_a_retransmission_later_and_holds_up_what_follows(
    autojump_clock: MockClock,
) -> None:
    link = Link(loss=0.999_999, latency=0.05)
    near, far = link_streams(link)
    before = trio.current_time()
    await near.send_all(b"a")
    link.loss = 0.0
    await near.send_all(b"b")
    (first, a), (second, b) = await timed(far, 2)
    assert (a, b) == (b"a", b"b")
    assert first == second  # one delivery: the second waited behind the first
    assert first - before > RETRANSMISSION_TIMEOUT


async def story(seed: int) -> list[float]:
    """Return when each of fifty chunks comes, counted from the first one's start."""
    near, far = link_streams(Link(loss=0.3, latency=0.01, seed=seed))
    start = trio.current_time()
    for _ in range(50):
        await near.send_all(b"x")
    return [round(at - start, 6) for at, _ in await timed(far, 50)]


async def test_a_seed_gives_one_story_and_another_seed_another(autojump_clock: MockClock) -> None:
    first = await story(1)
    assert await story(1) == first
    assert await story(2) != first


async def test_a_half_open_link_lets_nothing_through_and_both_ends_stay_open(
    mock_clock: MockClock,
) -> None:
    near, far = link_streams(Link(latency=1, half_open_at=5))
    mock_clock.jump(3.5)
    await near.send_all(b"in time")
    mock_clock.jump(0.6)  # 4.1 s: what is sent now would arrive behind the end
    await near.send_all(b"too late")
    mock_clock.jump(100)
    assert await far.receive_some() == b"in time"
    for stream in (near, far):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.receive_some)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught  # neither bytes nor an end
        await stream.send_all(b"nobody hears")
    await near.aclose()
    await far.send_all(b"nor does the other end hear of a close")


async def test_a_server_finds_out_about_a_half_open_link_by_its_heartbeat_alone(
    autojump_clock: MockClock,
) -> None:
    async with open_chatd() as server:
        anna = await server.person("anna")
        link = Link()
        async with anna.connect(link):
            link.half_open_at = trio.current_time()
            settings = server.settings
            await trio.sleep(settings.ping_interval + settings.ping_timeout - 0.1)
            assert server.daemon.services.sockets.of_user(anna.id)
            await trio.sleep(0.2)
            assert not server.daemon.services.sockets.of_user(anna.id)


@pytest.mark.parametrize("wrong", [{"loss": 1.0}, {"loss": -0.1}, {"latency": -1.0}])
def test_a_link_that_no_network_could_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="is a"):
        Link(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wire", ["ws", "socketio"])
async def test_a_talk_over_a_bad_network_arrives_whole(
    autojump_clock: MockClock, wire: Wire
) -> None:
    async with open_chatd() as server:
        anna, bert = await server.person("anna"), await server.person("bert")
        tea = await server.session(anna, bert)
        bad = Link(loss=0.2, latency=0.2, seed=3)
        async with anna.connect(bad, wire) as a, bert.connect(bad, wire) as b:
            await b.ask("session:join", sessionId=tea)
            for number in range(30):
                await a.ask("message:send", sessionId=tea, content=str(number))
            heard = [(await b.event("message:new"))["content"] for _ in range(30)]
            assert heard == [str(number) for number in range(30)]
