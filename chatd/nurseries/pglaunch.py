"""The last step before PostgreSQL's program: drop root, tie its life to the daemon's, exec.

Run as a script, `python -I -S pglaunch.py PARENT SIGNAL UID GID PROGRAM ARGUMENT...`, because

* PR_SET_PDEATHSIG has to come after the change of user, which clears it (prctl(2)), and
* Python in a `preexec_fn` of a process with threads may deadlock, and warns since 3.12.

It starts in the cluster's folder, as root if the daemon is root: so neither the interpreter nor
the folder's parents need to be open to the user that PostgreSQL runs as. Imports are few: each
costs milliseconds of every start.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
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
    os.execv(argv[4], argv[4:])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
