"""The commands of operators on keys and on the audit log, against a real database."""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from typer.testing import CliRunner, Result

from chatd import cli
from chatd.config import Settings, SettingsError
from chatd.keyring import load_keyring
from chatd.nurseries.resealing import take_up_keys
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from chatd.upkeep import verify_audit
from tests.store.kit import NOW, gather, say, sign_up

T = TypeVar("T")

KEY1 = "k1:" + base64.b64encode(os.urandom(32)).decode()
KEY2 = "k2:" + base64.b64encode(os.urandom(32)).decode()

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Run:
    """Return what runs a command on a database, with keys."""
    for name in [name for name in os.environ if name.startswith("CHATD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHATD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CHATD_DATABASE_URL", database_url)

    def run(*arguments: str, keys: str = "") -> Result:
        monkeypatch.setenv("CHATD_ENCRYPTION_KEYS", keys)
        return CliRunner().invoke(cli.app, list(arguments))

    return run


def with_store(url: str, keys: str, work: Callable[[PostgresStore], Awaitable[T]]) -> T:
    """Do something with the store of a database, as a daemon with these keys would."""
    keyring = load_keyring(Settings(encryption_keys=tuple(filter(None, keys.split(",")))))

    async def opened() -> T:
        async with open_pool(url, size=1) as pool:
            store = PostgresStore(pool, keyring)
            await take_up_keys(store, keyring, NOW)
            return await work(store)

    return trio.run(opened, strict_exception_groups=True)


async def talk(store: PostgresStore) -> None:
    alice = await sign_up(store, "Alice")
    await say(store, await gather(store, alice), alice, *"abc")
    for _ in range(3):
        await store.write_audit("login", user_id=alice, address="192.0.2.1", at=NOW)


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    return result.stderr.splitlines()[-1]


def test_keys_are_turned_on_turned_and_turned_off_by_hand(run: Run, database_url: str) -> None:
    with_store(database_url, "", talk)
    status = said(run("encryption", "status"))
    assert "plain                                       3 texts" in status
    assert said(run("encryption", "rotate")) == "nothing was ever encrypted\n"
    assert "to k1" in said(run("encryption", "rotate", keys=KEY1))
    status = said(run("encryption", "status", keys=KEY1))
    assert "k1                                          3 texts" in status
    assert "plain " not in status
    assert "3 rewritten" in said(run("encryption", "rotate", keys=f"{KEY2},{KEY1}"))
    assert "k1 " not in said(run("encryption", "status", keys=KEY2))
    assert "finished     to plain" in said(run("encryption", "rotate", keys=f"plain,{KEY2}"))
    assert "plain                                       3 texts" in said(
        run("encryption", "status")
    )


def test_a_rotation_without_a_key_that_is_needed_is_refused_until_it_is_given_up(
    run: Run, database_url: str
) -> None:
    with_store(database_url, KEY1, talk)
    status = said(run("encryption", "status", keys=KEY2))
    assert "3 texts  this key is not in encryption_keys" in status
    assert "under way    to k1" in status
    assert "'k1' is missing" in refused(run("encryption", "rotate", keys=KEY2))
    assert refused(run("encryption", "give-up", "k9")).endswith(
        "no stored message needs a key 'k9'"
    )
    assert said(run("encryption", "give-up", "k1")).startswith("k1 is given up")
    assert "finished     to k2" in said(run("encryption", "rotate", keys=KEY2))
    assert "given up" in said(run("encryption", "status", keys=KEY2))


def test_check_refuses_a_weak_key_and_shows_none(run: Run) -> None:
    assert said(run("check", keys=KEY1)).endswith("ok\n")
    assert KEY1[3:] not in run("check", keys=KEY1).output
    assert "is not the base64 of 32 random bytes" in refused(run("check", keys="k1:c2hvcnQ="))


def test_the_audit_log_is_verified_against_a_head_from_before(run: Run, database_url: str) -> None:
    with_store(database_url, "", talk)
    first = said(run("audit", "verify"))
    assert "3 lines are as they were written, 0 erased" in first
    head = first.split()[1]
    assert said(run("audit", "verify", "--head", head)) == first

    async def tamper(store: PostgresStore) -> None:
        for statement in (
            "ALTER TABLE audit_log DISABLE TRIGGER USER",
            "UPDATE audit_log SET address = '198.51.100.7' WHERE id = 2",
        ):
            await store._pool.fetch(statement)

    with_store(database_url, "", tamper)
    result = run("audit", "verify", "--head", head)
    assert "line 2 (link 2) has another address or other details" in result.stdout
    assert refused(result) == "chatd: the audit log is not as it was written"
    assert "a head is position:hash" in refused(run("audit", "verify", "--head", "nonsense"))


async def test_a_log_with_many_faults_does_not_tell_them_for_ever() -> None:
    store = MemoryStore()
    for number in range(300):
        await store.write_audit(str(number), user_id=None, address=None, at=NOW)
    store._chain = [link._replace(hash=b"") for link in store._chain]
    told: list[str] = []
    with pytest.raises(SettingsError):
        await verify_audit(store, None, told.append)
    assert len(told) == 101
