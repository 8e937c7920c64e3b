"""Words that mean something to somebody else's program: browsers, terminals, SQL, Unicode."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.hostile.place import Place, ask
from tests.scenarios.talker import Json, register, rest

pytestmark = pytest.mark.usefixtures("bystander")

MARKUP = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/?q=secret)",
    "\u202etxt.exe\u202c",
    "a\u200bb\ufeffc",
    "x" + "\u0300" * 30,
    "' OR 1=1 --",
    "'; DROP TABLE users; --",
    '"; SELECT pg_sleep(10); --',
    "$1 $2 %s %(name)s {0} {content}",
    "\\x00 \\' \\\\",
    "%_%",
]
NASTY = ["'", "\"'", "'; DROP TABLE messages; --", "%", "_", "\\", "%%%%", "$1", "a' OR 'a'='a"]


async def say(place: Place, content: str) -> Json:
    path = f"/chat/sessions/{place.session}/messages"
    answer = await ask(place, "POST", path, {"content": content}, token=place.ann.token)
    said: Json = answer.json
    return said


@pytest.mark.parametrize("content", MARKUP, ids=lambda text: ascii(text)[:24])
@pytest.mark.threat("T87", "T88")
async def test_a_message_is_kept_and_answered_as_it_was_written(place: Place, content: str) -> None:
    sent = (await say(place, content))["message"]
    assert sent["content"] == content
    path = f"/chat/sessions/{place.session}/messages?limit=1"
    answer = await ask(place, "GET", path, token=place.ann.token)
    assert [each["content"] for each in answer.json["messages"]] == [content]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "content",
    ["a\x00b", "\x1b[31mred", "a\x07b", "x" + "\u0316\u0300" * 5000, "\u0300" * 10_000],
    ids=["NUL", "escape", "bell", "marks out of order", "10,000 marks"],
)
@pytest.mark.threat("T87")
async def test_what_is_no_text_is_refused(place: Place, content: str) -> None:
    error = (await say(place, content))["error"]
    assert error["code"] == "validation_failed"
    assert [each["field"] for each in error["details"]["fields"]] == ["content"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("<b>ann</b>", "<b>ann</b>"),
        ("'; DROP TABLE users; --", "'; DROP TABLE users; --"),
        ("\u202enna\u202c", "nna"),
        ("an\u200bn", "ann"),
        ("\uff41nn", "ann"),
        ("\u200b\u2060", None),
        ("\u3164", None),
        ("a\nb", None),
        ("\ufdfa" * 80, None),
    ],
    ids=ascii,
)
@pytest.mark.threat("T87", "T88")
async def test_a_name_is_what_it_looks_like(place: Place, name: str, kept: str | None) -> None:
    mallory = await register(place.daemon, "mallory")
    answer = await ask(place, "PATCH", "/users/me", {"name": name}, token=mallory.token)
    if kept is None:
        assert answer.code == "validation_failed"
        kept = "mallory"
    shown = await ask(place, "GET", f"/users/{mallory.id}", token=place.ann.token)
    assert shown.json["user"]["name"] == kept


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.threat("T88")
async def test_a_search_finds_what_was_written_and_nothing_in_it_is_a_wildcard(
    place: Place, text: str
) -> None:
    made = await rest(
        place.daemon, "POST", "/chat/sessions", place.ann.token, {"kind": "GROUP", "name": text}
    )
    session = made["session"]["id"]
    path = f"/chat/sessions/{session}/messages"
    for content in ("plain words", f"here: {text} it is"):
        await rest(place.daemon, "POST", path, place.ann.token, {"content": content})
    query = f"/chat/search?q={quote(text)}&sessionId={session}"
    found = (await ask(place, "GET", query, token=place.ann.token)).json
    assert [each["message"]["content"] for each in found["results"]] == [f"here: {text} it is"]
    assert found["results"][0]["snippet"]["hits"]
    people = await ask(place, "GET", f"/users?query={quote(text)}", token=place.ann.token)
    assert people.status == 200
    assert all(text in each["name"] for each in people.json["users"])


@pytest.mark.parametrize(
    "field",
    ["/chat/sessions?cursor={}", "/users?cursor={}", "/users/me/audit?cursor={}"],
)
@pytest.mark.parametrize("value", ["'", "'; DROP TABLE users; --", "\u0661", "-1", "x" * 200])
@pytest.mark.threat("T88")
async def test_a_cursor_that_is_none_of_ours_is_refused(
    place: Place, field: str, value: str
) -> None:
    answer = await ask(place, "GET", field.format(quote(value)), token=place.ann.token)
    assert (answer.status, answer.code) == (422, "validation_failed")


@pytest.mark.parametrize("limit", ["1000000000", "101", "0", "-1", "1e9", "9" * 400, "NaN", ""])
@pytest.mark.threat("T91")
async def test_a_page_has_a_bound_whatever_is_asked_for(place: Place, limit: str) -> None:
    for path in (
        f"/chat/sessions/{place.session}/messages",
        f"/chat/sessions/{place.session}/members",
        "/chat/sessions",
        "/users",
        "/users/me/audit",
    ):
        answer = await ask(place, "GET", f"{path}?limit={limit}", token=place.ann.token)
        assert (answer.status, answer.code) == (422, "validation_failed"), path


@pytest.mark.threat("T24", "T91")
async def test_a_parameter_that_is_there_twice_is_refused(place: Place) -> None:
    path = f"/chat/sessions/{place.session}/messages?limit=1&limit=100&afterSeq=0"
    answer = await ask(place, "GET", path, token=place.ann.token)
    assert (answer.status, answer.code) == (422, "validation_failed")
    fields = answer.json["error"]["details"]["fields"]
    assert [each["field"] for each in fields] == ["limit"]


@pytest.mark.threat("T91")
async def test_there_is_no_offset_to_go_deep_with(place: Place) -> None:
    path = f"/chat/sessions/{place.session}/messages?offset=1000000"
    answer = await ask(place, "GET", path, token=place.ann.token)
    assert (answer.status, answer.code) == (422, "validation_failed")


@pytest.mark.parametrize("status", ["GONE", "OFFLINE", "", "online", 7, None, ["BUSY"]])
@pytest.mark.threat("T90")
async def test_a_status_is_one_of_a_few(place: Place, status: object) -> None:
    answer = await ask(place, "POST", "/users/me/status", {"status": status}, token=place.ann.token)
    assert (answer.status, answer.code) == (422, "validation_failed")
