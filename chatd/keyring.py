"""The keys of content at rest, and its sealed form: AES-256-GCM, bound to the row it stands in.

A sealed text is text again, so that it stands where plain text stood:

    U+0001, a letter for the purpose, key id ":" version ":" base64(nonce, ciphertext, tag)

No content begins with U+0001 (control characters are refused), so one look tells the two apart. All
that stands in front of the base64 is authenticated, and with it the scope and the id of the row: a
value that was copied elsewhere, or changed, does not open.

Nonces are random, 96 bits. With one key for everything 2^32 texts would be the end (NIST SP 800-38D
8.3); so each scope, a chat session or a conversation with the assistant, has a key of its own,
derived by HKDF-Expand (RFC 5869; the key is random already, so there is nothing to extract). 2^32
texts of one session give two equal nonces with a probability of 2^-33.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from chatd.config import Settings, SettingsError

MARK = "\x01"
PLAIN = "plain"  # the key id of no key: first in the list it ends encryption
KEY_BYTES = 32
NONCE_BYTES = 12
DERIVED_KEYS = 4096  # of scopes, kept: deriving one takes as long as sealing two texts
_DISTINCT = 8  # bytes that differ, at least: random ones have 30 of 32

_KID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HEADER = re.compile(rf"{MARK}([a-z])([A-Za-z0-9_-]{{1,32}}):([0-9]{{1,9}}):")


class Purpose(Enum):
    """What a text is: one is never taken for the other, though both have the same ids.

    Another kind of content is another letter here, and a part of `reseal_messages` in the store.
    """

    MESSAGE = "m"
    EXCERPT = "e"  # what a reply shows of the message that it answers
    AI_MESSAGE = "a"  # a question to the assistant, or an answer
    AI_TITLE = "t"  # of a conversation with the assistant
    AI_PROMPT = "p"  # what its user wishes for that conversation


class Unreadable(Exception):
    """A sealed text that does not open: its key is not there, or it is not this row's text."""


class NoKey(Unreadable):
    """Its key is not there."""


class Slot(NamedTuple):
    """Where a text stands: what it is bound to.

    `scope` has a key of its own: the session of a message, or a conversation with the assistant;
    `row` is the id of the row.
    """

    purpose: Purpose
    scope: UUID
    row: UUID
    version: int = 1


class ContentKey(NamedTuple):
    """One key of content at rest."""

    kid: str
    secret: bytes


