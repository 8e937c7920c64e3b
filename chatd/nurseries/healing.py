"""What a daemon does when something of the others may be lost: it asks the database, and Redis.

After Redis was away, and after a hole in what a daemon has said: logins that were ended meanwhile,
memberships and statuses of people who are here, how far sessions are, who is elsewhere. While Redis
is away logins are looked at all the time, so that one that is ended is not good for longer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
import trio

from chatd.contract import Store
from chatd.errors import CloseCode, StoreError
from chatd.metrics import Metrics
from chatd.model import dumps, session_event
from chatd.nurseries.elsewhere import Elsewhere
from chatd.nurseries.first_states import MAX_POSITIONS
from chatd.nurseries.heads import Heads
from chatd.nurseries.nodes import Nodes
from chatd.nurseries.presence import Presence
from chatd.nurseries.presence_elsewhere import PeopleElsewhere
from chatd.nurseries.presence_user import Manual
from chatd.nurseries.redis_link import RedisAway
from chatd.nurseries.sockets import Sockets
from chatd.payloads import removed_event
from chatd.rows import PositionRow, Role, SessionRow, Size, UserRow

AWAY_INTERVAL = 3.0  # seconds between two looks at ended logins while Redis is away
PAUSE = 1.0  # seconds between two healings: holes come in crowds
MAX_PAUSE = 8.0  # seconds: twice as long after each that failed, for it reads everybody who is here
JITTER = 0.3  # seconds: not all daemons at once
MARGIN = 150.0  # seconds: of clocks that differ, and of a transaction that commits late
BATCH = 100  # users of one read

log = structlog.get_logger("chatd.cluster")


class Healing:
    """Makes up for what was lost; `run` and `look_while_away` are tasks.

    Args:
        is_up: whether Redis is connected.
    """

    def __init__(
        self,
        store: Store,
        sockets: Sockets,
        presence: Presence,
        people: PeopleElsewhere,
        elsewhere: Elsewhere,
        heads: Heads,
        nodes: Nodes,
        *,
        is_up: Callable[[], bool],
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._sockets = sockets
        self._presence = presence
        self._people = people
        self._elsewhere = elsewhere
        self._heads = heads
        self._nodes = nodes
        self._is_up = is_up
        self._now = now
        self._metrics = metrics
        self._looked_at = now()  # until then all ended logins are known
        self._behind: set[str] = set()  # daemons of which something was lost
        self._is_new = False  # Redis has come back: nothing is known of anybody
        self._is_untold = False  # our own people are not all written down
        self._wanted = trio.Event()

    def hole(self, tag: str) -> None:
        """Something that a daemon has said was not heard."""
        self._behind.add(tag)
        self._wanted.set()

    def connected(self) -> None:
        """Redis is there, again."""
        self._is_new = True
        self._wanted.set()

    def untold(self) -> None:
        """Redis has not, or not all, of our people."""
        self._is_untold = True
        self._wanted.set()

    async def run(self) -> None:
        """Heal whenever that is wanted, until cancelled."""
        pause = PAUSE
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await trio.sleep(random.uniform(0, JITTER))  # noqa: S311 - jitter
            pause = PAUSE if await self.heal() else min(2 * pause, MAX_PAUSE)
            await trio.sleep(pause)

    async def heal(self) -> bool:
        """Ask for everything that may be lost, and return whether all of it was told.

        What cannot be had now is asked for again.
        """
        self._metrics.healings.inc()
        behind, self._behind = self._behind, set()
        is_new, self._is_new = self._is_new, False
        is_untold, self._is_untold = self._is_untold, False
        is_done = False
        try:
            await self._end_logins()
            if is_new or is_untold:
                await self._elsewhere.tell_all()
            if is_new:
                behind.update(await self._nodes.discover())
            for tag in sorted(behind):
                self._nodes.expect(tag)
                await self._elsewhere.read(tag)
            await self._read_people()
            await self._heads.compare_all()
            is_done = True
        except (RedisAway, StoreError) as trouble:
            log.warning("not healed yet", error=type(trouble).__name__)
        finally:  # also when whoever has asked for it waits no longer
            if not is_done:
                self._behind |= behind
                self._is_new |= is_new and self._is_up()
                self._is_untold |= is_untold
                if self._is_up():
                    self._wanted.set()
        return is_done

    async def look_while_away(self) -> None:
        """Look for ended logins while nobody tells of them, until cancelled."""
        while True:
            await trio.sleep(AWAY_INTERVAL)
            if not self._is_up():
                try:
                    await self._end_logins()
                except StoreError as trouble:
                    log.warning("ended logins not read", error=type(trouble).__name__)

    async def _end_logins(self) -> None:
        at = self._now()
        ended = await self._store.revoked_since(self._looked_at - timedelta(seconds=MARGIN))
        self._looked_at = at
        new = [each for each in ended if not self._sockets.is_revoked(each)]
        self._sockets.cut_here(new, CloseCode.REVOKED)
        for user_id, token_ids in self._sockets.api_tokens().items():
            good = {row.id for row in await self._store.api_tokens(user_id)}  # others are deleted
            self._sockets.cut_here(token_ids - good, CloseCode.REVOKED)

    # People who are here

    async def _read_people(self) -> None:
        user_ids = self._presence.user_ids
        for start in range(0, len(user_ids), BATCH):
            part = user_ids[start : start + BATCH]
            at = self._now().timestamp()
            before = {user_id: self._people.sessions_of(user_id) for user_id in part}
            known_at = {user_id: self._people.manual_at(user_id) for user_id in part}
            states = await self._store.first_states(part, MAX_POSITIONS)
            for user_id, (row, _) in states.items():
                self._read_status(row, at, known_at[user_id])
            for user_id, (_, positions) in states.items():
                await self._compare_sessions(user_id, before[user_id], positions)

    def _read_status(self, row: UserRow, at: float, known_at: float) -> None:
        is_over = row.status_until is not None and row.status_until <= self._now()
        manual = Manual(None, None, None, at)
        if not is_over:
            manual = Manual(row.manual_status, row.status_text, row.status_until, at)
        self._people.correct_manual(row.id, manual, known_at)

    async def _compare_sessions(
        self, user_id: UUID, known: set[UUID], positions: Sequence[PositionRow]
    ) -> None:
        """Let somebody in, and out, of what has changed unheard; each is asked for once more."""
        stored = {position.session_id for position in positions}
        is_whole = len(positions) < MAX_POSITIONS
        for session_id in (stored ^ known) if is_whole else (stored - known):
            found = await self._session_for(session_id, user_id)
            is_member = found is not None and found[1] is not None
            if is_member == (session_id in self._people.sessions_of(user_id)):
                continue
            if found is not None and is_member:
                size = Size(found[0].member_count, found[0].seq)
                self._presence.opened_anywhere(session_id, [user_id], size)
                event = dumps(session_event(found[0], found[0].seq))
                self._sockets.tell_here(user_id, "session:updated", event, is_durable=True)
            else:
                self._presence.left_anywhere(session_id, user_id, None)
                gone = removed_event(session_id, "removed")
                self._sockets.tell_here(
                    user_id, "session:removed", gone, outside=session_id, is_durable=True
                )

    async def _session_for(
        self, session_id: UUID, user_id: UUID
    ) -> tuple[SessionRow, Role | None] | None:
        """Return a session as a user sees it; nothing newer was heard while it was read."""
        while True:
            moves = self._people.moves_of(user_id)
            found = await self._store.session_for(session_id, user_id)
            if moves == self._people.moves_of(user_id):
                return found
