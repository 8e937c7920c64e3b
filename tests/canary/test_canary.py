"""No secret in a log line, none in a refusal (T103): whatever is said to whatever operation.

Passwords, tokens, codes, cookies, contents, names, queries and the secrets of the settings all hold
one mark; what the daemon itself made is remembered. The list of operations is the registry's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import trio

from chatd.handlers.catalogue import OPERATIONS
from chatd.handlers.operations import Operation
from tests.canary.forms import PASSWORD, Forms, Json
from tests.canary.stage import Door, Stage, open_stage
from tests.databases import PostgresServer
from tests.scenarios.daemon import Daemon
from tests.scenarios.wire import TEXT, Wire, frame, open_wire

PATIENCE = 280  # seconds for everything, on a busy machine
ANSWER_TIMEOUT = 20.0  # seconds
MARK = f"canary{uuid4().hex[:12]}"


@asynccontextmanager
async def open_door(daemon: Daemon) -> AsyncIterator[Door]:
    async with httpx2.AsyncClient(base_url=daemon.url, trust_env=False) as http:
        yield Door(http)


async def by_rest(operation: Operation, stage: Stage) -> bool:
    """Call an operation in every way that REST has; return whether it once did what it is for."""
    forms = Forms(operation, MARK, stage.ids)
    tampered = stage.token.rpartition(".")[0] + f".{MARK}"
    for form in forms.good():
        await stage.rest(operation, form, token=tampered if operation.needs_login else None)
    for form in forms.bad():
        await stage.rest(operation, form, token=stage.token)
    secrets = {"token": MARK, "access_token": stage.token, "ticket": MARK}
    form = next(forms.good())
    await stage.rest(operation, form, token=MARK, query=secrets)
    await stage.rest(operation, form, token=None, query=secrets)
    await stage.rest(operation, form, token=stage.token, query=secrets)
    statuses = [await stage.rest(operation, form, token=stage.token) for form in forms.good()]
    return any(status < 400 for status in statuses)


async def by_socket(port: int, operation: Operation, stage: Stage) -> bool:
    """Call an operation by its event; return whether it once did what it is for."""
    forms = Forms(operation, MARK, stage.ids)
    has_passed = False
    async with open_wire(port) as wire:
        await wire.upgrade(stage.token)
        for number, form in enumerate((*forms.bad(), *forms.good())):
            request = {"event": operation.event, "id": number, "data": form}
            answer = await ask(wire, request)
            if answer is None:
                break  # it has ended its own login
            has_passed = has_passed or answer["ok"]
            if not answer["ok"]:
                stage.door.refusals.append(f"{operation.event}: {answer}")
    return has_passed


async def ask(wire: Wire, request: Json) -> Json | None:
    """Send a request on `/ws` and return its answer; None when the daemon closes."""
    with trio.fail_after(ANSWER_TIMEOUT):
        await wire.send(frame(json.dumps(request).encode()))
        while (frames := await wire.frames()) is not None:
            for each in frames:
                answer = json.loads(each.payload) if each.opcode == TEXT else {}
                if "ok" in answer and answer["id"] == request["id"]:
                    found: Json = answer
                    return found
        return None


async def by_hand(daemon: Daemon, stage: Stage) -> None:
    """Say what no client says: half requests, wrong frames, tokens where they do not belong."""
    login = {"Authorization": f"Bearer {stage.token}", "Content-Type": "application/json"}
    path = f"/chat/sessions/{stage.ids['sessionId']}/messages"
    for body in (f'{{"content": "{MARK}', f'{{"content": "{MARK}", "content": 1}}', f'["{MARK}"]'):
        await stage.door.call("POST", path, content=body, headers=login)
    text = login | {"Content-Type": "text/plain"}
    await stage.door.call("POST", path, content=MARK, headers=text)
    await stage.door.call("GET", f"/{MARK}?token={MARK}", headers=login)
    await stage.door.call("PUT", path, content=MARK, headers=login)
    await stage.door.call("GET", "/metrics", headers={"Authorization": f"Bearer {MARK} wrong"})
    for bad in (
        f"GET /auth/me?token={MARK} HTTP/3.7",
        f"GET /a\\{MARK} HTTP/1.1",
        f"{MARK} / HTTP/1.1",
    ):
        await raw(daemon.port, stage, f"{bad}\r\nHost: a\r\n\r\n")
    head = "GET /auth/me HTTP/1.1\r\nHost: a\r\n"
    await raw(daemon.port, stage, f"{head}Authorization : Bearer {MARK}\r\n\r\n")
    await raw(daemon.port, stage, f"{head}Cookie: {MARK}{'x' * 20_000}\r\n\r\n")
    await raw(daemon.port, stage, f"{head}Content-Length: {MARK}\r\n\r\n")
    first = {"event": "auth", "data": {"token": MARK}}
    for said in (
        json.dumps(first),
        f'{{"event": "auth", "data": {{"token": "{MARK}',
        json.dumps({"event": "auth", "data": {"token": stage.token, MARK: MARK}}),
        json.dumps({"event": "auth", "id": 1, "data": MARK}),
    ):
        await frames_of(daemon.port, stage, None, said)
    for said in (f'{{"event": "message:send", "data": "{MARK}', f'"{MARK}"', f'[["{MARK}"]]'):
        await frames_of(daemon.port, stage, stage.token, said)
    await by_socketio(stage)


async def raw(port: int, stage: Stage, request: str) -> None:
    async with open_wire(port) as wire:
        await wire.send(request.encode())
        with trio.fail_after(ANSWER_TIMEOUT):
            received = b""
            while piece := await wire.stream.receive_some():
                received += piece
    stage.door.refusals.append(received.decode())


async def frames_of(port: int, stage: Stage, token: str | None, said: str) -> None:
    """Say one thing and keep all that is said back up to a round trip, or the end."""
    async with open_wire(port) as wire:
        await wire.upgrade(token)
        await wire.send(frame(said.encode()))
        await wire.send(frame(b'{"event": "no:such", "id": "last", "data": {}}'))
        with trio.fail_after(ANSWER_TIMEOUT):
            while (frames := await wire.frames()) is not None:
                texts = [each.payload.decode(errors="replace") for each in frames]
                stage.door.refusals += [each for each in texts if "error" in each]
                if any('"last"' in each for each in texts):
                    return


async def by_socketio(stage: Stage) -> None:
    """Speak Socket.IO over polling: a bad token, then packets that are none, then a good token."""
    base = f"/socket.io/?EIO=4&transport=polling&token={MARK}"
    for packets in (
        [f'40{{"token":"{MARK}"}}'],
        [f'40{{"token":"{stage.token}"', f"42{MARK}"],
        [
            f'40{{"token":"{stage.token}"}}',
            f'42["message:send",{{"content":"{MARK}"}}]',
            f"9{MARK}",
        ],
        [f'40/admin,{{"token":"{MARK}"}}', f'451-["{MARK}"]'],
    ):
        opened = await stage.door.call("GET", base)
        session = f"{base}&sid={json.loads(opened.text[1:])['sid']}"
        for packet in packets:
            await stage.door.call("POST", session, content=packet)
        answer = await stage.door.call("GET", session)
        stage.door.refusals.append(answer.text)
    await stage.door.call("GET", f"{base}&sid={MARK}")


async def tell_everything(daemon: Daemon) -> tuple[set[str], list[str]]:
    """Call all that there is in all ways; return the secrets that were used, and the refusals."""
    done = set()
    async with open_door(daemon) as door:
        for operation in OPERATIONS:
            if operation.route is not None and await by_rest(
                operation, await open_stage(door, MARK, operation.name)
            ):
                done.add(operation.name)
            if operation.event is not None and await by_socket(
                daemon.port, operation, await open_stage(door, MARK, operation.name)
            ):
                done.add(operation.name)
        stage = await open_stage(door, MARK)
        await by_hand(daemon, stage)
    # Not all: sign-in has no issuer here. Good input that is refused would prove little.
    missing = {operation.name for operation in OPERATIONS} - done
    assert len(missing) < len(OPERATIONS) / 4, missing
    return door.secrets | {MARK}, door.refusals


SECRETS: dict[str, Any] = {  # of the settings, beside the ones that the daemon makes itself
    "log_level": "debug",
    "signing_keys": f"first:{MARK}-{'k' * 40}",
    "metrics_token": f"{MARK}-metrics",
    "public_url": "http://127.0.0.1:9",
    "oidc_issuer": "http://127.0.0.1:9",  # nobody is there, and the log says so
    "oidc_client_id": "chatd",
    "oidc_client_secret": f"{MARK}-client",
    "smtp_url": f"smtp://chatd:{MARK}-mail@127.0.0.1:9",  # nor there
    "mail_from": "chat@example.org",
    "openai_model": "a-model",
    "ai_breaker_failures": 1_000_000,
    "openai_base_url": "http://127.0.0.1:9/v1",
    "openai_api_key": f"{MARK}-openai",
}


@contextmanager
def running(data_dir: Path, **settings: Any) -> Iterator[Daemon]:
    """Run a daemon with secrets in its settings. Blocks."""
    daemon = Daemon(data_dir, **SECRETS | settings)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.dispose()


def assert_clean(text: str, secrets: set[str]) -> None:
    found = [line[:400] for line in text.splitlines() if any(each in line for each in secrets)]
    assert not found, "\n".join(found[:20])


@pytest.mark.threat("T103")
async def test_what_is_told_to_any_operation_is_in_no_refusal_and_no_json_log(
    tmp_path: Path,
) -> None:
    with trio.fail_after(PATIENCE), running(tmp_path / "data", log_format="json") as daemon:
        secrets, refusals = await tell_everything(daemon)
        secrets |= made_by(daemon)
        daemon.kill_postgres()
        async with open_door(daemon) as door:
            login = {"email": f"{MARK}@example.org", PASSWORD: f"{MARK} {PASSWORD}"}
            while daemon.log().count("server_ready") < 2:  # until it is back, in whatever state
                await door.call("POST", "/auth/login", json=login)
        assert daemon.stop() == 0
    said = daemon.log()
    assert "request_refused" in said
    assert_clean(said, secrets)
    assert_clean((daemon.data_dir / "postgres/postgres.log").read_text(), secrets)
    assert_clean("\n".join(refusals + door.refusals), secrets)


@pytest.mark.threat("T103")
async def test_what_is_told_to_any_operation_is_in_no_console_log_nor_is_the_databases_password(
    tmp_path: Path, postgres_server: PostgresServer, database_url: str
) -> None:
    url = f"{database_url} password={MARK}-database"
    offset = len((postgres_server.folder / "log").read_bytes())
    settings = {"log_format": "console", "database_url": url}
    with trio.fail_after(PATIENCE), running(tmp_path / "data", **settings) as daemon:
        secrets, refusals = await tell_everything(daemon)
        secrets |= made_by(daemon)
        assert daemon.stop() == 0
    said = daemon.log()
    assert "request_refused" in said
    assert_clean(said, secrets)
    assert_clean((postgres_server.folder / "log").read_bytes()[offset:].decode(), secrets)
    assert_clean("\n".join(refusals), secrets)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://chatd:{MARK}@127.0.0.1:9/chatd",
        f"postgresql://chatd:{MARK}@127.0.0.1:9/chatd?nonsense=1",
        f"postgresql://chatd:p@{MARK}@127.0.0.1:9/chatd",
        f"postgresql://chatd:p/{MARK}@127.0.0.1:9/chatd",
        f"host=127.0.0.1 port=9 password={MARK} nonsense=1",
        f"host=127.0.0.1 port=9 password=p {MARK}",
        f"mysql://chatd:{MARK}@127.0.0.1/chatd",
    ],
)
def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    tmp_path: Path, url: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if "CHATD" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "chatd", "serve", "--port", "0", "--data-dir", tmp_path / "data"],
        env=environment | {"CHATD_DATABASE_URL": url},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr
    assert MARK.encode() not in done.stdout + done.stderr


def made_by(daemon: Daemon) -> set[str]:
    """Return the secrets that a daemon has made for itself, from its data folder."""
    files = [path for path in daemon.data_dir.glob("*") if path.is_file()]
    return {line for path in files for line in path.read_text().split() if len(line) > 16}
