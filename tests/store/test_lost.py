"""A COMMIT whose answer is lost: the link is cut at the worst moments, by a relay in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest
import trio

from chatd.contract.acts import Act
from chatd.errors import StoreAmbiguous, StoreUnavailable
from chatd.rows import Append, MessageRow, NewMessage
from chatd.store import pool as pool_module
from chatd.store.pool import Pool, Transaction, open_pool
from chatd.store.postgres import PostgresStore
from tests.databases import PostgresServer
from tests.store.kit import NOW, gather, sign_up, stored, words

Ends = tuple[trio.SocketStream, trio.SocketStream, trio.Event]
Direction = Callable[[trio.SocketStream, trio.SocketStream, trio.Event], Awaitable[None]]
Cut = Literal["request", "answer", "held request", "silence"]


class Relay:
    """Passes bytes between a pool and PostgreSQL, and cuts the link on demand.

    Attributes:
        mark: bytes in a request that arm the cut; None lets everything pass.
        cut: where: before the request reaches the server, before its answer reaches the client,
            the client's side only, while the request stays in the network and arrives later, or
            not at all: the answers just never come.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.mark: bytes | None = None
        self.cut: Cut = "answer"
        self.cuts = 0
        self.release = trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_unix_socket(self.server)
        async with client, server, trio.open_nursery() as nursery:
            is_armed = trio.Event()
            nursery.start_soon(self._pass, self._requests, client, server, is_armed)
            await self._pass(self._answers, client, server, is_armed)
            nursery.cancel_scope.cancel()  # one end is gone: cut the other

    async def _pass(self, direction: Direction, *ends: *Ends) -> None:
        try:
            await direction(*ends)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # that is what this relay is for

    async def _requests(
        self, client: trio.SocketStream, server: trio.SocketStream, is_armed: trio.Event
    ) -> None:
        async for data in client:
            if self.mark is not None and self.mark in data:
                self.mark = None
                self.cuts += 1
                is_armed.set()
                if self.cut == "request":
                    break
                if self.cut == "held request":
                    await client.aclose()
                    await self.release.wait()
            await server.send_all(data)
        await server.send_eof()

    async def _answers(
        self, client: trio.SocketStream, server: trio.SocketStream, is_armed: trio.Event
    ) -> None:
        async for data in server:
            if is_armed.is_set():
                if self.cut == "silence":
                    continue
                return
            await client.send_all(data)


@asynccontextmanager
async def open_relay(server: PostgresServer, folder: Path) -> AsyncIterator[Relay]:
    """Run a relay that listens where `host=folder` finds it."""
    relay = Relay(str(server.folder / ".s.PGSQL.5432"))
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(folder / ".s.PGSQL.5432"))
    sock.listen()
    async with trio.open_nursery() as nursery:
        listener = trio.SocketListener(sock)
        await nursery.start(trio.serve_listeners, relay.serve, [listener])
        yield relay
        nursery.cancel_scope.cancel()


class Link:
    """A store behind a relay, with a session and its member in it."""

    def __init__(self, relay: Relay, pool: Pool, store: PostgresStore) -> None:
        self.relay = relay
        self.pool = pool
        self.store = store

    async def prepare(self) -> NewMessage:
        alice = await sign_up(self.store, "Alice")
        tea = await gather(self.store, alice)
        await self.store.append_messages([words(tea, alice, "before")])
        return words(tea, alice, "the message in question", key="k")


@pytest.fixture
async def link(
    postgres_server: PostgresServer, database_url: str, tmp_path: Path, deadline: None
) -> AsyncIterator[Link]:
    async with open_relay(postgres_server, tmp_path) as relay:
        url = database_url.replace(str(postgres_server.folder), str(tmp_path))
        async with open_pool(url, size=2, query_timeout=3) as pool:
            yield Link(relay, pool, PostgresStore(pool))


@pytest.mark.parametrize("cut", ["request", "answer"])
async def test_what_became_of_a_lost_commit_can_be_found_out(link: Link, cut: Cut) -> None:
    message = await link.prepare()
    link.relay.mark, link.relay.cut = b"in question", cut
    with pytest.raises(StoreAmbiguous):
        await link.store.append_messages([message])
    [found] = await link.store.find_messages([message])
    if cut == "answer":
        assert stored(found).seq == 2
        [again] = await link.store.append_messages([message])
        assert again.outcome is Append.DUPLICATE
    else:
        assert found is None
        [result] = await link.store.append_messages([message])
        assert stored(result).seq == 2
    assert link.relay.cuts == 1
    assert link.pool.in_use == 0


async def test_a_statement_that_is_still_under_way_when_it_is_not_found_is_never_stored(
    link: Link,
) -> None:
    message = await link.prepare()
    link.relay.mark, link.relay.cut = b"in question", "held request"
    with pytest.raises(StoreAmbiguous):
        await link.store.append_messages([message])
    assert await link.store.find_messages([message]) == [None]
    link.relay.release.set()  # the network delivers it now
    await trio.sleep(0.2)
    assert await link.store.find_messages([message]) == [None]
    assert await link.store.heads([message.session_id]) == {message.session_id: 1}


