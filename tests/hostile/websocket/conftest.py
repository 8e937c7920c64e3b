"""One daemon for all attacks, and a bystander who must notice none of them.

At the end the daemon must have logged no error and lost no connection to a bug.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from tests.hostile.websocket.attack import (
    PATIENCE,
    Place,
)
from tests.scenarios.checker import check_stream
from tests.scenarios.daemon import running_daemon
from tests.scenarios.talker import create_session, register, talking

LIMITS = {"auth_timeout": 1, "head_timeout": 1, "body_timeout": 1, "write_timeout": 2}  # seconds


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run one daemon for all attacks: each has to survive all of them before it."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    with running_daemon(folder, **LIMITS) as daemon:

        async def settle() -> Place:
            ann = await register(daemon, "ann")
            return Place(daemon, ann, await create_session(daemon, ann))

        yield trio.run(settle)
        assert daemon.is_alive
        assert "chatd_connection_failures_total 0.0" in daemon.get("/metrics")[1]
        assert daemon.stop() == 0


@pytest.fixture(autouse=True)
async def bystander(place: Place) -> AsyncIterator[None]:
    """Talk before the attack and after it, on one connection: no close, no missing `seq`."""
    async with talking(place.daemon, place.ann) as talker:
        with trio.fail_after(PATIENCE):
            joined = await talker.join(place.session)
            await talker.send(place.session, "before")
        yield
        with trio.fail_after(PATIENCE):
            head = (await talker.send(place.session, "after"))["message"]["seq"]
            await talker.until(lambda: talker.seqs(place.session)[-1:] == [head])
        assert check_stream(talker.seqs(place.session), after=joined["seq"]) == []
        assert {push.name for push in talker.pushes} <= {
            "connection:ready",
            "message:new",
            "user:status",
        }
        assert not talker.is_lost
