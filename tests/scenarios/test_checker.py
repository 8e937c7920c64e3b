"""The checker finds every fault that it exists for, and nothing in a history without one."""

from __future__ import annotations

import pytest

from tests.scenarios.checker import Entry, Fault, check_history, check_stream

SENT = {f"k{n}": f"message {n}" for n in range(1, 6)}
GOOD = [Entry(f"k{n}", n, f"message {n}") for n in range(1, 6)]


def faults(
    stored: list[Entry], acked: list[Entry], sent: dict[str, str] = SENT, after: int = 0
) -> set[Fault]:
    return {finding.fault for finding in check_history(stored, acked, sent, after=after)}


def test_a_history_as_it_was_acknowledged_has_no_fault() -> None:
    assert faults(GOOD, GOOD) == set()


def test_an_unacknowledged_message_may_be_stored_or_not() -> None:
    assert faults(GOOD, GOOD[:3]) == set()
    assert faults(GOOD[:3], GOOD[:3]) == set()


def test_a_history_may_begin_above_a_position() -> None:
    assert faults(GOOD[2:], GOOD[2:], after=2) == set()
    assert faults(GOOD[2:], GOOD[2:], after=1) == {Fault.HOLE}


def test_an_acknowledged_message_that_is_not_stored_is_lost() -> None:
    assert faults(GOOD[:4], GOOD) == {Fault.LOST}


def test_a_lost_message_whose_number_was_given_to_another_is_lost() -> None:
    taken = [*GOOD[:4], Entry("k9", 5, "another")]
    assert faults(taken, GOOD, {**SENT, "k9": "another"}) == {Fault.LOST}


def test_a_message_in_the_middle_that_is_gone_leaves_a_hole() -> None:
    assert faults([*GOOD[:2], *GOOD[3:]], GOOD) == {Fault.LOST, Fault.HOLE}


def test_a_hole_is_found_where_nothing_was_acknowledged() -> None:
    assert faults([*GOOD[:2], *GOOD[3:]], []) == {Fault.HOLE}


def test_a_message_stored_twice_is_doubled_whatever_its_number() -> None:
    assert faults([*GOOD, Entry("k5", 6, "message 5")], GOOD[:4]) == {Fault.DOUBLED}
    assert Fault.DOUBLED in faults([*GOOD, GOOD[4]], GOOD)


def test_two_messages_that_changed_places_are_reordered() -> None:
    swapped = [*GOOD[:3], Entry("k5", 4, "message 5"), Entry("k4", 5, "message 4")]
    assert faults(swapped, GOOD) == {Fault.REORDERED}


def test_an_answer_that_does_not_rise_is_reordered() -> None:
    assert faults([GOOD[1], GOOD[0], *GOOD[2:]], []) == {Fault.HOLE, Fault.REORDERED}


def test_other_content_than_was_sent_is_altered() -> None:
    assert faults([*GOOD[:4], Entry("k5", 5, "mess")], []) == {Fault.ALTERED}


def test_a_message_that_nobody_sent_is_invented() -> None:
    assert faults([*GOOD, Entry("k9", 6, "boo")], GOOD) == {Fault.INVENTED}


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ([4, 5, 6], set()),
        ([], set()),
        ([5, 6], {Fault.HOLE}),
        ([4, 6], {Fault.HOLE}),
        ([4, 5, 5], {Fault.DOUBLED}),
        ([4, 6, 5], {Fault.HOLE, Fault.REORDERED}),
        ([3, 4], {Fault.REORDERED}),
    ],
)
def test_a_stream_follows_its_join_one_by_one(seqs: list[int], expected: set[Fault]) -> None:
    assert {finding.fault for finding in check_stream(seqs, after=3)} == expected
