"""A Socket.IO client comes back at another daemon than before: its state is asked for there.

Whoever has the state gives it away once, as to a client of its own (`chatd.nurseries.recovery`). A
daemon that is silent is not asked; one that has stopped in order has left its states in the store.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import trio

from chatd.ids import random_hex
from chatd.nurseries.control import Control, Message
from chatd.nurseries.nodes import Nodes
from chatd.peers import TAG_CHARS

TIMEOUT = 1.0  # seconds for an answer: then the client begins anew
MAX_OPEN = 1000  # questions at once: a daemon that dies sends its clients elsewhere

Give = Callable[[str, UUID, str | None], bytes | None]
"""Takes pid, user and offset; gives the state away, or None."""


class Claims(Protocol):
    """Asks other daemons for states."""

    tag: str
    give: Give

    def is_own(self, pid: str) -> bool:
        """Return whether this daemon has given a pid."""

    async def claim(self, pid: str, user_id: UUID, offset: str | None) -> bytes | None:
        """Return the state of a pid that another daemon has; None when nobody has it."""


class NodeClaims:
    """See `Claims`.

    Args:
        nodes: whom it is worth asking.
    """

    def __init__(self, control: Control, nodes: Nodes) -> None:
        self.tag = nodes.tag
        self.give: Give = _nothing
        self._control = control
        self._nodes = nodes
        self._open: dict[str, tuple[trio.Event, list[bytes]]] = {}
        control.on("claim", self._heard_claim)
        control.on("claimed", self._heard_claimed)

    def is_own(self, pid: str) -> bool:
        """Return whether this daemon has given a pid."""
        return pid.startswith(self.tag)

    async def claim(self, pid: str, user_id: UUID, offset: str | None) -> bytes | None:
        """Return the state of a pid that another daemon has. See `Claims`."""
        tag = pid[:TAG_CHARS]
        if len(self._open) >= MAX_OPEN or not self._nodes.is_audible(tag):
            return None
        question = random_hex(8)
        done, states = trio.Event(), list[bytes]()
        self._open[question] = done, states
        try:
            self._control.say_to(tag, "claim", q=question, pid=pid, u=user_id, o=offset)
            with trio.move_on_after(TIMEOUT):
                await done.wait()
        finally:
            del self._open[question]
        return states[0] if states else None

    def _heard_claim(self, tag: str, message: Message) -> None:
        state = self.give(str(message["pid"]), UUID(message["u"]), message["o"])
        text = None if state is None else base64.b64encode(state).decode("ascii")
        self._control.say_to(tag, "claimed", q=message["q"], state=text)

    def _heard_claimed(self, tag: str, message: Message) -> None:
        del tag
        waiting = self._open.get(message["q"])
        if waiting is None:
            return  # too late: the client has begun anew
        if message["state"] is not None:
            waiting[1].append(base64.b64decode(message["state"]))
        waiting[0].set()


def _nothing(pid: str, user_id: UUID, offset: str | None) -> bytes | None:
    del pid, user_id, offset
    return None
