"""ASGI applications behind the HTTP loop: Quart, and bare ones that misbehave."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
from quart import Response
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from chatd.config import Settings
from chatd.nurseries.asgi import LifespanError, run_lifespan
from tests.http_kit import (
    get,
    open_wires,
    quart_app,
)

LIMITS = Settings(port=0)


async def test_quart_answers_get_and_post_on_one_connection() -> None:
    async with open_wires(quart_app()) as wires:
        anna = wires.connect()
        for _ in range(2):
            answer = await anna.ask(get("/json?a=1&b=%C3%BC"))
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.body == b'{"args":{"a":"1","b":"\\u00fc"},"peer":"192.0.2.1"}\n'
            answer = await anna.ask(
                b"POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Content-Length: 7\r\n\r\n[1,2,3]"
            )
            assert answer.body == b'{"got":[1,2,3]}\n'
        assert (await anna.ask(get("/nothing"))).status == 404


async def test_quart_answers_405_to_a_body_in_a_later_segment_without_a_hang() -> None:
    async with open_wires(quart_app()) as wires:
        anna = wires.connect()
        for _ in range(50):
            await anna.send(b"PUT /json HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
            await anna.send(b"{}")
            assert (await anna.read()).status == 405


async def test_a_body_over_the_limit_is_refused_before_the_application_hears_of_it() -> None:
    async with open_wires(quart_app()) as wires:
        answer = await wires.connect().ask(
            b"POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
            % (LIMITS.body_bytes + 1)
        )
        assert (answer.status, answer.code) == (413, "payload_too_large")


async def test_a_chunked_body_is_refused_at_the_limit() -> None:
    async with open_wires(quart_app()) as wires:
        anna = wires.connect()
        await anna.send(
            b"POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(LIMITS.body_bytes // 0x10000):
            await anna.send(piece)
        answer = await anna.ask(b"1\r\nx\r\n")
        assert (answer.status, answer.code) == (413, "payload_too_large")


async def test_an_event_stream_arrives_piece_by_piece_and_ends_when_the_client_leaves() -> None:
    app, ended = quart_app(), trio.Event()
    ticks_in, ticks_out = trio.open_memory_channel[bytes](10)

    @app.get("/events")
    async def events() -> Response:
        async def stream() -> AsyncGenerator[bytes, None]:
            try:
                async for tick in ticks_out:
                    yield b"data: " + tick + b"\n\n"
            finally:
                ended.set()

        response = Response(stream(), content_type="text/event-stream")
        response.timeout = None  # Quart ends a response after 60 s otherwise
        return response

    async with open_wires(app) as wires, ticks_in, ticks_out:
        anna = wires.connect()
        await anna.send(get("/events"))
        head = await anna.stream.receive_some(65_536)  # before there is any event
        assert b"transfer-encoding: chunked\r\n" in head
        for _ in range(3):
            await ticks_in.send(b"tick")
            assert await anna.read_bytes(17) == b"c\r\ndata: tick\n\n\r\n"
        await anna.stream.aclose()
        await ended.wait()
        await wait_all_tasks_blocked()
        assert wires.ended == ["anna"]


async def test_a_client_that_leaves_ends_the_application_that_works_for_it() -> None:
    async with open_wires(quart_app()) as wires:
        anna = wires.connect()
        await anna.send(get("/stuck"))
        await wait_all_tasks_blocked()
        assert wires.ended == []
        await anna.stream.aclose()
        await wait_all_tasks_blocked()
        assert wires.ended == ["anna"]


async def test_a_client_that_leaves_within_its_body_ends_the_request() -> None:
    async with open_wires(quart_app()) as wires:
        anna = wires.connect()
        await anna.send(
            b"POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9\r\n\r\nabc"
        )
        await wait_all_tasks_blocked()
        await anna.stream.aclose()
        await wait_all_tasks_blocked()
        assert wires.ended == ["anna"]


async def test_a_big_answer_arrives_whole() -> None:
    async with open_wires(quart_app()) as wires:
        assert len((await wires.connect().ask(get("/big"))).body) == 20 * 1_048_576


async def test_an_application_that_fails_before_its_answer_is_answered_for() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]}
        )
        msg = "a bug"
        raise RuntimeError(msg)

    async with open_wires(app) as wires:
        with capture_logs() as logs:
            answer = await wires.connect().ask(get("/x"))
        assert (answer.status, answer.code) == (500, "internal")
        assert logs[0]["event"] == "request_failed"


async def test_an_application_that_fails_within_its_answer_closes_the_connection() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        msg = "a bug"
        raise RuntimeError(msg)

    async with open_wires(app) as wires:
        anna = wires.connect()
        with capture_logs() as logs:
            await anna.send(get("/x"))
            got = await anna.read_until_closed()
        assert got.endswith(b"4\r\nhalf\r\n")  # no last chunk: the client sees that it is half
        assert logs[0]["event"] == "request_failed"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, [(b"x", b"a\r\nset-cookie: b")], b""),
        (200, [(b"x y", b"a")], b""),
        (99, [], b""),
        (200, [(b"content-length", b"2")], b"three"),
        (200, [(b"content-length", b"9")], b"three"),
    ],
    ids=["line end in a value", "bad name", "no final status", "too long", "too short"],
)
async def test_what_cannot_be_sent_becomes_a_500(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with open_wires(app) as wires:
        with capture_logs():
            assert (await wires.connect().ask(get("/x"))).status == 500


async def test_http_1_0_gets_a_body_that_ends_with_the_connection() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"old", "more_body": True})
        await send({"type": "http.response.body"})

    async with open_wires(app) as wires:
        anna = wires.connect()
        await anna.send(b"GET /x HTTP/1.0\r\n\r\n")
        got = await anna.read_until_closed()
        assert b"chunked" not in got
        assert got.endswith(b"connection: close\r\n" + got[got.index(b"x-request-id") :])
        assert got.endswith(b"\r\n\r\nold")


async def test_an_application_that_goes_on_for_a_client_that_left_gets_an_oserror() -> None:
    failures: list[OSError] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except OSError as failure:
            failures.append(failure)

    async with open_wires(app) as wires:
        anna = wires.connect()
        await anna.send(get("/x"))
        await wait_all_tasks_blocked()
        await anna.stream.aclose()
        await wait_all_tasks_blocked()
        assert len(failures) == 1
        assert wires.ended == ["anna"]


@pytest.mark.parametrize(
    "message",
    [{"type": "http.response.body", "body": b"x"}, {"type": "http.response.trailers"}],
    ids=["a body without a head", "an unknown message"],
)
async def test_a_message_out_of_turn_becomes_a_500(message: dict[str, Any]) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(message)

    async with open_wires(app) as wires:
        with capture_logs() as logs:
            assert (await wires.connect().ask(get("/x"))).status == 500
        assert logs[0]["event"] == "request_failed"


async def test_the_lifespan_starts_and_stops_the_application() -> None:
    app, story = quart_app(), []

    @app.before_serving
    async def start() -> None:
        story.append("start")

    @app.after_serving
    async def stop() -> None:
        story.append("stop")

    async with run_lifespan(app):
        assert story == ["start"]
    assert story == ["start", "stop"]


async def test_an_application_that_cannot_start_says_why() -> None:
    app = quart_app()

    @app.before_serving
    async def start() -> None:
        msg = "no database"
        raise RuntimeError(msg)

    with pytest.RaisesGroup(pytest.RaisesExc(LifespanError, match="no database")):
        async with run_lifespan(app):
            pytest.fail("it started")


async def test_an_application_that_ends_its_lifespan_at_once_is_refused() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()

    with pytest.RaisesGroup(LifespanError):
        async with run_lifespan(app):
            pytest.fail("it started")
