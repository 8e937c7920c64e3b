"""The servers of a run: chatd and its peers, each on a fresh database of its own."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bench.daemon import Server, free_port, launched, started
from bench.peers.postgres import Databases

HERE = Path(__file__).parent
SERVERS = ("chatd", "node", "python")
POOL_SIZE = "8"  # as chatd's
BCRYPT_ROUNDS = "4"  # as the bench's chatd


@contextmanager
def open_fleet(names: Sequence[str], databases: Databases) -> Iterator[dict[str, Server]]:
    """Run some servers side by side, on empty databases, for the length of the block.

    Raises:
        RuntimeError: one ended, or was not ready in time.
    """
    with ExitStack() as stack:
        yield {name: stack.enter_context(_open(name, databases)) for name in names}


def missing(names: Sequence[str]) -> str | None:
    """Return what has to be installed before these servers can run, or None."""
    if "node" in names and (
        shutil.which("node") is None or not (HERE / "node" / "node_modules").is_dir()
    ):
        return "Node, and its packages: make bench-peers"
    if "python" in names and not (HERE / "python" / ".venv" / "bin" / "uvicorn").exists():
        return "the Python peer's packages: make bench-peers"
    return None


def _open(name: str, databases: Databases) -> AbstractContextManager[Server]:
    database = f"bench_{name}"
    databases.create(database, is_empty=name == "chatd")  # chatd migrates it
    if name == "chatd":
        return started({"CHATD_DATABASE_URL": databases.conninfo(database)})
    port = free_port()
    settings = databases.environment(database) | {
        "PORT": str(port),
        "POOL_SIZE": POOL_SIZE,
        "BCRYPT_ROUNDS": BCRYPT_ROUNDS,
        "JWT_SECRET": secrets.token_urlsafe(32),
        "NODE_ENV": "production",
    }
    return launched(_node() if name == "node" else _uvicorn(port), settings, port)


def _node() -> list[str]:
    return ["node", str(HERE / "node" / "server.js")]


def _uvicorn(port: int) -> list[str]:
    # No deflate, as in the others by default; heartbeats are Engine.IO's, not the WebSocket's too.
    return [
        str(HERE / "python" / ".venv" / "bin" / "python"),
        *("-m", "uvicorn", "bench.peers.python.server:app", "--host=127.0.0.1", f"--port={port}"),
        *("--loop=uvloop", "--http=httptools", "--log-level=warning", "--no-access-log"),
        *("--ws-per-message-deflate=false", "--ws-ping-interval=0", "--backlog=4096"),
    ]
