"""Fixtures for all tests: one PostgreSQL for the whole run, and a fresh database for each test."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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


# The oldest release that `database_url` may name, as Debian and others install it.
OLDEST = Path("/usr/lib/postgresql/15/bin")


@dataclass
class PostgresServer:
    """A PostgreSQL of our own in a temporary folder, listening on a socket in it only.

    `fsync=off`: the machine does not lose power during a test, and killed processes lose nothing.
    """

    folder: Path
    account: Account  # PostgreSQL refuses to run as root
    bin_folder: Path
    locale: tuple[str, ...] = ("--locale-provider=builtin", "--locale=C.UTF-8")
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
                self.bin_folder / "initdb",
                f"--pgdata={self.folder / 'data'}",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                *self.locale,
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
                    self.bin_folder / "postgres",
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


@contextmanager
def _running(bin_folder: Path | None, *locale: str) -> Iterator[PostgresServer]:
    """Run a PostgreSQL with a migrated template database; without a folder the embedded one."""
    folder = Path(tempfile.mkdtemp(prefix="chatd-pg-"))
    account = find_account(folder)
    server = PostgresServer(folder, account, bin_folder or programs(account))
    if locale:
        server.locale = locale
    try:
        server.initialise()
        server.start()
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        trio.run(migrate, server.conninfo(TEMPLATE))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def _database(server: PostgresServer) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield server.conninfo(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for the whole session; its template database is migrated."""
    with _running(None) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the conninfo of a fresh, migrated database of this test's own."""
    with _database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def oldest_server() -> Iterator[PostgresServer]:
    """Run the oldest PostgreSQL that we promise to work with; skipped where it is not installed."""
    if not OLDEST.is_dir():
        pytest.skip("PostgreSQL 15 is not installed")
    with _running(OLDEST, "--locale=C") as server:
        yield server


@pytest.fixture
def oldest_database_url(oldest_server: PostgresServer) -> Iterator[str]:
    """Return the conninfo of a fresh, migrated database on the oldest PostgreSQL."""
    with _database(oldest_server) as url:
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where TESTS_MAY_NOT_SKIP is set, as in CI, a test that cannot run has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("TESTS_MAY_NOT_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped here: {report.longrepr}"
    return report
