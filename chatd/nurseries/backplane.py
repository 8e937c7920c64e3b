"""What this daemon and the others of a cluster publish to each other, over Redis.

One channel a session, heard while one of its members is connected here; one a user, heard while
they have a socket here; one for control, heard by all, and one of each daemon alone. A frame of a
session carries `(session, seq)` and the body: the rooms' cursor rule decides what is new, and
reads the database for what was lost (design, 5.9). So nothing here is repeated or waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

import structlog
import trio

from chatd.context import RoomEvent
from chatd.metrics import Metrics
from chatd.nurseries.redis_link import RedisLink
from chatd.wire.cluster import (
    CONTROL,
    EPHEMERAL,
    EVENTS,
    PERSONAL,
    BadFrame,
    Frame,
    Signer,
    WireEvent,
    pack_events,
    pack_named,
    unpack_events,
    unpack_named,
)
from chatd.wire.resp import command

NOBODY = UUID(int=0)
SUBSCRIBE_AT_ONCE = 1000  # channels in one command
ATTEND_SECONDS = 30.0  # that a user is heard who is about to connect: then they have, or not
ATTEND_TIMEOUT = 0.5  # seconds for Redis to say that they are heard
COMPLAIN_INTERVAL = 10.0  # seconds: a daemon with other keys sends as many bad frames as good ones

# Flags of an event for a room
_TYPES = 1  # it tells that a user types,
_TYPES_NO_MORE = 2  # or no more; the id is that user's
# Flags of an event for a user
_DURABLE = 1
_MARKER = 2  # a read marker has moved: what is unread elsewhere has changed too

log = structlog.get_logger("chatd.backplane")


class Heard(Protocol):
    """Who takes what other daemons publish; in the step in which it is heard, never waiting."""

    def events(self, events: Sequence[RoomEvent]) -> None:
        """Durable events, each session's in their order."""

    def broadcast(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """An ephemeral event for a room."""

    def typing(self, session_id: UUID, user_id: UUID, *, is_typing: bool) -> None:
        """Somebody types, or no more."""

    def tell(
        self, user_id: UUID, name: str, data: bytes, *, outside: UUID | None, is_durable: bool
    ) -> None:
        """An event for a user's sockets."""

    def marker(self, session_id: UUID, user_id: UUID, own: bytes) -> None:
        """A user's read marker has moved."""

    def hear(self, sender: str, body: bytes) -> None:
        """Something between daemons.

        Raises:
            BadFrame: it has not the shape that it should have.
        """

    def subscribed(self, session_id: UUID) -> None:
        """From now on the events of a session are heard."""

    def connected(self) -> None:
        """Redis is there, again: what was published meanwhile was not heard."""

    def disconnected(self) -> None:
        """Redis is away: nothing is heard any more."""


class Backplane:
    """Publishes, subscribes, and gives what is heard to `heard`.

    Args:
        prefix: ahead of every name in Redis.
        signer: of the cluster; its tag is this daemon's.
        metrics: counts frames.
    """

    heard_by: Heard

    def __init__(self, prefix: str, signer: Signer, metrics: Metrics) -> None:
        self.link: RedisLink
        self.tag = signer.tag
        self._signer = signer
        self._metrics = metrics
        self._prefix = prefix.encode("ascii")
        self._session = b"%b:s:" % self._prefix
        self._user = b"%b:u:" % self._prefix
        self._control = b"%b:control" % self._prefix
        self._own = self.channel_of_node(signer.tag)
        self._wanted: dict[bytes, int] = {self._control: 1, self._own: 1}
        self._confirmed: set[bytes] = set()
        self._awaited: dict[bytes, trio.Event] = {}
        self._attended: deque[tuple[float, UUID]] = deque()  # until when, by time
        self._events: list[RoomEvent] = []  # heard, and not told yet
        self._complain_at = 0.0  # on Trio's clock: then the next bad frame is logged

    def name(self, *parts: str) -> str:
        """Return a name in Redis of this cluster."""
        return ":".join((self._prefix.decode("ascii"), *parts))

    def channel_of_node(self, tag: str) -> bytes:
        """Return the channel that one daemon alone hears."""
        return b"%b:node:%b" % (self._prefix, tag.encode("ascii"))

    def _channel_of_session(self, session_id: UUID) -> bytes:
        return self._session + session_id.hex.encode("ascii")

    def _channel_of_user(self, user_id: UUID) -> bytes:
        return self._user + user_id.hex.encode("ascii")

    # Subscriptions

    def _want(self, channel: bytes, *, is_wanted: bool) -> None:
        count = self._wanted.get(channel, 0) + (1 if is_wanted else -1)
        if count > 0:
            self._wanted[channel] = count
            if is_wanted and count == 1 and self.link.is_up:
                self.link.subscribe([channel])
        else:
            self._wanted.pop(channel, None)
            self._confirmed.discard(channel)
            self._wake_awaiting(channel)
            if self.link.is_up:
                self.link.unsubscribe([channel])

    def _wake_awaiting(self, channel: bytes) -> None:
        begun = self._awaited.pop(channel, None)
        if begun is not None:
            begun.set()

    def want_session(self, session_id: UUID, *, is_wanted: bool) -> None:
        """Hear a session, once more; or once less."""
        self._want(self._channel_of_session(session_id), is_wanted=is_wanted)

    def occupied(self, session_id: UUID, *, is_occupied: bool) -> None:
        """Hear a session while somebody here has joined it. See `RoomRelay`."""
        self.want_session(session_id, is_wanted=is_occupied)

    def present(self, user_id: UUID, *, is_here: bool) -> None:
        """Hear a user while they have a socket here. See `SocketRelay`."""
        self._want(self._channel_of_user(user_id), is_wanted=is_here)

    async def attend(self, user_id: UUID) -> None:
        """Hear a user, who is about to connect; wait until that is so, or Redis is too slow."""
        channel = self._channel_of_user(user_id)
        now = trio.current_time()
        while self._attended and self._attended[0][0] <= now:
            self.present(self._attended.popleft()[1], is_here=False)
        self._attended.append((now + ATTEND_SECONDS, user_id))
        self.present(user_id, is_here=True)
        if channel in self._confirmed or not self.link.is_up:
            return
        begun = self._awaited.setdefault(channel, trio.Event())
        with trio.move_on_after(ATTEND_TIMEOUT):
            await begun.wait()

    def is_heard(self, session_id: UUID) -> bool:
        """Return whether Redis has said that the events of a session come here."""
        return self._channel_of_session(session_id) in self._confirmed

    # Publishing

    def publish_events(self, events: Iterable[RoomEvent]) -> None:
        """Publish committed events; those of one session in one frame."""
        of_sessions: dict[int, list[RoomEvent]] = {}
        for event in events:
            of_sessions.setdefault(event.session_id.int, []).append(event)
        frames = []
        for group in of_sessions.values():
            body = pack_events([WireEvent(*event[1:]) for event in group])
            channel = self._channel_of_session(group[0].session_id)
            frames.append(command(b"PUBLISH", channel, self._signer.frame(channel, EVENTS, body)))
        if frames:  # one write for all of them
            self._count(self.link.send(b"".join(frames), answers=len(frames)), len(frames))

    def broadcast(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """Publish an ephemeral event of a room. See `RoomRelay`."""
        body = pack_named(0, but or NOBODY, name, data)
        self._publish(self._channel_of_session(session_id), EPHEMERAL, body)

    def typing(self, session_id: UUID, user_id: UUID, *, is_typing: bool) -> None:
        """Publish that somebody types, or no more. See `TypingRelay`."""
        body = pack_named(_TYPES if is_typing else _TYPES_NO_MORE, user_id, "", b"")
        self._publish(self._channel_of_session(session_id), EPHEMERAL, body)

    def told(
        self, user_id: UUID, name: str, data: bytes, *, outside: UUID | None, is_durable: bool
    ) -> None:
        """Publish an event for a user's sockets. See `SocketRelay`."""
        body = pack_named(_DURABLE if is_durable else 0, outside or NOBODY, name, data)
        self._publish(self._channel_of_user(user_id), PERSONAL, body)

    def marker(self, session_id: UUID, user_id: UUID, own: bytes) -> None:
        """Publish that a user's read marker has moved."""
        body = pack_named(_MARKER, session_id, "message:read", own)
        self._publish(self._channel_of_user(user_id), PERSONAL, body)

    def say(self, body: bytes) -> None:
        """Publish something to all daemons."""
        self._publish(self._control, CONTROL, body)

    def say_to(self, tag: str, body: bytes) -> bool:
        """Publish something to one daemon; False: it is dropped."""
        return self._publish(self.channel_of_node(tag), CONTROL, body)

    def _publish(self, channel: bytes, kind: bytes, body: bytes) -> bool:
        is_sent = self.link.publish(channel, self._signer.frame(channel, kind, body))
        return self._count(is_sent, 1)

    def _count(self, is_sent: bool, frames: int) -> bool:  # noqa: FBT001 - what `send` returns
        (self._metrics.frames_sent if is_sent else self._metrics.frames_dropped).inc(frames)
        return is_sent

    # Hearing; see `chatd.nurseries.redis_link.Hearer`

    def connected(self) -> None:
        """Subscribe to everything anew."""
        self._metrics.backplane_up.set(1)
        channels = list(self._wanted)
        for start in range(0, len(channels), SUBSCRIBE_AT_ONCE):
            self.link.subscribe(channels[start : start + SUBSCRIBE_AT_ONCE])
        self.heard_by.connected()

    def disconnected(self) -> None:
        """Take note that nothing is heard."""
        self.paused()
        self._metrics.backplane_up.set(0)
        self._confirmed.clear()
        for begun in self._awaited.values():
            begun.set()
        self._awaited.clear()
        self.heard_by.disconnected()

    def subscribed(self, channel: bytes) -> None:
        """Take note that a channel is heard."""
        if channel not in self._wanted:
            return
        self.paused()
        self._confirmed.add(channel)
        self._wake_awaiting(channel)
        if channel.startswith(self._session):
            self.heard_by.subscribed(_id_of(channel, self._session))

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Take a frame; one that is not good is counted and dropped."""
        if self._signer.is_own(payload):
            return
        try:
            self._take(channel, self._signer.read(channel, payload))
            self._metrics.frames_heard.inc()
        except BadFrame as trouble:
            self._metrics.frames_bad.inc()
            if trio.current_time() >= self._complain_at:
                self._complain_at = trio.current_time() + COMPLAIN_INTERVAL
                name = channel.decode("ascii", "replace")
                log.warning("bad frame", channel=name, why=str(trouble))
        except Exception:
            self._metrics.frames_bad.inc()
            log.exception("bug")  # it ends this frame, not the daemon

    def paused(self) -> None:
        """Tell the events that were heard, of all sessions at once: they leave in one call."""
        if not self._events:
            return
        events, self._events = self._events, []
        try:
            self.heard_by.events(events)
        except Exception:
            self._metrics.frames_bad.inc()
            log.exception("bug")  # rooms that it did not reach are behind, and read

    def _take(self, channel: bytes, frame: Frame) -> None:
        if frame.kind == EVENTS:
            session_id = _id_of(channel, self._session)
            self._events += [RoomEvent(session_id, *event) for event in unpack_events(frame.body)]  # type: ignore[arg-type]  # the reasons are checked
            return
        self.paused()  # what came before is told before
        if frame.kind == CONTROL:
            if channel in (self._control, self._own):
                self.heard_by.hear(frame.sender, frame.body)
        elif frame.kind == PERSONAL:
            self._take_personal(_id_of(channel, self._user), frame.body)
        else:
            self._take_ephemeral(_id_of(channel, self._session), frame.body)

    def _take_ephemeral(self, session_id: UUID, body: bytes) -> None:
        flags, user_id, name, data = unpack_named(body)
        if flags:
            self.heard_by.typing(session_id, user_id, is_typing=flags == _TYPES)
        else:
            but = None if user_id == NOBODY else user_id
            self.heard_by.broadcast(session_id, name, data, but=but)

    def _take_personal(self, user_id: UUID, body: bytes) -> None:
        flags, session_id, name, data = unpack_named(body)
        if flags & _MARKER:
            self.heard_by.marker(session_id, user_id, data)
            return
        outside = None if session_id == NOBODY else session_id
        self.heard_by.tell(user_id, name, data, outside=outside, is_durable=bool(flags & _DURABLE))


def _id_of(channel: bytes, prefix: bytes) -> UUID:
    """Return whose channel it is.

    Raises:
        BadFrame: nobody's.
    """
    if not channel.startswith(prefix):
        msg = "a frame on a channel of another kind"
        raise BadFrame(msg)
    try:
        return UUID(channel[len(prefix) :].decode("ascii"))
    except ValueError:
        msg = "a channel without an id"
        raise BadFrame(msg) from None
