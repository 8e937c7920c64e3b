"""Socket.IO for the chat: the engine at `/socket.io/`, its namespace, and what outlives a stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from chatd.nurseries.admission import Live
from chatd.nurseries.chat_namespace import ChatNamespace
from chatd.nurseries.chat_recovery import ChatState
from chatd.nurseries.doors import Doors
from chatd.nurseries.engine import Engine, open_engine
from chatd.nurseries.engine_session import Opening
from chatd.nurseries.recovery import Recoveries
from chatd.nurseries.socketio import SocketIoSession
from chatd.peers import Peers

ENGINE_PATHS = ("/socket.io/", "/socket.io")
FIRST_BYTES = 16_384  # of a payload before the login: a token has at most 8 KiB
SAVE_TIMEOUT = 5.0  # seconds to write the states of clients at the stop


@asynccontextmanager
async def open_chat_engine(
    live: Live, doors: Doors, peers: Peers | None = None
) -> AsyncIterator[Engine]:
    """Serve the chat over Socket.IO for the length of the block.

    Its end ends the sessions, and writes to the store what their clients need to come back.
    """
    settings = live.services.settings
    chat = ChatNamespace(live, Recoveries[ChatState](settings.recovery_seconds))
    namespaces = {"/": chat}

    def make_session(opening: Opening) -> SocketIoSession:
        return SocketIoSession(
            opening, namespaces, connect_timeout=settings.auth_timeout, first_bytes=FIRST_BYTES
        )

    try:
        async with open_engine(
            make_session, settings, live.services.metrics, doors, peers
        ) as engine:
            yield engine
    finally:
        with trio.move_on_after(SAVE_TIMEOUT, shield=True):
            await chat.save()
