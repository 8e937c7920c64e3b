"""Pins, and the earlier texts of messages."""

from __future__ import annotations

from uuid import UUID

from chatd.contract import Store
from chatd.rows import Append, MessageChange, RevisionRow, Role
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, gather, say, words
from tests.store.test_writing import rule


async def pin(
    store: Store,
    message_id: UUID,
    user_id: UUID,
    *,
    role: Role = "OWNER",
    is_on: bool = True,
    seconds: int = 0,
) -> MessageChange | None:
    at = NOW + seconds * SECOND
    return await store.pin_message(message_id, user_id, role=role, is_on=is_on, at=at)


async def test_a_pin_takes_a_seq_and_is_read_with_the_message(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    one, two = await say(store, tea, people.bob, "one", "two")
    pinned = one._replace(changed_seq=3, pinned_at=NOW, pinned_by=people.alice)
    assert await pin(store, one.id, people.alice) == MessageChange(pinned, is_changed=True)
    again = await pin(store, one.id, people.alice, seconds=5)
    assert again == MessageChange(pinned, is_changed=False)
    page = await store.history(tea, people.bob)
    assert page is not None
    assert page.messages == [pinned, two]
    assert (await store.changes_since(tea, 2, 10)).messages == [pinned]

    off = one._replace(changed_seq=4)
    change = await pin(store, one.id, people.alice, is_on=False)
    assert change == MessageChange(off, is_changed=True)
    change = await pin(store, two.id, people.alice, is_on=False)
    assert change == MessageChange(two, is_changed=False)
    assert await store.pins(tea, people.bob) == []
    assert await store.heads([tea]) == {tea: 4}


async def test_pins_are_read_by_members_the_newest_first(store: Store, people: People) -> None:
    tea, cake = await gather(store, people.alice, people.bob), await gather(store, people.alice)
    assert await store.pins(tea, people.bob) == []
    said = await say(store, tea, people.alice, "a", "b", "c")
    [elsewhere] = await say(store, cake, people.alice, "elsewhere")
    for seconds, row in enumerate((said[1], said[2], said[0], elsewhere)):
        await pin(store, row.id, people.alice, seconds=seconds)
    pins = await store.pins(tea, people.bob)
    assert pins is not None
    assert [row.content for row in pins] == ["a", "c", "b"]
    for session_id, user_id in ((tea, people.carol), (cake, people.bob), (NOBODY, people.bob)):
        assert await store.pins(session_id, user_id) is None


async def test_a_deleted_message_is_not_pinned(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    [said] = await say(store, tea, people.alice, "tea")
    await pin(store, said.id, people.alice)
    change = await store.delete_message(said.id, people.alice, role="OWNER", at=NOW)
    assert change is not None
    assert (change.message.pinned_at, change.message.pinned_by) == (None, None)
    assert await store.pins(tea, people.alice) == []
    refused = await pin(store, said.id, people.alice)
    assert refused == MessageChange(change.message, is_changed=False)
    assert await store.heads([tea]) == {tea: 3}


async def test_a_session_has_at_most_50_pins(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    batch = [words(tea, people.alice) for _ in range(51)]
    await store.append_messages(batch)
    for message in batch[:50]:
        change = await pin(store, message.id, people.alice)
        assert change is not None
        assert change.is_changed
    full = await pin(store, batch[50].id, people.alice)
    assert full is not None
    assert (full.is_changed, full.refusal, full.message.pinned_at) == (False, None, None)
    await pin(store, batch[7].id, people.alice, is_on=False)
    change = await pin(store, batch[50].id, people.alice)
    assert change is not None
    assert change.is_changed


async def test_who_is_not_there_in_this_role_or_an_archived_session_pins_nothing(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.alice, "tea")
    assert await pin(store, said.id, people.bob, role="OWNER") is None
    assert await pin(store, said.id, people.carol, role="MEMBER") is None
    assert await pin(store, NOBODY, people.alice) is None
    await rule(store, tea, people.bob, archived_at=NOW)
    change = await pin(store, said.id, people.alice)
    assert change == MessageChange(said, is_changed=False, refusal=Append.READ_ONLY)


async def test_earlier_texts_are_read_the_newest_first_by_members(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.alice, "one")
    assert await store.revisions(said.id, people.bob, before=None, limit=5) == []
    for days, text in enumerate(("two", "three", "four"), start=1):
        at = NOW + days * DAY
        await store.edit_message(
            said.id, people.alice, role="OWNER", content=text, version=None, at=at
        )
    rows = [
        RevisionRow(3, "three", NOW + 2 * DAY),
        RevisionRow(2, "two", NOW + DAY),
        RevisionRow(1, "one", NOW),
    ]
    assert await store.revisions(said.id, people.bob, before=None, limit=5) == rows
    assert await store.revisions(said.id, people.bob, before=None, limit=2) == rows[:2]
    assert await store.revisions(said.id, people.bob, before=3, limit=1) == rows[1:2]
    for message_id, user_id in ((said.id, people.carol), (NOBODY, people.bob)):
        assert await store.revisions(message_id, user_id, before=None, limit=5) is None
    await store.delete_message(said.id, people.alice, role="OWNER", at=NOW)
    assert await store.revisions(said.id, people.bob, before=None, limit=5) == []