async def test_a_reader_does_not_notice_a_lost_link(link: Link) -> None:
    message = await link.prepare()
    for cut in ("request", "answer"):
        link.relay.mark, link.relay.cut = message.session_id.bytes, cut
        page = await link.store.history(message.session_id, message.sender_id)
        assert page is not None
        assert page.seq == 1
    assert link.relay.cuts == 2


@pytest.mark.parametrize("cut", ["request", "answer"])
async def test_a_transaction_that_loses_its_commit_is_ambiguous(link: Link, cut: Cut) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch("INSERT INTO settings VALUES ('mark', '1')")

    await link.pool.fetch("SELECT 1")
    link.relay.mark, link.relay.cut = b"COMMIT", cut
    with pytest.raises(StoreAmbiguous):
        await link.pool.transact(work)
    rows = await link.pool.fetch("SELECT value FROM settings WHERE name = 'mark'")
    assert rows == ([("1",)] if cut == "answer" else [])


async def test_a_transaction_that_loses_its_link_before_commit_is_done_again(link: Link) -> None:
    tries = []

    async def work(transaction: Transaction) -> None:
        tries.append(1)
        await transaction.fetch("INSERT INTO settings VALUES ('mark', '1')")

    link.relay.mark, link.relay.cut = b"INSERT INTO settings", "answer"
    await link.pool.transact(work)
    assert len(tries) == 2
    assert await link.pool.fetch("SELECT value FROM settings WHERE name = 'mark'") == [("1",)]


async def test_commit_is_not_cancelled_half_way(link: Link) -> None:
    is_committed = False

    async def work(transaction: Transaction) -> None:
        await transaction.fetch(SLOW_COMMIT)
        await transaction.fetch("INSERT INTO settings VALUES ('mark', '1')")

    await link.pool.fetch(SLOW_COMMIT_FUNCTION)
    with trio.move_on_after(0.3) as scope:
        await link.pool.transact(work)
        is_committed = True
    assert is_committed
    assert not scope.cancelled_caught
    assert await link.pool.fetch("SELECT value FROM settings WHERE name = 'mark'") == [("1",)]


async def test_a_commit_that_takes_too_long_is_in_doubt(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch(SLOW_COMMIT)
        await transaction.fetch("INSERT INTO settings VALUES ('mark', '1')")

    await link.pool.fetch(SLOW_COMMIT_FUNCTION)
    monkeypatch.setattr(pool_module, "END_TIMEOUT", 0.1)
    with pytest.raises(StoreAmbiguous, match="COMMIT"):
        await link.pool.transact(work)
    assert link.pool.in_use == 0


SLOW_COMMIT_FUNCTION = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$
"""
SLOW_COMMIT = """
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON settings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow()
"""


async def test_a_writer_that_the_server_never_answers_is_in_doubt(link: Link) -> None:
    await link.pool.fetch("SELECT 1")
    link.pool._query_timeout = 0.2
    link.relay.mark, link.relay.cut = b"in question", "silence"
    with pytest.raises(StoreAmbiguous, match=r"within 0\.2 s"):
        await link.pool.fetch("SELECT 'in question'", writes=True)
    assert link.pool.in_use == 0


async def test_what_a_cancelled_caller_has_sent_can_be_found_out(link: Link) -> None:
    message = await link.prepare()
    link.relay.mark, link.relay.cut = b"in question", "silence"
    with trio.move_on_after(0.2) as scope:  # an append has its caller's deadline
        await link.store.append_messages([message])
    assert scope.cancelled_caught
    assert link.pool.in_use == 0
    [found] = await link.store.find_messages([message])
    assert stored(found).seq == 2


async def test_a_reader_that_the_server_never_answers_is_told_so(link: Link) -> None:
    message = await link.prepare()
    link.pool._query_timeout = 0.2
    link.relay.mark, link.relay.cut = message.session_id.bytes, "silence"
    with pytest.raises(StoreUnavailable):
        await link.store.history(message.session_id, message.sender_id)
    assert link.pool.in_use == 0


async def test_a_duplicate_that_is_swept_while_it_is_read_is_unknown_and_then_new(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    old, new = await gather(store, alice), await gather(store, alice)
    first = words(old, alice, "hello", key="key")
    [row] = await store.append_messages([first])
    assert row.outcome is Append.STORED
    await store.delete_session(old, act=Act(alice, NOW, lambda _: None))
    repeat = words(new, alice, "hello", key="key")
    read = store._original

    async def sweep_then_read(message_id: UUID) -> MessageRow:
        while await store.sweep_sessions(10):
            pass
        return await read(message_id)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_original", sweep_then_read)
        with pytest.raises(StoreAmbiguous):
            await store.append_messages([repeat])
    assert await store.find_messages([repeat]) == [None]
    [again] = await store.append_messages([repeat])
    assert again.outcome is Append.STORED
