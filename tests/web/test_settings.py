"""The settings: bots and API tokens, the account's history, a picture."""

from __future__ import annotations

import httpx2 as httpx
from playwright.sync_api import FilePayload, Page, expect

from tests.scenarios.daemon import Daemon
from tests.web.axe import axe_finds
from tests.web.browser import slow_link
from tests.web.conftest import Enter


def status_with(daemon: Daemon, token: str) -> int:
    """Return how the daemon answers a program that shows a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{daemon.url}/chat/sessions", headers=headers).status_code


def open_settings(page: Page) -> None:
    """Go to the settings, and wait for what comes last."""
    page.goto("/settings/")
    expect(page.get_by_role("region", name="API tokens")).to_be_visible()


def test_a_token_of_a_bot_is_shown_once_works_and_ends_when_it_is_revoked(
    enter: Enter, daemon: Daemon
) -> None:
    page = enter("Ada").page
    open_settings(page)
    page.get_by_label("Name of a new bot").fill("Weather")
    page.get_by_role("button", name="Make a bot").click()
    expect(page.get_by_role("list", name="Bots")).to_contain_text("Weather")
    page.get_by_label("Name of a new token").fill("cron job")
    page.get_by_label("It speaks for").select_option("Weather")
    page.get_by_label("write, react").uncheck()
    page.get_by_role("button", name="Make a token").click()
    token = page.get_by_label("The token", exact=True).inner_text().strip()
    assert status_with(daemon, token) == httpx.codes.OK
    page.wait_for_timeout(300)  # the window fades in: a half-seen colour has no contrast
    assert axe_finds(page) == []
    page.get_by_role("button", name="I have kept it").click()
    page.reload()
    line = page.get_by_role("list", name="API tokens").get_by_role("listitem")
    expect(line).to_contain_text("cron job")
    expect(line).to_contain_text("Weather")
    expect(line).to_contain_text("read; until")
    assert token not in page.content()
    page.get_by_role("button", name="Revoke cron job").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(line).to_have_count(0)
    assert status_with(daemon, token) == httpx.codes.UNAUTHORIZED


def test_a_bot_that_is_removed_takes_its_tokens_along(enter: Enter, daemon: Daemon) -> None:
    page = enter("Ada").page
    open_settings(page)
    page.get_by_label("Name of a new bot").fill("Weather")
    page.get_by_role("button", name="Make a bot").click()
    expect(page.get_by_role("list", name="Bots")).to_contain_text("Weather")
    page.get_by_label("Name of a new token").fill("cron job")
    page.get_by_label("It speaks for").select_option("Weather")
    page.get_by_role("button", name="Make a token").click()
    token = page.get_by_label("The token", exact=True).inner_text().strip()
    page.get_by_role("button", name="I have kept it").click()
    page.get_by_role("button", name="Remove Weather").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("list", name="Bots").get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_role("list", name="API tokens").get_by_role("listitem")).to_have_count(0)
    assert status_with(daemon, token) == httpx.codes.UNAUTHORIZED


def test_the_history_tells_what_was_done_to_the_account(enter: Enter) -> None:
    page = enter("Ada").page
    open_settings(page)
    page.get_by_label("Name of a new bot").fill("Weather")
    page.get_by_role("button", name="Make a bot").click()
    expect(page.get_by_role("list", name="Bots")).to_contain_text("Weather")
    page.get_by_role("region", name="History").get_by_role("button", name="Show").click()
    entries = page.get_by_role("list", name="What was done to your account").get_by_role("listitem")
    expect(entries.first).to_contain_text("A bot was made")
    expect(entries.last).to_contain_text("The account was opened")
    expect(entries.last).to_contain_text("127.0.0.1")
    assert axe_finds(page) == []


def test_the_picture_of_an_avatar_can_be_cancelled_while_it_is_uploaded(enter: Enter) -> None:
    ada = enter("Ada")
    open_settings(ada.page)
    slow_link(ada)
    photo: FilePayload = {"name": "me.png", "mimeType": "image/png", "buffer": b"x" * 2_000_000}
    ada.page.get_by_label("Picture", exact=True).set_input_files(photo)
    progress = ada.page.get_by_role("progressbar", name="Uploading your picture")
    expect(progress).to_be_visible()
    ada.page.wait_for_function("() => document.querySelector('progress')?.value > 0")
    ada.page.get_by_role("button", name="Cancel").click()
    expect(progress).to_have_count(0)
    expect(ada.page.get_by_role("button", name="Choose a picture")).to_be_visible()
    expect(ada.page.get_by_text("The picture was not taken")).to_have_count(0)
