"""The settings of a daemon that is one of several: where they meet, and what each is called.

One daemon needs none of them. Several share a database, the signing keys and a Redis.
"""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from chatd.setting_types import Bytes, Count, Pooler, Seconds

_REDIS_URL = re.compile(r"(?:rediss?://[^\s/?#]+(?:/[0-9]*)?|unix:///[^\s?#]+)(?:\?[^\s#]*)?")
_NODE_URL = re.compile(r"https?://[^\s/?#@]+")


class ClusterSettings(BaseSettings):
    """There are several daemons when there is a `redis_url`."""

    workers: Count = Field(
        1, description="daemon processes on the one port, kept by a supervisor; 1: none of that"
    )
    redis_url: SecretStr | None = Field(
        None, description="where several daemons meet: redis://user:password@host:6379/0"
    )
    redis_prefix: str = Field(
        "chatd", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="ahead of every name in that Redis"
    )
    redis_timeout: Seconds = Field(
        5, description="a Redis that says nothing for so long is given up and connected anew"
    )
    redis_buffer_bytes: Bytes = Field(
        8_388_608, description="what waits for Redis; more is dropped, and read from the database"
    )
    lease_seconds: Seconds = Field(
        60, description="people of a daemon that died are OFFLINE after this; renewed at a third"
    )
    hole_patience: Seconds = Field(
        0.05, description="for an event of another daemon that a later one has overtaken"
    )
    node_host: str = Field("127.0.0.1", description="address of the second port, for other daemons")
    node_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="a second port of this daemon alone: workers of one machine share the first",
    )
    node_url: str | None = Field(
        None,
        description="how other daemons reach this one, to pass on polling clients that a load "
        "balancer sends elsewhere; none: from node_host and node_port, if there is one",
    )
    max_forwards: Count = Field(
        10_000,
        description="polls and sockets of other daemons' sessions that are passed on at once; each "
        "takes two descriptors",
    )
    database_pooler: Pooler = Field(
        "none", description="pool_mode of a pooler, such as PgBouncer, that the URLs lead to"
    )
    database_replica_url: SecretStr | None = Field(
        None, description="a read replica for history, lists and search"
    )
    replica_max_lag: Seconds = Field(
        10, description="a replica further behind than this is not read"
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and _REDIS_URL.fullmatch(value.get_secret_value()) is None:
            msg = "is redis://user:password@host:port/number, rediss:// for TLS, or unix:///path"
            raise ValueError(msg)
        return value

    @field_validator("node_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = value.rstrip("/")
        if _NODE_URL.fullmatch(url) is None:
            msg = "is http://host:port or https://host:port, of this daemon alone"
            raise ValueError(msg)
        return url

    @model_validator(mode="after")
    def _can_meet(self) -> Self:
        if self.redis_url is None and (self.node_url is not None or self.node_port is not None):
            msg = "node_url and node_port need redis_url: without one there are no other daemons"
            raise ValueError(msg)
        if self.workers > 1:
            if self.redis_url is None:
                msg = "workers above 1 need redis_url: it is where they hear of each other"
                raise ValueError(msg)
            if self.node_url is not None or self.node_port:
                msg = "node_url and node_port are one daemon's: each worker takes a free port"
                raise ValueError(msg)
        if self.node_port is not None and self.node_url is None and self._is_any_host():
            msg = "a node_host that stands for all addresses needs node_url: how others reach it"
            raise ValueError(msg)
        return self

    def _is_any_host(self) -> bool:
        return self.node_host in {"", "0.0.0.0", "::"}
