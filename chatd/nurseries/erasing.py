"""The traces of accounts that have ended, removed bit by bit while everybody else goes on.

Every change goes through the journal, in its order among the messages, and holds a session for a
batch at most. What is left stands in the store: a daemon that was stopped goes on at its next
start, from the beginning of what it was at, which finds nothing where it was done.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from uuid import UUID

import structlog
import trio

from chatd.context import Journal, RoomEvent
from chatd.contract import Store
from chatd.contract.erasure import ErasedBatch, ErasureRow
from chatd.contract.own import OwnSessionRow
from chatd.errors import ChatError, StoreBug, StoreError
from chatd.model import dumps, user_dict
from chatd.nurseries.presence import Presence
from chatd.nurseries.typing import Typing
from chatd.payloads import member_event, replayed_event
from chatd.rows import MemberChange

BATCH = 50  # messages of one transaction: some ms in which their session takes no other change
SPAN = 2_000  # of `seq` looked through for them: a millisecond
PAGE = 100  # sessions of one read
BATCH_PAUSE = 0.02  # seconds between two of them: each stops the journal's lanes for its while
RETRY_PAUSE = 5.0  # seconds after the store or the journal would not take it

log = structlog.get_logger("chatd.erasing")


class Erasing:
    """See `chatd.context.Erasures`; made by `open_erasing`."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        presence: Presence,
        typing: Typing,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._journal = journal
        self._presence = presence
        self._typing = typing
        self._now = now
        self._arrived = trio.Event()

    def wake(self) -> None:
        """Look for a new one. See `chatd.context.Erasures`."""
        self._arrived.set()

    async def run(self) -> None:
        """Remove what is left of earlier starts, and then whatever comes, until cancelled."""
        while True:
            self._arrived = trio.Event()
            try:
                while rows := await self._store.open_erasures(1):
                    await self._erase(rows[0])
            except (StoreError, ChatError) as trouble:
                bug = trouble if isinstance(trouble, StoreBug) else None
                log.warning("erasure waits", error=type(trouble).__name__, exc_info=bug)
                await trio.sleep(RETRY_PAUSE)
            else:
                await self._arrived.wait()

    async def _erase(self, row: ErasureRow) -> None:
        users = await self._store.users_by_ids([row.user_id])
        nameless = dumps({"user": user_dict(users[0])})
        async with aclosing(self._sessions(row.user_id)) as sessions:
            async for session in sessions:
                ids = [session.session_id]
                self._presence.announce(row.user_id, ids, "user:updated", nameless)
                await self._leave(session.session_id, row.user_id)
        async with aclosing(self._sessions(row.user_id)) as sessions:
            async for session in sessions:
                await self._wipe(session, row)
        await self._store.finish_erasure(row.user_id, self._now())
        log.info("erased", user=str(row.user_id))

    async def _sessions(self, user_id: UUID) -> AsyncGenerator[OwnSessionRow, None]:
        after: UUID | None = None
        while rows := await self._store.own_sessions(user_id, after=after, limit=PAGE):
            for row in rows:
                yield row
            after = rows[-1].session_id

    async def _leave(self, session_id: UUID, user_id: UUID) -> None:
        async def work() -> tuple[None, Sequence[RoomEvent]]:
            changes = await self._store.erase_membership(session_id, user_id, at=self._now())
            size = changes[-1].size if changes else None
            self._typing.stop(session_id, user_id)
            self._presence.member_left(session_id, user_id, size)
            return None, [_event(change) for change in changes]

        await self._journal.change(work)

    async def _wipe(self, session: OwnSessionRow, row: ErasureRow) -> None:
        above = 0
        while above < session.seq:
            first = await self._store.next_erasable(
                session.session_id,
                row.user_id,
                deletes_messages=row.deletes_messages,
                above=above,
                span=SPAN,
            )
            if first is None:
                above += SPAN
            else:  # the journal waits for nothing but work
                above = (await self._wipe_batch(session.session_id, row, first - 1)).reached
                await trio.sleep(BATCH_PAUSE)

    async def _wipe_batch(self, session_id: UUID, row: ErasureRow, above: int) -> ErasedBatch:
        async def work() -> tuple[ErasedBatch, Sequence[RoomEvent]]:
            batch = await self._store.erase_messages(
                session_id,
                row.user_id,
                deletes_messages=row.deletes_messages,
                above=above,
                span=SPAN,
                limit=BATCH,
                at=self._now(),
            )
            events = []
            for message in batch.messages:
                name, payload = replayed_event(message, message.changed_seq - 1)
                events.append(RoomEvent(session_id, message.changed_seq, name, dumps(payload)))
            return batch, events

        return await self._journal.change(work)


def _event(change: MemberChange) -> RoomEvent:
    name, payload = member_event(change.member)
    removed = change.member.user_id if change.member.left_at is not None else None
    return RoomEvent(change.member.session_id, change.seq, name, dumps(payload), removed)


@asynccontextmanager
async def open_erasing(
    store: Store,
    journal: Journal,
    presence: Presence,
    typing: Typing,
    now: Callable[[], datetime],
) -> AsyncIterator[Erasing]:
    """Erase for the length of the block; what is not done is done after the next start."""
    async with trio.open_nursery() as nursery:
        erasing = Erasing(store, journal, presence, typing, now)
        nursery.start_soon(erasing.run)
        yield erasing
        nursery.cancel_scope.cancel(reason="the daemon stops")
