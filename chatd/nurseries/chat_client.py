"""One client of the chat over Socket.IO: what it says, what it is sent, what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatd.errors import CloseCode
from chatd.model import dumps
from chatd.nurseries.admission import FirstState, Live
from chatd.nurseries.chat_catchup import Missed
from chatd.nurseries.chat_recovery import ChatState, is_in
from chatd.nurseries.chat_socket import ChatSocket, may_be_at_once
from chatd.nurseries.chat_wire import wire_of
from chatd.nurseries.recovery import Recoveries
from chatd.nurseries.seat import Run, Seat, Trail
from chatd.nurseries.socketio import RECOVERABLE, SocketIoSession
from chatd.payloads import closing_event, removed_event
from chatd.wire import socketio
from chatd.wire.frames import Binary


class ChatClient:
    """One client in the chat. See `chatd.nurseries.socketio.NamespaceSocket`.

    Args:
        origin: the offset that the client had when it connected.
    """

    __slots__ = (
        "_epoch",
        "_first",
        "_origin",
        "_pid",
        "_recoveries",
        "_session",
        "_trail",
        "chat",
    )

    def __init__(
        self,
        live: Live,
        session: SocketIoSession,
        recoveries: Recoveries[ChatState],
        *,
        first: FirstState,
        socket_id: str,
        origin: str | None,
    ) -> None:
        self._trail = Trail()
        self.chat = ChatSocket(
            live,
            session,
            socket_id=socket_id,
            transport="socketio",
            wire=wire_of(session),
            trail=self._trail,
        )
        self.chat.identity = first.identity
        self._first: FirstState | None = first
        self._session = session
        self._recoveries = recoveries
        self._epoch = live.services.epoch
        self._origin = origin
        self._pid = ""

    def welcome(self, pid: str, missed: Missed | None) -> None:
        """Send what was missed, CONNECT and the first state, and make the client known.

        Raises:
            NotAdmitted: it may not be.
        """
        chat = self.chat
        first, self._first = self._first, None
        assert first is not None  # noqa: S101 - a client is welcomed once
        # The WebSocket may have taken over since this client was made.
        wire = wire_of(self._session)
        chat.rewire(wire)
        words = []
        if missed is not None:  # ahead of CONNECT: the client keeps them until it is connected
            for event in missed.events:
                words.append(wire.durable(event))
                self._trail.append(Run(event.session_id, event.seq, event.seq))
            for session_id in missed.removed:
                farewell = removed_event(session_id, "removed")  # how is not known any more
                words.append(wire.event("session:removed", farewell))
        words.append(wire.connected(chat.id, pid))
        chat.register(first, before=b"".join(words), is_recovered=missed is not None)
        self._pid = pid
        self._recoveries.opened(pid, chat.user_id, self)
        for place, seq in () if missed is None else missed.settled:
            place.settle(seq)

    def give_up(self) -> None:
        """Leave the places that were taken for a recovery that comes to nothing."""
        for session_id in list(self.chat.places):
            self.chat.drop_place(session_id)

    async def receive(self, args: list[Any], id_: int | None, *, is_binary: bool) -> None:
        """Run an operation: the event's name and exactly one object, or none.

        Attachments are no object of any operation: bytes must not pass for text.
        """
        name, payload = args[0], args[1:]
        data: Any = payload[0] if len(payload) == 1 else payload or {}
        if is_binary:
            data = payload
        await self.chat.request(name, id_, data)

    def take_at_once(self, text: bytes, now: float) -> bool:
        """Start an operation that answers later. See `NamespaceSocket`."""
        if not may_be_at_once(text):
            return False
        packet = socketio.decode_event(text)
        if packet is None or packet.namespace != "/" or len(packet.data) != 2:  # noqa: PLR2004 - a name and its object
            return False
        name, payload = packet.data
        return self.chat.request_at_once(name, packet.id, payload, now)

    def acked(self, id_: int, args: list[Any]) -> None:
        """Take nothing: the chat asks its clients for no acks, so this is one for an unknown id."""

    def switched(self) -> None:
        """Write frames: a WebSocket has taken over."""
        self.chat.rewire(wire_of(self._session))

    def left(self, reason: str, code: CloseCode) -> None:
        """Leave everything; who may come back finds their state."""
        state = self._state() if reason in RECOVERABLE and code.reconnect else None
        self._recoveries.closed(self._pid, self, state)
        self.chat.unregister(code)

    def has_told(self, offset: object) -> bool:
        """Return whether this very connection sent an offset. See `Holder`."""
        return is_in(self._trail, offset)

    def surrender(self) -> ChatState:
        """Leave to a newer connection. See `chatd.nurseries.recovery.Holder`."""
        state = self._state()
        self.chat.unregister(CloseCode.SUPERSEDED)
        self._session.cut(CloseCode.SUPERSEDED)
        return state

    def _state(self) -> ChatState:
        positions = {
            session_id: place.position
            for session_id, place in self.chat.places.items()
            if isinstance(place, Seat) and place.position is not None
        }
        return ChatState(self.chat.id, self._epoch, positions, self._trail, self._origin)

    def last_packets(self, code: CloseCode) -> Sequence[bytes]:
        """Return `connection:closing`, and DISCONNECT when the client is to stay away."""
        told = closing_event(code)
        if told is None:
            return ()
        words: list[bytes | Binary] = [socketio.encode_event("connection:closing", dumps(told))]
        if not code.reconnect:
            words += socketio.encode(socketio.DISCONNECT, "/")
        return words
