"""Foreign pages, headers, proxies and what operators alone should see; T27, T53 to T58, T105."""

from __future__ import annotations

import orjson
import pytest
import trio

from tests.hostile.engine import WEBSOCKET, asked, poll
from tests.hostile.place import PATIENCE, Place, ask, http, open_http
from tests.http_kit import Answer
from tests.scenarios.wire import handshake, open_wire

pytestmark = pytest.mark.usefixtures("bystander")

FRONT = "https://app.example.com"
SETTINGS = {
    "cors_origins": FRONT,
    "head_timeout": 1,  # seconds
    "body_timeout": 1,
    "metrics_token": "a token of operators",
}
FOREIGN = [
    "https://evil.example",
    "null",
    "https://app.example.com.evil.example",
    "https://evil.example/https://app.example.com",
    "https://app.example.comevil.example",
    "https://xapp.example.com",
    "https://APP.example.com",
    "HTTPS://app.example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "https://app.example.com.",
    "https://app.example.com/",
    "https://user@app.example.com",
    "https://app.example.com@evil.example",
    "*",
    "file://",
    "http://localhost:1",
    "http://[",
    "https://app.example.com https://evil.example",
]
# helmet 8.3 where it is as strict, stricter where it is not.
HEADERS = {
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "origin-agent-cluster": "?1",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
    "x-download-options": "noopen",
    "x-frame-options": "DENY",
    "x-permitted-cross-domain-policies": "none",
    "x-xss-protection": "0",
    "cache-control": "no-store",
}
POST = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ANSWERS = {
    "200": http("GET", "/config.json"),
    "200 of a probe": http("GET", "/healthz"),
    "200 of polling": poll("GET", "EIO=4&transport=polling"),
    "400 of polling": poll("GET", "EIO=4&transport=polling&sid=x"),
    "400 of the path": http("GET", "/%00"),
    "400 of the framing": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "401": http("GET", "/auth/me"),
    "401 of a bad token": http("GET", "/auth/me", token="a.b.c"),
    "401 of metrics": http("GET", "/metrics"),
    "403 of a handshake": handshake(None, "Origin: https://evil.example"),
    "404": http("GET", "/nothing"),
    "404 of sign-in": http("GET", "/auth/google"),
    "405": http("DELETE", "/auth/me"),
    "405 of the method": http("TRACE", "/"),
    "408 of the head": b"GET / HTTP/1.1\r\nHost:",
    "408 of the body": POST + b"Content-Length: 9\r\n\r\n",
    "413": POST + b"Content-Length: 99999999\r\n\r\n",
    "417": POST + b"Expect: wonders\r\nContent-Length: 9\r\n\r\n",
    "422": http("POST", "/auth/login", {}),
    "422 of no JSON": http("POST", "/auth/login", b"{"),
    "426": http("GET", "/ws"),
    "431": http("GET", "/", lines=("X: " + "y" * 20_000,)),
    "501": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "505": b"GET / HTTP/3.7\r\nHost: localhost\r\n\r\n",
}


async def answer_to(place: Place, request: bytes) -> Answer:
    async with open_http(place) as client:
        return await client.ask(request)


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.threat("T53")
async def test_a_foreign_page_gets_no_socket_on_any_wire(place: Place, origin: str) -> None:
    line = f"Origin: {origin}"
    for path in ("/ws", WEBSOCKET):
        with trio.fail_after(PATIENCE):
            async with open_wire(place.port) as wire:
                await wire.send(handshake(place.ann.token, line, path=path))
                assert await wire.status() == 403
                assert await wire.head() is None, "the connection goes on"
    opened = await asked(place, poll("GET", "EIO=4&transport=polling", None, line))
    assert opened.status == 403
    assert "access-control-allow-origin" not in opened.headers


@pytest.mark.parametrize("origin", [FRONT, None])
@pytest.mark.threat("T53")
async def test_a_listed_page_and_programs_get_one(place: Place, origin: str | None) -> None:
    lines = [] if origin is None else [f"Origin: {origin}"]
    for path in ("/ws", WEBSOCKET):
        with trio.fail_after(PATIENCE):
            async with open_wire(place.port) as wire:
                await wire.send(handshake(place.ann.token, *lines, path=path))
                head = await wire.head()
                assert head is not None
                assert head.startswith(b"HTTP/1.1 101 ")
    opened = await asked(place, poll("GET", "EIO=4&transport=polling", None, *lines))
    assert opened.status == 200
    assert opened.headers.get("access-control-allow-origin") == origin


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
@pytest.mark.threat("T54")
async def test_a_foreign_page_reads_nothing_and_is_not_reflected(
    place: Place, origin: str, method: str
) -> None:
    lines = (f"Origin: {origin}", "Access-Control-Request-Method: POST")
    for path in ("/auth/login", "/auth/me", "/healthz", "/nothing", "/socket.io/?EIO=4"):
        answer = await ask(place, method, path, lines=lines)
        allowed = {name for name in answer.headers if name.startswith("access-control-allow")}
        assert allowed == set(), path


