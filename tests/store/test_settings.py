"""What sessions are set to, and their end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from chatd.contract import Store
from chatd.contract.acts import Act
from chatd.errors import Forbidden
from chatd.rows import Append
from chatd.store.pool import Pool, Transaction
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, gather, say, sign_up, words
from tests.store.test_members import by, refuse


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"name": "Coffee"}, "name", "Coffee"),
        ({"is_read_only": True}, "is_read_only", True),
        ({"is_archived": True}, "archived_at", NOW),
        ({"slow_mode_seconds": 120}, "slow_mode_seconds", 120),
    ],
)
async def test_a_setting_takes_a_seq_and_is_seen_everywhere(
    store: Store, people: People, settings: dict[str, Any], field: str, value: object
) -> None:
    tea = await gather(store, people.alice)
    before = await store.session_for(tea, people.alice)
    assert before is not None
    row = await store.update_session(tea, **settings, act=by(people.alice))
    expected: dict[str, Any] = {"seq": 1, field: value}
    assert row == before[0]._replace(**expected)
    assert await store.session_for(tea, people.alice) == (row, "OWNER")
    [line] = await store.list_sessions(people.alice, before=None, limit=9)
    page = await store.join_page(tea, people.alice, since=None, replay=9, limit=9)
    assert page is not None
    assert line.session == page.session == (await store.changes_since(tea, 0, 9)).session == row


async def test_what_is_archived_stays_so_since_then_until_it_is_taken_back(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    await store.update_session(tea, is_archived=True, act=by(people.alice, NOW))
    row = await store.update_session(tea, is_archived=True, act=by(people.alice, NOW + DAY))
    assert row is not None
    assert row.archived_at == NOW
    row = await store.update_session(tea, name="Coffee", act=by(people.alice, NOW + DAY))
    assert row is not None
    assert row.archived_at == NOW
    row = await store.update_session(tea, is_archived=False, act=by(people.alice, NOW + DAY))
    assert row is not None
    assert (row.archived_at, row.seq) == (None, 4)


async def test_settings_and_the_end_are_refused_by_who_judges(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    with pytest.raises(Forbidden):
        await store.update_session(tea, name="x", act=Act(people.alice, NOW, refuse))
    with pytest.raises(Forbidden):
        await store.delete_session(tea, act=Act(people.alice, NOW, refuse))
    assert await store.heads([tea]) == {tea: 0}


async def test_a_deleted_session_is_gone_for_everybody_at_once(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob, kind="PUBLIC")
    [said] = await say(store, tea, people.alice, "tea")
    await store.remove_member(tea, people.bob, at=NOW - DAY)
    await store.add_member(tea, people.carol, role="MEMBER", at=NOW)
    deletion = await store.delete_session(tea, act=by(people.alice))
    assert deletion is not None
    assert (deletion.seq, set(deletion.member_ids)) == (4, {people.alice, people.carol})
    again = Act(people.alice, NOW + DAY, refuse)
    assert await store.delete_session(tea, act=again) == deletion  # it is run again: not judged

    for person in (people.alice, people.carol, people.dave):
        assert await store.session_for(tea, person) is None
        assert await store.list_sessions(person, before=None, limit=9) == []
        assert await store.history(tea, person) is None
        assert await store.join_page(tea, person, since=0, replay=9, limit=9) is None
        assert await store.message_for(said.id, person) is None
        assert await store.memberships(person, [tea]) == {}
    assert await store.heads([tea]) == {}
    assert (await store.changes_since(tea, 0, 9)).session is None
    assert await store.members(tea, after=None, limit=9) == []
    assert await store.add_member(tea, people.dave, role="MEMBER", at=NOW) is None
    assert await store.update_session(tea, name="x") is None
    [result] = await store.append_messages([words(tea, people.alice)])
    assert result.outcome is Append.NOT_A_MEMBER


async def test_a_direct_session_is_not_deleted_nor_one_that_is_none(
    store: Store, people: People
) -> None:
    direct = await gather(store, people.alice, people.bob, kind="DIRECT")
    for session_id in (direct, NOBODY):
        assert await store.delete_session(session_id, act=Act(people.alice, NOW, refuse)) is None
    assert await store.heads([direct]) == {direct: 0}


async def test_what_a_deleted_session_held_goes_piece_by_piece_and_nothing_else(
    store: Store, people: People
) -> None:
    cake = await gather(store, people.alice)
    await say(store, cake, people.alice, "cake")
    tea = await gather(store, people.alice, people.bob)
    said = await say(store, tea, people.alice, *map(str, range(5)))
    await store.append_messages([words(tea, people.alice, "re", reply_to=said[0].id)])
    await store.append_messages([words(tea, people.bob, "once", key="k")])
    await store.react(said[0].id, people.alice, role="OWNER", emoji="👍", is_on=True, at=NOW)
    assert await store.sweep_sessions(3) == 0
    await store.delete_session(tea, act=by(people.alice))
    swept = []
    while count := await store.sweep_sessions(3):
        swept.append(count)
    assert swept == [3, 3, 1, 2, 1]  # seven messages, two members, the session
    page = await store.history(cake, people.alice)
    assert page is not None
    assert [row.content for row in page.messages] == ["cake"]
    [result] = await store.append_messages([words(cake, people.bob, "once", key="k")])
    assert result.outcome is Append.NOT_A_MEMBER  # no repeat of what is gone
    await store.delete_session(cake, act=by(people.alice))
    assert [await store.sweep_sessions(9) for _ in range(4)] == [1, 1, 1, 0]


async def test_a_sweep_and_the_indexer_do_not_wait_for_each_other(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    await say(store, tea, alice, "never indexed")
    await store.delete_session(tea, act=by(alice))

    async def sweep() -> None:
        while await store.sweep_sessions(9):
            pass

    async def index(transaction: Transaction) -> None:
        await transaction.fetch(_TAKE_TURN)
        nursery.start_soon(sweep)
        while not await pool.fetch(_LOCKED):  # noqa: ASYNC110 - PostgreSQL tells nobody
            await trio.sleep(0.01)
        indexed.extend(await transaction.fetch("SELECT search_index(9)"))

    indexed: list[tuple[int]] = []
    async with trio.open_nursery() as nursery:
        await pool.transact(index)
    assert indexed == [(2,)]  # once: a transaction that lost a deadlock is run again
    assert await pool.fetch("SELECT FROM search_entries") == []
    assert await pool.fetch("SELECT FROM sessions") == []


_TAKE_TURN = "SELECT pg_advisory_xact_lock(1667785592)"

_LOCKED = """
    SELECT FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
