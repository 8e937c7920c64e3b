"""The same export on another host: its `config.json` names the daemon, whose settings name it."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, expect

from tests.scenarios.daemon import running_daemon
from tests.web.browser import PASSWORD, PATIENCE, Complaints
from tests.web.threaded import serving

SITE = Path(__file__).parent.parent.parent / "chatd" / "web" / "site"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing: the test's output is its own."""


def test_people_sign_up_and_chat_on_a_page_of_another_origin(
    browser: Browser, tmp_path: Path
) -> None:
    shutil.copytree(SITE, tmp_path / "site")
    with ExitStack() as stack:
        port = stack.enter_context(serving(partial(_Quiet, directory=str(tmp_path / "site"))))
        origin = f"http://localhost:{port}"
        daemon = stack.enter_context(running_daemon(tmp_path / "data", cors_origins=origin))
        (tmp_path / "site" / "config.json").write_text(json.dumps({"apiBase": daemon.url}))
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        complaints = Complaints(urlsplit(daemon.url).netloc)
        complaints.watch(page)
        page.goto(f"{origin}/signup/")
        page.get_by_label("Name").fill("Ada")
        page.get_by_label("E-mail").fill("ada@example.org")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign up").click()
        page.wait_for_url(f"{origin}/chat/")
        page.get_by_role("button", name="New conversation").first.click()
        page.get_by_role("radio", name="Public").click()
        page.get_by_label("Name").fill("Tea")
        page.get_by_role("button", name="Create for everybody").click()
        expect(page.locator("main h1")).to_have_text("Tea")
        page.locator("#composer").fill("from elsewhere")
        page.locator("#composer").press("Enter")
        row = page.locator("article[data-status=sent]").filter(has_text="from elsewhere")
        expect(row).to_have_count(1)
        page.reload()
        expect(row).to_have_count(1)
        context.close()
    assert complaints.messages == []
