"""REST through the real HTTP loop: every route, every refusal, headers, CORS, documents."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from pathlib import Path
from typing import Any

import pytest
import structlog
from trio.testing import MockClock

from chatd.avatars import AVATAR_COLORS
from chatd.errors import ERROR_CODES, StoreBug, StoreUnavailable
from chatd.events.server import SERVER_EVENTS
from chatd.handlers.catalogue import BY_EVENT, OPERATIONS
from chatd.handlers.operations import Operation
from chatd.store.memory import MemoryStore
from chatd.wire.origins import is_origin_allowed
from tests.http_kit import Answer
from tests.people import open_world

NOBODY = "0190a000-0000-7000-8000-000000000000"
ROUTED = [operation for operation in OPERATIONS if operation.route is not None]


# What needs neither a login nor a body.
OPEN = {
    "features": (200, None),
    "sign-in": (404, "not_found"),
    "avatar": (503, "unavailable"),
}


def filled(operation: Operation) -> tuple[str, str]:
    """Return an operation's method and a path of a session that there is not."""
    assert operation.route is not None
    return operation.route.method, re.sub(r"<uuid:\w+>", NOBODY, operation.route.path)


# Every route


@pytest.mark.parametrize("operation", ROUTED, ids=lambda operation: operation.name)
async def test_a_route_that_needs_a_login_refuses_without_one_and_the_others_want_a_body(
    tmp_path: Path, autojump_clock: MockClock, operation: Operation
) -> None:
    async with open_world(tmp_path) as world:
        method, path = filled(operation)
        answer = await world.rest(method, path)
        expected = (401, "unauthorized") if operation.needs_login else (422, "validation_failed")
        status, code = OPEN.get(operation.name, expected)
        assert answer.status == status
        assert code is None or answer.code == code


@pytest.mark.parametrize(
    "operation",
    [each for each in ROUTED if each.route and "<uuid:session_id>" in each.route.path],
    ids=lambda operation: operation.name,
)
async def test_a_route_into_a_session_does_not_tell_whether_there_is_one(
    tmp_path: Path, autojump_clock: MockClock, operation: Operation
) -> None:
    bodies: dict[str, Any] = {
        "session-update": {"name": "x"},
        "session-prefs": {"muted": True},
        "member-update": {"role": "MEMBER"},
        "member-ban": {"userId": NOBODY},
        "message-send": {"content": "x"},
        "message-read": {"seq": 1},
        "message-unread": {"seq": 1},
        "member-add": {},
    }
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        foreign = str(await world.session(await world.person("bert")))
        method, path = filled(operation)
        body = bodies.get(operation.name)
        for session_id in (NOBODY, foreign):
            answer = await world.rest(method, path.replace(NOBODY, session_id), body, token=token)
            assert (answer.status, answer.code) == (403, "not_a_member")


