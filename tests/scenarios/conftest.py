"""A daemon for the scenarios that need none of their own: a start costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.daemon import Daemon, running_daemon


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for the session; each test has its own people and session of chat."""
    with running_daemon(tmp_path_factory.mktemp("scenarios") / "data") as daemon:
        yield daemon
