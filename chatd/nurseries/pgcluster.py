"""The folder of the embedded PostgreSQL: made once, whole or not at all, and cleaned at a start.

    DATA_DIR/postgres/         0711 when the daemon is root, else 0700
        data/                  the cluster, 0700, the service user's
        socket/                0700, the service user's
        postgres.log           what PostgreSQL says, and postgres.log.1 before it
        initdb-XXXX/           a cluster in the making; what a crash left is removed

PostgreSQL gets `/proc/self/cwd` as its data directory and `../socket` for its sockets, and is
started inside `data/`. So no parent of DATA_DIR has to be open to the service user (/root is
not), and neither blanks nor the 107 bytes of a socket's address matter to the server.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import structlog

from chatd.nurseries.pgaccount import (
    Account,
    PostgresError,
    find_account,
    give,
    give_all,
    launch_command,
    major_version,
    programs,
    run_tool,
)

HERE = "/proc/self/cwd"  # a link of the kernel's: followed without a walk through the parents
ROLE = DATABASE = "chatd"
ADMIN = "postgres"  # the role for maintenance; chatd itself is no superuser
LOG_BYTES = 8 * 1024 * 1024  # of postgres.log, and again of postgres.log.1
LOG_TAIL = 2000  # bytes of it in an error
REMOVE_PATIENCE = 5.0  # seconds
LEFTOVER_STEPS = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 2.0))  # seconds

INITDB = (
    "--locale-provider=builtin", "--locale=C.UTF-8", "--encoding=UTF8", "--data-checksums",
    "--auth-local=peer", "--auth-host=reject", f"--username={ADMIN}", "--no-instructions",
)  # fmt: skip
FIRST_SQL = f"""\
CREATE ROLE {ROLE} LOGIN
CREATE DATABASE {DATABASE} OWNER {ROLE}
ALTER ROLE {ROLE} SET log_min_messages = log
"""  # the last: chatd is told of its errors, and their text may quote what people wrote

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # of the socket's name; PGPORT must not decide
    "unix_socket_directories": "../socket",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",  # what is acknowledged is on disk
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_connections": "60",  # a pool of 8, a few daemons, tools
    "max_parallel_workers_per_gather": "0",  # they need /dev/shm, which is 64 MB in containers
    "max_wal_size": "512MB",  # half of the default: small disks
    "wal_compression": "on",
    "jit": "off",  # statements of a chat are short
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",  # a line every five minutes
    # Nothing that people wrote may stand in a log: no statement, no parameter, no DETAIL.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}

log = structlog.get_logger("chatd.postgres")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster lies, whose it is, and with which programs it runs."""

    base: Path
    account: Account
    bin_dir: Path

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.base / "data"

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket, open to the service user and to root."""
        return self.base / "socket"

    @property
    def log_path(self) -> Path:
        """The file that takes what PostgreSQL says."""
        return self.base / "postgres.log"

    @property
    def title(self) -> str:
        """A name to tell our processes by, in `ps` and where /proc/PID/cwd cannot be read."""
        return f"chatd-{blake2b(os.fsencode(self.base), digest_size=6).hexdigest()}"

    def command(self) -> list[str]:
        """Return the command of the server, to be started inside `data`."""
        settings = SETTINGS | {"cluster_name": self.title}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = self.bin_dir / "postgres"
        return launch_command(self.account, program, "-D", HERE, *flags, death_signal=signal.SIGINT)


def prepare_cluster(data_dir: Path) -> Cluster:
    """Make the cluster in `data_dir` if there is none, and the rules for who may connect. Blocks.

    Raises:
        PostgresError: PostgreSQL's programs cannot be used, or the cluster is of another release.
    """
    base = data_dir.resolve() / "postgres"
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    base.mkdir(mode=0o700, exist_ok=True)
    account = find_account(base / "data")
    cluster = Cluster(base, account, programs(account))
    if account.is_other:
        base.chmod(0o711)  # it holds the way from data/ to ../socket; both are closed themselves
    cluster.socket_dir.mkdir(exist_ok=True)
    give(cluster.socket_dir, account)
    cluster.socket_dir.chmod(0o700)
    for unfinished in base.glob("initdb-*"):
        log.warning("unfinished_cluster_removed", folder=str(unfinished))
        _remove(unfinished)
    if not cluster.data.exists():
        _create(cluster)
    version = (cluster.data / "PG_VERSION").read_text().strip()
    if version != major_version():
        msg = (
            f"{cluster.data} was made by PostgreSQL {version}, this is {major_version()}: dump it "
            f"with {version} and load it into a new data folder"
        )
        raise PostgresError(msg)
    if cluster.data.stat().st_uid != account.uid:
        give_all(cluster.data, account)
    _write_access_rules(cluster)
    return cluster


def _remove(folder: Path) -> None:
    """Remove a folder that a child of a killed initdb may still write to, for milliseconds."""
    give_up_at = time.monotonic() + REMOVE_PATIENCE
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def _create(cluster: Cluster) -> None:
    """Make the whole cluster under another name, so that a crash in the middle leaves no half."""
    unfinished = Path(tempfile.mkdtemp(prefix="initdb-", dir=cluster.base))
    give(unfinished, cluster.account)
    for program, arguments, sql in (
        ("initdb", ("-D", HERE, *INITDB), ""),
        ("postgres", ("--single", "-D", HERE, "-c", "exit_on_error=on", ADMIN), FIRST_SQL),
    ):
        run_tool(cluster.account, unfinished, cluster.bin_dir / program, arguments, sql)
    unfinished.rename(cluster.data)
    folder = os.open(cluster.base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    log.info("cluster_created", folder=str(cluster.data), user=cluster.account.name)


def _write_access_rules(cluster: Cluster) -> None:
    """Let the service user and the daemon's user in, by `peer`: nobody else, no password.

    Written at every start, since both names may change with the container.
    """
    names = dict.fromkeys((cluster.account.name, "root" if os.geteuid() == 0 else ""))
    users = [name.replace('"', '""') for name in names if name]
    ident = [f'chatd "{user}" {role}\n' for user in users for role in (ROLE, ADMIN)]
    folder = os.open(cluster.data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _replace(folder, "pg_hba.conf", "local all all peer map=chatd\n", cluster.account)
        _replace(folder, "pg_ident.conf", "".join(ident), cluster.account)
    finally:
        os.close(folder)


def _replace(folder: int, name: str, text: str, account: Account) -> None:
    # A new file each time: root must not write through a link that the service user laid.
    new = f"{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(new, flags, 0o600, dir_fd=folder), "w") as file:  # noqa: PTH123 - of a descriptor
        if account.is_other:
            os.fchown(file.fileno(), account.uid, account.gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)


def read_status(cluster: Cluster) -> tuple[int, str]:
    """Return pid and status of postmaster.pid, as (42, "ready"), or (0, "") when there is none."""
    try:
        lines = (cluster.data / "postmaster.pid").read_text(errors="replace").splitlines()
        return abs(int(lines[0])), lines[7].strip() if len(lines) > 7 else "starting"  # noqa: PLR2004 - the eighth line
    except (FileNotFoundError, IndexError, ValueError):  # absent, or being written
        return 0, ""


def end_leftover(cluster: Cluster) -> None:
    """End a server of this cluster that outlived its daemon, and remove its postmaster.pid. Blocks.

    PostgreSQL itself takes any live process with the number in that file for a server. The caller
    holds the data folder's lock, or it would end the server of another daemon.
    """
    pid, _ = read_status(cluster)
    try:
        process = os.pidfd_open(pid) if pid > 0 else -1
    except ProcessLookupError:
        process = -1
    if process >= 0:
        try:
            if _is_ours(pid, cluster):  # after pidfd_open: the number cannot pass on any more
                log.warning("leftover_server_ended", pid=pid)
                _end(process)
        finally:
            os.close(process)
    (cluster.data / "postmaster.pid").unlink(missing_ok=True)


def _is_ours(pid: int, cluster: Cluster) -> bool:
    folder = Path(f"/proc/{pid}")
    try:
        if (folder / "comm").read_text().strip() != "postgres":
            return False
        return os.path.samestat((folder / "cwd").stat(), cluster.data.stat())
    except (FileNotFoundError, ProcessLookupError):  # it has ended, and may wait to be reaped
        return False
    except PermissionError:  # another user's; for root too without CAP_SYS_PTRACE, as in containers
        return cluster.title.encode() in (folder / "cmdline").read_bytes()


def _end(process: int) -> None:
    waiter = select.poll()
    waiter.register(process, select.POLLIN)
    for number, patience in LEFTOVER_STEPS:
        if not waiter.poll(0):
            signal.pidfd_send_signal(process, number)
            waiter.poll(patience * 1000)
    if not waiter.poll(0):
        msg = "the server of an earlier daemon does not end, not even by SIGKILL"
        raise PostgresError(msg)


def open_log(cluster: Cluster) -> int:
    """Open the log for a new server: it appends, so that `bound_log` may cut the file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(cluster.log_path, flags, 0o600)
    if cluster.account.is_other:
        os.fchown(descriptor, cluster.account.uid, cluster.account.gid)
    return descriptor


def bound_log(cluster: Cluster) -> None:
    """Move a log that has grown beyond `LOG_BYTES` aside; a line written meanwhile is lost."""
    if cluster.log_path.stat().st_size > LOG_BYTES:
        shutil.copyfile(cluster.log_path, cluster.log_path.with_name("postgres.log.1"))
        os.truncate(cluster.log_path, 0)


def log_tail(cluster: Cluster) -> str:
    """Return the last lines that PostgreSQL wrote."""
    with cluster.log_path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_TAIL))
        return file.read().decode(errors="replace").strip()
