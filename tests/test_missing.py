"""What a field names and there is not (protocol.md section 1, `details.fields`)."""

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
