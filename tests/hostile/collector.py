"""A plugin of pytest: writes which tests are about which attack, as JSON, into THREATS_FILE."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

FOLDER = "tests/hostile/"
_IN_PARAMETERS = re.compile(r"(?:^|[-\[ ])T(\d+)\b")
_IN_NAME = re.compile(r"_t(\d+)_")


def threats_of(item: pytest.Item) -> set[int]:
    """Return the attacks that a test is about."""
    marked = [id_ for mark in item.iter_markers("threat") for id_ in mark.args]
    found = {int(id_.removeprefix("T")) for id_ in marked}
    if item.nodeid.startswith(FOLDER):
        name, _, parameters = item.name.partition("[")
        found |= {int(number) for number in _IN_NAME.findall(name)}
        found |= {int(number) for number in _IN_PARAMETERS.findall(parameters)}
    return found


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write what was collected."""
    tests: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for item in session.items:
        for number in threats_of(item):
            tests[number][item.nodeid.partition("[")[0]] += 1
    Path(os.environ["THREATS_FILE"]).write_text(json.dumps(tests))
