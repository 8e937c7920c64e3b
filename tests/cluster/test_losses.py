"""What Redis loses is made up for: dropped frames, a partition, a restart, a daemon that dies."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import trio

from chatd.testing.server import Person
from chatd.testing.socket import PersonSocket
from tests.cluster.kit import PATIENCE, Group, event, open_group, until
from tests.cluster.link_proxy import open_link_proxy
from tests.cluster.test_sharing import join, send, two
from tests.redis_kit import RedisServer, running_redis

FAST: dict[str, Any] = {"redis_timeout": 0.5, "position_interval": 0.2}


async def seqs(socket: PersonSocket, last: int) -> list[int]:
    """Return the `seq` of all messages up to one, as they came."""
    found: list[int] = []
    with trio.fail_after(PATIENCE):
        while not found or found[-1] < last:
            found.append((await socket.event("message:new"))["seq"])
    return found


async def test_frames_that_are_lost_are_read_from_the_store(redis_server: RedisServer) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        anna, bert, session_id = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            await join(session_id, a, b)
            proxy.loss = 0.5
            sent = [(await send(a, session_id, str(number)))["seq"] for number in range(60)]
            assert await seqs(b, sent[-1]) == sent
            assert proxy.lost > 0


async def test_what_is_said_in_a_partition_is_read_from_the_store(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        anna, bert, session_id = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            await join(session_id, a, b)
            proxy.is_cut = True
            sent = [(await send(a, session_id, str(number)))["seq"] for number in range(10)]
            assert await seqs(b, sent[-1]) == sent
            await until(lambda: not group.cluster(0).link.is_up)
            proxy.is_cut = False
            await until(lambda: group.cluster(0).link.is_up and group.cluster(1).link.is_up)
            sent = [(await send(a, session_id, str(number)))["seq"] for number in range(10)]
            assert await seqs(b, sent[-1]) == sent


async def test_a_login_that_ends_in_a_partition_is_cut_while_it_lasts(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.nurseries.healing.AWAY_INTERVAL", 0.1)
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        bert, token, family_token = await _logged_in(group)
        async with group.at(1, bert).connect():
            proxy.is_cut = True
            await until(lambda: not group.cluster(1).link.is_up)
            answer = await group.servers[0].rest("POST", "/auth/logout", {}, token=token)
            assert answer.status == 200
            await until(lambda: group.servers[1].daemon.services.sockets.is_revoked(family_token))


async def _logged_in(group: Group) -> tuple[Any, str, Any]:
    """Return somebody with a login that the store knows: person, access token, family."""
    body = {"email": "carl@example.com", "password": "swordfish-9", "name": "carl"}
    answer = await group.servers[0].rest("POST", "/auth/register", body)
    token = answer.json["accessToken"]
    services = group.servers[0].daemon.services
    identity = services.tokens.verify(token, services.now())
    row = (await services.store.users_by_ids([identity.user_id]))[0]
    return Person(group.servers[0], row), token, identity.family_id


async def test_a_login_that_ends_unheard_is_cut_after_the_partition(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        _, token, family_id = await _logged_in(group)
        proxy.loss = 1.0  # the link is good, and nothing arrives
        answer = await group.servers[0].rest("POST", "/auth/logout", {}, token=token)
        assert answer.status == 200
        proxy.loss = 0.0
        await until(lambda: group.servers[1].daemon.services.sockets.is_revoked(family_id))


async def test_somebody_who_was_let_in_unheard_is_told(redis_server: RedisServer) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        anna, bert = await group.person("anna"), await group.person("bert")
        session_id = await group.session(anna)
        async with group.at(0, anna).connect(), group.at(1, bert).connect() as b:
            proxy.loss = 1.0
            path = f"/chat/sessions/{session_id}/members"
            answer = await group.servers[0].rest(
                "POST", path, {"userId": str(bert.id)}, token=anna.token()
            )
            assert answer.status < 300, answer
            proxy.loss = 0.0
            assert (await event(b, "session:updated"))["sessionId"] == session_id
            proxy.loss = 1.0
            answer = await group.servers[0].rest(
                "DELETE", f"{path}?userId={bert.id}", token=anna.token()
            )
            assert answer.status < 300, answer
            proxy.loss = 0.0
            assert (await event(b, "session:removed"))["sessionId"] == session_id


async def test_what_is_unread_is_right_after_a_loss(redis_server: RedisServer) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        anna, bert, session_id = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            await join(session_id, a)
            proxy.loss = 1.0
            await send(a, session_id, "unheard")
            # Somebody who connects is told to all: this hole is what the loss shows by.
            async with group.at(0, await group.person("cleo")).connect():
                proxy.loss = 0.0
                assert (await event(b, "session:unread"))["unreadCount"] == 1


async def test_a_redis_that_was_killed_comes_back_empty_and_all_are_seen_again() -> None:
    with running_redis() as redis:
        async with open_group(redis, **FAST) as group:
            anna, bert, session_id = await two(group)
            async with anna.connect() as a, bert.connect() as b:
                await join(session_id, a, b)
                await trio.to_thread.run_sync(redis.kill)
                sent = [(await send(a, session_id, str(number)))["seq"] for number in range(5)]
                assert await seqs(b, sent[-1]) == sent
                await trio.to_thread.run_sync(redis.start)
                await until(lambda: group.cluster(0).link.is_up and group.cluster(1).link.is_up)
                async with open_group(
                    redis,
                    count=1,
                    redis_prefix=group.servers[0].settings.redis_prefix,
                    store=group.servers[0].store,
                    known=2,
                ) as third:
                    cleo = await group.person("cleo")
                    async with third.at(0, cleo).connect() as c:
                        ids = [str(anna.id), str(bert.id)]
                        await until_online(c, ids)


async def until_online(socket: PersonSocket, ids: list[str]) -> None:
    """Wait until all these users are seen ONLINE."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await socket.ask("users:status", userIds=ids)
            if [each["status"] for each in answer["presence"]] == ["ONLINE"] * len(ids):
                return
            await trio.sleep(0.05)


