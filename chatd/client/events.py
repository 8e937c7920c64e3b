"""Small values of the live connection."""

from __future__ import annotations

from dataclasses import dataclass

from chatd.client.errors import JsonObject


@dataclass(frozen=True)
class Event:
    """What the server pushed."""

    name: str
    data: JsonObject


@dataclass(frozen=True)
class Position:
    """How far a session's changes were seen: what `session:join` takes as `since`."""

    epoch: str
    seq: int
