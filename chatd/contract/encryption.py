"""The store's contract: the keys of content at rest, and changing from one to the next."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol


class KeyRow(NamedTuple):
    """A key that stored content may be sealed with."""

    kid: str
    fingerprint: str
    since: datetime
    given_up_at: datetime | None = None  # the operator has: what it seals stays unreadable


class Pass(NamedTuple):
    """One walk through all content, after which none needs another key than `target`."""

    target: str  # a key id, or "plain"
    begun_at: datetime
    finished_at: datetime | None
    changed: int  # texts written anew so far


class EncryptionStore(Protocol):
    """The keys of content at rest. The keyring itself is given to the store where it is opened."""

    def unreadable_texts(self) -> int:
        """Return how many texts did not open since the store was opened."""

    async def content_keys(self) -> list[KeyRow]:
        """Return the keys that stored content may need, by name."""

    async def current_pass(self) -> Pass | None:
        """Return the latest pass, None when no content was ever sealed."""

    async def take_up_keys(self, at: datetime, *, again: bool = False) -> None:
        """Write with the keyring's first key from now on; begin a pass when that is a new one.

        With `again` one is begun also when the last one for this key has finished: another daemon
        may have written with another key behind it. Where it seals, what the search index holds of
        content is removed.
        """

    async def reseal_messages(self, limit: int, at: datetime) -> int:
        """Write about so many texts anew with the first key; 0 when there is nothing to do.

        Those of messages and of conversations with the assistant, whose locks are held. Where the
        walk has got to is stored with it, so that another one goes on; at its end the keys that
        nothing needs any more are forgotten. What does not open stays as it is.
        """

    async def count_texts(self) -> dict[str, int]:
        """Return how many texts each key seals, "plain" those in none: reads all there is."""

    async def give_up_key(self, kid: str, at: datetime) -> bool:
        """Note that a key is lost: nobody asks for it any more; False: nothing needs it."""
