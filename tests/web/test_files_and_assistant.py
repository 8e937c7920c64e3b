"""Files and the assistant in a browser: uploads with their progress, answers as they come."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, FilePayload, expect

from tests.scenarios.daemon import running_daemon
from tests.web.axe import axe_finds
from tests.web.browser import PATIENCE, open_person, slow_link
from tests.web.conftest import Enter
from tests.web.threaded import serving


def picture(side: int) -> bytes:
    out = BytesIO()
    Image.new("RGB", (side, side), "teal").save(out, "PNG")
    return out.getvalue()


def test_a_picture_and_a_document_are_sent_with_a_message_and_seen(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    sea: FilePayload = {"name": "sea.png", "mimeType": "image/png", "buffer": picture(400)}
    milk: FilePayload = {"name": "list.txt", "mimeType": "text/plain", "buffer": b"milk\n" * 100}
    ada.page.get_by_label("Files to attach").set_input_files([sea, milk])
    waiting = ada.page.get_by_role("list", name="Files to send")
    expect(waiting).to_contain_text("sea.png")
    expect(waiting).to_contain_text("500 B")  # complete: its size is in the place of its progress
    expect(waiting.get_by_role("progressbar")).to_have_count(0)
    ada.say("look")
    bob.open_listed(ada.name)
    bob.sees("look")
    shown = bob.page.get_by_role("list", name="Files", exact=True)
    expect(shown.get_by_role("button", name="list.txt")).to_be_visible()
    image = shown.get_by_role("img", name="sea.png")
    expect(image).to_be_visible()
    bob.page.wait_for_function(
        "() => document.querySelector('img[alt=\"sea.png\"]').naturalWidth > 1", timeout=PATIENCE
    )


def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    slow_link(ada)
    film: FilePayload = {"name": "film.bin", "mimeType": "video/mp4", "buffer": b"x" * 2_000_000}
    ada.page.get_by_label("Files to attach").set_input_files(film)
    progress = ada.page.get_by_role("progressbar", name="Uploading film.bin")
    expect(progress).to_be_visible()
    ada.page.wait_for_function(
        "() => { const bar = document.querySelector('progress'); return bar && bar.value > 0; }"
    )
    ada.page.locator("#composer").fill("written meanwhile")
    expect(ada.page.get_by_role("button", name="Send")).to_be_disabled()  # it goes with its file
    ada.page.get_by_role("button", name="Remove film.bin").click()
    expect(ada.page.get_by_role("list", name="Files to send")).to_have_count(0)
    ada.page.locator("#composer").press("Enter")
    ada.sees("written meanwhile")


def test_an_empty_file_is_refused_before_it_is_sent_and_can_be_taken_out(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    ada.open_direct(bob.name)
    ada.page.get_by_label("Files to attach").set_input_files(
        {"name": "nothing.txt", "mimeType": "text/plain", "buffer": b""}
    )
    expect(ada.page.get_by_role("alert").filter(has_text="The file is empty.")).to_be_visible()
    ada.page.get_by_role("button", name="Remove nothing.txt").click()
    expect(ada.page.get_by_role("list", name="Files to send")).to_have_count(0)


class Model(BaseHTTPRequestHandler):
    """Answers like a language model: words until it is told to end, or its reader has gone."""

    words = ("The ", "sea ", "is ", "**deep**", ".")
    may_end = threading.Event()
    is_left = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for word in self.words:
                self._say({"index": 0, "delta": {"content": word}, "finish_reason": None})
            while not self.may_end.wait(0.05):
                self.wfile.write(b": still thinking\n\n")
            self._say({"index": 0, "delta": {}, "finish_reason": "stop"})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.is_left.set()

    def _say(self, choice: dict[str, object]) -> None:
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "sea",
            "choices": [choice],
        }
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_args: object) -> None:
        """Say nothing: the test's output is its own."""


@contextmanager
def running_model() -> Iterator[str]:
    Model.may_end.clear()
    Model.is_left.clear()
    with serving(Model) as port:
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            Model.may_end.set()


def test_an_answer_is_seen_as_it_comes_outlives_a_reload_and_is_stopped(
    browser: Browser, tmp_path: Path
) -> None:
    with running_model() as url:
        settings: dict[str, Any] = {
            "openai_model": "sea",
            "openai_base_url": url,
            "ai_titles": "off",
        }
        with (
            running_daemon(tmp_path / "data", **settings) as daemon,
            open_person(browser, daemon, "Ada") as ada,
        ):
            ada.sign_up(daemon.url)
            ada.page.get_by_role("button", name="Assistant").click()
            ada.page.get_by_role("button", name="Ask something new").click()
            ada.page.get_by_label("Question").fill("How deep is the sea?")
            ada.page.get_by_label("Question").press("Enter")
            answer = ada.page.locator("article[data-answer]")
            expect(answer).to_contain_text("The sea is deep.")
            expect(answer).to_have_attribute("data-status", "STREAMING")
            ada.page.reload()
            expect(answer).to_contain_text("The sea is deep.")
            expect(answer.locator("strong")).to_have_text("deep")
            ada.page.get_by_role("button", name="Stop").click()
            expect(answer).to_have_attribute("data-status", "STOPPED")
            expect(answer).to_contain_text("You stopped this answer.")
            assert Model.is_left.wait(10)
            Model.may_end.set()
            ada.page.get_by_role("button", name="Answer again").click()
            expect(answer).to_have_attribute("data-status", "COMPLETE")
            expect(answer).to_contain_text("The sea is deep.")
            assert axe_finds(ada.page) == []
