"""When users were last there, written to the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

import structlog
import trio

from chatd.contract import Store
from chatd.errors import StoreError
from chatd.nurseries.presence_user import PresentUser

TOUCH_INTERVAL = 60.0  # seconds between writes of lastSeen: what a crash may lose of it
STORE_TIMEOUT = 5.0  # seconds for one write of lastSeen

log = structlog.get_logger("chatd.presence")


class LastSeen:
    """Writes lastSeen; `keep` is a task.

    Args:
        users: those who are here, kept by `Presence`.
    """

    def __init__(
        self, users: dict[UUID, PresentUser], store: Store, now: Callable[[], datetime]
    ) -> None:
        self._users = users
        self._store = store
        self._now = now

    async def keep(self) -> None:
        """Write when everybody here was last seen, every minute, for ever."""
        while True:
            await trio.sleep(TOUCH_INTERVAL)
            here = [user for user in self._users.values() if user.devices]
            for user in here:
                if user.manual != "INVISIBLE":
                    user.last_seen = self._now()
            await self.write(here)

    async def write_all(self) -> None:
        """Write when those who are here were last seen: the daemon stops."""
        await self.write(list(self._users.values()))

    async def write(self, users: Iterable[PresentUser]) -> None:
        """Write that these users, except the invisible, were here until now."""
        seen = [user.id for user in users if user.manual != "INVISIBLE"]
        if not seen:
            return
        try:
            with trio.fail_after(STORE_TIMEOUT):
                await self._store.set_last_seen(seen, self._now())
        except (StoreError, trio.TooSlowError) as trouble:
            log.warning("lastSeen not written", users=len(seen), error=type(trouble).__name__)
