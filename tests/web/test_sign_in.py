"""Signing in elsewhere, in a browser: away to the provider, and back with a login."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.scenarios.daemon import quiet_port, running_daemon
from tests.sign_in.issuer import CLIENT_ID, CLIENT_SECRET
from tests.sign_in.provider import running_provider
from tests.sign_in.site import CALLBACK
from tests.web.browser import open_person


def test_who_signs_in_elsewhere_comes_back_into_the_chat_and_stays(
    browser: Browser, tmp_path: Path
) -> None:
    port = quiet_port()
    url = f"http://127.0.0.1:{port}"
    with (
        running_provider(f"{url}{CALLBACK}") as issuer,
        running_daemon(
            tmp_path / "data",
            wanted_port=port,
            public_url=url,
            oidc_issuer=issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
        ) as daemon,
        open_person(browser, daemon, "Zoe") as zoe,
    ):
        page = zoe.page
        # The provider's pages ask other hosts for letters; nothing is tested of them.
        page.route(
            lambda asked: not asked.startswith("http://127.0.0.1:"), lambda route: route.abort()
        )
        page.goto(f"{url}/login/")
        page.get_by_role("button", name="Continue with Google").click()
        page.locator("input[name=login]").fill("zoe")
        page.locator("input[name=password]").fill("any")
        page.locator("button[type=submit]").click()
        page.locator("button[type=submit]", has_text="Continue").click()
        page.wait_for_url(f"{url}/chat/")
        expect(page.get_by_role("button", name="zoe@example.com")).to_be_visible()
        assert any(asked.startswith(issuer) for asked in zoe.complaints.foreign)
        zoe.complaints.messages.clear()
        zoe.complaints.foreign.clear()
        page.reload()
        expect(page.get_by_role("button", name="zoe@example.com")).to_be_visible()
