"""Counts never drift: after thousands of random operations they equal a naive recount."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import trio

from chatd.contract import Store
from chatd.contract.reading import UnreadQuestion
from chatd.rows import Append, MemberChange, Mentions, NewMessage, Role
from chatd.store.memory import MemoryStore
from chatd.store.pool import Pool, open_pool
from chatd.store.postgres import PostgresStore
from tests.store.kit import NOW, gather, sign_up, words

OPERATIONS = 10_000
EVERY = 100  # operations between two recounts
PEOPLE = 6
SESSIONS = 4
NEVER_LARGE = 1000
ROLES: tuple[Role, ...] = ("OWNER", "ADMIN", "MEMBER")


@dataclass
class Said:
    """A message as the naive count knows it; its ordinal is its place in the list."""

    id: UUID
    sender_id: UUID
    seq: int
    content: str
    is_deleted: bool = False
    reactions: set[tuple[str, UUID]] = field(default_factory=set)
    kept: Mentions = ()
    mentioned: set[UUID] = field(default_factory=set)


@dataclass
class Ledger:
    """One session as it should be, without counters but its `seq`."""

    id: UUID
    seq: int = 0
    said: list[Said] = field(default_factory=list)
    markers: dict[UUID, int] = field(default_factory=dict)  # of members: the seq they have read
    roles: dict[UUID, Role] = field(default_factory=dict)  # of everybody who ever was a member

    def role(self, user_id: UUID) -> Role:
        return self.roles.get(user_id, "MEMBER")

    def above(self, user_id: UUID) -> list[Said]:
        marker = self.markers[user_id]
        return [each for each in self.said if each.seq > marker and not each.is_deleted]

    def unread(self, user_id: UUID) -> int:
        return sum(each.sender_id != user_id for each in self.above(user_id))

    def mentions(self, user_id: UUID) -> int:
        return sum(user_id in each.mentioned for each in self.above(user_id))

    def ordinal(self, user_id: UUID) -> int:
        return sum(each.seq <= self.markers[user_id] for each in self.said)


class Story:
    """Random operations on a store, and what they should come to."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self.store = store
        self.rng = rng
        self.people: list[UUID] = []
        self.ledgers: list[Ledger] = []
        self.contents = 0
        # Each way to change something, and how often; another one is one more line.
        self.ways: list[tuple[int, Callable[[Ledger, UUID], Awaitable[None]]]] = [
            (30, self.send),
            (8, self.edit),
            (10, self.delete),
            (10, self.react),
            (20, self.read),
            (8, self.unread),
            (5, self.join_page),
            (4, self.remove),
            (5, self.add),
        ]

    async def begin(self) -> None:
        self.people = [await sign_up(self.store, f"P{number}") for number in range(PEOPLE)]
        for _ in range(SESSIONS):
            ledger = Ledger(await gather(self.store, *self.people[:4]))
            ledger.markers = dict.fromkeys(self.people[:4], 0)
            ledger.roles = {self.people[0]: "OWNER"}
            self.ledgers.append(ledger)

    async def step(self) -> None:
        weights = [weight for weight, _ in self.ways]
        [(_, way)] = self.rng.choices(self.ways, weights)
        await way(self.rng.choice(self.ledgers), self.rng.choice(self.people))

    def _note(self, ledger: Ledger, change: MemberChange) -> None:
        ledger.seq += 1 + len(change.others)
        for row in (change.member, *change.others):
            ledger.roles[row.user_id] = row.role

    def _text(self) -> str:
        self.contents += 1
        return f"text {self.contents}"

    def _batch(self, ledger: Ledger, user_id: UUID) -> list[NewMessage]:
        senders = [user_id, *self.rng.choices(self.people, k=self.rng.randrange(3))]
        return [
            words(ledger.id, sender_id, self._text())._replace(mentions=self._mentions())
            for sender_id in senders
        ]

    def _mentions(self) -> Mentions:
        kind = self.rng.random()
        if kind < 0.6:
            return ()
        return "ALL" if kind < 0.7 else tuple(self.rng.sample(self.people, 2))

    def _kept(self, ledger: Ledger, mentions: Mentions) -> Mentions:
        return (
            "ALL"
            if mentions == "ALL"
            else tuple(each for each in mentions if each in ledger.markers)
        )

    def _mentioned(self, ledger: Ledger, sender_id: UUID, mentions: Mentions) -> set[UUID]:
        named = ledger.markers.keys() if mentions == "ALL" else set(mentions)
        return named & ledger.markers.keys() - {sender_id}

    async def send(self, ledger: Ledger, user_id: UUID) -> None:
        batch = self._batch(ledger, user_id)
        rows = await self.store.append_messages(batch)
        for message, row in zip(batch, rows, strict=True):
            is_member = message.sender_id in ledger.markers
            assert (row.outcome is Append.STORED) == is_member
            if is_member:
                ledger.seq += 1
                said = Said(message.id, message.sender_id, ledger.seq, message.content)
                said.kept = self._kept(ledger, message.mentions)
                said.mentioned = self._mentioned(ledger, said.sender_id, said.kept)
                ledger.said.append(said)
                ledger.markers[message.sender_id] = ledger.seq

    async def edit(self, ledger: Ledger, user_id: UUID) -> None:
        if not ledger.said:
            return
        said, content = self.rng.choice(ledger.said[-20:]), self._text()
        role, mentions = ledger.role(user_id), self.rng.choice((None, self._mentions()))
        change = await self.store.edit_message(
            said.id, user_id, role=role, content=content, version=None, at=NOW, mentions=mentions
        )
        if change is not None and change.is_changed:
            ledger.seq += 1
            kept = said.kept if mentions is None else self._kept(ledger, mentions)
            if kept != said.kept:  # the same ones call nobody again, also not who has come since
                said.kept = kept
                said.mentioned = self._mentioned(ledger, said.sender_id, kept)

    async def delete(self, ledger: Ledger, user_id: UUID) -> None:
        if not ledger.said:
            return
        said = self.rng.choice(ledger.said[-30:])
        role = ledger.role(user_id)
        change = await self.store.delete_message(said.id, user_id, role=role, at=NOW)
        if change is not None:
            assert change.is_changed != said.is_deleted
            ledger.seq += change.is_changed
            said.is_deleted = True
            said.reactions.clear()

    async def react(self, ledger: Ledger, user_id: UUID) -> None:
        if not ledger.said:
            return
        said, emoji = self.rng.choice(ledger.said[-20:]), self.rng.choice("👍❤😀")
        is_on = self.rng.random() < 0.6
        role = ledger.role(user_id)
        change = await self.store.react(
            said.id, user_id, role=role, emoji=emoji, is_on=is_on, at=NOW
        )
        if change is not None and change.is_changed:
            ledger.seq += 1
            (said.reactions.add if is_on else said.reactions.discard)((emoji, user_id))

    async def read(self, ledger: Ledger, user_id: UUID) -> None:
        seq = self.rng.randrange(ledger.seq + 3)
        row = await self.store.mark_read(ledger.id, user_id, seq)
        assert (row is not None) == (user_id in ledger.markers)
        if row is not None:
            ledger.markers[user_id] = max(ledger.markers[user_id], min(seq, ledger.seq))
            self._check(ledger, user_id, row.last_read_seq, row.unread_count, row.mention_count)

    async def unread(self, ledger: Ledger, user_id: UUID) -> None:
        seq = self.rng.randrange(ledger.seq + 3)
        row = await self.store.mark_unread(ledger.id, user_id, seq)
        assert (row is not None) == (user_id in ledger.markers)
        if row is not None:
            ledger.markers[user_id] = max(min(ledger.markers[user_id], seq - 1), 0)
            self._check(ledger, user_id, row.last_read_seq, row.unread_count, row.mention_count)

    async def join_page(self, ledger: Ledger, user_id: UUID) -> None:
        page = await self.store.join_page(ledger.id, user_id, since=None, replay=0, limit=1)
        assert (page is not None) == (user_id in ledger.markers)
        if page is not None:
            assert (page.session.seq, page.session.member_count) == (
                ledger.seq,
                len(ledger.markers),
            )
            self._check(ledger, user_id, page.last_read_seq, page.unread_count, page.mention_count)

    async def remove(self, ledger: Ledger, user_id: UUID) -> None:
        change = await self.store.remove_member(ledger.id, user_id, at=NOW)
        assert (change is not None) == (user_id in ledger.markers)
        if change is not None:
            self._note(ledger, change)
            del ledger.markers[user_id]

    async def add(self, ledger: Ledger, user_id: UUID) -> None:
        role = self.rng.choice(ROLES)
        change = await self.store.add_member(ledger.id, user_id, role=role, at=NOW)
        assert change is not None
        assert change.is_changed != (user_id in ledger.markers)
        if change.is_changed:
            self._note(ledger, change)
            ledger.markers[user_id] = ledger.seq

    # Recounts

    def _check(self, ledger: Ledger, user_id: UUID, *told: int) -> None:
        marker = ledger.markers[user_id]
        assert told == (marker, ledger.unread(user_id), ledger.mentions(user_id))

    async def recount(self) -> None:
        """Compare what every member is told, by each statement that tells it, with the ledgers."""
        states = await self.store.first_states(self.people, 100)
        members = [(ledger, user_id) for ledger in self.ledgers for user_id in ledger.markers]
        questions = [UnreadQuestion(ledger.id, user_id) for ledger, user_id in members]
        page = await self.store.unread_states(questions, large=NEVER_LARGE)
        positions = {
            (row.session_id, user_id): row for user_id in self.people for row in states[user_id][1]
        }
        assert len(positions) == len(page.counts) == len(members)
        for ledger, user_id in members:
            key = ledger.id, user_id
            for row in (positions[key], page.counts[key]):
                self._check(ledger, user_id, row.last_read_seq, row.unread_count, row.mention_count)
        for user_id in self.people:
            for line in await self.store.list_sessions(user_id, before=None, limit=100):
                position = positions[line.session.id, user_id]
                assert (line.unread_count, line.mention_count) == position[2:4]


