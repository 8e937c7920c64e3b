"""The profile: what others see of somebody, changed and told (protocol.md section 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from chatd.avatars import AVATAR_COLORS
from tests.people import open_world

PICTURE = "https://pictures.example/anna.png"


async def test_a_new_name_is_told_to_own_devices_and_to_who_shares_a_session(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carl = [await world.person(each) for each in ("anna", "bert", "carl")]
        await world.session(anna, bert)
        async with (
            world.connect(anna) as a,
            world.connect(anna) as tab,
            world.connect(bert) as b,
            world.connect(carl) as c,
        ):
            answer = await a.ask("user:update", name="Anna K.")
            assert answer["user"]["name"] == "Anna K."
            assert answer["user"]["email"] == anna.email
            for client in (a, tab, b):
                [told] = await client.heard("user:updated")
                assert (told["user"]["id"], told["user"]["name"]) == (str(anna.id), "Anna K.")
                assert "email" not in told["user"]
            assert await c.heard("user:updated") == []


async def test_a_change_by_rest_of_somebody_without_a_socket_is_told_too(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        await world.session(anna, bert)
        async with world.connect(bert) as b:
            body = {"avatarUrl": PICTURE}
            answer = await world.rest("PATCH", "/users/me", body, token=world.token(anna))
            assert (answer.status, answer.json["user"]["avatarUrl"]) == (200, PICTURE)
            [told] = await b.heard("user:updated")
            assert told["user"]["avatarUrl"] == PICTURE


async def test_messages_show_the_name_and_avatar_of_when_they_are_read(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as a:
            said = await a.ask("message:send", sessionId=session_id, content="tea")
            await a.ask("user:update", name="Anna K.", avatarColor="#AABBCC")
            page = await a.ask("message:history", sessionId=session_id)
            joined = await a.ask("session:join", sessionId=session_id)
        now = {"id": str(anna.id), "name": "Anna K.", "avatarUrl": None, "avatarColor": "#aabbcc"}
        assert said["message"]["sender"]["name"] == "anna"
        assert [each["sender"] for each in page["messages"]] == [now]
        assert [each["user"] for each in joined["members"]] == [now]


async def test_a_picture_takes_the_place_of_a_colour_and_null_takes_either_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        given = AVATAR_COLORS[anna.id.int % len(AVATAR_COLORS)]
        async with world.connect(anna) as a:
            for change, expected in (
                ({"avatarColor": "#102030"}, (None, "#102030")),
                ({"avatarUrl": PICTURE}, (PICTURE, given)),
                ({"name": "Anna"}, (PICTURE, given)),
                ({"avatarUrl": None}, (None, given)),
                ({"avatarUrl": PICTURE, "avatarColor": None}, (PICTURE, given)),
                ({"avatarColor": None}, (None, given)),
            ):
                user = (await a.ask("user:update", **change))["user"]
                assert (user["avatarUrl"], user["avatarColor"]) == expected


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"name": None},
        {"name": ""},
        {"name": "two\nlines"},
        {"name": "x" * 81},
        {"avatarUrl": "http://pictures.example/anna.png"},
        {"avatarUrl": "javascript:alert(1)"},
        {"avatarUrl": "https://anna:secret@pictures.example/"},
        {"avatarUrl": "https://"},
        {"avatarUrl": "https://pictures.example/" + "x" * 2048},
        {"avatarUrl": "https://pictures.example/" + "é" * 1000},
        {"avatarColor": "red"},
        {"avatarColor": "#12345g"},
        {"avatarColor": "#1234567"},
        {"avatarUrl": PICTURE, "avatarColor": "#102030"},
        {"email": "other@example.com"},
    ],
)
async def test_a_profile_that_cannot_be_changes_nothing(
    bad: dict[str, Any], tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        async with world.connect(anna) as client:
            assert await client.refusal("user:update", **bad) == "validation_failed"
            assert await client.heard("user:updated") == []
        assert await world.store.users_by_ids([anna.id]) == [anna]


def test_white_letters_can_be_read_on_every_colour_that_is_given() -> None:
    assert len(set(AVATAR_COLORS)) == len(AVATAR_COLORS)
    for color in AVATAR_COLORS:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (((each + 0.055) / 1.055) ** 2.4 for each in parts)
        contrast = 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
        assert contrast >= 4.5, color
