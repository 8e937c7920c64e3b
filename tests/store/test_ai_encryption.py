"""Conversations with the assistant at rest: sealed, bound to their rows, written anew."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import pytest
import structlog.testing

from chatd.ai_rows import AiMessageRow, AiSessionRow, FinishedAnswer
from chatd.contract import Store
from chatd.keyring import MARK, Keyring
from chatd.rows import UNREADABLE
from chatd.store.memory import MemoryStore
from chatd.store.postgres import PostgresStore
from tests.store.kit import NOW, SECOND, gather, say, sign_up
from tests.store.test_ai import TODAY, USAGE, ask, converse, finish, question, retry
from tests.store.test_encryption import K1, K2, SECRET, Opener, opener, rewritten

__all__ = ["opener"]  # the fixture

Field = Literal["title", "system_prompt", "content"]
PROMPT = "Be brief."


async def at_rest(store: Store) -> list[str]:
    """Return all texts of conversations as they stand in the tables."""
    if isinstance(store, MemoryStore):
        found = [text for talk in store._ai_sessions.values() for text in talk.texts()]
    else:
        assert isinstance(store, PostgresStore)
        rows = await store._pool.fetch(
            """
            SELECT title FROM ai_sessions UNION ALL SELECT system_prompt FROM ai_sessions
            UNION ALL SELECT content FROM ai_messages
            """
        )
        found = [text for (text,) in rows]
    return sorted(text for text in found if text)


async def raw(store: Store, field: Field, row_id: UUID) -> str:
    """Return a text as it is stored."""
    if isinstance(store, MemoryStore):
        for talk in store._ai_sessions.values():
            rows: list[AiSessionRow | AiMessageRow] = [talk.row, *talk.messages]
            for row in rows:
                if row.id == row_id:
                    return str(getattr(row, field))
    assert isinstance(store, PostgresStore)
    statement = {
        "title": "SELECT title FROM ai_sessions WHERE id = %(id)s",
        "system_prompt": "SELECT system_prompt FROM ai_sessions WHERE id = %(id)s",
        "content": "SELECT content FROM ai_messages WHERE id = %(id)s",
    }[field]
    [(text,)] = await store._pool.fetch(statement, {"id": row_id})
    return str(text)


async def put(store: Store, field: Field, row_id: UUID, text: str) -> None:
    """Write into a row behind the store's back."""
    if isinstance(store, MemoryStore):
        changes: Any = {field: text}
        for talk in store._ai_sessions.values():
            if talk.row.id == row_id:
                talk.row = talk.row._replace(**changes)
            for place, row in enumerate(talk.messages):
                if row.id == row_id:
                    talk.messages[place] = row._replace(**changes)
        return
    assert isinstance(store, PostgresStore)
    statement = {
        "title": "UPDATE ai_sessions SET title = %(text)s WHERE id = %(id)s",
        "system_prompt": "UPDATE ai_sessions SET system_prompt = %(text)s WHERE id = %(id)s",
        "content": "UPDATE ai_messages SET content = %(text)s WHERE id = %(id)s",
    }[field]
    await store._pool.fetch(statement, {"id": row_id, "text": text})


async def messages(store: Store, talk: AiSessionRow) -> list[AiMessageRow]:
    rows = await store.ai_messages(talk.id, talk.user_id, before=None, limit=50)
    assert rows is not None
    return rows


async def talked(store: Store, user_id: UUID, times: int = 1) -> AiSessionRow:
    """Make a conversation with a title, a prompt, and so many questions and answers."""
    talk = await converse(store, user_id, title=SECRET)
    for number in range(times):
        _, answer = await ask(store, question(talk, f"{number} {SECRET}?"))
        await finish(store, answer, f"{number} {SECRET}.")
    return talk


async def everything(store: Store, user_id: UUID) -> list[Any]:
    """Return all that a user reads of all conversations."""
    talks = await store.ai_sessions(user_id, before=None, limit=50)
    return [(talk, await messages(store, talk)) for talk in talks]


