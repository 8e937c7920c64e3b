"""How the embedded PostgreSQL is reached: by its socket, in a folder that is closed to others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatd.nurseries.pgaccount import PostgresError, find_account, programs
from chatd.nurseries.pgcluster import DATABASE, ROLE, Cluster, read_status

SOCKET_PATH_BYTES = 107  # of sun_path, unix(7)


@contextmanager
def reaching_postgres(data_dir: Path) -> Iterator[str]:
    """Yield the conninfo of the server that another process runs on `data_dir`/postgres.

    Raises:
        PostgresError: there is none.
    """
    base = data_dir.resolve() / "postgres"
    account = find_account(base / "data")
    cluster = Cluster(base, account, programs(account))
    if read_status(cluster)[1] != "ready":
        msg = f"{data_dir} is in use, and no PostgreSQL is ready there: is database_url set?"
        raise PostgresError(msg)
    folder = os.open(cluster.socket_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield socket_conninfo(cluster, folder)
    finally:
        os.close(folder)


def socket_conninfo(cluster: Cluster, socket_folder: int) -> str:
    """Return how a cluster's server is reached, by us and by the programs that we start.

    A folder whose name is too long for a socket's address, or holds the comma that separates
    hosts, goes by our descriptor of it: it needs no link in a place shared with others, and no
    clean-up of /tmp takes it away.
    """
    host = str(cluster.socket_dir)
    if len(os.fsencode(f"{host}/.s.PGSQL.5432")) > SOCKET_PATH_BYTES or "," in host:
        host = f"/proc/{os.getpid()}/fd/{socket_folder}"
    parts = {"host": host, "port": "5432", "dbname": DATABASE, "user": ROLE}
    parts["requirepeer"] = cluster.account.name
    return " ".join(f"{name}={_quoted(value)}" for name, value in parts.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"
