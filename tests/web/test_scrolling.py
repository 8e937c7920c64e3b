"""Older messages come without a jump."""

from __future__ import annotations

import httpx2 as httpx
from playwright.sync_api import expect

from tests.scenarios.daemon import Daemon
from tests.web.browser import PASSWORD, Person
from tests.web.conftest import Enter


def fill(daemon: Daemon, person: Person, count: int) -> None:
    """Let somebody say many things in the session that they see."""
    session_id = person.page.url.rpartition("s=")[2]
    with httpx.Client(base_url=daemon.url) as client:
        login = {"email": person.email, "password": PASSWORD}
        token = client.post("/auth/login", json=login).json()["accessToken"]
        for number in range(count):
            answer = client.post(
                f"/chat/sessions/{session_id}/messages",
                json={"content": f"line {number}\n" * (1 + number % 4)},
                headers={"Authorization": f"Bearer {token}"},
            )
            assert answer.status_code == 201, answer.text


def test_fifty_older_rows_move_the_row_that_is_read_by_no_pixel(
    enter: Enter, daemon: Daemon
) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    fill(daemon, ada, 170)
    bob.open_listed(ada.name)
    rows = bob.page.locator("article[data-status=sent]")
    expect(rows.filter(has_text="line 169")).to_be_visible()
    before = rows.count()
    assert before < 170
    bob.page.get_by_label("Messages", exact=True).hover()
    bob.page.mouse.wheel(0, -300)  # a person who reads further up is not pulled down
    expect(bob.page.get_by_role("button", name="Latest")).to_be_visible()
    # The top row of what is seen is read while the page before it comes.
    moved = bob.page.evaluate(
        """async () => {
            const view = document.querySelector('[aria-label="Messages"]');
            const rows = () => [...document.querySelectorAll('article[data-status=sent]')];
            view.scrollTop = 500;
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            const top = view.getBoundingClientRect().top;
            const read = rows().find(row => row.getBoundingClientRect().top >= top);
            const at = read.getBoundingClientRect().top;
            const count = rows().length;
            const deadline = Date.now() + 20000;
            while (rows().length < count + 50 && Date.now() < deadline)
                await new Promise(done => setTimeout(done, 20));
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            return [rows().length - count, read.getBoundingClientRect().top - at];
        }"""
    )
    assert moved == [50, 0]


def test_who_has_scrolled_up_is_not_pulled_down_and_can_jump_to_the_latest(
    enter: Enter, daemon: Daemon
) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    fill(daemon, ada, 40)
    bob.open_listed(ada.name)
    bob.sees("line 39")
    view = bob.page.get_by_label("Messages", exact=True)
    view.hover()
    bob.page.mouse.wheel(0, -20_000)
    expect(bob.page.get_by_role("button", name="Latest")).to_be_visible()
    ada.say("something new")
    expect(bob.page.get_by_role("button", name="1 new")).to_be_visible()
    assert view.evaluate("view => view.scrollTop") < 200
    bob.page.get_by_role("button", name="1 new").click()
    expect(bob.page.locator("article").filter(has_text="something new")).to_be_in_viewport()
    expect(bob.page.get_by_role("button", name="1 new")).to_have_count(0)


def test_a_window_that_holds_more_than_a_page_is_filled_without_being_scrolled(
    enter: Enter, daemon: Daemon
) -> None:
    ada, bob = enter("Ada"), enter("Bob", viewport={"width": 1280, "height": 12_000})
    ada.open_direct(bob.name)
    fill(daemon, ada, 120)
    bob.open_listed(ada.name)
    bob.sees("line 119")
    rows = bob.page.locator("article[data-status=sent]")
    expect(rows).to_have_count(120)
    expect(bob.page.get_by_text("This is where it began.")).to_be_visible()
    view = bob.page.get_by_label("Messages", exact=True)
    assert view.evaluate("view => view.scrollHeight <= view.clientHeight")


def test_a_page_that_did_not_come_is_told_and_comes_when_it_is_asked_for_again(
    enter: Enter, daemon: Daemon
) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    fill(daemon, ada, 80)
    bob.open_listed(ada.name)
    bob.sees("line 79")
    older = "**/messages?beforeSeq=*"
    bob.page.route(older, lambda route: route.abort())
    view = bob.page.get_by_label("Messages", exact=True)
    view.hover()
    bob.page.mouse.wheel(0, -20_000)
    failed = bob.page.get_by_role("alert").filter(has_text="More messages did not come.")
    expect(failed).to_be_visible()
    bob.page.unroute(older)
    failed.get_by_role("button", name="Try again").click()
    expect(failed).to_have_count(0)
    expect(bob.page.locator("article[data-status=sent]")).to_have_count(80)
