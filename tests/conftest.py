"""Fixtures for all tests: one PostgreSQL for the whole run, and a fresh database for each test."""

from __future__ import annotations

import faulthandler
import logging
import os
import subprocess
from collections.abc import Generator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.databases import (
    PostgresServer,
    catch_up,
    fresh_database,
    running_postgres,
    running_replica,
)
from tests.poolers import PROGRAM, Pooler, running_pooler

# The oldest release that `database_url` may name, as Debian and others install it.
OLDEST = Path("/usr/lib/postgresql/15/bin")
EXIT_TIMEOUT = 120  # seconds from the last test to the end of the process, with what coverage saves


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
    with running_postgres(None) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the conninfo of a fresh, migrated database of this test's own."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def replica_server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """Run a streaming replica of the PostgreSQL of this session."""
    with running_replica(postgres_server) as replica:
        yield replica


@pytest.fixture
def replica_url(
    postgres_server: PostgresServer, replica_server: PostgresServer, database_url: str
) -> Iterator[str]:
    """Return where the replica shows the database of this test, all of it as it is."""
    catch_up(postgres_server, replica_server)
    yield database_url.replace(str(postgres_server.folder), str(replica_server.folder))
    catch_up(postgres_server, replica_server)


@pytest.fixture(scope="session")
def pooler(postgres_server: PostgresServer) -> Iterator[Pooler]:
    """Run a PgBouncer in transaction mode; skipped where it is not installed."""
    if not PROGRAM.exists():
        pytest.skip("PgBouncer is not installed")
    with running_pooler(postgres_server) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def oldest_server() -> Iterator[PostgresServer]:
    """Run the oldest PostgreSQL that we promise to work with; skipped where it is not installed."""
    if not OLDEST.is_dir():
        pytest.skip("PostgreSQL 15 is not installed")
    with running_postgres(OLDEST, "--locale=C") as server:
        yield server


@pytest.fixture
def oldest_database_url(oldest_server: PostgresServer) -> Iterator[str]:
    """Return the conninfo of a fresh, migrated database on the oldest PostgreSQL."""
    with fresh_database(oldest_server) as url:
        yield url


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a fresh certificate for chat.test, and localhost, and its key, made by openssl."""
    folder = tmp_path_factory.mktemp("tls")
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=chat.test", "-addext"),
            *(
                "subjectAltName=DNS:chat.test,DNS:localhost",
                "-keyout",
                str(keyfile),
                "-out",
                str(certfile),
            ),
        ],
        check=True,
        capture_output=True,
    )
    return certfile, keyfile


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


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End a run that something, such as a thread of a test, keeps from its end; show what."""
    faulthandler.dump_traceback_later(EXIT_TIMEOUT, exit=True, file=2)  # standard error
