"""What operators do on a store by hand: the keys of content at rest, the chain of the audit log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from chatd.audit_chain import Head, Verifier
from chatd.config import SettingsError
from chatd.contract import Store
from chatd.contract.encryption import Pass
from chatd.keyring import PLAIN, Keyring
from chatd.nurseries.resealing import BATCH, take_up_keys

LINKS = 1000  # of the audit chain in one read
TROUBLES = 100  # told, before it is enough

Say = Callable[[str], None]


async def tell_encryption(store: Store, keyring: Keyring, say: Say) -> None:
    """Tell with which keys content is encrypted: reads all there is."""
    counts = await store.count_texts()
    needed = {row.kid: row for row in await store.content_keys()}
    say(f"writes with  {keyring.first}")
    for kid in sorted(counts.keys() | needed.keys()):
        row = needed.get(kid)
        notes = []
        if row is not None and row.given_up_at is not None:
            notes.append("given up")
        if kid != PLAIN and keyring.fingerprint(kid) is None:
            notes.append("this key is not in encryption_keys")
        elif kid != keyring.first and row is None and counts[kid]:
            notes.append("written behind the last pass, or damaged: chatd encryption rotate")
        say(f"{kid:32} {counts.get(kid, 0):>12} texts  {'; '.join(notes)}".rstrip())
    latest = await store.current_pass()
    if latest is not None:
        say(_told(latest))


def _told(latest: Pass) -> str:
    begun = (
        f"to {latest.target}, since {latest.begun_at:%Y-%m-%d %H:%M}: {latest.changed} rewritten"
    )
    if latest.finished_at is None:
        return f"under way    {begun}"
    return f"finished     {begun}, done at {latest.finished_at:%Y-%m-%d %H:%M}"


async def rotate(store: Store, keyring: Keyring, now: Callable[[], datetime], say: Say) -> None:
    """Write all content anew with the first key, at once and without pauses.

    Raises:
        SettingsError: a key is missing that content needs.
    """
    if await take_up_keys(store, keyring, now(), again=True):
        while await store.reseal_messages(BATCH, now()):
            pass
    latest = await store.current_pass()
    say("nothing was ever encrypted" if latest is None else _told(latest))


async def give_up(store: Store, kid: str, at: datetime, say: Say) -> None:
    """Note that a key is lost.

    Raises:
        SettingsError: content does not need it.
    """
    if not await store.give_up_key(kid, at):
        msg = f"no stored message needs a key {kid!r}"
        raise SettingsError(msg)
    say(f"{kid} is given up: what it encrypts is shown as unreadable")


async def verify_audit(store: Store, noted: Head | None, say: Say) -> None:
    """Follow the chain of the audit log from its first line to its last.

    Args:
        store: where it stands.
        noted: a head that was told earlier, which must still be in the chain.
        say: told what is wrong, then how far the chain goes.

    Raises:
        SettingsError: something is wrong.
    """
    verifier, troubles = Verifier(noted), list[str]()
    while len(troubles) < TROUBLES:
        links = await store.audit_links(above=verifier.head.position, limit=LINKS)
        if not links:
            break
        troubles += verifier.follow(links)
    troubles += verifier.finish()
    stray = await store.unchained_audit_lines(TROUBLES)
    troubles += [f"line {each} is in no link: it was added behind the chain" for each in stray]
    for trouble in troubles[:TROUBLES]:
        say(trouble)
    say(f"head         {verifier.head}")
    if troubles:
        msg = "the audit log is not as it was written"
        raise SettingsError(msg)
    say(f"{verifier.head.position} lines are as they were written, {verifier.erased} erased")
