"""The command line: what an operator types, and what is said back."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from typer.testing import CliRunner, Result

from chatd import __version__, cli
from chatd.api_tokens import is_api_token
from chatd.config import load_settings
from chatd.errors import Unauthorized
from chatd.keys import SIGNING_KEY_FILE, load_signing_keys
from chatd.passwords import Passwords
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from chatd.tokens import AccessTokens, hash_token

PASSWORD = "correct horse battery"
GOOD_KEY = "k1:" + "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("CHATD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHATD_BCRYPT_ROUNDS", "4")
    monkeypatch.setenv("CHATD_DATA_DIR", str(tmp_path / "data"))


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), input=typed)


def refused(result: Result) -> str:
    """Return the one line with which a command was refused."""
    assert result.exit_code == 1, result.output
    [line] = result.stderr.splitlines()
    assert line.startswith("chatd: ")
    return line.removeprefix("chatd: ")


# check


def test_check_shows_every_setting_with_its_source_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "chatd.toml"
    config.write_text("drain_seconds = 7\n")
    monkeypatch.setenv("CHATD_SIGNING_KEYS", GOOD_KEY)
    monkeypatch.setenv("CHATD_DATABASE_URL", "postgresql://u:hunter2@db/x")
    result = run("check", "--config", str(config), "--port", "1234")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split()[1:4] for line in result.stdout.splitlines()[:-1]}
    assert lines["port"][:2] == ["1234", "flag"]
    assert lines["drain_seconds"] == ["7.0", "s", "file"]
    assert lines["signing_keys"][:2] == ["(hidden)", "environment"]
    assert lines["database_url"][0] == "(hidden)"
    assert lines["backlog"][1] == "default"
    assert result.stdout.splitlines()[-1] == "ok"
    assert "hunter2" not in result.output
    assert GOOD_KEY[3:] not in result.output


def test_check_writes_nothing(tmp_path: Path) -> None:
    assert run("check").exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.threat("T106")
def test_a_weak_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATD_SIGNING_KEYS", "mine:hunter2")
    result = run("check")
    assert result.exit_code == 1
    assert "the key 'mine' is weak" in result.stderr
    assert "hunter2" not in result.output


def test_a_setting_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATD_PROT", "8000")
    assert refused(run("check")) == "no such setting: CHATD_PROT"


def test_a_wrong_value_is_refused_by_name() -> None:
    assert "port" in refused(run("check", "--port", "99999"))


# Small things


def test_the_version_is_told() -> None:
    assert run("version").stdout.strip() == __version__


def test_without_a_command_the_help_is_shown() -> None:
    assert "serve" in run().output


def test_the_benchmark_is_refused_outside_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "source checkout" in refused(run("bench"))


def test_the_benchmark_gets_its_options_and_its_exit_code_is_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").touch()
    (tmp_path / "bench" / "__main__.py").write_text(
        "import sys; sys.exit(7 if sys.argv[1:] == ['--quick', 'fanout'] else 1)"
    )
    monkeypatch.chdir(tmp_path)
    assert run("bench", "--quick", "fanout").exit_code == 7


@pytest.mark.parametrize("code", [0, 3])
def test_chat_hands_its_options_to_the_terminal(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    seen: list[Any] = []

    async def terminal(*arguments: Any, **options: Any) -> int:
        await trio.lowlevel.checkpoint()
        seen.append((arguments, options))
        return code

    monkeypatch.setattr("chatd.terminal.run_terminal", terminal)
    result = run("chat", "--email", "a@example.com", "--register", typed=f"{PASSWORD}\n")
    assert result.exit_code == code
    assert seen == [
        (
            ("http://localhost:8000", "a@example.com", PASSWORD, None),
            {"register": True, "name": None},
        )
    ]
    assert PASSWORD not in result.output


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    async def terminal(*_arguments: Any, **_options: Any) -> int:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    monkeypatch.setattr("chatd.terminal.run_terminal", terminal)
    assert run("chat", "--email", "a@example.com", "--password", "x").exit_code == 130


def test_a_bug_is_a_traceback_and_no_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def terminal(*_arguments: Any, **_options: Any) -> int:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    monkeypatch.setattr("chatd.terminal.run_terminal", terminal)
    result = run("chat", "--email", "a@example.com", "--password", "x")
    assert isinstance(result.exception, BaseException)
    assert not result.stderr.startswith("chatd:")


# Accounts, on any database


def test_an_account_is_opened_and_its_token_speaks_for_it(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHATD_DATABASE_URL", database_url)
    added = run("user", "add", "Anna@Example.com", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert added.exit_code == 0, added.output
    user_id, email = added.stdout.splitlines()[-1].split()
    assert email == "anna@example.com"
    assert PASSWORD not in added.output
    made = run("token", "ANNA@example.com")
    assert made.exit_code == 0, made.output
    tokens = AccessTokens(load_signing_keys(load_settings()), 900)
    identity = tokens.verify(made.stdout.strip(), datetime.now(UTC))
    assert str(identity.user_id) == user_id
    assert "expires at" in made.stderr
    assert stat.S_IMODE((tmp_path / "data" / SIGNING_KEY_FILE).stat().st_mode) == 0o600
    with pytest.raises(Unauthorized):
        tokens.verify(made.stdout.strip() + "x", datetime.now(UTC))


def test_an_address_that_has_an_account_is_refused(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("CHATD_DATABASE_URL", database_url)
    command = ("user", "add", "anna@example.com", "--password", PASSWORD, "--name", "Anna")
    assert run(*command).exit_code == 0
    assert refused(run(*command)) == "this address has an account"


def test_a_token_for_nobody_is_refused(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("CHATD_DATABASE_URL", database_url)
    assert refused(run("token", "nobody@example.com")) == (
        "no account has the address nobody@example.com"
    )


def made(result: Result) -> str:
    """Return the last line of a command that went well."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


