"""One browser for all tests of the web client, and one daemon for those that do not kill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count

import pytest
from playwright.sync_api import Browser, expect

from tests.scenarios.daemon import Daemon, running_daemon
from tests.web.browser import PATIENCE, Person, open_browser, open_person

Enter = Callable[..., Person]
_numbers = count(1)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Run a browser."""
    expect.set_options(timeout=PATIENCE)
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for the session; each test has its own people."""
    with running_daemon(tmp_path_factory.mktemp("web") / "data") as daemon:
        yield daemon


@pytest.fixture
def enter(browser: Browser, daemon: Daemon) -> Iterator[Enter]:
    """Return what brings somebody new into the chat, in a browser context of their own."""
    with ExitStack() as stack:

        def enter(name: str, **context: object) -> Person:
            unique = f"{name}{next(_numbers)}"
            person = stack.enter_context(open_person(browser, daemon, unique, **context))
            person.sign_up(daemon.url)
            return person

        yield enter
