"""Letters on their way: a bounded queue, a few at once, again with back-off, never lost silently.

They are in memory: what they hold is a secret that the store does not keep. A daemon that stops
tries each that waits once more; who misses a letter asks for another one.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage

import structlog
import trio

from chatd.config import Settings
from chatd.context import WriteLetter
from chatd.errors import Overloaded, StoreBug, StoreError
from chatd.letters import Letter, LetterKind, message_of
from chatd.mail_settings import Sender, read_sender, read_smtp_url
from chatd.metrics import Metrics
from chatd.nurseries.smtp import RefusedError, Smtp, UndeliveredError

WORKERS = 4  # letters handed over at once: what one mail server takes from one peer without asking
PAUSES = (5.0, 20.0, 60.0, 180.0, 600.0)  # seconds before the next try; then the last for ever
JITTER = 0.2  # of a pause, either way: what failed together does not come back together
FINISH_TIMEOUT = 5.0  # seconds for what waits at the stop
RETRY_AFTER = 60.0  # seconds that a refusal tells to wait

log = structlog.get_logger("chatd.mail")


HandOver = Callable[[Letter, EmailMessage], Awaitable[None]]
"""Returns when a letter has been taken; raises UndeliveredError or RefusedError."""


@dataclass(slots=True, eq=False)
class _Mail:
    """One letter that waits, or what writes it."""

    kind: LetterKind
    write: WriteLetter
    until: float  # on Trio's clock: later it is worth nothing
    letter: Letter | None = None
    message: EmailMessage | None = None  # the same for every try, by its Message-ID
    tries: int = 0

    def facts(self) -> dict[str, object]:
        """Return what the log says of it: neither whom it is for nor what it says."""
        name = None if self.message is None else str(self.message["Message-ID"])
        return {"kind": self.kind, "mail": name, "tries": self.tries}


class Mailer:
    """See `chatd.context.Mailer`; made by `open_mailer`."""

    def __init__(
        self,
        hand_over: HandOver,
        sender: Sender,
        now: Callable[[], datetime],
        nursery: trio.Nursery,
        metrics: Metrics,
        queue: int,
    ) -> None:
        self._hand_over = hand_over
        self._sender = sender
        self._now = now
        self._nursery = nursery
        self._count = metrics.mails
        self._queue = queue
        self._held = set[_Mail]()  # waiting, under way, or pausing before the next try
        self._send, self._receive = trio.open_memory_channel[_Mail](queue)
        self._is_empty = trio.Event()
        self._stopping = trio.Event()

    def post(self, kind: LetterKind, write: WriteLetter, *, lifetime: float) -> None:
        """Write a letter and send it behind the caller's back. See `chatd.context.Mailer`."""
        if len(self._held) >= self._queue or self._stopping.is_set():
            self._count.labels("refused").inc()
            log.warning("no room for a mail", kind=kind, waiting=len(self._held))
            msg = "too much mail waits to be sent: try again"
            raise Overloaded(msg, retry_after=RETRY_AFTER)
        if not self._held:
            self._is_empty = trio.Event()
        mail = _Mail(kind, write, trio.current_time() + lifetime)
        self._held.add(mail)
        self._send.send_nowait(mail)  # has room for all that are held

    async def run(self) -> None:
        """Send what comes, one after the other, until cancelled."""
        async for mail in self._receive:
            mail.tries += 1
            await self._try(mail)

    async def finish(self) -> None:
        """Take nothing more, and try what is left once more, for `FINISH_TIMEOUT` at most."""
        self._stopping.set()
        with trio.move_on_after(FINISH_TIMEOUT):
            if self._held:
                await self._is_empty.wait()

    def lose_all(self) -> None:
        """Give up what is left, and say so."""
        for mail in list(self._held):
            self._lose(mail, "the daemon stops")

    async def _try(self, mail: _Mail) -> None:
        try:
            await self._process(mail)
        except RefusedError as refusal:
            self._lose(mail, str(refusal))
        except UndeliveredError as trouble:
            self._later(mail, str(trouble))
        except StoreError as trouble:
            if isinstance(trouble, StoreBug):
                self._fail(mail, trouble)
            else:
                self._later(mail, f"store: {type(trouble).__name__}")
        except Exception as bug:  # noqa: BLE001 - one letter's, not the daemon's
            self._fail(mail, bug)

    async def _process(self, mail: _Mail) -> None:
        if mail.message is None:
            mail.letter = await mail.write()
            if mail.letter is None:
                self._drop(mail)
                return
            mail.message = message_of(mail.letter, self._sender, self._now())
        assert mail.letter is not None  # noqa: S101 - written with the message
        await self._hand_over(mail.letter, mail.message)
        self._drop(mail)
        self._count.labels("sent").inc()
        log.info("mail sent", **mail.facts())

    def _later(self, mail: _Mail, why: str) -> None:
        """Try again after a pause, if the letter is then worth something."""
        pause = PAUSES[min(mail.tries, len(PAUSES)) - 1]
        pause *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        if self._stopping.is_set() or trio.current_time() + pause >= mail.until:
            self._lose(mail, why)
            return
        self._count.labels("retried").inc()
        log.warning("mail waits", **mail.facts(), seconds=round(pause), error=why)
        self._nursery.start_soon(self._again, mail, pause)

    async def _again(self, mail: _Mail, pause: float) -> None:
        with trio.move_on_after(pause):
            await self._stopping.wait()
        self._send.send_nowait(mail)

    def _fail(self, mail: _Mail, bug: Exception) -> None:
        log.error("bug", **mail.facts(), exc_info=bug)
        self._lose(mail, "a bug")

    def _lose(self, mail: _Mail, why: str) -> None:
        self._drop(mail)
        self._count.labels("lost").inc()
        log.warning("mail lost", **mail.facts(), error=why)

    def _drop(self, mail: _Mail) -> None:
        self._held.discard(mail)
        if not self._held:
            self._is_empty.set()


