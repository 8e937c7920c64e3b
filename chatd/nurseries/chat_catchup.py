"""What a client that comes back has missed, from the store, and its places behind that."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from chatd.context import EVERYBODY, Place, RoomEvent, Services
from chatd.nurseries.chat_socket import ChatSocket
from chatd.nurseries.rooms import end_of, events_of

PAGE_READS = 5  # times that a page is read again because the room was faster than the store


class Page(NamedTuple):
    """The events of one session, and how far they reach."""

    events: list[RoomEvent]
    seq: int


class Missed(NamedTuple):
    """What a client that came back did not get, and where its places settle behind it."""

    events: list[RoomEvent]
    removed: list[UUID]  # sessions that it is no longer in
    settled: list[tuple[Place, int]]


async def catch_up(
    services: Services, chat: ChatSocket, positions: dict[UUID, int], gone: set[UUID]
) -> Missed | None:
    """Take a place in each session, and read what is above its position.

    When it returns, every place joins what was read: a page that was overtaken while others were
    read is read again. Membership is what it is now: a session that the user has left is told as
    removed, also one of `gone`, of which the client may not have heard. None when more was missed
    than is given at once.

    Raises:
        StoreError: the store is away.
    """
    for session_id in positions:
        chat.places[session_id] = services.rooms.enter(session_id, chat)
    heads = await services.store.memberships(chat.user_id, [*positions, *gone])
    removed = [session_id for session_id in (*positions, *gone) if session_id not in heads]
    pages = {
        session_id: Page([], seq) if heads[session_id] == seq else None
        for session_id, seq in positions.items()
        if session_id in heads
    }
    for _ in range(PAGE_READS):
        stale = [
            session_id
            for session_id, page in pages.items()
            if page is None or not chat.places[session_id].covers(page.seq)
        ]
        if not stale:
            return _missed(services, chat, pages, removed)
        for session_id in stale:
            pages[session_id] = page = await _read(services, session_id, positions[session_id])
            if page is None:
                return None
    return None


async def _read(services: Services, session_id: UUID, seq: int) -> Page | None:
    """Return what is above `seq`; None when it is too much."""
    changes = await services.store.changes_since(session_id, seq, services.settings.replay_events)
    if changes.session is None:  # deleted while pages were read
        return Page([end_of(session_id, seq)], seq + 1)
    return Page(events_of(changes, seq), changes.seq) if changes.is_complete else None


def _missed(
    services: Services, chat: ChatSocket, pages: dict[UUID, Page | None], removed: list[UUID]
) -> Missed | None:
    missed = Missed([], removed, [])
    for session_id, page in pages.items():
        assert page is not None  # noqa: S101 - every place is covered
        ends = [
            n for n, event in enumerate(page.events) if event.removed in {chat.user_id, EVERYBODY}
        ]
        if ends:  # removed while pages were read: nothing behind that is theirs
            is_told = page.events[ends[0]].removed != EVERYBODY
            missed.events.extend(page.events[: ends[0] + is_told])
            removed.append(session_id)
            continue
        missed.events.extend(page.events)
        missed.settled.append((chat.places[session_id], page.seq))
    for session_id in removed:
        chat.drop_place(session_id)
    size = sum(len(event.data) for event in missed.events)
    return missed if size <= services.settings.replay_bytes else None
