"""Who looks after a conversation: roles, bans and their end, the audit log."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.web.axe import axe_finds
from tests.web.browser import Person
from tests.web.conftest import Enter


def choose(person: Person, other: Person, what: str) -> None:
    """Choose something to be done with a member, in the open details."""
    person.page.get_by_role("button", name=f"More about {other.name}").click()
    person.page.get_by_role("menuitem", name=what).click()


def test_who_is_banned_is_listed_and_comes_back_when_the_ban_is_lifted(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_group("Tea", bob)
    bob.open_listed("Tea")
    ada.page.get_by_role("button", name="Details and members").click()
    choose(ada, bob, "Ban")
    expect(bob.page.get_by_role("navigation").get_by_role("link")).to_have_count(0)
    banned = ada.page.get_by_role("region", name="Banned")
    expect(banned).to_contain_text(bob.name)
    expect(banned).to_contain_text("until it is lifted")
    ada.page.get_by_role("button", name="Show").click()
    log = ada.page.get_by_role("list", name="What was done").get_by_role("listitem")
    expect(log.first).to_contain_text(f"{ada.name} banned {bob.name}")
    ada.page.wait_for_timeout(300)  # the window fades in: a half-seen colour has no contrast
    assert axe_finds(ada.page) == []
    ada.page.get_by_role("button", name=f"Lift the ban of {bob.name}").click()
    expect(banned).to_have_count(0)
    ada.page.get_by_role("button", name="Add").click()
    ada.page.get_by_role("combobox", name="People to add").fill(bob.name)
    ada.page.get_by_role("option", name=bob.name).click()
    bob.open_listed("Tea")
    ada.page.get_by_role("button", name="Hide").click()
    ada.page.get_by_role("button", name="Show").click()
    expect(log.first).to_contain_text(f"{ada.name} lifted the ban of {bob.name}")


def test_a_role_that_is_given_is_seen_and_opens_what_it_allows(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_group("Tea", bob)
    bob.open_listed("Tea")
    bob.page.get_by_role("button", name="Details and members").click()
    expect(bob.page.get_by_role("region", name="Rules")).to_have_count(0)
    ada.page.get_by_role("button", name="Details and members").click()
    choose(ada, bob, "Make admin")
    members = ada.page.get_by_role("region", name="2 members")
    expect(members.get_by_role("listitem").filter(has_text=bob.name)).to_contain_text("Admin")
    expect(bob.page.get_by_role("region", name="Rules")).to_be_visible()
    choose(ada, bob, "Let read only")
    expect(bob.page.get_by_role("region", name="Rules")).to_have_count(0)
    expect(bob.page.get_by_text("Only admins can write here.")).to_be_visible()
