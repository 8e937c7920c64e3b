"""The table of attacks in docs/security.md: `python -m tests.hostile.table` writes it.

What is shown comes from the tests themselves, as pytest collects them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.hostile.threats import ALL, THREATS, Threat

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/security.md"
BEGIN = "<!-- attacks: written by `make threats` -->"
END = "<!-- the end of the attacks -->"
HEAD = ["| | attack | answer | shown by |", "| --- | --- | --- | --- |"]
SHOWN = 2  # tests of a row by name; the others are counted

Tests = Mapping[int, Mapping[str, int]]


def collect_tests() -> Tests:
    """Return for each attack its tests, and how many cases each has."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "threats.json"
        collected = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "tests", "--collect-only", "-q"),
                *("-p", "tests.hostile.collector", "-p", "no:cacheprovider"),
            ],
            cwd=ROOT,
            env=os.environ | {"THREATS_FILE": str(file)},
            capture_output=True,
            text=True,
            check=False,
        )
        if collected.returncode:
            raise RuntimeError(collected.stdout[-4000:] + collected.stderr[-4000:])
        found: dict[str, dict[str, int]] = json.loads(file.read_text())
    return {int(number): tests for number, tests in found.items()}


def table(tests: Tests) -> str:
    """Return the table, a section for each kind of attack."""
    lines: list[str] = []
    for title, threats in THREATS.items():
        lines += [
            f"### {title}",
            "",
            "| | attack | answer | shown by |",
            "| --- | --- | --- | --- |",
        ]
        lines += [_row(number, threat, tests) for number, threat in threats.items()]
        lines.append("")
    return "\n".join(lines)


def _row(number: int, threat: Threat, tests: Tests) -> str:
    cells = (f"T{number}", threat.attack, threat.answer, _shown(tests.get(number, {}), threat))
    return f"| {' | '.join(cells)} |"


def _shown(tests: Mapping[str, int], threat: Threat) -> str:
    """Name the tests with the most cases, and say what is open."""
    names = sorted(tests, key=lambda name: (-tests[name], name))
    parts = [f"`{name.removeprefix('tests/')}`" for name in names[:SHOWN]]
    if len(names) > SHOWN:
        parts.append(f"{len(names) - SHOWN} more")
    if threat.open:
        parts.append(f"*{'not shown' if tests else 'open'}: {threat.open}*")
    return ", ".join(parts)


def wrong_rows(tests: Tests) -> list[str]:
    """Return what keeps the table from being whole: no test and no reason, or no such attack."""
    wrong = [
        f"T{number} has neither a test nor a reason"
        for number, threat in ALL.items()
        if not tests.get(number) and not threat.open
    ]
    wrong += [
        f"T{number} has tests and no answer"
        for number, threat in ALL.items()
        if tests.get(number) and not threat.answer
    ]
    return wrong + [f"there is no T{number}" for number in tests if number not in ALL]


def rewritten(document: str, tests: Tests) -> str:
    """Return a document with the table of today between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(tests)}\n{END}{after}"


if __name__ == "__main__":
    found = collect_tests()
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text(), found))
    sys.exit("\n".join(wrong_rows(found)) or None)
