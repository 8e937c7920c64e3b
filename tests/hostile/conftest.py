"""A daemon for each module of attacks, with the settings that the module names in `SETTINGS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.hostile.place import Place, open_place, watched


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Run the daemon of a module."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    with open_place(folder, **getattr(request.module, "SETTINGS", {})) as place:
        yield place


@pytest.fixture
async def bystander(place: Place) -> AsyncIterator[None]:
    """Be there all the time, and notice nothing."""
    async with watched(place):
        yield
