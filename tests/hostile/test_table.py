"""The table of attacks is whole, and docs/security.md has it as it is."""

from __future__ import annotations

import pytest

from tests.hostile.table import (
    BEGIN,
    DOCUMENT,
    END,
    Tests,
    collect_tests,
    rewritten,
    wrong_rows,
)
from tests.hostile.threats import ALL


@pytest.fixture(scope="module")
def shown() -> Tests:
    """Collect all tests, once."""
    return collect_tests()


def test_every_attack_has_a_row() -> None:
    assert sorted(ALL) == list(range(1, 111))


def test_every_attack_has_a_test_or_a_reason(shown: Tests) -> None:
    assert wrong_rows(shown) == []


def test_the_document_has_the_table_of_the_tests_that_there_are(shown: Tests) -> None:
    document = DOCUMENT.read_text()
    assert BEGIN in document
    assert END in document
    assert rewritten(document, shown) == document, "run `make threats`"


def test_a_row_without_test_or_reason_is_found(
    shown: Tests, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = {number: tests for number, tests in shown.items() if number != 1}
    assert wrong_rows(less) == ["T1 has neither a test nor a reason"]
    assert wrong_rows({**shown, 111: {"tests/x.py::test_x": 1}}) == ["there is no T111"]
    monkeypatch.setitem(ALL, 95, ALL[95]._replace(answer=""))
    assert wrong_rows(shown) == ["T95 has tests and no answer"]
