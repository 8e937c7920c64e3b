"""What a client that comes back has missed, from the store, and its places behind that."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from chatd.context import Place, RoomEvent, Services
from chatd.nurseries.chat_socket import ChatSocket
from chatd.nurseries.rooms import events_of

PAGE_READS = 5  # times that a page is read again because the room was faster than the store


class Missed(NamedTuple):
    """What a client that came back did not get, and where its places settle behind it."""

    events: list[RoomEvent]
    removed: list[UUID]  # sessions that it is no longer in
    settled: list[tuple[Place, int]]


async def catch_up(
    services: Services, chat: ChatSocket, positions: dict[UUID, int], gone: set[UUID]
) -> Missed | None:
    """Take a place in each session, and read what is above its position.

    Membership is what it is now: a session that the user has left is told as removed, also one of
    `gone`, of which the client may not have heard. None when more was missed than is given at once.

    Raises:
        StoreError: the store is away.
    """
    missed = Missed([], [], [])
    for session_id in positions:
        chat.places[session_id] = services.rooms.enter(session_id, chat)
    heads = await services.store.memberships(chat.user_id, [*positions, *gone])
    missed.removed.extend(session_id for session_id in gone if session_id not in heads)
    size = 0
    for session_id, seq in positions.items():
        place, head = chat.places[session_id], heads.get(session_id)
        read = None
        if head is not None:
            read = await _read(services, place, session_id, seq, head)
            if read is None:
                return None
        if read is None or any(event.removed == chat.user_id for event in read[0]):
            chat.drop_place(session_id)
            missed.removed.append(session_id)
            continue
        missed.events.extend(read[0])
        missed.settled.append((place, read[1]))
        size += sum(len(event.data) for event in read[0])
        if size > services.settings.replay_bytes:
            return None
    return missed


async def _read(
    services: Services, place: Place, session_id: UUID, seq: int, head: int
) -> tuple[list[RoomEvent], int] | None:
    """Return the events above `seq` and how far they reach; None when they are too many."""
    if head == seq and place.covers(seq):
        return [], seq
    limit = services.settings.replay_events
    for _ in range(PAGE_READS):
        page = await services.store.changes_since(session_id, seq, limit)
        if not page.is_complete:
            return None
        if place.covers(page.seq):
            return events_of(page, seq), page.seq
    return None
