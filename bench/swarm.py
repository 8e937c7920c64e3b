"""Thousands of client sockets in one loop: raw, non-blocking, on epoll, no task a connection."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from bench.frames import TEXT, FrameCounter
from bench.wires import Wire

RECEIVE_BYTES = 32_768  # a window of deliveries; from 128 KiB on malloc maps pages each time
CONNECT_BATCH = 64  # connections under way at once: below any backlog
PATIENCE = 60.0  # seconds without what a scenario waits for: the server is stuck
EVENTS = 1024  # of one epoll_wait

Answered = Callable[[int, float], None]


class Peer:
    """One client socket."""

    __slots__ = ("_head", "answered", "counter", "is_ready", "sock", "swarm")

    def __init__(self, swarm: Swarm, sock: socket.socket) -> None:
        self.swarm = swarm
        self.sock = sock
        self.counter = FrameCounter(swarm.wire.mark)
        self.is_ready = False
        self.answered: Answered | None = None
        self._head: bytes | None = b""  # of the 101, until it is complete

    def send(self, data: bytes) -> None:
        """Write a small frame; a full kernel buffer means that the bench is wrong."""
        sent = self.sock.send(data)
        if sent != len(data):
            raise BlockingIOError("the server does not read")

    def receive(self) -> int:
        """Read what waits and return the deliveries in it."""
        data = self.sock.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server hung up")
        if self._head is not None:
            data = self._after_head(data)
        before = self.counter.deliveries
        for opcode, payload in self.counter.feed(data):
            self._other(opcode, payload)
        return self.counter.deliveries - before

    def _after_head(self, data: bytes) -> bytes:
        self._head = (self._head or b"") + data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return b""
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(f"no upgrade: {self._head[:300]!r}")
        self._head = None
        return rest

    def _other(self, opcode: int, payload: bytes) -> None:
        wire = self.swarm.wire
        reply = wire.reply(opcode, payload)
        if reply:
            self.send(reply)
        if opcode != TEXT:
            return
        if not self.is_ready:
            self._get_ready(payload)
        elif self.answered is not None and (answer := wire.answer(payload)) is not None:
            request_id, error = answer
            if error is not None:
                raise ConnectionError(f"request {request_id} was refused: {error}")
            self.answered(request_id, time.perf_counter())

    def _get_ready(self, payload: bytes) -> None:
        wire = self.swarm.wire
        if wire.is_ready(payload):
            self.is_ready = True
            self.swarm.ready += 1
        elif greeting := wire.greeting(payload, self.swarm.token_of(self)):
            self.send(greeting)


class Swarm:
    """Sockets of one wire to one server; a context manager that closes them all."""

    def __init__(self, wire: Wire, address: tuple[str, int]) -> None:
        self.wire = wire
        self.address = address
        self.peers: dict[int, Peer] = {}
        self.ready = 0
        self.deliveries = 0
        self._tokens: dict[int, str] = {}
        self._epoll = select.epoll()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for peer in self.peers.values():
            peer.sock.close()
        self._epoll.close()

    def token_of(self, peer: Peer) -> str:
        """Return the token that a peer connected with."""
        return self._tokens[peer.sock.fileno()]

    def connect(self, tokens: Sequence[str], address: tuple[str, int] | None = None) -> list[Peer]:
        """Open one authenticated connection a token and return them, all ready.

        Args:
            address: of a server other than the swarm's.
        """
        opened: list[Peer] = []
        for start in range(0, len(tokens), CONNECT_BATCH):
            batch = tokens[start : start + CONNECT_BATCH]
            opened += [self._open(token, address or self.address) for token in batch]
            self.pump(lambda: self.ready >= len(self.peers))
        return opened

    def _open(self, token: str, address: tuple[str, int]) -> Peer:
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0)  # non-blocking
        peer = Peer(self, sock)
        fd = sock.fileno()
        self.peers[fd], self._tokens[fd] = peer, token
        self._epoll.register(fd, select.EPOLLIN)
        host, port = address
        peer.send(self.wire.upgrade(f"{host}:{port}", token))
        return peer

    def join(self, peers: Sequence[Peer], session_id: str) -> None:
        """Join a session on some peers and wait for all answers."""
        waiting = set(range(len(peers)))

        def answered(request_id: int, at: float) -> None:
            del at
            waiting.discard(request_id)

        for request_id, peer in enumerate(peers):
            peer.answered = answered
            peer.send(self.wire.join(request_id, session_id))
            if request_id % CONNECT_BATCH == 0:
                self.poll(0)
        self.pump(lambda: not waiting)
        for peer in peers:
            peer.answered = None

    def poll(self, timeout: float) -> int:
        """Read once from every socket that has something; return how many had."""
        events = self._epoll.poll(timeout, EVENTS)
        peers = self.peers
        for fd, _ in events:
            self.deliveries += peers[fd].receive()
        return len(events)

    def pump(self, is_done: Callable[[], bool]) -> None:
        """Read until something is true.

        Raises:
            TimeoutError: nothing at all arrived for `PATIENCE` seconds.
        """
        while not is_done():
            if not self.poll(PATIENCE) and not is_done():
                raise TimeoutError(f"nothing arrived for {PATIENCE:.0f} s")

    def settle(self, quiet: float = 0.3) -> None:
        """Read until nothing has come for some seconds: presence goes out a little later."""
        deadline = time.monotonic() + PATIENCE
        while self.poll(quiet):
            if time.monotonic() > deadline:
                raise TimeoutError("the server never falls silent")
