"""The pace of healing, on a mock clock; what it heals is in the other tests here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import StoreUnavailable
from chatd.metrics import Metrics
from chatd.nurseries import healing
from chatd.nurseries.healing import Healing
from chatd.store.memory import MemoryStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOT_REACHED: Any = None


class Away(MemoryStore):
    """A store that is away, and tells when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    async def revoked_since(self, at: datetime) -> list[UUID]:  # noqa: ARG002 - as it is called
        self.asked.append(trio.current_time())
        raise StoreUnavailable("away")


def made(store: Away) -> Healing:
    return Healing(
        store, *[NOT_REACHED] * 6, is_up=lambda: True, now=lambda: NOW, metrics=Metrics()
    )


async def times(running: Healing, asked: list[float], seconds: float) -> list[float]:
    """Return when it has asked, from its first being wanted on."""
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.run)
        running.connected()
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    return [at - start for at in asked]


async def test_what_fails_is_tried_again_after_twice_as_long(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "JITTER", 0.0)
    store = Away()
    found = await times(made(store), store.asked, 40)
    assert found == pytest.approx([0, 2, 6, 14, 22, 30, 38])


async def test_what_was_healed_is_healed_again_after_a_second(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "JITTER", 0.0)
    outcomes = [False, False, True, False, True]
    asked: list[float] = []
    running = made(Away())

    async def heal() -> bool:
        asked.append(trio.current_time())
        if len(outcomes) > 1:
            running.untold()  # there is more of it already
        return outcomes.pop(0)

    monkeypatch.setattr(running, "heal", heal)
    assert await times(running, asked, 60) == pytest.approx([0, 2, 6, 7, 9])
