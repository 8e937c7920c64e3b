"""Letters and a real mail server, however that behaves; on the real clock, for it is a thread."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from chatd.letters import Letter, message_of
from chatd.mail_settings import Sender, SmtpServer, read_smtp_url
from chatd.nurseries.smtp import THREADS, RefusedError, Smtp, UndeliveredError, _Attempt
from tests.mail.server import Mail, MailServer, Stage, open_mail_server

LETTER = Letter("password_changed", "ann@example.org", "A subject", "A text.\n")
SENDER = Sender("Tea", "tea@example.org")
TIMEOUT = 0.3  # seconds: for servers that hang


def smtp(port: int, *, timeout: float = 10, query: str = "", user: str = "") -> Smtp:
    server = read_smtp_url(f"smtp://{user}localhost:{port}{query}")
    return Smtp(server._replace(host="127.0.0.1"), name="example.org", timeout=timeout)


async def hand_over(client: Smtp, letter: Letter = LETTER) -> None:
    message = message_of(letter, SENDER, datetime.now(UTC))
    with trio.fail_after(10):
        await client.hand_over(letter, message)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with open_mail_server() as server:
        yield server


async def test_a_letter_arrives_as_it_was_written(server: MailServer) -> None:
    await hand_over(smtp(server.port))
    mail: Mail = await server.mail()
    assert (mail.sender, mail.to) == ("tea@example.org", ["ann@example.org"])
    assert (mail.message["Subject"], mail.text) == ("A subject", "A text.\n")
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert not mail.is_encrypted


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("MAIL", "451 4.3.0 later"),
        ("MAIL", "550 5.7.1 this sender is not ours"),  # the operator can mend it
        ("RCPT", "450 4.2.1 greylisted"),
        ("RCPT", "421 4.3.2 shutting down"),
        ("DATA", "452 4.3.1 no room"),
    ],
)
async def test_what_a_server_may_take_later_is_undelivered(
    server: MailServer, stage: Stage, answer: str
) -> None:
    server.script.append((stage, answer))
    with pytest.raises(UndeliveredError) as trouble:
        await hand_over(smtp(server.port))
    assert answer[:3] in str(trouble.value)
    assert not server.has_mail()
    await hand_over(smtp(server.port))
    await server.mail()


@pytest.mark.parametrize(
    ("stage", "answer"),
    [("RCPT", "550 5.1.1 <ann@example.org> unknown"), ("DATA", "554 5.6.0 spam")],
)
async def test_what_a_server_will_never_take_is_refused_and_names_nobody(
    server: MailServer, stage: Stage, answer: str
) -> None:
    server.script.append((stage, answer))
    with pytest.raises(RefusedError) as refusal:
        await hand_over(smtp(server.port))
    assert answer[:9] in str(refusal.value)
    assert "ann" not in str(refusal.value)


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
async def test_a_server_that_closes_in_the_middle_is_undelivered(
    server: MailServer, stage: Stage
) -> None:
    server.script.append((stage, "close"))
    with pytest.raises(UndeliveredError):
        await hand_over(smtp(server.port))


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
async def test_a_server_that_hangs_costs_its_time_and_its_thread_ends(
    server: MailServer, stage: Stage
) -> None:
    threads = threading.active_count()
    server.script.append((stage, "hang"))
    with pytest.raises(UndeliveredError, match="not done within"):
        await hand_over(smtp(server.port, timeout=TIMEOUT))
    await hand_over(smtp(server.port))
    await server.mail()
    assert threading.active_count() <= threads + 2


async def test_nobody_listening_is_undelivered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UndeliveredError, match="ConnectionRefusedError"):
        await hand_over(smtp(port))


# Servers that are none


@asynccontextmanager
async def open_stranger(
    talk: Callable[[trio.SocketStream], Awaitable[None]],
) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            try:
                await talk(stream)
            except trio.BrokenResourceError:
                pass  # the client has left
            finally:
                await trio.aclose_forcefully(stream)

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def trickling(stream: trio.SocketStream) -> None:
    """Send a byte again and again: no read waits long, and nothing ever comes."""
    await stream.send_all(b"220-")
    while True:
        await stream.send_all(b"x")
        await trio.sleep(TIMEOUT / 10)


async def endless(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"220-more\r\n" * 1000)


async def busy(stream: trio.SocketStream) -> None:
    await stream.send_all(b"554 5.3.2 go\x1b[31m away\r\n")


async def gone(stream: trio.SocketStream) -> None:
    await trio.lowlevel.checkpoint()


async def http(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("talk", [silent, trickling, endless, busy, gone, http])
@pytest.mark.parametrize("encryption", ["NONE", "STARTTLS", "TLS"])
async def test_whatever_answers_the_letter_is_undelivered_in_time_and_the_thread_ends(
    talk: Callable[[trio.SocketStream], Awaitable[None]], encryption: Any
) -> None:
    async with open_stranger(talk) as port:
        server = SmtpServer("127.0.0.1", port, encryption, None, "")
        client = Smtp(server, name="example.org", timeout=TIMEOUT)
        with pytest.raises(UndeliveredError) as trouble:
            await hand_over(client)
        assert "\x1b" not in str(trouble.value)
        with trio.fail_after(5):
            while client._limiter.borrowed_tokens:  # noqa: ASYNC110 - a thread tells nobody
                await trio.sleep(0.01)


async def test_a_server_that_hangs_for_many_never_has_more_threads_than_its_own() -> None:
    open_now = 0
    all_there = trio.Event()

    async def hang(stream: trio.SocketStream) -> None:
        nonlocal open_now
        open_now += 1
        if open_now == THREADS:
            all_there.set()
        await trio.sleep_forever()

    async with open_stranger(hang) as port:
        client = smtp(port)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3 * THREADS):
                    nursery.start_soon(hand_over, client)
                await all_there.wait()
                await trio.testing.wait_all_tasks_blocked()
                waiting = client._limiter.statistics()
                nursery.cancel_scope.cancel()
    assert (waiting.borrowed_tokens, waiting.tasks_waiting) == (THREADS, 2 * THREADS)
    assert open_now == THREADS


async def test_the_one_who_hands_over_can_be_cancelled_at_once() -> None:
    async with open_stranger(silent) as port:
        with trio.move_on_after(TIMEOUT) as scope:
            await hand_over(smtp(port, timeout=60))
        assert scope.cancelled_caught


async def test_what_is_given_up_before_it_connects_is_not_handed_over(
    server: MailServer,
) -> None:
    url = read_smtp_url(f"smtp://127.0.0.1:{server.port}")
    attempt = _Attempt(url, "example.org", 10, ssl.create_default_context())
    attempt.give_up()
    with pytest.raises(UndeliveredError, match="given up"):
        await trio.to_thread.run_sync(attempt.run, message_of(LETTER, SENDER, datetime.now(UTC)))
    assert server.commands == []
    # Behind a second one the server has seen the end of the first.
    second = _Attempt(url, "example.org", 10, ssl.create_default_context())
    await trio.to_thread.run_sync(second.run, message_of(LETTER, SENDER, datetime.now(UTC)))


async def test_a_letter_that_was_taken_is_not_sent_again_for_a_goodbye_that_hangs() -> None:
    asked: list[bytes] = []

    async def no_goodbye(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hello\r\n")
        is_data, text = False, b""
        async for chunk in stream:
            text += chunk
            while b"\r\n" in text:
                line, text = text.split(b"\r\n", 1)
                if is_data:
                    is_data = line != b"."
                    if not is_data:
                        await stream.send_all(b"250 taken\r\n")
                    continue
                asked.append(line[:4])
                is_data = line == b"data"
                if line != b"quit":
                    await stream.send_all(b"354 go on\r\n" if is_data else b"250 fine\r\n")

    async with open_stranger(no_goodbye) as port:
        await hand_over(smtp(port, timeout=TIMEOUT))
        assert asked[-2:] == [b"data", b"quit"]


async def test_an_address_beyond_ascii_is_refused_where_the_server_takes_none(
    server: MailServer,
) -> None:
    with pytest.raises(RefusedError, match="ASCII"):
        await hand_over(smtp(server.port), LETTER._replace(to="änn@example.org"))
    await hand_over(smtp(server.port), LETTER._replace(to="ann@exämple.org"))
    assert (await server.mail()).to == ["ann@xn--exmple-cua.org"]


# Encryption and login


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Return a fresh certificate of 127.0.0.1, and a server's context with it."""
    folder = tmp_path_factory.mktemp("tls")
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=mx.test", "-addext"),
            *("subjectAltName=IP:127.0.0.1", "-keyout", str(keyfile), "-out", str(certfile)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certfile, keyfile)
    return certfile, context


