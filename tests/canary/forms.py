"""Inputs for any operation, good and bad, made from its command's JSON schema: each a canary."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from chatd.handlers.operations import Operation

Json = dict[str, Any]
PASSWORD = "password"


class Forms:
    """What people type into the fields of one operation.

    Args:
        operation: of the registry.
        mark: stands in every text, so that one search finds whatever leaks.
        ids: of things that are there, by the field that names them.
    """

    def __init__(self, operation: Operation, mark: str, ids: Json) -> None:
        schema: Json = operation.command.model_json_schema(by_alias=True)
        self._definitions: Json = schema.get("$defs", {})
        self._fields: Json = schema.get("properties", {})
        self._required: list[str] = schema.get("required", [])
        self._mark = mark
        self._ids = ids

    def good(self) -> Iterator[Json]:
        """Yield what should pass: all fields, those that are required, and each other one alone."""
        everything = {name: self._value(name, field) for name, field in self._fields.items()}
        needed = {name: everything[name] for name in self._required}
        yield everything
        yield needed
        for name in sorted(everything.keys() - needed.keys()):
            yield needed | {name: everything[name]}

    def bad(self) -> Iterator[Json]:
        """Yield what is refused: each field of a wrong type, of a wrong size; one too many."""
        needed = {name: self._value(name, self._fields[name]) for name in self._required}
        for name in self._fields:
            for wrong in ([self._mark], {"x": self._mark}, f"{self._mark} " * 3000, self._mark):
                yield needed | {name: wrong}
        yield needed | {"nobody": self._mark}

    def _value(self, name: str, field: Json) -> Any:
        if name in self._ids:
            return self._ids[name]
        if "$ref" in field:
            return self._value(name, self._definitions[field["$ref"].rpartition("/")[2]])
        for choice in (*field.get("anyOf", ()), *field.get("allOf", ())):
            if choice.get("type") != "null":
                return self._value(name, choice)
        if "enum" in field or "const" in field:
            return field.get("const", field.get("enum", [None])[0])
        return self._of_type(name, field)

    def _of_type(self, name: str, field: Json) -> Any:
        kind = field.get("type")
        if kind == "object":
            inner: Json = field.get("properties", {})
            return {key: self._value(key, each) for key, each in inner.items()}
        if kind == "array":
            return [self._value(name, field.get("items", {}))]
        if kind == "boolean":
            return True
        if kind in {"integer", "number"}:
            return field.get("minimum", 1)
        return self._text(name, field)

    def _text(self, name: str, field: Json) -> str:
        form = field.get("format")
        if form == "date-time":
            return (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        if form == "email":
            return f"{self._mark}@example.org"
        if "url" in name.lower():
            return f"https://example.org/{self._mark}"
        text = f"{self._mark} {name}" if field.get("pattern") is None else self._mark
        return text[: field.get("maxLength", len(text))]
