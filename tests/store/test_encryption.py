"""Content at rest: sealed, bound to its row, written anew when the keys change."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import structlog.testing

from chatd.contract import Store
from chatd.contract.encryption import KeyRow
from chatd.keyring import MARK, ContentKey, Keyring
from chatd.rows import UNREADABLE, Append, MessageRow
from chatd.store.memory import MemoryStore
from chatd.store.pool import Pool, open_pool
from chatd.store.postgres import PostgresStore
from tests.store.kit import NOW, SECOND, gather, say, sign_up, stored, words

K1 = ContentKey("k1", os.urandom(32))
K2 = ContentKey("k2", os.urandom(32))
SECRET = "the eagle has landed"
LONG = "a long story " * 1000

Opener = Callable[[Keyring], AbstractAsyncContextManager[Store]]


@pytest.fixture
async def opener(store_url: str | None, deadline: None) -> Opener:
    """Return what opens one and the same database with a keyring, of either kind of store."""
    memory = MemoryStore()

    @asynccontextmanager
    async def open_with(keyring: Keyring) -> AsyncIterator[Store]:
        if store_url is None:
            memory._contents = type(memory._contents)(keyring)
            yield memory
        else:
            async with open_pool(store_url, size=4) as pool:
                yield PostgresStore(pool, keyring)

    return open_with


async def at_rest(store: Store) -> str:
    """Return all content as it stands in the tables, in one string."""
    if isinstance(store, MemoryStore):
        texts = [
            text
            for _, message in store._by_id.values()
            for text in (
                message.content,
                message.reply_excerpt,
                *(revision[1] for revision in message.revisions),
            )
        ]
        return "\n".join(sorted(text for text in texts if text))
    assert isinstance(store, PostgresStore)
    rows = await store._pool.fetch(
        """
        SELECT content FROM messages UNION ALL SELECT reply_excerpt FROM messages
        UNION ALL SELECT content FROM message_revisions
        UNION ALL SELECT body FROM search_entries
        """
    )
    return "\n".join(sorted(text for (text,) in rows if text))


async def put(store: Store, message_id: UUID, content: str) -> None:
    """Write into a row behind the store's back."""
    if isinstance(store, MemoryStore):
        store._by_id[message_id][1].content = content
        return
    assert isinstance(store, PostgresStore)
    await store._pool.fetch(
        "UPDATE messages SET content = %(content)s WHERE id = %(id)s",
        {"id": message_id, "content": content},
    )


async def raw(store: Store, message_id: UUID) -> str:
    """Return a row's content as it is stored."""
    if isinstance(store, MemoryStore):
        return store._by_id[message_id][1].content
    assert isinstance(store, PostgresStore)
    [(content,)] = await store._pool.fetch(
        "SELECT content FROM messages WHERE id = %(id)s", {"id": message_id}
    )
    return str(content)


async def edit(store: Store, message_id: UUID, user_id: UUID, content: str) -> MessageRow:
    """Edit a message as its owner."""
    change = await store.edit_message(
        message_id, user_id, role="OWNER", content=content, version=None, at=NOW + SECOND
    )
    assert change is not None
    assert change.is_changed
    return change.message


async def newest(store: Store, session_id: UUID, user_id: UUID) -> list[MessageRow]:
    page = await store.history(session_id, user_id)
    assert page is not None
    return page.messages


async def rewritten(store: Store) -> int:
    """Run a pass to its end; return how many texts it has written."""
    while await store.reseal_messages(3, NOW):
        pass
    latest = await store.current_pass()
    assert latest is not None
    assert latest.finished_at is not None
    return latest.changed


