"""Writes stored content anew after the keys have changed, behind everybody's back.

What is not written anew yet is read with its own key, so the walk may take its time: a fifth of it
at most, so that the message path hardly feels it. The store remembers how far it is, and a daemon
that was stopped goes on from there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog
import trio

from chatd.config import SettingsError
from chatd.contract import Store
from chatd.errors import StoreError
from chatd.keyring import PLAIN, Keyring

BATCH = 200  # texts of one transaction: some 20 ms in which their sessions take no other change
REST = 4.0  # times as long as the last batch took
RETRY_PAUSE = 5.0  # seconds after the store would not take it
REPORT = 60.0  # seconds between two lines that tell how far it is

log = structlog.get_logger("chatd.resealing")


@dataclass(slots=True)
class Resealing:
    """Whether stored content is plain: only then it is searched."""

    is_searchable: bool


async def check_keys(store: Store, keyring: Keyring) -> None:
    """Look whether the keyring has every key that stored content may need.

    Raises:
        SettingsError: one is missing, or another has its name; the text says what can be done.
    """
    for row in await store.content_keys():
        fingerprint = keyring.fingerprint(row.kid)
        if fingerprint is None and row.given_up_at is None:
            msg = (
                f"encryption_keys: the key {row.kid!r} is missing, and stored messages are "
                f"encrypted with it: list it behind the first one, or behind {PLAIN!r} to decrypt, "
                f"until `chatd encryption status` no longer names it. If it is lost for ever: "
                f"`chatd encryption give-up {row.kid}`"
            )
            raise SettingsError(msg)
        if fingerprint not in {None, row.fingerprint}:
            msg = (
                f"encryption_keys: the key {row.kid!r} is not the one that stored messages are "
                "encrypted with: bring that one back, and give the new one another name"
            )
            raise SettingsError(msg)


async def take_up_keys(
    store: Store, keyring: Keyring, at: datetime, *, again: bool = False
) -> bool:
    """Write with the first key from now on; return whether there is content to write anew.

    With `again` all of it is looked through once more, though it has been for this key.

    Raises:
        SettingsError: as `check_keys`.
    """
    await check_keys(store, keyring)
    await store.take_up_keys(at, again=again)
    now = await store.current_pass()
    return now is not None and now.finished_at is None


@asynccontextmanager
async def open_resealing(
    store: Store, keyring: Keyring, now: Callable[[], datetime], is_writable: Callable[[], bool]
) -> AsyncIterator[Resealing]:
    """Take up the keys, and write content anew for the length of the block, if that is due.

    Raises:
        SettingsError: as `check_keys`.
    """
    is_due = await take_up_keys(store, keyring, now())
    state = Resealing(is_searchable=not keyring.is_sealing and not is_due)
    if not is_due:
        yield state
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_walk, store, keyring, now, is_writable, state)
        yield state
        nursery.cancel_scope.cancel(reason="the daemon stops")


async def _walk(
    store: Store,
    keyring: Keyring,
    now: Callable[[], datetime],
    is_writable: Callable[[], bool],
    state: Resealing,
) -> None:
    log.info("begun", key=keyring.first)
    reported = trio.current_time()
    while True:
        began = trio.current_time()
        pause = RETRY_PAUSE
        if is_writable():
            try:
                if not await store.reseal_messages(BATCH, now()) and await _has_ended(store):
                    break
            except StoreError as trouble:  # it may be away: the next try does the same work
                log.warning("waits", error=type(trouble).__name__)
            else:
                pause = (trio.current_time() - began) * REST
        await trio.sleep(pause)
        if trio.current_time() - reported >= REPORT:
            reported = trio.current_time()
            await _report(store)
    state.is_searchable = not keyring.is_sealing
    log.info("finished", key=keyring.first, unreadable=store.unreadable_texts())


async def _has_ended(store: Store) -> bool:
    """Return whether the pass is over; else another daemon is at it, or has begun another."""
    latest = await store.current_pass()
    return latest is None or latest.finished_at is not None


async def _report(store: Store) -> None:
    try:
        latest = await store.current_pass()
    except StoreError:  # told where the walk meets it
        return
    if latest is not None:
        log.info("under way", key=latest.target, rewritten=latest.changed)
