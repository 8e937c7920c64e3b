"""The attacks that chatd is held against, T1 to T110, as threats.toml lists them.

A row has at least one test, or says in `open` why it has none. A test names its attacks by
`@pytest.mark.threat("T1")`; in this folder the id may stand in the id of a parameter ("T1 both
lengths") or in the name of the test (`..._t1_...`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("threats.toml")


class Threat(NamedTuple):
    """One attack: what it gets, and why there is no test or what its tests leave open."""

    attack: str
    answer: str = ""
    open: str = ""


# By kind, then by number.
THREATS: dict[str, dict[int, Threat]] = {
    title: {int(id_.removeprefix("T")): Threat(**row) for id_, row in rows.items()}
    for title, rows in tomllib.loads(FILE.read_text()).items()
}
ALL = {number: threat for section in THREATS.values() for number, threat in section.items()}