async def test_every_way_to_read_a_message_gives_what_was_said_and_no_table_holds_it(
    opener: Opener,
) -> None:
    async with opener(Keyring([K1])) as store:
        alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
        tea = await gather(store, alice, bob)
        [first] = await say(store, tea, alice, SECRET)
        [answer] = await store.append_messages(
            [words(tea, bob, "roger " + SECRET, reply_to=first.id)]
        )
        reply = stored(answer)
        assert first.content == SECRET
        assert reply.reply_to is not None
        assert reply.reply_to.excerpt == SECRET

        edited = await edit(store, first.id, alice, "edited: " + SECRET)
        assert edited.content == "edited: " + SECRET
        expected = ["edited: " + SECRET, "roger " + SECRET]
        assert [row.content for row in await newest(store, tea, alice)] == expected
        [_, told] = await newest(store, tea, alice)
        assert told.reply_to is not None
        assert told.reply_to.excerpt == SECRET  # as it was then

        join = await store.join_page(tea, alice, since=None, replay=100, limit=50)
        assert join is not None
        assert [row.content for row in join.messages] == expected
        changes = await store.changes_since(tea, 0, 100)
        assert sorted(row.content for row in changes.messages) == sorted(expected)
        [line] = await store.list_sessions(alice, before=None, limit=10)
        assert line.last_message is not None
        assert line.last_message.content == expected[1]
        revisions = await store.revisions(first.id, alice, before=None, limit=10)
        assert revisions is not None
        assert [row.content for row in revisions] == [SECRET]
        access = await store.message_for(first.id, bob)
        assert access is not None
        assert access.message.content == expected[0]
        own = await store.own_messages(alice, tea, after=0, until=100, limit=10)
        assert [row.content for row in own] == expected[:1]
        earlier = await store.own_revisions(alice, tea, after=(1, 0), until=100, limit=10)
        assert [row.content for row in earlier] == [SECRET]
        pinned = await store.pin_message(first.id, alice, role="OWNER", is_on=True, at=NOW)
        assert pinned is not None
        pins = await store.pins(tea, alice)
        assert pins is not None
        assert [row.content for row in pins] == expected[:1]

        kept = await at_rest(store)
        assert "eagle" not in kept
        assert kept.count(MARK + "mk1:") == 4  # two texts, a revision, an excerpt
        assert store.unreadable_texts() == 0


