"""Mentions: who is told, and who could not be (protocol.md section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from chatd.ai_rows import ASSISTANT_ID
from chatd.context import Services
from chatd.model import dumps
from chatd.payloads import mention_event
from chatd.prompts import asks_assistant
from chatd.rows import Mentions, MessageRow, NewMessage


def unique(mentions: list[UUID] | str) -> Mentions:
    """Return who is to be mentioned, nobody twice."""
    return "ALL" if isinstance(mentions, str) else tuple(dict.fromkeys(mentions))


def ignored(wanted: Mentions | None, row: MessageRow) -> list[UUID]:
    """Return those whom a message was to mention and does not: they are no members."""
    if not wanted or wanted == "ALL" or row.mentions == "ALL":
        return []
    return [user_id for user_id in wanted if user_id not in (row.mentions or ())]


def calls_assistant(message: NewMessage) -> bool:
    """Return whether a message asks the assistant: it mentions that user, or says `@ai`."""
    is_named = message.mentions != "ALL" and ASSISTANT_ID in message.mentions
    return is_named or asks_assistant(message.content)


def notify(services: Services, row: MessageRow, told: Iterable[UUID]) -> None:
    """Tell the live sockets of those whom a committed message mentions; a hint, told once."""
    data = dumps(mention_event(row))
    for user_id in told:
        services.sockets.tell(user_id, "notification:new", data)
