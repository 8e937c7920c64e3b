"""The daemons of a cluster: who lives, where they are reached, and who has died.

Each says every second (with a lease below three, at a third of it) that it lives and how many
numbered messages it has said. Each holds a lease in Redis, renewed at a third of its time: when a
daemon is silent and its lease is over it has died, and the last renewal is when its people were
last seen. While Redis is away nobody dies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
import trio

from chatd.metrics import Metrics
from chatd.nurseries.backplane import Backplane
from chatd.nurseries.control import Control, Message
from chatd.nurseries.redis_link import RedisAway
from chatd.peers import TAG_CHARS
from chatd.wire.cluster import Signer
from chatd.wire.resp import ReplyError, command

BEAT = 1.0  # seconds between two signs of life
SILENT_AFTER = 3.5  # seconds without one: nobody is sent there any more
SETTLE = 5.0  # seconds after a connect in which everybody's silence is ours

log = structlog.get_logger("chatd.cluster")


@dataclass(slots=True)
class Node:
    """Another daemon, as it is heard."""

    url: str | None
    said: int  # the number of its last message that was heard
    heard_at: float  # on Trio's clock
    is_leaving: bool = False


class Nodes:
    """See `chatd.peers.Peers`; `beat` and `watch` are tasks.

    Attributes:
        on_hole: told the tag of a daemon of which something was lost, or which is new.
        on_gone: told the tag of one that has died or left, when its people were last seen, and
            whether that is for us to write down.
        url: where others reach this daemon, once that is known.
    """

    def __init__(
        self,
        backplane: Backplane,
        control: Control,
        signer: Signer,
        *,
        lease: float,
        grace: float,
        epoch: UUID,
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self.tag = signer.tag
        self.url: str | None = None
        self.on_hole: Callable[[str], None]
        self.on_gone: Callable[[str, datetime, bool], None]
        self._backplane = backplane
        self._control = control
        self._signer = signer
        self._lease = lease
        self._grace = grace  # of people whose daemon leaves of its own will
        self._epoch = str(epoch)
        self._now = now
        self._metrics = metrics
        self._nodes: dict[str, Node] = {}
        self._settled_at = 0.0
        self._has_left = False  # said so: another sign of life would take it back
        control.counted = self._counted
        control.on("beat", self._heard_beat)
        control.on("bye", self._heard_bye)

    # What others ask

    def url_of(self, tag: str) -> str | None:
        """Return where another living daemon is reached. See `chatd.peers.Peers`."""
        node = self._nodes.get(tag)
        return node.url if node is not None and self._is_audible(node) else None

    def is_audible(self, tag: str) -> bool:
        """Return whether another daemon lives, as far as it is heard."""
        node = self._nodes.get(tag)
        return node is not None and self._is_audible(node)

    def _is_audible(self, node: Node) -> bool:
        return not node.is_leaving and trio.current_time() - node.heard_at < SILENT_AFTER

    @property
    def tags(self) -> list[str]:
        """The other daemons that have not died."""
        return list(self._nodes)

    def sign(self, text: bytes) -> bytes:
        """Return what proves to another daemon that we have said a text."""
        return self._signer.mac(b"peer\0" + text)

    def is_signed(self, text: bytes, signature: bytes) -> bool:
        """Return whether a daemon of this cluster has signed a text."""
        return self._signer.is_good(b"peer\0" + text, signature)

    # Hearing

    def connected(self) -> None:
        """Take note that what was said meanwhile was not heard: silence proves nothing yet."""
        self._settled_at = trio.current_time() + SETTLE
        self._renew()
        self._say()

    def _node(self, tag: str) -> tuple[Node, bool]:
        node = self._nodes.get(tag)
        if node is not None:
            node.heard_at = trio.current_time()
            return node, False
        node = self._nodes[tag] = Node(None, 0, trio.current_time())
        self._metrics.nodes.set(len(self._nodes) + 1)
        log.info("another daemon", tag=tag)
        return node, True

    def _counted(self, tag: str, number: int) -> bool:
        node, is_new = self._node(tag)
        if number <= node.said:
            return False
        has_hole = is_new or number > node.said + 1
        node.said = number
        if has_hole:
            self.on_hole(tag)
        return True

    def _heard_beat(self, tag: str, message: Message) -> None:
        if message["epoch"] != self._epoch:
            log.error("a daemon of another database is on our Redis", tag=tag)
            return
        said, url = int(message["said"]), message["url"]
        node, is_new = self._node(tag)
        node.url = None if url is None else str(url)
        node.is_leaving = False
        if is_new or said > node.said:
            node.said = said
            self.on_hole(tag)
        if is_new:
            self._say()

    def _heard_bye(self, tag: str, message: Message) -> None:
        del message
        node = self._nodes.get(tag)
        if node is not None:
            node.is_leaving = True
            log.info("a daemon leaves", tag=tag)

    # Living

    async def beat(self) -> None:
        """Say that we live, and hold the lease, until cancelled."""
        renewed_at = trio.current_time()
        pause = min(BEAT, self._lease / 3)  # else a short lease would be over ahead of its renewal
        while True:
            await trio.sleep(pause)
            self._say()
            if trio.current_time() - renewed_at >= self._lease / 3:
                renewed_at = trio.current_time()
                self._renew()

    def _say(self) -> None:
        if self._has_left:
            return
        self._control.mention("beat", said=self._control.said, url=self.url, epoch=self._epoch)

    def _renew(self) -> None:
        """Hold the lease; when that was is kept for longer than it lasts, in one place for all."""
        if self._has_left:
            return
        at = round(self._now().timestamp() * 1000)
        lease = command("SET", self._lease_of(self.tag), at, "PX", round(self._lease * 1000))
        note = command("ZADD", self._backplane.name("nodes"), at, self.tag)
        self._backplane.link.send(lease + note, answers=2)

    def _lease_of(self, tag: str) -> str:
        return self._backplane.name("n", tag)

    def people_of(self, tag: str) -> str:
        """Return the name of the hash in Redis that has a daemon's people."""
        return self._backplane.name("n", tag, "people")

    def leave(self) -> None:
        """Say that we go, of our own will: people have time to come back elsewhere."""
        self._has_left = True
        self._control.mention("bye")
        forget = command("DEL", self._lease_of(self.tag), self.people_of(self.tag))
        note = command("ZREM", self._backplane.name("nodes"), self.tag)
        self._backplane.link.send(forget + note, answers=2)

    async def watch(self) -> None:
        """Look who has died, until cancelled."""
        while True:
            await trio.sleep(min(BEAT, self._lease / 6))
            if not self._backplane.link.is_up or trio.current_time() < self._settled_at:
                continue
            for tag, node in list(self._nodes.items()):
                silence = trio.current_time() - max(node.heard_at, self._settled_at)
                patience = min(2 * SILENT_AFTER, self._lease / 2)
                if silence >= (self._grace if node.is_leaving else patience):
                    try:
                        await self._look_at(tag)
                    except RedisAway:
                        break

    async def _look_at(self, tag: str) -> None:
        """Find out whether a silent daemon has died.

        Raises:
            RedisAway: nobody can tell.
        """
        lease, note = await self._backplane.link.ask(
            command("GET", self._lease_of(tag)),
            command("ZSCORE", self._backplane.name("nodes"), tag),
        )
        if lease is not None:
            return
        heard_at = self._nodes[tag].heard_at
        is_first = await self._is_first(
            tag
        )  # ahead of all else: without an answer it is asked again
        node = self._nodes[tag]
        if node.heard_at > heard_at:  # it lives, without a lease and people: it writes them anew
            self.on_hole(tag)
            return
        del self._nodes[tag]
        self._metrics.nodes.set(len(self._nodes) + 1)
        # Of two that find out at once the other may have cleared up already.
        silence = timedelta(seconds=trio.current_time() - node.heard_at)
        seen = _time_of(note) or self._now() - silence
        log.warning("a daemon has left" if node.is_leaving else "a daemon has died", tag=tag)
        self.on_gone(tag, seen, is_first)

    async def _is_first(self, tag: str) -> bool:
        """Return whether it is for this daemon to clear up behind one that has died."""
        removed, _ = await self._backplane.link.ask(
            command("ZREM", self._backplane.name("nodes"), tag),
            command("DEL", self.people_of(tag)),
        )
        return bool(removed == 1)

    async def discover(self) -> list[str]:
        """Return the others that hold a lease, heard or not yet.

        Raises:
            RedisAway: nobody can tell.
        """
        [tags] = await self._backplane.link.ask(
            command("ZRANGE", self._backplane.name("nodes"), 0, -1)
        )
        if isinstance(tags, ReplyError):
            raise RedisAway
        found = {each.decode("ascii", "replace") for each in tags}
        return sorted(tag for tag in found - {self.tag} if len(tag) == TAG_CHARS)

    def expect(self, tag: str) -> None:
        """Take note of a daemon that is known by its lease: it is watched from now on."""
        if tag not in self._nodes:
            self._node(tag)


def _time_of(note: Any) -> datetime | None:
    """Return when a lease was renewed last, as Redis keeps it."""
    if note is None or isinstance(note, ReplyError):
        return None
    return datetime.fromtimestamp(float(note) / 1000, UTC)
