"""Other people's things, by every operation and every door: as if there were no such thing.

The operations are the daemon's own list: a new one that names something needs a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import pytest
import trio

from chatd.handlers.catalogue import OPERATIONS
from chatd.handlers.operations import Operation
from tests.hostile.doors import by_ws, doors_of
from tests.hostile.place import Place, ask, open_http
from tests.scenarios.talker import Person, create_session, register, rest

pytestmark = pytest.mark.threat("T81", "T86")

NAMED = {operation.name: operation for operation in OPERATIONS}
MEMBERS_ONLY, UNKNOWN = "not_a_member", "not_found"
# Nothing listens there: what is read and what is refused does not ask it, and an answer that has
# failed is one that belongs to somebody.
SETTINGS = {"openai_model": "small", "openai_base_url": "http://127.0.0.1:9/v1"}


class Row(NamedTuple):
    """What to ask of somebody else's thing, beside its id, and the code that refuses it.

    An id is the name of its field and, behind a colon, of the thing where that is another one.
    Without a code there is nothing to refuse: nothing is left, nothing is found.
    """

    ids: tuple[str, ...]
    code: str | None
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed


IN_SESSION = ("sessionId",)
ON_MEMBER = ("sessionId", "userId")
IN_CONVERSATION = ("aiSessionId",)
ON_ANSWER = ("messageId:answerId",)
ON_FILE = ("fileId",)
PROMISE = {"fileName": "a.txt", "size": 8, "mimeType": "text/plain"}
ROWS = {
    "device-remove": Row(("deviceId",), UNKNOWN),
    "session-get": Row(IN_SESSION, MEMBERS_ONLY),
    "session-join": Row(IN_SESSION, MEMBERS_ONLY),
    "session-leave": Row(IN_SESSION, None),
    "session-update": Row(IN_SESSION, MEMBERS_ONLY, {"name": "mine"}),
    "session-delete": Row(IN_SESSION, MEMBERS_ONLY),
    "session-prefs": Row(IN_SESSION, MEMBERS_ONLY, {"muted": True}),
    "member-list": Row(IN_SESSION, MEMBERS_ONLY),
    "member-add": Row(ON_MEMBER, MEMBERS_ONLY),
    "member-update": Row(ON_MEMBER, MEMBERS_ONLY, {"role": "OWNER"}),
    "member-remove": Row(ON_MEMBER, MEMBERS_ONLY),
    "member-ban": Row(ON_MEMBER, MEMBERS_ONLY),
    "member-unban": Row(ON_MEMBER, MEMBERS_ONLY),
    "ban-list": Row(IN_SESSION, MEMBERS_ONLY),
    "invite-make": Row(IN_SESSION, MEMBERS_ONLY),
    "invite-list": Row(IN_SESSION, MEMBERS_ONLY),
    "invite-revoke": Row(("sessionId", "code"), MEMBERS_ONLY),
    "session-audit": Row(IN_SESSION, MEMBERS_ONLY),
    "message-send": Row(IN_SESSION, MEMBERS_ONLY, {"content": "hello"}),
    "message-history": Row(IN_SESSION, MEMBERS_ONLY),
    "message-edit": Row(("messageId",), UNKNOWN, {"content": "mine"}),
    "message-delete": Row(("messageId",), UNKNOWN),
    "message-react": Row(("messageId",), UNKNOWN, {"emoji": "x", "on": True}),
    "message-pin": Row(("messageId",), UNKNOWN, {"on": True}),
    "message-pins": Row(IN_SESSION, MEMBERS_ONLY),
    "message-revisions": Row(("messageId",), UNKNOWN),
    "message-read": Row(IN_SESSION, MEMBERS_ONLY, {"seq": 1}),
    "message-unread": Row(IN_SESSION, MEMBERS_ONLY, {"seq": 1}),
    "message-search": Row(IN_SESSION, None, {"q": "secret"}),
    "typing-start": Row(IN_SESSION, MEMBERS_ONLY),
    "typing-stop": Row(IN_SESSION, MEMBERS_ONLY),
    "api-token-create": Row(("botId",), UNKNOWN, {"name": "mine", "scopes": ["read"]}),
    "api-token-revoke": Row(("tokenId",), UNKNOWN),
    "bot-remove": Row(("userId:botId",), UNKNOWN),
    "ai-session-get": Row(IN_CONVERSATION, UNKNOWN),
    "ai-session-update": Row(IN_CONVERSATION, UNKNOWN, {"title": "mine"}),
    "ai-session-delete": Row(IN_CONVERSATION, UNKNOWN),
    "ai-message-list": Row(IN_CONVERSATION, UNKNOWN),
    "ai-send": Row(IN_CONVERSATION, UNKNOWN, {"content": "what did she ask?"}),
    "ai-retry": Row(ON_ANSWER, UNKNOWN),
    "ai-attach": Row(ON_ANSWER, UNKNOWN),
    "ai-follow": Row(ON_ANSWER, UNKNOWN),
    "ai-stop": Row(ON_ANSWER, UNKNOWN),
    "file-create": Row(IN_SESSION, MEMBERS_ONLY, PROMISE),
    "file-complete": Row(ON_FILE, UNKNOWN),
    "file-delete": Row(ON_FILE, UNKNOWN),
    "file-link": Row(ON_FILE, UNKNOWN),
    "file-read": Row(ON_FILE, UNKNOWN),
    "file-thumbnail": Row(ON_FILE, UNKNOWN),
    "user-update": Row(("avatarFileId:fileId",), UNKNOWN),
}
# What names something that is nobody's secret, or is the secret itself.
OPEN = {
    "avatar": "pictures of people are shown to all, as their names are",
    "user-get": "all accounts of a server are visible to all who have one",
    "users-status": "who is not in scope is told as OFFLINE, like nobody",
    "session-create": "names people, whom everybody sees",
    "invite-preview": "who has the code may look: 144 random bits",
    "invite-accept": "who has the code may come in",
    "sign-in-return": "the code is the issuer's, the state the browser's (T72)",
    "exchange": "the code is the browser's own, for one use (T72)",
    "login-totp": "the challenge is the secret of the login that it goes on with",
    "totp-confirm": "the code is of the caller's authenticator; nothing of another is named",
    "totp-recovery-codes": "as above",
    "totp-disable": "as above",
}


def names_something(operation: Operation) -> bool:
    schema = operation.command.model_json_schema()
    return '"format":"uuid"' in orjson.dumps(schema).decode() or "code" in schema["properties"]


def test_every_operation_that_names_something_has_a_row() -> None:
    naming = {name for name, operation in NAMED.items() if names_something(operation)}
    assert naming == set(ROWS) | set(OPEN)
    assert not set(ROWS) & set(OPEN)


@dataclass(frozen=True)
class Scene:
    """Ann's things by the names of their fields, ids of nothing, and somebody who wants them."""

    theirs: dict[str, str]
    nothing: dict[str, str]
    mallory: Person


