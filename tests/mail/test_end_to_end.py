"""From a request to a mailbox and back, over a real mail server; on the real clock."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from chatd.nurseries import mailer
from tests.http_kit import Answer
from tests.mail.server import open_mail_server
from tests.people import World, open_world

PASSWORD = "correct horse battery"
OTHER = "another horse battery"
DEADLINE = 20.0  # seconds of real time for a whole test
URL = "https://chat.example.org"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailer, "PAUSES", (0.05,))


@asynccontextmanager
async def open_site(tmp_path: Path, port: int, **more: Any) -> AsyncIterator[World]:
    """Run a daemon in production that sends its mail to a port of this machine."""
    usual: dict[str, Any] = {
        "environment": "production",
        "signing_keys": (),
        "smtp_url": f"smtp://127.0.0.1:{port}",
        "mail_from": "Tea <tea@example.org>",
        "public_url": URL,
        "email_verification": "required",
    }
    with trio.fail_after(DEADLINE):
        async with open_world(tmp_path, **(usual | more)) as world:
            yield world


async def post(world: World, path: str, token: str | None = None, **body: Any) -> Answer:
    return await world.rest("POST", path, body, token=token)


async def verify(world: World, token: str) -> Answer:
    return await world.rest("POST", "/auth/email/verify", {"token": token})


async def register(world: World, name: str = "anna") -> dict[str, Any]:
    answer = await post(world, "/auth/register", email=f"{name}@example.com", password=PASSWORD)
    assert answer.status == 201
    tokens: dict[str, Any] = answer.json
    return tokens


def mails(world: World, outcome: str) -> float:
    registry = world.daemon.services.metrics.registry
    return registry.get_sample_value("chatd_mails_total", {"outcome": outcome}) or 0


async def until_mails(world: World, outcome: str, count: float) -> None:
    """Wait until so many mails came to this; a thread tells nobody but the daemon."""
    while mails(world, outcome) < count:  # noqa: ASYNC110 - as above
        await trio.sleep(0.01)


async def test_mail_arrives_its_links_work_and_no_log_holds_them(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with open_mail_server() as server, open_site(tmp_path, server.port) as world:
            tokens = await register(world)
            verification = await server.mail()
            assert (verification.sender, verification.to) == (
                "tea@example.org",
                ["anna@example.com"],
            )
            assert verification.page == f"{URL}/auth/verify"
            room = {"kind": "GROUP", "name": "tea"}
            refused = await post(world, "/chat/sessions", tokens["accessToken"], **room)
            assert refused.status == 403
            used = await verify(world, verification.token)
            assert used.json == {"email": "anna@example.com"}
            made = await post(world, "/chat/sessions", tokens["accessToken"], **room)
            assert made.status == 201

            asked = await post(world, "/auth/password/forgot", email="anna@example.com")
            assert (asked.status, asked.json) == (202, {})
            reset = await server.mail()
            assert reset.page == f"{URL}/auth/reset"
            done = await world.rest(
                "POST", "/auth/password/reset", {"token": reset.token, "password": OTHER}
            )
            assert done.status == 200
            notice = await server.mail()
            assert "was changed" in notice.message["Subject"]
            login = await post(world, "/auth/login", email="anna@example.com", password=OTHER)
            assert login.status == 200

            change = {"email": "new@example.com", "password": OTHER}
            access = login.json["accessToken"]
            assert (await post(world, "/auth/email", access, **change)).status == 202
            both = sorted([await server.mail(), await server.mail()], key=lambda mail: mail.to)
            assert [mail.to for mail in both] == [["anna@example.com"], ["new@example.com"]]
            moved = await verify(world, both[1].token)
            assert moved.json == {"email": "new@example.com"}
            assert "new@example.com" in (await server.mail()).text
            await until_mails(world, "sent", 6)
            assert mails(world, "lost") == mails(world, "retried") == 0
    text = str(logs)
    secrets = [verification.token, reset.token, both[1].token, PASSWORD, OTHER]
    assert [secret for secret in secrets if secret in text] == []
    assert "anna@example.com" not in text


async def test_a_server_that_says_later_and_then_closes_gets_the_mail_in_the_end(
    tmp_path: Path,
) -> None:
    async with open_mail_server() as server, open_site(tmp_path, server.port) as world:
        server.script.extend([("RCPT", "450 4.2.1 greylisted"), ("DATA", "close")])
        await register(world)
        mail = await server.mail()
        answer = await verify(world, mail.token)
        assert answer.status == 200
        await until_mails(world, "sent", 1)
        assert (mails(world, "retried"), mails(world, "lost")) == (2, 0)


async def test_a_server_that_is_down_gets_the_mail_when_it_is_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with open_site(tmp_path, port) as world:
        await register(world)
        await until_mails(world, "retried", 2)
        async with open_mail_server(port=port) as server:
            assert (await server.mail()).to == ["anna@example.com"]


async def test_a_mailbox_that_does_not_exist_is_a_lost_mail_that_log_and_metric_tell(
    tmp_path: Path,
) -> None:
    with capture_logs() as logs:
        async with open_mail_server() as server, open_site(tmp_path, server.port) as world:
            server.script.append(("RCPT", "550 5.1.1 <anna@example.com>: no such mailbox"))
            await register(world)
            await until_mails(world, "lost", 1)
    [lost] = [entry for entry in logs if entry["event"] == "mail lost"]
    assert lost["error"] == "550 5.1.1 <<the recipient>>: no such mailbox"
    assert lost["kind"] == "verification"


async def test_a_server_that_hangs_delays_no_request_and_not_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailer, "FINISH_TIMEOUT", 0.2)
    async with open_mail_server() as server:
        server.script.extend([("MAIL", "hang")] * 20)
        async with open_site(tmp_path, server.port, smtp_timeout=600) as world:
            for number in range(12):  # more than there are workers and threads
                await register(world, f"anna{number}")
                answer = await post(
                    world, "/auth/password/forgot", email=f"anna{number}@example.com"
                )
                assert answer.status == 202
            while server.commands.count("MAIL") < mailer.WORKERS:  # noqa: ASYNC110 - a thread
                await trio.sleep(0.01)
            # Threads that hash, and threads that hang, are not the same.
            login = {"email": "anna3@example.com", "password": PASSWORD}
            assert (await post(world, "/auth/login", **login)).status == 200
        # And the stop gave up 24 mails, long before `smtp_timeout`.
        assert mails(world, "lost") == 24
