"""PostgreSQL over TLS, as a URL of a hosted one asks for it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from chatd.config import Settings
from chatd.errors import StoreUnavailable
from chatd.nurseries.pgaccount import find_account
from chatd.store.pool import Pool, open_pool
from tests.conftest import OLDEST
from tests.databases import PostgresServer

IS_TLS = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
LARGE = 3_000_000  # bytes: many records of TLS, more than any buffer on the way


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL that speaks TLS with a certificate that nobody knows.

    The embedded one is built without TLS.
    """
    if not OLDEST.is_dir():
        pytest.skip("PostgreSQL 15 is not installed")
    folder = Path(tempfile.mkdtemp(prefix="chatd-tls-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    account = find_account(folder)
    server = PostgresServer(folder, account, OLDEST, locale=("--locale=C",), port=port)
    try:
        server.initialise()
        _certify(server)
        names = {
            "ssl": "on",
            "ssl_cert_file": folder / "cert.pem",
            "ssl_key_file": folder / "key.pem",
            "listen_addresses": "127.0.0.1",
        }
        server.settings = tuple(f"--{name}={value}" for name, value in names.items())
        server.start()
        (folder / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhostssl all all 127.0.0.1/32 trust\n"
        )
        server.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _certify(server: PostgresServer) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", server.folder / "key.pem", "-out", server.folder / "cert.pem"),
        ],
        user=server.service_user,
        check=True,
        capture_output=True,
    )


def url_of(server: PostgresServer, mode: str) -> str:
    url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres?sslmode={mode}"
    accepted = Settings(database_url=url).database_url
    assert accepted is not None
    return accepted.get_secret_value()


async def _echoed(pool: Pool) -> int:
    [(text,)] = await pool.fetch("SELECT %(text)s::text", {"text": "x" * LARGE})
    return len(text)


async def test_a_url_that_requires_tls_gets_it_and_its_connections_are_kept(
    server: PostgresServer, deadline: None
) -> None:
    async with open_pool(url_of(server, "require"), size=2) as pool:
        assert await pool.fetch(IS_TLS) == [(True, "TLSv1.3")]
        pids = {(await pool.fetch("SELECT pg_backend_pid()"))[0][0] for _ in range(3)}
        assert len(pids) == 1
        assert await _echoed(pool) == LARGE
        with trio.move_on_after(0.2) as scope:
            await pool.fetch("SELECT pg_sleep(60)")
        assert scope.cancelled_caught
        assert await pool.fetch("SELECT pg_backend_pid()") == [(pids.pop(),)]


async def test_a_certificate_that_nobody_knows_is_refused_where_it_is_to_be_verified(
    server: PostgresServer, deadline: None
) -> None:
    url = f"{url_of(server, 'verify-full')}&sslrootcert=system"
    async with open_pool(url, size=1) as pool:
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            await pool.fetch("SELECT 1")


async def test_a_server_that_wants_tls_is_not_reached_without(
    server: PostgresServer, deadline: None
) -> None:
    async with open_pool(url_of(server, "disable"), size=1) as pool:
        with pytest.raises(StoreUnavailable, match="no encryption"):
            await pool.fetch("SELECT 1")
