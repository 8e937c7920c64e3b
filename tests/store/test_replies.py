"""Replies: what they show of the message they answer."""

from __future__ import annotations

from chatd.contract import Store
from chatd.rows import Append, MessageRow, ReplyRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, gather, say, stored, words


async def page(store: Store, people: People, message: MessageRow) -> list[MessageRow]:
    history = await store.history(message.session_id, people.bob)
    assert history is not None
    return history.messages


async def test_a_reply_shows_the_first_200_characters_wherever_it_is_read(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [question] = await say(store, tea, people.alice, "ü👋" * 150)
    new = words(tea, people.bob, "yes", key="k", reply_to=question.id)
    [result] = await store.append_messages([new])
    reply = stored(result)
    assert reply.reply_to == ReplyRow(question.id, 1, people.alice, "Alice", None, "ü👋" * 100)

    assert await page(store, people, reply) == [question, reply]
    joined = await store.join_page(tea, people.bob, since=1, replay=10, limit=10)
    assert joined is not None
    assert joined.messages == [reply]
    assert (await store.changes_since(tea, 1, 10)).messages == [reply]
    [line] = await store.list_sessions(people.alice, before=None, limit=1)
    assert line.last_message == reply
    access = await store.message_for(reply.id, people.alice)
    assert access is not None
    assert access.message == reply
    [again] = await store.append_messages([new])
    assert (again.outcome, again.row) == (Append.DUPLICATE, reply)
    assert await store.find_messages([new]) == [result]


async def test_an_excerpt_stays_when_the_answered_message_is_edited(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [question] = await say(store, tea, people.alice, "tee?")
    [result] = await store.append_messages([words(tea, people.bob, reply_to=question.id)])
    await store.edit_message(
        question.id, people.alice, role="OWNER", content="tea?", version=None, at=NOW + DAY
    )
    [edited, reply] = await page(store, people, question)
    assert (edited.content, reply) == ("tea?", stored(result))


async def test_when_the_answered_message_is_deleted_its_words_are_in_no_reply(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [question, other] = await say(store, tea, people.alice, "secret", "other")
    batch = [
        words(tea, people.bob, "one", key="k", reply_to=question.id),
        words(tea, people.bob, "two", reply_to=other.id),
    ]
    before = [stored(result) for result in await store.append_messages(batch)]
    await store.delete_message(question.id, people.alice, role="OWNER", at=NOW)
    [_, _, one, two] = await page(store, people, question)
    orphan = ReplyRow(question.id, 1, people.alice, "Alice", None, None)
    assert (one, two) == (before[0]._replace(reply_to=orphan), before[1])
    [again] = await store.append_messages([words(tea, people.bob, "one", key="k")])
    assert (again.outcome, again.row) == (Append.DUPLICATE, one)

    [late] = await store.append_messages([words(tea, people.bob, reply_to=question.id)])
    assert stored(late).reply_to == orphan
    assert await store.heads([tea]) == {tea: 6}
