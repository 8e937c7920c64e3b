"""How far presence reaches by itself: everybody while the server is small, then shared sessions.

The way is one: who has left `everyone` comes back to it at the next start at the earliest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog
import trio

from chatd.contract import Store
from chatd.errors import StoreError
from chatd.model import dumps
from chatd.nurseries.audience import Audience
from chatd.nurseries.presence_user import PresentUser
from chatd.payloads import presence_dict

SMALL = 200  # accounts up to which everybody hears of everybody: a team's own server
COUNT_INTERVAL = 60.0  # seconds between counts: accounts are also made beside this daemon
COUNT_TIMEOUT = 5.0  # seconds for one count

log = structlog.get_logger("chatd.presence")


async def count_accounts(store: Store) -> int:
    """Return how many accounts there are, as far as the scope wants to know.

    Raises:
        StoreError: the store is away.
    """
    return await store.count_users(limit=SMALL + 1)


class Growth:
    """Watches a small server grow; `watch` is a task.

    Args:
        on_outgrown: called once, in the step that makes the first account too many.
    """

    def __init__(self, store: Store, accounts: int, on_outgrown: Callable[[], None]) -> None:
        self._store = store
        self._accounts = accounts
        self._on_outgrown = on_outgrown
        self._is_over = False

    def more(self) -> None:
        """Count a new account."""
        self.at_least(self._accounts + 1)

    def at_least(self, accounts: int) -> None:
        """Take note that there are so many accounts, or more."""
        self._accounts = max(self._accounts, accounts)
        if self._accounts > SMALL and not self._is_over:
            self._is_over = True
            self._on_outgrown()

    async def watch(self) -> None:
        """Count the accounts now and then, until there are too many."""
        while not self._is_over:
            await trio.sleep(COUNT_INTERVAL)
            try:
                with trio.fail_after(COUNT_TIMEOUT):
                    accounts = await count_accounts(self._store)
            except (StoreError, trio.TooSlowError) as trouble:
                log.warning("accounts not counted", error=type(trouble).__name__)
            else:
                self.at_least(accounts)


class Farewell:
    """Tells users once that those whom they no longer hear of are OFFLINE, without a time.

    Or strangers would look ONLINE to each other for ever. Whom it concerns is settled when this is
    made, in the step in which the scope changes: who connects later knows none of them.
    """

    def __init__(self, audience: Audience, users: Iterable[PresentUser]) -> None:
        everybody = list(users)
        self._audience = audience
        self._known = [user for user in everybody if user.is_shown]
        self._sockets = [
            (user, socket) for user in everybody for socket, _ in user.devices.values()
        ]

    async def say(self) -> None:
        """Tell all of them."""
        for user in self._known:
            await trio.lowlevel.checkpoint()
            data = dumps(presence_dict(user.id, "OFFLINE", None, None))
            hearers = set(self._audience.hearers(user))
            for hearer, socket in self._sockets:
                if hearer not in hearers and hearer is not user:
                    socket.push_ephemeral("user:status", data)
