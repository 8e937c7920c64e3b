"""What ends at one daemon ends once: typing, and a daemon itself."""

from __future__ import annotations

from uuid import UUID

import trio
from trio.testing import MockClock

from chatd.nurseries.typing import open_typing
from tests.cluster.kit import open_group, until
from tests.redis_kit import RedisServer

SESSION, ANNA = UUID(int=1), UUID(int=2)


async def test_typing_elsewhere_whose_renewal_was_lost_ends_here_alone(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    heard: list[bytes] = []
    told: list[bool] = []

    def broadcast(session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        del session_id, name, but
        heard.append(data)

    def relay(session_id: UUID, user_id: UUID, *, is_typing: bool) -> None:
        del session_id, user_id
        told.append(is_typing)

    async with open_typing(8.0, broadcast) as typing:
        typing.relay = relay
        typing.started(SESSION, ANNA, is_here=False)
        await trio.sleep(9.0)
        assert not typing.typers(SESSION)
        assert len(heard) == 2
        assert told == []
        typing.start(SESSION, ANNA)
        await trio.sleep(9.0)
        assert told == [True, False]


async def test_a_daemon_that_has_said_goodbye_gives_no_sign_of_life(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        here, leaving = group.cluster(0).nodes, group.cluster(1).nodes
        leaving.leave()
        await until(lambda: here._nodes[leaving.tag].is_leaving)
        await trio.sleep(1.5)  # longer than between two signs of life
        leaving.connected()
        await trio.sleep(0.2)
        assert here._nodes[leaving.tag].is_leaving
