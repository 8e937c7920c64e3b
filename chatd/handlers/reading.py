"""Read markers: forward by reading, back by hand (protocol.md section 4)."""

from __future__ import annotations

from chatd.context import Caller, MarkerMove, Services
from chatd.errors import NotAMember
from chatd.events.reading import MessageRead, MessageUnread
from chatd.handlers.operations import Operation, Route
from chatd.model import Position, dumps, position_dict
from chatd.rows import MarkerRow


async def read(services: Services, caller: Caller, command: MessageRead) -> bytes:
    """Move the caller's read marker forward and return where they now stand."""
    row = await services.store.mark_read(command.session_id, caller.user_id, command.seq)
    return _told(services, caller, row, is_marked=False, is_private=command.private)


async def unread(services: Services, caller: Caller, command: MessageUnread) -> bytes:
    """Mark a session unread, set the marker back, and return where the caller now stands."""
    row = await services.store.mark_unread(command.session_id, caller.user_id, command.seq)
    return _told(services, caller, row, is_marked=True, is_private=True)


def _told(
    services: Services,
    caller: Caller,
    row: MarkerRow | None,
    *,
    is_marked: bool,
    is_private: bool,
) -> bytes:
    """Tell those who are to hear of a marker, and return the answer.

    Raises:
        NotAMember: there is none.
    """
    if row is None:
        raise NotAMember
    if row.is_changed:
        move = MarkerMove(row, caller.user_id, services.now(), is_marked, is_private)
        services.readers.moved(move, by=caller.socket)
    return dumps(position_dict(row, services.epoch))


_PATH = "/chat/sessions/<uuid:session_id>"

OPERATIONS = (
    Operation(
        "message-read",
        MessageRead,
        Position,
        "Move the caller's read marker forward",
        run=read,
        is_for_unverified=True,
        event="message:read",
        route=Route("POST", _PATH + "/read"),
    ),
    Operation(
        "message-unread",
        MessageUnread,
        Position,
        "Mark a session unread from a message on",
        run=unread,
        is_for_unverified=True,
        event="message:unread",
        route=Route("POST", _PATH + "/unread"),
    ),
)
