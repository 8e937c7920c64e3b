"""A real browser on the real daemon: people, each in a context of their own, and complaints."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect
from playwright.sync_api import sync_playwright as playwright

from tests.scenarios.daemon import Daemon

CHROMIUM = shutil.which("chromium")
PATIENCE = 30_000.0  # milliseconds for what the browser waits for; the machine is shared
# Without these Chromium asks its maker's hosts by itself.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "correct horse battery"
COMPOSER = "#composer"


@dataclass
class Complaints:
    """What a page did that it should not."""

    origin: str
    messages: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)  # requests to other origins

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.messages.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._console(page, message))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda opened: self._asked(opened.url))

    def _console(self, page: Page, message: ConsoleMessage) -> None:
        # A refused call is the browser's own line; what the page makes of it is tested.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.messages.append(f"{page.url}: {message.text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob", "about"} and parts.netloc != self.origin:
            self.foreign.append(url)


@dataclass
class Person:
    """Somebody with a browser of their own."""

    name: str
    page: Page
    context: BrowserContext
    complaints: Complaints

    @property
    def email(self) -> str:
        return f"{self.name.lower()}@example.org"

    def sign_up(self, url: str) -> None:
        """Open an account through the page, and be in the chat."""
        self.page.goto(f"{url}/signup/")
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("E-mail").fill(self.email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign up").click()
        self.page.wait_for_url("**/chat/")
        expect(self.page.get_by_role("button", name=self.email)).to_be_visible()

    def open_direct(self, other: str) -> None:
        """Begin a conversation with one person."""
        self.page.get_by_role("button", name="New conversation").first.click()
        self.page.get_by_role("combobox", name="People").fill(other)
        self.page.get_by_role("option", name=other).click()
        expect(self.page.locator("main h1")).to_have_text(other)

    def open_group(self, name: str, *others: Person) -> None:
        """Begin a group with some people."""
        self.page.get_by_role("button", name="New conversation").first.click()
        self.page.get_by_role("radio", name="Group").click()
        self.page.get_by_label("Name").fill(name)
        for other in others:
            self.page.get_by_role("combobox", name="People").fill(other.name)
            self.page.get_by_role("option", name=other.name).click()
        self.page.get_by_role("button", name="Create the group").click()
        expect(self.page.locator("main h1")).to_have_text(name)

    def open_listed(self, title: str) -> None:
        """Open a conversation that the list shows."""
        self.page.get_by_role("navigation").get_by_role("link").filter(has_text=title).click()
        expect(self.page.locator("main h1")).to_have_text(title)

    def say(self, text: str) -> None:
        """Write a message and send it with Enter."""
        self.page.locator(COMPOSER).fill(text)
        self.page.locator(COMPOSER).press("Enter")

    def sees(self, text: str) -> None:
        """Wait until a message is shown as stored, once."""
        row = self.page.locator("article[data-status=sent]").filter(has_text=text)
        expect(row).to_have_count(1)

    def rows(self) -> list[str]:
        """Return the texts of the messages that are shown as stored, in their order."""
        return [
            row.strip()
            for row in self.page.locator(
                "article[data-status=sent] p.whitespace-pre-wrap"
            ).all_inner_texts()
        ]


def slow_link(person: Person) -> None:
    """Let somebody upload 200 kB a second: two megabytes take ten seconds."""
    link = person.context.new_cdp_session(person.page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    link.send("Network.emulateNetworkConditions", slow)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run Debian's Chromium for the block."""
    assert CHROMIUM is not None, "the tests of the web client need Debian's chromium"
    # trio-asyncio gives its own loop to whoever has chosen none, and Playwright's does not fit it.
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        with playwright() as library:
            browser = library.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            yield browser
            browser.close()
    finally:
        asyncio.set_event_loop_policy(None)


@contextmanager
def open_person(browser: Browser, daemon: Daemon, name: str, **context: object) -> Iterator[Person]:
    """Give somebody a browser context; it must have broken no policy and asked no other origin."""
    with browser.new_context(base_url=daemon.url, **context) as opened:  # type: ignore[arg-type]
        opened.set_default_timeout(PATIENCE)
        complaints = Complaints(urlsplit(daemon.url).netloc)
        page = opened.new_page()
        complaints.watch(page)
        yield Person(name, page, opened, complaints)
    assert complaints.messages == []
    assert complaints.foreign == []
