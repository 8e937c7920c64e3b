"""The documents of the wire: what they list, that they are valid, and the types made of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from trio.testing import MockClock

from chatd.asyncapi import asyncapi_document
from chatd.errors import ChatError
from chatd.events.answers import Refusal
from chatd.events.server import DURABLE_EVENTS, SERVER_EVENTS
from chatd.handlers.catalogue import OPERATIONS
from chatd.model import dumps
from chatd.openapi import openapi_document
from chatd.typescript import declarations
from tests.people import open_world
from tests.socketio_kit import Chatter, chatter, open_chat

ROOT = Path(__file__).parent.parent
JS = ROOT / "tests/js"
NODE_TIMEOUT = 60.0  # seconds for Node or tsc; the machine is shared
WITH_EVENT = {operation.name: operation.event for operation in OPERATIONS if operation.event}
WIRES = ("ws", "socketio")
Said = tuple[str, str, Any]

JsonObject = dict[str, Any]


def document() -> JsonObject:
    """Return the AsyncAPI document as clients read it."""
    read: JsonObject = orjson.loads(dumps(asyncapi_document(OPERATIONS, SERVER_EVENTS)))
    return read


def node(*arguments: str, given: bytes = b"") -> str:
    """Run Node beside the npm packages of the tests and return what it prints."""
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    program = shutil.which("node", path=path)
    assert program is not None, "there is no `node`: `make test` installs one"
    done = subprocess.run(
        [program, *arguments],
        check=False,  # what it prints tells
        cwd=JS,
        input=given,
        capture_output=True,
        timeout=NODE_TIMEOUT,
    )
    return (done.stdout + done.stderr).decode()


def judged(described: JsonObject, said: list[Said]) -> str:
    """Return what is wrong with a document and with what was said, nothing if all is well."""
    return node("asyncapi.mjs", given=orjson.dumps({"document": described, "said": said}))


def resolves(described: JsonObject, reference: str) -> bool:
    """Whether a reference names something in the document."""
    place: Any = described
    for part in reference.removeprefix("#/").split("/"):
        if part not in place:
            return False
        place = place[part]
    return True


def references(value: Any) -> set[str]:
    """Return every reference in a document."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(each) for each in value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


# What the documents list


@pytest.mark.parametrize("wire", WIRES)
def test_each_channel_lists_every_event_with_its_answer_and_nothing_else(wire: str) -> None:
    described = document()
    messages = described["channels"][wire]["messages"]
    assert {name: message["name"] for name, message in messages.items()} == {
        **{f"{name}.request": event for name, event in WITH_EVENT.items()},
        **{f"{name}.answer": event for name, event in WITH_EVENT.items()},
        **{f"{event.replace(':', '-')}.event": event for event in SERVER_EVENTS},
    }
    own = {name for name in described["operations"] if name.startswith(f"{wire}.")}
    assert own == {f"{wire}.{name}" for name in messages if not name.endswith(".answer")}


def test_the_daemon_receives_requests_replies_with_answers_and_sends_events() -> None:
    described = document()
    assert {name.partition(".")[0] for name in described["operations"]} == set(WIRES)
    for name, operation in described["operations"].items():
        wire, _, message = name.partition(".")
        channel = f"#/channels/{wire}"
        assert operation["channel"] == {"$ref": channel}
        assert operation["messages"] == [{"$ref": f"{channel}/messages/{message}"}]
        if operation["action"] == "send":
            assert message.endswith(".event")
        else:
            answer = message.removesuffix("request") + "answer"
            assert operation["reply"]["messages"] == [{"$ref": f"{channel}/messages/{answer}"}]


def test_every_operation_stands_in_the_document_of_each_wire_that_reaches_it() -> None:
    routed = {
        described["operationId"]
        for methods in openapi_document(OPERATIONS)["paths"].values()
        for described in methods.values()
    }
    heard = {
        name.removeprefix("ws.").removesuffix(".request")
        for name, operation in document()["operations"].items()
        if name.startswith("ws.") and operation["action"] == "receive"
    }
    for operation in OPERATIONS:
        assert (operation.name in routed) is (operation.route is not None)
        assert (operation.name in heard) is (operation.event is not None)
    assert routed | heard == {operation.name for operation in OPERATIONS}


def test_both_documents_mean_the_same_by_a_name() -> None:
    rest = openapi_document(OPERATIONS)["components"]["schemas"]
    sockets = asyncapi_document(OPERATIONS, SERVER_EVENTS)["components"]["schemas"]
    shared = set(rest) & set(sockets)
    assert {"Message", "Refusal", "SessionRef"} <= shared
    assert {name: rest[name] for name in shared} == {name: sockets[name] for name in shared}


def test_every_reference_of_the_document_names_something() -> None:
    described = document()
    assert {each for each in references(described) if not resolves(described, each)} == set()


