"""Every field of every operation, with what no client would send: refused or taken, never a bug.

Over the sockets, where JSON comes as it is: what schemathesis is for REST. At the end the daemon
must have logged no error, which `open_place` checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
import trio

from chatd.handlers.catalogue import BY_EVENT
from chatd.handlers.operations import Operation
from tests.hostile.engine import Engine, open_session
from tests.hostile.place import PATIENCE, Place
from tests.scenarios.talker import Person, create_session, register, rest
from tests.scenarios.wire import CLOSE, TEXT, Wire, frame, open_wire

pytestmark = [pytest.mark.threat("T24", "T88"), pytest.mark.usefixtures("bystander")]

TEXTS = ["", "\0", "a\0b", "\x1b[31m", "\u202e", "\ufffe", "\U0010ffff", "'\"\\%_;--", "x" * 50_000]
TEXTS += ["\u0316\u0300" * 8000, "\ufdfa" * 500, "{}", "null", "../../etc/passwd", "${jndi:x}"]
TIMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "now"]
NUMBERS = [-1, 0, 2**31, 2**53, 2**63, 2**64, -(2**63), 0.5, 1e300]
OTHERS: list[Any] = [
    None,
    True,
    [],
    {},
    [[]],
    {"a": {"b": []}},
    [None],
    ["x"] * 1000,
    [str(uuid4())] * 300,
]
HALF = "\ud83d"  # of an emoji: JavaScript sends that, over Socket.IO it is understood
VALUES = [*TEXTS, *TIMES, *NUMBERS, *OTHERS]
# What ends the socket itself, or the account's other sockets.
LEFT_OUT = {"auth:refresh"}


def sample(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return a value that a schema takes, more or less."""
    if "$ref" in schema:
        return sample(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return sample(schema[several][0], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" in schema:
        required = schema.get("required", [])
        return {name: sample(schema["properties"][name], definitions) for name in required}
    if schema.get("format") == "uuid":
        return str(uuid4())
    return {"integer": schema.get("minimum", 1), "boolean": True, "array": []}.get(
        schema.get("type", ""), "x"
    )


def commands(operation: Operation, own: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield commands of an operation, each with one field that is wrong."""
    schema = operation.command.model_json_schema()
    base = sample(schema, schema.get("$defs", {}))
    base |= {name: own[name] for name in own if name in schema["properties"]}
    yield base
    for name in schema["properties"]:
        for value in VALUES:
            yield base | {name: value}


@pytest.fixture(scope="module")
def eve(place: Place) -> tuple[Person, dict[str, str]]:
    """Return somebody with a session and a message of their own."""

    async def settle() -> tuple[Person, dict[str, str]]:
        eve = await register(place.daemon, "eve")
        session = await create_session(place.daemon, eve)
        path = f"/chat/sessions/{session}/messages"
        sent = await rest(place.daemon, "POST", path, eve.token, {"content": "x"})
        return eve, {"sessionId": session, "messageId": sent["message"]["id"]}

    return trio.run(settle)


async def codes_of(wire: Wire, requests: dict[int, dict[str, Any]]) -> dict[int, str]:
    """Read until everything is answered; return the code of each refusal, "" of an answer."""
    codes: dict[int, str] = {}
    while len(codes) < len(requests):
        found = await wire.frames()
        assert found is not None, f"the connection has ended after {len(codes)} answers"
        for one in found:
            assert one.opcode != CLOSE, one
            said = json.loads(one.payload) if one.opcode == TEXT else {}
            if said.get("id") in requests:
                codes[said["id"]] = "" if said["ok"] else said["error"]["code"]
    return codes


@pytest.mark.parametrize("event", sorted(BY_EVENT.keys() - LEFT_OUT))
async def test_no_value_of_any_field_is_a_bug(
    place: Place, eve: tuple[Person, dict[str, str]], event: str
) -> None:
    person, own = eve
    requests = dict(zip(count(1), commands(BY_EVENT[event], own), strict=False))
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire, trio.open_nursery() as nursery:
            await wire.upgrade(person.token)
            frames = b"".join(
                frame(json.dumps({"event": event, "id": id_, "data": data}).encode())
                for id_, data in requests.items()
            )
            nursery.start_soon(wire.send, frames)
            codes = await codes_of(wire, requests)
    assert {id_: requests[id_] for id_, code in codes.items() if code == "internal"} == {}


async def is_no_bug(engine: Engine, event: str, data: dict[str, Any]) -> bool:
    said = await engine.ask(event, data)
    return bool(said["ok"]) or said["error"]["code"] != "internal"


@pytest.mark.parametrize("event", sorted(BY_EVENT.keys() - LEFT_OUT))
async def test_half_an_emoji_in_any_field_is_no_bug(
    place: Place, eve: tuple[Person, dict[str, str]], event: str
) -> None:
    person, own = eve
    operation = BY_EVENT[event]
    base = next(commands(operation, own))
    async with open_session(place, person.token) as engine:
        for name in operation.command.model_json_schema()["properties"]:
            for value in (HALF, f"x{HALF}", [HALF], {HALF: HALF}):
                await engine.send(f"4277{json.dumps([event, base | {name: value}])}")
                [said] = json.loads((await engine.until("4377["))[4:])
                assert said["ok"] or said["error"]["code"] != "internal", (name, value)
