"""Sessions (chat rooms): open, list, join, leave, members (protocol.md section 3)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.context import Caller, Place, Services, Socket
from chatd.errors import (
    Conflict,
    NotAMember,
    Overloaded,
)
from chatd.events.answers import Nothing
from chatd.events.sessions import (
    Joined,
    SessionAnswer,
    SessionCreate,
    SessionJoin,
    SessionList,
    SessionPage,
    SessionRef,
    Since,
)
from chatd.handlers.access import visible
from chatd.handlers.cursors import cursor_of, read_cursor
from chatd.handlers.operations import Followed, Operation, Route
from chatd.handlers.refusals import missing, wrong
from chatd.ids import uuid7
from chatd.limits import Rate
from chatd.model import (
    dumps,
    member_dict,
    message_dict,
    session_dict,
    session_event,
    summary_dict,
)
from chatd.rows import JoinPage, SessionListRow, Size

JOIN_READS = 5  # times that a page is read again because the room was faster than the store


async def create(services: Services, caller: Caller, command: SessionCreate) -> bytes:
    """Open a session; asking again for a DIRECT one returns the one there is."""
    others = [user_id for user_id in dict.fromkeys(command.member_ids) if user_id != caller.user_id]
    if command.kind == "DIRECT" and not others:
        raise wrong("memberIds", "names nobody else: a DIRECT session is with somebody")
    try:
        session, is_new = await services.store.create_session(
            session_id=uuid7(),
            kind=command.kind,
            name=command.name,
            creator_id=caller.user_id,
            member_ids=others,
            at=services.now(),
        )
    except KeyError as unknown:
        raise missing("memberIds", f"no such user: {unknown.args[0]}") from None
    if is_new:
        size = Size(session.member_count, session.seq)
        services.presence.session_opened(session.id, [caller.user_id, *others], size)
        event = dumps(session_event(session, session.seq))
        for user_id in (caller.user_id, *others):
            services.sockets.tell(user_id, "session:updated", event, is_durable=True)
    return dumps({"session": session_dict(session)})


async def list_all(services: Services, caller: Caller, command: SessionList) -> bytes:
    """Return a page of the caller's sessions, latest activity first."""
    before = None if command.cursor is None else read_cursor(command.cursor)
    rows = await services.store.list_sessions(
        caller.user_id, before=before, limit=command.limit + 1
    )
    page = rows[: command.limit]
    cursor = cursor_of(*_position(page[-1])) if len(rows) > command.limit else None
    return dumps({"sessions": [summary_dict(row) for row in page], "nextCursor": cursor})


def _position(row: SessionListRow) -> tuple[datetime, UUID]:
    at = row.last_message.created_at if row.last_message else row.session.created_at
    return at, row.session.id


async def get(services: Services, caller: Caller, command: SessionRef) -> bytes:
    """Return one session."""
    session, _ = await visible(services, caller, command.session_id)
    return dumps({"session": session_dict(session)})


async def join(services: Services, caller: Caller, command: SessionJoin) -> Followed:
    """Receive a session's events on this socket: no gap, no duplicate (protocol.md section 3).

    Subscribes, reads the page in one snapshot, answers, and only then lets through what
    happened above it.
    """
    socket = caller.socket
    assert socket is not None  # noqa: S101 - needs_socket
    session_id = command.session_id
    is_full = len(socket.places) >= services.settings.max_joined_sessions
    if is_full and session_id not in socket.places:
        msg = "too many sessions joined on this socket"
        raise Conflict(msg)
    # Joining again leaves the stream as it is, also when the page cannot be read now.
    held = socket.places.get(session_id)
    place = held or services.rooms.enter(session_id, socket)
    socket.places[session_id] = place
    try:
        page = await _covered_page(services, caller, command, place, command.since)
        data = _joined(services, page)
        if command.since is not None and len(data) > services.settings.replay_bytes:
            page = await _covered_page(services, caller, command, place, None)
            data = _joined(services, page)
    except BaseException:
        if held is None:
            _give_back(socket, session_id, place)
        raise
    if command.since is not None:
        services.metrics.recoveries.labels(str(page.recovered).lower()).inc()
    return Followed(data, lambda: place.settle(page.session.seq))


async def _covered_page(
    services: Services,
    caller: Caller,
    command: SessionJoin,
    place: Place,
    since: Since | None,
) -> JoinPage:
    for _ in range(JOIN_READS):
        page = await services.store.join_page(
            command.session_id,
            caller.user_id,
            since=since.seq if since is not None and since.epoch == services.epoch else None,
            replay=services.settings.replay_events,
            limit=command.limit,
        )
        if page is None:
            raise NotAMember
        if caller.socket is None or caller.socket.places.get(command.session_id) is not place:
            raise NotAMember  # taken out while the page was read
        if place.covers(page.session.seq):
            return page
    raise Overloaded(retry_after=1)  # also when it joins again, and the session is never quiet


def _give_back(socket: Socket, session_id: UUID, place: Place) -> None:
    place.leave()
    if socket.places.get(session_id) is place:
        del socket.places[session_id]


def _joined(services: Services, page: JoinPage) -> bytes:
    session_id = page.session.id
    online = services.presence.online(session_id)
    crowd = {} if online is None else {"online": online}
    people = page.members if online is None else ()
    return dumps(
        {
            "sessionId": session_id,
            "epoch": services.epoch,
            "seq": page.session.seq,
            "recovered": page.recovered,
            "messages": [message_dict(row) for row in page.messages],
            "hasMore": page.has_more,
            "members": [member_dict(row) for row in page.members],
            "presence": services.presence.views((row.user_id, row.last_seen) for row in people),
            **crowd,
            "typing": services.typing.typers(session_id),
            "unreadCount": page.unread_count,
            "mentionCount": page.mention_count,
            "lastReadSeq": page.last_read_seq,
        }
    )


async def leave(services: Services, caller: Caller, command: SessionRef) -> bytes:
    """Stop a session's stream on this socket; the membership stays."""
    socket = caller.socket
    assert socket is not None  # noqa: S101 - needs_socket
    place = socket.places.pop(command.session_id, None)
    if place is not None:
        place.leave()
        services.typing.stop(command.session_id, caller.user_id)
    return b"{}"


_PATH = "/chat/sessions/<uuid:session_id>"

OPERATIONS = (
    Operation(
        "session-create",
        SessionCreate,
        SessionAnswer,
        "Open a session",
        run=create,
        event="session:create",
        route=Route("POST", "/chat/sessions", 201),
        rate=Rate(2, 20),
    ),
    Operation(
        "session-list",
        SessionList,
        SessionPage,
        "The caller's sessions, latest activity first",
        run=list_all,
        event="session:list",
        route=Route("GET", "/chat/sessions"),
    ),
    Operation(
        "session-get",
        SessionRef,
        SessionAnswer,
        "One session",
        run=get,
        event="session:get",
        route=Route("GET", _PATH),
    ),
    Operation(
        "session-join",
        SessionJoin,
        Joined,
        "Receive a session's events on this socket",
        run=join,
        is_for_unverified=True,
        event="session:join",
        needs_socket=True,
        rate=Rate(10, 500),  # a client that comes back joins all its sessions at once
    ),
    Operation(
        "session-leave",
        SessionRef,
        Nothing,
        "Stop a session's events on this socket",
        run=leave,
        is_for_unverified=True,
        event="session:leave",
        needs_socket=True,
    ),
)