async def test_a_repeat_with_the_same_content_is_a_duplicate_with_its_text(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        tea = await gather(store, alice)
        [parent] = await say(store, tea, alice, "parent")
        sent = words(tea, alice, SECRET, key="once", reply_to=parent.id)
        await store.append_messages([sent])
        [again] = await store.append_messages([words(tea, alice, SECRET, key="once")])
        assert again.outcome is Append.DUPLICATE
        assert again.row is not None
        assert again.row.content == SECRET
        assert again.row.reply_to is not None
        assert again.row.reply_to.excerpt == "parent"
        await edit(store, sent.id, alice, "edited")
        [again] = await store.append_messages([words(tea, alice, SECRET, key="once")])
        assert again.row is not None
        assert again.row.content == "edited"
        [found] = await store.find_messages([sent])
        assert found is not None
        assert found.row is not None
        assert found.row.content == "edited"
        assert store.unreadable_texts() == 0


async def test_an_edit_to_the_same_text_changes_nothing_though_no_two_seals_are_equal(
    opener: Opener,
) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        tea = await gather(store, alice)
        [row] = await say(store, tea, alice, SECRET)
        change = await store.edit_message(
            row.id, alice, role="OWNER", content=SECRET, version=None, at=NOW
        )
        assert change is not None
        assert not change.is_changed


async def test_a_text_of_the_greatest_length_is_stored_sealed(opener: Opener) -> None:
    async with opener(Keyring([ContentKey("k" * 32, K1.secret)])) as store:
        alice = await sign_up(store, "Alice")
        tea = await gather(store, alice)
        [row] = await say(store, tea, alice, "\N{GRINNING FACE}" * 16_384)
        [read] = await newest(store, tea, alice)
        assert read == row


async def test_no_sender_can_make_a_plain_text_look_sealed(opener: Opener) -> None:
    for keyring in (Keyring(), Keyring([K1])):
        async with opener(keyring) as store:
            alice = await sign_up(store, f"Alice{keyring.first}")
            tea = await gather(store, alice)
            [answer] = await store.append_messages([words(tea, alice, MARK + "mk1:1:AAAA")])
            assert answer.outcome is Append.INVALID


@pytest.mark.threat("T108")
@pytest.mark.parametrize("kind", ["other message", "other session", "old version", "bit", "cut"])
async def test_a_row_that_is_not_what_was_written_is_unreadable_alone_and_told_once(
    opener: Opener, kind: str
) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        tea, coffee = await gather(store, alice), await gather(store, alice)
        [victim, other] = await say(store, tea, alice, "victim", SECRET)
        [elsewhere] = await say(store, coffee, alice, SECRET)
        before = await raw(store, victim.id)
        await edit(store, victim.id, alice, "now")
        now = await raw(store, victim.id)
        forged = {
            "other message": await raw(store, other.id),
            "other session": await raw(store, elsewhere.id),
            "old version": before,
            "bit": now[:-6] + ("A" if now[-6] != "A" else "B") + now[-5:],
            "cut": now[:12],
        }[kind]
        await put(store, victim.id, forged)
        with structlog.testing.capture_logs() as lines:
            for _ in range(2):
                rows = await newest(store, tea, alice)
        assert [row.content for row in rows] == ["", SECRET]
        assert rows[0].content is UNREADABLE
        [line] = [line for line in lines if line["log_level"] == "error"]
        assert line["event"] == "unreadable"
        assert line["message"] == str(victim.id)
        assert SECRET not in str(line)
        assert store.unreadable_texts() == 2


async def test_an_unreadable_message_can_be_edited_and_deleted(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        tea = await gather(store, alice)
        [row] = await say(store, tea, alice, SECRET)
        [answer] = await store.append_messages([words(tea, alice, "yes", reply_to=row.id)])
        reply = stored(answer)
        await put(store, row.id, MARK + "nonsense")
        with structlog.testing.capture_logs():
            [_, read] = await newest(store, tea, alice)
            assert read.reply_to is not None
            assert read.reply_to.excerpt is None
            assert (await edit(store, row.id, alice, "again")).content == "again"
            [first, _] = await newest(store, tea, alice)
            revisions = await store.revisions(row.id, alice, before=None, limit=10)
        assert first.content == "again"
        assert revisions is not None
        assert [each.content is UNREADABLE for each in revisions] == [True]
        change = await store.delete_message(row.id, alice, role="OWNER", at=NOW)
        assert change is not None
        assert reply.id != row.id
        assert MARK + "nonsense" not in await at_rest(store)


async def furnish(store: Store) -> tuple[UUID, UUID, list[MessageRow]]:
    """Make sessions with edited messages and replies; return what their member reads."""
    alice = await sign_up(store, "Alice")
    tea, coffee = sorted([await gather(store, alice), await gather(store, alice)])
    [first] = await say(store, tea, alice, SECRET + LONG)
    await store.append_messages([words(tea, alice, "to the first", reply_to=first.id)])
    await edit(store, first.id, alice, "edited " + SECRET)
    await store.append_messages([words(tea, alice, "to the second", reply_to=first.id)])
    [gone] = await say(store, tea, alice, "gone")
    await store.delete_message(gone.id, alice, role="OWNER", at=NOW)
    await say(store, coffee, alice, *(f"{n} {SECRET}" for n in range(7)))
    return alice, tea, await everything(store, alice)


async def everything(store: Store, user_id: UUID) -> list[Any]:
    """Return all that a member reads in all sessions, revisions included."""
    rows: list[Any] = []
    for line in await store.list_sessions(user_id, before=None, limit=10):
        messages = await newest(store, line.session.id, user_id)
        rows += messages
        for message in messages:
            rows.append(await store.revisions(message.id, user_id, before=None, limit=10))
    return rows


@pytest.mark.threat("T108")
async def test_turning_it_on_turning_the_key_and_turning_it_off_change_every_row_and_no_text(
    opener: Opener,
) -> None:
    async with opener(Keyring()) as store:
        alice, _, said = await furnish(store)
        assert await store.reseal_messages(100, NOW) == 0
        plain = await at_rest(store)
        assert SECRET in plain
    rings = [
        (Keyring([K1]), "k1"),
        (Keyring([K2, K1]), "k2"),
        (Keyring([K2], is_plain=True), "plain"),
    ]
    for keyring, name in rings:
        async with opener(keyring) as store:
            await store.take_up_keys(NOW)
            assert await everything(store, alice) == said  # before, ...
            assert await store.reseal_messages(2, NOW) > 0
            assert await everything(store, alice) == said  # ... in the middle, ...
            assert await rewritten(store) > 0
            assert await everything(store, alice) == said  # ... and behind
            assert set(await store.count_texts()) == {name}
            assert [row.kid for row in await store.content_keys()] == (
                [name] if name != "plain" else []
            )
            assert ("eagle" in await at_rest(store)) == (name == "plain")
            assert store.unreadable_texts() == 0
    async with opener(Keyring()) as store:  # no key is needed any more
        assert await everything(store, alice) == said
        assert await at_rest(store) == plain


async def test_a_pass_goes_on_where_it_was_and_begins_anew_for_another_key(opener: Opener) -> None:
    async with opener(Keyring()) as store:
        alice, _, said = await furnish(store)
    async with opener(Keyring([K1])) as store:
        await store.take_up_keys(NOW)
        await store.reseal_messages(4, NOW)
        [one] = [row for row in [await store.current_pass()] if row is not None]
        assert one.changed > 0
    async with opener(Keyring([K1])) as store:
        await store.take_up_keys(NOW + SECOND)
        assert await store.current_pass() == one
        await store.reseal_messages(4, NOW)
        two = await store.current_pass()
        assert two is not None
        assert two.changed > one.changed
    async with opener(Keyring([K2, K1])) as store:
        await store.take_up_keys(NOW + SECOND)
        fresh = await store.current_pass()
        assert fresh is not None
        assert (fresh.target, fresh.changed, fresh.begun_at) == ("k2", 0, NOW + SECOND)
        assert [row.kid for row in await store.content_keys()] == ["k1", "k2"]
        await rewritten(store)
        assert await everything(store, alice) == said
        assert set(await store.count_texts()) == {"k2"}


async def test_a_pass_can_be_asked_for_again_for_what_another_daemon_wrote_behind_it(
    opener: Opener,
) -> None:
    async with opener(Keyring([K2, K1])) as store:
        alice, tea, _ = await furnish(store)
        await store.take_up_keys(NOW)
        await rewritten(store)
    async with opener(Keyring([K1])) as store:  # it has not heard of the new key
        await say(store, tea, alice, SECRET)
    async with opener(Keyring([K2, K1])) as store:
        await store.take_up_keys(NOW)
        assert await rewritten(store) == 0
        assert await store.count_texts() == {"k1": 1, "k2": 11}
        await store.take_up_keys(NOW, again=True)
        assert await rewritten(store) == 1
        assert set(await store.count_texts()) == {"k2"}


async def test_another_daemon_with_other_keys_does_not_walk_for_them(opener: Opener) -> None:
    async with opener(Keyring()) as store:
        await furnish(store)
    async with opener(Keyring([K2, K1])) as store:
        await store.take_up_keys(NOW)
    async with opener(Keyring([K1])) as store:
        assert await store.reseal_messages(100, NOW) == 0


async def test_what_is_written_during_a_pass_is_as_its_end_finds_it(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice, tea, _ = await furnish(store)
        await store.take_up_keys(NOW)
        await rewritten(store)
    async with opener(Keyring([K2, K1])) as store:
        await store.take_up_keys(NOW)
        [first, *_] = await newest(store, tea, alice)
        while await store.reseal_messages(2, NOW):
            rows = await newest(store, tea, alice)
            await say(store, tea, alice, SECRET)
            await store.append_messages([words(tea, alice, "so", reply_to=rows[-1].id)])
            await edit(store, first.id, alice, f"version {len(rows)}")
            if len(rows) > 20:
                await rewritten(store)
        assert set(await store.count_texts()) == {"k2"}
        assert store.unreadable_texts() == 0
    async with opener(Keyring([K2])) as store:
        await everything(store, alice)
        assert store.unreadable_texts() == 0


async def test_a_lost_key_is_asked_for_until_it_is_given_up(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice, tea, _ = await furnish(store)
        await store.take_up_keys(NOW)
        await rewritten(store)
    async with opener(Keyring([K2])) as store:
        fingerprint = Keyring([K1]).fingerprint("k1")
        assert fingerprint is not None
        assert await store.content_keys() == [KeyRow("k1", fingerprint, NOW)]
        assert not await store.give_up_key("k2", NOW)
        assert await store.give_up_key("k1", NOW + SECOND)
        assert not await store.give_up_key("k1", NOW)
        [row] = await store.content_keys()
        assert row.given_up_at == NOW + SECOND
        await store.take_up_keys(NOW)
        await rewritten(store)  # what no key opens is left alone: nothing to tell
        with structlog.testing.capture_logs() as lines:
            rows = await newest(store, tea, alice)
        assert [line["why"] for line in lines] == ["there is no key k1"]
        assert store.unreadable_texts() > 1
        assert {row.content for row in rows if row.deleted_at is None} == {UNREADABLE}
        assert [row.kid for row in await store.content_keys()] == ["k1", "k2"]
    async with opener(Keyring([K1, K2])) as store:  # found again
        await store.take_up_keys(NOW)
        rows = await newest(store, tea, alice)
        assert rows[0].content == "edited " + SECRET
        assert all(row.given_up_at is None for row in await store.content_keys())


@pytest.mark.threat("T109")
async def test_an_erasure_leaves_nothing_of_what_was_sealed(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
        tea = await gather(store, alice, bob)
        [row] = await say(store, tea, alice, SECRET)
        await edit(store, row.id, alice, "edited")
        await store.append_messages([words(tea, bob, "kept", reply_to=row.id)])
        await store.begin_erasure(alice, deletes_messages=True, at=NOW)
        await store.erase_membership(tea, alice, at=NOW)
        batch = await store.erase_messages(
            tea, alice, deletes_messages=True, above=0, span=100, limit=100, at=NOW
        )
        assert [erased.content for erased in batch.messages] == [""]
        assert (await at_rest(store)).count(MARK) == 1  # what Bob said
        [gone, kept] = await newest(store, tea, bob)
        assert (gone.deleted_at is not None, gone.content) == (True, "")
        assert gone.content is not UNREADABLE
        assert kept.reply_to is not None
        assert (kept.content, kept.reply_to.excerpt) == ("kept", None)
        own = await store.own_messages(alice, tea, after=0, until=100, limit=10)
        assert [each.content for each in own] == [""]
        assert await store.own_revisions(alice, tea, after=(1, 0), until=100, limit=10) == []
        assert store.unreadable_texts() == 0


async def test_where_nothing_was_sealed_nothing_is_noted(opener: Opener) -> None:
    async with opener(Keyring()) as store:
        await furnish(store)
        await store.take_up_keys(NOW)
        assert await store.current_pass() is None
        assert await store.content_keys() == []
        assert set(await store.count_texts()) == {"plain"}


async def test_the_search_index_forgets_content_and_takes_no_more_of_it(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice, tea, _ = await furnish(store)
    while await store.index_messages(100):
        pass
    assert "eagle" in "".join(b for (b,) in await pool.fetch("SELECT body FROM search_entries"))
    sealed = PostgresStore(pool, Keyring([K1]))
    await sealed.take_up_keys(NOW)
    assert await pool.fetch("SELECT body FROM search_entries") == []
    await say(sealed, tea, alice, SECRET)
    await rewritten(sealed)
    while await sealed.index_messages(100):  # the daemon does not; another one might
        pass
    bodies = await pool.fetch("SELECT DISTINCT body FROM search_entries")
    assert bodies == [("",)]
    assert await sealed.search(alice, "eagle", limit=10) == []
    assert await sealed.search(alice, "mk1", limit=10) == []


async def test_an_excerpt_with_a_broken_pointer_fails_alone(pool: Pool) -> None:
    store = PostgresStore(pool, Keyring([K1]))
    alice, tea, _ = await furnish(store)
    for broken in ("mk1:99999999999:x", "mk1:7:x", "m", "mk1:", "e"):
        await pool.fetch(
            "UPDATE messages SET reply_excerpt = %(said)s WHERE reply_to_id IS NOT NULL",
            {"said": MARK + broken},
        )
        store = PostgresStore(pool, Keyring([K1]))  # it has told of none of them
        with structlog.testing.capture_logs() as lines:
            rows = await newest(store, tea, alice)
        assert {row.reply_to.excerpt for row in rows if row.reply_to is not None} == {None}
        assert {line["event"] for line in lines} == {"unreadable"}
