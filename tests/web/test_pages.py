"""Every page: reachable by keyboard, free of what axe finds, on a phone as well, and by itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.scenarios.daemon import Daemon
from tests.web.axe import axe_finds
from tests.web.browser import COMPOSER, PASSWORD, Person, open_person
from tests.web.conftest import Enter

PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "path",
    [
        *("/", "/login/", "/signup/", "/invite/?code=none", "/nothing-there", "/auth/forgot/"),
        *("/auth/reset/#token=none", "/auth/verify/#token=none", "/auth/return/?code=none"),
    ],
)
def test_axe_finds_nothing_on_a_page_before_login(
    browser: Browser, daemon: Daemon, path: str, theme: str
) -> None:
    with open_person(browser, daemon, "Nobody", color_scheme=theme) as nobody:
        nobody.page.goto(f"{daemon.url}{path}")
        expect(nobody.page.locator("main h1")).to_be_visible()
        nobody.page.wait_for_load_state("networkidle")
        assert axe_finds(nobody.page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_chat_and_its_windows(enter: Enter, theme: str) -> None:
    ada, bob = enter("Ada", color_scheme=theme), enter("Bob")
    assert axe_finds(ada.page) == []
    ada.open_direct(bob.name)
    ada.say("Hello, `code`, [a link](https://example.org)\n\n```\nx\n```")
    ada.sees("Hello")
    assert axe_finds(ada.page) == []
    for button in ("Details and members", "New conversation", "Search messages"):
        ada.page.get_by_role("button", name=button).first.click()
        assert_window_is_clean(ada.page)
    ada.page.keyboard.press("Control+k")
    assert_window_is_clean(ada.page)
    ada.page.get_by_role("button", name="More", exact=True).click()
    ada.page.get_by_role("menuitem", name="Pinned messages").click()
    assert_window_is_clean(ada.page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_settings_and_their_windows(enter: Enter, theme: str) -> None:
    page = enter("Ada", color_scheme=theme).page
    page.goto("/settings/")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    expect(page.get_by_text("this one")).to_be_visible()
    expect(page.get_by_role("region", name="API tokens")).to_be_visible()
    assert axe_finds(page) == []
    for button in ("Turn on", "Delete my account"):
        page.get_by_role("button", name=button).click()
        assert_window_is_clean(page)


def assert_window_is_clean(page: Page) -> None:
    """Check the window that has been opened, and close it."""
    expect(page.get_by_role("dialog")).to_be_visible()
    page.wait_for_timeout(300)  # the window fades in: a half-seen colour has no contrast
    assert axe_finds(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_breaks_the_policy_of_a_page_is_noticed(browser: Browser, daemon: Daemon) -> None:
    with open_person(browser, daemon, "Nobody") as nobody:
        nobody.page.goto(f"{daemon.url}/login/")
        nobody.page.evaluate("document.body.appendChild(new Image()).src = 'http://localhost:1/x'")
        nobody.page.evaluate(
            "document.body.appendChild(document.createElement('script')).text = '1'"
        )
        nobody.page.wait_for_function("() => document.images.length > 0")
        nobody.page.goto(f"{daemon.url}/signup/")
        said = [message for message in nobody.complaints.messages if "Content Security" in message]
        assert len(said) == 2
        nobody.complaints.messages.clear()
        nobody.complaints.foreign.clear()


def test_shortcuts_walk_through_the_conversations_and_open_windows(enter: Enter) -> None:
    ada, bob, eve = enter("Ada"), enter("Bob"), enter("Eve")
    page = ada.page
    for other in (bob, eve):  # the one spoken in last stands first
        ada.open_direct(other.name)
        ada.say(f"Hello {other.name}")
        ada.sees(f"Hello {other.name}")
    page.keyboard.press("Alt+ArrowDown")
    expect(page.locator("main h1")).to_have_text(bob.name)
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator("main h1")).to_have_text(eve.name)
    page.keyboard.press("Control+Shift+f")
    expect(page.get_by_role("dialog", name="Search messages")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("#composer").press("?")
    expect(page.locator("#composer")).to_have_value("?")  # who writes it means it
    page.get_by_label("Messages", exact=True).focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert_window_is_clean(page)


@pytest.mark.parametrize(
    "path", ["/login/", "/signup/", "/auth/forgot/", "/auth/reset/#token=none"]
)
def test_a_page_has_no_form_before_its_scripts_run(
    browser: Browser, daemon: Daemon, path: str
) -> None:
    """Nobody would hear it: a press of Enter would put the password into the address."""
    with open_person(browser, daemon, "Nobody") as nobody:
        page = nobody.page
        page.route("**/*.js", lambda _: None)  # as on a line that is slow
        page.goto(f"{daemon.url}{path}", wait_until="commit")
        expect(page.locator("main h1")).to_be_visible()
        expect(page.locator("main [aria-busy]")).to_be_attached()
        assert page.locator("input, button[type=submit]").count() == 0
        page.unroute("**/*.js")  # those that wait go on
        expect(page.locator("main input").first).to_be_focused()
        expect(page.locator("main [aria-busy]")).to_have_count(0)


def test_a_browser_without_scripts_is_told(browser: Browser, daemon: Daemon) -> None:
    with open_person(browser, daemon, "Nobody", java_script_enabled=False) as nobody:
        for path in ("/", "/login/", "/chat/"):
            nobody.page.goto(f"{daemon.url}{path}")
            said = nobody.page.locator("noscript p")  # nothing that Playwright finds by its text
            expect(said).to_be_visible()
            expect(said).to_contain_text("needs JavaScript")


@pytest.mark.parametrize(
    ("path", "remembered"), [("/login/", "current-password"), ("/signup/", "new-password")]
)
def test_a_password_is_hidden_can_be_pasted_and_is_left_to_the_browsers_own_memory(
    browser: Browser, daemon: Daemon, path: str, remembered: str
) -> None:
    with open_person(browser, daemon, "Nobody") as nobody:
        page = nobody.page
        page.goto(f"{daemon.url}{path}")
        expect(page.get_by_label("E-mail")).to_have_attribute("autocomplete", "username")
        box = page.get_by_label("Password")
        expect(box).to_have_attribute("type", "password")
        expect(box).to_have_attribute("autocomplete", remembered)
        page.get_by_label("E-mail").fill(PASSWORD)
        for key in ("Control+a", "Control+c"):
            page.get_by_label("E-mail").press(key)
        box.press("Control+v")
        expect(box).to_have_value(PASSWORD)


def test_from_login_to_a_sent_message_by_keyboard_alone(
    browser: Browser, daemon: Daemon, enter: Enter
) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    with open_person(browser, daemon, "Ada") as again:
        page = again.page
        page.goto(f"{daemon.url}/login/")
        expect(page.get_by_label("E-mail")).to_be_focused()
        page.keyboard.type(ada.email)
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/chat/")
        expect(page.get_by_role("navigation")).to_contain_text(bob.name)
        page.keyboard.press("Control+k")
        expect(page.get_by_role("combobox", name="Conversations")).to_be_focused()
        page.keyboard.type(bob.name)
        page.keyboard.press("Enter")
        expect(page.locator("#composer")).to_be_focused()
        page.keyboard.type("by keyboard")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("in two lines")
        page.keyboard.press("Enter")
        again.sees("in two lines")
    bob.open_listed(ada.name)
    bob.sees("by keyboard")


def test_on_a_phone_the_list_and_the_conversation_take_turns(enter: Enter) -> None:
    ada, bob = enter("Ada", viewport=PHONE, has_touch=True, is_mobile=True), enter("Bob")
    bob.open_direct(ada.name)
    bob.say("on the way?")
    ada.page.get_by_role("link").filter(has_text=bob.name).tap()
    ada.sees("on the way?")
    expect(ada.page.get_by_role("navigation")).not_to_be_visible()
    ada.say("yes")
    bob.sees("yes")
    width = ada.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    assert axe_finds(ada.page) == []
    ada.page.get_by_role("button", name="Back to the conversations").tap()
    expect(ada.page.get_by_role("navigation")).to_be_visible()


def test_who_logs_out_is_at_the_login_and_comes_back_to_where_they_were(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    place = ada.page.url
    ada.page.get_by_role("button", name=ada.email).click()
    ada.page.get_by_role("menuitem", name="Log out").click()
    ada.page.wait_for_url("**/login/**")
    ada.page.goto(place)
    ada.page.wait_for_url("**/login/**")
    ada.page.get_by_label("E-mail").fill(ada.email)
    ada.page.get_by_label("Password").fill(PASSWORD)
    ada.page.get_by_role("button", name="Log in").click()
    ada.page.wait_for_url(place)
    expect(ada.page.locator("main h1")).to_have_text(bob.name)


def kept(person: Person) -> str:
    """Return all that the page's browser keeps of it."""
    text: str = person.page.evaluate("JSON.stringify({ ...localStorage, ...sessionStorage })")
    return text


