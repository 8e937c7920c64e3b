"""A long story of random writes and reads beside a replica that stops and goes on at random.

All is written through one daemon, so that whatever its users read has to be what the primary has.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from chatd.rows import MemberChange
from chatd.store.postgres import PostgresStore
from tests.databases import catch_up, pause_replay
from tests.store.kit import NOW, gather, sign_up, words
from tests.store.replica_kit import Pair

STEPS = 250
WORDS = ("tea", "coffee", "milk", "sugar")


@dataclass
class Story:
    """Who is in it, and what happens next."""

    pair: Pair
    dice: random.Random
    people: list[UUID] = field(default_factory=list)
    sessions: list[UUID] = field(default_factory=list)

    async def begin(self) -> None:
        store = self.pair.store
        self.people = [await sign_up(store, name) for name in ("Alice", "Bob", "Carol")]
        self.sessions = [await gather(store, *self.people) for _ in range(3)]

    async def write(self) -> None:
        """Change something, and mark what a daemon marks: the event, and who asked for it."""
        store, dice = self.pair.store, self.dice
        person, session = dice.choice(self.people), dice.choice(self.sessions)
        owner = self.people[0]
        match dice.randrange(5):
            case 0:
                await store.mark_read(session, person, dice.randrange(20))
                store.freshness.wrote(person)
            case 1:
                self._told(await store.remove_member(session, self.people[2], at=NOW), owner)
            case 2:
                change = await store.add_member(session, self.people[2], role="MEMBER", at=NOW)
                self._told(change, owner)
            case 3:
                deletion = await store.history(session, owner, limit=1)
                if deletion is not None and deletion.messages:
                    await self._delete(deletion.messages[0].id, session)
            case _:
                await self.pair.write(words(session, owner, dice.choice(WORDS)))

    async def _delete(self, message_id: UUID, session_id: UUID) -> None:
        store, owner = self.pair.store, self.people[0]
        await store.delete_message(message_id, owner, role="OWNER", at=NOW)
        heads = await store.heads([session_id])
        store.freshness.saw(session_id, heads[session_id])
        store.freshness.wrote(owner)

    def _told(self, change: MemberChange | None, by: UUID) -> None:
        if change is not None:
            self.pair.store.freshness.saw(change.member.session_id, change.seq)
        self.pair.store.freshness.wrote(by)

    async def read(self) -> None:
        """Read something, and prove that the primary says the same."""
        store, primary, dice = self.pair.store, PostgresStore(self.pair.store._pool), self.dice
        person, session = dice.choice(self.people), dice.choice(self.sessions)
        match dice.randrange(4):
            case 0:
                before = dice.choice((None, dice.randrange(1, 30)))
                told = await store.history(session, person, before_seq=before, limit=5)
                assert told == await primary.history(session, person, before_seq=before, limit=5)
            case 1:
                lines = await store.list_sessions(person, before=None, limit=5)
                assert lines == await primary.list_sessions(person, before=None, limit=5)
            case 2:
                found = await store.search(person, "tea", session_id=session, limit=5)
                assert found == await primary.search(person, "tea", session_id=session, limit=5)
            case _:
                members = await store.members(session, after=None, limit=5)
                assert members == await primary.members(session, after=None, limit=5)

    async def go_on(self) -> None:
        """Let the replica stop, go on or be compared."""
        match self.dice.randrange(4):
            case 0:
                pause_replay(self.pair.replica)
            case 1:
                catch_up(self.pair.primary, self.pair.replica)
            case _:
                await self.pair.store.look()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_nobody_reads_what_is_older_than_what_this_daemon_wrote(
    pair: Pair, seed: int
) -> None:
    story = Story(pair, random.Random(seed))  # noqa: S311 - repeatable, hides nothing
    await story.begin()
    for _ in range(STEPS):
        step = story.dice.choices((story.write, story.read, story.go_on), (2, 5, 2))[0]
        await step()
    for outcome in ("replica", "behind", "written"):
        assert pair.store.reads[outcome] > 5
