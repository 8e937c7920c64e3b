"""Settings: frozen, validated, each with its unit and its reason.

Values come, strongest first, from flags, from the environment (`CHATD_PORT`), from a TOML file
(`CHATD_CONFIG` or `--config`), and from the defaults below. `chatd check` shows each with its
source.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from chatd.assistant_settings import AssistantSettings
from chatd.cluster_settings import ClusterSettings
from chatd.mail_settings import read_sender, read_smtp_url
from chatd.setting_types import Bytes, Count, RateText, Seconds
from chatd.urls import is_safe_url

GOOGLE = "https://accounts.google.com"
# Whatever PostgreSQL's library takes for a part of a host or a port stands in its complaints, and a
# password with a bare `@`, `/` or blank in it is one: https://www.postgresql.org/docs/current/libpq-connect.html
_PAIR = r"\w+\s*=\s*(?:'(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)"
_DATABASE_URL = re.compile(
    r"postgres(?:ql)?://(?:[^\s:/@?#]*(?::[^\s:/@?#]*)?@)?[^\s/@?#]*(?:/[^\s/@?#]*)?(?:\?[^\s@#]*)?"
    rf"|\s*(?:{_PAIR}(?:\s+{_PAIR})*)?\s*"
)


class SettingsError(Exception):
    """A setting that the daemon refuses to start with; the text names it and the way out."""


class Settings(AssistantSettings, ClusterSettings):
    """All settings of one daemon."""

    model_config = SettingsConfigDict(
        env_prefix="CHATD_", frozen=True, extra="forbid", nested_model_default_partial_update=False
    )
    _toml_file: ClassVar[Path | None] = None  # set by `load_settings` around the one construction

    # Where it listens and what it keeps
    environment: Literal["production", "development"] = Field(
        "production", description="development allows weak keys and shows more in answers"
    )
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 opens it to others")
    port: int = Field(8000, ge=0, le=65535, description="the one port; 0 takes a free one")
    backlog: Count = Field(4096, description="connections that the kernel keeps while we accept")
    data_dir: Path = Field(
        Path("~/.local/share/chatd"), description="signing key, embedded PostgreSQL, files"
    )
    database_url: SecretStr | None = Field(
        None, description="any PostgreSQL 15 or newer; without it one is started in data_dir"
    )
    database_pool_size: Count = Field(
        8, description="connections to PostgreSQL; more than cores times 4 only adds queueing"
    )
    public_url: str | None = Field(None, description="how clients reach this server")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="exact origins of front ends served elsewhere"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="CIDRs of proxies whose X-Forwarded-For and -Proto count; others' do not"
    )
    tls_certfile: Path | None = Field(None, description="PEM chain; with tls_keyfile serves TLS")
    tls_keyfile: Path | None = Field(None, description="PEM key of tls_certfile")

    # Accounts
    signing_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="kid:secret, the first signs, all verify; default: made in data_dir"
    )
    bcrypt_rounds: int = Field(
        12, ge=4, le=16, description="cost of a password hash: 12 is 0.3 s; 4 only in tests"
    )
    bcrypt_queue: Count = Field(
        32, description="logins that wait for a hash; beyond it 503, or a flood takes minutes"
    )
    access_token_ttl: Seconds = Field(
        900, description="how long a stolen access token is worth something"
    )
    refresh_token_ttl: Seconds = Field(
        14 * 86400, description="a device unused for this long logs in again"
    )
    login_max_age: Seconds = Field(
        365 * 86400, description="a login ends this long after its password, used or not"
    )
    max_logins_per_user: Count = Field(
        20, description="open logins of one user; one more ends the one that was used least lately"
    )
    max_api_tokens: Count = Field(50, description="API tokens of one user, or of one bot")
    max_bots_per_user: Count = Field(20, description="bots that one user may have")
    refresh_grace: Seconds = Field(
        60, description="an old refresh token still works: a lost reply logs nobody out"
    )
    token_expiry_warning: Seconds = Field(60, description="auth:expiring comes this long before")
    token_expiry_grace: Seconds = Field(30, description="then the transport closes with 4401")

    export_interval: Seconds = Field(
        3600, description="between two exports of an account: each reads all that it ever wrote"
    )

    # Content at rest
    encryption_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="kid:base64 of 32 bytes, the first encrypts, all decrypt; plain ahead: off",
    )

    # Sign-in with an OpenID Connect issuer: on when there is a client id
    oidc_issuer: str = Field(GOOGLE, description="https URL; http on this machine only")
    oidc_client_id: str | None = Field(
        None, description="as the issuer gave it for <public_url>/auth/google/callback"
    )
    oidc_client_secret: SecretStr | None = Field(
        None, description="of that client; none for a public one"
    )
    oidc_timeout: Seconds = Field(
        10, description="all questions to the issuer of one step of a sign-in; then 503"
    )

    # Mail: on when there is a server that takes it; in development its links go to the log
    smtp_url: SecretStr | None = Field(
        None, description="smtp[s]://user:password@host:port; smtp asks for STARTTLS"
    )
    mail_from: str | None = Field(None, description="Name <address> that mail comes from")
    smtp_timeout: Seconds = Field(30, description="one try to hand over one mail; then again later")
    mail_queue: Count = Field(
        1000, description="mails that wait for the server: 4 MiB; one more is overloaded"
    )
    email_verification: Literal["off", "optional", "required"] = Field(
        "off", description="required: who has not verified their address may only read"
    )
    email_verification_ttl: Seconds = Field(
        86400, description="a link that shows that an address is read; mail may take its time"
    )
    password_reset_ttl: Seconds = Field(
        900, description="a link that sets a new password: whoever has it has the account"
    )
    mail_rate: RateText = Field(
        "6/h burst 4", description="mails to one address that people ask for, known or not"
    )

    # Limits of one connection
    max_connections: Count = Field(
        20_000, description="open connections; one costs 16 KiB and a file descriptor"
    )
    max_connections_per_address: Count = Field(
        500, description="of these from one address (IPv6: /64); an office behind one NAT"
    )
    max_sockets_per_user: Count = Field(10, description="live sockets of one user, all devices")
    max_joined_sessions: Count = Field(500, description="sessions joined on one socket")
    max_inflight: Count = Field(
        64, description="sends of one socket that wait for their commit; then it is not read"
    )
    head_timeout: Seconds = Field(5, description="a request head arrives within this (slowloris)")
    head_bytes: Bytes = Field(16_384, description="request line and headers together")
    body_bytes: Bytes = Field(1_048_576, description="body of a REST request")
    body_timeout: Seconds = Field(10, description="a request body arrives within this")
    idle_timeout: Seconds = Field(
        75, description="keep-alive without a request; proxies reuse idle connections for 60 s"
    )
    write_timeout: Seconds = Field(10, description="one write to leave; slower clients are gone")
    frame_bytes: Bytes = Field(1_048_576, description="one WebSocket message, all fragments")
    max_fragments: Count = Field(
        64, description="fragments of one WebSocket message: empty ones cost memory too"
    )
    auth_timeout: Seconds = Field(10, description="a new connection shows its token within this")
    upgrade_timeout: Seconds = Field(
        10, description="a WebSocket takes over from polling within this, or polling goes on"
    )
    ping_interval: Seconds = Field(25, description="below the 60 s after which proxies cut")
    ping_timeout: Seconds = Field(20, description="a ping unanswered this long is a lost peer")
    outbox_bytes: Bytes = Field(1_048_576, description="what waits for a client that reads slowly")
    outbox_frames: Count = Field(1024, description="the same in frames; full closes with 4008")
    goodbye_timeout: Seconds = Field(2, description="for the close frame of a connection we end")

    # Messages
    journal_queue: Count = Field(
        10_000, description="changes that wait for a commit: half a second of work; then overloaded"
    )
    journal_batch: Count = Field(500, description="changes in one transaction")
    journal_lanes: Count = Field(
        4, description="transactions of the journal at once, of different sessions"
    )
    commit_timeout: Seconds = Field(5, description="one transaction of the journal")
    resolve_timeout: Seconds = Field(5, description="to find out whether a lost COMMIT happened")
    query_timeout: Seconds = Field(5, description="one statement outside the journal")
    search_timeout: Seconds = Field(
        2, description="a search, its wait for a turn included; longer is deadline_exceeded"
    )
    io_uring: Literal["auto", "off"] = Field(
        "auto", description="auto: a room is written to in one call where the kernel allows it"
    )
    feed_events: Count = Field(1024, description="events that wait for a room's fan-out")
    replay_events: Count = Field(500, description="events that session:join since replays at once")
    replay_bytes: Bytes = Field(
        4_194_304, description="of such an answer; above it the newest page, recovered: false"
    )
    recovery_seconds: Seconds = Field(
        120, description="a Socket.IO client back within this gets its state and what it missed"
    )
    position_interval: Seconds = Field(5, description="quiet rooms are compared with the store")

    # Presence
    presence_grace: Seconds = Field(15, description="back within this is never heard by others")
    presence_scope: Literal["everyone", "shared", "auto"] = Field(
        "auto", description="who hears of whom; auto: everyone up to 200 accounts, then shared"
    )
    idle_after: Seconds = Field(300, description="a device without a request is AWAY after this")
    typing_expiry: Seconds = Field(8, description="the server ends a typing that nobody renews")

    # Files: their bytes in data_dir, or in a store that speaks S3
    files: Literal["local", "s3", "off"] = Field(
        "local", description="where files lie; off: there are none"
    )
    files_url: str | None = Field(
        None,
        description="another origin of this server for files that lie here: what people upload "
        "never comes from the origin of a web client",
    )
    file_bytes: Bytes = Field(
        104_857_600, description="one file: a minute of video, below what proxies take"
    )
    user_file_bytes: Bytes = Field(
        5_368_709_120, description="all files of one user: what a disk has for each of them"
    )
    user_files: Count = Field(10_000, description="files of one user: each is a row and an inode")
    user_uploads: Count = Field(
        20,
        description="links to upload of one user that may still be used: what they can fill",
    )
    upload_ttl: Seconds = Field(
        300, description="an upload begins within this; a stolen link is worth nothing after it"
    )
    upload_patience: Seconds = Field(
        86_400, description="files that are attached to nothing for this long are swept"
    )
    upload_rate: Bytes = Field(
        16_384, description="bytes a second of an upload in the mean; a slower one is cut"
    )
    transfer_stall: Seconds = Field(
        20, description="an upload from which nothing comes for this long is cut"
    )
    file_transfers: Count = Field(
        256,
        description="uploads and downloads at once, an eighth of it at most of one user; each "
        "holds up to 1 MiB",
    )
    file_link_ttl: Seconds = Field(
        60, description="a link to a file is good for this: membership is asked for each link"
    )
    s3_endpoint: str | None = Field(
        None, description="https URL of the store; none: AWS in s3_region"
    )
    s3_bucket: str | None = Field(None, description="of files=s3; it is not public")
    s3_region: str = Field("us-east-1", description="as its signatures name it")
    s3_style: Literal["path", "virtual"] = Field(
        "virtual", description="whether the bucket stands in the path or in the host"
    )
    s3_access_key_id: str | None = Field(None, description="who may read, write and delete there")
    s3_secret_access_key: SecretStr | None = Field(None, description="of that key")
    s3_session_token: SecretStr | None = Field(None, description="of a temporary key")
    s3_timeout: Seconds = Field(10, description="one question to the store; a copy has six")

    # Life
    drain_seconds: Seconds = Field(20, description="transports close evenly over this at SIGTERM")
    commit_drain_seconds: Seconds = Field(5, description="commits in flight finish within this")
    metrics_token: SecretStr | None = Field(
        None, min_length=16, description="shown as Bearer at /metrics; without it only loopback"
    )
    log_format: Literal["console", "json"] = Field("console", description="json for machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="")
    rate_limits: Literal["on", "off"] = Field(
        "on", description="off only in benches: no rates, and no cap of connections per address"
    )

    # Rates: so often in the long run, so many at once
    connect_rate: RateText = Field("10/s burst 50", description="connections of one address")
    handshake_rate: RateText = Field(
        "10/s burst 50", description="new sockets of one address, by WebSocket and by polling"
    )
    login_rate: RateText = Field("5/min burst 10", description="logins from one address")
    pair_login_rate: RateText = Field(
        "3/min burst 5", description="logins to one account from one address"
    )
    account_login_rate: RateText = Field(
        "6/min burst 10", description="logins to one account, from anywhere: guessing is slow"
    )
    total_login_rate: RateText = Field(
        "20/s burst 200", description="logins to all accounts; devices known to theirs not counted"
    )
    register_rate: RateText = Field("3/h burst 5", description="accounts opened from one address")
    event_rate: RateText = Field(
        "50/s burst 500", description="events of one socket; who goes on is closed with 4013"
    )

    @field_validator(
        "cors_origins", "encryption_keys", "signing_keys", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            tuple(v.strip() for v in value.split(",") if v.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each)
        return value

    @field_validator("database_url", "database_replica_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and _DATABASE_URL.fullmatch(value.get_secret_value()) is None:
            msg = (
                "is postgresql://user:password@host:port/database, with %40 for @ and the like in "
                "a password, or keyword=value pairs"
            )
            raise ValueError(msg)
        return value

    @field_validator("public_url", "files_url", "s3_endpoint")
    @classmethod
    def _without_slash(cls, value: str | None) -> str | None:
        return None if value is None else value.rstrip("/")

    @field_validator("data_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.tls_certfile is None) != (self.tls_keyfile is None):
            msg = "tls_certfile and tls_keyfile come together"
            raise ValueError(msg)
        if self.database_url is None and self.database_replica_url is not None:
            msg = "database_replica_url needs database_url: the embedded PostgreSQL has no replica"
            raise ValueError(msg)
        if self.database_url is None and self.database_pooler != "none":
            msg = "database_pooler needs database_url: the embedded PostgreSQL has no pooler"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _can_sign_in(self) -> Self:
        if not is_safe_url(self.oidc_issuer):
            msg = "oidc_issuer is an https URL, or an http one of this machine"
            raise ValueError(msg)
        if self.oidc_client_id is not None and not is_safe_url(self.public_url or ""):
            msg = "oidc_client_id needs public_url: https, or http on this machine"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _can_mail(self) -> Self:
        if self.mail_from is not None:
            read_sender(self.mail_from)
        if self.smtp_url is not None:
            read_smtp_url(self.smtp_url.get_secret_value())
            if self.mail_from is None or not is_safe_url(self.public_url or ""):
                msg = "smtp_url needs mail_from, and public_url: https, or http on this machine"
                raise ValueError(msg)
        elif self.email_verification != "off" and self.environment == "production":
            msg = "email_verification needs smtp_url"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _can_keep_files(self) -> Self:
        keys = (self.s3_bucket, self.s3_access_key_id, self.s3_secret_access_key)
        if self.files == "s3" and None in keys:
            msg = "files=s3 needs s3_bucket, s3_access_key_id and s3_secret_access_key"
            raise ValueError(msg)
        for name, url in (("s3_endpoint", self.s3_endpoint), ("files_url", self.files_url)):
            if url is not None and not is_safe_url(url):
                msg = f"{name} is an https URL, or an http one of this machine"
                raise ValueError(msg)
        return self

    @property
    def s3_url(self) -> str:
        """Where the store of the files is."""
        return self.s3_endpoint or f"https://s3.{self.s3_region}.amazonaws.com"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, strongest first: flags, environment, the TOML file."""
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, toml_file=cls._toml_file)
        return init_settings, env_settings, toml


