"""Fields that name nothing, and that are wrong beyond their shape (protocol.md 1, `details`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from tests.people import open_world
from tests.test_changes import UNKNOWN

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "replyToId": ("POST", "/chat/sessions/{}/messages", {"content": "x", "replyToId": UNKNOWN}),
    "attachments": (
        "POST",
        "/chat/sessions/{}/messages",
        {"content": "x", "attachments": [UNKNOWN]},
    ),
    "userId": ("POST", "/chat/sessions/{}/bans", {"userId": UNKNOWN}),
    "userId of a member": ("POST", "/chat/sessions/{}/members", {"userId": UNKNOWN}),
    "memberIds": ("POST", "/chat/sessions", {"kind": "DIRECT", "memberIds": [UNKNOWN]}),
    "avatarFileId": ("PATCH", "/users/me", {"avatarFileId": UNKNOWN}),
    "botId": ("POST", "/auth/tokens", {"name": "x", "scopes": ["read"], "botId": UNKNOWN}),
}
OVER = "2020-01-01T00:00:00Z"
TOKEN = {"name": "x", "scopes": ["read"]}
WRONG: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "until": ("POST", "/chat/sessions/{}/bans", {"userId": UNKNOWN, "until": OVER}),
    "until of a status": ("POST", "/users/me/status", {"status": "BUSY", "until": OVER}),
    "mutedUntil": ("PATCH", f"/chat/sessions/{{}}/members/{UNKNOWN}", {"mutedUntil": OVER}),
    "expiresAt": ("POST", "/auth/tokens", TOKEN | {"expiresAt": OVER}),
    "status": ("POST", "/users/me/status", {"status": "AWAY"}),
    "memberIds": ("POST", "/chat/sessions", {"kind": "DIRECT", "memberIds": ["{me}"]}),
    "cursor": ("GET", "/chat/sessions?cursor=tea", None),
    "cursor of users": ("GET", "/users?query=anna&cursor=tea", None),
    "cursor of a search": ("GET", "/chat/search?q=tea&cursor=tea", None),
    "sessionId": ("PATCH", "/chat/sessions/{}", {"name": "x", "sessionId": UNKNOWN}),
    "sessionId of a message": (
        "POST",
        "/chat/sessions/{}/messages",
        {"content": "x", "sessionId": UNKNOWN},
    ),
    "sessionId of a query": ("GET", f"/chat/sessions/{{}}/messages?sessionId={UNKNOWN}", None),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_field_that_names_nothing_is_told(
    tmp_path: Path, autojump_clock: MockClock, case: str
) -> None:
    method, path, body = CASES[case]
    async with open_world(tmp_path, files="local") as world:
        anna = await world.person("anna")
        session_id = await world.session(anna)
        path = path.format(session_id)
        answer = await world.rest(method, path, body, token=world.token(anna))
        assert (answer.status, answer.code) == (404, "not_found")
        error = answer.json["error"]
        assert error["details"] == {
            "fields": [{"field": case.partition(" ")[0], "message": error["message"]}]
        }


async def test_a_path_that_names_nothing_has_no_field(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        answer = await world.rest("GET", f"/users/{UNKNOWN}", token=world.token(anna))
        assert (answer.status, answer.code) == (404, "not_found")
        assert "details" not in answer.json["error"]


@pytest.mark.parametrize("case", WRONG)
async def test_a_field_that_is_wrong_for_another_reason_than_its_shape_is_told(
    tmp_path: Path, autojump_clock: MockClock, case: str
) -> None:
    method, path, body = WRONG[case]
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = await world.session(anna)
        if body is not None and body.get("memberIds"):
            body = body | {"memberIds": [str(anna.id)]}
        answer = await world.rest(method, path.format(session_id), body, token=world.token(anna))
        assert (answer.status, answer.code) == (422, "validation_failed")
        assert [field["field"] for field in answer.json["error"]["details"]["fields"]] == [
            case.partition(" ")[0]
        ]


async def test_an_id_that_says_what_the_path_says_is_taken(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        for same in (session_id, session_id.upper()):
            answer = await world.rest(
                "PATCH",
                f"/chat/sessions/{session_id}",
                {"name": "Tea", "sessionId": same},
                token=world.token(anna),
            )
            assert answer.status == 200


async def test_parameters_of_a_query_beside_a_body_are_not_ignored(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        for body in ({"kind": "GROUP", "name": "Tea"}, None):
            answer = await world.rest("POST", "/chat/sessions?name=Tea", body, token=token)
            assert (answer.status, answer.code) == (422, "validation_failed")
            assert "body" in answer.json["error"]["message"]
