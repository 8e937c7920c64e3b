"""Ids: UUIDv7, in the order in which they were made."""

from __future__ import annotations

import time
from uuid import RFC_4122

from chatd.ids import uuid7


def test_ids_have_the_order_in_which_they_were_made_also_within_a_millisecond() -> None:
    ids = [uuid7() for _ in range(2000)]
    assert ids == sorted(ids)
    assert len({each.int >> 80 for each in ids}) < len(ids) / 10


def test_an_id_is_a_uuid_of_version_7_and_tells_its_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
