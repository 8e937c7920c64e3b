"""Lines for a terminal, made of text that other people wrote."""

from __future__ import annotations

import re
from datetime import datetime

from chatd.client import JsonObject

SHORT_ID = 8  # characters of an id that stand for a name that nobody gave

# ECMA-48: control sequences, then strings (titles, clipboard, hyperlinks) up to their end.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What reorders or hides the rest of a line, and surrogates, which cannot be encoded.
_DECEPTIVE = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_BREAKS = re.compile(r"\r\n|[\r\n\u2028\u2029\x85]")


def clean(text: object) -> str:
    """Return text that a terminal shows and does not obey, line breaks kept as newlines.

    Sequences go first, as a whole; every control character that is left goes after them, so that
    nothing can be put together from the pieces.
    """
    lined = _BREAKS.sub("\n", str(text))
    shown = _CONTROLS.sub("", _SEQUENCES.sub("", lined))
    return _DECEPTIVE.sub("", shown).replace("\t", "    ")


def one_line(text: object) -> str:
    """Return clean text on one line: a name cannot fake a message."""
    return " ".join(clean(text).split())


def clock_of(message: JsonObject) -> str:
    """Return when a message was stored, as hours and minutes here."""
    try:
        at = datetime.fromisoformat(str(message.get("createdAt")))
    except ValueError:
        return "--:--"
    return at.astimezone().strftime("%H:%M")


def message_lines(message: JsonObject) -> str:
    """Return a message; its second and later lines are indented, so that none fakes a sender."""
    sender = message.get("sender")
    name = one_line(sender.get("name", "?")) if isinstance(sender, dict) else "?"
    content = clean(message.get("content", "")).replace("\n", "\n        ")
    files = "".join(f" [{clean(file['name'])}]" for file in message.get("attachments", ()))
    return f"[{clock_of(message)}] {name}: {content}{files}"


def session_line(number: int, session: JsonObject, title: str) -> str:
    """Return a line of the session list."""
    unread = session.get("unreadCount") or 0
    note = f"  ({unread} unread)" if unread else ""
    return f"{number:3}  {title}  [{one_line(session.get('kind', '?')).lower()}]{note}"


def short(identifier: object) -> str:
    """Return enough of an id to recognise it."""
    return one_line(identifier)[:SHORT_ID]
