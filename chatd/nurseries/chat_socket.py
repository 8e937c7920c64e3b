"""One logged-in client, whatever its wire: its first state, its registration, its requests.

The connection below it owns the nursery and the bytes; this owns what the chat knows of the client.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol, cast
from uuid import UUID

import structlog
import trio

from chatd.context import Caller, Place, RoomEvent
from chatd.errors import ChatError, CloseCode, RateLimited, ValidationFailed
from chatd.handlers.catalogue import BY_EVENT
from chatd.handlers.operations import Followed, Operation, call, submit
from chatd.ids import random_number
from chatd.limits import Meter, Rate, rate_of
from chatd.model import dumps, iso, iso_or_none, position_dict
from chatd.nurseries.admission import FirstState, Live, NotAdmitted
from chatd.nurseries.chat_recovery import offset_of
from chatd.nurseries.connection import Connection
from chatd.nurseries.heartbeat import TokenAlarm
from chatd.nurseries.seat import Run, Trail
from chatd.tokens import Identity

# Refused events that a socket may send on top: a client that heeds its refusals sends none.
EXCESS_RATE = Rate(5, 100)

log = structlog.get_logger("chatd.connection")

RequestId = int | str | None


class ChatWire(Protocol):
    """How one wire writes all that the chat says. See `chatd.nurseries.seat.Wire`."""

    def event(self, name: str, data: bytes) -> bytes:
        """Return an event that is not kept."""

    def durable(self, event: RoomEvent) -> bytes:
        """Return a committed event of a session."""

    def greeting(self, data: bytes, offset: str) -> bytes:
        """Return `connection:ready`, with which every connection begins."""

    def answer(self, id_: RequestId, data: bytes) -> bytes:
        """Return the answer to a request."""

    def refusal(self, id_: RequestId, event: str, error: dict[str, Any]) -> bytes:
        """Return the refusal of a request, also of one that asked for no answer."""


# Events of which the answer comes later, as they stand in a frame.
_ANSWERED_LATER = tuple(
    f'"{name}"'.encode() for name, each in BY_EVENT.items() if each.submit is not None
)


def may_be_at_once(text: bytes | bytearray) -> bool:
    """Tell by a glance whether a request is worth decoding for `ChatSocket.request_at_once`."""
    for name in _ANSWERED_LATER:  # noqa: SIM110 - a generator is a fifth of the decoding
        if name in text:
            return True
    return False


class ChatSocket:
    """Keeps `chatd.context.Socket` and `chatd.nurseries.seat.Receiver`.

    Args:
        trail: where to note what was sent; None on a wire without recovery.
    """

    __slots__ = (
        "_alarm",
        "_connection",
        "_events",
        "_excess",
        "_has_room",
        "_inflight",
        "_live",
        "_requests",
        "_services",
        "_transport",
        "active_at",
        "id",
        "identity",
        "is_idle",
        "is_registered",
        "outbox",
        "places",
        "trail",
        "wire",
    )

    def __init__(
        self,
        live: Live,
        connection: Connection,
        *,
        socket_id: str,
        transport: str,
        wire: ChatWire,
        trail: Trail | None = None,
    ) -> None:
        self.id = socket_id
        self.identity: Identity  # set by `register`; nobody sees this socket before
        self.outbox = connection.outbox
        self.places: dict[UUID, Place] = {}
        self.active_at = 0.0  # set by presence
        self.is_idle = False
        self.trail = trail
        self.wire = wire
        self._connection = connection
        self._live = live
        self._services = live.services
        self._transport = transport
        self._alarm: TokenAlarm
        self.is_registered = False
        self._requests = 0
        self._inflight = 0
        self._has_room: trio.Event | None = None
        is_metered = live.services.settings.rate_limits == "on"
        self._events = Meter() if is_metered else None
        self._excess: Meter | None = None

    # Registration

    def register(self, first: FirstState, *, before: bytes = b"", is_recovered: bool) -> None:
        """Make this socket known and send its first state, behind the bytes `before`.

        Raises:
            NotAdmitted: the login was revoked meanwhile, or the user has too many sockets.
        """
        live, identity = self._live, first.identity
        # Asked again: the login may have been revoked, or the account erased, during the read.
        if live.sockets.is_revoked(identity.family_id):
            raise NotAdmitted(CloseCode.REVOKED)
        self.identity = identity
        if not live.sockets.add(self):
            raise NotAdmitted(CloseCode.TOO_MANY_CONNECTIONS)
        self.is_registered = True
        self._alarm = TokenAlarm(self, self._services.settings, self._services.now, identity)
        self._connection.heartbeat.watch(self._alarm)
        self._services.metrics.connections.labels(self._transport).inc()
        ready = self._ready(first, is_recovered=is_recovered)
        mark = random_number(6)
        if self.trail is not None:
            self.trail.append(Run(None, mark, mark))
        self.outbox.push_answer(before + self.wire.greeting(ready, offset_of(None, mark)))
        live.presence.connected(self, first.user, first.positions)

    def _ready(self, first: FirstState, *, is_recovered: bool) -> bytes:
        services = self._services
        state = {
            "connectionId": self.id,
            "deviceId": self.identity.device_id,
            "serverTime": iso(services.now()),
            "recovered": is_recovered,
            "expiresAt": iso_or_none(self.identity.ends_at),
            "epoch": services.epoch,
            **self._live.constants,
            "sessions": [position_dict(row, services.epoch) for row in first.positions],
            **self._live.presence.first(first.user, first.positions),
        }
        return dumps(state)

    def unregister(self, code: CloseCode) -> None:
        """Take this socket out of everything that knows it; twice is once."""
        if not self.is_registered:
            return
        self.is_registered = False
        for place in list(self.places.values()):
            place.leave()
        self.places.clear()
        self._live.sockets.remove(self)
        if not self._live.sockets.of_user(self.user_id):
            self._live.typing.stop_everywhere(self.user_id)
        self._live.presence.disconnected(self, at_once=code is CloseCode.REVOKED)
        self._connection.heartbeat.watch(None)
        self._services.metrics.connections.labels(self._transport).dec()
        self._services.metrics.closes.labels(str(code.code)).inc()
        log.info("closed", connection=self.id, code=code.code, reason=code.reason)

    def rewire(self, wire: ChatWire) -> None:
        """Write in another way from now on."""
        self.wire = wire
        for place in self.places.values():
            place.rewired()

    # Requests

    async def request(
        self, name: str, id_: RequestId, data: Any, refusal: ChatError | None = None
    ) -> None:
        """Run one request and answer it; a refusal, also the wire's, is answered like the rest."""
        caller, now = self._new_caller(), trio.current_time()
        try:
            self._meter(now)
            if refusal is not None:
                raise refusal
            operation = BY_EVENT.get(name)
            if operation is None:
                raise ValidationFailed("no such event")
            self._note_activity(operation, now)
            if operation.submit is not None:
                await self._has_few()
                self._submit(id_, caller, operation, data, trio.current_time())
                return
            answer = await call(self._services, caller, operation, data, now)
        except ChatError as trouble:
            self.refuse(id_, trouble, name, caller.request_id)
            return
        if isinstance(answer, Followed):
            self.answer(id_, answer.data)
            answer.then()
        else:
            self.answer(id_, cast("bytes", answer))  # streams and redirects are answers of REST

    def request_at_once(self, name: str, id_: RequestId, data: Any, now: float) -> bool:
        """Start a request that is answered later; False: nothing was done, it has to wait."""
        operation = BY_EVENT.get(name)
        if operation is None or operation.submit is None or self._is_full:
            return False
        caller = self._new_caller()
        try:
            self._meter(now)
            self._note_activity(operation, now)
            self._submit(id_, caller, operation, data, now)
        except ChatError as trouble:
            self.refuse(id_, trouble, name, caller.request_id)
        return True

    def _new_caller(self) -> Caller:
        self._requests += 1
        request_id = f"{self.id}-{self._requests}"
        return Caller(request_id, self._connection.peer, self.identity, self)

    def _note_activity(self, operation: Operation, now: float) -> None:
        if operation.is_activity:
            self.active_at = now
            if self.is_idle:
                self._live.presence.woke(self)

    def _meter(self, now: float) -> None:
        """Count an event; a socket that goes on above the rate is closed."""
        if self._events is None:
            return
        wait = self._events.wait(rate_of(self._services.settings.event_rate), now)
        if not wait:
            return
        if self._excess is None:
            self._excess = Meter()
        if self._excess.wait(EXCESS_RATE, now):
            self.cut(CloseCode.RATE_LIMITED)
        raise RateLimited(retry_after=wait)

    @property
    def _is_full(self) -> bool:
        return self._inflight >= self._services.settings.max_inflight

    async def _has_few(self) -> None:
        """Wait while too many are under way: nothing is read, the client's TCP waits for us."""
        while self._is_full:
            self._has_room = trio.Event()
            await self._has_room.wait()

    def _submit(
        self, id_: RequestId, caller: Caller, operation: Operation, data: Any, now: float
    ) -> None:
        """Start an operation that answers when it is committed, while the next one is read."""
        self._inflight += 1
        reply = partial(self._reply, id_, operation.event or "", caller.request_id)
        submit(self._services, caller, operation, data, now, reply)

    def _reply(
        self, id_: RequestId, event: str, request_id: str, answer: bytes | ChatError
    ) -> None:
        self._inflight -= 1
        if self._has_room is not None:
            self._has_room.set()
            self._has_room = None
        if isinstance(answer, ChatError):
            self.refuse(id_, answer, event, request_id)
        else:
            self.answer(id_, answer)

    def answer(self, id_: RequestId, data: bytes) -> None:
        """Answer a request that asked for it."""
        if id_ is not None:
            self.outbox.push_answer(self.wire.answer(id_, data))

    def refuse(self, id_: RequestId, refusal: ChatError, event: str, request_id: str) -> None:
        """Refuse a request, also one that asked for no answer: silence tells nobody."""
        known = event if event in BY_EVENT else "unknown"  # a label of ours, not of the client's
        self._services.metrics.ack_errors.labels(known, refusal.code).inc()
        self.outbox.push(self.wire.refusal(id_, event, refusal.to_wire(request_id)))

    # What others do with it

    @property
    def user_id(self) -> UUID:
        """Whose connection it is."""
        return self.identity.user_id

    def cut(self, code: CloseCode) -> None:
        """End this client's connection."""
        self._connection.cut(code)

    def push(self, name: str, data: bytes) -> None:
        """Send an event to this client alone."""
        self.outbox.push(self.wire.event(name, data))

    def push_ephemeral(self, name: str, data: bytes) -> bool:
        """Send an event that a slow client can do without; return whether it was taken."""
        is_taken = self.outbox.push_ephemeral(self.wire.event(name, data))
        if not is_taken:
            self._services.metrics.dropped.inc()
        return is_taken

    def push_latest(self, name: str, key: UUID, data: bytes) -> None:
        """Send an event in place of an earlier one of its name and key that still waits."""
        if not self.outbox.push_latest((name, key), self.wire.event(name, data)):
            self._services.metrics.dropped.inc()

    def drop_place(self, session_id: UUID) -> None:
        """Forget a place that the room takes back."""
        place = self.places.pop(session_id, None)
        if place is not None:
            place.leave()

    def renew(self, identity: Identity) -> None:
        """Take a newer access token of the same login."""
        self.identity = identity
        self._alarm.follow(identity)
        self._connection.heartbeat.watch(self._alarm)
