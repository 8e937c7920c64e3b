"""The AsyncAPI 3.0 document of both socket wires, from the models that validate.

https://www.asyncapi.com/docs/reference/specification/v3.0.0. The daemon is the application: it
*receives* an operation's event and replies with its answer, and *sends* its own events. Both wires
carry the same; only what stands around a payload differs, so each is a channel of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from chatd import __version__
from chatd.events.answers import Refusal
from chatd.events.server import DURABLE_EVENTS
from chatd.handlers.operations import Operation
from chatd.schemas import Mode, Schema, Schemas, describe_models, first_line

_GREETING = "connection:ready"  # has an offset too: who got nothing else can still come back
_ID: Schema = {"type": ["integer", "string"], "description": "the caller's choice, repeated"}
_REFUSAL: Schema = {"$ref": f"#/components/schemas/{Refusal.__name__}"}
_HOST = {"default": "localhost:8000", "description": "where the daemon is reached"}
_SERVERS = {
    "ws": {
        "host": "{host}",
        "variables": {"host": _HOST},
        "protocol": "ws",
        "protocolVersion": "13",
        "description": "JSON objects in text frames; `wss` behind TLS.",
        "security": [
            {"$ref": "#/components/securitySchemes/bearer"},
            {"$ref": "#/components/securitySchemes/firstFrame"},
        ],
    },
    "socketio": {
        "host": "{host}",
        "pathname": "/socket.io/",
        "variables": {"host": _HOST},
        "protocol": "socketio",
        "protocolVersion": "5",
        "description": "Engine.IO protocol 4: WebSocket, long-polling and the upgrade.",
        "security": [{"$ref": "#/components/securitySchemes/connect"}],
    },
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "firstFrame": {
        "type": "apiKey",
        "in": "password",
        "description": 'The first frame: `{"event": "auth", "data": {"token": "…"}}`.',
    },
    "connect": {
        "type": "apiKey",
        "in": "password",
        "description": "The access token at CONNECT: `io({auth: {token}})`.",
    },
}


@dataclass(frozen=True, slots=True)
class _Wire:
    """One channel, and what stands around a payload there.

    Attributes:
        call: of an event's name, the schema of its command, and whether that may be left out.
        answer: of the schema of an answer, as a reference and written out.
        push: of an event's name and the schema of its payload.
    """

    name: str
    address: str
    description: str
    call: Callable[[str, Schema, bool], Schema]
    answer: Callable[[Schema, Schema], Schema]
    push: Callable[[str, Schema], Schema]
    has_offsets: bool


def asyncapi_document(
    operations: Sequence[Operation], events: Mapping[str, type[BaseModel]]
) -> dict[str, Any]:
    """Return the document of all operations that sockets reach and of all events of the server."""
    reached = [operation for operation in operations if operation.event is not None]
    models: list[tuple[type[BaseModel], Mode]] = [(Refusal, "serialization")]
    for operation in reached:
        models.append((operation.command, "validation"))
        models += [] if operation.answer is None else [(operation.answer, "serialization")]
    models += [(model, "serialization") for model in events.values()]
    schemas = describe_models(models)
    channels, described = {}, {}
    for wire in (_PLAIN, _SOCKETIO):
        messages: dict[str, Any] = {}
        for operation in reached:
            described.update(_add_operation(messages, wire, operation, schemas))
        for event, model in events.items():
            described.update(_add_event(messages, wire, event, model, schemas))
        channels[wire.name] = {
            "address": wire.address,
            "description": wire.description,
            "servers": [{"$ref": f"#/servers/{wire.name}"}],
            "messages": messages,
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "chatd", "version": __version__, "license": {"name": "MIT"}},
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": channels,
        "operations": described,
        "components": {"schemas": schemas.definitions, "securitySchemes": _SECURITY},
    }


def _add_operation(
    messages: dict[str, Any], wire: _Wire, operation: Operation, schemas: Schemas
) -> dict[str, Any]:
    """Add an operation's two messages and return how they belong together."""
    assert operation.event is not None  # noqa: S101 - the caller has filtered
    request, answer = f"{operation.name}.request", f"{operation.name}.answer"
    command = schemas.reference(operation.command, "validation")
    is_optional = not schemas.resolved(command).get("required")
    messages[request] = {
        "name": operation.event,
        "summary": operation.summary,
        "payload": wire.call(operation.event, command, is_optional),
    }
    told = {"type": "object", "properties": {}}
    if operation.answer is not None:
        told = schemas.reference(operation.answer, "serialization")
    messages[answer] = {
        "name": operation.event,
        "summary": first_line(operation.answer),
        "payload": wire.answer(told, schemas.resolved(told)),
    }
    return {
        f"{wire.name}.{request}": {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{wire.name}"},
            "summary": operation.summary,
            "messages": [_message(wire, request)],
            "reply": {
                "channel": {"$ref": f"#/channels/{wire.name}"},
                "messages": [_message(wire, answer)],
            },
        }
    }


