"""This daemon as one of several: what it has is told to the others, what they tell comes in here.

Without `redis_url` nothing of this is opened, and nobody notices: each part of the live side has a
`relay` that is then None.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import structlog
import trio

from chatd.config import Settings
from chatd.context import RoomEvent
from chatd.contract import Store
from chatd.errors import CloseCode, StoreError
from chatd.freshness import EVERYBODY
from chatd.ids import random_text
from chatd.keys import SigningKey
from chatd.metrics import Metrics
from chatd.nurseries.backplane import Backplane
from chatd.nurseries.claims import Claims
from chatd.nurseries.control import Control, Message, id_or_none, ids_of
from chatd.nurseries.elsewhere import Elsewhere
from chatd.nurseries.heads import Heads
from chatd.nurseries.healing import Healing
from chatd.nurseries.mirrors import Mirrors
from chatd.nurseries.nodes import SETTLE, Nodes
from chatd.nurseries.parts import Parts
from chatd.nurseries.presence_elsewhere import PeopleElsewhere
from chatd.nurseries.redis_link import RedisAway, RedisLink, open_redis
from chatd.nurseries.shared_limits import SharedLimits
from chatd.peers import TAG_CHARS
from chatd.wire.cluster import Signer
from chatd.wire.resp import parse_address

START_TIMEOUT = 3.0  # seconds for Redis at the start: without it a daemon starts alone
WRITERS_INTERVAL = 0.05  # seconds: who writes here and reads there at once may see the old
GOODBYE_TIMEOUT = 1.0  # seconds for the last words to leave
TAG_BYTES = 6  # random, of which TAG_CHARS of their text are the tag
PURPOSE = b"chatd cluster "

log = structlog.get_logger("chatd.cluster")


class Cluster:
    """See `chatd.nurseries.backplane.Heard` and `SocketRelay`; made by `open_cluster`.

    Attributes:
        nodes: the other daemons.
        claims: asks them for the states of their clients.
        control: by which this daemon speaks with them.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Sequence[SigningKey],
        epoch: UUID,
        parts: Parts,
        nursery: trio.Nursery,
        *,
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        signer = Signer(_secrets(keys, epoch), random_text(TAG_BYTES)[:TAG_CHARS])
        self._parts = parts
        self._store = store
        self._nursery = nursery
        self.backplane = Backplane(settings.redis_prefix, signer, metrics)
        self.backplane.heard_by = self
        assert settings.redis_url is not None  # noqa: S101 - its caller has looked
        self.link = self.backplane.link = RedisLink(
            parse_address(settings.redis_url.get_secret_value()),
            self.backplane,
            name=f"chatd-{signer.tag}",
            timeout=settings.redis_timeout,
            buffer_bytes=settings.redis_buffer_bytes,
        )
        self.control = Control(self.backplane)
        self.nodes = Nodes(
            self.backplane,
            self.control,
            signer,
            lease=settings.lease_seconds,
            grace=settings.presence_grace,
            epoch=epoch,
            now=now,
            metrics=metrics,
        )
        self.limits = SharedLimits(
            parts.limiter, parts.guesses, self.control, lambda: bool(self.nodes.tags)
        )
        self.mirrors = Mirrors(self.control, signer.tag)
        self.claims = Claims(self.control, self.nodes)
        people = PeopleElsewhere(parts.presence, nursery)
        self.elsewhere = Elsewhere(self.backplane, self.control, self.nodes, parts.presence, people)
        interests = parts.presence.audience
        self.heads = Heads(store, parts.rooms, lambda: interests.interests, parts.unread.changed)
        self.healing = Healing(
            store,
            parts.sockets,
            parts.presence,
            people,
            self.elsewhere,
            self.heads,
            self.nodes,
            is_up=lambda: self.link.is_up,
            now=now,
            metrics=metrics,
        )
        self.nodes.on_hole = self._lost
        self.nodes.on_gone = self._gone
        self.elsewhere.on_whole = self.healing.hole
        self.elsewhere.on_untold = self.healing.untold
        self.control.on("cut", self._heard_cut)
        self.control.on("cut-user", self._heard_cut_user)
        self.control.on("verified", self._heard_verified)
        self.control.on("wrote", self._heard_writers)
        self._connect_parts()

    def _connect_parts(self) -> None:
        parts = self._parts
        parts.rooms.relay = self.backplane
        parts.typing.relay = self.backplane.typing
        parts.readers.relay = self.backplane.marker
        parts.sockets.relay = self
        parts.presence.relay = self.elsewhere
        parts.presence.audience.on_interest = self._interest
        self.elsewhere.on_positions = self.heads.stands
        parts.verified.relay = self._verified
        parts.relay = self._published

    def _interest(self, session_id: UUID, is_here: bool) -> None:  # noqa: FBT001 - a callback
        self.backplane.want_session(session_id, is_wanted=is_here)
        if not is_here:
            self.heads.forget(session_id)

    def _published(self, events: Sequence[RoomEvent]) -> None:
        """Publish what was committed here."""
        self.heads.saw(events)
        self.backplane.publish_events(events)

    # What is told; see `SocketRelay`

    def told(
        self, user_id: UUID, name: str, data: bytes, *, outside: UUID | None, is_durable: bool
    ) -> None:
        """Tell a user's sockets elsewhere."""
        self.backplane.told(user_id, name, data, outside=outside, is_durable=is_durable)

    def present(self, user_id: UUID, *, is_here: bool) -> None:
        """Hear what a user is told elsewhere, while they have a socket here."""
        self.backplane.present(user_id, is_here=is_here)

    def cut(self, family_ids: Sequence[UUID], code: CloseCode) -> None:
        """End logins elsewhere."""
        self.control.say("cut", f=family_ids, c=code.name)

    def cut_user(self, user_id: UUID, code: CloseCode, *, kept: UUID | None) -> None:
        """End all logins of a user elsewhere."""
        self.control.say("cut-user", u=user_id, c=code.name, kept=kept)

    def _verified(self, user_id: UUID) -> None:
        self.control.say("verified", u=user_id)

    # What is heard; see `chatd.nurseries.backplane.Heard`

    def events(self, events: Sequence[RoomEvent]) -> None:
        """Give events of other daemons to the rooms."""
        self.heads.saw(events)
        self._parts.publish_here(events, is_answered=True)

    def broadcast(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """Send an ephemeral event to a room."""
        self._parts.rooms.broadcast_here(session_id, name, data, but=but)

    def typing(self, session_id: UUID, user_id: UUID, *, is_typing: bool) -> None:
        """Tell who types elsewhere."""
        if is_typing:
            self._parts.typing.started(session_id, user_id, is_here=False)
        else:
            self._parts.typing.stopped(session_id, user_id)

    def tell(
        self, user_id: UUID, name: str, data: bytes, *, outside: UUID | None, is_durable: bool
    ) -> None:
        """Tell a user's sockets here."""
        self._parts.sockets.tell_here(user_id, name, data, outside=outside, is_durable=is_durable)

    def marker(self, session_id: UUID, user_id: UUID, own: bytes) -> None:
        """Tell a reader's devices here."""
        self._parts.readers.heard(session_id, user_id, own)

    def hear(self, sender: str, body: bytes) -> None:
        """Take what another daemon says."""
        self.control.hear(sender, body)

    def subscribed(self, session_id: UUID) -> None:
        """Compare a session with the store: its events are heard from now on."""
        self.heads.begin(session_id)

    def connected(self) -> None:
        """Say who we are, and make up for what was not heard."""
        self.nodes.connected()
        self.healing.connected()

    def disconnected(self) -> None:
        """Nothing: what is lost shows when Redis is back."""

    def _heard_cut(self, tag: str, message: Message) -> None:
        del tag
        self._parts.sockets.cut_here(ids_of(message["f"]), CloseCode[message["c"]])

    def _heard_cut_user(self, tag: str, message: Message) -> None:
        del tag
        user_id, kept = UUID(message["u"]), id_or_none(message["kept"])
        self._parts.sockets.cut_user_here(user_id, CloseCode[message["c"]], kept=kept)

    def _heard_verified(self, tag: str, message: Message) -> None:
        del tag
        self._parts.verified.hear(UUID(message["u"]))

    async def _tell_writers(self) -> None:
        """Tell the others who has written: they ask the primary for them too."""
        freshness = self._parts.freshness
        while freshness is not None:
            await trio.sleep(WRITERS_INTERVAL)
            writers = freshness.take_writers()
            if writers and self.nodes.tags:
                self.control.say("wrote", u=writers)

    def _heard_writers(self, tag: str, message: Message) -> None:
        del tag
        if self._parts.freshness is not None:
            self._parts.freshness.heard_writers(ids_of(message["u"]))

    def _lost(self, tag: str) -> None:
        """Something that a daemon has said was not heard."""
        if self._parts.freshness is not None:
            self._parts.freshness.heard_writers([EVERYBODY])
        self.healing.hole(tag)

    # Daemons that go

    def _gone(self, tag: str, last_seen: datetime, is_first: bool) -> None:  # noqa: FBT001 - a callback
        self._nursery.start_soon(self._take_away, tag, last_seen, is_first)

    async def _take_away(self, tag: str, last_seen: datetime, is_first: bool) -> None:  # noqa: FBT001 - of `start_soon`
        """Say of a daemon's people that they are gone, and once for all when that was."""
        people = self.elsewhere.forget(tag, last_seen)
        self.mirrors.lose(tag)
        if is_first and people:
            try:
                await self._store.set_last_seen(people, last_seen)
            except StoreError as trouble:
                log.warning("lastSeen not written", users=len(people), error=type(trouble).__name__)
        try:
            await self._interrupt_answers()
        except (StoreError, RedisAway) as trouble:
            log.warning("answers not looked for", error=type(trouble).__name__)

    async def _interrupt_answers(self) -> None:
        """End in the store what nobody makes any more.

        Raises:
            StoreError: the store is away.
            RedisAway: nobody knows who lives.
        """
        tags = {self.nodes.tag, *self.nodes.tags, *await self.nodes.discover()}
        left = await self._store.interrupt_answers(sorted(tags))
        if left:
            log.warning("answers of a daemon that has ended were interrupted", count=left)

    # Life

    async def start(self) -> None:
        """Run everything, and wait a little for Redis."""
        nursery = self._nursery
        for task in (
            self.elsewhere.window.run,
            self.heads.window.run,
            self.heads.run,
            self.nodes.beat,
            self.nodes.watch,
            self.healing.look_while_away,
            self.limits.run,
            self.mirrors.look,
            self._tell_writers,
        ):
            nursery.start_soon(task)
        with trio.move_on_after(START_TIMEOUT):
            await self.link.came_up()
            await self.healing.heal()
        if not self.link.is_up:
            log.warning("Redis is away: what other daemons do is seen seconds late")
        nursery.start_soon(self.healing.run)
        nursery.start_soon(self._interrupt_left)

    async def _interrupt_left(self) -> None:
        """End in the store what earlier runs have left, once all have come to Redis who live."""
        await self.link.came_up()
        while True:
            await trio.sleep(SETTLE)  # Redis may have begun empty a moment ago
            try:
                await self._interrupt_answers()
            except (StoreError, RedisAway) as trouble:
                log.warning("answers not looked for", error=type(trouble).__name__)
            else:
                return

    async def leave(self) -> None:
        """Say goodbye."""
        self.nodes.leave()
        await self.link.flushed()


def _secrets(keys: Sequence[SigningKey], epoch: UUID) -> list[bytes]:
    """Return the keys of the cluster: of those who share signing keys and a database."""
    return [hmac.digest(key.secret, PURPOSE + epoch.bytes, "sha256") for key in keys]


@asynccontextmanager
async def open_cluster(
    settings: Settings,
    store: Store,
    keys: Sequence[SigningKey],
    epoch: UUID,
    parts: Parts,
    *,
    now: Callable[[], datetime],
    metrics: Metrics,
) -> AsyncIterator[Cluster]:
    """Be one of several daemons for the length of the block; `redis_url` is set.

    Redis need not be there: it is tried for as long as the block lasts.
    """
    async with trio.open_nursery() as nursery:
        cluster = Cluster(settings, store, keys, epoch, parts, nursery, now=now, metrics=metrics)
        async with open_redis(cluster.link):
            await cluster.start()
            try:
                yield cluster
            finally:
                with trio.move_on_after(GOODBYE_TIMEOUT, shield=True):
                    await cluster.leave()
                nursery.cancel_scope.cancel(reason="the daemon stops")
