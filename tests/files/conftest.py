"""The two places where files can lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.files.kit import Site, open_site
from tests.files.nanio import Nanio, running_nanio


@pytest.fixture(scope="session")
def nanio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nanio]:
    """Run an S3 for the session."""
    with running_nanio(tmp_path_factory.mktemp("nanio") / "data") as server:
        yield server


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest) -> Nanio | None:
    """Return the S3, None for the data folder."""
    if request.param == "local":
        return None
    server: Nanio = request.getfixturevalue("nanio")
    return server


@pytest.fixture
async def site(tmp_path: Path, place: Nanio | None) -> AsyncIterator[Site]:
    """Run a daemon with files in either place."""
    async with open_site(tmp_path, place) as site:
        yield site
