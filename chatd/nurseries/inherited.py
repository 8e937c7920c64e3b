"""Sockets that somebody opened for us: systemd, or the supervisor of workers (sd_listen_fds(3)).

Who opened the port goes on holding it while we are replaced, so that no client is refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from chatd.config import SettingsError
from chatd.nurseries.pglaunch import FIRST_SOCKET

SUPERVISOR = "chatd-supervisor"  # in LISTEN_FDNAMES: what a worker talks to its supervisor by
_NAMES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Inherited:
    """What was open when this process began.

    Attributes:
        listeners: to accept on, instead of the host and port of the settings.
        supervisor: of a worker; None for a daemon of its own.
    """

    listeners: list[socket.socket] = field(default_factory=list)
    supervisor: socket.socket | None = None


def take_inherited(environment: MutableMapping[str, str] = os.environ) -> Inherited:
    """Return what is ours, once: it is taken out of the environment, and no child gets it.

    Raises:
        SettingsError: a socket is not one on which TCP connections come.
    """
    pid, count, names = (environment.pop(name, "") for name in _NAMES)
    if pid != str(os.getpid()) or not count.isdigit():
        return Inherited()  # none, or a parent's that forgot to take them out
    listeners: list[socket.socket] = []
    supervisor = None
    named = names.split(":")
    for index in range(int(count)):
        each = socket.socket(fileno=FIRST_SOCKET + index)
        each.set_inheritable(False)
        if named[index : index + 1] == [SUPERVISOR]:
            supervisor = each
        else:
            listeners.append(_checked(each))
    return Inherited(listeners, supervisor)


def _checked(one: socket.socket) -> socket.socket:
    is_tcp = one.family in {socket.AF_INET, socket.AF_INET6} and one.type == socket.SOCK_STREAM
    if not is_tcp or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        msg = f"the inherited socket {one.fileno()} does not listen for TCP: ListenStream=<port>"
        one.close()
        raise SettingsError(msg)
    return one
