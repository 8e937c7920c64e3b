"""How mail leaves: the settings `smtp_url` and `mail_from`, read and checked. Pure."""

from __future__ import annotations

from email.utils import formataddr, parseaddr
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from email_validator import EmailNotValidError, validate_email

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PORTS = {"smtp": 587, "smtps": 465}  # submission (RFC 6409), and within TLS (RFC 8314)


class SmtpServer(NamedTuple):
    """The server that takes our mail; `user` is None where it asks for none."""

    host: str
    port: int
    encryption: Literal["TLS", "STARTTLS", "NONE"]
    user: str | None
    password: str


class Sender(NamedTuple):
    """Whose name and address our mail has."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The domain of the address."""
        return self.address.rpartition("@")[2]

    def header(self) -> str:
        """Return the value of `From`."""
        return formataddr((self.name, self.address))


def read_smtp_url(url: str) -> SmtpServer:
    """Return what `smtp[s]://[user:password@]host[:port][?starttls=always|never]` says.

    `smtp` asks for STARTTLS, on this machine not unless told so; a password goes nowhere else
    without encryption.

    Raises:
        ValueError: it says something else; the text holds nothing of it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        asked = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        host, port, asked = None, None, {}
    if host is None or parts.scheme not in _PORTS or parts.path.strip("/") or parts.fragment:
        msg = "smtp_url is smtp://user:password@host:port or smtps://user:password@host:port"
        raise ValueError(msg)
    wish = asked.pop("starttls", [None if host in LOOPBACK else "always"])[0]
    if asked or wish not in {"always", "never", None} or port == 0:
        msg = "smtp_url takes nothing but ?starttls=always or ?starttls=never"
        raise ValueError(msg)
    encryption: Literal["TLS", "STARTTLS", "NONE"] = "STARTTLS" if wish == "always" else "NONE"
    if parts.scheme == "smtps":
        encryption = "TLS"
    if encryption == "NONE" and parts.username and host not in LOOPBACK:
        msg = "smtp_url has a password, which does not leave this machine without encryption"
        raise ValueError(msg)
    return SmtpServer(
        host=host,
        port=port or _PORTS[parts.scheme],
        encryption=encryption,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password or ""),
    )


def read_sender(text: str) -> Sender:
    """Return whose name and address `name <address>` is, or an address alone.

    Raises:
        ValueError: it is neither.
    """
    name, address = parseaddr(text)
    try:
        if not text.isprintable():
            raise ValueError
        found = validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except (ValueError, EmailNotValidError):
        msg = "mail_from is an address, or: Name <address>"
        raise ValueError(msg) from None
    return Sender(name, found.ascii_email or address)
