"""People: who is found, by what, and in which order (protocol.md section 2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.people import Client, open_world


async def names(client: Client, **query: object) -> list[str]:
    return [user["name"] for user in (await client.ask("user:list", **query))["users"]]


async def test_people_are_found_by_name_on_the_socket_and_by_rest(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("Anna")
        for other in ("bert", "Joanna"):
            await world.person(other)
        async with world.connect(anna) as client:
            assert await names(client, query="ann") == ["Anna", "Joanna"]
            assert await names(client) == ["Anna", "bert", "Joanna"]
            assert await names(client, query="bert@example.com") == ["bert"]
            assert await names(client, query="example") == []
        answer = await world.rest("GET", "/users?query=%20JO", token=world.token(anna))
        assert [user["name"] for user in answer.json["users"]] == ["Joanna"]
        assert "example.com" not in answer.body.decode()


async def test_a_cursor_leads_through_all_users_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        people = [await world.person(f"p{number:02}") for number in range(7)]
        async with world.connect(people[0]) as client:
            seen: list[str] = []
            page = await client.ask("user:list", query="p", limit=3)
            seen += [user["name"] for user in page["users"]]
            while page["nextCursor"] is not None:
                cursor = page["nextCursor"]
                page = await client.ask("user:list", query="p", limit=3, cursor=cursor)
                seen += [user["name"] for user in page["users"]]
        assert seen == [user.name for user in people]


@pytest.mark.parametrize(
    "bad",
    [
        {"limit": 51},
        {"limit": 0},
        {"query": "x" * 255},
        {"query": "nul\0l"},
        {"cursor": "x"},
        {"cursor": "é"},
        {"cursor": "OTk6bm9uZTp4"},
        {"cursor": "MDpub25lOng="},
    ],
)
async def test_a_search_that_cannot_be_is_refused(
    bad: dict[str, object], tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world, world.connect(await world.person("anna")) as client:
        assert await client.refusal("user:list", **bad) == "validation_failed"