async def test_every_operation_on_a_session_works_by_rest(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        token = world.token(anna)

        async def ask(method: str, path: str, status: int, body: Any = None) -> Any:
            answer = await world.rest(method, path, body, token=token)
            assert answer.status == status, answer.body
            return answer.json

        created = await ask("POST", "/chat/sessions", 201, {"kind": "GROUP", "name": "tea"})
        path = f"/chat/sessions/{created['session']['id']}"
        assert (await ask("GET", path, 200))["session"] == created["session"]
        renamed = await ask("PATCH", path, 200, {"name": "coffee"})
        assert renamed["session"]["name"] == "coffee"
        added = await ask("POST", f"{path}/members", 201, {"userId": str(bert.id)})
        assert added["member"]["role"] == "MEMBER"
        members = await ask("GET", f"{path}/members?limit=1", 200)
        assert members["nextAfter"] == str(min(anna.id, bert.id))
        said = await ask("POST", f"{path}/messages", 201, {"content": "hello"})
        history = await ask("GET", f"{path}/messages?limit=5", 200)
        assert history["messages"] == [said["message"]]
        assert (await ask("POST", f"{path}/read", 200, {"seq": 3}))["lastReadSeq"] == 3
        left = await ask("DELETE", f"{path}/members?userId={bert.id}", 200)
        assert left["seq"] == said["message"]["seq"] + 1
        listed = await ask("GET", "/chat/sessions", 200)
        assert [row["name"] for row in listed["sessions"]] == ["coffee"]
        status = await ask("POST", "/users/me/status", 200, {"status": "BUSY"})
        assert status["presence"]["userId"] == str(anna.id)
        assert await ask("POST", "/auth/logout", 200) == {}


async def test_a_user_is_found_by_their_whole_address_and_shown_without_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        shown = {
            "id": str(bert.id),
            "name": "bert",
            "avatarUrl": None,
            "avatarColor": AVATAR_COLORS[bert.id.int % 16],
        }
        token = world.token(anna)
        found = await world.rest("GET", "/users?query=Bert@Example.com", token=token)
        assert found.json == {"users": [shown], "nextCursor": None}
        found = await world.rest("GET", "/users?query=carol@example.com", token=token)
        assert found.json == {"users": [], "nextCursor": None}
        assert (await world.rest("GET", f"/users/{bert.id}", token=token)).json == {"user": shown}
        missing = await world.rest("GET", f"/users/{NOBODY}", token=token)
        assert (missing.status, missing.code) == (404, "not_found")


# Refusals


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("GET", "/chat/sessions/not-an-id", 404),
        ("GET", "/chat/sessions/", 404),
        ("PUT", "/chat/sessions", 405),
        ("DELETE", "/auth/login", 405),
        ("GET", "/auth/login", 405),
    ],
)
async def test_a_path_or_method_that_there_is_not_is_refused_in_the_envelope(
    tmp_path: Path, autojump_clock: MockClock, method: str, path: str, status: int
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        answer = await world.rest(method, path, token=token)
        assert (answer.status, answer.code) == (status, "not_found")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b'{"kind":NaN}', "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'{"name":"a","kind":"GROUP","name":"b"}', "application/json"),
        (b'{"name":"\\ud800"}', "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 40 + b"]" * 40, "application/json"),
        (b"kind=GROUP", "application/x-www-form-urlencoded"),
        (b'{"kind":"GROUP","name":"x"}', "text/plain"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    tmp_path: Path, autojump_clock: MockClock, body: bytes, content_type: str
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        headers = [f"Content-Type: {content_type}"]
        answer = await world.rest("POST", "/chat/sessions", body, token=token, headers=headers)
        assert (answer.status, answer.code) == (422, "validation_failed")


async def test_half_an_emoji_in_a_body_is_refused_by_field(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        path = f"/chat/sessions/{await world.session(anna)}/messages"
        headers = ["Content-Type: application/json"]
        for body, field in ((b'{"content":"a\\ud83d"}', "content"), (b'{"\\ud83d":1}', "")):
            answer = await world.rest("POST", path, body, token=world.token(anna), headers=headers)
            assert (answer.status, answer.code) == (422, "validation_failed")
            assert field in {each["field"] for each in answer.json["error"]["details"]["fields"]}


async def test_a_body_that_is_too_large_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, body_bytes=1024) as world:
        token = world.token(await world.person("anna"))
        answer = await world.rest("POST", "/chat/sessions", b"x" * 1025, token=token)
        assert (answer.status, answer.code) == (413, "payload_too_large")


async def test_a_query_that_is_wrong_is_refused_by_field(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        answer = await world.rest("GET", "/chat/sessions?limit=many&color=red", token=token)
        assert (answer.status, answer.code) == (422, "validation_failed")
        fields = {each["field"] for each in answer.json["error"]["details"]["fields"]}
        assert fields == {"limit", "color"}


async def test_a_direct_session_takes_no_third_member(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = [await world.person(name) for name in ("anna", "bert", "carol")]
        path = f"/chat/sessions/{await world.session(anna, bert, kind='DIRECT')}/members"
        token = world.token(anna)
        answer = await world.rest("POST", path, {"userId": str(carol.id)}, token=token)
        assert (answer.status, answer.code) == (409, "conflict")


async def test_a_store_that_is_away_is_503_with_a_time_to_wait(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        token = world.token(await world.person("anna"))
        store.fail_next("list_sessions", StoreUnavailable("away"))
        answer = await world.rest("GET", "/chat/sessions", token=token)
        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        store.fail_next("ping", StoreUnavailable("away"))
        ready = await world.rest("GET", "/readyz")
        assert (ready.status, ready.json) == (503, {"status": "unavailable"})
        assert (await world.rest("GET", "/readyz")).json == {"status": "ok"}


@pytest.mark.parametrize("trouble", [StoreBug("no such column"), ZeroDivisionError("secret")])
async def test_a_bug_is_500_without_its_text_and_is_logged_once(
    tmp_path: Path, autojump_clock: MockClock, trouble: Exception
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        token = world.token(await world.person("anna"))
        store.fail_next("list_sessions", trouble)
        with structlog.testing.capture_logs() as logs:
            answer = await world.rest("GET", "/chat/sessions", token=token)
        assert (answer.status, answer.code) == (500, "internal")
        assert str(trouble) not in answer.body.decode()
        [bug] = [log for log in logs if log["log_level"] == "error"]
        assert (bug["exc_info"], bug["request"]) == (trouble, answer.headers["x-request-id"])


# Idempotency-Key


async def test_an_idempotency_key_makes_a_repeat_safe(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id, token = await world.session(anna), world.token(anna)

        async def say(content: str) -> Answer:
            return await world.rest(
                "POST",
                f"/chat/sessions/{session_id}/messages",
                {"content": content, "clientMsgId": "in the body, with spaces"},
                token=token,
                headers=["Idempotency-Key: 3f2a"],
            )

        first, again, other = await say("hi"), await say("hi"), await say("something else")
        assert (first.json["duplicate"], again.json["duplicate"]) == (False, True)
        assert first.json["message"]["clientMsgId"] == "3f2a"
        assert first.json["message"] == again.json["message"]
        assert (other.status, other.code) == (409, "idempotency_conflict")


async def test_an_idempotency_key_is_no_field_of_other_operations(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        answer = await world.rest(
            "POST",
            "/chat/sessions",
            {"kind": "GROUP", "name": "x"},
            token=token,
            headers=["Idempotency-Key: k"],
        )
        assert answer.status == 201


# Headers


async def test_a_listed_origin_may_read_answers_and_refusals(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, cors_origins=("https://front.test",)) as world:
        for origin, is_listed in (("https://front.test", True), ("https://evil.test", False)):
            answer = await world.rest("GET", "/auth/me", headers=[f"Origin: {origin}"])
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (origin if is_listed else None)
            assert answer.headers["vary"] == "Origin"
            assert "access-control-allow-credentials" not in answer.headers
            policy = answer.headers["cross-origin-resource-policy"]
            assert policy == ("cross-origin" if is_listed else "same-origin")


@pytest.mark.threat("T54")
async def test_a_preflight_is_answered_for_listed_origins_only(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, cors_origins=("https://front.test",)) as world:
        asked = ["Access-Control-Request-Method: POST", "Origin: https://front.test"]
        answer = await world.rest("OPTIONS", "/chat/sessions", headers=asked)
        assert (answer.status, answer.body) == (204, b"")
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "authorization" in answer.headers["access-control-allow-headers"]
        answer = await world.rest(
            "OPTIONS", "/chat/sessions", headers=["Origin: https://evil.test"]
        )
        assert answer.status == 405
        assert "access-control-allow-methods" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "host", "is_allowed"),
    [
        ("https://chat.test", "chat.test", True),
        ("http://chat.test:8000", "chat.test:8000", True),
        ("https://chat.test:8000", "chat.test", False),
        ("https://front.test", "chat.test", True),
        ("https://front.test.evil.test", "chat.test", False),
        ("null", "", False),
        ("http://[", "chat.test", False),
    ],
)
def test_an_origin_is_ours_or_listed_or_foreign(origin: str, host: str, is_allowed: bool) -> None:
    assert is_origin_allowed(origin, host, ("https://front.test",)) is is_allowed


# Documents


def refs(value: Any) -> set[str]:
    """Return every reference in a document."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(refs(each) for each in value.values()))
    return set().union(*(refs(each) for each in value)) if isinstance(value, list) else set()


async def test_openapi_lists_every_route_and_its_references_hold(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        document = (await world.rest("GET", "/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    listed = {
        described["operationId"]: (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }
    assert set(listed) == {operation.name for operation in ROUTED}
    for operation in ROUTED:
        method, path = listed[operation.name]
        assert operation.route is not None
        assert method == operation.route.method
        described = document["paths"][path][method.lower()]
        assert str(operation.route.status) in described["responses"]
        assert bool(described["security"]) is operation.needs_login
        in_path = {each["name"] for each in described["parameters"] if each["in"] == "path"}
        assert set(re.findall(r"{(\w+)}", path)) == in_path
        takes_body = method in {"POST", "PATCH"} or operation.route.takes_body
        assert ("requestBody" in described) <= takes_body
        names = [each["name"] for each in described["parameters"]]
        assert len(names) == len(set(names))
    components = document["components"]
    named = {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}
    assert refs(document) <= named


async def test_openapi_tells_each_refusal_with_the_codes_of_its_status(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        document = (await world.rest("GET", "/openapi.json")).json
    refused = document["components"]["responses"]
    told: dict[str, set[str]] = {}
    for name, answer in refused.items():
        schema = answer["content"]["application/json"]["schema"]
        told[name] = set(schema["properties"]["error"]["properties"]["code"]["enum"])
    assert told["Refused409"] == {"conflict", "idempotency_conflict"}
    assert told["Refused503"] == {"draining", "overloaded", "unavailable"}
    assert set().union(*told.values()) == set(ERROR_CODES)
    described = document["paths"]["/chat/sessions"]["post"]["responses"]
    assert set(described) == {"201"} | {name.removeprefix("Refused") for name in refused}


async def test_a_method_that_a_path_does_not_have_is_told_those_that_it_has(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        answer = await world.rest("PUT", "/chat/sessions")
        assert (answer.status, answer.code) == (405, "not_found")
        assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_asyncapi_is_served_with_every_event(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        document = (await world.rest("GET", "/asyncapi.json")).json
    assert document["asyncapi"] == "3.0.0"
    for channel in document["channels"].values():
        names = {message["name"] for message in channel["messages"].values()}
        assert names == set(BY_EVENT) | set(SERVER_EVENTS)


async def test_docs_name_every_operation_and_allow_only_their_own_style(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        answer = await world.rest("GET", "/docs")
    page = answer.body.decode()
    for operation in OPERATIONS:
        assert escape(operation.summary) in page
    for event in BY_EVENT:
        assert f"<code>{event}</code>" in page
    assert "<script" not in page
    [style] = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["content-security-policy"]


async def test_the_direct_routes_answer_without_a_login(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        assert (await world.rest("GET", "/healthz")).json == {"status": "ok"}
        assert (await world.rest("GET", "/readyz")).json == {"status": "ok"}


async def test_a_store_that_does_not_answer_is_not_ready_after_its_timeout(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        store.latency = 60
        assert (await world.rest("GET", "/readyz")).status == 503


def test_every_operation_has_a_name_of_its_own_and_one_way_to_run() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    events = [operation.event for operation in OPERATIONS if operation.event]
    assert len(set(events)) == len(events)
    for operation in OPERATIONS:
        assert (operation.run is None) != (operation.submit is None)
        assert operation.event or operation.route
        assert not (operation.needs_socket and operation.route)