async def last_seen(group: Group, person: Person) -> datetime:
    """Wait until it is written when somebody was last seen: it is told first."""
    with trio.fail_after(PATIENCE):
        while True:
            [row] = await group.servers[0].store.users_by_ids([person.id])
            if row.last_seen is not None:
                return row.last_seen
            await trio.sleep(0.01)


async def test_people_of_a_daemon_that_died_go_with_its_lease_and_come_back_with_it(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(redis_server, count=1, lease_seconds=1.0, **FAST) as alive,
        open_group(
            proxy.url,
            count=1,
            redis_prefix=alive.servers[0].settings.redis_prefix,
            store=alive.servers[0].store,
            known=1,
            lease_seconds=1.0,
            **FAST,
        ) as dying,
    ):
        anna, bert = await alive.person("anna"), await alive.person("bert")
        await alive.session(anna, bert)
        async with alive.at(0, anna).connect() as a, dying.at(0, bert).connect():
            await event(a, "user:status", userId=str(bert.id), status="ONLINE")
            proxy.is_cut = True
            heard = await event(a, "user:status", userId=str(bert.id))
            assert heard["status"] == "OFFLINE"
            assert heard["lastSeen"] is not None
            written = await last_seen(alive, bert)
            assert written < alive.servers[0].now - timedelta(seconds=0.2)
            proxy.is_cut = False
            await event(a, "user:status", userId=str(bert.id), status="ONLINE")


async def test_people_of_a_daemon_that_stops_have_time_to_come_back(
    redis_server: RedisServer,
) -> None:
    async with open_group(
        redis_server, count=1, lease_seconds=1.0, presence_grace=0.5, **FAST
    ) as stays:
        anna, bert = await stays.person("anna"), await stays.person("bert")
        await stays.session(anna, bert)
        async with stays.at(0, anna).connect() as a:
            async with (
                open_group(
                    redis_server,
                    count=1,
                    redis_prefix=stays.servers[0].settings.redis_prefix,
                    store=stays.servers[0].store,
                    known=1,
                    lease_seconds=1.0,
                    presence_grace=0.5,
                    **FAST,
                ) as stops,
                stops.at(0, bert).connect() as b,
            ):
                await event(a, "user:status", userId=str(bert.id), status="ONLINE")
                stops.servers[0].daemon.cut_all()
                await b.closed()
            async with stays.at(0, bert).connect():
                await until(lambda: not stays.cluster(0).nodes.tags)
                answer = await a.ask("users:status", userIds=[str(bert.id)])
                assert answer["presence"][0]["status"] == "ONLINE"
                assert not await a.heard("user:status")


async def test_a_daemon_starts_without_redis(unused_port_url: str) -> None:
    async with open_group(unused_port_url, count=1, redis_timeout=0.2) as group:
        anna, bert, session_id = await _both(group)
        async with anna.connect() as a, bert.connect() as b:
            await join(session_id, a, b)
            await send(a, session_id, "alone")
            await event(b, "message:new")
        answer = await group.servers[0].rest("GET", "/readyz")
        assert answer.status == 200


async def _both(group: Group) -> tuple[Any, Any, str]:
    anna, bert = await group.person("anna"), await group.person("bert")
    return group.at(0, anna), group.at(0, bert), await group.session(anna, bert)


@pytest.mark.threat("T95")
@pytest.mark.threat("T96")
async def test_a_forged_frame_is_counted_and_nothing_else(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            await join(session_id, a, b)
            plane = group.cluster(0).backplane
            bad = group.servers[1].daemon.services.metrics.frames_bad._value
            channel = plane.channel_of_node(group.cluster(1).nodes.tag)
            plane.link.publish(channel, b"\x80\x04\x95pickle")
            plane.link.publish(channel, b"\x01" + b"\0" * 16 + b"abcdef" + b"c" + b'{"k":"cut"}')
            await until(lambda: bad.get() == 2)
            await send(a, session_id, "goes on")
            await event(b, "message:new")
