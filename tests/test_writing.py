"""Who may write, as clients are told (protocol.md section 4)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from chatd.store.memory import MemoryStore
from tests.people import open_world


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"is_read_only": True}, "session_read_only"),
        ({"archived": True}, "session_read_only"),
        ({"muted": 60}, "muted"),
    ],
)
async def test_a_rule_refuses_sending_and_editing_with_its_own_code(
    tmp_path: Path, autojump_clock: MockClock, rule: dict[str, Any], code: str
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))
        session = store._sessions[UUID(session_id)]
        async with world.connect(bert) as b, world.connect(anna) as a:
            await a.ask("session:join", sessionId=session_id)
            answer = await b.ask("message:send", sessionId=session_id, content="tee")
            now = world.daemon.services.now()
            session.is_read_only = rule.get("is_read_only", False)
            session.archived_at = now if "archived" in rule else None
            if "muted" in rule:
                session.members[bert.id].muted_until = now + timedelta(seconds=rule["muted"])
            assert await b.refusal("message:send", sessionId=session_id, content="x") == code
            said = {"messageId": answer["message"]["id"]}
            assert await b.refusal("message:edit", **said, content="tea") == code
            reaction = await b.answer(await b.emit("message:react", **said, emoji="👍", on=True))
            if "is_read_only" in rule:
                assert reaction["ok"]
            else:
                assert reaction["error"]["code"] == code
            assert len(await a.heard("message:updated")) == 0
            await b.ask("message:delete", **said)
            assert len(await a.heard("message:new")) == 0
            path = f"/chat/sessions/{session_id}/messages"
            refused = await world.rest("POST", path, {"content": "x"}, token=world.token(bert))
            assert (refused.status, refused.json["error"]["code"]) == (403, code)


async def test_slow_mode_tells_exactly_when_the_next_message_is_taken(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))
        store._sessions[UUID(session_id)].slow_mode_seconds = 30
        said = {"sessionId": session_id, "content": "tea"}
        async with world.connect(bert) as b:
            await b.ask("message:send", **said)
            await trio.sleep(7.25)
            error = (await b.answer(await b.emit("message:send", **said)))["error"]
            assert (error["code"], error["retryable"]) == ("slow_mode", True)
            assert error["retryAfterMs"] == 22_750
            await trio.sleep(22.749)
            assert await b.refusal("message:send", **said) == "slow_mode"
            await trio.sleep(0.001)
            answer = await b.ask("message:send", **said)
            assert answer["message"]["seq"] == 2
            path = f"/chat/sessions/{session_id}/messages"
            refused = await world.rest("POST", path, {"content": "x"}, token=world.token(bert))
            assert (refused.status, refused.json["error"]["code"]) == (429, "slow_mode")