@asynccontextmanager
async def open_mailer(
    hand_over: HandOver,
    sender: Sender,
    *,
    now: Callable[[], datetime],
    metrics: Metrics,
    queue: int,
) -> AsyncIterator[Mailer]:
    """Send letters for the length of the block; what waits at its end is tried once more."""
    async with trio.open_nursery() as nursery:
        mailer = Mailer(hand_over, sender, now, nursery, metrics, queue)
        for _ in range(WORKERS):
            nursery.start_soon(mailer.run)
        try:
            yield mailer
            await mailer.finish()
        finally:
            mailer.lose_all()
        nursery.cancel_scope.cancel(reason="the daemon stops")


@asynccontextmanager
async def open_mail(
    settings: Settings, *, now: Callable[[], datetime], metrics: Metrics
) -> AsyncIterator[Mailer | None]:
    """Send mail as the settings say; None when they say nothing of it and this is production."""
    hand_over: HandOver
    if settings.smtp_url is not None:
        assert settings.mail_from is not None  # noqa: S101 - the settings have seen to it
        sender = read_sender(settings.mail_from)
        server = read_smtp_url(settings.smtp_url.get_secret_value())
        hand_over = Smtp(server, name=sender.domain, timeout=settings.smtp_timeout).hand_over
    elif settings.environment == "development":
        sender, hand_over = Sender("chatd", "chatd@localhost.localdomain"), show
    else:
        yield None
        return
    async with open_mailer(
        hand_over, sender, now=now, metrics=metrics, queue=settings.mail_queue
    ) as mailer:
        yield mailer


async def show(letter: Letter, _message: EmailMessage) -> None:
    """Log a letter with its link, a secret: in development, where there is nobody to send it to."""
    await trio.lowlevel.checkpoint()
    log.info("mail", kind=letter.kind, to=letter.to, link=letter.link)
