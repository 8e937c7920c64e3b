"""Search in the messages that the caller may read (protocol.md section 4)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import trio

from chatd.context import Caller, Services
from chatd.errors import DeadlineExceeded, NotSetUp
from chatd.events.search import MessageSearch, SearchPage
from chatd.folding import snippet_of, words_of
from chatd.handlers.cursors import cursor_of, read_cursor
from chatd.handlers.operations import Operation, Route
from chatd.limits import Rate
from chatd.model import dumps, message_dict
from chatd.rows import MessageRow

_NIL = UUID(int=0)


async def search(services: Services, caller: Caller, command: MessageSearch) -> bytes:
    """Return a page of messages that hold all words, newest first.

    Raises:
        DeadlineExceeded: it takes longer than `search_timeout`, the wait for a turn included.
        Overloaded: too many others search.
        NotSetUp: messages are encrypted at rest.
    """
    if not services.is_searchable():
        msg = "messages are encrypted at rest at this server: they cannot be searched"
        raise NotSetUp(msg)
    rows = await _found(services, caller, command)
    page = rows[: command.limit]
    words = words_of(command.q)
    results = []
    for row in page:
        snippet = snippet_of(row.content, words)
        results.append({"message": message_dict(row), "snippet": snippet._asdict()})
        await trio.lowlevel.checkpoint()  # a text of 16,384 letters takes some ms
    last = page[-1] if len(rows) > command.limit else None
    cursor = None if last is None else cursor_of(last.created_at, last.id)
    return dumps({"results": results, "nextCursor": cursor})


async def _found(services: Services, caller: Caller, command: MessageSearch) -> list[MessageRow]:
    before = _before(command)
    timeout = services.settings.search_timeout
    with trio.move_on_after(timeout):
        async with services.searches.turn():
            return await services.store.search(
                caller.user_id,
                command.q,
                session_id=command.session_id,
                sender_id=command.sender,
                since=command.after,
                before=before,
                limit=command.limit + 1,
            )
    msg = f"the search took more than {timeout:g} s: try longer words, one session or less time"
    raise DeadlineExceeded(msg)


def _before(command: MessageSearch) -> tuple[datetime, UUID] | None:
    """Return the lower of the two upper bounds, the cursor and `before`."""
    bounds = []
    if command.cursor is not None:
        bounds.append(read_cursor(command.cursor))
    if command.before is not None:
        bounds.append((command.before, _NIL))
    return min(bounds, default=None)


OPERATIONS = (
    Operation(
        "message-search",
        MessageSearch,
        SearchPage,
        "Messages that hold all words, newest first, in the caller's sessions",
        run=search,
        event="message:search",
        route=Route("GET", "/chat/search"),
        rate=Rate(2, 4),  # two at once and two that are typed meanwhile
    ),
)
