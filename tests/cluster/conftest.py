"""One Redis for all tests of the cluster; each has a prefix of its own in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_kit import RedisServer, free_port, running_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis for the session."""
    with running_redis() as server:
        yield server


@pytest.fixture
def unused_port_url() -> str:
    """Return the URL of a Redis that is not there."""
    return f"redis://127.0.0.1:{free_port()}/0"
