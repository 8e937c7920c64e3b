"""The floor: what the kernel alone takes for a write of a ready frame to a loopback socket.

The writer is a process of its own (`python -m bench.floor SOCKETS SIZE`), a bare loop of
`os.write`; the readers are the same kind of loop that drains chatd's deliveries. The writer never
runs ahead by more than a window, as the senders of the `delivery` scenario do not either.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time

RECEIVE_BYTES = 32_768  # as the swarm's
WARM_UP = 3  # windows before the books are opened
START_TIMEOUT = 20.0  # seconds for the writer to listen


def measure(*, sockets: int, size: int, window: int, writes: int) -> float:
    """Return the CPU microseconds of the writer for one write.

    Args:
        sockets: how many a message goes to.
        size: bytes of the frame.
        window: messages that are out before the readers must have caught up.
        writes: how many at least are measured.
    """
    command = [sys.executable, "-m", "bench.floor", str(sockets), str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        port = int(writer.stdout.readline())
        readers = [socket.create_connection(("127.0.0.1", port)) for _ in range(sockets)]
        try:
            windows = max(1, -(-writes // (sockets * window)))
            writer.stdin.write(f"{window} {windows}\n".encode())
            writer.stdin.flush()
            _drain(readers, size * window * sockets, windows + WARM_UP, writer.stdin.fileno())
            result = json.loads(writer.stdout.readline())
        finally:
            for reader in readers:
                reader.close()
    return float(result["cpu"] / result["writes"] * 1e6)


def _drain(readers: list[socket.socket], window_bytes: int, windows: int, tell: int) -> None:
    """Read window after window, and tell the writer after each."""
    with select.epoll() as epoll:
        receive = {reader.fileno(): reader.recv for reader in readers}
        for reader in readers:
            reader.settimeout(0)  # non-blocking
            epoll.register(reader.fileno(), select.EPOLLIN)
        for _ in range(windows):
            left = window_bytes
            while left > 0:
                for fd, _ in epoll.poll(START_TIMEOUT, 1024):
                    received = len(receive[fd](RECEIVE_BYTES))
                    if not received:
                        raise ConnectionError("the writer of the floor ended")
                    left -= received
            os.write(tell, b".")


def write(sockets: int, size: int) -> None:
    """Be the writer: listen, say where, take the window and the count, write, say the cost."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        listener.settimeout(START_TIMEOUT)
        print(listener.getsockname()[1], flush=True)
        accepted = [listener.accept()[0] for _ in range(sockets)]
    for one in accepted:
        one.settimeout(0)  # non-blocking
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    window, windows = (int(word) for word in _read_line().split())
    fds, frame = [one.fileno() for one in accepted], b"x" * size
    _write_windows(fds, frame, window, WARM_UP)
    started_at = time.process_time()
    _write_windows(fds, frame, window, windows)
    cpu = time.process_time() - started_at
    print(json.dumps({"cpu": cpu, "writes": windows * window * sockets}), flush=True)
    for one in accepted:
        one.close()


def _read_line() -> bytes:
    """Read standard input byte by byte: what follows the line is read by `os.read`."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1)
    return line


def _write_windows(fds: list[int], frame: bytes, window: int, windows: int) -> None:
    system_write = os.write
    for _ in range(windows):
        for _ in range(window):
            for fd in fds:
                system_write(fd, frame)
        os.read(0, 1)


if __name__ == "__main__":
    write(int(sys.argv[1]), int(sys.argv[2]))
