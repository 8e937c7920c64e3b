"""Log lines: one an event whatever it holds, bounded, and without what nobody may read there."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, LiteralString
from uuid import UUID

import orjson
import psycopg
import pytest
import structlog
from pydantic import SecretStr

from chatd.config import Settings
from chatd.errors import StoreBug
from chatd.events.accounts import Register
from chatd.ids import uuid7
from chatd.logs import MAX_FIELD, MAX_TRACEBACK, WITHHELD, configure_logs
from chatd.store.pool import Pool, open_pool
from tests.store.kit import NOW

CANARY = "canary-7f3a"
FORGED = "2026-01-01T00:00:00Z [info     ] login user=admin"
HOSTILE = f"x\n{FORGED}\r\x1b[2J\x1b]0;owned\x07\0\u202e\ud800\u2028"

Lines = Callable[[], list[str]]


def logged_as(log_format: Literal["console", "json"], monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Log in a format from now on; return what takes the lines that were logged."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logs(log_format, "info")

    def taken() -> list[str]:
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        text.encode()  # a lone surrogate would end the write of a real one
        assert text.endswith("\n")
        return text.split("\n")[:-1]

    return taken


@pytest.fixture(params=["console", "json"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Return what takes the lines that were logged, in either format."""
    return logged_as(request.param, monkeypatch)


def log_of() -> structlog.typing.FilteringBoundLogger:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger("test")
    return log


def assert_clean(line: str) -> None:
    assert line.isprintable()


@pytest.mark.threat("T104")
def test_a_hostile_value_stays_inside_its_line(lines: Lines) -> None:
    nested = {"a": [HOSTILE, {"b": HOSTILE}], HOSTILE: 1}
    log_of().warning(
        HOSTILE,
        agent=HOSTILE,
        raw=HOSTILE.encode(errors="replace"),
        more=nested,
        error=ValueError(HOSTILE),
    )
    [line] = lines()
    assert_clean(line)
    assert line.count("login user=admin") >= 3  # it is there, and no line of its own


@pytest.mark.threat("T104")
def test_a_value_of_a_megabyte_is_cut(lines: Lines) -> None:
    big = "é" * 1_000_000
    log_of().warning("big", one=big, two=[big] * 1000, three=big.encode(), four={"k": {"k": big}})
    [line] = lines()
    assert "…" in line
    assert len(line.encode()) < (20 + 3) * (MAX_FIELD + 50)


def test_a_value_can_not_pass_for_another_field(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = logged_as("console", monkeypatch)
    log_of().warning("refused", name='x level=error" user=admin', code="plain")
    assert """name='x level=error" user=admin'""" in lines()[0]


def test_json_lines_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = logged_as("json", monkeypatch)
    log_of().warning("refused", count=3, ok=True, id=UUID(int=7), nothing=None, name=HOSTILE)
    line = orjson.loads(lines()[0])
    assert (line["event"], line["count"], line["ok"]) == ("refused", 3, True)
    assert (line["id"], line["nothing"]) == (str(UUID(int=7)), None)


def test_other_libraries_log_in_the_same_form(lines: Lines) -> None:
    logging.getLogger("some.library").warning("peer said %s", HOSTILE)
    [line] = lines()
    assert_clean(line)
    assert "some.library" in line
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError:
        logging.getLogger("some.library").exception("failed")
    said = lines()
    assert "RuntimeError" in "".join(said)
    for line in said:
        assert_clean(line)


def test_a_traceback_tells_where_and_no_value_of_a_variable(lines: Lines) -> None:
    def deep(password: str) -> None:
        raise RuntimeError("the text of a bug")

    try:
        deep(CANARY)
    except RuntimeError:
        log_of().exception("bug")
    text = "\n".join(lines())
    assert "in deep" in text
    assert "the text of a bug" in text
    assert CANARY not in text


@pytest.mark.parametrize(
    "fail",
    [
        lambda: int(CANARY),
        lambda: dict[str, str]()[CANARY],
        lambda: CANARY.encode("ascii") + (CANARY + "\xe9").encode("ascii"),
        lambda: UUID(CANARY),
        lambda: orjson.loads(f'{{"{CANARY}'),
        lambda: Register(email=CANARY, password=CANARY, name=None),
        lambda: Settings(port=CANARY),
    ],
)
def test_exceptions_that_quote_a_value_are_told_without_it(
    lines: Lines, fail: Callable[[], object]
) -> None:
    try:
        try:
            fail()
        except Exception as cause:
            raise ExceptionGroup("together", [StoreBug("wrapped")]) from cause
    except ExceptionGroup as group:
        log_of().error("bug", exc_info=group, error=group.__cause__)
    text = "\n".join(lines())
    assert CANARY not in text
    assert "StoreBug: wrapped" in text
    assert WITHHELD in text or "ValidationError" in text


def test_a_traceback_is_bounded_and_forges_no_line(lines: Lines) -> None:
    def recurse(depth: int) -> None:
        if depth == 0:
            raise RuntimeError(HOSTILE * 10_000)
        recurse(depth - 1)

    try:
        recurse(500)
    except RuntimeError:
        log_of().exception("bug")
    said = lines()
    assert sum(len(line.encode()) for line in said) < MAX_TRACEBACK + 2 * MAX_FIELD
    for line in said:
        assert_clean(line)
        assert not line.startswith("2026-01-01")
    if len(said) > 1:  # the console's: what follows is visibly no event
        assert all(line.startswith("    ") for line in said[1:])


def test_fields_with_the_name_of_a_secret_are_withheld(lines: Lines) -> None:
    log_of().warning(
        "request",
        content=CANARY,
        Authorization=CANARY,
        headers={"cookie": CANARY},
        key=SecretStr(CANARY),
    )
    [line] = lines()
    assert CANARY not in line
    assert WITHHELD in line


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(database_url, size=1) as pool:
        yield pool


async def test_postgres_errors_come_without_the_values_of_a_row(pool: Pool, lines: Lines) -> None:
    insert = """
        INSERT INTO users (id, email, name, created_at) VALUES (%(id)s, %(email)s, %(name)s, %(at)s)
    """
    user = {"id": uuid7(), "email": f"{CANARY}@example.org", "name": CANARY, "at": NOW}
    await pool.fetch(insert, user)
    failing: list[tuple[LiteralString, dict[str, Any]]] = [
        (insert, user | {"id": uuid7()}),  # Key (lower(email))=(...) already exists
        (insert, user | {"id": uuid7(), "email": CANARY, "name": ""}),  # Failing row contains (...)
        ("SELECT %(name)s::uuid", {"name": CANARY}),  # invalid input syntax: "..."
        ("SELECT %(name)s::jsonb", {"name": "{" + CANARY}),  # CONTEXT: JSON data, line 1: ...
        ("SELECT nothing FROM users WHERE name = %(name)s", {"name": CANARY}),
    ]
    for statement, params in failing:
        with pytest.raises(StoreBug) as caught:
            await pool.fetch(statement, params)
        log_of().error("bug", error=str(caught.value), exc_info=caught.value)
        text = "\n".join(lines())
        assert CANARY not in text
        assert CANARY not in str(caught.value)
        assert isinstance(caught.value.__cause__, psycopg.Error)
        assert str(caught.value.__cause__.sqlstate) in text
