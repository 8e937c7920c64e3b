"""One-time codes of an authenticator (RFC 6238), and recovery codes. Pure: time comes in."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from datetime import datetime
from hmac import compare_digest
from uuid import UUID

import pyotp

STEP = 30  # seconds that a code is shown for; with six digits and SHA-1 what every app takes
WINDOW = 1  # steps before and after: a phone's clock is off, a person types slowly
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10  # 80 bits: no slow hash is needed
_FILLING = re.compile(r"[\s-]+")


def new_secret() -> str:
    """Return 160 random bits in base32, as RFC 4226 4 wants them."""
    return pyotp.random_base32(length=32)


def provisioning_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the `otpauth:` URI that an authenticator reads, mostly as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def matching_step(secret: str, code: str, now: datetime, *, after: int = 0) -> int | None:
    """Return the time step of a code, if it is of one in the window and later than `after`."""
    authenticator = pyotp.TOTP(secret)
    current = int(now.timestamp()) // STEP
    found = None
    for step in range(current - WINDOW, current + WINDOW + 1):  # all of them: the same time
        fits = compare_digest(authenticator.generate_otp(step), code)
        if fits and step > after and found is None:
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Return fresh recovery codes: groups of four, to be written down."""
    codes = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
        codes.append("-".join(text[start : start + 4] for start in range(0, len(text), 4)))
    return codes


def hash_recovery_code(user_id: UUID, code: str) -> bytes:
    """Return what the store keeps of a recovery code, however it was typed."""
    plain = _FILLING.sub("", code).lower()
    return hashlib.sha256(user_id.bytes + plain.encode()).digest()
