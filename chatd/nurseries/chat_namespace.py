"""The chat over Socket.IO: namespace `/`, the token at CONNECT, recovery of stock clients.

The operations, their checks and their answers are those of `/ws` and REST.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
import trio

from chatd.errors import ChatError, CloseCode, Forbidden, StoreError, Unauthorized
from chatd.nurseries.admission import (
    FirstState,
    Live,
    NotAdmitted,
    identify,
    read_first_state,
)
from chatd.nurseries.chat_catchup import catch_up
from chatd.nurseries.chat_client import ChatClient
from chatd.nurseries.chat_recovery import ChatState, clean_offset, state_from_json
from chatd.nurseries.recovery import Recoveries, Saved, new_pid
from chatd.nurseries.socketio import ConnectRefused, SocketIoSession, new_socket_id
from chatd.rows import RecoveryRow

SAVE_PIECE = 200  # states written at once at the stop: 50 ms of work between two looks at the clock

log = structlog.get_logger("chatd.socketio")


class ChatNamespace:
    """See `chatd.nurseries.socketio.Namespace`."""

    def __init__(self, live: Live, recoveries: Recoveries[ChatState]) -> None:
        self._live = live
        self._services = live.services
        self._recoveries = recoveries
        self._started = trio.current_time()
        self._claims = None if live.cluster is None else live.cluster.claims
        if self._claims is not None:
            self._claims.give = self._give

    async def admit(self, session: SocketIoSession, auth: dict[str, Any]) -> ChatClient:
        """Let in who has a good token, with the state of before if it is theirs.

        Raises:
            ConnectRefused: the token is no good, or the user may not; `data.code` tells.
        """
        try:
            return await self._admit(session, auth)
        except ChatError as refusal:
            raise ConnectRefused(refusal.message, refusal.to_wire(session.id)) from None
        except NotAdmitted as refused:
            code = refused.code
        if code.reconnect:  # a stock client comes back after a close alone
            session.cut(code)
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
        raise _refusal(code, session.id)

    async def _admit(self, session: SocketIoSession, auth: dict[str, Any]) -> ChatClient:
        token = auth.get("token")
        if not isinstance(token, str):
            raise Unauthorized
        identity = await identify(self._live, token, session.peer)
        return await self._enter(session, auth, await read_first_state(self._live, identity))

    async def _enter(
        self, session: SocketIoSession, auth: dict[str, Any], first: FirstState
    ) -> ChatClient:
        pid, origin = auth.get("pid"), clean_offset(auth.get("offset"))
        if isinstance(pid, str):
            state = await self._claim(pid, first.identity.user_id, origin)
            positions = None if state is None else state.positions_at(origin)
            if state is not None and positions is not None:
                try:
                    client = await self._recover(session, pid, origin, first, state, positions)
                except BaseException:  # also when the client goes once more: it will come again
                    self._recoveries.save(pid, first.identity.user_id, state)
                    raise
                if client is not None:
                    return client
            self._services.metrics.recoveries.labels("false").inc()
        client = self._client(session, first, new_socket_id(), origin)
        client.welcome(new_pid(), None)
        return client

    def _client(
        self, session: SocketIoSession, first: FirstState, socket_id: str, origin: str | None
    ) -> ChatClient:
        return ChatClient(
            self._live,
            session,
            self._recoveries,
            first=first,
            socket_id=socket_id,
            origin=origin,
        )

    # Recovery

    async def _claim(self, pid: str, user_id: UUID, offset: str | None) -> ChatState | None:
        """Take the state of a `pid`: ours, another daemon's, or what one that stopped has left."""
        state = self._recoveries.claim(pid, user_id, offset)
        is_young = trio.current_time() < self._started + self._services.settings.recovery_seconds
        claims = self._claims
        if state is None and claims is not None:
            raw = await claims.claim(pid, user_id, offset)
            state = None if raw is None else state_from_json(raw)
            is_young = True  # it may have stopped a moment ago
        if state is None and is_young:
            try:
                row = await self._services.store.take_recovery(pid, user_id, self._services.now())
            except StoreError as trouble:
                log.warning("no recovery", error=type(trouble).__name__)
                raise NotAdmitted(CloseCode.INTERNAL) from None
            state = None if row is None else state_from_json(row.state)
        return state if state is not None and state.epoch == self._services.epoch else None

    def _give(self, pid: str, user_id: UUID, offset: str | None) -> bytes | None:
        """Give the state of a client to another daemon, to which it has come back."""
        state = self._recoveries.claim(pid, user_id, offset)
        return None if state is None else state.to_json()

    async def _recover(
        self,
        session: SocketIoSession,
        pid: str,
        origin: str | None,
        first: FirstState,
        state: ChatState,
        positions: dict[UUID, int],
    ) -> ChatClient | None:
        """Give a client its state again; None when it has missed too much."""
        client = self._client(session, first, state.socket_id, origin)
        try:
            missed = await catch_up(self._services, client.chat, positions, state.gone_at(origin))
            if missed is not None:
                client.welcome(pid, missed)
                self._services.metrics.recoveries.labels("true").inc()
                return client
        except StoreError as trouble:
            log.warning("no recovery", error=type(trouble).__name__)
            client.give_up()
            raise NotAdmitted(CloseCode.INTERNAL) from None
        except BaseException:
            client.give_up()
            raise
        client.give_up()
        return None

    # The stop

    async def save(self) -> None:
        """Write the states of clients that went to the store: they come back after the restart.

        The newest first, in pieces: the stop has a deadline, and what is written by then is good.
        """
        states = list(self._recoveries.saved())
        states.reverse()
        saved = 0
        try:
            for start in range(0, len(states), SAVE_PIECE):
                piece = states[start : start + SAVE_PIECE]
                await self._services.store.save_recoveries(self._rows(piece), self._services.now())
                saved += len(piece)
        except StoreError as trouble:
            log.warning("recoveries not saved", error=type(trouble).__name__)
        finally:
            if states:
                log.info("recoveries saved", count=saved, of=len(states))

    def _rows(self, states: list[tuple[str, Saved[ChatState]]]) -> list[RecoveryRow]:
        now, clock = self._services.now(), trio.current_time()
        return [
            RecoveryRow(
                pid,
                saved.owner,
                saved.state.to_json(),
                now + timedelta(seconds=saved.forget_at - clock),
            )
            for pid, saved in states
            if saved.owner is not None
        ]


def _refusal(code: CloseCode, request_id: str) -> ConnectRefused:
    """Return the refusal of a client that is to stay away."""
    is_crowd = code is CloseCode.TOO_MANY_CONNECTIONS
    error: ChatError = Forbidden(code.reason) if is_crowd else Unauthorized(code.reason)
    return ConnectRefused(error.message, error.to_wire(request_id))