@pytest.mark.threat("T54")
async def test_a_listed_page_reads_answers_without_credentials_of_the_browser(place: Place) -> None:
    lines = (f"Origin: {FRONT}", "Access-Control-Request-Method: POST")
    for method in ("OPTIONS", "GET"):
        answer = await ask(place, method, "/auth/me", lines=lines)
        assert answer.headers["access-control-allow-origin"] == FRONT
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.threat("T55")
async def test_no_login_is_in_a_cookie_and_no_cookie_is_one(place: Place) -> None:
    body = {"email": "eve@example.com", "password": "swordfish-9"}
    made = await ask(place, "POST", "/auth/register", body)
    assert made.status == 201
    tokens = made.json
    for path, data in (
        ("/auth/login", body),
        ("/auth/refresh", {"refreshToken": tokens["refreshToken"]}),
    ):
        answer = await ask(place, "POST", path, data)
        assert answer.status == 200
        assert "set-cookie" not in answer.headers
    cookie = "Cookie: " + "; ".join(
        f"{name}={tokens[token]}"
        for name in ("token", "accessToken", "refreshToken", "session", "__Host-token")
        for token in ("accessToken", "refreshToken")
    )
    assert (await ask(place, "GET", "/auth/me", lines=(cookie,))).status == 401
    for path in ("/auth/refresh", "/auth/logout"):
        refused = await ask(place, "POST", path, {}, lines=(cookie,))
        assert refused.status in {401, 422}
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.upgrade(None, cookie)
            await wire.send(b"\x81\x82\0\0\0\0{}")
            assert (await wire.until_closed())[1] == 4500


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
@pytest.mark.threat("T25", "T55")
async def test_a_form_of_a_foreign_page_is_no_request(place: Place, kind: str) -> None:
    body = orjson.dumps({"refreshToken": "x"})
    head = f"POST /auth/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    answer = await answer_to(place, f"{head}{typed}\r\n".encode() + body)
    assert (answer.status, answer.code) == (422, "validation_failed")


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.threat("T56", "T58")
async def test_every_answer_has_every_header_once_and_tells_nothing_of_the_server(
    place: Place, name: str
) -> None:
    answer = await answer_to(place, ANSWERS[name])
    assert answer.status == int(name[:3])
    assert {header: answer.headers.get(header) for header in HEADERS} == HEADERS
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-request-id"]
    assert answer.headers.keys().isdisjoint({"server", "x-powered-by", "via"})
    assert "strict-transport-security" not in answer.headers, "a promise of TLS only"
    words = answer.body.lower()
    for told in (b"traceback", b"quart", b"werkzeug", b"psycopg", b"pydantic", b".py", b"trio"):
        assert told not in words


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"])
@pytest.mark.threat("T27")
async def test_an_address_that_a_client_claims_is_not_written_down(
    place: Place, header: str
) -> None:
    mail = f"{header.lower()}@example.com"
    body = {"email": mail, "password": "swordfish-9"}
    claim = f"{header}: {'for=' if header == 'Forwarded' else ''}6.6.6.6"
    made = await ask(place, "POST", "/auth/register", body, lines=(claim,))
    audit = await ask(place, "GET", "/users/me/audit", token=made.json["accessToken"])
    assert [each["address"] for each in audit.json["entries"]] == ["127.0.0.1"]


@pytest.mark.parametrize(
    "line",
    ["Authorization: Bearer x", "Authorization: Basic eDp5", "X-Forwarded-For: 127.0.0.1", "A: b"],
)
@pytest.mark.threat("T105")
async def test_metrics_are_for_who_shows_the_token(place: Place, line: str) -> None:
    answer = await ask(place, "GET", "/metrics", lines=(line,))
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert b"chatd_" not in answer.body


@pytest.mark.parametrize(
    "path",
    ["/debug", "/debug/pprof/", "/admin", "/.env", "/.git/config", "/console", "/server-status",
     "/socket.io/admin", "/static/../../etc/passwd", "/chat/..;/metrics", "/metrics/"],
)  # fmt: skip
@pytest.mark.threat("T105")
async def test_there_is_nothing_beside_what_the_documents_list(place: Place, path: str) -> None:
    assert (await ask(place, "GET", path)).status in {400, 404}
