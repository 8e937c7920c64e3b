"""Conversations with the assistant: whose they are, one answer at a time, and what they cost."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import trio

from chatd.ai_rows import (
    ASSISTANT_ID,
    AiMessageRow,
    AiSessionRow,
    AiStatus,
    Begin,
    BeginRow,
    FinishedAnswer,
    NewAnswer,
    Usage,
)
from chatd.contract import Store
from chatd.ids import is_bot, uuid7
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, gather

TODAY = NOW.date()
USAGE = Usage(30, 12)


async def converse(
    store: Store, user_id: UUID, *, title: str | None = None, at: datetime = NOW
) -> AiSessionRow:
    row = await store.create_ai_session(
        ai_session_id=uuid7(),
        user_id=user_id,
        title=title,
        model="small",
        system_prompt="Be brief.",
        at=at,
    )
    assert row is not None
    return row


def question(
    session: AiSessionRow, content: str = "Why?", *, key: str | None = None, at: datetime = NOW
) -> NewAnswer:
    return NewAnswer(
        uuid7(), session.id, session.user_id, "small", at, uuid7(), content, client_msg_id=key
    )


def retry(session: AiSessionRow, answer_id: UUID) -> NewAnswer:
    return NewAnswer(uuid7(), session.id, session.user_id, "small", NOW, replaces_id=answer_id)


async def ask(store: Store, new: NewAnswer) -> tuple[AiMessageRow, AiMessageRow]:
    begun = await store.begin_answer(new)
    assert begun.outcome is Begin.BEGUN
    assert begun.question is not None
    assert begun.answer is not None
    return begun.question, begun.answer


async def finish(
    store: Store, answer: AiMessageRow, content: str = "So.", *, status: AiStatus = "COMPLETE"
) -> AiMessageRow | None:
    ended = FinishedAnswer(answer.id, answer.ai_session_id, status, content, "stop", None, USAGE)
    return await store.finish_answer(ended, day=TODAY)


async def contents(store: Store, session: AiSessionRow) -> list[str]:
    rows = await store.ai_messages(session.id, session.user_id, before=None, limit=50)
    assert rows is not None
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    return [row.content for row in rows]


async def test_a_conversation_is_its_users_alone(store: Store, people: People) -> None:
    row = await converse(store, people.alice, title="Tea")
    assert row == AiSessionRow(row.id, people.alice, "Tea", "small", "Be brief.", NOW, NOW)
    _, answer = await ask(store, question(row))
    for user_id, is_hers in ((people.alice, True), (people.bob, False)):
        assert (await store.ai_session(row.id, user_id) is not None) is is_hers
        page = await store.ai_messages(row.id, user_id, before=None, limit=9)
        assert (page is not None) is is_hers
        assert (await store.ai_message(answer.id, user_id) is not None) is is_hers
        listed = await store.ai_sessions(user_id, before=None, limit=9)
        assert len(listed) == is_hers
    stranger = question(row)._replace(user_id=people.bob)
    assert await store.begin_answer(stranger) == BeginRow(Begin.NOT_FOUND)
    assert not await store.delete_ai_session(row.id, people.bob)
    changes = {"title": "Mine", "model": None, "system_prompt": None, "sets_prompt": False}
    assert await store.update_ai_session(row.id, people.bob, **changes) is None  # type: ignore[arg-type]


async def test_conversations_are_listed_by_their_last_question(
    store: Store, people: People
) -> None:
    rows = [await converse(store, people.alice, at=NOW + n * SECOND) for n in range(3)]
    await ask(store, question(rows[0], at=NOW + DAY))
    listed = await store.ai_sessions(people.alice, before=None, limit=9)
    assert [row.id for row in listed] == [rows[0].id, rows[2].id, rows[1].id]
    last = listed[1]
    below = await store.ai_sessions(people.alice, before=(last.active_at, last.id), limit=9)
    assert below == listed[2:]
    assert await store.ai_sessions(people.alice, before=None, limit=1) == listed[:1]


async def test_nobody_whose_account_has_ended_begins_a_conversation(
    store: Store, people: People
) -> None:
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    for user_id in (people.alice, NOBODY):
        row = await store.create_ai_session(
            ai_session_id=uuid7(),
            user_id=user_id,
            title=None,
            model="small",
            system_prompt=None,
            at=NOW,
        )
        assert row is None


async def test_what_is_not_given_stays_and_a_prompt_can_be_taken_away(
    store: Store, people: People
) -> None:
    row = await converse(store, people.alice, title="Tea")
    same = await store.update_ai_session(
        row.id, people.alice, title=None, model=None, system_prompt=None, sets_prompt=False
    )
    assert same == row
    changed = await store.update_ai_session(
        row.id, people.alice, title="Cake", model="large", system_prompt=None, sets_prompt=True
    )
    assert changed == row._replace(title="Cake", model="large", system_prompt=None)
    assert await store.ai_session(row.id, people.alice) == changed


async def test_a_made_title_does_not_replace_one_that_is_there(
    store: Store, people: People
) -> None:
    row = await converse(store, people.alice)
    titled = await store.title_ai_session(row.id, "Tea")
    assert titled == row._replace(title="Tea")
    assert await store.title_ai_session(row.id, "Cake") is None
    assert await store.title_ai_session(uuid7(), "Cake") is None
    assert await store.ai_session(row.id, people.alice) == titled


async def test_a_question_and_its_answer_are_stored_together(store: Store, people: People) -> None:
    row = await converse(store, people.alice)
    asked, answer = await ask(store, question(row, key="k1", at=NOW + SECOND))
    assert (asked.seq, asked.role, asked.status, asked.content) == (1, "USER", "COMPLETE", "Why?")
    assert (asked.client_msg_id, asked.created_at) == ("k1", NOW + SECOND)
    assert (answer.seq, answer.role, answer.status, answer.content) == (
        *(2, "ASSISTANT", "STREAMING", ""),
    )
    assert answer.model == "small"
    current = await store.ai_session(row.id, people.alice)
    assert current == row._replace(active_at=NOW + SECOND, running_id=answer.id)
    page = await store.ai_messages(row.id, people.alice, before=None, limit=9)
    assert page == [asked, answer]
    assert await store.ai_messages(row.id, people.alice, before=2, limit=9) == [asked]
    assert await store.ai_messages(row.id, people.alice, before=None, limit=1) == [answer]


async def test_one_answer_of_a_conversation_is_under_way(store: Store, people: People) -> None:
    row, other = await converse(store, people.alice), await converse(store, people.alice)
    _, answer = await ask(store, question(row))
    second = await store.begin_answer(question(row, "And?"))
    assert second == BeginRow(Begin.RUNNING, answer=answer)
    assert (await store.begin_answer(retry(row, answer.id))).outcome is Begin.RUNNING
    await ask(store, question(other))
    await finish(store, answer)
    await ask(store, question(row, "And?"))
    assert await contents(store, row) == ["Why?", "So.", "And?", ""]


async def test_of_questions_that_are_asked_at_once_one_begins(store: Store, people: People) -> None:
    row = await converse(store, people.alice)
    outcomes = []

    async def one() -> None:
        outcomes.append((await store.begin_answer(question(row))).outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)
    assert sorted(each.value for each in outcomes) == ["begun", "running", "running", "running"]


async def test_the_same_call_again_finds_what_it_has_done(store: Store, people: People) -> None:
    row = await converse(store, people.alice)
    first = question(row, key="k1")
    asked, answer = await ask(store, first)
    assert await ask(store, first) == (asked, answer)
    again = retry(row, answer.id)
    await finish(store, answer)
    _, second = await ask(store, again)
    assert await ask(store, again) == (asked, second)
    assert await contents(store, row) == ["Why?", ""]


async def test_a_question_with_the_same_key_is_asked_once(store: Store, people: People) -> None:
    row = await converse(store, people.alice)
    asked, answer = await ask(store, question(row, key="k1"))
    found = await store.begin_answer(question(row, "Else?", key="k1"))
    assert found == BeginRow(Begin.DUPLICATE, asked, answer)
    ended = await finish(store, answer)
    found = await store.begin_answer(question(row, key="k1"))
    assert found == BeginRow(Begin.DUPLICATE, asked, ended)
    other = await converse(store, people.alice)
    await ask(store, question(other, key="k1"))


async def test_only_the_last_answer_is_asked_for_again_and_the_new_one_has_its_place(
    store: Store, people: People
) -> None:
    row = await converse(store, people.alice)
    first_question, first = await ask(store, question(row))
    await finish(store, first, "")
    _, second = await ask(store, question(row, "And?"))
    await finish(store, second, "half", status="STOPPED")
    for stale in (first.id, first_question.id, uuid7()):
        assert (await store.begin_answer(retry(row, stale))).outcome is Begin.STALE
    wanted = retry(row, second.id)
    asked, third = await ask(store, wanted)
    assert (asked.content, third.seq, third.replaces_id) == ("And?", 4, second.id)
    assert await store.ai_message(second.id, people.alice) == third
    found = await store.begin_answer(retry(row, second.id))
    assert found == BeginRow(Begin.DUPLICATE, asked, third)
    assert await contents(store, row) == ["Why?", "", "And?", ""]


async def test_an_answer_grows_by_checkpoints_and_ends_once(store: Store, people: People) -> None:
    row = await converse(store, people.alice)
    asked, answer = await ask(store, question(row))
    await store.checkpoint_answer(row.id, answer.id, "So")
    assert await contents(store, row) == ["Why?", "So"]
    ended = await finish(store, answer, "So it is.")
    assert ended == answer._replace(
        status="COMPLETE",
        content="So it is.",
        finish_reason="stop",
        prompt_tokens=30,
        completion_tokens=12,
    )
    await store.checkpoint_answer(row.id, answer.id, "late")
    assert await finish(store, answer, "late", status="STOPPED") == ended
    await store.checkpoint_answer(row.id, asked.id, "no answer")
    assert await contents(store, row) == ["Why?", "So it is."]
    assert await store.ai_tokens(people.alice, TODAY) == 42
    assert await finish(store, answer._replace(id=uuid7())) is None


async def test_tokens_are_counted_by_user_and_day(store: Store, people: People) -> None:
    tomorrow = (NOW + DAY).date()
    assert await store.ai_tokens(people.alice, TODAY) == 0
    for _ in range(2):
        await store.count_ai_tokens(people.alice, TODAY, Usage(10, 1, is_estimated=True))
    await store.count_ai_tokens(people.alice, tomorrow, Usage(5, 0))
    assert await store.ai_tokens(people.alice, TODAY) == 22
    assert await store.ai_tokens(people.alice, tomorrow) == 5
    assert await store.ai_tokens(people.bob, TODAY) == 0


async def test_what_a_crash_leaves_under_way_is_interrupted_with_its_text(
    store: Store, people: People
) -> None:
    row, other = await converse(store, people.alice), await converse(store, people.bob)
    _, answer = await ask(store, question(row))
    await store.checkpoint_answer(row.id, answer.id, "So")
    _, done = await ask(store, question(other))
    ended = await finish(store, done)
    assert await store.interrupt_answers() == 1
    assert await store.interrupt_answers() == 0
    left = await store.ai_message(answer.id, people.alice)
    assert left == answer._replace(status="INTERRUPTED", content="So", error_code="unavailable")
    assert await store.ai_message(done.id, people.bob) == ended
    await ask(store, question(row, "And?"))


async def test_a_deleted_conversation_takes_its_messages(store: Store, people: People) -> None:
    row = await converse(store, people.alice)
    _, answer = await ask(store, question(row))
    assert await store.delete_ai_session(row.id, people.alice)
    assert not await store.delete_ai_session(row.id, people.alice)
    assert await store.ai_message(answer.id, people.alice) is None
    assert await store.ai_messages(row.id, people.alice, before=None, limit=9) is None
    await store.checkpoint_answer(row.id, answer.id, "late")
    assert await finish(store, answer) is None
    assert await store.ai_tokens(people.alice, TODAY) == 0


async def test_an_account_that_ends_takes_its_conversations_and_counts(
    store: Store, people: People
) -> None:
    row, kept = await converse(store, people.alice), await converse(store, people.bob)
    _, answer = await ask(store, question(row))
    await store.count_ai_tokens(people.alice, TODAY, USAGE)
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    assert await store.ai_sessions(people.alice, before=None, limit=9) == []
    assert await store.ai_tokens(people.alice, TODAY) == 0
    assert await finish(store, answer) is None
    await store.count_ai_tokens(people.alice, TODAY, USAGE)
    assert await store.ai_tokens(people.alice, TODAY) == 0
    assert await store.ai_session(kept.id, people.bob) == kept


async def test_the_assistant_is_a_user_that_is_stored_once_and_a_bot(
    store: Store, people: People
) -> None:
    for name in ("AI", "Else"):
        await store.insert_assistant(ASSISTANT_ID, name, NOW)
    [user] = await store.users_by_ids([ASSISTANT_ID])
    assert (user.name, user.password_hash, user.created_at) == ("AI", None, NOW)
    assert "@" not in user.email
    assert is_bot(ASSISTANT_ID)
    assert not is_bot(people.alice)


async def test_a_bot_inherits_no_session(store: Store, people: People) -> None:
    await store.insert_assistant(ASSISTANT_ID, "AI", NOW)
    tea = await gather(store, people.alice)
    await store.add_member(tea, ASSISTANT_ID, role="MEMBER", at=NOW)
    await store.add_member(tea, people.bob, role="MEMBER", at=NOW + DAY)
    left = await store.remove_member(tea, people.alice, at=NOW + DAY)
    assert left is not None
    assert [(row.user_id, row.role) for row in left.others] == [(people.bob, "OWNER")]
    last = await store.remove_member(tea, people.bob, at=NOW + DAY)
    assert last is not None
    assert last.others == ()


async def test_all_of_a_users_conversations_come_page_by_page(store: Store, people: People) -> None:
    rows = [await converse(store, people.alice, at=NOW - n * SECOND) for n in range(3)]
    await converse(store, people.bob)
    _, first = await ask(store, question(rows[1]))
    await finish(store, first)
    await ask(store, question(rows[1], "And?"))
    ids = sorted(row.id for row in rows)
    page = await store.own_ai_sessions(people.alice, after=None, limit=2)
    assert [row.id for row in page] == ids[:2]
    page = await store.own_ai_sessions(people.alice, after=ids[1], limit=2)
    assert [row.id for row in page] == ids[2:]
    messages = await store.own_ai_messages(rows[1].id, people.alice, after=1, limit=2)
    assert [(row.seq, row.content) for row in messages] == [(2, "So."), (3, "And?")]
    assert await store.own_ai_messages(rows[1].id, people.alice, after=4, limit=2) == []
    assert await store.own_ai_messages(rows[1].id, people.bob, after=0, limit=2) == []
