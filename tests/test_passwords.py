"""Passwords: what counts of them, and the bound on who waits for a hash."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import bcrypt
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chatd.errors import Overloaded
from chatd.handlers import operations
from chatd.passwords import FLOOD, Passwords
from tests.people import open_world


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    with trio.fail_after(10):  # hashes are made in threads: the clock is the real one
        yield Passwords(rounds=4, queue=2)


async def test_a_password_fits_its_hash_and_no_other_does(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert stored.startswith("$2b$04$")
    assert await passwords.check("correct horse", stored)
    assert not await passwords.check("correct hors", stored)
    assert stored != await passwords.hash("correct horse")


@pytest.mark.threat("T74")
async def test_bytes_past_the_72nd_count(passwords: Passwords) -> None:
    stored = await passwords.hash("x" * 200 + "a")
    assert not await passwords.check("x" * 200 + "b", stored)
    assert await passwords.check("x" * 200 + "a", stored)


@pytest.mark.threat("T74")
async def test_a_nul_does_not_end_a_password(passwords: Passwords) -> None:
    stored = await passwords.hash("begin\0end")
    assert not await passwords.check("begin\0other", stored)


@pytest.mark.threat("T74")
async def test_a_password_is_the_same_however_its_letters_are_composed(
    passwords: Passwords,
) -> None:
    assert await passwords.check("caf\u00e9 au lait", await passwords.hash("cafe\u0301 au lait"))


@pytest.mark.threat("T76")
async def test_without_an_account_a_hash_is_checked_all_the_same(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, stored: bytes) -> bool:
        checked.append(stored)
        return real(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    assert not await passwords.check("nobody", None)
    assert [stored[:7] for stored in checked] == [b"$2b$04$"]  # the same cost as a real one


@pytest.mark.threat("T78")
async def test_a_flood_of_logins_is_refused_beyond_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = threading.Event()

    def slow(_password: bytes, _salt: bytes) -> bytes:
        assert go.wait(10)
        return b"hash"

    with trio.fail_after(10):
        passwords = Passwords(rounds=4, queue=2)
        passwords._limiter.total_tokens = 1
        monkeypatch.setattr(bcrypt, "hashpw", slow)
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(3):  # one works, two wait
                    nursery.start_soon(passwords.hash, "x")
                await wait_all_tasks_blocked()
                with pytest.raises(Overloaded) as refusal:
                    await passwords.hash("x")
                assert refusal.value.retry_after
                go.set()
            assert await passwords.hash("x") == "hash"
        finally:
            go.set()


async def test_hashes_are_made_at_a_lower_priority_than_what_else_runs_in_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def priority(*_: bytes) -> bytes:
        return b"%d" % os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    passwords = Passwords(rounds=4, queue=2)
    monkeypatch.setattr(bcrypt, "hashpw", priority)
    own = int(priority())
    with trio.fail_after(10):
        assert int(await passwords.hash("x")) == min(own + 5, 19)
        assert int(await trio.to_thread.run_sync(priority)) == own


async def test_a_login_beyond_the_queue_is_refused_before_the_store_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path, bcrypt_queue=1) as world:
        services = world.daemon.live.services
        asked: list[str] = []
        monkeypatch.setattr(services.store, "user_by_email", asked.append)

        def full() -> None:
            raise Overloaded(retry_after=2)

        monkeypatch.setattr(services.passwords, "expect_room", full)
        body = {"email": "anna@example.org", "password": "correct horse"}
        answer = await world.rest("POST", "/auth/login", body)
    assert (answer.status, answer.code) == (503, "overloaded")
    assert answer.headers["retry-after"] == "2"
    assert asked == []


async def test_a_login_beyond_the_queue_does_not_reach_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(_password: bytes, _stored: bytes) -> bool:
        assert go.wait(20)
        return False

    async with open_world(tmp_path, bcrypt_queue=1) as world:
        passwords = world.daemon.live.services.passwords
        passwords._limiter.total_tokens = 1
        monkeypatch.setattr(bcrypt, "checkpw", slow)
        body = {"email": "anna@example.org", "password": "correct horse"}
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(2):  # one works, one waits
                    nursery.start_soon(world.rest, "POST", "/auth/login", body)
                while passwords._limiter.statistics().tasks_waiting < 1:  # noqa: ASYNC110 - its own
                    await trio.sleep(0.01)
                monkeypatch.setattr(operations, "call", _nobody)
                answer = await world.rest("POST", "/auth/login", b"not even JSON")
                assert (answer.status, answer.code) == (503, "overloaded")
                assert answer.headers["retry-after"] == "2"
                assert answer.headers["x-request-id"]
                monkeypatch.undo()
                go.set()
        finally:
            go.set()


async def _nobody(*_: object) -> None:
    raise AssertionError("the app was asked")


async def test_hashes_of_a_flood_have_the_lowest_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def priority(*_: bytes) -> bytes:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return b"hash"

    passwords = Passwords(rounds=4, queue=100)
    passwords._limiter.total_tokens = 1
    monkeypatch.setattr(bcrypt, "hashpw", priority)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(FLOOD + 3):
                nursery.start_soon(passwords.hash, "x")
    # The first has the thread, as many as make a flood wait behind it, and then it is one.
    assert seen == [min(own + 5, 19)] * (FLOOD + 1) + [19] * 2
