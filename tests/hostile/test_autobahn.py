"""Autobahn's cases against our WebSocket: an echo on the reader, frames and outbox of `/ws`.

The cases are the Autobahn|Testsuite's own, run by kosoku. Those of compression are left out: chatd
declines the extension, and a case that cannot be run says nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trio
from kosoku import FailureError, run_fuzzingclient

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.metrics import Metrics
from chatd.nurseries.connection import Connection
from chatd.nurseries.doors import Doors
from chatd.nurseries.http import HttpServer, Routes, Upgrade, UpgradeRoute
from chatd.nurseries.listener import Guard, bound_port, open_listeners, serve_listeners
from chatd.wire.frames import Binary, binary_frame, close_frame, ping_frame, text_frame
from chatd.wire.websocket import WebSocketEnd, WebSocketReader
from tests.http_kit import no_app, screen_none

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
CLOSED = {"OK", "INFORMATIONAL"}
TIMEOUT = 300.0  # seconds; the cases take 15
CASES = 301  # without compression
# What the cases send: 16 MiB in one message, and 4 MiB in fragments of 64 bytes.
LIMITS: dict[str, Any] = {"frame_bytes": 2**25, "max_fragments": 2**17, "outbox_bytes": 2**27}


class EchoConnection(Connection):
    """Sends back every message, text as text and binary as binary."""

    def __init__(self, upgrade: Upgrade, settings: Settings) -> None:
        super().__init__(connection_id="echo", peer=upgrade.peer, settings=settings)
        self._attach(upgrade.stream)
        self._first = upgrade
        self._reader = WebSocketReader(
            max_size=settings.frame_bytes, max_fragments=settings.max_fragments, takes_binary=True
        )
        self._goodbye: bytes | None = None

    async def _converse(self) -> None:
        self.outbox.push(self._first.answer)
        self._echo(self._first.leftover)
        while True:
            await self.outbox.has_less()
            self._echo(await self._receive())

    def _echo(self, data: bytes) -> None:
        try:
            messages = self._reader.feed(data)
        except WebSocketEnd as end:
            self._goodbye, messages = end.goodbye, end.messages
            self.cut(end.code)
        else:
            pongs = self._reader.replies()
            if pongs:
                self.outbox.push(pongs)
        for message in messages:
            if not isinstance(message, Binary) and not is_utf8(message):
                self._goodbye = None
                self.cut(CloseCode.INVALID_DATA)
                return
            frame = binary_frame if isinstance(message, Binary) else text_frame
            self.outbox.push(frame(bytes(message)))

    def _ended(self, code: CloseCode) -> None:
        """Nobody else knows an echo."""

    def _farewell(self, code: CloseCode) -> bytes:
        return self._goodbye or close_frame(code.code, code.reason)

    def ping(self) -> None:
        self.outbox.push(ping_frame())


def is_utf8(message: bytes | bytearray) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


async def serve_echo(
    settings: Settings, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the echo at `/`; `nursery.start` returns its port."""

    async def echo(upgrade: Upgrade) -> None:
        await EchoConnection(upgrade, settings).run()

    doors = Doors(settings)
    server = HttpServer(Routes(no_app, {}, {"/": UpgradeRoute(screen_none, echo)}), settings)
    listeners = await open_listeners(settings)
    async with trio.open_nursery() as nursery:
        guard = Guard(
            server.serve_connection, nursery, max_connections=100, metrics=Metrics(), doors=doors
        )
        await nursery.start(serve_listeners, listeners, guard)
        task_status.started(bound_port(listeners[0]))


async def results_of(port: int) -> list[Any]:
    """Run the cases; kosoku is asyncio's, so that it has a thread of its own."""

    async def run() -> list[Any]:
        try:
            url = f"ws://127.0.0.1:{port}/"
            return list(await run_fuzzingclient(url, exclude_cases=["12.*", "13.*"]))
        except FailureError as failure:
            return list(failure.results)

    return await trio.to_thread.run_sync(asyncio.run, run())


@pytest.mark.threat("T34", "T35", "T36")
async def test_no_case_of_autobahn_fails() -> None:
    settings = Settings(port=0, rate_limits="off", **LIMITS)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_echo, settings)
        with trio.fail_after(TIMEOUT):
            results = await results_of(port)
        nursery.cancel_scope.cancel()
    verdicts = [(each.case_id, each.behavior.value, each.behavior_close.value) for each in results]
    assert [each for each in verdicts if each[1] not in PASSED or each[2] not in CLOSED] == []
    assert len(verdicts) == CASES
