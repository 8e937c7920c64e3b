"""Who was ended or removed unheard is found out by asking the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import trio

from chatd.errors import CloseCode
from chatd.testing.socket import open_person_socket
from tests.cluster.kit import PATIENCE, Group, event, healed, open_group, until
from tests.cluster.link_proxy import open_link_proxy
from tests.cluster.test_losses import FAST, _logged_in
from tests.cluster.test_sharing import join, send, two
from tests.redis_kit import RedisServer


async def test_an_api_token_that_is_revoked_unheard_has_no_socket(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        _, token, _ = await _logged_in(group)
        here, there = group.servers
        body = {"name": "bot", "scopes": ["read"]}
        made = await here.rest("POST", "/auth/tokens", body, token=token)
        assert made.status == 201, made
        async with open_person_socket(there.stream(), made.json["token"], "ws") as bot:
            proxy.loss = 1.0
            path = f"/auth/tokens/{made.json['apiToken']['id']}"
            assert (await here.rest("DELETE", path, token=token)).status < 300
            proxy.loss = 0.0
            with trio.fail_after(PATIENCE):
                assert await bot.closed() == CloseCode.REVOKED.code


async def test_a_login_that_ends_unheard_by_a_clock_that_is_late_is_cut(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        _, token, family_id = await _logged_in(group)
        healing = group.cluster(1).healing
        right = healing._now
        healing._now = lambda: right() + timedelta(minutes=1)
        await healed(healing)
        proxy.loss = 1.0
        assert (await group.servers[0].rest("POST", "/auth/logout", {}, token=token)).status == 200
        proxy.loss = 0.0
        await until(lambda: group.servers[1].daemon.services.sockets.is_revoked(family_id))


async def remove(group: Group, owner: Any, session_id: str, user: Any) -> None:
    path = f"/chat/sessions/{session_id}/members?userId={user.id}"
    answer = await group.servers[0].rest("DELETE", path, token=owner.token())
    assert answer.status < 300, answer


async def test_who_is_removed_unheard_within_the_grace_is_in_no_circle(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, presence_grace=300.0, **FAST) as group,
    ):
        anna, bert, session_id = await two(group)
        presence = group.servers[1].daemon.live.presence
        async with bert.connect() as b:
            await join(session_id, b)
        await until(lambda: not presence.users[bert.id].devices)
        proxy.loss = 1.0
        await remove(group, anna, session_id, bert)
        proxy.loss = 0.0
        await until(lambda: not presence.here(UUID(session_id)))


async def test_a_removal_that_is_heard_while_the_store_is_read_is_not_undone(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        presence = group.servers[1].daemon.live.presence
        async with bert.connect() as b:
            healing = group.cluster(1).healing
            await until(lambda: not healing._wanted.is_set())
            await trio.sleep(1.5)
            # As if it had not been heard that he was let in.
            presence.left_anywhere(UUID(session_id), bert.id, None)
            is_held, opened, store = trio.Event(), trio.Event(), healing._store

            async def session_for(session: UUID, user: UUID) -> Any:
                found = await store.session_for(session, user)
                is_held.set()
                await opened.wait()
                return found

            class Slow:
                def __getattr__(self, name: str) -> Any:
                    return session_for if name == "session_for" else getattr(store, name)

            healing._store = Slow()
            healing.hole(group.cluster(0).nodes.tag)
            with trio.fail_after(PATIENCE):
                await is_held.wait()
            await remove(group, anna, session_id, bert)
            await event(b, "session:removed", sessionId=session_id)
            await trio.sleep(0.2)  # until the daemon has heard it too
            opened.set()
            await trio.sleep(0.3)
            assert not presence.here(UUID(session_id))


async def test_what_somebody_who_connects_has_read_hides_no_loss(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        anna, bert, session_id = await two(group)
        carl = await group.person("carl")
        path = f"/chat/sessions/{session_id}/members"
        body = {"userId": str(carl.id)}
        answer = await group.servers[0].rest("POST", path, body, token=anna.token())
        assert answer.status < 300, answer
        async with anna.connect() as a, bert.connect() as b:
            await trio.sleep(2.0)  # what begins with a start is over
            while await b.heard("session:unread"):
                pass
            heads = group.cluster(1).heads
            proxy.loss = 1.0
            message = await send(a, session_id, "unheard")
            heads.stands([_Position(UUID(session_id), message["seq"])])
            proxy.loss = 0.0
            with trio.fail_after(5.0):
                assert (await b.event("session:unread"))["unreadCount"] == 1


class _Position:
    def __init__(self, session_id: UUID, seq: int) -> None:
        self.session_id = session_id
        self.seq = seq


async def test_a_loss_in_a_session_that_has_begun_since_they_came_shows(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(proxy.url, **FAST) as group,
    ):
        anna, bert, _ = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            session_id = await new_session(group, anna, bert)
            await event(b, "session:updated", sessionId=session_id)
            await trio.sleep(2.0)  # what begins with that is over
            while await b.heard("session:unread"):
                pass
            proxy.loss = 1.0
            await send(a, session_id, "unheard")
            await trio.sleep(0.2)  # until it is lost
            proxy.loss = 0.0
            await group.cluster(1).heads.compare_all()
            with trio.fail_after(5.0):
                assert (await b.event("session:unread"))["unreadCount"] == 1


async def new_session(group: Group, *people: Any) -> str:
    """Return the id of a session that is made over the wire."""
    body = {"kind": "GROUP", "name": "new", "memberIds": [str(each.id) for each in people[1:]]}
    answer = await group.servers[0].rest("POST", "/chat/sessions", body, token=people[0].token())
    assert answer.status == 201, answer
    return str(answer.json["session"]["id"])
