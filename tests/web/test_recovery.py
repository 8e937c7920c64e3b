"""What a browser shows after drops: the view equals the server's, nothing is lost or doubled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.scenarios.daemon import Daemon, quiet_port, running_daemon
from tests.web.browser import Person, open_person

LIST = "article[data-status=sent]"


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Daemon]:
    """Run a daemon that comes back on its port."""
    with running_daemon(tmp_path / "data", wanted_port=quiet_port()) as daemon:
        yield daemon


@pytest.fixture
def pair(browser: Browser, mortal: Daemon) -> Iterator[tuple[Person, Person]]:
    """Let two people chat with each other."""
    with ExitStack() as stack:
        ada, bob = [stack.enter_context(open_person(browser, mortal, n)) for n in ("Ada", "Bob")]
        for person in (ada, bob):
            person.sign_up(mortal.url)
        ada.open_direct("Bob")
        bob.open_listed("Ada")
        yield ada, bob
        for person in (ada, bob):
            # The browser itself tells of links that were cut.
            person.complaints.messages[:] = [
                line for line in person.complaints.messages if "WebSocket connection" not in line
            ]


def test_a_daemon_that_is_killed_and_comes_back_costs_no_message_and_doubles_none(
    pair: tuple[Person, Person], mortal: Daemon
) -> None:
    ada, bob = pair
    ada.say("before")
    bob.sees("before")
    mortal.kill()
    banner = ada.page.get_by_role("status").filter(has_text="You are offline.")
    expect(banner).to_have_text(re.compile(r"Trying again in \d+ s\."))
    ada.say("while it was away")
    waiting = ada.page.locator("article[data-status=pending]").filter(has_text="while it was away")
    expect(waiting).to_be_visible()
    bob.say("so was I")
    mortal.start()
    ada.page.get_by_role("button", name="Try now").click()
    for person in (ada, bob):
        for text in ("before", "while it was away", "so was I"):
            person.sees(text)
    expect(banner).to_have_count(0)
    ada.say("after")
    bob.sees("after")
    assert ada.rows() == bob.rows()
    assert len(ada.rows()) == 4


def test_a_message_that_was_not_sent_outlives_a_reload_and_is_sent_once(
    pair: tuple[Person, Person],
) -> None:
    ada, bob = pair
    ada.context.set_offline(True)
    ada.page.evaluate("window.dispatchEvent(new Event('offline'))")
    ada.say("kept")
    expect(ada.page.locator("article").filter(has_text="kept")).to_be_visible()
    ada.context.set_offline(False)
    ada.page.reload()
    ada.sees("kept")
    bob.sees("kept")
    bob.page.reload()
    bob.sees("kept")
    assert ada.rows() == bob.rows() == ["kept"]


def test_a_draft_outlives_a_reload(pair: tuple[Person, Person]) -> None:
    ada, _ = pair
    ada.page.locator("#composer").fill("half a tho")
    ada.page.reload()
    expect(ada.page.locator("#composer")).to_have_value("half a tho")
