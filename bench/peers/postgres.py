"""One durable PostgreSQL for all servers of a run: the embedded one's programs and settings."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from chatd.nurseries.pgaccount import environment, find_account, programs
from chatd.nurseries.pgcluster import INITDB, SETTINGS

USER = "postgres"
START_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 30.0  # seconds
SCHEMA = Path(__file__).with_name("schema.sql")
MORE = {"max_connections": "100"}  # three pools of 8, and every server is started often


@dataclass(frozen=True)
class Databases:
    """A running PostgreSQL: `pid` is the one to hold to account, with its children."""

    folder: Path
    pid: int

    def create(self, name: str, *, is_empty: bool) -> None:
        """Make a database anew: empty, or with the peers' schema."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
        if not is_empty:
            with psycopg.connect(self.conninfo(name)) as connection:
                connection.execute(SCHEMA.read_bytes())

    def conninfo(self, name: str) -> str:
        """Return what `database_url` takes."""
        return make_conninfo("", host=str(self.folder), user=USER, dbname=name)

    def environment(self, name: str) -> dict[str, str]:
        """Return what libpq and pg for Node read from the environment."""
        return {"PGHOST": str(self.folder), "PGUSER": USER, "PGDATABASE": name}


@contextmanager
def open_databases() -> Iterator[Databases]:
    """Run PostgreSQL for the length of the block: fsync and synchronous_commit are on.

    Raises:
        RuntimeError: it did not start; with its log.
    """
    with tempfile.TemporaryDirectory(prefix="chatd-bench-pg-") as name:
        folder = Path(name)
        account = find_account(folder)
        user = account.name if account.is_other else None
        if user is not None:
            shutil.chown(folder, user)
        bin_folder, data = programs(account), folder / "data"
        initdb = [part for part in INITDB if not part.startswith(("--auth", "--username"))]
        subprocess.run(
            [bin_folder / "initdb", "-D", data, *initdb, "--auth=trust", f"--username={USER}"],
            user=user, cwd=folder, env=environment(), check=True, capture_output=True,
        )  # fmt: skip
        settings = SETTINGS | MORE | {"unix_socket_directories": str(folder)}
        flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [bin_folder / "postgres", "-D", data, *flags],
                user=user, cwd=folder, env=environment(), stdout=log, stderr=log,
            )  # fmt: skip
        try:
            databases = Databases(folder, process.pid)
            _wait_ready(databases, process)
            yield databases
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast stop
            process.wait(STOP_TIMEOUT)


def _wait_ready(databases: Databases, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not _is_ready(databases):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((databases.folder / "log").read_text())
        time.sleep(0.05)


def _is_ready(databases: Databases) -> bool:
    try:
        psycopg.connect(databases.conninfo("postgres")).close()
    except psycopg.OperationalError:
        return False  # not listening yet
    return True
