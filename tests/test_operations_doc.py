"""`docs/operations.md` explains every metric that there is, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import chatd
from chatd.config import Settings

ROOT = Path(chatd.__file__).parents[1]
_MADE = re.compile(
    r"\b(Counter|Gauge|Histogram|CounterMetricFamily|GaugeMetricFamily)\(\s*"
    r'"(chatd_\w+)",\s*"([^"]+)"'
)


def documented() -> list[str]:
    text = (ROOT / "docs/operations.md").read_text()
    _, _, section = text.partition("\n## Metrics\n")
    return re.findall(r"^\| `(chatd_\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)


def made() -> dict[str, str]:
    """Return the row that each metric needs, by the name that Prometheus sees."""
    source = (ROOT / "chatd/metrics.py").read_text()
    found = _MADE.findall(source)
    named = re.findall(r'"(chatd_\w+)"', source)
    assert sorted(name for _, name, _ in found) == sorted(named), "a metric is made in another way"
    shown = [(name + "_total" * kind.startswith("Counter"), text) for kind, name, text in found]
    return {name: f"| `{name}` | {text} | |" for name, text in shown}


def test_every_metric_has_a_row_that_says_what_it_means() -> None:
    missing = [row for name, row in made().items() if name not in documented()]
    assert missing == [], "add to the table in docs/operations.md:\n" + "\n".join(missing)


def test_no_row_is_of_a_metric_that_has_gone_or_stands_there_twice() -> None:
    rows = documented()
    assert [name for name in rows if name not in made() or rows.count(name) > 1] == []


def test_the_settings_that_the_document_names_are_settings() -> None:

    text = (ROOT / "docs/operations.md").read_text()
    [first, second] = re.findall(
        r"^\| setting \| \|\n\| --- \| --- \|\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    named = re.findall(r"`([a-z][a-z0-9_]+)`", first + second)
    assert [name for name in named if name not in Settings.model_fields] == []
