"""Answers as server-sent events over REST: streamed, resumed, outliving whoever reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.ids import uuid7
from chatd.rows import UserRow
from tests.assistant.model import Model, ask, converse, last_message, open_ai_world
from tests.people import World

Event = tuple[str, dict[str, Any], str | None]


class Reader:
    """A stream of events as a client reads it; HTTP/1.0, so that the body is not in chunks."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.head = ""
        self._buffer = b""

    async def begin(self) -> None:
        """Read the head of the answer."""
        while b"\r\n\r\n" not in self._buffer:
            piece = await self.stream.receive_some()
            assert piece, self._buffer
            self._buffer += piece
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.head = head.decode()

    async def block(self) -> str | None:
        """Return the next block, an event or a comment; None at the end."""
        while b"\n\n" not in self._buffer:
            piece = await self.stream.receive_some()
            if not piece:
                assert not self._buffer
                return None
            self._buffer += piece
        block, _, self._buffer = self._buffer.partition(b"\n\n")
        return block.decode()

    async def event(self) -> Event | None:
        """Return the next event: name, data and id; None at the end."""
        while (block := await self.block()) is not None:
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            if "event" in lines:
                return lines["event"], orjson.loads(lines["data"]), lines.get("id")
        return None

    async def rest(self) -> list[Event]:
        """Return all events up to the end."""
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events


@asynccontextmanager
async def reading(
    world: World,
    user: UserRow,
    method: str,
    path: str,
    body: Any = None,
    *headers: str,
    token: str | None = None,
) -> AsyncIterator[Reader]:
    """Ask by REST, and read the answer as it comes; leaving the block leaves the connection."""
    raw = b"" if body is None else orjson.dumps(body)
    lines = [
        f"{method} {path} HTTP/1.0",
        f"Authorization: Bearer {token or world.token(user)}",
        "Accept: text/event-stream",
        "Content-Type: application/json",
        f"Content-Length: {len(raw)}",
        *headers,
    ]
    stream = world.stream()
    try:
        await stream.send_all("\r\n".join([*lines, "", ""]).encode() + raw)
        reader = Reader(stream)
        await reader.begin()
        yield reader
    finally:
        await trio.aclose_forcefully(stream)


async def conversation(world: World, user: UserRow) -> str:
    answer = await world.rest("POST", "/ai/sessions", {}, token=world.token(user))
    assert answer.status == 201
    talk: str = answer.json["aiSession"]["id"]
    return talk


