from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chatd.ids import uuid7
from chatd.store.arrays import Texts, Times, Uuids
from chatd.store.pool import Pool

ID = uuid7()


@pytest.mark.parametrize(
    "array",
    [
        Uuids([ID, None, ID]),
        Uuids([None]),
        Uuids(),
        Texts(["", None, "Grüße 👋", "x" * 70_000]),
        Times(
            [
                datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
                datetime(2026, 7, 1, tzinfo=timezone(timedelta(hours=2))),
            ]
        ),
    ],
)
async def test_an_array_arrives_as_it_was(pool: Pool, array: list[Any]) -> None:
    [(echo,)] = await pool.fetch("SELECT %(array)s", {"array": array})
    assert echo == list(array)
