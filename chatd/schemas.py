"""JSON schemas of the wire's models, as the OpenAPI and the AsyncAPI document hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]

_PREFIX = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas of a document's models; `definitions` stands at `components/schemas`."""

    definitions: dict[str, Schema]
    _references: dict[tuple[type[BaseModel], Mode], Schema]

    def reference(self, model: type[BaseModel], mode: Mode) -> Schema:
        """Return the reference to a model as clients send it, or as they are sent it."""
        return self._references[model, mode]

    def resolved(self, schema: Schema) -> Schema:
        """Return the definition that a reference names; what is no reference stays."""
        name = schema.get("$ref", "").removeprefix(_PREFIX)
        return self.definitions[name] if name else schema


def describe_models(models: Iterable[tuple[type[BaseModel], Mode]]) -> Schemas:
    """Return the schemas of models and of all that they hold, sorted by name."""
    pairs = sorted(set(models), key=lambda pair: (pair[0].__name__, pair[1]))
    references, schemas = models_json_schema(pairs, ref_template=_PREFIX + "{model}")
    definitions = dict(sorted(schemas.get("$defs", {}).items()))
    return Schemas(definitions, {pair: references[pair] for pair in pairs})


def first_line(model: type[BaseModel] | None) -> str:
    """Return what a model says of itself, in one line."""
    return "Done" if model is None else (model.__doc__ or "Done").split("\n", 1)[0]
