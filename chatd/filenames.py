"""Names of files, which people choose: cleaned once, and written so that no header breaks. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal
from urllib.parse import quote

MAX_NAME = 255  # characters: what file systems take, four times over in bytes

# What moves or hides text: controls, directions (U+202E makes `exe.png` of `gnp.exe`), line ends of
# Unicode, characters without a width. Surrogates, which UTF-8 cannot carry.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# RFC 6266 appendix D: a quote, a backslash and a percent sign are read in different ways.
_NOT_PLAIN = re.compile(r'[^\x20-\x7e]|["\\%]')
_ATTR_CHAR = "!#$&+-.^_`|~"  # RFC 8187 3.2.1, beside letters and digits


def clean_file_name(text: str) -> str:
    """Return a file's name as it is kept: NFC, one line, no folders, nothing hidden; or ValueError.

    What stands before the last separator is dropped, as a browser that sends a whole path means it.
    """
    name = re.split(r"[/\\]", _HIDDEN.sub("", unicodedata.normalize("NFC", text)))[-1]
    name = " ".join(name.split())
    if name.strip(".") == "":  # also `..`
        msg = "is no name of a file"
        raise ValueError(msg)
    if len(name) > MAX_NAME:
        msg = "is too long"
        raise ValueError(msg)
    return name


def disposition(kind: Literal["inline", "attachment"], name: str) -> str:
    """Return a Content-Disposition for a clean name: ASCII for old readers, all of it for others.

    RFC 6266 4.3 and RFC 8187.
    """
    plain = _NOT_PLAIN.sub("_", name)
    full = quote(name, safe=_ATTR_CHAR)
    header = f'{kind}; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{full}"
