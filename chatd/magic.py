"""What the bytes of a file are, and whether a browser may show them. Pure.

What a client says of a file is a claim: it is held against the first bytes. What is shown in a
browser is a short list of types that bytes have proved; all else is for saving, as bytes.
"""

from __future__ import annotations

import re
from typing import Final

import filetype

HEAD_BYTES: Final = 8192  # what is looked at: `filetype` needs 262, a text shows itself in more
BYTES: Final = "application/octet-stream"

# Shown in place: none of these runs anything, and the answer is sandboxed besides.
_SHOWN: Final = frozenset(
    (
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
        *("video/mp4", "video/webm", "audio/mpeg", "audio/mp4", "audio/ogg", "audio/x-wav"),
        *("audio/aac", "audio/x-flac"),
    )
)
# Saved under its own type, so that a phone opens it with the right program.
_SAVED: Final = frozenset(("application/pdf", "application/zip"))

# Bytes that begin otherwise are none of these. Of other types a good file may look like nothing.
_FIXED: Final = frozenset(
    ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "application/zip")
)

# One container carries many types: what is in it, its first bytes do not tell. As those on the left
# are found, so those that fit on the right may be said.
_OFFICE: Final = r"vnd\.(openxmlformats-officedocument|oasis\.opendocument)\..+"
_OTHER_ZIP: Final = r"vnd\.(android\.package-archive|apple\.[a-z]+|ms-.+\.macroenabled\.12)"
_FAMILIES: Final = tuple(
    (re.compile(found), re.compile(said))
    for found, said in (
        (
            rf"application/(zip|epub\+zip|{_OFFICE})",
            rf"application/(zip|epub\+zip|java-archive|{_OFFICE}|{_OTHER_ZIP})",
        ),
        (
            r"(video|audio)/(mp4|quicktime|3gpp|x-m4v)",
            r"(video|audio)/(mp4|quicktime|3gpp2?|x-m4[av]|m4a)",
        ),
        (r"video/(webm|x-matroska)", r"(video|audio)/(webm|x-matroska|matroska)"),
        (r"audio/ogg", r"(audio|video|application)/(ogg|opus|vorbis)"),
        (r"image/apng", r"image/png"),
    )
)
# Other names of the same, as browsers send them.
_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "audio/mp3": "audio/mpeg",
    "audio/wav": "audio/x-wav",
    "audio/wave": "audio/x-wav",
    "audio/vnd.wave": "audio/x-wav",
    "audio/flac": "audio/x-flac",
    "audio/x-aac": "audio/aac",
    "application/vnd.rar": "application/x-rar-compressed",
    "application/x-zip-compressed": "application/zip",
}
_TEXT: Final = re.compile(
    r"text/.+|application/(json|xml|javascript|x-sh|x-yaml|toml|sql|.+\+(json|xml))|image/svg\+xml"
)


class WrongTypeError(Exception):
    """The bytes are not what they were said to be."""


def served_type(declared: str, head: bytes) -> str | None:
    """Return as what a file may be served; None: as bytes, to be saved.

    Args:
        declared: its type, in lower case and without parameters.
        head: its first `HEAD_BYTES` bytes, or all there are.

    Raises:
        WrongTypeError: it is something else than it was said to be.
    """
    said = _ALIASES.get(declared, declared)
    if said == BYTES:
        return None
    if _TEXT.fullmatch(said):  # has no magic, and may begin with another's: "BMW" is no bitmap
        if b"\0" in head:
            msg = "this is no text"
            raise WrongTypeError(msg)
        return None
    found = filetype.guess_mime(head)
    if found is None and said not in _FIXED:
        return None
    if found == said or _is_family(found, said):
        if found == "image/apng":
            return said
        return found if found in _SHOWN or (found == said and said in _SAVED) else None
    if said in _FIXED or found in _SHOWN or found in _FIXED or said in _SHOWN:
        msg = f"this is {found or 'something else'}, not {declared}"
        raise WrongTypeError(msg)
    return None  # nothing that a browser would show, whatever it is


def _is_family(found: str | None, said: str) -> bool:
    return found is not None and any(
        of_found.fullmatch(found) and of_said.fullmatch(said) for of_found, of_said in _FAMILIES
    )


def is_shown(served: str | None) -> bool:
    """Return whether a browser may show this, rather than save it."""
    return served in _SHOWN
