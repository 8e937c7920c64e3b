"""Hands a letter to a mail server: the standard library's smtplib, in a thread.

Whatever the server does costs one thread for `smtp_timeout`, and nobody but the letter: at its end
the socket is shut down, which wakes the thread from any read or write.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import NoReturn

import trio

from chatd.letters import Letter
from chatd.mail_settings import SmtpServer

THREADS = 8  # twice as many as hand over at once: those given up are still about to end
_PERMANENT = 500  # RFC 5321 4.2.1: from here on the same again is refused again


class UndeliveredError(Exception):
    """The letter was not taken; it may be later. The text tells the operator why."""


class RefusedError(Exception):
    """The letter will never be taken. The text tells the operator why."""


class Smtp:
    """One mail server.

    Args:
        server: where it is, and who we are there.
        name: ours, for its greeting.
        timeout: seconds for one letter.
    """

    def __init__(self, server: SmtpServer, *, name: str, timeout: float) -> None:
        self._server = server
        self._name = name
        self._timeout = timeout
        self._tls = ssl.create_default_context()
        self._limiter = trio.CapacityLimiter(THREADS)

    async def hand_over(self, _letter: Letter, message: EmailMessage) -> None:
        """Return when the server has taken a letter.

        Cancelled, or over its time, it may have been taken or not.

        Raises:
            UndeliveredError, RefusedError: it has not.
        """
        attempt = _Attempt(self._server, self._name, self._timeout, self._tls)
        try:
            with trio.fail_after(self._timeout):
                await trio.to_thread.run_sync(
                    attempt.run, message, limiter=self._limiter, abandon_on_cancel=True
                )
        except trio.TooSlowError:
            if attempt.is_taken:
                return
            msg = f"not done within {self._timeout:g} s"
            raise UndeliveredError(msg) from None
        finally:
            attempt.give_up()


class _Attempt:
    """One connection for one letter; `run` in a thread, `give_up` outside of it."""

    def __init__(self, server: SmtpServer, name: str, timeout: float, tls: ssl.SSLContext) -> None:
        self.is_taken = False  # the server has said so; what comes behind it is politeness
        self._server = server
        self._name = name
        self._timeout = timeout
        self._tls = tls
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._is_given_up = False

    def give_up(self) -> None:
        """End the connection, whatever the thread is waiting for."""
        with self._lock:
            self._is_given_up = True
            if self._handle is not None:
                with contextlib.suppress(OSError):  # the server has ended it
                    self._handle.shutdown(socket.SHUT_RDWR)

    def run(self, message: EmailMessage) -> None:
        """Connect, say who we are, hand over."""
        try:
            smtp = _Client(self._server, self._name, self._timeout, self._tls, self._watch)
            try:
                self._greet(smtp)
                self._hand_over(smtp, message)
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
            finally:
                smtp.close()
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            raise UndeliveredError(_words(error)) from None
        finally:
            with self._lock:
                if self._handle is not None:
                    self._handle.close()
                    self._handle = None

    def _watch(self, connection: socket.socket) -> None:
        """Keep a handle on a connection: TLS takes the socket itself away."""
        with self._lock:
            if self._is_given_up:
                msg = "given up"
                raise TimeoutError(msg)
            self._handle = connection.dup()

    def _greet(self, smtp: smtplib.SMTP) -> None:
        if self._server.encryption == "STARTTLS":
            smtp.starttls(context=self._tls)
        smtp.ehlo_or_helo_if_needed()
        if self._server.user is not None:
            smtp.login(self._server.user, self._server.password)

    def _hand_over(self, smtp: smtplib.SMTP, message: EmailMessage) -> None:
        recipient = str(message["To"])
        if not recipient.isascii() and not smtp.has_extn("smtputf8"):
            msg = "the server takes no addresses beyond ASCII"
            raise RefusedError(msg)
        try:
            smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as refusal:
            [(code, text)] = refusal.recipients.values()
            _judge(code, text, recipient)
        except smtplib.SMTPDataError as refusal:
            _judge(refusal.smtp_code, refusal.smtp_error, recipient)
        self.is_taken = True


class _Client(smtplib.SMTP):
    """smtplib's client, within TLS where the server wants it, whose connection can be watched."""

    def __init__(
        self,
        server: SmtpServer,
        name: str,
        timeout: float,
        tls: ssl.SSLContext,
        watch: Callable[[socket.socket], None],
    ) -> None:
        self._tls = tls if server.encryption == "TLS" else None
        self._watch = watch
        super().__init__(server.host, server.port, name, timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Return a new connection, as `SMTP_SSL` does; `connect` calls this."""
        connection = socket.create_connection((host, port), timeout)
        try:
            self._watch(connection)
            if self._tls is not None:
                return self._tls.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise
        return connection


def _judge(code: int, text: bytes | str, recipient: str) -> NoReturn:
    words = f"{code} {_text(text)}".replace(recipient, "<the recipient>")
    raise RefusedError(words) if code >= _PERMANENT else UndeliveredError(words)


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}: {error.smtp_code} {_text(error.smtp_error)}"
    return f"{type(error).__name__}: {_text(str(error))}"


def _text(text: bytes | str) -> str:
    """Return what a server said, in one line of bounded length."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join("".join(each if each.isprintable() else " " for each in words).split())[:200]
