"""The assistant against a language model's server that we did not write, and its faults."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.assistant.model import last_message
from tests.assistant.site import LEFT_GENERATORS, ask, ended
from tests.people import open_world

pytestmark = pytest.mark.filterwarnings(LEFT_GENERATORS)

DEADLINE = 60.0  # seconds of real time for a whole test; a process starts within it
ECHO = ("--response-style", "echo", "--stream-chunk-delay-ms", "5")


@contextmanager
def running(log: Path, *options: str) -> Iterator[int]:
    """Run llmock as a process for the block; gives its port. Blocks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    program = Path(sys.executable).with_name("llmock")
    command: list[str | Path] = [
        program,
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait(10)


async def ready(port: int) -> None:
    """Wait until somebody listens."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
        else:
            await stream.aclose()
            return


async def test_an_answer_is_streamed_and_stored(tmp_path: Path) -> None:
    with running(tmp_path / "log", *ECHO) as port, trio.fail_after(DEADLINE):
        await ready(port)
        async with (
            open_world(tmp_path, **settings(port)) as world,
            world.connect(await world.person("anna")) as a,
        ):
            talk, message_id = await ask(a, "The kettle boils.")
            name, done = await ended(a)
            assert (name, done["finishReason"]) == ("ai:done", "stop")
            assert done["content"].startswith("Hello! You said: ")
            assert not done["usage"]["estimated"]
            stored = await last_message(a, talk)
            assert (stored["id"], stored["status"]) == (message_id, "COMPLETE")
            assert stored["content"] == done["content"]


async def test_a_stop_is_heard_while_it_streams(tmp_path: Path) -> None:
    slow = ("--response-style", "echo", "--stream-chunk-delay-ms", "200")
    with running(tmp_path / "log", *slow) as port, trio.fail_after(DEADLINE):
        await ready(port)
        async with (
            open_world(tmp_path, **settings(port)) as world,
            world.connect(await world.person("anna")) as a,
        ):
            talk, message_id = await ask(a, "word " * 200)
            await a.event("ai:delta")
            await a.ask("ai:stop", messageId=message_id)
            stored = await last_message(a, talk)
            assert stored["status"] == "STOPPED"
            assert 0 < len(stored["content"]) < 900


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--error-rate", "500=1"), "unavailable"),
        (("--error-rate", "429=1"), "rate_limited"),
        (("--stream-fault", "truncate=1"), "unavailable"),
        (("--stream-fault", "disconnect=1"), "unavailable"),
        (("--stream-fault", "malformed=1"), "unavailable"),
        (("--stream-fault", "stall=1", "--stream-stall-seconds", "30"), "deadline_exceeded"),
        (("--context-window", "20"), "payload_too_large"),
    ],
)
async def test_each_of_its_faults_gives_an_error_and_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], code: str
) -> None:
    monkeypatch.setattr("chatd.nurseries.provider.RETRY_PAUSE", 0.01)
    more: dict[str, Any] = {"ai_stall_timeout": 4, "ai_first_token_timeout": 10}
    with running(tmp_path / "log", *ECHO, *options) as port, trio.fail_after(DEADLINE):
        await ready(port)
        async with (
            open_world(tmp_path, **settings(port), **more) as world,
            world.connect(await world.person("anna")) as a,
        ):
            talk, message_id = await ask(a, "The kettle boils. " * 20)
            name, error = await ended(a)
            assert (name, error["messageId"], error["code"]) == ("ai:error", message_id, code)
            stored = await last_message(a, talk)
            status = "INTERRUPTED" if error["partial"] else "FAILED"
            assert (stored["status"], stored["content"]) == (status, error["partial"])


def settings(port: int) -> dict[str, Any]:
    return {
        "openai_model": "gpt-4o-mini",
        "openai_base_url": f"http://127.0.0.1:{port}/v1",
        "openai_api_key": "sk-test",
        "ai_titles": "off",
    }
