"""One daemon for all attacks on its WebSocket, and a bystander who must notice none of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.hostile.place import Place, open_place, watched

LIMITS = {"auth_timeout": 1, "head_timeout": 1, "body_timeout": 1, "write_timeout": 2}  # seconds


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run one daemon for all attacks: each has to survive all of them before it."""
    with open_place(tmp_path_factory.mktemp("hostile") / "data", **LIMITS) as place:
        yield place


@pytest.fixture(autouse=True)
async def bystander(place: Place) -> AsyncIterator[None]:
    """Talk before the attack and after it, on one connection."""
    async with watched(place):
        yield
