"""The keys that sign access tokens: from the settings, or made once in the data folder."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from chatd.config import Settings, SettingsError

MIN_KEY_BYTES = 32  # HS256: a key shorter than its hash is the weak part (RFC 7518 3.2)
SIGNING_KEY_FILE = "signing.key"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of the access tokens; `secret` has at least 32 bytes outside development."""

    kid: str
    secret: bytes


def load_signing_keys(settings: Settings, *, make: bool = True) -> list[SigningKey]:
    """Return the signing keys; a fresh install makes one in its data folder, mode 0600.

    With `make` False nothing is written: without any key the list is empty.

    Raises:
        SettingsError: a key is weak, outside development.
    """
    if settings.signing_keys:
        keys = [_parse_key(key.get_secret_value()) for key in settings.signing_keys]
    elif make or (settings.data_dir / SIGNING_KEY_FILE).exists():
        keys = [_parse_key(_stored_key(settings.data_dir))]
    else:
        keys = []
    if len({key.kid for key in keys}) != len(keys):
        msg = "signing_keys: two keys share a kid"
        raise SettingsError(msg)
    if settings.environment == "production":
        for key in keys:
            if len(key.secret) < MIN_KEY_BYTES or len(set(key.secret)) < MIN_KEY_BYTES // 4:
                msg = (
                    f"signing_keys: the key {key.kid!r} is weak; take 32 random bytes or more, "
                    "such as: python3 -c 'import secrets; print(secrets.token_hex(32))'"
                )
                raise SettingsError(msg)
    return keys


def _parse_key(text: str) -> SigningKey:
    kid, colon, secret = text.strip().partition(":")
    if not colon or not kid or not secret:
        msg = "signing_keys: each key is kid:secret"
        raise SettingsError(msg)
    return SigningKey(kid, secret.encode())


def _stored_key(data_dir: Path) -> str:
    path = data_dir / SIGNING_KEY_FILE
    try:
        return path.read_text()
    except FileNotFoundError:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = f"k{secrets.token_hex(4)}:{secrets.token_urlsafe(48)}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another chatd was first: its key is the key
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key
