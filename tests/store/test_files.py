"""What is known of files: within a quota, for whom they are, attached once, and how they end."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest

from chatd.contract import Store
from chatd.contract.acts import Act
from chatd.contract.files import Quota, Seen
from chatd.ids import random_hex, uuid7
from chatd.rows import Append, FileRow, MessageRow, NewMessage, SweepRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, gather, say, stored

QUOTA = Quota(size=1000, files=5, uploads=3)
PICTURE = Seen("image/png", 640, 480, has_thumbnail=True)


def promise(
    uploader_id: UUID, session_id: UUID | None, *, size: int = 10, at: datetime = NOW
) -> FileRow:
    return FileRow(
        uuid7(),
        random_hex(16),
        uploader_id,
        session_id,
        "cat.png",
        size,
        "image/png",
        at,
        at + 300 * SECOND,
    )


async def upload(
    store: Store, uploader_id: UUID, session_id: UUID | None, *, at: datetime = NOW
) -> FileRow:
    """Store a file that is complete."""
    row = promise(uploader_id, session_id, at=at)
    assert await store.insert_file(row, QUOTA) is None
    complete = await store.complete_file(row.id, uploader_id, PICTURE, at)
    assert complete == row._replace(completed_at=at, **PICTURE._asdict())
    return complete


def carrying(session_id: UUID, sender_id: UUID, *files: UUID, key: str | None = None) -> NewMessage:
    return NewMessage(uuid7(), session_id, sender_id, "look", NOW, key, attachments=files)


async def send(store: Store, session_id: UUID, sender_id: UUID, *files: UUID) -> MessageRow:
    [outcome] = await store.append_messages([carrying(session_id, sender_id, *files)])
    return stored(outcome)


async def outcome_of(store: Store, message: NewMessage) -> Append:
    [outcome] = await store.append_messages([message])
    return outcome.outcome


async def test_a_promise_within_the_quota_is_kept_and_one_beyond_it_is_not(
    store: Store, people: People
) -> None:
    row = promise(people.alice, None, size=600)
    assert await store.insert_file(row, QUOTA) is None
    assert await store.own_file(row.id, people.alice) == row
    assert await store.own_file(row.id, people.bob) is None
    assert await store.insert_file(promise(people.alice, None, size=401), QUOTA) == "bytes"
    assert await store.insert_file(promise(people.alice, None, size=398), QUOTA) is None
    assert await store.insert_file(promise(people.alice, None, size=1), QUOTA) is None
    assert await store.insert_file(promise(people.alice, None, size=1), QUOTA) == "uploads"
    assert await store.revoke_file(row.id, people.alice, NOW)  # its link is still good
    assert await store.insert_file(promise(people.alice, None, size=1), QUOTA) == "uploads"
    assert await store.insert_file(promise(people.bob, None, size=600), QUOTA) is None
    late = NOW + 301 * SECOND  # the links have ended: nothing is under way
    assert await store.insert_file(promise(people.alice, None, size=1, at=late), QUOTA) is None
    two, three = QUOTA._replace(files=3), QUOTA._replace(files=4)
    assert await store.insert_file(promise(people.alice, None, size=1, at=late), two) == "files"
    assert await store.insert_file(promise(people.alice, None, size=1, at=late), three) is None
    large = promise(people.alice, None, size=599, at=late)
    assert await store.insert_file(large, QUOTA) is None  # what was revoked gave back its bytes


async def test_a_complete_file_is_complete_once(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    row = await upload(store, people.alice, tea)
    again = await store.complete_file(row.id, people.alice, Seen(None), NOW + SECOND)
    assert again == row
    assert await store.complete_file(row.id, people.bob, PICTURE, NOW) is None
    assert await store.complete_file(NOBODY, people.alice, PICTURE, NOW) is None


async def test_before_it_is_attached_a_file_is_its_uploaders_alone(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    unfinished = promise(people.alice, tea)
    await store.insert_file(unfinished, QUOTA)
    row, picture = await upload(store, people.alice, tea), await upload(store, people.alice, None)
    for mine in (row, picture):
        assert await store.file_for(mine.id, people.alice) == mine
        assert await store.file_for(mine.id, people.bob) is None
    assert await store.file_for(unfinished.id, people.alice) is None


async def test_an_attached_file_is_for_those_who_are_members_now(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    row = await upload(store, people.alice, tea)
    message = await send(store, tea, people.alice, row.id)
    attached = row._replace(message_id=message.id)
    assert await store.file_for(row.id, people.bob) == attached
    assert await store.file_for(row.id, people.carol) is None
    await store.add_member(tea, people.carol, role="MEMBER", at=NOW)
    assert await store.file_for(row.id, people.carol) == attached
    for leaver in (people.bob, people.alice):
        await store.remove_member(tea, leaver, at=NOW)
        assert await store.file_for(row.id, leaver) is None
    assert await store.file_by_key(row.key) == attached


async def test_a_message_tells_of_its_files_in_their_order_on_every_way_it_is_read(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    one, two, other = [await upload(store, people.alice, tea) for _ in range(3)]
    batch = [
        carrying(tea, people.alice, two.id, one.id),
        NewMessage(uuid7(), tea, people.bob, "plain", NOW),
        carrying(tea, people.alice, other.id),
    ]
    rows = [stored(outcome) for outcome in await store.append_messages(batch)]
    told = [row.attachments for row in rows]
    assert told == [(two.attachment, one.attachment), None, (other.attachment,)]
    page = await store.history(tea, people.bob)
    joined = await store.join_page(tea, people.bob, since=0, replay=10, limit=10)
    assert page is not None
    assert joined is not None
    assert page.messages == joined.messages == rows
    assert (await store.changes_since(tea, 0, 10)).messages == rows
    found = await store.find_messages(batch)
    assert [stored(each) for each in found] == rows
    [line] = await store.list_sessions(people.bob, before=None, limit=1)
    assert line.last_message == rows[2]


async def test_a_file_goes_with_one_message_of_its_uploader_in_its_session(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    cake = await gather(store, people.alice, people.bob)
    row, second = await upload(store, people.alice, tea), await upload(store, people.alice, tea)
    unfinished = promise(people.alice, tea)
    await store.insert_file(unfinished, QUOTA)
    picture = await upload(store, people.bob, None)
    wrong = [
        carrying(tea, people.bob, row.id),
        carrying(cake, people.alice, row.id),
        carrying(tea, people.alice, unfinished.id),
        carrying(tea, people.bob, picture.id),
        carrying(tea, people.alice, row.id, NOBODY),
    ]
    for message in wrong:
        assert await outcome_of(store, message) is Append.NO_SUCH_FILE
    assert await outcome_of(store, carrying(tea, people.carol, row.id)) is Append.NOT_A_MEMBER
    assert await store.heads([tea, cake]) == {tea: 0, cake: 0}
    await send(store, tea, people.alice, row.id)
    taken = carrying(tea, people.alice, row.id, second.id)
    assert await outcome_of(store, taken) is Append.NO_SUCH_FILE
    assert await store.revoke_file(second.id, people.alice, NOW)
    revoked = carrying(tea, people.alice, second.id)
    assert await outcome_of(store, revoked) is Append.NO_SUCH_FILE


async def test_good_messages_of_a_batch_are_stored_beside_one_without_its_file(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    row = await upload(store, people.alice, tea)
    batch = [
        carrying(tea, people.bob, NOBODY),
        carrying(tea, people.alice, row.id),
        NewMessage(uuid7(), tea, people.bob, "plain", NOW, mentions=(people.alice,)),
    ]
    bad, good, plain = await store.append_messages(batch)
    assert bad.outcome is Append.NO_SUCH_FILE
    assert (stored(good).seq, stored(plain).seq) == (1, 2)
    assert plain.told == (people.alice,)


async def test_a_repeat_with_files_is_answered_with_what_is_stored(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    row = await upload(store, people.alice, tea)
    first = carrying(tea, people.alice, row.id, key="k")
    message = stored((await store.append_messages([first]))[0])
    for repeat in (first._replace(id=uuid7()), first._replace(id=uuid7(), attachments=())):
        [outcome] = await store.append_messages([repeat])
        assert outcome.outcome is Append.DUPLICATE
        assert outcome.row == message
    assert await store.heads([tea]) == {tea: 1}


async def test_a_message_that_is_refused_leaves_its_files_free(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    row = await upload(store, people.bob, tea)
    await store.update_session(tea, is_read_only=True)
    assert await outcome_of(store, carrying(tea, people.bob, row.id)) is Append.READ_ONLY
    await store.update_session(tea, is_read_only=False)
    assert (await send(store, tea, people.bob, row.id)).attachments == (row.attachment,)


@pytest.mark.parametrize("way", ["delete", "erase"])
async def test_the_files_of_a_deleted_message_are_revoked_with_it(
    store: Store, people: People, way: str
) -> None:
    tea = await gather(store, people.alice, people.bob)
    row, other = await upload(store, people.bob, tea), await upload(store, people.alice, tea)
    message = await send(store, tea, people.bob, row.id)
    kept = await send(store, tea, people.alice, other.id)
    if way == "delete":
        change = await store.delete_message(message.id, people.bob, role="MEMBER", at=NOW)
        assert change is not None
        tombstone = change.message
    else:
        erased = await store.erase_messages(
            tea, people.bob, deletes_messages=True, above=0, span=10, limit=10, at=NOW
        )
        [tombstone] = erased.messages
    assert tombstone.attachments is None
    assert (await store.changes_since(tea, 0, 10)).messages == [kept, tombstone]
    assert await store.file_for(row.id, people.alice) is None
    assert await store.file_by_key(row.key) is None
    assert await store.files_to_sweep(NOW, 10) == [
        SweepRow(row.id, row.key, is_revoked=True, upload_until=row.upload_until)
    ]
    assert await store.file_for(other.id, people.bob) == other._replace(message_id=kept.id)


async def test_an_edit_leaves_the_files_of_a_message(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    row = await upload(store, people.alice, tea)
    message = await send(store, tea, people.alice, row.id)
    change = await store.edit_message(
        message.id, people.alice, role="OWNER", content="see", version=None, at=NOW
    )
    assert change is not None
    assert change.message.attachments == (row.attachment,)
    assert (await store.changes_since(tea, 0, 10)).messages == [change.message]


async def test_a_file_is_revoked_by_its_uploader_while_it_is_attached_to_nothing(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    row, kept = await upload(store, people.alice, tea), await upload(store, people.alice, tea)
    await send(store, tea, people.alice, kept.id)
    assert not await store.revoke_file(row.id, people.bob, NOW)
    assert not await store.revoke_file(kept.id, people.alice, NOW)
    assert not await store.revoke_file(NOBODY, people.alice, NOW)
    for _ in range(2):
        assert await store.revoke_file(row.id, people.alice, NOW)
    assert await store.own_file(row.id, people.alice) is None
    assert await store.file_for(row.id, people.alice) is None


async def test_what_is_attached_to_nothing_for_long_enough_is_revoked_the_oldest_first(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    unfinished, loose, attached, young = (
        promise(people.alice, tea),
        await upload(store, people.alice, tea, at=NOW + SECOND),
        await upload(store, people.alice, tea),
        await upload(store, people.alice, tea, at=NOW + DAY),
    )
    await store.insert_file(unfinished, QUOTA)
    await send(store, tea, people.alice, attached.id)
    late = NOW + 2 * DAY
    assert await store.revoke_loose(NOW, late, 10) == 0
    assert await store.revoke_loose(NOW + DAY, late, 1) == 1
    assert await store.own_file(unfinished.id, people.alice) is None
    assert await store.revoke_loose(NOW + DAY, late, 10) == 1
    assert await store.own_file(loose.id, people.alice) is None
    for row in (attached, young):
        assert await store.own_file(row.id, people.alice) is not None


async def test_the_row_of_a_revoked_file_goes_when_its_bytes_have_gone_for_good(
    store: Store, people: People
) -> None:
    row, complete = promise(people.alice, None), await upload(store, people.alice, None)
    await store.insert_file(row, QUOTA)
    await store.revoke_file(row.id, people.alice, NOW)
    due = SweepRow(row.id, row.key, is_revoked=True, upload_until=row.upload_until)
    assert await store.files_to_sweep(NOW - SECOND, 10) == []
    assert await store.files_to_sweep(NOW, 10) == [due]
    await store.note_swept(row.id, NOW + DAY)
    late = [each.id for each in await store.files_to_sweep(NOW + DAY, 10)]
    assert late == [complete.id, row.id]  # the other: what came late lies beside it
    await store.note_swept(complete.id, None)
    await store.note_swept(row.id, None)
    assert await store.files_to_sweep(NOW + 9 * DAY, 10) == []
    assert await store.own_file(complete.id, people.alice) == complete
    again = row._replace(uploader_id=people.bob)
    assert await store.insert_file(again, QUOTA) is None  # the row is gone: its id is free
    await store.note_swept(NOBODY, None)


async def test_the_files_of_a_deleted_session_are_read_by_nobody_and_revoked_with_its_last_row(
    store: Store, people: People
) -> None:
    tea, cake = await gather(store, people.alice, people.bob), await gather(store, people.alice)
    attached, loose = await upload(store, people.alice, tea), await upload(store, people.alice, tea)
    other = await upload(store, people.alice, cake)
    await send(store, tea, people.alice, attached.id)
    await store.delete_session(tea, act=Act(people.alice, NOW, lambda _: None))
    for row in (attached, loose):
        assert await store.file_for(row.id, people.alice) is None
        assert await store.file_by_key(row.key) is None
    assert await store.files_to_sweep(NOW, 10) == []
    while await store.sweep_sessions(10):
        pass
    swept = {row.id for row in await store.files_to_sweep(NOW, 10)}
    assert swept == {attached.id, loose.id}
    assert await store.file_for(other.id, people.alice) == other


async def test_an_avatar_is_for_everybody_as_long_as_it_is_one(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    row, next_one = await upload(store, people.alice, None), await upload(store, people.alice, None)
    in_session = await upload(store, people.alice, tea)
    unread = promise(people.alice, None)
    await store.insert_file(unread, QUOTA)
    await store.complete_file(unread.id, people.alice, Seen("image/png"), NOW)
    for wrong in (in_session.id, unread.id, NOBODY):
        assert await store.set_avatar_file(people.alice, wrong, name="A") is None
    assert await store.set_avatar_file(people.bob, row.id, name=None) is None
    assert await store.avatar_file(row.id) is None

    user = await store.set_avatar_file(people.alice, row.id, name="Ally")
    assert user is not None
    assert (user.name, user.avatar_url) == ("Ally", f"/avatars/{row.id}")
    assert await store.users_by_ids([people.alice]) == [user]
    assert await store.avatar_file(row.id) == row
    assert not await store.revoke_file(row.id, people.alice, NOW)
    assert await store.revoke_loose(NOW + DAY, NOW + DAY, 10) == 3  # the others

    late = NOW + 400 * SECOND
    assert await store.insert_file(promise(people.alice, None, at=late), QUOTA) is None
    await store.update_user(people.alice, name=None, avatar="#123456", sets_avatar=True)
    assert await store.avatar_file(row.id) is None
    assert await store.avatar_file(next_one.id) is None
    assert await store.revoke_loose(NOW + DAY, NOW + DAY, 10) == 2


async def test_an_avatar_that_another_takes_the_place_of_becomes_loose(
    store: Store, people: People
) -> None:
    one, two = await upload(store, people.alice, None), await upload(store, people.alice, None)
    for row in (one, two, two):
        assert await store.set_avatar_file(people.alice, row.id, name=None) is not None
    assert await store.avatar_file(one.id) is None
    assert await store.avatar_file(two.id) == two
    assert await store.revoke_loose(NOW + DAY, NOW + DAY, 10) == 1
    assert await store.own_file(two.id, people.alice) == two


async def test_an_account_that_ends_keeps_only_the_files_of_its_messages(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    attached, loose = await upload(store, people.alice, tea), await upload(store, people.alice, tea)
    picture = await upload(store, people.alice, None)
    await send(store, tea, people.alice, attached.id)
    await store.set_avatar_file(people.alice, picture.id, name=None)
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    assert await store.avatar_file(picture.id) is None
    assert await store.file_for(attached.id, people.bob) is not None
    swept = {row.id for row in await store.files_to_sweep(NOW, 10)}
    assert swept == {loose.id, picture.id}


async def test_the_files_of_a_user_are_listed_in_pages(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    rows = sorted([await upload(store, people.alice, tea) for _ in range(3)])
    await upload(store, people.bob, None)
    await store.insert_file(promise(people.alice, tea), QUOTA)
    assert await store.own_files(people.alice, after=None, limit=2) == rows[:2]
    assert await store.own_files(people.alice, after=rows[1].id, limit=2) == rows[2:]
    await say(store, tea, people.alice, "nothing")
    assert await store.own_files(people.carol, after=None, limit=2) == []
