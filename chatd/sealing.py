"""Short secrets at rest: AES-256-GCM under a key that is derived from a signing key.

Whoever has the database, a dump or a replica of it, but not the signing keys, cannot read them.
Whoever has the daemon's keys can: it needs the secrets itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from chatd.keys import SigningKey

_NONCE_BYTES = 12  # random: after 2^32 of one key two may be the same (NIST SP 800-38D 8.3)


class Sealer:
    """Seals under the first key, opens what was sealed under any of them."""

    def __init__(self, keys: Sequence[SigningKey], purpose: str) -> None:
        self._secrets = {key.kid: key.secret for key in keys}
        self._purpose = purpose.encode()
        self.key_id = keys[0].kid

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        """Return a secret sealed under `key_id`; it opens only together with `bound_to`."""
        from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415 - see `_derive`
            AESGCM,
        )

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._derive(self.key_id)).encrypt(nonce, plain, bound_to)

    def open(self, sealed: bytes, key_id: str, bound_to: bytes) -> bytes | None:
        """Return what was sealed; None when its key is not there any more, or it was changed."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see `_derive`
        from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415 - as above
            AESGCM,
        )

        if key_id not in self._secrets:
            return None
        nonce, data = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._derive(key_id)).decrypt(nonce, data, bound_to)
        except (InvalidTag, ValueError):  # ValueError: it is too short to be one
            return None

    def _derive(self, key_id: str) -> bytes:
        # Loaded at the first use: a server on which nobody seals anything does not pay for it.
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - see above

        derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=self._purpose)
        return derivation.derive(self._secrets[key_id])
