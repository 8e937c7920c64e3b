"""Who was away gets exactly what was missed, or is told that it is too much: never silently part.

And everybody sees one order, whoever sends at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import trio

from tests.scenarios.checker import check_stream
from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import Json, Person, Talker, create_session, register, talking

REPLAY = 500  # messages that session:join replays at once: the daemon's default
PAGE = 50  # messages of a page, unless asked otherwise
WINDOW = 50  # sends under way at once
LONGEST = "汉" * 16_384  # three bytes each: 50 of them are more than an outbox


async def send_many(talker: Talker, session: str, count: int, content: str = "hello") -> list[int]:
    """Send messages, many at once; return their `seq`s, sorted."""
    seqs: list[int] = []

    async def send_some(some: int) -> None:
        for _ in range(some):
            answer = await talker.send(session, content)
            seqs.append(answer["message"]["seq"])

    async with trio.open_nursery() as nursery:
        for share in range(WINDOW):
            nursery.start_soon(send_some, len(range(share, count, WINDOW)))
    return sorted(seqs)


def seqs_of(messages: list[Json]) -> list[int]:
    return [message["seq"] for message in messages]


@dataclass
class Bob:
    """Somebody who is away most of the time, and where he left."""

    person: Person
    session: str
    since: Json

    @classmethod
    async def arrives(cls, daemon: Daemon, person: Person, session: str) -> Bob:
        async with talking(daemon, person) as talker:
            state = await talker.join(session)
            return cls(person, session, {"epoch": state["epoch"], "seq": state["seq"]})

    async def comes_back_to(
        self, daemon: Daemon, sent: list[int], *, is_too_long: bool = False
    ) -> None:
        """Join where he left: all that was sent meanwhile, or the newest of it and the rest."""
        async with talking(daemon, self.person) as talker:
            state = await talker.join(self.session, since=self.since)
            assert state["recovered"] == (len(sent) <= REPLAY and not is_too_long)
            assert state["epoch"] == self.since["epoch"]
            assert state["seq"] == sent[-1]
            if state["recovered"]:
                assert seqs_of(state["messages"]) == sent
            else:
                assert state["hasMore"]
                assert seqs_of(state["messages"]) == sent[-PAGE:]
                assert seqs_of(await talker.history(self.session, self.since["seq"])) == sent
            # What is sent from now on follows, and nothing else.
            await talker.send(self.session, "here I am")
            await talker.until(lambda: bool(talker.messages(self.session)))
            self.since["seq"] = sent[-1] + 1
            assert talker.seqs(self.session) == [self.since["seq"]]


async def test_who_missed_up_to_500_messages_gets_exactly_those_else_the_newest_page(
    daemon: Daemon,
) -> None:
    with trio.fail_after(60):
        ann, person = await register(daemon, "ann"), await register(daemon, "bob")
        session = await create_session(daemon, ann, person)
        bob = await Bob.arrives(daemon, person, session)
        async with talking(daemon, ann) as sender:
            for missed in (1, REPLAY, REPLAY + 1, 2 * REPLAY):
                sent = await send_many(sender, session, missed)
                await bob.comes_back_to(daemon, sent)


@pytest.mark.parametrize("end", [Daemon.stop, Daemon.kill], ids=["SIGTERM", "kill -9"])
async def test_who_was_away_recovers_the_same_from_the_next_daemon(
    daemon: Daemon, end: Callable[[Daemon], object]
) -> None:
    with trio.fail_after(90):
        ann, person = await register(daemon, "ann"), await register(daemon, "bob")
        session = await create_session(daemon, ann, person)
        many = await Bob.arrives(daemon, person, session)
        async with talking(daemon, ann) as sender:
            first = await send_many(sender, session, REPLAY)
            few = await Bob.arrives(daemon, person, session)
            then = await send_many(sender, session, REPLAY)
        await trio.to_thread.run_sync(end, daemon)
        await trio.to_thread.run_sync(daemon.start)
        await few.comes_back_to(daemon, then)
        await many.comes_back_to(daemon, [*first, *then, few.since["seq"]])


async def test_a_page_longer_than_the_outbox_reaches_who_reads_while_others_send(
    daemon: Daemon,
) -> None:
    with trio.fail_after(60):
        ann, person = await register(daemon, "ann"), await register(daemon, "bob")
        session = await create_session(daemon, ann, person)
        bob = await Bob.arrives(daemon, person, session)
        async with talking(daemon, ann) as sender:
            await bob.comes_back_to(daemon, await send_many(sender, session, 60, LONGEST))
            sent = await send_many(sender, session, 200, LONGEST)
            await bob.comes_back_to(daemon, sent, is_too_long=True)
            async with talking(daemon, person) as reader, trio.open_nursery() as nursery:
                nursery.start_soon(send_many, sender, session, 50)
                asked = [
                    await reader.emit(
                        "message:history", sessionId=session, afterSeq=sent[0] - 1, limit=100
                    )
                    for _ in range(4)
                ]
                state = await reader.join(session)
                for id_ in asked:
                    assert seqs_of((await reader.answer(id_))["messages"]) == sent[:100]
                head = sent[-1] + 1 + 50
                await reader.until(lambda: (reader.seqs(session) or [state["seq"]])[-1] == head)
                assert check_stream(reader.seqs(session), after=state["seq"]) == []


async def test_a_position_of_another_history_is_not_recovered(daemon: Daemon) -> None:
    with trio.fail_after(60):
        ann = await register(daemon, "ann")
        session = await create_session(daemon, ann)
        async with talking(daemon, ann) as talker:
            sent = await send_many(talker, session, 3)
            epoch = (await talker.join(session))["epoch"]
            other = "00000000-0000-4000-8000-000000000000"  # as after a restore from a backup
            for since in ({"epoch": other, "seq": 1}, {"epoch": epoch, "seq": 99}):
                state = await talker.join(session, since=since)
                assert not state["recovered"]
                assert seqs_of(state["messages"]) == sent


async def test_what_is_sent_during_a_join_comes_once_in_the_page_or_behind_it(
    daemon: Daemon,
) -> None:
    with trio.fail_after(60):
        ann, bob = await register(daemon, "ann"), await register(daemon, "bob")
        session = await create_session(daemon, ann, bob)
        async with (
            talking(daemon, ann) as sender,
            talking(daemon, bob) as joiner,
            trio.open_nursery() as nursery,
        ):
            since = {"epoch": joiner.pushes[0].data["epoch"], "seq": 0}
            nursery.start_soon(send_many, sender, session, 1000)
            while since["seq"] < 1000:
                joiner.pushes.clear()
                state = await joiner.join(session, since=since)
                assert state["recovered"]
                missed = seqs_of(state["messages"])
                assert missed == list(range(since["seq"] + 1, state["seq"] + 1))
                # Some of the stream, then away again: it follows the page without a gap.
                goal = min(1000, state["seq"] + 20)
                await joiner.until(partial(has_seen, joiner, session, goal, state["seq"]))
                await joiner.ask("session:leave", sessionId=session)
                pushed = joiner.seqs(session)
                assert check_stream(pushed, after=state["seq"]) == []
                since["seq"] = max(state["seq"], *pushed, 0)


def has_seen(talker: Talker, session: str, goal: int, joined_at: int) -> bool:
    return max(joined_at, *talker.seqs(session), 0) >= goal


async def test_all_sockets_see_one_strictly_rising_order_under_four_senders(
    daemon: Daemon,
) -> None:
    with trio.fail_after(60):
        people = [await register(daemon, name) for name in ("ann", "bob", "cleo", "dan")]
        session = await create_session(daemon, *people)
        async with talking(daemon, people[0]) as one, talking(daemon, people[0]) as other:
            await one.join(session)
            await other.join(session)
            async with trio.open_nursery() as nursery:
                for person in people:
                    nursery.start_soon(talk, daemon, person, session, 250)
            for talker in (one, other):
                await talker.until(partial(has_seen, talker, session, 1000, 0))
                assert check_stream(talker.seqs(session), after=0) == []
            assert one.messages(session) == other.messages(session)
            senders = [message["sender"]["id"] for message in one.messages(session)]
            assert len(set(senders[:500])) > 1  # they did send at once


async def talk(daemon: Daemon, person: Person, session: str, count: int) -> None:
    async with talking(daemon, person) as talker:
        await send_many(talker, session, count)
