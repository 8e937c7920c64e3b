"""Signing keys: from the settings, or made once in the data folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from chatd.config import Settings, SettingsError
from chatd.keys import SIGNING_KEY_FILE, load_signing_keys

GOOD = "0123456789abcdef" * 4


def keys(tmp_path: Path, *texts: str, **settings: Any) -> Settings:
    return Settings(data_dir=tmp_path, signing_keys=texts, **settings)


def test_a_fresh_install_makes_a_key_that_only_its_owner_reads_and_keeps_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "new" / "data"
    old = os.umask(0)  # the mode is ours, not the umask's
    try:
        [made] = load_signing_keys(Settings(data_dir=folder))
    finally:
        os.umask(old)
    assert len(made.secret) >= 32
    assert stat.S_IMODE((folder / SIGNING_KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert load_signing_keys(Settings(data_dir=folder)) == [made]
    assert load_signing_keys(Settings(data_dir=folder), make=False) == [made]


def test_a_look_at_the_keys_makes_none(tmp_path: Path) -> None:
    assert load_signing_keys(Settings(data_dir=tmp_path), make=False) == []
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_start_at_once_both_have_the_key_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def late(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        (tmp_path / SIGNING_KEY_FILE).write_text(f"first:{GOOD}\n")
        return real(path, flags, mode, **options)

    monkeypatch.setattr(os, "open", late)
    [key] = load_signing_keys(Settings(data_dir=tmp_path))
    assert key.kid == "first"


def test_the_first_key_of_the_settings_signs(tmp_path: Path) -> None:
    loaded = load_signing_keys(keys(tmp_path, f"new:{GOOD}", f"old:{GOOD}:with:colons"))
    assert [key.kid for key in loaded] == ["new", "old"]
    assert loaded[1].secret.endswith(b":with:colons")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("k:short",), "weak"),
        (("k:" + "ab" * 32,), "weak"),
        (("no colon",), "kid:secret"),
        ((":hunter2",), "kid:secret"),
        (("k9:",), "kid:secret"),
        ((f"k:{GOOD}", f"k:{GOOD}x"), "share a kid"),
    ],
)
@pytest.mark.threat("T106")
def test_a_key_that_is_no_good_is_refused_without_showing_it(
    tmp_path: Path, texts: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SettingsError, match=words) as refusal:
        load_signing_keys(keys(tmp_path, *texts))
    assert not any(text in str(refusal.value) for text in texts)


def test_development_takes_a_weak_key(tmp_path: Path) -> None:
    [key] = load_signing_keys(keys(tmp_path, "k:short", environment="development"))
    assert key.secret == b"short"
