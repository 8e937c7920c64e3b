"""The openai package against a server on a real port, honest and not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from chatd.config import Settings
from tests.assistant.model import last_message
from tests.assistant.server import KEY, Exchange, Script, hello
from tests.assistant.site import LEFT_GENERATORS, ask, ended, open_site

pytestmark = pytest.mark.filterwarnings(LEFT_GENERATORS)


@pytest.mark.threat("T94")
async def test_a_question_goes_where_the_settings_say_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with (
        open_site(tmp_path) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        talk, _ = await ask(a)
        name, done = await ended(a)
        assert (name, done["content"], done["finishReason"]) == ("ai:done", "Hello there", "stop")
        assert done["usage"] == {"promptTokens": 20, "completionTokens": 5, "estimated": False}
        [asked] = server.asked
        assert asked.head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
        head = asked.head.lower()
        assert f"authorization: bearer {KEY}" in head
        assert "environment" not in head
        assert asked.body["model"] == "scripted"
        assert asked.body["stream"] is True
        assert asked.body["max_tokens"] == 2048
        assert [each["role"] for each in asked.body["messages"]] == ["system", "user"]
        assert (await last_message(a, talk))["content"] == "Hello there"


async def test_a_server_of_ones_own_needs_no_key(tmp_path: Path) -> None:
    async with (
        open_site(tmp_path, openai_api_key=None) as (world, _server),
        world.connect(await world.person("anna")) as a,
    ):
        await ask(a)
        assert (await ended(a))[1]["content"] == "Hello there"


# What servers do wrong


def status(code: int, body: bytes = b"{}", *headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(code, body, "Content-Type: application/json", *headers)

    return script


def stream(*pieces: bytes, text: str = "") -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.begin()
        if text:
            await exchange.say(text)
        for piece in pieces:
            await exchange.raw(piece)

    return script


async def hangs_up(exchange: Exchange) -> None:
    del exchange


async def too_short(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ndata: ")


async def chunked(exchange: Exchange) -> None:
    await exchange.raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    piece = b'data: {"choices": [{"index": 0, "delta": {"content": "Half"}}]}\n\n'
    await exchange.raw(b"%x\r\n%b\r\nzz" % (len(piece), piece))


FULL = b'{"error": {"code": "context_length_exceeded", "message": "long", "type": "x"}}'
GARBAGE = [
    b"data: {not json\n\n",
    b'data: {"choices": 7}\n\n',
    b"data: [1, 2]\n\n",
    b"\xff\xfe\n\n",
]


@pytest.mark.threat("T101")
@pytest.mark.parametrize(
    ("script", "code", "attempts"),
    [
        (status(500), "unavailable", 3),
        (status(503, b"<html>", "Retry-After: 0.01"), "unavailable", 3),
        (status(400), "unavailable", 1),
        (status(401), "unavailable", 1),
        (status(404, b"no JSON"), "unavailable", 1),
        (status(400, FULL), "payload_too_large", 1),
        (status(429, b"{}", "Retry-After: 0.01"), "rate_limited", 3),
        (status(429, b"{}", "Retry-After: 3600"), "rate_limited", 1),
        (status(302, b"", "Location: http://127.0.0.1:9/"), "unavailable", 1),
        (status(200, b'{"choices": []}'), "unavailable", 3),
        (hangs_up, "unavailable", 3),
        (too_short, "unavailable", 3),
        (stream(b""), "unavailable", 3),
        *((stream(piece), "unavailable", 3) for piece in GARBAGE),
        (stream(b'data: {"error": {"message": "overloaded"}}\n\n'), "unavailable", None),
    ],
)
async def test_what_goes_wrong_before_the_first_word_has_a_code_and_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, code: str, attempts: int | None
) -> None:
    monkeypatch.setattr("chatd.nurseries.provider.RETRY_PAUSE", 0.01)
    async with (
        open_site(tmp_path) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        server.script = script
        talk, _ = await ask(a)
        name, error = await ended(a)
        assert (name, error["code"], error["partial"]) == ("ai:error", code, "")
        assert attempts in {None, len(server.asked)}
        stored = await last_message(a, talk)
        assert (stored["status"], stored["errorCode"]) == ("FAILED", code)
        server.script = hello
        await ask(a)
        assert (await ended(a))[1]["content"] == "Hello there"


@pytest.mark.threat("T101")
@pytest.mark.parametrize(
    "script",
    [
        stream(text="Half"),
        chunked,
        *(stream(piece, text="Half") for piece in GARBAGE[:3]),
        stream(b'data: {"error": {"message": "overloaded"}}\n\n', text="Half"),
        stream(b"data: [DONE]\n\n", text="Half"),
    ],
)
async def test_what_goes_wrong_behind_it_keeps_the_text_once(
    tmp_path: Path, script: Script
) -> None:
    async with (
        open_site(tmp_path) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        server.script = script
        talk, _ = await ask(a)
        name, error = await ended(a)
        assert (name, error["code"], error["partial"]) == ("ai:error", "unavailable", "Half")
        assert len(server.asked) == 1
        page = await a.ask("ai:messages", aiSessionId=talk)
        kept = [(each["status"], each["content"]) for each in page["messages"]]
        assert kept == [("COMPLETE", "Why?"), ("INTERRUPTED", "Half")]


@pytest.mark.threat("T101")
async def test_a_server_that_stalls_is_left(tmp_path: Path) -> None:
    async with (
        open_site(tmp_path, ai_stall_timeout=0.2) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        server.script = stalls
        await ask(a)
        error = (await ended(a))[1]
        assert (error["code"], error["partial"]) == ("deadline_exceeded", "Half")
        await (await server.called()).closed.wait()


async def stalls(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.say("Half")
    await trio.sleep_forever()


@pytest.mark.threat("T101")
async def test_a_line_without_an_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.nurseries.assistant.ANSWER_BYTES", 200_000)
    async with (
        open_site(tmp_path, ai_first_token_timeout=1) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        server.script = floods
        await ask(a)
        assert (await ended(a))[1]["code"] == "deadline_exceeded"
        await (await server.called()).closed.wait()


async def floods(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.raw(b"data: ")
    while True:
        await exchange.raw(b"x" * 10_000)


@pytest.mark.parametrize("delta", [{"content": None}, {"content": 7}, {"content": ["x"]}, None])
async def test_pieces_without_text_are_none(tmp_path: Path, delta: Any) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.event({"choices": [{"index": 0, "delta": delta}]})
        await exchange.event({"choices": [], "usage": {"prompt_tokens": "x"}})
        await exchange.say("So.")
        await exchange.event({"choices": [{"delta": {}, "finish_reason": "length\0"}]})

    async with (
        open_site(tmp_path) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        server.script = script
        await ask(a)
        name, done = await ended(a)
        assert (name, done["content"], done["finishReason"]) == ("ai:done", "So.", "length")
        assert done["usage"]["estimated"]


# The end of a connection


async def test_stop_closes_the_providers_connection_before_anything_else_is_sent(
    tmp_path: Path,
) -> None:
    said: list[str] = []

    async def talks(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.say("one ")
        await exchange.closed.wait()
        said.append("closed")

    async with (
        open_site(tmp_path) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        server.script = talks
        _, message_id = await ask(a)
        await a.event("ai:delta")
        exchange = await server.called()
        began = trio.current_time()
        stopped = await a.ask("ai:stop", messageId=message_id)
        with trio.fail_after(1):
            await exchange.closed.wait()
        print(f"closed after {1000 * (exchange.closed_at - began):.1f} ms")  # noqa: T201 - a figure
        assert (stopped["text"], stopped["status"]) == ("one ", "STOPPED")
        assert len(server.asked) == 1
        server.script = hello
        await ask(a)
        assert (await ended(a))[1]["finishReason"] == "stopped"
        assert (await ended(a))[1]["content"] == "Hello there"


async def test_a_stop_before_the_first_word_closes_it_too(tmp_path: Path) -> None:
    async def waits(exchange: Exchange) -> None:
        await exchange.closed.wait()

    async with (
        open_site(tmp_path) as (world, server),
        world.connect(await world.person("anna")) as a,
    ):
        server.script = waits
        _, message_id = await ask(a)
        exchange = await server.called()
        stopped = await a.ask("ai:stop", messageId=message_id)
        assert (stopped["text"], stopped["status"]) == ("", "STOPPED")
        with trio.fail_after(1):
            await exchange.closed.wait()


# The settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"openai_model": "m"},
        {"openai_api_key": "k"},
        {"openai_model": "m", "openai_base_url": "ftp://x"},
        {"openai_model": "m", "openai_base_url": "http://"},
        {"openai_model": "m", "openai_base_url": "https://x/v1?key=1"},
        {"openai_model": "m", "openai_base_url": "https://user:secret@x/v1"},
        {"openai_model": "", "openai_api_key": "k"},
    ],
)
def test_half_a_provider_is_refused_by_the_settings(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="openai"):
        Settings(**wrong)  # type: ignore[arg-type]  # strings