@dataclass(frozen=True, slots=True)
class SettingView:
    """One line of `chatd check`."""

    name: str
    value: str
    source: str  # flag, environment, file or default
    unit: str
    reason: str


def load_settings(config_file: Path | None = None, **flags: Any) -> Settings:
    """Return the settings of this process; flags that are None count as not given.

    Raises:
        SettingsError: a value is wrong; the text names the setting, never a secret.
    """
    chosen = config_file or (Path(path) if (path := os.environ.get("CHATD_CONFIG")) else None)
    if chosen is not None and not chosen.is_file():
        msg = f"there is no settings file {chosen}"
        raise SettingsError(msg)
    Settings._toml_file = chosen  # noqa: SLF001 - the class's own loader
    try:
        settings = Settings(**{k: v for k, v in flags.items() if v is not None})
    except ValidationError as refusal:
        raise SettingsError(_explain(refusal)) from None
    except tomllib.TOMLDecodeError as refusal:
        msg = f"{chosen} is not TOML: {refusal}"
        raise SettingsError(msg) from None
    finally:
        Settings._toml_file = None  # noqa: SLF001 - as above
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith("CHATD_")
        and name != "CHATD_CONFIG"
        and name[6:].lower() not in Settings.model_fields
    )
    if unknown:
        msg = f"no such setting: {', '.join(unknown)}"
        raise SettingsError(msg)
    return settings


def _explain(refusal: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part) for part in error['loc']) or 'settings'}: {error['msg']}"
        for error in refusal.errors(include_input=False, include_url=False)
    ]
    return "; ".join(lines)


def describe(
    settings: Settings, config_file: Path | None, flags: dict[str, Any]
) -> list[SettingView]:
    """Return every setting with its value and where that came from, secrets hidden."""
    chosen = config_file or (Path(path) if (path := os.environ.get("CHATD_CONFIG")) else None)
    in_file = tomllib.loads(chosen.read_text()) if chosen else {}
    views = []
    for name, field in Settings.model_fields.items():
        if flags.get(name) is not None:
            source = "flag"
        elif f"CHATD_{name.upper()}" in {key.upper() for key in os.environ}:
            source = "environment"
        else:
            source = "file" if name in in_file else "default"
        value = getattr(settings, name)
        hidden = isinstance(value, SecretStr) or name in {"encryption_keys", "signing_keys"}
        extra = field.json_schema_extra
        unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
        shown = ("(hidden)" if value else "(none)") if hidden else str(value)
        views.append(SettingView(name, shown, source, unit, field.description or ""))
    return views
