"""A real PgBouncer in front of a PostgreSQL of the tests."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio_asyncio  # noqa: F401 - before psycopg, or psycopg keeps the unpatched asyncio

import psycopg  # isort: skip

from tests.databases import PostgresServer

PROGRAM = Path("/usr/sbin/pgbouncer")
SIZE = 2  # sessions of the server for a database: fewer than any pool of chatd has connections

_CONFIG = """
[databases]
* = host={server} user=postgres pool_mode={mode} pool_size={size}
[pgbouncer]
unix_socket_dir = {folder}
listen_port = 5432
auth_type = any
max_client_conn = 200
server_round_robin = 1
"""


@dataclass(frozen=True)
class Pooler:
    """A running PgBouncer; it gives out its sessions in turn, so that no luck hides a mistake."""

    folder: Path
    server: PostgresServer

    def url(self, url: str) -> str:
        """Return how a database of the server is reached through this."""
        return url.replace(str(self.server.folder), str(self.folder))


@contextmanager
def running_pooler(
    server: PostgresServer, mode: Literal["session", "transaction"] = "transaction"
) -> Iterator[Pooler]:
    """Run a PgBouncer in front of a server; its sockets are named as the server's."""
    folder = Path(tempfile.mkdtemp(prefix="chatd-pooler-"))
    config = folder / "pgbouncer.ini"
    size = SIZE if mode == "transaction" else 20
    config.write_text(_CONFIG.format(server=server.folder, folder=folder, mode=mode, size=size))
    if server.service_user is not None:
        shutil.chown(folder, server.service_user)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [PROGRAM, config],
        user=server.service_user,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    pooler = Pooler(folder, server)
    try:
        give_up_at = time.monotonic() + 10
        while not _is_ready(pooler.url(server.conninfo())):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.02)
        yield pooler
    finally:
        process.kill()
        process.wait(10)
        log.close()
        shutil.rmtree(folder)


def _is_ready(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