def _add_event(
    messages: dict[str, Any], wire: _Wire, event: str, model: type[BaseModel], schemas: Schemas
) -> dict[str, Any]:
    """Add the message of an event of the server and return that the server sends it."""
    name = f"{event.replace(':', '-')}.event"
    payload = schemas.reference(model, "serialization")
    described: dict[str, Any] = {
        "name": event,
        "summary": first_line(model),
        "payload": wire.push(event, payload),
    }
    is_durable = event in DURABLE_EVENTS
    if is_durable:
        described["x-chatd-durable"] = True
    if wire.has_offsets and (is_durable or event == _GREETING):
        described["x-chatd-offset"] = True
    messages[name] = described
    return {
        f"{wire.name}.{name}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{wire.name}"},
            "summary": described["summary"],
            "messages": [_message(wire, name)],
        }
    }


def _message(wire: _Wire, name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{wire.name}/messages/{name}"}


def _object(properties: dict[str, Schema], optional: Sequence[str] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _framed_call(event: str, command: Schema, is_optional: bool) -> Schema:  # noqa: FBT001 - as _Wire
    optional = ["id", "data"] if is_optional else ["id"]
    return _object({"event": {"const": event}, "id": _ID, "data": command}, optional)


def _framed_answer(answer: Schema, _resolved: Schema) -> Schema:
    unnamed = _ID | {"type": [*_ID["type"], "null"]}
    return {
        "oneOf": [
            _object({"id": _ID, "ok": {"const": True}, "data": answer}),
            _object({"id": unnamed, "ok": {"const": False}, "error": _REFUSAL}),
        ]
    }


def _framed_push(event: str, payload: Schema) -> Schema:
    return _object({"event": {"const": event}, "data": payload})


def _flat_call(_event: str, command: Schema, _is_optional: bool) -> Schema:  # noqa: FBT001 - as _Wire
    return command


def _flat_answer(_answer: Schema, resolved: Schema) -> Schema:
    fields = resolved.get("properties", {})
    absent = [name for name in fields if name not in resolved.get("required", ())]
    return {
        "oneOf": [
            _object({"ok": {"const": True}} | fields, absent),
            _object({"ok": {"const": False}, "error": _REFUSAL}),
        ]
    }


def _flat_push(_event: str, payload: Schema) -> Schema:
    return payload


_PLAIN = _Wire(
    name="ws",
    address="/ws",
    description="A request without an `id` is answered only when it is refused.",
    call=_framed_call,
    answer=_framed_answer,
    push=_framed_push,
    has_offsets=False,
)
_SOCKETIO = _Wire(
    name="socketio",
    address="/",
    description=(
        "The namespace. A payload is the one argument of its event, a reply the one argument of"
        " the ack. A message with `x-chatd-offset` has a second argument, the offset, a string."
    ),
    call=_flat_call,
    answer=_flat_answer,
    push=_flat_push,
    has_offsets=True,
)
