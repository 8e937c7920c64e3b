"""Messages that change: edits with history, tombstones, reactions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from chatd.contract import Store
from chatd.errors import StoreAmbiguous, StoreUnavailable
from chatd.rows import Append, MessageAccess, MessageChange, MessageRow, ReactionRow, Role, RulesRow
from chatd.store.memory import MemoryStore
from chatd.store.pool import Pool, Rows
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, contents, gather, say, sign_up, words


async def edit(
    store: Store,
    message_id: UUID,
    user_id: UUID,
    content: str,
    *,
    role: Role = "OWNER",
    version: int | None = None,
    at: datetime = NOW + DAY,
) -> MessageChange | None:
    return await store.edit_message(
        message_id, user_id, role=role, content=content, version=version, at=at
    )


async def revisions(store: Store, message_id: UUID) -> list[tuple[int, str, datetime]]:
    """Return the earlier texts of a message, from inside either store."""
    if isinstance(store, MemoryStore):
        _, message = store._by_id[message_id]
        return message.revisions
    assert isinstance(store, PostgresStore)
    rows = await store._pool.fetch(
        "SELECT version, content, created_at FROM message_revisions"
        " WHERE message_id = %(message_id)s ORDER BY version",
        {"message_id": message_id},
    )
    return [(version, content, at) for version, content, at in rows]


async def test_an_edit_takes_a_seq_and_keeps_the_place_and_the_earlier_text(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    said, other = await say(store, tea, people.alice, "tee", "cake")
    change = await edit(store, said.id, people.alice, "tea")
    edited = said._replace(content="tea", changed_seq=3, version=2, edited_at=NOW + DAY)
    assert change == MessageChange(edited, is_changed=True)
    again = await edit(store, said.id, people.alice, "coffee", version=2, at=NOW + 2 * DAY)
    last = edited._replace(content="coffee", changed_seq=4, version=3, edited_at=NOW + 2 * DAY)
    assert again == MessageChange(last, is_changed=True)
    assert await revisions(store, said.id) == [(1, "tee", NOW), (2, "tea", NOW + DAY)]

    page = await store.history(tea, people.bob)
    assert page is not None
    assert (page.messages, page.seq) == ([last, other], 4)
    joined = await store.join_page(tea, people.bob, since=2, replay=10, limit=10)
    assert joined is not None
    assert (joined.recovered, joined.messages, joined.unread_count) == (True, [last], 2)
    assert (await store.changes_since(tea, 3, 10)).messages == [last]
    await edit(store, other.id, people.alice, "cakes")
    [line] = await store.list_sessions(people.bob, before=None, limit=1)
    assert line.last_message is not None
    assert (line.last_message.content, line.last_message.version) == ("cakes", 2)
    assert line.unread_count == 2


async def test_the_same_text_or_a_stale_version_changes_nothing(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    [said] = await say(store, tea, people.alice, "tea")
    unchanged = MessageChange(said, is_changed=False)
    assert await edit(store, said.id, people.alice, "tea") == unchanged
    assert await edit(store, said.id, people.alice, "coffee", version=2) == (
        unchanged._replace(is_stale=True)
    )
    assert await store.heads([tea]) == {tea: 1}
    assert await revisions(store, said.id) == []


async def test_a_message_is_reached_by_members_in_the_role_they_have_now(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.bob, "tea")
    assert await store.message_for(said.id, people.bob) == MessageAccess(
        said, RulesRow("MEMBER"), "GROUP"
    )
    assert await store.message_for(said.id, people.carol) is None
    assert await store.message_for(NOBODY, people.bob) is None
    assert await edit(store, said.id, people.bob, "x", role="OWNER") is None
    assert await edit(store, said.id, people.carol, "x", role="MEMBER") is None
    assert await edit(store, NOBODY, people.bob, "x", role="MEMBER") is None
    await store.remove_member(tea, people.bob, at=NOW)
    assert await store.message_for(said.id, people.bob) is None
    assert await edit(store, said.id, people.bob, "x", role="MEMBER") is None
    assert await store.heads([tea]) == {tea: 2}


async def test_a_repeat_of_a_message_that_was_edited_is_answered_with_it_as_it_is_now(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    await store.append_messages([words(tea, people.alice, "tee", key="k")])
    page = await store.history(tea, people.alice)
    assert page is not None
    [said] = page.messages
    change = await edit(store, said.id, people.alice, "tea")
    assert change is not None
    repeat = words(tea, people.alice, "tee", key="k")
    [result, new] = await store.append_messages([repeat, words(tea, people.alice, "cake")])
    assert (result.outcome, result.row) == (Append.DUPLICATE, change.message)
    assert new.outcome is Append.STORED
    [found] = await store.find_messages([repeat])
    assert found == result
    page = await store.history(tea, people.alice)
    assert page is not None
    assert contents(page.messages) == ["tea", "cake"]


async def test_a_batch_that_is_stored_never_seems_not_to_be_for_a_duplicate_in_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    said = words(tea, alice, "tee", key="k")
    await store.append_messages([said])
    assert await edit(store, said.id, alice, "tea") is not None
    fetch = pool.fetch

    async def away(statement: str, *args: Any, **kwargs: Any) -> Rows:
        if "append_messages" not in statement:
            raise StoreUnavailable("away")
        return await fetch(statement, *args, **kwargs)

    with monkeypatch.context() as outage:
        outage.setattr(pool, "fetch", away)
        batch = [words(tea, alice, "tee", key="k"), words(tea, alice, "new")]
        with pytest.raises(StoreAmbiguous):
            await store.append_messages(batch)
    duplicate, new = await store.find_messages(batch)
    assert duplicate is not None
    assert duplicate.outcome is Append.DUPLICATE
    assert new is not None
    assert new.outcome is Append.STORED


async def test_a_deleted_message_keeps_its_place_and_nothing_of_what_it_said(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    said, other = await say(store, tea, people.bob, "tee", "cake")
    await edit(store, said.id, people.bob, "tea", role="MEMBER")
    change = await store.delete_message(said.id, people.alice, role="OWNER", at=NOW + 2 * DAY)
    tombstone = said._replace(
        content="",
        changed_seq=4,
        version=2,
        edited_at=NOW + DAY,
        deleted_at=NOW + 2 * DAY,
        deleted_by=people.alice,
    )
    assert change == MessageChange(tombstone, is_changed=True)
    assert await revisions(store, said.id) == []
    page = await store.history(tea, people.alice)
    assert page is not None
    assert page.messages == [tombstone, other]
    joined = await store.join_page(tea, people.alice, since=3, replay=10, limit=10)
    assert joined is not None
    assert (joined.messages, joined.unread_count) == ([tombstone], 1)
    assert (await store.changes_since(tea, 0, 10)).messages == [other, tombstone]
    await store.delete_message(other.id, people.bob, role="MEMBER", at=NOW)
    [line] = await store.list_sessions(people.alice, before=None, limit=1)
    assert line.last_message is not None
    assert (line.last_message.id, line.last_message.content) == (other.id, "")
    assert line.unread_count == 0


async def test_a_message_is_deleted_once_and_edited_no_more(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.bob, "tea")
    assert await store.delete_message(said.id, people.bob, role="OWNER", at=NOW) is None
    assert await store.delete_message(said.id, people.carol, role="MEMBER", at=NOW) is None
    assert await store.delete_message(NOBODY, people.bob, role="MEMBER", at=NOW) is None
    first = await store.delete_message(said.id, people.bob, role="MEMBER", at=NOW)
    assert first is not None
    again = await store.delete_message(said.id, people.alice, role="OWNER", at=NOW + DAY)
    assert again == MessageChange(first.message, is_changed=False)
    assert await edit(store, said.id, people.bob, "tea", role="MEMBER") == again
    assert await store.heads([tea]) == {tea: 2}


async def test_a_repeat_of_a_message_that_was_deleted_brings_it_not_back(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    message = words(tea, people.alice, "tea", key="k")
    await store.append_messages([message])
    change = await store.delete_message(message.id, people.alice, role="OWNER", at=NOW)
    assert change is not None
    [result] = await store.append_messages([words(tea, people.alice, "tea", key="k")])
    assert (result.outcome, result.row) == (Append.DUPLICATE, change.message)
    assert await store.heads([tea]) == {tea: 2}


async def react(
    store: Store,
    message_id: UUID,
    user_id: UUID,
    emoji: str = "👍",
    *,
    role: Role = "MEMBER",
    is_on: bool = True,
) -> MessageChange | None:
    return await store.react(message_id, user_id, role=role, emoji=emoji, is_on=is_on, at=NOW)


async def reacted(store: Store, message_id: UUID, user_id: UUID, emoji: str) -> MessageRow:
    """Give a reaction that must be new and return the message."""
    change = await react(store, message_id, user_id, emoji)
    assert change is not None
    assert change.is_changed
    return change.message


async def test_reactions_are_counted_by_emoji_and_read_with_the_message(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.dave, people.alice, people.bob, people.carol)
    said, other = await say(store, tea, people.alice, "tea", "cake")
    await reacted(store, said.id, people.carol, "👍")
    await reacted(store, said.id, people.alice, "👍")
    row = await reacted(store, said.id, people.bob, "ä")
    assert row == said._replace(
        changed_seq=5,
        reactions=(
            ReactionRow("ä", 1, (people.bob,)),
            ReactionRow("👍", 2, (people.carol, people.alice)),
        ),
    )
    page = await store.history(tea, people.bob)
    assert page is not None
    assert page.messages == [row, other]
    joined = await store.join_page(tea, people.bob, since=4, replay=10, limit=10)
    assert joined is not None
    assert (joined.messages, joined.unread_count) == ([row], 2)
    assert (await store.changes_since(tea, 2, 10)).messages == [row]
    await reacted(store, other.id, people.bob, "👍")
    [line] = await store.list_sessions(people.bob, before=None, limit=1)
    assert line.last_message is not None
    assert line.last_message.reactions == (ReactionRow("👍", 1, (people.bob,)),)


async def test_a_reaction_is_given_once_and_taken_back_once(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.alice, "tea")
    row = await reacted(store, said.id, people.bob, "👍")
    assert await react(store, said.id, people.bob) == MessageChange(row, is_changed=False)
    assert await react(store, said.id, people.alice, role="OWNER", is_on=False) == MessageChange(
        row, is_changed=False
    )
    back = await react(store, said.id, people.bob, is_on=False)
    assert back == MessageChange(said._replace(changed_seq=3), is_changed=True)
    again = await react(store, said.id, people.bob, is_on=False)
    assert again == MessageChange(back.message, is_changed=False)
    assert await react(store, said.id, people.bob, role="OWNER") is None
    assert await react(store, said.id, people.carol) is None
    assert await react(store, NOBODY, people.bob) is None
    assert await store.heads([tea]) == {tea: 3}


async def test_a_message_takes_twenty_different_emoji(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob, people.carol)
    [said] = await say(store, tea, people.alice, "tea")
    for number in range(20):
        row = await reacted(store, said.id, people.bob, f"e{number}")
    assert await react(store, said.id, people.bob, "one more") == MessageChange(
        row, is_changed=False
    )
    row = await reacted(store, said.id, people.carol, "e19")
    await react(store, said.id, people.bob, "e0", is_on=False)
    row = await reacted(store, said.id, people.carol, "one more")
    assert row.reactions is not None
    assert len(row.reactions) == 20


async def test_of_many_who_react_the_first_twenty_are_named(store: Store, people: People) -> None:
    many = [await sign_up(store, f"User {number}") for number in range(21)]
    tea = await gather(store, people.alice, *many)
    [said] = await say(store, tea, people.alice, "tea")
    for each in many:
        row = await reacted(store, said.id, each, "👍")
    assert row.reactions == (ReactionRow("👍", 21, tuple(many[:20])),)
    change = await react(store, said.id, many[3], is_on=False)
    assert change is not None
    left = [each for each in many if each != many[3]]
    assert change.message.reactions == (ReactionRow("👍", 20, tuple(left)),)


async def test_a_tombstone_has_no_reactions_and_takes_none(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.alice, "tea")
    await reacted(store, said.id, people.bob, "👍")
    change = await store.delete_message(said.id, people.alice, role="OWNER", at=NOW)
    assert change is not None
    assert change.message.reactions is None
    for is_on in (True, False):
        unchanged = await react(store, said.id, people.bob, is_on=is_on)
        assert unchanged == MessageChange(change.message, is_changed=False)
    assert (await store.changes_since(tea, 0, 10)).messages == [change.message]