async def test_every_way_to_read_a_conversation_gives_what_was_said_and_no_table_holds_it(
    opener: Opener,
) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        talk = await converse(store, alice, title=SECRET)
        assert (talk.title, talk.system_prompt) == (SECRET, PROMPT)
        new = question(talk, "was it " + SECRET, key="once")
        asked, answer = await ask(store, new)
        assert (asked.content, answer.content) == ("was it " + SECRET, "")
        await store.checkpoint_answer(talk.id, answer.id, "so " + SECRET)
        running = await store.begin_answer(question(talk, "and?"))
        assert running.answer is not None
        assert running.answer.content == "so " + SECRET
        found = await store.ai_message(answer.id, alice)
        assert found is not None
        assert found.content == "so " + SECRET
        ended = await finish(store, answer, "it was " + SECRET)
        assert ended is not None
        assert ended.content == "it was " + SECRET
        for again in (new, question(talk, "was it " + SECRET, key="once")):
            begun = await store.begin_answer(again)
            assert begun.question == asked
            assert begun.answer == ended

        assert await messages(store, talk) == [asked, ended]
        assert await store.own_ai_messages(talk.id, alice, after=0, limit=9) == [asked, ended]
        listed = await store.ai_sessions(alice, before=None, limit=9)
        assert await store.own_ai_sessions(alice, after=None, limit=9) == listed
        assert [(row.title, row.system_prompt) for row in listed] == [(SECRET, PROMPT)]
        one = await store.ai_session(talk.id, alice)
        assert one == listed[0]

        kept = await at_rest(store)
        assert len(kept) == 4
        assert "eagle" not in str(kept)
        assert "brief" not in str(kept)
        assert {text[:5] for text in kept} == {MARK + each + "k1:" for each in "atp"}
        assert store.unreadable_texts() == 0


async def test_titles_prompts_and_answers_that_are_replaced_are_sealed_as_well(
    opener: Opener,
) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        talk = await converse(store, alice)
        titled = await store.title_ai_session(talk.id, "made " + SECRET)
        assert titled is not None
        assert titled.title == "made " + SECRET
        assert await store.title_ai_session(talk.id, "again") is None
        changed = await store.update_ai_session(
            talk.id, alice, title="new " + SECRET, model=None, system_prompt=SECRET,
            sets_prompt=True,
        )  # fmt: skip
        assert changed is not None
        assert (changed.title, changed.system_prompt) == ("new " + SECRET, SECRET)
        _, answer = await ask(store, question(talk))
        await finish(store, answer)
        asked, second = await ask(store, retry(talk, answer.id))
        await finish(store, second, SECRET)
        assert asked.content == "Why?"
        assert [row.content for row in await messages(store, talk)] == ["Why?", SECRET]
        kept = await at_rest(store)
        assert len(kept) == 4
        assert all(text.startswith(MARK) for text in kept)
        same = await store.update_ai_session(
            talk.id, alice, title=None, model=None, system_prompt=None, sets_prompt=True
        )
        assert same is not None
        assert (same.title, same.system_prompt) == ("new " + SECRET, None)


