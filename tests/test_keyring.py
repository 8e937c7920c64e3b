"""The keys of content at rest: what is sealed, what opens, what is refused at the start."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.config import Settings, SettingsError, describe, load_settings
from chatd.keyring import (
    MARK,
    ContentKey,
    Keyring,
    Purpose,
    Slot,
    Unreadable,
    load_keyring,
)

SESSION, MESSAGE = uuid4(), uuid4()
SLOT = Slot(Purpose.MESSAGE, SESSION, MESSAGE, 3)
K1 = ContentKey("k1", os.urandom(32))
K2 = ContentKey("k2", os.urandom(32))
RING = Keyring([K1])


def settings_of(*keys: str, environment: str = "production") -> Settings:
    return load_settings(encryption_keys=",".join(keys), environment=environment)


def entry(kid: str, size: int = 32) -> str:
    return f"{kid}:{base64.b64encode(os.urandom(size)).decode()}"


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and not text.startswith(MARK)))
def test_any_text_opens_as_it_was_sealed(text: str) -> None:
    stored = RING.seal(SLOT, text)
    assert RING.open(SLOT, stored) == text
    assert stored.startswith(f"{MARK}mk1:3:")
    assert len(stored) <= len("Xmk1:3:") + (len(text.encode()) + 28 + 2) // 3 * 4


def test_no_two_seals_are_equal_and_an_empty_text_stays_empty() -> None:
    assert len({RING.seal(SLOT, "same") for _ in range(100)}) == 100
    assert RING.seal(SLOT, "") == ""


@pytest.mark.parametrize(
    "other",
    [
        SLOT._replace(scope=uuid4()),
        SLOT._replace(row=uuid4()),
        SLOT._replace(version=2),
        SLOT._replace(purpose=Purpose.EXCERPT),
        SLOT._replace(scope=MESSAGE, row=SESSION),
    ],
)
def test_a_sealed_text_opens_in_its_own_place_only(other: Slot) -> None:
    stored = RING.seal(SLOT, "secret")
    with pytest.raises(Unreadable):
        RING.open(other, stored)
    forged = stored.replace("mk1:3:", f"{other.purpose.value}k1:{other.version}:")
    with pytest.raises(Unreadable):
        RING.open(other, forged)


def test_no_change_of_a_single_character_goes_unnoticed() -> None:
    stored = RING.seal(SLOT, "a secret")  # with its nonce and tag it fills the base64
    for place in range(1, len(stored)):
        for char in "A0+=: \x01é":
            if char == stored[place]:
                continue
            with pytest.raises(Unreadable):
                RING.open(SLOT, stored[:place] + char + stored[place + 1 :])
    for end in range(1, len(stored)):
        with pytest.raises(Unreadable):
            RING.open(SLOT, stored[:end])


def test_every_key_opens_and_the_first_one_seals() -> None:
    both = Keyring([K2, K1])
    assert both.open(SLOT, RING.seal(SLOT, "old")) == "old"
    assert both.seal(SLOT, "new").startswith(f"{MARK}mk2:")
    with pytest.raises(Unreadable, match="there is no key k2"):
        RING.open(SLOT, both.seal(SLOT, "new"))
    with pytest.raises(Unreadable, match="does not open it"):
        Keyring([ContentKey("k1", K2.secret)]).open(SLOT, RING.seal(SLOT, "old"))


def test_without_a_first_key_texts_stay_plain_and_sealed_ones_open() -> None:
    ring = Keyring([K1], is_plain=True)
    assert ring.seal(SLOT, "text") == "text"
    assert ring.open(SLOT, RING.seal(SLOT, "text")) == "text"
    assert not ring.is_sealing
    assert not Keyring().is_sealing


def test_a_fingerprint_tells_keys_apart_and_not_what_they_are() -> None:
    assert RING.fingerprint("k1") == Keyring([K2, K1]).fingerprint("k1")
    assert RING.fingerprint("k1") != Keyring([ContentKey("k1", K2.secret)]).fingerprint("k1")
    assert RING.fingerprint("k2") is None
    assert len(bytes.fromhex(RING.fingerprint("k1") or "")) == 8


def test_the_settings_give_a_keyring() -> None:
    keyring = load_keyring(settings_of(entry("new"), entry("old-1")))
    assert keyring.first == "new"
    assert keyring.fingerprint("old-1") is not None
    off = load_keyring(settings_of("plain", entry("old-1")))
    assert (off.first, off.fingerprint("old-1") is not None) == ("plain", True)
    assert load_keyring(settings_of()).first == "plain"


@pytest.mark.parametrize(
    "keys",
    [
        ("k1",),
        ("k1:",),
        (entry("k1", 16),),
        (entry("k1", 31),),
        (entry("k1", 33),),
        ("k1:" + base64.b64encode(b"0123456789abcdef").decode() * 2,),
        ("k1:" + base64.b64encode(b"\0" * 32).decode(),),
        ("k1:" + base64.b64encode(b"ab" * 16).decode(),),
        ("k1:not base64 at all, not at all!",),
        (entry("k:1"),),
        (entry("k" * 33),),
        (entry(""),),
        (entry("k1"), "plain"),
        (entry("plain"),),
        (entry("k1"), entry("k1")),
    ],
)
def test_keys_that_are_not_256_random_bits_are_refused_without_telling_them(
    keys: tuple[str, ...],
) -> None:
    with pytest.raises(SettingsError, match=r"^encryption_keys: ") as refusal:
        load_keyring(settings_of(*keys))
    for key in keys:
        secret = key.partition(":")[2]
        assert not secret or secret not in str(refusal.value)


def test_development_takes_a_weak_key_but_no_short_one() -> None:
    weak = "k1:" + base64.b64encode(b"a" * 32).decode()
    assert load_keyring(settings_of(weak, environment="development")).first == "k1"
    with pytest.raises(SettingsError):
        load_keyring(settings_of(entry("k1", 16), environment="development"))


def test_the_keys_are_hidden_where_settings_are_shown() -> None:
    key = entry("k1")
    settings = settings_of(key)
    [view] = [v for v in describe(settings, None, {}) if v.name == "encryption_keys"]
    assert view.value == "(hidden)"
    assert key.partition(":")[2] not in repr(settings) + str(settings)


def test_keys_come_from_a_file_as_a_list(tmp_path: Path) -> None:
    file = tmp_path / "chatd.toml"
    file.write_text(f'encryption_keys = ["{entry("k2")}", "{entry("k1")}"]\n')
    assert load_keyring(load_settings(file)).first == "k2"
