"""What daemons say to each other beside events: JSON, in order, with a hole that shows.

What must not be lost is numbered by its sender. Its beat, every second, tells how far it has come:
whoever is behind by then has lost something, and makes up for it (`chatd.nurseries.healing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import orjson

from chatd.model import dumps
from chatd.nurseries.backplane import Backplane
from chatd.wire.cluster import BadFrame

Message = Mapping[str, Any]
Hear = Callable[[str, Message], None]
"""Takes sender and message; what of it is missing or of another type may raise as it likes."""
Counted = Callable[[str, int], bool]
"""Told sender and number of a message; returns whether it is new."""


class Control:
    """Says and hears; kinds are registered with `on` before anything is heard.

    Args:
        backplane: which carries it.
    """

    def __init__(self, backplane: Backplane) -> None:
        self._backplane = backplane
        self._hearers: dict[str, Hear] = {}
        self.said = 0  # numbered messages
        self.counted: Counted = _anything

    def on(self, kind: str, hear: Hear) -> None:
        """Give messages of a kind to a callable."""
        self._hearers[kind] = hear

    def say(self, kind: str, **fields: object) -> None:
        """Say something that nobody may miss."""
        self.said += 1
        self._backplane.say(dumps({"k": kind, "n": self.said, **fields}))

    def mention(self, kind: str, **fields: object) -> None:
        """Say something that others can do without."""
        self._backplane.say(dumps({"k": kind, **fields}))

    def say_to(self, tag: str, kind: str, **fields: object) -> bool:
        """Say something to one daemon; False: it is dropped."""
        return self._backplane.say_to(tag, dumps({"k": kind, **fields}))

    def hear(self, sender: str, body: bytes) -> None:
        """Give a message to whom it concerns.

        Raises:
            BadFrame: it has not the shape of its kind.
        """
        try:
            message = orjson.loads(body)
            kind, number = message["k"], message.get("n")
            if number is not None and not self.counted(sender, int(number)):
                return  # said before
            hearer = self._hearers.get(kind)
            if hearer is not None:  # else it is of a newer chatd
                hearer(sender, message)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as trouble:
            msg = f"not the shape of its kind: {trouble!r}"
            raise BadFrame(msg) from None


def _anything(sender: str, number: int) -> bool:
    del sender, number
    return True


def ids_of(values: Any) -> list[UUID]:
    """Return ids that a message names."""
    return [UUID(each) for each in values]


def id_or_none(value: Any) -> UUID | None:
    """Return an id that a message names, or none."""
    return None if value is None else UUID(value)
