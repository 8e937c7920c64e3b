from __future__ import annotations

import pytest

from chatd.contract import Store
from chatd.errors import StoreBug
from chatd.rows import Append, AppendRow, MessageRow, ReplyRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, contents, gather, say, stored, words


async def test_a_message_comes_back_as_it_was_sent(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    message = words(tea, people.alice, "Grüße 👋\n\tto all", key="k1")
    [result] = await store.append_messages([message])
    row = MessageRow(
        id=message.id,
        session_id=tea,
        seq=1,
        changed_seq=1,
        sender_id=people.alice,
        sender_name="Alice",
        sender_avatar_url=None,
        content="Grüße 👋\n\tto all",
        created_at=NOW,
        client_msg_id="k1",
        reply_to=None,
    )
    assert result == AppendRow(Append.STORED, row)
    page = await store.history(tea, people.alice)
    assert page is not None
    assert page.messages == [row]


async def test_a_batch_is_numbered_session_by_session_in_its_order(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    cake = await gather(store, people.alice, people.bob)
    results = await store.append_messages(
        [
            words(tea, people.alice, "a"),
            words(cake, people.bob, "b"),
            words(tea, people.bob, "c"),
            words(cake, people.alice, "d"),
            words(tea, people.alice, "e"),
        ]
    )
    rows = [stored(result) for result in results]
    assert [(row.content, row.seq) for row in rows] == [
        ("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 3),
    ]  # fmt: skip
    assert await store.heads([tea, cake]) == {tea: 3, cake: 2}


async def test_one_bad_message_does_not_fail_the_others(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    cake = await gather(store, people.bob)
    await store.add_member(tea, people.carol, role="READ_ONLY", at=NOW)  # takes seq 1
    [said_elsewhere] = await say(store, cake, people.bob, "elsewhere")
    results = await store.append_messages(
        [
            words(tea, people.alice, "good"),
            words(tea, people.dave, "stranger"),
            words(NOBODY, people.alice, "nowhere"),
            words(tea, NOBODY, "nobody"),
            words(tea, people.carol, "reader"),
            words(tea, people.alice, "answer", reply_to=said_elsewhere.id),
            words(tea, people.alice, "answer to nothing", reply_to=NOBODY),
            words(tea, people.alice, "zero\0byte"),
            words(tea, people.alice, "half a pair \ud800"),
            words(tea, people.alice, "x" * 16_385),
            words(tea, people.alice, "bad key", key="k\0"),
            words(tea, people.bob, "also good"),
        ]
    )
    assert [result.outcome for result in results] == [
        Append.STORED,
        Append.NOT_A_MEMBER,
        Append.NOT_A_MEMBER,
        Append.NOT_A_MEMBER,
        Append.READ_ONLY,
        Append.NO_SUCH_REPLY,
        Append.NO_SUCH_REPLY,
        *[Append.INVALID] * 4,
        Append.STORED,
    ]
    assert [result.row.seq for result in results if result.row] == [2, 3]


async def test_a_batch_of_nothing_good_stores_nothing(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    [result] = await store.append_messages([words(tea, people.alice, "\0")])
    assert result == AppendRow(Append.INVALID)
    [result] = await store.append_messages([words(tea, people.bob)])
    assert result == AppendRow(Append.NOT_A_MEMBER)
    assert await store.append_messages([]) == []
    assert await store.heads([tea]) == {tea: 0}


async def test_who_left_writes_no_more(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await store.remove_member(tea, people.bob, at=NOW)
    [result] = await store.append_messages([words(tea, people.bob)])
    assert result.outcome is Append.NOT_A_MEMBER


async def test_an_answer_knows_what_it_answers(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    [question] = await say(store, tea, people.alice, "Tea?")
    [result] = await store.append_messages([words(tea, people.bob, "Yes", reply_to=question.id)])
    assert stored(result).reply_to == ReplyRow(
        question.id, 1, people.alice, "Alice", None, question.content
    )


async def test_a_message_sent_twice_is_stored_once(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    cake = await gather(store, people.alice)
    [first] = await store.append_messages([words(tea, people.alice, "once", key="k")])
    again = await store.append_messages(
        [
            words(tea, people.alice, "twice", key="k"),
            words(tea, people.bob, "his own", key="k"),
            words(cake, people.alice, "in another session", key="k2"),
        ]
    )
    assert again[0] == AppendRow(Append.DUPLICATE, first.row)
    assert stored(again[1]).seq == 2
    assert stored(again[2]).seq == 1
    [elsewhere] = await store.append_messages([words(cake, people.alice, "x", key="k")])
    assert elsewhere == AppendRow(Append.DUPLICATE, first.row)
    assert await store.heads([tea, cake]) == {tea: 2, cake: 1}


async def test_a_repeat_is_answered_though_its_sender_has_left(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [first] = await store.append_messages([words(tea, people.bob, "bye", key="k")])
    await store.remove_member(tea, people.bob, at=NOW)
    [again] = await store.append_messages([words(tea, people.bob, "bye", key="k")])
    assert again == AppendRow(Append.DUPLICATE, first.row)


async def test_an_id_that_is_taken_is_a_bug_and_stores_nothing(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    message = words(tea, people.alice)
    await store.append_messages([message])
    with pytest.raises(StoreBug):
        await store.append_messages([words(tea, people.alice), message])
    assert await store.heads([tea]) == {tea: 1}


async def test_who_writes_has_read_all(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.bob, "one", "two")
    await say(store, tea, people.alice, "three")
    [hers] = await store.list_sessions(people.alice, before=None, limit=1)
    [his] = await store.list_sessions(people.bob, before=None, limit=1)
    assert (hers.unread_count, hers.last_read_seq) == (0, 3)
    assert (his.unread_count, his.last_read_seq) == (1, 2)


async def test_what_became_of_a_batch_can_be_found_out(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    kept = words(tea, people.alice, "kept", key="k")
    bare = words(tea, people.alice, "without a key")
    results = await store.append_messages([kept, bare])
    found = await store.find_messages(
        [
            bare,
            words(tea, people.alice, "never sent", key="other"),
            words(tea, people.alice, "kept", key="k"),
            kept,
            words(NOBODY, NOBODY),
            bare._replace(client_msg_id="k"),
        ]
    )
    assert found == [
        results[1],
        None,
        AppendRow(Append.DUPLICATE, results[0].row),
        results[0],
        None,
        results[1],
    ]


async def test_history_is_read_by_keyset_in_both_directions(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    rows = await say(store, tea, people.alice, *"abcdef")
    cases: list[tuple[dict[str, object], str, bool, bool]] = [
        ({"limit": 2}, "ef", True, False),
        ({"limit": 6}, "abcdef", False, False),
        ({"before_seq": 4, "limit": 2}, "bc", True, True),
        ({"before_seq": 2, "limit": 2}, "a", False, True),
        ({"before_seq": 1, "limit": 2}, "", False, True),
        ({"after_seq": 2, "limit": 2}, "cd", True, True),
        ({"after_seq": 4, "limit": 2}, "ef", True, False),
        ({"after_seq": 6, "limit": 2}, "", True, False),
        ({"after_seq": 0, "limit": 50}, "abcdef", False, False),
        ({"around_id": rows[2].id, "limit": 3}, "bcd", True, True),
        ({"around_id": rows[2].id, "limit": 1}, "c", True, True),
        ({"around_id": rows[0].id, "limit": 4}, "ab", False, True),
        ({"around_id": rows[5].id, "limit": 4}, "def", True, False),
        ({"around_id": NOBODY, "limit": 4}, "", False, False),
    ]
    for bounds, expected, has_before, has_after in cases:
        page = await store.history(tea, people.alice, **bounds)  # type: ignore[arg-type]  # a table
        assert page is not None
        got = ("".join(contents(page.messages)), page.has_before, page.has_after, page.seq)
        assert got == (expected, has_before, has_after, 6), bounds


async def test_history_is_for_members(store: Store, people: People) -> None:
    square = await gather(store, people.alice, kind="PUBLIC")
    assert await store.history(square, people.bob) is None
    assert await store.history(NOBODY, people.alice) is None
    page = await store.history(square, people.alice)
    assert page is not None
    assert (page.messages, page.has_before, page.has_after, page.seq) == ([], False, False, 0)
    with pytest.raises(ValueError, match="one of"):
        await store.history(square, people.alice, before_seq=1, after_seq=1)


async def test_a_join_page_is_the_newest_messages_and_all_members(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.bob, *"abc")
    page = await store.join_page(tea, people.alice, since=None, replay=10, limit=2)
    assert page is not None
    assert (contents(page.messages), page.has_more, page.recovered) == (["b", "c"], True, False)
    assert (page.role, page.unread_count, page.last_read_seq) == ("OWNER", 3, 0)
    assert (page.session.seq, page.session.member_count) == (3, 2)
    assert [member.user_id for member in page.members] == sorted([people.alice, people.bob])
    page = await store.join_page(tea, people.alice, since=None, replay=10, limit=3)
    assert page is not None
    assert (contents(page.messages), page.has_more) == (["a", "b", "c"], False)
    assert await store.join_page(tea, people.carol, since=None, replay=10, limit=2) is None
    assert await store.join_page(NOBODY, people.alice, since=None, replay=10, limit=2) is None


@pytest.mark.parametrize(
    ("since", "expected", "is_recovered"),
    [
        (4, "", True),
        (1, "bd", True),
        (0, "bd", False),  # four changes behind, of which three are replayed
        (5, "bd", False),  # ahead of the log: another log, or a liar
    ],
)
async def test_who_is_not_too_far_behind_recovers_what_changed(
    store: Store, people: People, since: int, expected: str, is_recovered: bool
) -> None:
    tea = await gather(store, people.alice)
    await say(store, tea, people.alice, "a", "b")
    await store.update_session(tea, name="Coffee")
    await say(store, tea, people.alice, "d")
    page = await store.join_page(tea, people.alice, since=since, replay=3, limit=2)
    assert page is not None
    assert ("".join(contents(page.messages)), page.recovered) == (expected, is_recovered)
    assert page.has_more is not is_recovered


async def test_changes_come_in_the_order_they_were_made(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    await say(store, tea, people.alice, "one")
    await store.add_member(tea, people.bob, role="MEMBER", at=NOW)
    await store.update_session(tea, name="Coffee")
    await say(store, tea, people.bob, "four")
    await store.remove_member(tea, people.bob, at=NOW + DAY)

    page = await store.changes_since(tea, 0, 10)
    assert (page.seq, page.is_complete) == (5, True)
    assert [(row.changed_seq, row.content) for row in page.messages] == [(1, "one"), (4, "four")]
    assert [(row.changed_seq, row.left_at) for row in page.members] == [(5, NOW + DAY)]
    assert page.session is not None
    assert page.session.name == "Coffee"

    page = await store.changes_since(tea, 0, 2)
    assert (page.seq, page.is_complete) == (4, False)
    assert (contents(page.messages), page.members) == (["one", "four"], [])
    page = await store.changes_since(tea, page.seq, 2)
    assert (page.seq, page.is_complete) == (5, True)
    assert [row.changed_seq for row in page.members] == [5]
    page = await store.changes_since(tea, 5, 2)
    assert (page.seq, page.is_complete, page.messages, page.members) == (5, True, [], [])


async def test_a_session_that_is_gone_has_no_changes(store: Store) -> None:
    page = await store.changes_since(NOBODY, 7, 10)
    assert (page.seq, page.is_complete, page.messages, page.session) == (7, True, [], None)
