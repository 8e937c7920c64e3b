"""Settings: where they come from, what is refused, what is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chatd.config import Settings, SettingsError, describe, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("CHATD_")]:
        monkeypatch.delenv(name)
    yield
    assert Settings._toml_file is None


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "chatd.toml"
    path.write_text(text)
    return path


def test_flags_beat_the_environment_and_that_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, 'port = 1\nhost = "file"\nlog_level = "debug"\n')
    monkeypatch.setenv("CHATD_PORT", "2")
    monkeypatch.setenv("CHATD_HOST", "environment")
    flags = {"port": 3, "data_dir": None}
    settings = load_settings(file, **flags)
    assert (settings.port, settings.host, settings.log_level) == (3, "environment", "debug")
    sources = {view.name: view.source for view in describe(settings, file, flags)}
    assert (sources["port"], sources["host"]) == ("flag", "environment")
    assert (sources["log_level"], sources["backlog"]) == ("file", "default")


def test_the_file_may_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATD_CONFIG", str(write(tmp_path, "port = 7\n")))
    settings = load_settings()
    assert settings.port == 7
    assert {v.source for v in describe(settings, None, {}) if v.name == "port"} == {"file"}
    assert load_settings(write(tmp_path, "port = 8\n")).port == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 99999", "port"),
        ("port = [", "not TOML"),
        ("prot = 1", "prot"),
        ("drain_seconds = 0", "drain_seconds"),
        ('tls_certfile = "cert.pem"', "come together"),
        ("bcrypt_rounds = 3", "bcrypt_rounds"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(write(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        load_settings(tmp_path / "missing.toml")


def test_a_name_that_is_no_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATD_PROT", "1")
    monkeypatch.setenv("CHATD_HOTS", "x")
    with pytest.raises(SettingsError, match="CHATD_HOTS, CHATD_PROT"):
        load_settings()


def test_secrets_are_neither_shown_nor_in_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATD_DATABASE_URL", "postgresql://u:hunter2@db/x")
    monkeypatch.setenv("CHATD_SIGNING_KEYS", "k1:hunter2hunter2")
    settings = load_settings()
    shown = repr(settings) + repr(describe(settings, None, {}))
    assert "hunter2" not in shown
    values = {view.name: view.value for view in describe(settings, None, {})}
    assert values["database_url"] == values["signing_keys"] == "(hidden)"
    monkeypatch.setenv("CHATD_PORT", "hunter2")
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert "hunter2" not in str(refusal.value)


def test_a_secret_that_is_not_set_is_shown_as_not_set() -> None:
    values = {view.name: view.value for view in describe(Settings(), None, {})}
    assert (values["database_url"], values["signing_keys"]) == ("None", "(none)")


def test_every_duration_has_a_unit_and_every_limit_a_reason() -> None:
    for view in describe(Settings(), None, {}):
        if view.name.endswith(("_timeout", "_seconds", "_interval", "_ttl", "_grace")):
            assert view.unit == "s", view.name
        if view.name != "log_level":
            assert view.reason, view.name


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATD_CORS_ORIGINS", "https://a.test, https://b.test,")
    assert load_settings().cors_origins == ("https://a.test", "https://b.test")
    assert Settings(cors_origins=("https://c.test",)).cors_origins == ("https://c.test",)


def test_the_data_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / ".local/share/chatd"
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("here")).data_dir == tmp_path / "here"


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc] # what is tested


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://chatd:p%40ss@db.example:5432/chatd?sslmode=verify-full",
        "postgres://localhost",
        "postgresql:///chatd?host=/run/postgresql",
        "postgresql://[::1]:5432/chatd",
        "postgresql://one:5432,two:5432/chatd?target_session_attrs=read-write",
        "host=/run/postgresql dbname='chatd' password='it\\'s'",
    ],
)
def test_any_form_of_a_database_url_is_taken(url: str) -> None:
    value = load_settings(database_url=url).database_url
    assert value is not None
    assert value.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://chatd:hunter2@db/chatd",
        "postgresql://chatd:p@hunter2@db/chatd",
        "postgresql://chatd:p/hunter2@db/chatd",
        "host=db password=p hunter2",
    ],
)
def test_a_database_url_that_would_be_read_wrongly_is_refused_without_its_password(
    url: str,
) -> None:
    with pytest.raises(SettingsError, match="database_url: ") as refusal:
        load_settings(database_url=url)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "flags",
    [
        {"database_pooler": "transaction"},
        {"database_replica_url": "postgresql://replica/chatd"},
    ],
)
def test_what_needs_a_postgres_of_ones_own_is_refused_with_the_embedded_one(
    flags: dict[str, Any],
) -> None:
    [name] = flags
    with pytest.raises(SettingsError, match=f"{name} needs database_url"):
        load_settings(**flags)
    load_settings(database_url="postgresql://db/chatd", **flags)
