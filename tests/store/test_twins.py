"""The twins give equal answers to the same story, whatever the story."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.contract import Store
from chatd.contract.acts import Act, Mute
from chatd.contract.files import Quota, Seen
from chatd.contract.reading import UnreadQuestion
from chatd.errors import StoreBug
from chatd.rows import FileRow, MailPurpose, Mentions, NewMessage, PasswordProof, RecoveryRow
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.store.kit import NOW, SECOND
from tests.store.test_members import allow

USERS = 4
SESSIONS = 4
FILES = 6
ROLES = ("OWNER", "ADMIN", "MEMBER", "READ_ONLY")
CLEAN = """
    TRUNCATE users, devices, sessions, refresh_families, refresh_tokens, audit_log, audit_chain,
        sign_ins CASCADE
"""
# Nothing but this test takes lines off the audit log.
UNLOCK = """
    ALTER TABLE audit_log DISABLE TRIGGER audit_log_keep_all;
    ALTER TABLE audit_chain DISABLE TRIGGER audit_chain_keep_all
"""


def some(kind: str, number: int) -> UUID:
    """Return an id that is the same in each run, of a user, a session, a message."""
    return UUID(bytes=kind.encode() * 4 + number.to_bytes(8, "big"))


users = st.integers(0, USERS).map(lambda n: some("us", n))  # one more than there are
sessions = st.integers(0, SESSIONS).map(lambda n: some("se", n))
messages = st.integers(0, 30).map(lambda n: some("me", n))
said = st.integers(0, 3).map(lambda n: some("me", n))  # one more than are said at first
times = st.integers(0, 5).map(lambda n: NOW + n * SECOND)
seqs = st.integers(-1, 20)
limits = st.integers(1, 5)
ALL: Mentions = "ALL"
mentions = st.just(ALL) | st.lists(users, max_size=3, unique=True).map(tuple)
tokens = st.integers(0, 4).map(lambda n: b"token %d" % n)
emails = st.sampled_from(["0@example.org", "1@example.org", "z@example.org"])
hashes = st.sampled_from([None, "hash"])
pids = st.integers(0, 3).map(lambda n: f"pid {n}")


def promise(number: int, uploader_id: UUID, session_id: UUID | None, at: datetime) -> FileRow:
    """Return a file that is the same in each run."""
    return FileRow(
        some("fi", number),
        f"{number:032x}",
        uploader_id,
        session_id,
        "cat.png",
        10 + number,
        "image/png",
        at,
        at + 2 * SECOND,
    )


@st.composite
def batches(draw: st.DrawFn) -> list[NewMessage]:
    """Return messages with distinct ids and keys, as the journal sees to it."""
    ids = draw(st.lists(messages, unique=True, max_size=5))
    free = draw(st.permutations(range(FILES)))  # a file goes with one message of a batch
    sizes = draw(st.lists(st.sampled_from([0, 0, 1, 2]), min_size=len(ids), max_size=len(ids)))
    given = iter(free)
    batch = [
        NewMessage(
            id=each,
            session_id=draw(sessions),
            sender_id=draw(users),
            content=draw(st.sampled_from(["", "hello", "Grüße 👋", "bad\0"])),
            created_at=draw(times),
            client_msg_id=draw(st.none() | st.sampled_from(["a", "b", "c"])),
            reply_to_id=draw(st.none() | messages),
            mentions=draw(mentions),
            attachments=tuple(some("fi", n) for n in islice(given, size)),
        )
        for each, size in zip(ids, sizes, strict=True)
    ]
    keys = {(each.sender_id, each.client_msg_id): each for each in batch}
    return [
        each
        for each in batch
        if each.client_msg_id is None or keys[each.sender_id, each.client_msg_id] is each
    ]


@dataclass(frozen=True)
class Step:
    """One call of the contract, with its arguments."""

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def step(method: str, *args: st.SearchStrategy[Any], **kwargs: Any) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(method), st.tuples(*args), st.fixed_dictionaries(kwargs))


bounds: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"before_seq": seqs}),
    st.fixed_dictionaries({"after_seq": seqs}),
    st.fixed_dictionaries({"around_id": messages}),
)
steps = st.one_of(
    step("append_messages", batches()),
    step("append_messages", batches()),
    step("find_messages", batches()),
    step("add_member", sessions, users, role=st.sampled_from(ROLES), at=times),
    step("remove_member", sessions, users, at=times),
    step("update_session", sessions, name=st.sampled_from(["Tea", "Coffee"])),
    step("mark_read", sessions, users, seqs),
    step("mark_unread", sessions, users, seqs),
    step(
        "unread_states",
        st.lists(
            st.builds(UnreadQuestion, sessions, users, st.booleans()), max_size=4, unique=True
        ),
        large=st.integers(0, 3),
    ),
    step("message_for", said, users),
    step(
        "edit_message",
        said,
        users,
        role=st.sampled_from(ROLES),
        content=st.sampled_from(["hello", "hi", ""]),
        version=st.none() | st.integers(1, 3),
        at=times,
        mentions=st.none() | mentions,
    ),
    step("delete_message", said, users, role=st.sampled_from(ROLES), at=times),
    step(
        "react",
        said,
        users,
        role=st.sampled_from(ROLES),
        emoji=st.sampled_from(["👍", "❤", "ü"]),
        is_on=st.booleans(),
        at=times,
    ),
    step(
        "pin_message",
        said,
        users,
        role=st.sampled_from(ROLES),
        is_on=st.booleans(),
        at=times,
    ),
    step("pins", sessions, users),
    step("revisions", said, users, before=st.none() | st.integers(1, 3), limit=limits),
    step("session_for", sessions, users),
    step("rules_for", sessions, users),
    step(
        "list_sessions",
        users,
        before=st.none() | st.tuples(times, sessions),
        limit=limits,
    ),
    step("first_states", st.lists(users, max_size=3, unique=True), limits),
    step("members", sessions, after=st.none() | users, limit=limits),
    step("heads", st.lists(sessions, max_size=3)),
    step(
        "join_page",
        sessions,
        users,
        since=st.none() | seqs,
        replay=st.integers(0, 8),
        limit=limits,
    ),
    step("changes_since", sessions, seqs, limits),
    st.builds(
        lambda call, bound: replace(call, kwargs={**call.kwargs, **bound}),
        step("history", sessions, users, limit=limits),
        bounds,
    ),
    step(
        "create_session",
        session_id=sessions,
        kind=st.sampled_from(["GROUP", "PUBLIC"]),
        name=st.just("Tea"),
        creator_id=users,
        member_ids=st.lists(users, max_size=3),
        at=times,
    ),
    step(
        "create_session",
        session_id=sessions,
        kind=st.just("DIRECT"),
        name=st.none(),
        creator_id=users,
        member_ids=st.lists(users, min_size=1, max_size=1),
        at=times,
    ),
    step(
        "open_family",
        family_id=st.integers(0, 2).map(lambda n: some("fa", n)),
        user_id=users,
        device_id=st.integers(0, 2).map(lambda n: some("de", n)),
        device_name=st.sampled_from(["Firefox", "curl"]),
        address=st.sampled_from(["192.0.2.1", "192.0.2.2"]),
        token_hash=tokens,
        at=times,
        expires_at=times,
        proof=st.none() | hashes.map(PasswordProof),
    ),
    step(
        "rotate_refresh_token",
        token_hash=tokens,
        successor_hash=tokens,
        at=times,
        grace_until=times,
        expires_at=times,
        max_age=st.integers(1, 5).map(lambda n: n * SECOND),
    ),
    step("revoke_family", st.integers(0, 3).map(lambda n: some("fa", n)), times),
    step("revoke_user", users, times),
    step("devices", users, at=times, limit=limits),
    step("revoke_device", users, st.integers(0, 2).map(lambda n: some("de", n)), times),
    step("revoked_since", times),
    step("set_last_seen", st.lists(users, max_size=3), times),
    step(
        "save_recoveries",
        st.lists(st.builds(RecoveryRow, pids, users, st.binary(max_size=5), times), max_size=4),
        times,
    ),
    step("take_recovery", pids, users, times),
    step(
        "account_of_identity",
        issuer=st.just("https://issuer.example.org"),
        subject=st.sampled_from(["1", "2"]),
        email=st.none() | st.sampled_from(["0@example.org", "1@example.org", "z@example.org"]),
        name=st.just("Zoe"),
        user_id=st.integers(10, 12).map(lambda n: some("us", n)),
        at=times,
    ),
    step("identities_of", users),
    step("verify_email", users, st.sampled_from(["0@example.org", "1@example.org"]), times),
    step(
        "save_sign_in",
        secret_hash=tokens,
        browser_hash=st.sampled_from([b"a", b"b"]),
        user_id=st.none() | users,
        next_path=st.just("/"),
        at=times,
        expires_at=times,
    ),
    step("take_sign_in", tokens, st.sampled_from([b"a", b"b"]), times, is_known=st.booleans()),
    step(
        "save_mail_token",
        users,
        st.sampled_from([MailPurpose.VERIFY, MailPurpose.RESET]),
        token_hash=tokens,
        email=emails,
        expires_at=times,
    ),
    step(
        "save_email_change",
        users,
        token_hash=tokens,
        email=emails,
        password_hash=hashes,
        expires_at=times,
    ),
    step("reset_owner", tokens, times),
    step("reset_password", tokens, st.just("hash"), times),
    step(
        "change_password",
        users,
        old_hash=hashes,
        new_hash=st.sampled_from(["hash", "other"]),
        kept_family_id=st.integers(0, 3).map(lambda n: some("fa", n)),
        at=times,
    ),
    step("use_email_token", tokens, times),
    step("login_opened_at", st.integers(0, 3).map(lambda n: some("fa", n))),
    step("users_by_ids", st.lists(users, max_size=1)),
    step("memberships", users, st.lists(sessions, max_size=3)),
)

files = st.integers(0, FILES).map(lambda n: some("fi", n))
rows = st.builds(
    promise,
    st.integers(0, FILES),
    users,
    st.none() | sessions,
    times,
)
looks = st.sampled_from([Seen(None), Seen("image/png", 4, 3, has_thumbnail=True)])
of_files = st.one_of(
    step("insert_file", rows, st.just(Quota(50, 4, 3))),
    step("own_file", files, users),
    step("complete_file", files, users, looks, times),
    step("file_for", files, users),
    step("file_for", files, users),
    step("avatar_file", files),
    step("set_avatar_file", users, files, name=st.none() | st.just("Zoe")),
    step(
        "update_user",
        users,
        name=st.none(),
        avatar=st.none() | st.just("#123456"),
        sets_avatar=st.booleans(),
    ),
    step("file_by_key", st.integers(0, FILES).map(lambda n: f"{n:032x}")),
    step("revoke_file", files, users, times),
    step("revoke_loose", times, times, st.just(100)),
    step("files_to_sweep", times, limits),
    step("note_swept", files, st.none() | times),
    step("own_files", users, after=st.none() | files, limit=limits),
)

acts = st.builds(Act, users, times, st.just(allow))
codes = st.integers(0, 3).map(lambda n: f"code {n}")
moderation = st.one_of(
    step("add_member", sessions, users, role=st.sampled_from(ROLES), at=times, act=acts),
    step("remove_member", sessions, users, at=times, act=acts),
    step(
        "update_member",
        sessions,
        users,
        role=st.none() | st.sampled_from(ROLES),
        mute=st.none() | st.builds(Mute, st.none() | times),
        act=acts,
    ),
    step("set_wishes", sessions, users, muted=st.none() | st.booleans(), favourite=st.booleans()),
    step(
        "update_session",
        sessions,
        is_read_only=st.none() | st.booleans(),
        is_archived=st.none() | st.booleans(),
        slow_mode_seconds=st.none() | st.integers(0, 120),
        act=acts,
    ),
    step("delete_session", sessions, act=acts),
    step("sweep_sessions", st.integers(1, 3)),
    step("ban", sessions, users, until=st.none() | times, reason=st.none(), act=acts),
    step("unban", sessions, users, act=acts),
    step("bans", sessions, at=times, after=st.none() | users, limit=limits),
    step(
        "make_invite",
        sessions,
        code=st.uuids().map(str) | codes,
        role=st.sampled_from(["MEMBER", "READ_ONLY"]),
        max_uses=st.none() | st.integers(1, 2),
        expires_at=st.none() | times,
        act=acts,
    ),
    step("invites", sessions, at=times),
    step("revoke_invite", sessions, codes, act=acts),
    step("invite", codes, times),
    step("accept_invite", codes, act=acts),
)


async def outcome(store: Store, call: Step) -> object:
    """Return what a call came to; a bug has no words in common with its twin."""
    method: Callable[..., Awaitable[object]] = getattr(store, call.method)
    try:
        return await method(*call.args, **call.kwargs)
    except (StoreBug, KeyError, ValueError) as error:
        return type(error)


async def furnish(store: Store) -> None:
    """Put the people in, and two sessions."""
    for number in range(USERS):
        await store.insert_user(
            user_id=some("us", number),
            email=f"{number}@example.org",
            name=f"User {number}",
            password_hash=None,
            created_at=NOW,
        )
    for number, kind in enumerate(("GROUP", "PUBLIC")):
        await store.create_session(
            session_id=some("se", number),
            kind=kind,  # type: ignore[arg-type]  # mypy widens the tuple's literals
            name="Tea",
            creator_id=some("us", 0),
            member_ids=[some("us", 1), some("us", 2)],
            at=NOW,
        )
    await store.append_messages(
        [NewMessage(some("me", n), some("se", 0), some("us", n), "hello", NOW) for n in range(3)]
    )
    for number in range(3):
        user_id = some("us", number)
        row = promise(number, user_id, some("se", 0), NOW)
        await store.insert_file(row, Quota(1000, 10, 10))
        await store.complete_file(row.id, user_id, Seen(None), NOW)


@settings(
    max_examples=40,
    deadline=None,  # PostgreSQL's time is not ours
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=st.lists(steps | moderation | of_files, min_size=5, max_size=40))
async def test_both_stores_tell_the_same_story(database_url: str, story: list[Step]) -> None:
    memory = MemoryStore(epoch=uuid4())
    with trio.fail_after(10):
        async with open_pool(database_url, size=1) as pool:
            await pool.transact(lambda each: each.script(UNLOCK))
            await pool.fetch(CLEAN)
            postgres = PostgresStore(pool)
            for store in (memory, postgres):
                await furnish(store)
            for call in story:
                assert await outcome(postgres, call) == await outcome(memory, call), call
