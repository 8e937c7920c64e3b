"""The conversation on `/ws`."""

from __future__ import annotations

from pathlib import Path

from tests.people import open_world


async def test_two_people_chat_and_the_ack_is_ahead_of_the_echo(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_world(tmp_path) as world:
        alice, bob = await world.person("alice"), await world.person("bob")
        session_id = str(await world.session(alice, bob))
        async with world.connect(alice) as a, world.connect(bob) as b:
            joined = await a.ask("session:join", sessionId=session_id)
            assert joined["seq"] == 0
            await b.ask("session:join", sessionId=session_id)
            request = await a.emit("message:send", sessionId=session_id, content="hello")
            first = await a.frame()
            while "event" in first and first["event"] != "message:new":
                first = await a.frame()
            assert first["id"] == request
            assert (await a.event("message:new"))["content"] == "hello"
            heard = await b.event("message:new")
            assert (heard["seq"], heard["sender"]["name"]) == (1, "alice")
