"""Two people chat in two browsers."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Enter

MARKUP = """<img src=x onerror="document.title='broken in'">
<script>document.title='broken in'</script>
[a link](javascript:document.title='broken%20in') <b>bold</b>
"""


def test_two_people_chat_and_see_each_other_come_type_and_go(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    ada.say("Hello **Bob**")
    bob.open_listed(ada.name)
    bob.sees("Hello Bob")
    expect(bob.page.locator("article strong")).to_have_text("Bob")
    expect(ada.page.locator("header")).to_contain_text("online")
    bob.page.locator("#composer").press_sequentially("Fine")
    expect(ada.page.get_by_test_id("typing")).to_have_text(f"{bob.name} is typing…")
    bob.page.locator("#composer").press("Enter")
    ada.sees("Fine")
    expect(ada.page.get_by_test_id("typing")).to_have_text("")
    expect(ada.page.get_by_role("log", name="New messages")).to_contain_text(f"{bob.name}: Fine")
    bob.page.goto("about:blank")
    expect(ada.page.locator("header")).to_contain_text("last seen")


def test_edits_deletions_reactions_and_replies_are_seen_by_the_other_one(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    ada.say("first")
    ada.sees("first")
    bob.open_listed(ada.name)
    bob.sees("first")
    ada.page.locator("#composer").press("ArrowUp")
    expect(ada.page.locator("#composer")).to_have_value("first")
    ada.say("first, mended")
    bob.sees("first, mended")
    expect(bob.page.get_by_text("(edited)")).to_be_visible()

    row = bob.page.locator("article").filter(has_text="first, mended")
    row.hover()
    row.get_by_role("button", name="React").click()
    bob.page.get_by_role("button", name="🎉").click()
    expect(ada.page.get_by_role("list", name="Reactions")).to_contain_text("1")
    row.hover()
    row.get_by_role("button", name="Reply").click()
    bob.say("an answer")
    ada.sees("an answer")
    answer = ada.page.locator("article").filter(has_text="an answer")
    expect(answer.get_by_role("button", name="first, mended")).to_be_visible()

    first = ada.page.locator("article[data-status=sent]").first
    first.hover()
    first.get_by_role("button", name="More about this message").click()
    ada.page.get_by_role("menuitem", name="Delete").click()
    ada.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(bob.page.get_by_text("Message deleted").first).to_be_visible()
    expect(bob.page.get_by_text("first, mended")).to_have_count(0)


def test_what_comes_while_another_conversation_is_open_is_counted_and_read_when_seen(
    enter: Enter,
) -> None:
    ada, bob, eve = enter("Ada"), enter("Bob"), enter("Eve")
    ada.open_direct(eve.name)
    bob.open_direct(ada.name)
    bob.say("one")
    bob.say("two")
    line = ada.page.get_by_role("navigation").get_by_role("link").filter(has_text=bob.name)
    expect(line).to_contain_text("2 unread")
    line.click()
    ada.sees("two")
    expect(ada.page.get_by_text("New", exact=True)).to_be_visible()
    expect(line).not_to_contain_text("unread")


def test_a_message_that_is_refused_says_why_and_can_be_tried_again(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_group("Tea", bob)
    bob.open_listed("Tea")
    ada.page.get_by_role("button", name="Details and members").click()
    ada.page.get_by_role("button", name=f"More about {bob.name}").click()
    ada.page.get_by_role("menuitem", name="Mute for an hour").click()
    bob.say("am I heard?")
    failed = bob.page.locator("article[data-status=failed]")
    expect(failed).to_contain_text("You are muted in this conversation.")
    bob.page.reload()
    expect(failed).to_contain_text("Not sent.")
    ada.page.get_by_role("button", name=f"More about {bob.name}").click()
    ada.page.get_by_role("menuitem", name="Let write again").click()
    expect(ada.page.get_by_role("menuitem")).to_have_count(0)
    failed.get_by_role("button", name="Retry").click()
    bob.sees("am I heard?")


@pytest.mark.parametrize(
    "text", [">" * 4000 + "x", "- " * 8000 + "x", "*" * 8000 + "a" + "*" * 8000]
)
def test_a_message_that_nests_without_end_is_shown_as_it_was_written(
    enter: Enter, text: str
) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    ada.say(text)
    ada.say("an end")
    bob.open_listed(ada.name)
    bob.sees("an end")
    assert bob.rows() == [text, "an end"]


def test_a_list_in_many_lists_stays_in_its_message(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    ada.say("> " * 20 + "- " * 25 + "deep")
    ada.sees("deep")
    row = ada.page.locator("article[data-status=sent]")
    assert row.evaluate("row => row.querySelectorAll('ul').length") == 25
    messages = ada.page.get_by_role("region", name="Messages")
    assert messages.evaluate("list => list.scrollWidth - list.clientWidth") == 0
    assert row.get_by_text("deep").evaluate("item => item.clientWidth") > 200


@pytest.mark.threat("T87")
def test_markup_of_others_is_shown_as_text_and_runs_nothing(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_group("<i>Tea</i>", bob)
    ada.say(MARKUP)
    bob.page.get_by_role("navigation").get_by_role("link").filter(has_text="Tea").click()
    expect(bob.page.locator("main h1")).to_have_text("<i>Tea</i>")
    row = bob.page.locator("article[data-status=sent]")
    expect(row).to_contain_text("<img src=x onerror=")
    expect(row).to_contain_text("<b>bold</b>")
    assert row.locator("img, script, b, i").count() == 0
    assert row.locator("a[href^='javascript:']").count() == 0
    for link in row.get_by_text("a link").all():
        link.click()
    assert bob.page.title() != "broken in"
    assert ada.page.title() != "broken in"
