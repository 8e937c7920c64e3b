"""A server without a model: everything of the assistant says so, and nothing is done or loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trio.testing import MockClock

from chatd.ai_rows import ASSISTANT_ID
from chatd.handlers import ai, ai_sessions
from chatd.ids import uuid7
from tests.assistant.model import open_ai_world
from tests.people import open_world

OPERATIONS = (*ai_sessions.OPERATIONS, *ai.OPERATIONS)
FIELDS = {
    "aiSessionId": str(uuid7()),
    "messageId": str(uuid7()),
    "content": "Why?",
    "title": "Tea",
}


async def test_every_route_and_event_is_unavailable_with_a_clear_text(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            for operation in OPERATIONS:
                names = {f.alias or n for n, f in operation.command.model_fields.items()}
                data = {name: value for name, value in FIELDS.items() if name in names}
                if operation.event is not None:
                    frame = await a.answer(await a.emit(operation.event, **data))
                    assert frame["error"]["code"] == "unavailable", operation.name
                    assert "not set up" in frame["error"]["message"]
                    assert frame["error"]["retryable"] is False
                assert operation.route is not None
                path = operation.route.path
                for name, field in (("ai_session_id", "aiSessionId"), ("message_id", "messageId")):
                    if f"<uuid:{name}>" in path:
                        path = path.replace(f"<uuid:{name}>", data.pop(field))
                body = data if operation.route.method in {"POST", "PATCH"} else None
                answer = await world.rest(
                    operation.route.method, path, body, token=world.token(anna)
                )
                assert (answer.status, answer.code) == (503, "unavailable"), operation.name
        assert world.store.calls["create_ai_session"] == 0  # type: ignore[attr-defined]


async def test_the_features_tell_whether_there_is_an_assistant(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        assert (await world.rest("GET", "/config.json")).json["ai"] is False
        assert await world.store.users_by_ids([ASSISTANT_ID]) == []
    async with open_ai_world(tmp_path) as (world, _):
        assert (await world.rest("GET", "/config.json")).json["ai"] is True


async def test_a_message_that_calls_is_a_message_like_others(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        tea = await world.session(anna)
        async with world.connect(anna) as a:
            answer = await a.ask(
                "message:send", sessionId=str(tea), content="@ai?", mentions=[str(ASSISTANT_ID)]
            )
            assert answer["ignoredMentions"] == [str(ASSISTANT_ID)]
            assert await a.heard("ai:error") == []


def test_the_library_of_the_provider_is_not_loaded_without_a_model() -> None:
    code = (
        "import sys, chatd.cli, chatd.nurseries.daemon, chatd.app\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'openai'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"