def until_kept(person: Person, text: str, *, is_kept: bool = True) -> None:
    """Wait until the browser keeps a text, or no more; a script of ours may not wait there."""
    for _ in range(200):
        if (text in kept(person)) is is_kept:
            return
        person.page.wait_for_timeout(50)
    raise AssertionError(kept(person))


def test_nothing_that_was_written_stays_behind_a_logout(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    ada.context.set_offline(True)
    ada.page.evaluate("window.dispatchEvent(new Event('offline'))")
    ada.say("waits for a line")
    ada.page.locator(COMPOSER).fill("half a thought")
    until_kept(ada, "half a thought")
    until_kept(ada, "waits for a line")
    ada.page.get_by_role("button", name=ada.email).click()
    ada.page.get_by_role("menuitem", name="Log out").click()
    question = ada.page.get_by_role("dialog")
    expect(question).to_contain_text("A message has not been sent yet.")
    question.get_by_role("button", name="Cancel").click()
    assert "waits for a line" in kept(ada)
    ada.page.get_by_role("button", name=ada.email).click()
    ada.page.get_by_role("menuitem", name="Log out").click()
    question.get_by_role("button", name="Log out").click()
    for text in ("half a thought", "waits for a line", "refreshToken"):
        until_kept(ada, text, is_kept=False)
    offline = "ERR_INTERNET_DISCONNECTED"  # the browser's own words for a socket that was tried
    ada.complaints.messages = [line for line in ada.complaints.messages if offline not in line]


def test_a_wrong_password_and_a_taken_address_are_told_where_they_were_written(
    browser: Browser, daemon: Daemon, enter: Enter
) -> None:
    ada = enter("Ada")
    with open_person(browser, daemon, "Thief") as thief:
        thief.page.goto(f"{daemon.url}/login/")
        thief.page.get_by_label("E-mail").fill(ada.email)
        thief.page.get_by_label("Password").fill("not hers at all")
        thief.page.get_by_role("button", name="Log in").click()
        expect(thief.page.get_by_role("alert").first).to_contain_text("do not fit")
        thief.page.goto(f"{daemon.url}/signup/")
        thief.page.get_by_label("Name").fill("Ada")
        thief.page.get_by_label("E-mail").fill(ada.email)
        thief.page.get_by_label("Password").fill(PASSWORD)
        thief.page.get_by_role("button", name="Sign up").click()
        expect(thief.page.get_by_text("This address has an account already.")).to_be_visible()
