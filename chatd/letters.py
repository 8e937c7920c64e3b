"""The letters that chatd writes, as text and as MIME. Pure: time comes in.

A letter says nothing that somebody else chose, but the new address in a notice of its change: who
opens an account with the address of another cannot have chatd write to them what they like. It is
plain text, which every program shows and none has to be trusted with.
"""

from __future__ import annotations

import textwrap
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from functools import partial
from typing import Literal, NamedTuple

from email_validator import validate_email

from chatd.mail_settings import Sender

LetterKind = Literal[
    "verification",
    "email_change",
    "address_taken",
    "password_reset",
    "password_changed",
    "email_change_asked",
    "email_changed",
    "identity_linked",
]
_MINUTE, _HOUR = 60, 3600
_MAX_LINE = 998  # RFC 5322 2.1.1


class Letter(NamedTuple):
    """One letter to one address; `link` is the secret in it, if it has one."""

    kind: LetterKind
    to: str
    subject: str
    text: str
    link: str | None = None


def verification(to: str, site: str, link: str, ttl: float) -> Letter:
    """Return the letter that asks who has opened an account to show that they read it."""
    text = _text(
        f"An account at {site} was opened with this address.",
        f"If it is yours, open this link within {_duration(ttl)}, so that we know that you can "
        "be reached here:",
        link,
        "If you have not opened an account there, do not open the link: without it nothing "
        "says that the address is theirs.",
    )
    return Letter("verification", to, f"Is this your address? ({_name(site)})", text, link)


def email_change(to: str, site: str, link: str, ttl: float) -> Letter:
    """Return the letter to a new address, whose link makes it the account's."""
    text = _text(
        f"Somebody wants this address for their account at {site}.",
        f"If that is you, open this link within {_duration(ttl)}, and the account has it from "
        "then on:",
        link,
        "If it is not you, do nothing: the account keeps the address that it has.",
    )
    return Letter("email_change", to, f"Your new address ({_name(site)})", text, link)


def address_taken(to: str, site: str) -> Letter:
    """Return the letter to an address that somebody wants, and that has an account."""
    text = _text(
        f"Somebody wants this address for their account at {site}, but there is an account "
        "with it already.",
        "If that was you, log in to that account, or end it first. If it was not you, do "
        "nothing: nothing has changed.",
    )
    return Letter("address_taken", to, f"This address has an account ({_name(site)})", text)


def password_reset(to: str, site: str, link: str, ttl: float) -> Letter:
    """Return the letter whose link sets a new password."""
    text = _text(
        f"Somebody asked for a new password for the account with this address at {site}.",
        f"If that was you, open this link within {_duration(ttl)} and choose one:",
        link,
        "It can be used once, and only the newest counts. You are then logged out everywhere.",
        "If it was not you, do nothing: the password stays as it is.",
    )
    return Letter("password_reset", to, f"A new password ({_name(site)})", text, link)


def password_changed(to: str, site: str) -> Letter:
    """Return the notice of a new password."""
    text = _text(
        f"The password of your account at {site} was changed, and your other devices were "
        "logged out.",
        'If it was not you, ask for a new password at once: "forgot password" where you log '
        "in. That logs everybody else out.",
    )
    return Letter("password_changed", to, f"Your password was changed ({_name(site)})", text)


def email_change_asked(to: str, site: str, new: str) -> Letter:
    """Return the notice to the old address that a new one is on its way."""
    text = _text(
        f"Somebody who is logged in to your account at {site} wants its address to be",
        new,
        "from now on. It is when a link that we have sent there is used.",
        'If it was not you, ask for a new password at once: "forgot password" where you log '
        "in. That ends the link, and logs everybody else out.",
    )
    return Letter("email_change_asked", to, f"Your address is to change ({_name(site)})", text)


def email_changed(to: str, site: str, new: str) -> Letter:
    """Return the notice to the old address that it is the account's no more."""
    text = _text(
        f"The address of your account at {site} is now",
        new,
        "and this one is not connected to it any more.",
        f"If it was not you, turn to those who run {site}.",
    )
    return Letter("email_changed", to, f"Your address has changed ({_name(site)})", text)


def identity_linked(to: str, site: str, issuer: str) -> Letter:
    """Return the notice of a second way to log in."""
    text = _text(
        f"From now on your account at {site} can also be used by signing in at",
        issuer,
        "with the account there that has this address.",
        "If it was not you, ask for a new password there and here.",
    )
    return Letter("identity_linked", to, f"A new way to sign in ({_name(site)})", text)


def message_of(letter: Letter, sender: Sender, at: datetime) -> EmailMessage:
    """Return a letter as it leaves.

    Raises:
        ValueError: the address would be more than one header line.
    """
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = sender.header()
    message["To"] = mailbox(letter.to)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(at)
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nothing answers it by itself
    message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    # By itself the library would break a link in two, for the sake of lines below 78 characters.
    is_plain = letter.text.isascii() and max(map(len, letter.text.split("\n"))) <= _MAX_LINE
    message.set_content(letter.text, cte="7bit" if is_plain else "quoted-printable")
    return message


def mailbox(address: str) -> str:
    """Return an address as servers know it: the domain in ASCII where the rest is."""
    return validate_email(address, check_deliverability=False).ascii_email or address


def _text(*paragraphs: str) -> str:
    """Return paragraphs in lines of ordinary length; a link stays whole."""
    wrap = partial(textwrap.fill, width=72, break_long_words=False, break_on_hyphens=False)
    return "\n\n".join(map(wrap, paragraphs)) + "\n"


def _name(site: str) -> str:
    return site.partition("://")[2]


def _duration(seconds: float) -> str:
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} minutes"
    return f"{seconds / _HOUR:.0f} hours"
