"""A Socket.IO client comes back at another daemon than before: the others are asked for its state.

Whoever has it gives it away once, as to a client of its own (`chatd.nurseries.recovery`); all
others say that they have not, so that nobody waits longer than for the slowest. A daemon that is
silent is not asked; one that has stopped in order has left its states in the store.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from uuid import UUID

import trio

from chatd.ids import random_hex
from chatd.nurseries.control import Control, Message
from chatd.nurseries.nodes import Nodes

TIMEOUT = 1.0  # seconds for all answers: then the client begins anew
MAX_PID = 64  # characters: ours have 24
MAX_OPEN = 1000  # questions at once: a daemon that dies sends its clients elsewhere

Give = Callable[[str, UUID, str | None], bytes | None]
"""Takes pid, user and offset; gives the state away, or None."""


class _Question:
    """Whom a state is asked of, and what they have said."""

    def __init__(self, asked: int) -> None:
        self.missing = asked
        self.state: bytes | None = None
        self.done = trio.Event()

    def answer(self, state: bytes | None) -> None:
        self.missing -= 1
        self.state = self.state or state
        if self.state is not None or self.missing <= 0:
            self.done.set()


class Claims:
    """Asks other daemons for states, and gives them those of this one.

    Attributes:
        give: gives a state of this daemon away.
    """

    def __init__(self, control: Control, nodes: Nodes) -> None:
        self.give: Give = _nothing
        self._control = control
        self._nodes = nodes
        self._open: dict[str, _Question] = {}
        control.on("claim", self._heard_claim)
        control.on("claimed", self._heard_claimed)

    async def claim(self, pid: str, user_id: UUID, offset: str | None) -> bytes | None:
        """Return the state of a pid that another daemon has; None when nobody has it."""
        asked = sum(self._nodes.is_audible(tag) for tag in self._nodes.tags)
        if not asked or len(pid) > MAX_PID or len(self._open) >= MAX_OPEN:
            return None
        number = random_hex(8)
        question = self._open[number] = _Question(asked)
        try:
            self._control.mention("claim", q=number, pid=pid, u=user_id, o=offset)
            with trio.move_on_after(TIMEOUT):
                await question.done.wait()
        finally:
            del self._open[number]
        return question.state

    def _heard_claim(self, tag: str, message: Message) -> None:
        state = self.give(str(message["pid"]), UUID(message["u"]), message["o"])
        text = None if state is None else base64.b64encode(state).decode("ascii")
        self._control.say_to(tag, "claimed", q=message["q"], state=text)

    def _heard_claimed(self, tag: str, message: Message) -> None:
        del tag
        question = self._open.get(message["q"])
        if question is None:
            return  # too late: the client has begun anew
        text = message["state"]
        question.answer(None if text is None else base64.b64decode(text))


def _nothing(pid: str, user_id: UUID, offset: str | None) -> bytes | None:
    del pid, user_id, offset
    return None
