"""TypeScript declarations of the wire, from the OpenAPI and AsyncAPI documents.

`python -m chatd.typescript > web/chatd.d.ts`. `ServerEvents` and `ClientEvents` are the type
parameters of the official client: `const socket: Socket<ServerEvents, ClientEvents> = io(…)`.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from chatd.asyncapi import asyncapi_document
from chatd.events.server import SERVER_EVENTS
from chatd.handlers.catalogue import OPERATIONS
from chatd.openapi import openapi_document
from chatd.schemas import Schema

_HEADER = """\
// What chatd's clients say and hear. Made from /asyncapi.json and /openapi.json by `make types`.

/** What an event is acknowledged with; clients branch on `error.code`. */
export type Ack<T> = ({ ok: true } & T) | { ok: false; error: Refusal };
"""
_NAME = re.compile(r"[A-Za-z_]\w*")
_PRIMITIVES = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


def declarations(asyncapi: dict[str, Any], openapi: dict[str, Any]) -> str:
    """Return a module with every shape and the two maps of events of the Socket.IO client."""
    schemas = openapi["components"]["schemas"] | asyncapi["components"]["schemas"]
    parts = [_HEADER, *(_interface(name, schemas[name]) for name in sorted(schemas))]
    messages = asyncapi["channels"]["socketio"]["messages"]
    framed = asyncapi["channels"]["ws"]["messages"]  # there an answer is one reference
    calls, pushes = [], []
    for name, message in messages.items():
        if name.endswith(".request"):
            told, _refused = framed[f"{name.removesuffix('request')}answer"]["payload"]["oneOf"]
            calls.append(_call(message, told["properties"]["data"]))
        elif name.endswith(".event"):
            pushes.append(_push(message))
    parts.append(_map("What a client emits.", "ClientEvents", calls))
    parts.append(_map("What the server emits.", "ServerEvents", pushes))
    return "\n".join(parts)


def _interface(name: str, schema: Schema) -> str:
    required, properties = schema.get("required", ()), schema.get("properties", {})
    fields = "".join(_field(key, properties[key], key in required) for key in properties)
    return f"{_comment(schema)}export interface {name} {{\n{fields}}}\n"


def _field(name: str, schema: Schema, is_required: bool) -> str:  # noqa: FBT001 - read at one place
    mark = "" if is_required else "?"
    return f"{_comment(schema, '  ')}  {_key(name)}{mark}: {_type(schema)};\n"


def _call(message: dict[str, Any], answer: Schema) -> str:
    ack = f"ack: (answer: Ack<{_type(answer)}>) => void"
    listener = f"(data: {_type(message['payload'])}, {ack}) => void"
    return f"  /** {message['summary']}. */\n  {_key(message['name'])}: {listener};\n"


def _push(message: dict[str, Any]) -> str:
    offset = ", offset: string" if message.get("x-chatd-offset") else ""
    listener = f"(data: {_type(message['payload'])}{offset}) => void"
    return f"  /** {message['summary']} */\n  {_key(message['name'])}: {listener};\n"


def _map(comment: str, name: str, lines: list[str]) -> str:
    return f"/** {comment} */\nexport interface {name} {{\n{''.join(lines)}}}\n"


def _type(schema: Schema) -> str:
    """Return the type of a JSON schema, as far as the wire's models use them."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(json.dumps(value) for value in values)
    if "anyOf" in schema:
        return " | ".join(_type(each) for each in schema["anyOf"])
    if schema["type"] == "array":
        return f"Array<{_type(schema['items'])}>"
    if schema["type"] == "object":
        fields = schema.get("additionalProperties", True)
        return f"Record<string, {_type(fields) if isinstance(fields, dict) else 'unknown'}>"
    return _PRIMITIVES[schema["type"]]


def _key(name: str) -> str:
    return name if _NAME.fullmatch(name) else json.dumps(name)


def _comment(schema: Schema, indent: str = "") -> str:
    text = " ".join(schema.get("description", "").split())
    return f"{indent}/** {text} */\n" if text else ""


if __name__ == "__main__":
    documents = asyncapi_document(OPERATIONS, SERVER_EVENTS), openapi_document(OPERATIONS)
    sys.stdout.write(declarations(*documents))