@pytest.mark.parametrize("is_at_once", [False, True])
async def test_mail_and_login_travel_encrypted_to_a_server_that_shows_who_it_is(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, is_at_once: bool
) -> None:
    certfile, context = certificate
    async with open_mail_server(tls=context, is_tls_at_once=is_at_once, needs_login=True) as server:
        scheme = "smtps" if is_at_once else "smtp"
        read = read_smtp_url(
            f"{scheme}://chatd:pass%20word@127.0.0.1:{server.port}?starttls=always"
        )
        with pytest.raises(UndeliveredError, match="CERTIFICATE_VERIFY_FAILED"):
            await hand_over(Smtp(read, name="example.org", timeout=10))
        monkeypatch.setenv("SSL_CERT_FILE", str(certfile))
        await hand_over(Smtp(read, name="example.org", timeout=10))
        mail = await server.mail()
        assert (mail.is_encrypted, mail.user) == (True, "chatd")
        wrong = read._replace(password="other secret")
        with pytest.raises(UndeliveredError, match="SMTPAuthenticationError: 535") as trouble:
            await hand_over(Smtp(wrong, name="example.org", timeout=10))
        assert "secret" not in str(trouble.value)
        for other in (read._replace(host="localhost"), read._replace(user=None)):
            with pytest.raises(UndeliveredError):
                await hand_over(Smtp(other, name="example.org", timeout=10))
        assert not server.has_mail()


async def test_a_server_without_starttls_gets_neither_mail_nor_password(
    server: MailServer,
) -> None:
    client = smtp(server.port, user="chatd:secret@", query="?starttls=always")
    with pytest.raises(UndeliveredError, match="STARTTLS"):
        await hand_over(client)
    assert server.commands == []
