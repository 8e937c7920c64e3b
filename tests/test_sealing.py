"""Secrets at rest: sealed under one key, opened by any that is known, bound to what they are of."""

from __future__ import annotations

import pytest

from chatd.keys import SigningKey
from chatd.sealing import Sealer

ONE, TWO = SigningKey("k1", b"1" * 40), SigningKey("k2", b"2" * 40)


def test_what_was_sealed_is_opened_and_is_not_what_is_stored() -> None:
    sealer = Sealer([ONE], "test")
    sealed = sealer.seal(b"a secret", b"ann")
    assert b"a secret" not in sealed
    assert sealer.open(sealed, sealer.key_id, b"ann") == b"a secret"
    assert sealer.seal(b"a secret", b"ann") != sealed


@pytest.mark.parametrize("position", [0, 11, 12, 20, -1])
def test_what_was_changed_is_not_opened(position: int) -> None:
    sealer = Sealer([ONE], "test")
    sealed = bytearray(sealer.seal(b"a secret", b"ann"))
    sealed[position] ^= 1
    assert sealer.open(bytes(sealed), "k1", b"ann") is None


def test_what_is_somebody_elses_or_too_short_or_for_something_else_is_not_opened() -> None:
    sealer = Sealer([ONE], "test")
    sealed = sealer.seal(b"a secret", b"ann")
    assert sealer.open(sealed, "k1", b"ben") is None
    assert sealer.open(sealed[:5], "k1", b"ann") is None
    assert sealer.open(b"", "k1", b"ann") is None
    assert Sealer([ONE], "another purpose").open(sealed, "k1", b"ann") is None


def test_the_first_key_seals_and_every_known_one_opens() -> None:
    sealed = Sealer([ONE], "test").seal(b"a secret", b"ann")
    rotated = Sealer([TWO, ONE], "test")
    assert rotated.key_id == "k2"
    assert rotated.open(sealed, "k1", b"ann") == b"a secret"
    assert Sealer([TWO], "test").open(sealed, "k1", b"ann") is None
    disguised = Sealer([SigningKey("k1", TWO.secret)], "test")
    assert disguised.open(sealed, "k1", b"ann") is None
