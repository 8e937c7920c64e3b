"""A real mail server for tests, aiosmtpd in a thread of its own, that can be told to misbehave."""

from __future__ import annotations

import asyncio
import email
import re
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from typing import Any, Literal, cast

import trio
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

OK = "250 OK"
Stage = Literal["MAIL", "RCPT", "DATA"]
_LINK = re.compile(r"https?://\S+#token=([A-Za-z0-9_-]{43})$", re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    """A mail that was taken."""

    sender: str
    to: list[str]
    message: EmailMessage
    is_encrypted: bool
    user: str | None

    @property
    def text(self) -> str:
        """What it says."""
        return str(self.message.get_content()).replace("\r\n", "\n")

    @property
    def token(self) -> str:
        """The secret of its link."""
        [token] = _LINK.findall(self.text)
        return str(token)

    @property
    def page(self) -> str:
        """The page that its link leads to."""
        found = _LINK.search(self.text)
        assert found is not None
        return found.group(0).partition("#")[0]


@dataclass
class MailServer:
    """The server; made by `open_mail_server`.

    Attributes:
        script: what it does with the next mails, one after the other, and at which command: an
            answer, "hang", or "close" (the connection, without an answer). Then it takes them.
        seen: how many of each command it has had.
    """

    port: int
    _mails: trio.MemoryReceiveChannel[Mail]
    script: deque[tuple[Stage, str]] = field(default_factory=deque)
    commands: list[str] = field(default_factory=list)

    async def mail(self) -> Mail:
        """Wait for the next mail that is taken."""
        return await self._mails.receive()

    def has_mail(self) -> bool:
        """Whether there is one that nobody has read."""
        return self._mails.statistics().current_buffer_used > 0


class _Handler:
    """What aiosmtpd asks."""

    def __init__(self, *, needs_login: bool) -> None:
        self.needs_login = needs_login
        self.server: MailServer
        self.send: trio.MemorySendChannel[Mail]
        self.token: trio.lowlevel.TrioToken

    async def _do(self, stage: Stage, smtp: Any) -> str | None:
        self.server.commands.append(stage)
        if not self.server.script or self.server.script[0][0] != stage:
            return None
        _, what = self.server.script.popleft()
        if what == "hang":
            await asyncio.Event().wait()
        if what == "close":
            smtp.transport.abort()
            await asyncio.Event().wait()
        return what

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, smtp: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._do("MAIL", smtp)
        if self.needs_login and not session.authenticated:
            return "530 5.7.0 who are you"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return answer or OK

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, smtp: Any, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._do("RCPT", smtp)
        if answer is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return answer or OK

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, smtp: Any, session: Session, envelope: Envelope
    ) -> str:
        answer = await self._do("DATA", smtp)
        if answer is not None:
            return answer
        content = cast("bytes", envelope.content)
        message = email.message_from_bytes(content, policy=policy.default)
        login: Any = session.auth_data
        mail = Mail(
            str(envelope.mail_from),
            list(envelope.rcpt_tos),
            message,
            smtp.transport.get_extra_info("sslcontext") is not None,
            None if login is None else login.login.decode(),
        )
        self.token.run_sync_soon(self.send.send_nowait, mail)
        return OK


def _authenticate(
    _server: Any, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
) -> AuthResult:
    is_known = (data.login, data.password) == (b"chatd", b"pass word")
    return AuthResult(success=is_known, handled=False, auth_data=data if is_known else None)


@asynccontextmanager
async def open_mail_server(
    *,
    tls: ssl.SSLContext | None = None,
    is_tls_at_once: bool = False,
    needs_login: bool = False,
    port: int = 0,
) -> AsyncIterator[MailServer]:
    """Run a mail server for the length of the block, on a free port of this machine.

    Args:
        tls: with it the server has STARTTLS, and requires it.
        is_tls_at_once: TLS from the first byte instead.
        needs_login: takes mail from the user `chatd` with the password `pass word` alone.
    """
    handler = _Handler(needs_login=needs_login)
    handler.send, receive = trio.open_memory_channel[Mail](100)
    handler.token = trio.lowlevel.current_trio_token()
    started, bound = threading.Event(), list[int]()
    stops: list[Callable[[], object]] = []

    def make() -> SMTP:
        return SMTP(
            handler,
            loop=asyncio.get_running_loop(),
            hostname="mx.test",
            tls_context=None if is_tls_at_once else tls,
            require_starttls=tls is not None and not is_tls_at_once,
            authenticator=_authenticate,
            auth_require_tls=not is_tls_at_once,
            enable_SMTPUTF8=False,
        )

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        listener = await loop.create_server(
            make, "127.0.0.1", port, ssl=tls if is_tls_at_once else None
        )
        bound.append(listener.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports that were aborted close

    def run() -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    await trio.to_thread.run_sync(started.wait, 10)
    handler.server = MailServer(bound[0], receive)
    try:
        yield handler.server
    finally:
        stops[0]()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await trio.to_thread.run_sync(thread.join, 10)
