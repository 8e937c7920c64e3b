"""The last step before a child's program: drop root, tie its life to the daemon's, exec.

For PostgreSQL, and for workers, which get the sockets that `LISTEN_FROM` names where
sd_listen_fds(3) has them.

Run as a script, `python -I -S pglaunch.py PARENT SIGNAL UID GID PROGRAM ARGUMENT...`, because

* PR_SET_PDEATHSIG has to come after the change of user, which clears it (prctl(2)), and
* Python in a `preexec_fn` of a process with threads may deadlock, and warns since 3.12.

It starts in the cluster's folder, as root if the daemon is root: so neither the interpreter nor
the folder's parents need to be open to the user that PostgreSQL runs as. Imports are few: each
costs milliseconds of every start.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
FIRST_SOCKET = 3  # sd_listen_fds(3)
ABOVE_SOCKETS = 100  # out of the way of those
PARENT_IS_GONE = 99  # exit status, which nobody is left to read


def main(argv: list[str]) -> None:
    """Become the program of `argv`: parent's pid, signal number, uid, gid, program, arguments.

    A uid of -1 keeps the user. Returns never: it is replaced by the program, or it exits.

    Raises:
        OSError: the kernel refused the user, the signal or the program.
    """
    parent, death_signal, uid, gid = map(int, argv[:4])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the line above: no signal will ever come
        sys.exit(PARENT_IS_GONE)
    os.umask(0o077)
    place_sockets(os.environ.pop("LISTEN_FROM", ""))
    os.execv(argv[4], argv[4:])  # noqa: S606 - no shell is the point


def place_sockets(numbers: str) -> None:
    """Put descriptors, written with `:` between, where the program looks for them, in this order.

    `LISTEN_PID` is the program's: it does not take them for itself when it is another's child.
    """
    if not numbers:
        return
    given = [int(each) for each in numbers.split(":")]
    # Out of the way first: one may stand where another is to be.
    copies = [fcntl.fcntl(each, fcntl.F_DUPFD, ABOVE_SOCKETS) for each in given]
    for each in given:
        os.close(each)
    for number, copy in enumerate(copies, FIRST_SOCKET):
        os.dup2(copy, number)
        os.close(copy)
    os.environ["LISTEN_FDS"] = str(len(given))
    os.environ["LISTEN_PID"] = str(os.getpid())


if __name__ == "__main__":
    main(sys.argv[1:])
