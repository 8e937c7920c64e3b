"""The OpenAPI 3.1 document, from the same models that validate (https://spec.openapis.org)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from chatd import __version__
from chatd.errors import ChatError, MethodNotAllowed
from chatd.events.answers import ErrorAnswer
from chatd.handlers.operations import Operation
from chatd.schemas import Mode, Schemas, describe_models, first_line
from chatd.wire.http_refusals import (
    CodingNotImplemented,
    ExpectationFailed,
    UpgradeRequired,
    VersionNotSupported,
)

_PARAMETER = re.compile(r"<(?:uuid|string):(\w+)>")
# What asks for these is no call of an operation: another method, another protocol.
_ELSEWHERE = (
    MethodNotAllowed,
    ExpectationFailed,
    UpgradeRequired,
    CodingNotImplemented,
    VersionNotSupported,
)
_REQUEST_ID = {"required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"}}
_RETRY_AFTER = {"schema": {"type": "integer", "minimum": 1}, "description": "seconds"}
_TOO_MANY, _NOT_NOW = 429, 503


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of all operations that REST reaches."""
    routed = [operation for operation in operations if operation.route is not None]
    models: list[tuple[type[BaseModel], Mode]] = [(ErrorAnswer, "serialization")]
    for operation in routed:
        models.append((operation.command, "validation"))
        models += [] if operation.answer is None else [(operation.answer, "serialization")]
    schemas = describe_models(models)
    paths: dict[str, dict[str, Any]] = {}
    for operation in routed:
        assert operation.route is not None  # noqa: S101 - filtered above
        path = _PARAMETER.sub(lambda match: "{" + to_camel(match[1]) + "}", operation.route.path)
        method = operation.route.method.lower()
        paths.setdefault(path, {})[method] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chatd", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "responses": {
                _name(status): _refusal(status, codes, schemas)
                for status, codes in refusals().items()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _describe(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    assert operation.route is not None  # noqa: S101 - the caller has filtered
    in_path = [to_camel(name) for name in _PARAMETER.findall(operation.route.path)]
    schema = schemas.resolved(schemas.reference(operation.command, "validation"))
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            _parameter(name, "path", schema.get("properties", {})[name]) for name in in_path
        ],
        "responses": {
            str(operation.route.status): _answer(operation, schemas),
            **_refusals_of(operation, schemas),
        },
        "security": [{"bearer": []}] if operation.needs_login else [],
    }
    fields = {n: s for n, s in schema.get("properties", {}).items() if n not in in_path}
    required = [name for name in schema.get("required", ()) if name in fields]
    if operation.route.method in {"GET", "DELETE"} and not operation.route.takes_body:
        described["parameters"] += [
            _parameter(name, "query", field, is_required=name in required)
            for name, field in fields.items()
        ]
    elif fields:
        body = {
            "type": "object",
            "properties": fields,
            "required": required,
            "additionalProperties": False,
        }
        described["requestBody"] = {"required": bool(required), "content": _json(body)}
    return described


def refusals() -> dict[int, list[str]]:
    """Return the statuses with which any operation may be refused, and the codes of each."""
    found: dict[int, set[str]] = {}
    kinds = [ChatError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind not in _ELSEWHERE:
            found.setdefault(kind.status, set()).add(kind.code)
    return {status: sorted(codes) for status, codes in sorted(found.items())}


def _refusals_of(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    if not operation.is_page:
        return {str(s): {"$ref": f"#/components/responses/{_name(s)}"} for s in refusals()}
    return {str(s): _refusal(s, codes, schemas, is_page=True) for s, codes in refusals().items()}


def _name(status: int) -> str:
    return f"Refused{status}"


def _refusal(
    status: int, codes: list[str], schemas: Schemas, *, is_page: bool = False
) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": _REQUEST_ID}
    if status in {_TOO_MANY, _NOT_NOW}:
        headers["Retry-After"] = _RETRY_AFTER | {"required": status == _TOO_MANY}
    envelope = {
        "allOf": [schemas.reference(ErrorAnswer, "serialization")],
        "properties": {"error": {"properties": {"code": {"enum": codes}}}},
    }
    page = {"text/html": {"schema": {"type": "string"}}} if is_page else {}  # for people
    return {
        "description": f"Refused: {', '.join(codes)}",
        "headers": headers,
        "content": _json(envelope) | page,
    }


def _parameter(
    name: str, where: str, schema: dict[str, Any], *, is_required: bool = True
) -> dict[str, Any]:
    return {"name": name, "in": where, "required": is_required, "schema": schema}


def _answer(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    assert operation.route is not None  # noqa: S101 - the caller has filtered
    model = operation.answer
    if 300 <= operation.route.status < 400:  # noqa: PLR2004 - a redirect
        location = {"required": True, "schema": {"type": "string", "format": "uri"}}
        return {"description": operation.summary, "headers": {"Location": location}}
    if model is None:
        media = {operation.route.media: {"schema": {"type": "string", "format": "binary"}}}
        return {"description": operation.summary, "content": media}
    content = _json(schemas.reference(model, "serialization"))
    if operation.route.events:
        content |= {"text/event-stream": {"schema": {"type": "string"}}}
    return {"description": first_line(model), "content": content}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