def text_of(events: list[Event], start: int = 0) -> str:
    """Return the text of deltas, without a hole; the ids say how far each reaches."""
    text = ""
    for name, data, mark in events:
        if name == "ai:delta":
            assert data["index"] == start + len(text.encode("utf-16-le")) // 2
            text += data["text"]
            assert mark == str(start + len(text.encode("utf-16-le")) // 2)
    return text


async def test_a_question_by_rest_is_answered_by_the_same_events(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        async with reading(world, anna, "POST", path, {"content": "Why?"}) as reader:
            assert reader.head.startswith("HTTP/1.1 200 ")
            lines = reader.head.lower().split("\r\n")
            assert "content-type: text/event-stream" in lines
            assert "cache-control: no-store" in lines
            assert "x-accel-buffering: no" in lines
            name, sent, _ = await reader.event() or ("", {}, None)
            assert (name, sent["userMessage"]["content"]) == ("ai:sent", "Why?")
            call = await model.called()
            await call.say("So 🐈 ")
            name, start, _ = await reader.event() or ("", {}, None)
            assert (name, start["messageId"]) == ("ai:start", sent["messageId"])
            await call.finish("it is.")
            events = await reader.rest()
            assert text_of(events) == "So 🐈 it is."
            assert (events[-1][0], events[-1][1]["content"]) == ("ai:done", "So 🐈 it is.")
        as_json = await world.rest("POST", path, {"content": "And?"}, token=world.token(anna))
        assert (as_json.status, as_json.json["duplicate"]) == (201, False)


async def test_who_comes_back_with_last_event_id_gets_what_is_missing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        async with reading(world, anna, "POST", path, {"content": "Why?"}) as reader:
            _, sent, _ = await reader.event() or ("", {}, None)
            call = await model.called()
            await call.say("So 🐈 ")
            await reader.event()
            _, delta, mark = await reader.event() or ("", {}, None)
            assert (delta["text"], mark) == ("So 🐈 ", "6")
        await call.say("it ")
        stream = f"/ai/messages/{sent['messageId']}/stream"
        async with reading(world, anna, "GET", stream, None, "Last-Event-ID: 6") as reader:
            await call.finish("is.")
            events = await reader.rest()
            assert text_of(events, 6) == "it is."
            assert events[-1][0] == "ai:done"
        for head, start, rest in [("Last-Event-ID: 9", 9, "is."), ("X: y", 0, "So 🐈 it is.")]:
            async with reading(world, anna, "GET", stream, None, head) as reader:
                events = await reader.rest()
                assert text_of(events, start) == rest
                assert events[-1][1]["content"] == "So 🐈 it is."
        async with reading(world, anna, "GET", f"{stream}?fromIndex=9") as reader:
            assert text_of(await reader.rest(), 9) == "is."
        for odd in ("Last-Event-ID: -1", "Last-Event-ID: x", "Last-Event-ID: " + "9" * 30):
            async with reading(world, anna, "GET", stream, None, odd) as reader:
                assert (await reader.rest())[-1][0] == "ai:done"
        assert len(model.calls) == 1


async def test_a_silent_stream_is_kept_alive_by_comments(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, ai_first_token_timeout=55) as (world, model):
        anna = await world.person("anna")
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        async with reading(world, anna, "POST", path, {"content": "Why?"}) as reader:
            await reader.event()
            await reader.event()
            await model.called()
            for _ in range(3):
                await wait_all_tasks_blocked()
                mock_clock.jump(15)
                assert await reader.block() == ": keep-alive"


async def test_the_end_of_a_reader_ends_the_stream_and_not_the_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        talk = await conversation(world, anna)
        path = f"/ai/sessions/{talk}/messages"
        async with reading(world, anna, "POST", path, {"content": "Why?"}) as reader:
            await reader.event()
            call = await model.called()
            await call.say("So ")
        await wait_all_tasks_blocked()
        await call.say("it ")
        await wait_all_tasks_blocked()
        assert not call.is_closed
        await call.finish("is.")
        async with world.connect(anna) as a:
            assert (await last_message(a, talk))["content"] == "So it is."
        live: Any = world.daemon.services.assistant
        assert not live._live


async def test_an_error_and_a_stop_end_a_stream(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        async with reading(world, anna, "POST", path, {"content": "Why?"}) as reader:
            call = await model.called()
            await call.say("So ")
            await call.fail()
            events = await reader.rest()
            assert (events[-1][0], events[-1][1]["partial"]) == ("ai:error", "So ")
            message_id = events[-1][1]["messageId"]
        async with reading(world, anna, "GET", f"/ai/messages/{message_id}/stream") as reader:
            events = await reader.rest()
            assert [name for name, _, _ in events] == ["ai:delta", "ai:error"]
            assert (events[1][1]["code"], events[1][1]["partial"]) == ("unavailable", "So ")
        retry = f"/ai/messages/{message_id}/retry"
        async with reading(world, anna, "POST", retry) as reader:
            _, sent, _ = await reader.event() or ("", {}, None)
            call = await model.called()
            await call.say("Oh ")
            token = world.token(anna)
            stop = f"/ai/messages/{sent['messageId']}/stop"
            stopped = await world.rest("POST", stop, token=token)
            assert (stopped.status, stopped.json["status"]) == (200, "STOPPED")
            events = await reader.rest()
            assert (events[-1][0], events[-1][1]["finishReason"]) == ("ai:done", "stopped")


async def test_a_repeated_question_streams_the_answer_that_there_is(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        question = (path, {"content": "Why?"}, "Idempotency-Key: k1")
        async with reading(world, anna, "POST", *question) as reader:
            call = await model.called()
            await call.say("So ")
            async with reading(world, anna, "POST", *question) as second:
                await call.finish("it is.")
                for each in (reader, second):
                    events = await each.rest()
                    assert text_of(events) == "So it is."
        async with reading(world, anna, "POST", *question) as late:
            events = await late.rest()
            assert events[0][1]["duplicate"]
            assert text_of(events) == "So it is."
        assert len(model.calls) == 1


async def test_what_is_refused_is_no_stream(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        async with reading(world, bert, "POST", path, {"content": "Why?"}) as reader:
            assert reader.head.startswith("HTTP/1.1 404 ")
            assert "application/json" in reader.head
        async with world.connect(anna) as a:
            message_id, _ = await _asked(a, model)
        async with reading(world, bert, "GET", f"/ai/messages/{message_id}/stream") as reader:
            assert reader.head.startswith("HTTP/1.1 404 ")


async def _asked(client: Any, model: Model) -> tuple[str, Any]:
    return await ask(client, model, await converse(client))


async def test_a_stop_of_the_daemon_ends_streams(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        async with reading(world, anna, "POST", path, {"content": "Why?"}) as reader:
            call = await model.called()
            await call.say("So ")
            world.daemon.begin_drain()
            await wait_all_tasks_blocked()
            mock_clock.jump(0.04)
            events = await reader.rest()
            assert (events[-1][0], events[-1][1]["code"]) == ("ai:error", "draining")


async def test_a_login_that_ends_ends_its_streams(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, family = await world.person("anna"), uuid7()
        path = f"/ai/sessions/{await conversation(world, anna)}/messages"
        token = world.token(anna, family)
        body = {"content": "Why?"}
        async with reading(world, anna, "POST", path, body, token=token) as reader:
            call = await model.called()
            await call.say("So ")
            world.daemon.services.sockets.cut_families([family], CloseCode.REVOKED)
            await call.say("secret ")
            assert text_of(await reader.rest()) == "So "
            assert not call.is_closed


async def test_conversations_are_begun_changed_and_deleted_by_rest(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, _):
        token = world.token(await world.person("anna"))
        talk = await world.rest("POST", "/ai/sessions", {"title": "Tea"}, token=token)
        path = f"/ai/sessions/{talk.json['aiSession']['id']}"
        changed = await world.rest("PATCH", path, {"title": "Cake"}, token=token)
        assert changed.json["aiSession"]["title"] == "Cake"
        got = await world.rest("GET", path, token=token)
        assert got.json == changed.json
        listed = await world.rest("GET", "/ai/sessions?limit=5", token=token)
        assert listed.json == {"aiSessions": [got.json["aiSession"]], "nextCursor": None}
        page = await world.rest("GET", f"{path}/messages?limit=5", token=token)
        assert page.json == {"messages": [], "hasBefore": False}
        assert (await world.rest("DELETE", path, token=token)).status == 200
        assert (await world.rest("GET", path, token=token)).code == "not_found"
        assert (await world.rest("GET", path)).status == 401