def with_account(monkeypatch: pytest.MonkeyPatch, database_url: str) -> str:
    """Open anna@example.com and return its id."""
    monkeypatch.setenv("CHATD_DATABASE_URL", database_url)
    return made(run("user", "create", "anna@example.com", "--password", PASSWORD)).split()[0]


async def in_store(url: str, work: Callable[[PostgresStore], Awaitable[Any]]) -> Any:
    async with open_pool(url, size=1) as pool:
        return await work(PostgresStore(pool))


def test_accounts_are_listed_all_of_them_over_pages(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setattr("chatd.cli_accounts.PAGE", 1)
    user_id = with_account(monkeypatch, database_url)
    bot_id = made(run("user", "create-bot", "Robot", "--owner", "anna@example.com")).split()[0]
    lines = run("user", "list").stdout.splitlines()
    assert lines == [
        f"{user_id} anna@example.com anna",
        f"{bot_id} bot:{bot_id} Robot",
    ]
    assert run("user", "list", "--query", "rob").stdout.splitlines() == lines[1:]
    assert run("user", "list", "--query", "nobody").stdout == ""


def test_a_forgotten_password_is_set_and_all_logins_and_tokens_end(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    user_id = with_account(monkeypatch, database_url)
    run("token", "create", user_id, "--name", "ci", "--scope", "read")
    new = "a better horse battery"
    said = made(run("user", "set-password", "Anna@example.com", typed=f"{new}\n{new}\n"))
    assert said == f"{user_id} has a new password; 1 logins and API tokens ended"
    assert run("token", "list", user_id).stdout == ""

    async def look(store: PostgresStore) -> tuple[bool, list[str]]:
        [user] = await store.users_by_ids([UUID(user_id)])
        fits = await Passwords(rounds=4, queue=1).check(new, user.password_hash)
        audit = await store.audit_page(user.id, before=None, limit=10)
        return fits, [f"{row.action} {row.details.get('by')}" for row in audit]

    assert trio.run(in_store, database_url, look) == (
        True,
        ["password_set operator", "api_token_created operator"],
    )
    short = run("user", "set-password", user_id, "--password", "short")
    assert refused(short).startswith("password:")
    nobody = run("user", "set-password", "nobody@example.com", "--password", PASSWORD)
    assert refused(nobody) == "no account has the address nobody@example.com"


def test_an_operator_ends_the_logins_and_tokens_of_one_account(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    user_id = with_account(monkeypatch, database_url)
    bot_id = made(run("user", "create-bot", "Robot")).split()[0]
    for owner in (user_id, bot_id):
        made(run("token", "create", owner, "--name", "ci", "--scope", "read"))

    async def log_in(store: PostgresStore) -> None:
        at = datetime.now(UTC)
        assert await store.open_family(
            family_id=uuid4(),
            user_id=UUID(user_id),
            device_id=uuid4(),
            device_name="phone",
            address="192.0.2.1",
            token_hash=b"x" * 32,
            at=at,
            expires_at=at + timedelta(days=1),
        )

    trio.run(in_store, database_url, log_in)
    said = made(run("user", "end-logins", "anna@example.com"))
    assert said == f"{user_id}: 2 logins and API tokens ended"
    assert made(run("user", "end-logins", user_id)) == f"{user_id}: 0 logins and API tokens ended"
    assert run("token", "list", user_id).stdout == ""
    assert len(run("token", "list", bot_id).stdout.splitlines()) == 1

    async def look(store: PostgresStore) -> tuple[list[Any], list[str]]:
        audit = await store.audit_page(UUID(user_id), before=None, limit=10)
        done = [f"{row.action} {row.details.get('by')}" for row in audit]
        return await store.devices(UUID(user_id), at=datetime.now(UTC), limit=9), done

    devices, acts = trio.run(in_store, database_url, look)
    assert devices == []
    assert acts[:2] == ["logout_all operator"] * 2
    assert refused(run("user", "end-logins", "nobody@example.com")).startswith("no account")


def test_who_lost_phone_and_codes_logs_in_with_the_password_alone_again(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    user_id = with_account(monkeypatch, database_url)
    assert refused(run("user", "disable-totp", user_id)) == "this account has no second factor"

    async def enroll(store: PostgresStore) -> None:
        await store.begin_second_factor(UUID(user_id), secret=b"x", key_id="k1")

    trio.run(in_store, database_url, enroll)
    said = made(run("user", "disable-totp", "anna@example.com"))
    assert said == f"{user_id} logs in with the password alone"

    async def look(store: PostgresStore) -> Any:
        return await store.second_factor(UUID(user_id))

    assert trio.run(in_store, database_url, look) is None


def test_an_api_token_is_made_listed_and_revoked(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    with_account(monkeypatch, database_url)
    bot_id = made(run("user", "create-bot", "Robot")).split()[0]
    options = ("--name", "deploys", "--scope", "write", "--scope", "read", "--days", "30")
    token = made(run("token", "create", bot_id, *options))
    assert is_api_token(token)
    [line] = run("token", "list", bot_id).stdout.splitlines()
    token_id, *rest = line.split()
    assert rest == ["deploys", "read,write", "never"]

    async def use(store: PostgresStore) -> Any:
        now = datetime.now(UTC)
        return await store.use_api_token(hash_token(token), now, used_before=now)

    row = trio.run(in_store, database_url, use)
    assert (str(row.user_id), row.scopes) == (bot_id, ("read", "write"))
    assert (row.expires_at - row.created_at).days == 30
    foreign = run("token", "revoke", "anna@example.com", token_id)
    assert refused(foreign) == f"anna@example.com has no API token {token_id}"
    assert run("token", "revoke", bot_id, token_id).exit_code == 0
    assert trio.run(in_store, database_url, use) is None
    bad = run("token", "create", bot_id, "--name", "x", "--scope", "admin")
    assert refused(bad).startswith("scopes:")


def test_what_is_too_much_or_for_nobody_is_refused(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("CHATD_MAX_BOTS_PER_USER", "1")
    monkeypatch.setenv("CHATD_MAX_API_TOKENS", "1")
    with_account(monkeypatch, database_url)
    bot = ("user", "create-bot", "Robot", "--owner", "anna@example.com")
    assert run(*bot).exit_code == 0
    assert "has 1 bots" in refused(run(*bot))
    token = ("token", "create", "anna@example.com", "--name", "ci", "--scope", "read")
    assert run(*token).exit_code == 0
    assert "has 1 API tokens" in refused(run(*token))
    assert refused(run("token", "access", str(UUID(int=1)))).startswith("no account has the id")


@pytest.mark.parametrize(
    ("email", "password", "words"),
    [("no address", PASSWORD, "email:"), ("a@example.com", "short", "password:")],
)
def test_an_account_that_may_not_be_is_refused_before_the_database_is_opened(
    email: str, password: str, words: str, tmp_path: Path
) -> None:
    line = refused(run("user", "add", email, "--password", password))
    assert line.startswith(words)
    assert list(tmp_path.iterdir()) == []


def test_the_schema_is_brought_up_to_date(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("CHATD_DATABASE_URL", database_url)
    result = run("migrate")
    assert (result.exit_code, result.stdout.strip()) == (0, "the schema is current")


def test_a_database_that_cannot_be_reached_is_told_in_words(tmp_path: Path) -> None:
    result = run("migrate", "--database-url", f"host={tmp_path}/nowhere dbname=x")
    assert result.exit_code == 1
    assert result.stderr.startswith("chatd: ")
    assert "No such file" in result.stderr
    assert "Traceback" not in result.stderr


# The embedded PostgreSQL, as an operator has it


def test_an_operator_migrates_adds_an_account_and_gets_a_token(tmp_path: Path) -> None:
    def chatd(*arguments: str) -> str:
        command = [sys.executable, "-m", "chatd", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert chatd("migrate") == "the schema is current\n"
    assert "anna@example.com" in chatd("user", "add", "anna@example.com", "--password", PASSWORD)
    assert chatd("token", "anna@example.com").count(".") == 2
    folder = tmp_path / "data"
    assert stat.S_IMODE((folder / SIGNING_KEY_FILE).stat().st_mode) == 0o600
    assert not (folder / "postgres/data/postmaster.pid").exists()  # it went with its daemon
