"""A PostgreSQL for the tests, and databases that are new to each of them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import trio
import trio_asyncio  # noqa: F401 - before psycopg, or psycopg keeps the unpatched asyncio

import psycopg  # isort: skip
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from chatd.nurseries.pgaccount import Account, find_account, programs
from chatd.store.migrate import migrate

TEMPLATE = "chatd_template"
LARGE = 32 << 20  # bytes of a database that is dropped instead of wiped


@dataclass
class PostgresServer:
    """A PostgreSQL of our own in a temporary folder, listening on a socket in it only.

    `fsync=off`: the machine does not lose power during a test, and killed processes lose nothing.
    """

    folder: Path
    account: Account  # PostgreSQL refuses to run as root
    bin_folder: Path
    settings: tuple[str, ...] = ()  # more of the command line
    port: int = 5432  # a part of the socket's name
    locale: tuple[str, ...] = ("--locale-provider=builtin", "--locale=C.UTF-8")
    process: subprocess.Popen[bytes] | None = field(default=None)
    clean: list[str] = field(default_factory=list)  # databases as the template is
    first: Contents | None = field(default=None)  # of the template

    def conninfo(self, dbname: str = "postgres") -> str:
        host = str(self.folder)
        return make_conninfo(host=host, port=self.port, user="postgres", dbname=dbname)

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
                    *("-D", self.folder / "data", "-k", self.folder, "-p", str(self.port)),
                    *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60"),
                    *self.settings,
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


# What a database is, but for its rows: one in which a test has changed any of it is dropped.
_SHAPE: LiteralString = """
    SELECT md5(string_agg(part, ';' ORDER BY part)) FROM (
        SELECT concat_ws(',', 'column', attrelid::regclass, attnum, attname, atttypid, attnotnull,
                         attisdropped) AS part
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat_ws(',', 'function', proname, proargtypes, md5(prosrc), proconfig)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat_ws(',', 'constraint', conrelid::regclass, conname,
                         md5(pg_get_constraintdef(oid)))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat_ws(',', 'trigger', tgrelid::regclass, tgname, tgenabled, tgfoid::regproc)
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT concat_ws(',', 'index', indexrelid::regclass, md5(pg_get_indexdef(indexrelid)),
                         indisvalid)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat_ws(',', 'setting', setconfig) FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS parts
"""


@dataclass(frozen=True)
class Contents:
    """A database just after its migrations: its shape, and the few rows that they wrote."""

    shape: str
    tables: tuple[str, ...]
    rows: dict[str, Any]  # by table
    sequences: tuple[str, ...]


def _read_contents(conninfo: str) -> Contents:
    with psycopg.connect(conninfo, autocommit=True) as connection:

        def names(kind: str) -> tuple[str, ...]:
            rows = connection.execute(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relkind = %s ORDER BY relname",
                [kind],
            )
            return tuple(str(row[0]) for row in rows)

        tables = names("r")
        rows = {}
        for table in tables:
            query = sql.SQL("SELECT jsonb_agg(to_jsonb(t)) FROM {} AS t")
            found = connection.execute(query.format(sql.Identifier(table))).fetchone()
            if found and found[0] is not None:
                rows[table] = found[0]
        return Contents(_shape(connection), tables, rows, names("S"))


def _shape(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(_SHAPE).fetchone()
    assert row is not None
    return str(row[0])


def _is_wiped(conninfo: str, first: Contents) -> bool:
    """Bring a database back to what it was at first; False when it cannot be."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        busy = connection.execute(
            "SELECT count(pg_terminate_backend(pid, 2000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            "   AND backend_type = 'client backend'"
        ).fetchone()
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert busy is not None
        assert size is not None
        if size[0] > LARGE or _shape(connection) != first.shape:
            return False
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")  # no foreign keys
            for table in first.tables:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            for table, rows in first.rows.items():
                query = sql.SQL(
                    "INSERT INTO {0} OVERRIDING SYSTEM VALUE"
                    " SELECT * FROM jsonb_populate_recordset(NULL::{0}, %s)"
                )
                connection.execute(query.format(sql.Identifier(table)), [Jsonb(rows)])
            for sequence in first.sequences:
                query = sql.SQL("ALTER SEQUENCE {} RESTART")
                connection.execute(query.format(sql.Identifier(sequence)))
    return True


@contextmanager
def running_postgres(bin_folder: Path | None, *locale: str) -> Iterator[PostgresServer]:
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
        server.first = _read_contents(server.conninfo(TEMPLATE))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def fresh_database(server: PostgresServer) -> Iterator[str]:
    """Return the conninfo of a database as the template is.

    One that was used before is wiped: a copy of the template costs twenty times as much.
    """
    name = server.clean.pop() if server.clean else _new_database(server)
    yield server.conninfo(name)
    assert server.first is not None
    if _is_wiped(server.conninfo(name), server.first):
        server.clean.append(name)
    else:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _new_database(server: PostgresServer) -> str:
    name = f"test_{uuid4().hex}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return name


@contextmanager
def running_replica(server: PostgresServer) -> Iterator[PostgresServer]:
    """Run a streaming replica of a server: all its databases, as soon as they are replayed.

    It may be stopped and started again; `pause_replay` makes it lag.
    """
    folder = Path(tempfile.mkdtemp(prefix="chatd-replica-"))
    replica = PostgresServer(folder, server.account, server.bin_folder)
    try:
        if replica.service_user is not None:
            shutil.chown(folder, replica.service_user)
        subprocess.run(
            [
                server.bin_folder / "pg_basebackup",
                *("-h", server.folder, "-p", str(server.port), "-U", "postgres"),
                *("-D", folder / "data", "-R", "-X", "stream", "-c", "fast", "--no-sync"),
            ],
            user=replica.service_user,
            check=True,
            capture_output=True,
        )
        replica.start()
        yield replica
    finally:
        replica.stop()
        shutil.rmtree(folder)


def pause_replay(replica: PostgresServer) -> None:
    """Make a replica show nothing new from now on."""
    replica.execute("SELECT pg_wal_replay_pause()")
    _wait_for(replica, "SELECT pg_get_wal_replay_pause_state() = 'paused'")


def catch_up(server: PostgresServer, replica: PostgresServer) -> None:
    """Let a replica replay, and wait until it shows what the server has now."""
    replica.execute("SELECT pg_wal_replay_resume()")
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    assert row is not None
    _wait_for(replica, f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'")


def _wait_for(server: PostgresServer, condition: str) -> None:
    give_up_at = time.monotonic() + 10
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        while connection.execute(condition.encode()).fetchone() != (True,):
            assert time.monotonic() < give_up_at, condition
            time.sleep(0.005)