@pytest.fixture(scope="module")
def scene(place: Place) -> Scene:
    """Make a private session with a message, a member and an invite, and a stranger to it."""

    async def settle() -> Scene:
        daemon, ann = place.daemon, place.ann
        ben = await register(daemon, "ben")
        session = await create_session(daemon, ann, ben)
        path = f"/chat/sessions/{session}"
        sent = await rest(daemon, "POST", f"{path}/messages", ann.token, {"content": "a secret"})
        made = await rest(daemon, "POST", f"{path}/invites", ann.token, {})
        devices = await ask(place, "GET", "/auth/devices", token=ann.token)
        asked = await ask_assistant(place)
        theirs = {
            "sessionId": session,
            "messageId": sent["message"]["id"],
            "userId": ben.id,
            "deviceId": devices.json["devices"][0]["id"],
            "code": made["invite"]["code"],
            "aiSessionId": asked["aiSessionId"],
            "questionId": asked["id"],
            "answerId": asked["answerId"],
            "fileId": await upload(place, session),
            **await make_bot(place),
        }
        nothing = {name: str(uuid4()) for name in theirs}
        return Scene(theirs, nothing, await register(daemon, "mallory"))

    return trio.run(settle)


async def ask_assistant(place: Place) -> dict[str, str]:
    """Let Ann ask a question, and wait until its answer has failed."""
    daemon, token = place.daemon, place.ann.token
    wishes = {"title": "a secret", "systemPrompt": "a secret"}
    talk = (await rest(daemon, "POST", "/ai/sessions", token, wishes))["aiSession"]["id"]
    path = f"/ai/sessions/{talk}/messages"
    sent = await rest(daemon, "POST", path, token, {"content": "a secret"})
    told = await ask(place, "GET", f"/ai/messages/{sent['messageId']}/stream", token=token)
    assert b"event: ai:error" in told.body
    question: dict[str, str] = sent["userMessage"]
    return question | {"answerId": sent["messageId"]}


async def upload(place: Place, session: str) -> str:
    """Let Ann put a file into a session."""
    daemon, token = place.daemon, place.ann.token
    made = await rest(daemon, "POST", "/files", token, {**PROMISE, "sessionId": session})
    url = urlsplit(made["upload"]["url"])
    head = [f"PUT {url.path}?{url.query} HTTP/1.1", "Host: localhost", "Content-Length: 8"]
    head += [f"{name}: {value}" for name, value in made["upload"].get("headers", {}).items()]
    async with open_http(place) as client:
        await client.send("\r\n".join([*head, "", "a secret"]).encode())
        assert (await client.read("PUT")).status < 300
    file_id: str = made["fileId"]
    await rest(daemon, "POST", f"/files/{file_id}/complete", token, {})
    return file_id