@pytest.mark.parametrize("refusal", ChatError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_refusal_has_the_documented_shape_and_a_listed_code(refusal: type[ChatError]) -> None:
    told = refusal(details={"fields": []}, retry_after=0.5).to_wire("request-1")
    assert Refusal.model_validate(told).model_dump(by_alias=True) == told
    assert (
        told["code"] in document()["components"]["schemas"]["Refusal"]["properties"]["code"]["enum"]
    )


# What is durable, what has an offset


async def talk(somebody: Chatter, other_id: str) -> list[Said]:
    """Make every durable change there is, and a mistake; return the acks."""
    session_id = (await somebody.done("session:create", kind="GROUP", name="tea"))["session"]["id"]
    calls: list[tuple[str, JsonObject]] = [
        ("session-join", {}),
        ("message-send", {"content": "hello"}),
        ("session-update", {"name": "coffee"}),
        ("member-add", {"userId": other_id}),
        ("member-update", {"userId": other_id, "role": "ADMIN"}),
        ("member-remove", {"userId": other_id}),
        ("message-send", {"content": ""}),
    ]
    said: list[Said] = [
        (
            "socketio",
            f"{name}.answer",
            await somebody.ask(WITH_EVENT[name], sessionId=session_id, **data),
        )
        for name, data in calls
    ]
    message_id = said[1][2]["message"]["id"]
    changes: list[tuple[str, JsonObject]] = [
        ("message-edit", {"content": "hello again"}),
        ("message-react", {"emoji": "👍", "on": True}),
        ("message-pin", {"on": True}),
        ("message-delete", {}),
    ]
    for name, data in changes:
        answer = await somebody.ask(WITH_EVENT[name], messageId=message_id, **data)
        said.append(("socketio", f"{name}.answer", answer))
    return said


async def test_exactly_the_events_that_the_document_says_have_an_offset(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await chatter(world, await world.person("anna"))
        await talk(anna, str((await world.person("bert")).id))
        world.daemon.cut_all()
        await anna.heard()
    events = [orjson.loads(packet[2:]) for packet in anna.packets if packet.startswith("42")]
    with_offset = {name for name, *rest in events if isinstance(rest[-1], str)}
    assert with_offset < {name for name, *_rest in events}
    messages = document()["channels"]["socketio"]["messages"].values()
    assert {each["name"] for each in messages if "x-chatd-offset" in each} == with_offset
    assert with_offset - DURABLE_EVENTS == {"connection:ready"}


@pytest.mark.parametrize("wire", WIRES)
def test_durable_events_are_marked_on_both_wires(wire: str) -> None:
    messages = document()["channels"][wire]["messages"].values()
    assert {each["name"] for each in messages if "x-chatd-durable" in each} == DURABLE_EVENTS


# Validity


async def test_the_document_is_valid_and_what_is_said_on_both_wires_is_as_it_says(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        phone = await chatter(world, await world.person("anna"))
        said = await talk(phone, str((await world.person("bert")).id))
        assert [ack["ok"] for *_name, ack in said] == [True] * 6 + [False] + [True] * 4
        for packet in phone.packets:
            if packet.startswith("42"):
                name, payload, *_offset = orjson.loads(packet[2:])
                said.append(("socketio", f"{name.replace(':', '-')}.event", payload))
    async with open_world(tmp_path) as world, world.connect(await world.person("anna")) as socket:
        answer = await socket.answer(await socket.emit("session:list", limit=3))
        said.append(("ws", "session-list.answer", answer))
        refused = await socket.answer(await socket.emit("session:list", limit=0))
        said.append(("ws", "session-list.answer", refused))
        said.append(("ws", "session-list.request", {"event": "session:list"}))
    assert judged(document(), said) == ""


def test_what_is_not_as_the_document_says_is_found() -> None:
    wrong: list[Said] = [
        ("ws", "session-list.request", {"event": "session:lost"}),
        ("ws", "session-list.answer", {"id": 1, "ok": True, "data": {}}),
        ("socketio", "message-send.answer", {"ok": False, "error": {"code": "no_such"}}),
        ("socketio", "message-new.event", {"id": 1}),
    ]
    found = judged(document(), wrong)
    for wire, name, _payload in wrong:
        assert f"{wire} {name}" in found
    spoilt = document()
    spoilt["operations"]["ws.session-list.request"]["action"] = "sing"
    assert "session-list.request/action" in judged(spoilt, [])


# TypeScript


def test_the_types_of_the_repository_are_those_of_the_documents() -> None:
    types = declarations(document(), openapi_document(OPERATIONS))
    assert (ROOT / "web/chatd.d.ts").read_text() == types, "run `make types`"


def test_the_module_prints_the_types() -> None:
    command = [sys.executable, "-m", "chatd.typescript"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=NODE_TIMEOUT, check=True)
    assert done.stdout == (ROOT / "web/chatd.d.ts").read_bytes()


def test_a_front_end_compiles_with_the_official_client_and_its_mistakes_do_not() -> None:
    """The mistakes are those lines of `usage.ts` that expect an error."""
    assert node("node_modules/typescript/bin/tsc", "--project", ".") == ""