async def stored_counters(pool: Pool, ledgers: Sequence[Ledger]) -> None:
    """Compare every counter that PostgreSQL keeps with the ledgers and with its own rows."""
    sessions = await pool.fetch(
        "SELECT id, seq, message_count, member_count, last_deleted_ordinal FROM sessions"
    )
    by_id = {ledger.id: ledger for ledger in ledgers}
    for session_id, *counters in sessions:
        ledger = by_id[session_id]
        deleted = [place for place, said in enumerate(ledger.said, 1) if said.is_deleted]
        members = len(ledger.markers)
        assert counters == [ledger.seq, len(ledger.said), members, max(deleted, default=0)]
    rows = await pool.fetch(
        "SELECT session_id, user_id, last_read_seq, last_read_ordinal, mention_count,"
        " CASE WHEN set_back_ordinal = last_read_ordinal THEN own_above ELSE 0 END"
        " FROM session_users WHERE left_at IS NULL"
    )
    assert len(rows) == sum(len(ledger.markers) for ledger in ledgers)
    for session_id, user_id, marker, ordinal, mentions, own_above in rows:
        ledger = by_id[session_id]
        assert marker == ledger.markers[user_id]
        assert ordinal == ledger.ordinal(user_id)
        assert mentions == ledger.mentions(user_id)
        own = [said for said in ledger.said if said.sender_id == user_id and said.seq > marker]
        assert own_above == len(own)
    reactions: dict[UUID, int] = dict(await pool.fetch("SELECT id, reaction_count FROM messages"))
    counted = await pool.fetch("SELECT message_id, count(*) FROM reactions GROUP BY message_id")
    assert {key: count for key, count in reactions.items() if count} == dict(counted)
    for ledger in ledgers:
        for said in ledger.said:
            assert reactions[said.id] == len(said.reactions)


async def tell(store: Store, pool: Pool | None, seed: int, operations: int) -> None:
    story = Story(store, random.Random(seed))  # noqa: S311 - repeatable, hides nothing
    await story.begin()
    for number in range(1, operations + 1):
        await story.step()
        if number % EVERY == 0:
            await story.recount()
    if pool is not None:
        await stored_counters(pool, story.ledgers)


async def test_counts_do_not_drift_in_postgresql(database_url: str) -> None:
    with trio.fail_after(300):
        async with open_pool(database_url, size=1) as pool:
            await tell(PostgresStore(pool), pool, 0, OPERATIONS)


async def test_counts_do_not_drift_in_memory() -> None:
    with trio.fail_after(300):
        await tell(MemoryStore(), None, 0, OPERATIONS)
