"""pg_dump, pg_restore and psql of the wheel, fed and read a piece at a time.

They are PostgreSQL 18's, so they read every release that `database_url` may name up to 18; a
newer server is refused by pg_dump, which says so. Everything here blocks and belongs into a thread
of Trio's; a cancelled caller ends the program.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

import trio

from chatd.nurseries.pgaccount import Account, PostgresError, programs
from chatd.store.dumps import ConnInfo

CHUNK = 1 << 20  # bytes in memory at once
LOOK_INTERVAL = 0.5  # seconds between two looks whether the caller was cancelled
STALL_TIMEOUT = 600.0  # seconds without a byte: the server hangs, or a lock is never given
LOCK_TIMEOUT = 60_000  # ms for the locks of a dump: a migration under way holds some
END_TIMEOUT = 5.0  # seconds for a program that was told to end
HEAD_BYTES = 512  # of a script, in which its settings stand, ahead of any data
ERROR_TAIL = 2000  # characters of what a program complains

# What the server of a dump knows, and another may not: a setting of 17 and newer, and a note that
# 15.20 keeps at each column for itself.
_FOREIGN = re.compile(
    rb"^(?:SET transaction_timeout = 0;"
    rb"|ALTER TABLE ONLY \S+ ALTER COLUMN \S+ SET \(pg_attver=[0-9]+\);)\n",
    re.MULTILINE,
)
# Of search_lower(): which one knows all of Unicode differs between servers (0007_search.sql).
_COLLATION = re.compile(rb"(RETURN lower\(\(content COLLATE )[^()]+\)\)")


def dump(database: ConnInfo) -> Iterator[bytes]:
    """Yield a consistent dump, of one moment, in pg_dump's custom format.

    Raises:
        PostgresError: the server cannot be reached or refuses; the text is pg_dump's.
    """
    arguments = [
        *(*_connecting(database), "--no-owner", "--no-privileges"),
        *("--format=custom", f"--lock-wait-timeout={LOCK_TIMEOUT}"),
    ]
    with _running("pg_dump", arguments, database, stdout=subprocess.PIPE) as program:
        yield from program.output()


def load(database: ConnInfo, file: BinaryIO, offset: int, *, collation: str) -> None:
    """Load the dump at this place of a file in one transaction: all of it, or nothing.

    pg_restore writes scripts, which psql runs: in between goes what the server does not know.

    Args:
        collation: the one of the server by which search compares (`chatd.store.dumps`).

    Raises:
        PostgresError: it is no dump, or does not fit into what is there; the text is theirs.
    """
    arguments = [*_connecting(database), "--no-psqlrc", "--quiet"]
    arguments += ["--set=ON_ERROR_STOP=1", "--file=-"]
    with _running("psql", arguments, database, stdin=subprocess.PIPE) as psql:
        assert psql.process.stdin is not None  # noqa: S101 - PIPE
        try:
            for chunk in _transaction(file, offset, collation.encode()):
                _feed(psql.process, chunk)
            psql.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended before its input did, and `wait` tells why
        # The last index is built behind the last byte, and takes as long as it takes.
        psql.wait()


def _transaction(file: BinaryIO, offset: int, collation: bytes) -> Iterator[bytes]:
    """Yield the script of a dump as one transaction, committed when all of it was there.

    Only what stands ahead of the data is looked through: no line in it is anybody's words.
    """
    yield b"BEGIN;\n"
    shape = _FOREIGN.sub(b"", b"".join(_script(file, offset, "pre-data")))
    yield _COLLATION.sub(lambda found: found[1] + collation + b"))", shape)
    rest = _script(file, offset, "data", "post-data")
    head = b""
    while len(head) < HEAD_BYTES and (chunk := next(rest, b"")):
        head += chunk
    yield _FOREIGN.sub(b"", head[:HEAD_BYTES], count=1) + head[HEAD_BYTES:]
    yield from rest
    yield b"COMMIT;\n"


def _script(file: BinaryIO, offset: int, *sections: str) -> Iterator[bytes]:
    os.lseek(file.fileno(), offset, os.SEEK_SET)
    arguments = ["--no-owner", "--no-privileges", "--file=-"]
    arguments += [f"--section={section}" for section in sections]
    with _running("pg_restore", arguments, stdin=file.fileno(), stdout=subprocess.PIPE) as program:
        yield from program.output()


class _Running:
    """A program under way, and what it complains of."""

    def __init__(self, process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self.process = process
        self._complaints = complaints

    def output(self) -> Iterator[bytes]:
        """Yield what it writes, until it has ended well.

        Raises:
            PostgresError: it did not, or it hangs.
        """
        assert self.process.stdout is not None  # noqa: S101 - PIPE
        descriptor = self.process.stdout.fileno()
        _wait_ready(descriptor, select.POLLIN, self.process)
        while chunk := os.read(descriptor, CHUNK):
            yield chunk
            _wait_ready(descriptor, select.POLLIN, self.process)
        self.wait()

    def wait(self) -> None:
        """Wait for its end, as long as it takes; Ctrl-C ends the wait.

        Raises:
            PostgresError: it did not end well.
        """
        while self.process.poll() is None:
            trio.from_thread.check_cancelled()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(LOOK_INTERVAL)
        if self.process.returncode != 0:
            self._complaints.seek(0)
            said = self._complaints.read().decode(errors="replace").strip()[-ERROR_TAIL:]
            raise PostgresError(said or f"the program ended with status {self.process.returncode}")


@contextmanager
def _running(
    program: str,
    arguments: list[str],
    database: ConnInfo | None = None,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> Iterator[_Running]:
    """Run a program for the block; at its end it has ended."""
    us = Account("", os.geteuid(), os.getegid())
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(  # noqa: S603 - the wheel's program
            [programs(us) / program, *arguments],
            env=_environment(database),
            stdin=stdin,
            stdout=stdout,
            stderr=complaints,
            bufsize=0,
        )
        try:
            yield _Running(process, complaints)
        finally:
            _end(process)


def _connecting(database: ConnInfo) -> list[str]:
    return ["--no-password", f"--dbname={database.shown}"]


def _environment(database: ConnInfo | None) -> dict[str, str]:
    """Return our environment without our secrets; a password stands there, not in the command."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
    password = {}
    if database is not None and database.password is not None:
        password["PGPASSWORD"] = database.password
    return ours | {"LC_ALL": "C", "PGAPPNAME": "chatd-backup"} | password


def _feed(process: subprocess.Popen[bytes], chunk: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - PIPE
    descriptor = process.stdin.fileno()
    os.set_blocking(descriptor, False)  # a pipe that has room takes what it has room for
    view = memoryview(chunk)
    while view:
        _wait_ready(descriptor, select.POLLOUT, process)
        view = view[os.write(descriptor, view) :]


def _wait_ready(descriptor: int, condition: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a pipe can be used, or its other end is closed.

    Raises:
        PostgresError: nothing happened for `STALL_TIMEOUT`.
    """
    poll = select.poll()
    poll.register(descriptor, condition)
    give_up_at = time.monotonic() + STALL_TIMEOUT
    while not poll.poll(LOOK_INTERVAL * 1000):
        trio.from_thread.check_cancelled()
        if time.monotonic() > give_up_at:
            msg = f"process {process.pid} has done nothing for {STALL_TIMEOUT:.0f} s"
            raise PostgresError(msg)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
