"""What happens at one daemon is seen by the people of another."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import trio

from chatd.errors import CloseCode
from chatd.testing.server import Person
from chatd.testing.socket import PersonSocket
from tests.cluster.kit import PATIENCE, Group, event, open_group, until
from tests.redis_kit import RedisServer


async def two(group: Group) -> tuple[Person, Person, str]:
    """Return Anna at the first daemon, Bert at the second, and their session."""
    anna, bert = await group.person("anna"), await group.person("bert")
    session_id = await group.session(anna, bert)
    return group.at(0, anna), group.at(1, bert), session_id


async def join(session_id: str, *sockets: PersonSocket) -> None:
    for socket in sockets:
        await socket.ask("session:join", sessionId=session_id)


async def send(socket: PersonSocket, session_id: str, content: str, **more: Any) -> dict[str, Any]:
    answer = await socket.ask("message:send", sessionId=session_id, content=content, **more)
    message: dict[str, Any] = answer["message"]
    return message


@pytest.mark.parametrize("wire", ["ws", "socketio"])
async def test_a_message_arrives_at_the_other_daemon(redis_server: RedisServer, wire: Any) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        async with anna.connect(wire=wire) as a, bert.connect(wire=wire) as b:
            await join(session_id, a, b)
            message = await send(a, session_id, "hello")
            heard = await event(b, "message:new")
            assert heard["id"] == message["id"]
            assert heard["seq"] == message["seq"]
            await b.ask("message:react", messageId=message["id"], emoji="👍", on=True)
            assert (await event(a, "message:reaction"))["userIds"] == [str(bert.id)]


async def test_two_daemons_that_write_at_once_keep_one_order(redis_server: RedisServer) -> None:
    async with open_group(redis_server, count=3) as group:
        people = [await group.person(name) for name in ("anna", "bert", "cleo")]
        session_id = await group.session(*people)
        rounds = 40
        async with (
            group.at(0, people[0]).connect() as a,
            group.at(1, people[1]).connect() as b,
            group.at(2, people[2]).connect() as c,
        ):
            await join(session_id, a, b, c)

            async def talk(socket: PersonSocket) -> None:
                for number in range(rounds):
                    await send(socket, session_id, str(number))

            seen: list[list[int]] = []
            async with trio.open_nursery() as nursery:
                for socket in (a, b, c):
                    nursery.start_soon(talk, socket)
            for socket in (a, b, c):
                with trio.fail_after(PATIENCE):
                    seen.append(
                        [(await socket.event("message:new"))["seq"] for _ in range(3 * rounds)]
                    )
            first = seen[0][0]
            assert seen == [list(range(first, first + 3 * rounds))] * 3


async def test_typing_is_heard_and_ends(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            await join(session_id, a, b)
            await until(lambda: group.cluster(1).backplane.is_heard(UUID(session_id)))
            await a.ask("typing:start", sessionId=session_id)
            assert (await event(b, "user:typing"))["isTyping"]
            async with bert.connect() as phone:
                answer = await phone.ask("session:join", sessionId=session_id)
                assert answer["typing"] == [str(anna.id)]
            await send(a, session_id, "done")
            assert not (await event(b, "user:typing"))["isTyping"]


async def test_a_marker_moves_on_the_other_device(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        async with anna.connect() as a, group.at(0, bert).connect() as b, bert.connect() as phone:
            await join(session_id, a, b)
            message = await send(a, session_id, "read me")
            assert (await event(phone, "session:unread"))["unreadCount"] == 1
            await b.ask("message:read", sessionId=session_id, seq=message["seq"])
            assert (await event(phone, "message:read"))["unreadCount"] == 0


async def test_who_is_there_is_known_everywhere(redis_server: RedisServer) -> None:
    async with open_group(redis_server, presence_grace=0.1) as group:
        anna, bert, session_id = await two(group)
        async with anna.connect() as a:
            async with bert.connect() as b:
                assert (await event(a, "user:status", userId=str(bert.id)))["status"] == "ONLINE"
                answer = await b.ask("session:join", sessionId=session_id)
                there = {each["userId"]: each["status"] for each in answer["presence"]}
                assert there == {str(anna.id): "ONLINE", str(bert.id): "ONLINE"}
                await b.ask("status:set", status="BUSY", text="busy")
                heard = await event(a, "user:status", userId=str(bert.id))
                assert (heard["status"], heard["text"]) == ("BUSY", "busy")
            heard = await event(a, "user:status", userId=str(bert.id))
            assert heard["status"] == "OFFLINE"
            assert heard["lastSeen"] is not None


async def test_two_devices_at_two_daemons_are_one_person(redis_server: RedisServer) -> None:
    async with open_group(redis_server, presence_grace=0.1) as group:
        anna, bert, session_id = await two(group)
        async with anna.connect() as a:
            await join(session_id, a)
            async with bert.connect() as laptop:
                assert (await event(a, "user:status", userId=str(bert.id)))["status"] == "ONLINE"
                async with group.at(0, bert).connect() as phone:
                    await laptop.ask("status:set", status="AWAY")
                    await phone.ask("status:set", status="ONLINE")
                    # AWAY on one device only: nobody hears of it.
                    answer = await a.ask("users:status", userIds=[str(bert.id)])
                    assert answer["presence"][0]["status"] == "ONLINE"
                answer = await a.ask("users:status", userIds=[str(bert.id)])
            assert (await event(a, "user:status", status="OFFLINE"))["userId"] == str(bert.id)


async def test_a_status_by_rest_at_another_daemon_counts(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, _ = await two(group)
        async with anna.connect() as a, bert.connect():
            await event(a, "user:status", userId=str(bert.id))
            body = {"status": "BUSY"}
            answer = await group.servers[0].rest(
                "POST", "/users/me/status", body, token=bert.token()
            )
            assert answer.status == 200
            assert (await event(a, "user:status", userId=str(bert.id)))["status"] == "BUSY"


async def test_who_is_invisible_is_nowhere(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, _ = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            await event(a, "user:status", userId=str(bert.id))
            await b.ask("status:set", status="INVISIBLE")
            assert (await event(a, "user:status", userId=str(bert.id)))["status"] == "OFFLINE"
            async with group.at(0, bert).connect():
                answer = await a.ask("users:status", userIds=[str(bert.id)])
                assert answer["presence"][0]["status"] == "OFFLINE"


async def test_a_logout_ends_the_sockets_of_a_login_everywhere(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        _, bert, _ = await two(group)
        async with bert.connect() as b:
            answer = await group.servers[0].rest("POST", "/auth/logout-all", {}, token=bert.token())
            assert answer.status == 200
            with trio.fail_after(PATIENCE):
                assert await b.closed() == CloseCode.REVOKED.code
            answer = await group.servers[1].rest("GET", "/auth/me", token=b.token)
            assert answer.status == 401


async def test_a_new_member_elsewhere_is_told_and_a_removed_one_is_cut(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        anna, bert = await group.person("anna"), await group.person("bert")
        session_id = await group.session(anna)
        async with group.at(0, anna).connect() as a, group.at(1, bert).connect() as b:
            await join(session_id, a)
            path = f"/chat/sessions/{session_id}/members"
            token = anna.token()
            body = {"userId": str(bert.id)}
            answer = await group.servers[0].rest("POST", path, body, token=token)
            assert answer.status < 300, answer
            await event(b, "session:updated")
            await join(session_id, b)
            await send(a, session_id, "welcome")
            await event(b, "message:new")
            answer = await group.servers[0].rest("DELETE", f"{path}?userId={bert.id}", token=token)
            assert answer.status < 300, answer
            assert (await event(b, "session:removed"))["reason"] == "removed"
            await send(a, session_id, "gone")
            await send(a, session_id, "gone")
            assert await b.refusal("session:join", sessionId=session_id) == "not_a_member"
            assert not await b.heard("message:new")


async def test_a_mention_is_told_where_somebody_is(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        async with anna.connect() as a, bert.connect() as b:
            await join(session_id, a)
            await send(a, session_id, "you", mentions=[str(bert.id)])
            await event(b, "notification:new")
            assert (await event(b, "session:unread"))["mentionCount"] == 1


async def test_nobody_hears_a_session_of_which_nobody_is_here(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert = await group.person("anna"), await group.person("bert")
        session_id = await group.session(anna)
        async with group.at(0, anna).connect() as a, group.at(1, bert).connect():
            await join(session_id, a)
            for number in range(20):
                await send(a, session_id, str(number))
            assert group.cluster(0).backplane.is_heard(UUID(session_id))
            assert not group.cluster(1).backplane.is_heard(UUID(session_id))