class Keyring:
    """The first key seals, all open; without a first key texts are written as they are.

    Example:
        ```python
        keyring = Keyring([ContentKey("k1", os.urandom(32))])
        slot = Slot(Purpose.MESSAGE, session_id, message_id)
        assert keyring.open(slot, keyring.seal(slot, "hello")) == "hello"
        ```
    """

    def __init__(self, keys: Sequence[ContentKey] = (), *, is_plain: bool = False) -> None:
        self._keys = {key.kid: key.secret for key in keys}
        self.first = PLAIN if is_plain or not keys else keys[0].kid
        self._cipher = lru_cache(DERIVED_KEYS)(self._derive)

    @property
    def is_sealing(self) -> bool:
        """Whether what is written is sealed."""
        return self.first != PLAIN

    def fingerprint(self, kid: str) -> str | None:
        """Return what tells a key from another under the same name; it tells nothing else."""
        secret = self._keys.get(kid)
        return None if secret is None else _expand(secret, b"chatd fingerprint", 8).hex()

    def seal(self, slot: Slot, text: str) -> str:
        """Return a text as it is to be stored: sealed with the first key, an empty one empty."""
        if self.first == PLAIN or not text:
            return text
        header = f"{MARK}{slot.purpose.value}{self.first}:{slot.version}:"
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._cipher(self.first, slot.scope)
        data = nonce + cipher.encrypt(nonce, text.encode(), _bound(slot, header))
        return header + binascii.b2a_base64(data, newline=False).decode()

    def open(self, slot: Slot, stored: str) -> str:
        """Return the text of a stored value; one that is not sealed is the text.

        Raises:
            NoKey: there is no key of that name.
            Unreadable: it does not open here; the text says why and holds nothing of the value.
        """
        if not stored.startswith(MARK):
            return stored
        header = _HEADER.match(stored)
        if header is None:
            raise Unreadable("it is not whole")
        purpose, kid, version = header.groups()
        if purpose != slot.purpose.value or int(version) != slot.version:
            raise Unreadable("it is another text's")
        if kid not in self._keys:
            raise NoKey(f"there is no key {kid}")
        try:
            data = binascii.a2b_base64(stored[header.end() :], strict_mode=True)
            nonce, sealed = data[:NONCE_BYTES], data[NONCE_BYTES:]
            text = self._cipher(kid, slot.scope).decrypt(nonce, sealed, _bound(slot, header[0]))
        except (binascii.Error, ValueError, InvalidTag):
            raise Unreadable(
                f"the key {kid} does not open it: changed, or of another row"
            ) from None
        return text.decode()

    def has_key_of(self, stored: str) -> bool:
        """Return whether there is a key of the name that a sealed text tells, or it is plain."""
        header = _HEADER.match(stored)
        return not stored.startswith(MARK) if header is None else header[2] in self._keys

    def is_current(self, stored: str) -> bool:
        """Return whether a stored value is as this keyring writes it; what opens is not asked."""
        header = _HEADER.match(stored)
        if header is None:
            return not stored.startswith(MARK) and (not self.is_sealing or not stored)
        return header[2] == self.first

    def _derive(self, kid: str, scope: UUID) -> AESGCM:
        return AESGCM(_expand(self._keys[kid], b"chatd content " + scope.bytes, KEY_BYTES))


def kid_of(stored: str) -> str:
    """Return the key id of a sealed text, `PLAIN` for what is not sealed."""
    header = _HEADER.match(stored)
    return PLAIN if header is None else header[2]


def version_of(stored: str) -> int:
    """Return the version that a sealed text says it is of, 0 when it says none."""
    header = _HEADER.match(stored)
    return 0 if header is None else int(header[3])


def purpose_of(stored: str) -> str:
    """Return the letter of a sealed text's purpose, "" for what is not sealed."""
    header = _HEADER.match(stored)
    return "" if header is None else header[1]


def load_keyring(settings: Settings) -> Keyring:
    """Return the keyring of the settings.

    Raises:
        SettingsError: a key is not 256 random bits, or its id not one; the text names no secret.
    """
    entries = [entry.get_secret_value().strip() for entry in settings.encryption_keys]
    is_plain = entries[:1] == [PLAIN]
    keys = [_parse(entry, settings) for entry in entries[is_plain:]]
    if len({key.kid for key in keys}) != len(keys):
        msg = "encryption_keys: two keys share a kid"
        raise SettingsError(msg)
    return Keyring(keys, is_plain=is_plain)


def _parse(entry: str, settings: Settings) -> ContentKey:
    kid, colon, secret = entry.partition(":")
    if not colon or kid == PLAIN or not _KID.fullmatch(kid):
        msg = (
            "encryption_keys: each is kid:key, the kid 1 to 32 of A-Z a-z 0-9 _ -; "
            f"only the first may be {PLAIN!r}, which decrypts"
        )
        raise SettingsError(msg)
    try:
        key = binascii.a2b_base64(secret, strict_mode=True)
    except (binascii.Error, ValueError):
        key = b""
    is_weak = len(set(key)) < _DISTINCT and settings.environment == "production"
    if len(key) != KEY_BYTES or is_weak:
        msg = (
            f"encryption_keys: the key {kid!r} is not the base64 of 32 random bytes, such as: "
            "openssl rand -base64 32"
        )
        raise SettingsError(msg)
    return ContentKey(kid, key)


def _expand(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDFExpand(SHA256(), length, info).derive(secret)


def _bound(slot: Slot, header: str) -> bytes:
    return slot.scope.bytes + slot.row.bytes + header.encode()
