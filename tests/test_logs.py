"""What a log line is: one event, whole, in a form that machines read and nobody can forge."""

from __future__ import annotations

import json
from typing import Literal

import pytest
import structlog

from chatd.logs import MAX_FIELD, configure_logs

HOSTILE = "said\r\n2026-01-01T00:00:00Z [error    ] forged\x1b[2J\u2028\u202e"
Form = Literal["console", "json"]


def logged(capsys: pytest.CaptureFixture[str], form: Form, **fields: object) -> list[str]:
    """Return the lines that one event becomes."""
    configure_logs(form, "info")
    structlog.get_logger("chatd.test").info("refused", **fields)
    return capsys.readouterr().err.splitlines()


def test_a_line_has_the_time_in_utc_the_level_and_its_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [line] = logged(capsys, "json", connection="c7", status=400)
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "refused", "level": "info", "connection": "c7", "status": 400}


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_value_starts_no_line_and_no_terminal_sequence(
    capsys: pytest.CaptureFixture[str], form: Form
) -> None:
    [line] = logged(capsys, form, reason=HOSTILE)
    assert line.isprintable()
    assert "forged" in line


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_line_of_a_traceback_passes_for_an_event(
    capsys: pytest.CaptureFixture[str], form: Form
) -> None:
    first, *rest = logged(capsys, form, exc_info=ValueError(HOSTILE))
    assert first.isprintable()
    assert all(line.isprintable() and line.startswith("  ") for line in rest)
    assert "forged" in "".join([first, *rest])


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_long_value_is_cut(capsys: pytest.CaptureFixture[str], form: Form) -> None:
    [line] = logged(capsys, form, reason="x" * 1_000_000)
    assert MAX_FIELD <= len(line) < MAX_FIELD + 300


@pytest.mark.parametrize("form", ["console", "json"])
def test_what_is_below_the_level_is_not_written(
    capsys: pytest.CaptureFixture[str], form: Form
) -> None:
    configure_logs(form, "warning")
    structlog.get_logger("chatd.test").info("refused")
    assert capsys.readouterr().err == ""
