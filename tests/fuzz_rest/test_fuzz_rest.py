"""What `/openapi.json` says, held against what the daemon does (https://schemathesis.io).

schemathesis makes calls from the document, good ones and bad ones, alone and one from the answer of
another, and looks at every answer. Its own report is the failure's text: each case as a curl line.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.scenarios.daemon import Daemon, running_daemon
from tests.scenarios.talker import rest

SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "10"))  # in CI 120
ENOUGH = 60  # seconds, to have got everywhere
OVERTIME = 120.0  # seconds: to start, to shrink what was found, to write the report
CONFIG = Path(__file__).with_name("schemathesis.toml")
SESSIONS = 24
PASSWORD = "correct horse battery"
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon of its own: what is made up here is nobody else's business."""
    # Nobody is there to answer: questions are taken, and their answers fail behind them.
    model: dict[str, Any] = {
        "openai_model": "a-model",
        "openai_base_url": "http://127.0.0.1:9/v1",
        "ai_breaker_failures": 1_000_000,
    }
    with running_daemon(tmp_path_factory.mktemp("fuzz") / "data", **model) as daemon:
        yield daemon


async def furnish(daemon: Daemon, folder: Path) -> None:
    """Give the caller of the settings something to ask for, and tell the settings' lists of it."""
    people = [await register(daemon, name) for name in ("fuzz", "ben", "cleo")]
    token, ids = people[0]["accessToken"], [each["user"]["id"] for each in people]
    sessions, messages, codes = [], [], []
    for number in range(SESSIONS):
        kind = ("GROUP", "PUBLIC")[number % 2]
        body = {"kind": kind, "name": f"tea {number}", "memberIds": ids[1:]}
        made = await rest(daemon, "POST", "/chat/sessions", token, body)
        path = f"/chat/sessions/{made['session']['id']}"
        sessions.append(made["session"]["id"])
        for cup in range(3):
            body = {"content": f"cup {cup}"}
            sent = await rest(daemon, "POST", f"{path}/messages", token, body)
            messages.append(sent["message"]["id"])
        invite = await rest(daemon, "POST", f"{path}/invites", token, {})
        codes.append(invite["invite"]["code"])
    for name, values in (
        ("sessions", sessions),
        ("messages", messages),
        ("people", ids),
        ("codes", codes),
    ):
        (folder / name).write_text("".join(f'"{value}"\n' for value in values))
    shutil.copy(CONFIG, folder)


async def register(daemon: Daemon, name: str) -> Any:
    """Return the answer of a new account."""
    body = {"email": f"{name}@example.org", "password": PASSWORD, "name": name}
    return await rest(daemon, "POST", "/auth/register", None, body)


async def test_no_call_of_the_document_finds_a_5xx_a_hang_or_an_answer_that_it_does_not_tell(
    daemon: Daemon, tmp_path: Path
) -> None:
    with trio.fail_after(SECONDS + OVERTIME):
        await furnish(daemon, tmp_path)
        before = await daemon.metric("chatd_messages_total")
        done = await trio.run_process(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG.name),
                *("run", f"{daemon.url}/openapi.json", "--url", daemon.url),
                *("--phases", "examples,coverage,fuzzing,stateful"),
                *("--max-time", str(SECONDS), "--no-color", "--generation-database", "none"),
            ],
            cwd=tmp_path,
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
        after = await daemon.metric("chatd_messages_total")
    report = done.stdout.decode(errors="replace")
    log.info(report)  # pytest --log-cli-level=INFO
    assert done.returncode == 0, report
    if SECONDS >= ENOUGH:
        assert after > before, f"no call came so far as to store a message\n{report}"
