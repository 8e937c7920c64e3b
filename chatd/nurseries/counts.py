"""`session:presence`: how many are there in a large session, for those who have joined it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import trio

from chatd.model import dumps
from chatd.nurseries.audience import Audience

COUNT_INTERVAL = 5.0  # seconds between two counts: one frame a member for all changes meanwhile

Announce = Callable[[UUID, str, bytes], Awaitable[None]]
"""Sends an ephemeral event to everybody joined in a session, however many."""


async def tell_counts(audience: Audience, announce: Announce) -> None:
    """Tell every large session whose count has changed, for ever."""
    while True:
        await audience.changed()
        await trio.sleep(COUNT_INTERVAL)
        for session_id in audience.take_changed():
            online = audience.online(session_id)
            if online is not None:
                data = dumps({"sessionId": session_id, "online": online})
                await announce(session_id, "session:presence", data)