async def make_bot(place: Place) -> dict[str, str]:
    """Make a bot of Ann's, and a token of her own."""
    daemon, token = place.daemon, place.ann.token
    bot = await rest(daemon, "POST", "/users/me/bots", token, {"name": "a secret"})
    wishes = {"name": "a secret", "scopes": ["read"]}
    made = await rest(daemon, "POST", "/auth/tokens", token, wishes)
    return {"botId": bot["user"]["id"], "tokenId": made["apiToken"]["id"]}


def data_of(row: Row, ids: dict[str, str]) -> dict[str, Any]:
    named = (name.partition(":") for name in row.ids)
    return {field: ids[thing or field] for field, _, thing in named} | row.more


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize(
    ("name", "door"), [(name, door) for name in ROWS for door in doors_of(NAMED[name])]
)
async def test_what_is_not_ones_own_answers_as_what_does_not_exist(
    place: Place, scene: Scene, name: str, door: str
) -> None:
    operation, row = NAMED[name], ROWS[name]
    answers = []
    for ids in (scene.theirs, scene.nothing):
        answer = await doors_of(operation)[door](
            place, scene.mallory.token, operation, data_of(row, ids)
        )
        answers.append({name: value for name, value in answer.items() if name != "requestId"})
    assert answers[0] == answers[1]
    assert answers[0].get("code") == row.code


@pytest.mark.parametrize(
    ("name", "field", "more", "code"),
    [
        ("message-send", "replyToId", {"content": "x"}, UNKNOWN),
        ("message-history", "aroundId", {}, None),  # around nothing there is nothing
    ],
)
@pytest.mark.usefixtures("bystander")
async def test_a_session_of_ones_own_is_no_door_to_messages_of_others(
    place: Place, scene: Scene, name: str, field: str, more: dict[str, Any], code: str | None
) -> None:
    own = await create_session(place.daemon, scene.mallory)
    answers = []
    for ids in (scene.theirs, scene.nothing):
        data = {"sessionId": own, field: ids["messageId"], **more}
        answer = await by_ws(place, scene.mallory.token, NAMED[name], data)
        answers.append({name: value for name, value in answer.items() if name != "requestId"})
    assert answers[0] == answers[1]
    assert answers[0].get("code") == code
    assert not answers[0].get("messages")


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("thing", ["questionId", "messageId"])
@pytest.mark.parametrize("name", ["ai-retry", "ai-attach", "ai-follow", "ai-stop"])
async def test_what_is_no_answer_of_the_callers_is_none(
    place: Place, scene: Scene, name: str, thing: str
) -> None:
    """Neither a question of somebody's nor a message in a session is a way round."""
    data = {"messageId": scene.theirs[thing]}
    for door in doors_of(NAMED[name]).values():
        answer = await door(place, scene.mallory.token, NAMED[name], data)
        assert answer["code"] == UNKNOWN


@pytest.mark.usefixtures("bystander")
async def test_what_a_stranger_tried_has_changed_nothing(place: Place, scene: Scene) -> None:
    path = f"/chat/sessions/{scene.theirs['sessionId']}"
    page = (await ask(place, "GET", f"{path}/messages", token=place.ann.token)).json
    assert [message["content"] for message in page["messages"]] == ["a secret"]
    assert page["messages"][0].keys().isdisjoint({"editedAt", "reactions", "pinnedAt"})
    members = (await ask(place, "GET", f"{path}/members", token=place.ann.token)).json["members"]
    roles = {member["user"]["id"]: member["role"] for member in members}
    assert roles == {place.ann.id: "OWNER", scene.theirs["userId"]: "MEMBER"}
    devices = (await ask(place, "GET", "/auth/devices", token=place.ann.token)).json["devices"]
    assert [device["id"] for device in devices] == [scene.theirs["deviceId"]]


@pytest.mark.usefixtures("bystander")
async def test_what_a_stranger_tried_has_changed_no_conversation_token_bot_or_file(
    place: Place, scene: Scene
) -> None:
    async def read(path: str) -> Any:
        return (await ask(place, "GET", path, token=place.ann.token)).json

    talk = f"/ai/sessions/{scene.theirs['aiSessionId']}"
    assert (await read(talk))["aiSession"]["title"] == "a secret"
    messages = (await read(f"{talk}/messages"))["messages"]
    assert [each["id"] for each in messages] == [
        scene.theirs["questionId"],
        scene.theirs["answerId"],
    ]
    tokens = (await read("/auth/tokens"))["tokens"]
    assert [each["id"] for each in tokens] == [scene.theirs["tokenId"]]
    bots = (await read("/users/me/bots"))["bots"]
    assert [each["id"] for each in bots] == [scene.theirs["botId"]]
    link = await ask(place, "GET", f"/files/{scene.theirs['fileId']}/link", token=place.ann.token)
    assert link.status == 200
