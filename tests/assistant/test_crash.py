"""The real daemon, killed and stopped while the assistant speaks."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from chatd.client import Connection, open_client
from tests.assistant.server import Exchange, open_server
from tests.scenarios.daemon import Daemon

DEADLINE = 120.0  # seconds of real time: PostgreSQL is made, and the machine is shared
PASSWORD = "correct horse battery"
EMAIL = "anna@example.org"


async def speaks(exchange: Exchange) -> None:
    """Say something, and nothing more."""
    await exchange.begin()
    await exchange.say("one ", "two ")
    await exchange.closed.wait()


async def kept(line: Connection, talk: str, text: str) -> None:
    """Wait until a checkpoint holds a text."""
    while (await messages(line, talk))[-1]["content"] != text:  # noqa: ASYNC110 - nobody tells
        await trio.sleep(0.05)


async def messages(line: Connection, talk: str) -> list[dict[str, Any]]:
    page = await line.request("ai:messages", {"aiSessionId": talk})
    found: list[dict[str, Any]] = page["messages"]
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_what_had_come_is_there_after_a_restart_and_said_to_be_interrupted(
    tmp_path: Path, how: signal.Signals
) -> None:
    with trio.fail_after(DEADLINE):
        async with open_server() as server:
            server.script = speaks
            daemon = Daemon(
                tmp_path / "data",
                openai_model="scripted",
                openai_base_url=server.url,
                ai_titles="off",
                ai_checkpoint_seconds=0.1,
                drain_seconds=1,
            )
            try:
                await trio.to_thread.run_sync(daemon.start)
                async with open_client(daemon.url) as client:
                    await client.register(EMAIL, PASSWORD)
                    async with client.connect() as line:
                        made = await line.request("ai:create", {})
                        talk = made["aiSession"]["id"]
                        question = {"aiSessionId": talk, "content": "Why?"}
                        message_id = (await line.request("ai:send", question))["messageId"]
                        await kept(line, talk, "one two ")
                        daemon.signal(how)
                        await daemon.exited()
                with trio.fail_after(5):
                    await server.asked[0].closed.wait()
                await trio.to_thread.run_sync(daemon.start)
                async with open_client(daemon.url) as client:
                    await client.login(EMAIL, PASSWORD)
                    async with client.connect() as line:
                        asked, answer = await messages(line, talk)
                        assert (asked["content"], answer["id"]) == ("Why?", message_id)
                        assert (answer["status"], answer["content"]) == ("INTERRUPTED", "one two ")
                        ref = {"messageId": message_id}
                        attached = await line.request("ai:attach", ref)
                        assert (attached["text"], attached["done"]) == ("one two ", True)
                        sent = await line.request("ai:retry", ref)
                        await server.called(2)
                        await line.request("ai:stop", {"messageId": sent["messageId"]})
            finally:
                await trio.to_thread.run_sync(daemon.dispose)
            assert daemon.complaints() == []
