"""A daemon with the provider of its settings: over real HTTP, people over memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.assistant.model import converse
from tests.assistant.server import KEY, Server, open_server
from tests.people import Client, World, open_world

DEADLINE = 60.0  # seconds of real time for a whole test

# httpcore's and openai's own generators of a stream that is left before its end: the connection is
# closed, and they are nobody's any more.
LEFT_GENERATORS = "ignore:Async generator .* was garbage collected:ResourceWarning"


@asynccontextmanager
async def open_site(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[World, Server]]:
    """Run a daemon, and the scripted server that it asks; titles are off unless asked for."""
    with trio.fail_after(DEADLINE):
        async with open_server() as server:
            chosen = {
                "openai_model": "scripted",
                "openai_base_url": server.url,
                "openai_api_key": KEY,
                "ai_titles": "off",
                **settings,
            }
            async with open_world(tmp_path, **chosen) as world:
                yield world, server


async def ask(client: Client, content: str = "Why?") -> tuple[str, str]:
    """Ask in a new conversation; return its id and the answer's."""
    talk = await converse(client)
    sent = await client.ask("ai:send", aiSessionId=talk, content=content)
    return talk, sent["messageId"]


async def ended(client: Client) -> tuple[str, dict[str, Any]]:
    """Wait for an answer's end: its event and payload."""
    while True:
        frame = client.waiting.pop(0) if client.waiting else await client.frame()
        if frame.get("event") in {"ai:done", "ai:error"}:
            payload: dict[str, Any] = frame["data"]
            return frame["event"], payload
