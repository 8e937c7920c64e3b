"""The receiving half of one client's connection: its task waits here for what the peer says.

Over a socket the poller calls `readable`, which takes what can be taken at once and wakes the task
for the rest; over any other stream the task reads by itself.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod

import outcome
import structlog
import trio

from chatd.nurseries.plain_socket import plain_socket
from chatd.nurseries.poller import Poller

READ_BYTES = 65_536

log = structlog.get_logger("chatd.connection")


class Receiving(ABC):
    """What a connection reads from, a stream that it has from the start or gets later."""

    __slots__ = (
        "_heard",
        "_is_reading",
        "_is_watched",
        "_parked",
        "_poller",
        "_socket",
        "_stream",
        "id",
    )

    def __init__(self, connection_id: str) -> None:
        self.id = connection_id
        self._heard = trio.current_time()
        self._is_reading = True
        self._stream: trio.abc.Stream | None = None
        self._socket: socket.socket | None = None
        self._poller: Poller | None = None
        self._is_watched = False  # the poller calls `readable`
        self._parked: trio.lowlevel.Task | None = None  # the task, while it waits for that

    @abstractmethod
    def _has_left(self) -> None:
        """End the connection: the peer has ended it."""

    def _read_from(self, stream: trio.abc.Stream, poller: Poller | None) -> None:
        self._stream, self._poller = stream, poller
        # Read and written without Trio's stream around it: 15 µs less a message.
        self._socket = plain_socket(stream)

    async def _receive(self) -> bytes:
        """Wait for bytes of the peer; its end ends the connection."""
        self._heard = trio.current_time()
        self._is_reading = True
        if self._poller is None or self._socket is None:
            data = await self._read()
        else:
            data = await self._park(self._poller, self._socket)
        if data is None:
            return b""
        if not data:
            self._has_left()
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
        self._is_reading = False
        return data

    async def _read(self) -> bytes | None:
        """Wait for bytes, in Trio; empty at the peer's end, None when there are none after all."""
        assert self._stream is not None  # noqa: S101 - attached before anything is read
        try:
            if self._socket is None:
                return bytes(await self._stream.receive_some(READ_BYTES))
            # A client that waits for its answer has sent nothing yet: ask the kernel afterwards.
            await trio.lowlevel.wait_readable(self._socket)
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            return b""

    async def _park(self, poller: Poller, sock: socket.socket) -> bytes:
        """Wait for bytes that `_take_at_once` leaves; empty at the peer's end."""
        if not self._is_watched:
            try:
                poller.watch(sock.fileno(), self)
            except ValueError:
                return b""  # closed by who had the stream
            except OSError as trouble:
                log.warning("not_watched", connection=self.id, error=str(trouble))
                return b""
            self._is_watched = True
        self._parked = trio.lowlevel.current_task()
        data: bytes = await trio.lowlevel.wait_task_rescheduled(self._unpark)
        return data

    def _unpark(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    def readable(self, now: float) -> None:
        """Read what has come, and wake the task if it is for it. See `Reader`."""
        if self._parked is None or self._socket is None:
            self._unwatch()  # the task is busy: it comes back for it
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if data and self._take_at_once(data, now):
                self._heard = now
                return
        except Exception as bug:
            if not self._wake(outcome.Error(bug)):  # it was cut before: its task ends already
                log.exception("connection_failed", connection=self.id)
        else:
            self._wake(outcome.Value(data))

    def _wake(self, result: outcome.Outcome[bytes]) -> bool:
        task, self._parked = self._parked, None
        if task is not None:
            trio.lowlevel.reschedule(task, result)
        return task is not None

    def _take_at_once(self, data: bytes, now: float) -> bool:
        """Handle bytes without a wait and without the task; False: they are left as they were."""
        del data, now
        return False

    def _unwatch(self) -> None:
        if self._is_watched and self._poller is not None and self._socket is not None:
            self._is_watched = False
            self._poller.forget(self._socket.fileno())
