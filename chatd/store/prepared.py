"""The statements of the store as PostgreSQL takes them, each taken apart once.

A cursor of psycopg does for every call what is the same each time: it looks for the parameters in
the text, for a plan by it, and makes objects for the rows to come. `Connection.fetch` does without:
parameters to bytes, one message to the server, rows from bytes. A call takes 42 µs instead of 71,
and the first one after a pause saves twice that, because so much less code has to come back into
the processor's caches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import trio_asyncio  # noqa: F401 - before psycopg, see driver.py

from psycopg import ProgrammingError  # isort: skip
from psycopg.adapt import PyFormat  # isort: skip

_PARAMETER = re.compile(r"%\((\w+)\)([sbt])")
_FORMATS = {"s": PyFormat.AUTO, "b": PyFormat.BINARY, "t": PyFormat.TEXT}


class Text(NamedTuple):
    """A statement as the server takes it, and its parameters in the server's order."""

    sql: bytes
    names: tuple[str, ...]
    formats: tuple[PyFormat, ...]

    def values(self, params: Mapping[str, Any]) -> list[Any]:
        """Return the values of the parameters.

        Raises:
            psycopg.ProgrammingError: one is missing.
        """
        try:
            return [params[name] for name in self.names]
        except KeyError as missing:
            raise ProgrammingError(f"a parameter is missing: {missing}") from None


@cache
def text_of(statement: str) -> Text:
    """Return a statement written for psycopg: parameters are `%(name)s`, a percent sign is `%%`.

    What it returns is kept for ever: statements are the code's, not made of anybody's input.
    """
    formats = {name: _FORMATS[letter] for name, letter in _PARAMETER.findall(statement)}
    places = {name: f"${place}" for place, name in enumerate(formats, 1)}
    sql = _PARAMETER.sub(lambda match: places[match[1]], statement).replace("%%", "%")
    return Text(sql.encode(), tuple(formats), tuple(formats.values()))
