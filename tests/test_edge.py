"""What strangers see: security headers and CORS on every answer, metrics and probes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import StoreUnavailable
from chatd.store.memory import MemoryStore
from chatd.testing.server import PEER
from tests.http_kit import get
from tests.people import World, open_world

FRONT, EVIL = "https://front.test", "https://evil.test"
POLL = "/socket.io/?EIO=4&transport=polling"
EVERYWHERE = [
    "/auth/me",
    "/nothing",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
    "/healthz",
    "/readyz",
    "/metrics",
    "/ws",
    POLL,
    "/socket.io/?EIO=4&transport=carrier-pigeon",
    "/socket.io/?EIO=%ff",
    "/%ff",
]


async def raw(world: World, request: bytes) -> dict[str, str]:
    """Return the headers of an answer, and its status as one of them; the connection ends."""
    stream, received = world.stream(), b""
    await stream.send_all(request)
    with trio.move_on_after(5):
        while b"\r\n\r\n" not in received and (piece := await stream.receive_some()):
            received += piece
    await trio.aclose_forcefully(stream)
    status, *lines = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    names = [line.partition(": ")[0] for line in lines]
    assert len(set(names)) == len(names), names
    headers = dict(line.split(": ", 1) for line in lines)
    return {"status": status.split()[1], **headers}


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.threat("T56")
async def test_every_answer_has_the_security_headers_once_and_a_request_id(
    tmp_path: Path, autojump_clock: MockClock, path: str
) -> None:
    async with open_world(tmp_path) as world:
        headers = await raw(world, get(path))
    expected = {
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-dns-prefetch-control": "off",
        "x-frame-options": "DENY",
        "x-permitted-cross-domain-policies": "none",
    }
    assert {name: headers.get(name) for name in expected} == expected
    policy = headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert not any("unsafe" in each for each in policy)
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"
    assert re.fullmatch("[0-9a-f]{16}", headers["x-request-id"])
    assert "strict-transport-security" not in headers
    assert "access-control-allow-origin" not in headers
    assert not headers.keys() & {"server", "x-powered-by"}


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_a_listed_origin_reads_every_answer_and_no_other_does(
    tmp_path: Path, autojump_clock: MockClock, path: str
) -> None:
    async with open_world(tmp_path, cors_origins=(FRONT,)) as world:
        listed = await raw(world, get(path, f"Origin: {FRONT}"))
        foreign = await raw(world, get(path, f"Origin: {EVIL}"))
    assert listed["access-control-allow-origin"] == FRONT
    assert listed["cross-origin-resource-policy"] == "cross-origin"
    assert "ratelimit-remaining" in listed["access-control-expose-headers"]
    assert "access-control-allow-origin" not in foreign
    assert listed["vary"] == foreign["vary"] == "Origin"


@pytest.mark.threat("T56")
async def test_the_promise_of_tls_is_made_over_tls_only_also_behind_a_proxy(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    proto = "X-Forwarded-Proto: https"
    async with open_world(tmp_path, trusted_proxies=(PEER,)) as world:
        assert "strict-transport-security" in await raw(world, get("/healthz", proto))
        plain = get("/healthz", "X-Forwarded-Proto: https, http")
        assert "strict-transport-security" not in await raw(world, plain)
    async with open_world(tmp_path) as world:
        assert "strict-transport-security" not in await raw(world, get("/healthz", proto))


@pytest.mark.threat("T105")
async def test_strangers_do_not_see_metrics_nor_why_it_is_not_ready(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, trusted_proxies=(PEER,)) as world:
        for headers, status in [
            (["X-Forwarded-For: 203.0.113.9"], 404),
            (["X-Forwarded-For: 127.0.0.1"], 404),
            (["Forwarded: for=127.0.0.1"], 404),
        ]:
            assert (await world.rest("GET", "/metrics", headers=headers)).status == status
        store.fail_next("ping", StoreUnavailable("away"))
        ready = await world.rest("GET", "/readyz")
        assert (ready.status, ready.json) == (503, {"status": "unavailable"})


async def test_who_shows_the_token_sees_metrics_and_why_it_is_not_ready(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store, token = MemoryStore(), "a token of operators"
    async with open_world(tmp_path, store, metrics_token=token) as world:
        page = await world.rest("GET", "/metrics", token=token)
        assert b"chatd_messages_total 0.0" in page.body
        for wrong in (None, "another token", token + "x"):
            refused = await world.rest("GET", "/metrics", token=wrong)
            assert (refused.status, refused.code) == (401, "unauthorized")
        store.fail_next("ping", StoreUnavailable("away"))
        ready = await world.rest("GET", "/readyz", token=token)
        assert ready.json["reason"] == "the store is away"


async def test_a_request_with_members_that_no_request_has_is_refused_with_their_names(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path) as world,
        world.connect(await world.person("anna")) as anna,
    ):
        await anna.send_raw('{"event":"session:list","id":7,"data":{},"color":1,"age":2}')
        answer = await anna.answer(7)
        assert answer["error"]["code"] == "validation_failed"
        fields = [each["field"] for each in answer["error"]["details"]["fields"]]
        assert fields == ["age", "color"]
        await anna.ask("session:list")


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_every_answer_with_a_body_says_what_it_is(
    tmp_path: Path, autojump_clock: MockClock, path: str
) -> None:
    async with open_world(tmp_path) as world:
        headers = await raw(world, get(path))
    kind = headers["content-type"]
    assert headers["content-length"] != "0"
    assert kind == "application/json" or kind.endswith("charset=UTF-8") or "charset=utf-8" in kind


@pytest.mark.parametrize(
    "path",
    ["/.git/config", "/.env", "/static/", "/chatd/", "/docs/", "/data/signing.key", "/schema.sql"],
)
async def test_nothing_but_what_is_listed_is_served(
    tmp_path: Path, autojump_clock: MockClock, path: str
) -> None:
    async with open_world(tmp_path) as world:
        answer = await world.rest("GET", path)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_what_a_form_of_a_foreign_page_can_send_is_not_taken(
    tmp_path: Path, autojump_clock: MockClock, kind: str
) -> None:
    """These three need no preflight (Fetch, CORS-safelisted request-header)."""
    body = b'{"email": "anna@example.org", "password": "correct horse"}'
    lines = [f"Content-Type: {kind}", "Origin: https://evil.test"]
    async with open_world(tmp_path) as world:
        answer = await world.rest("POST", "/auth/login", body, headers=lines)
    assert answer.status in {415, 422}


async def test_a_parameter_that_stands_twice_in_a_query_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        for query in ("limit=1&limit=2", "limit=1&limit=1", "limit=1&lim%69t=2"):
            answer = await world.rest("GET", f"/chat/sessions?{query}", token=token)
            assert (answer.status, answer.code) == (422, "validation_failed")
        once = await world.rest("GET", "/chat/sessions?limit=1", token=token)
        assert once.status == 200