async def test_what_a_crash_has_left_of_an_answer_is_readable(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        talk = await converse(store, alice)
        _, answer = await ask(store, question(talk))
        await store.checkpoint_answer(talk.id, answer.id, SECRET)
        assert await store.interrupt_answers() == 1
        [_, left] = await messages(store, talk)
        assert (left.status, left.content) == ("INTERRUPTED", SECRET)


async def test_an_end_without_a_text_keeps_what_is_there_readable_or_not(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        talk = await converse(store, alice)
        _, answer = await ask(store, question(talk))
        await store.checkpoint_answer(talk.id, answer.id, SECRET)
        before = await raw(store, "content", answer.id)
        end = FinishedAnswer(answer.id, talk.id, "INTERRUPTED", None, None, "unavailable", USAGE)
    async with opener(Keyring([K2])) as store:
        with structlog.testing.capture_logs():
            ended = await store.finish_answer(end, day=TODAY)
        assert ended is not None
        assert ended.content is UNREADABLE
        assert await raw(store, "content", answer.id) == before
    async with opener(Keyring([K2, K1])) as store:
        [_, ended] = await messages(store, talk)
        assert (ended.status, ended.content) == ("INTERRUPTED", SECRET)


@pytest.mark.threat("T108")
@pytest.mark.parametrize(
    ("field", "source"),
    [
        ("content", "other message"),
        ("content", "other conversation"),
        ("content", "title"),
        ("content", "message of a session"),
        ("content", "cut"),
        ("title", "system_prompt"),
        ("title", "other conversation"),
        ("system_prompt", "title"),
        ("system_prompt", "other conversation"),
    ],
)
async def test_a_text_that_was_copied_or_changed_is_unreadable_alone_and_told_once(
    opener: Opener, field: Field, source: str
) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        talk, other = await talked(store, alice), await talked(store, alice)
        asked, answer = await messages(store, talk)
        victim = answer.id if field == "content" else talk.id
        if source == "message of a session":
            tea = await gather(store, alice)
            [said] = await say(store, tea, alice, SECRET)
            assert isinstance(store, (MemoryStore, PostgresStore))
            forged = store._contents.seal_text(tea, said.id, 1, SECRET)
        elif source == "other conversation":
            row_id = (await messages(store, other))[1].id if field == "content" else other.id
            forged = await raw(store, field, row_id)
        elif source == "other message":
            forged = await raw(store, "content", asked.id)
        elif source == "cut":
            forged = (await raw(store, "content", victim))[:12]
        else:
            forged = await raw(store, "title" if source == "title" else "system_prompt", talk.id)
        await put(store, field, victim, forged)
        with structlog.testing.capture_logs() as lines:
            for _ in range(2):
                read = await store.ai_session(talk.id, alice)
                rows = await messages(store, talk)
        assert read is not None
        texts = {"title": read.title, "system_prompt": read.system_prompt}
        texts["content"] = rows[1].content
        assert texts[field] is UNREADABLE
        assert [name for name, text in texts.items() if text is UNREADABLE] == [field]
        assert rows[0] == asked
        assert await everything(store, alice) != []
        [line] = lines
        assert (line["event"], line["log_level"]) == ("unreadable", "error")
        assert line["message"] == str(victim)
        assert line["session"] == str(talk.id)
        assert SECRET not in str(line)


async def furnish(store: Store) -> tuple[UUID, list[Any]]:
    """Make conversations between sessions; return what their user reads."""
    alice = await sign_up(store, "Alice")
    for number in range(4):
        await say(store, await gather(store, alice), alice, SECRET, SECRET)
        talk = await talked(store, alice, number)
    await store.create_ai_session(
        ai_session_id=UUID(int=talk.id.int + 1),
        user_id=alice,
        title=None,
        model="small",
        system_prompt=None,
        at=NOW,
    )
    return alice, await everything(store, alice)


@pytest.mark.threat("T108")
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_keys_are_turned_on_turned_and_turned_off_for_conversations_too(
    opener: Opener, limit: int
) -> None:
    async with opener(Keyring()) as store:
        alice, said = await furnish(store)
        plain = await at_rest(store)
        assert plain.count(PROMPT) == 4
    rings = [
        (Keyring([K1]), "k1"),
        (Keyring([K2, K1]), "k2"),
        (Keyring([K2], is_plain=True), "plain"),
    ]
    for keyring, name in rings:
        async with opener(keyring) as store:
            await store.take_up_keys(NOW)
            while await store.reseal_messages(limit, NOW):
                assert await everything(store, alice) == said
            latest = await store.current_pass()
            assert latest is not None
            assert latest.finished_at is not None
            assert latest.changed == 8 + len(plain)
            assert await store.count_texts() == {name: 8 + len(plain)}
            kept = await at_rest(store)
            assert len(kept) == len(plain)
            assert {text.startswith(MARK) for text in kept} == {name != "plain"}
            assert store.unreadable_texts() == 0
    async with opener(Keyring()) as store:
        assert await at_rest(store) == plain


async def test_what_is_asked_answered_and_deleted_during_a_pass_is_as_its_end_finds_it(
    opener: Opener,
) -> None:
    async with opener(Keyring([K1])) as store:
        alice, _ = await furnish(store)
        await store.take_up_keys(NOW)
        await rewritten(store)
        [first, *_] = await store.own_ai_sessions(alice, after=None, limit=1)
        asked, answer = await ask(store, question(first))
    async with opener(Keyring([K2, K1])) as store:
        await store.take_up_keys(NOW)
        turns = 0
        while await store.reseal_messages(2, NOW):
            turns += 1
            await store.checkpoint_answer(first.id, answer.id, f"{turns} {SECRET}")
            talk = await talked(store, alice) if turns < 5 else first
            if turns == 3:
                await store.delete_ai_session(talk.id, alice)
            if turns == 4:
                await store.title_ai_session(talk.id, "never")
        await finish(store, answer, SECRET)
        assert turns > 5
        assert set(await store.count_texts()) == {"k2"}
        assert [row.content for row in await messages(store, first)] == [asked.content, SECRET]
        assert store.unreadable_texts() == 0
    async with opener(Keyring([K2])) as store:
        await everything(store, alice)
        assert store.unreadable_texts() == 0


async def test_what_a_key_that_is_given_up_has_sealed_stays_as_it_is(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        talk = await talked(store, alice)
        await store.take_up_keys(NOW)
        await rewritten(store)
        before = await at_rest(store)
    async with opener(Keyring([K2])) as store:
        assert await store.give_up_key("k1", NOW)
        await store.take_up_keys(NOW + SECOND)
        await rewritten(store)
        assert await at_rest(store) == before
        with structlog.testing.capture_logs() as lines:
            read = await store.ai_session(talk.id, alice)
            rows = await messages(store, talk)
        assert [line["why"] for line in lines] == ["there is no key k1"]
        assert read is not None
        assert read.title is UNREADABLE
        assert [row.content is UNREADABLE for row in rows] == [True, True]
        assert await store.title_ai_session(talk.id, "it has one") is None
        assert await store.count_texts() == {"k1": 4}


async def test_an_erasure_leaves_nothing_of_sealed_conversations(opener: Opener) -> None:
    async with opener(Keyring([K1])) as store:
        alice = await sign_up(store, "Alice")
        await talked(store, alice)
        await store.begin_erasure(alice, deletes_messages=False, at=NOW)
        assert await at_rest(store) == []
