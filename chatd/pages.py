"""The page that a person sees when a browser is refused where it was sent, not asked."""

from __future__ import annotations

from html import escape

from chatd.errors import ChatError


def refusal_page(refusal: ChatError, request_id: str) -> str:
    """Return a page without scripts and styles: what went wrong, its code, and where to go on."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign-in</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        'content="light dark"><h1>You are not signed in</h1>'
        f"<p>{escape(refusal.message)}</p>"
        f"<p><code>{escape(refusal.code)}</code>, request <code>{escape(request_id)}</code></p>"
        '<p><a href="/">Back to the start</a></p></html>'
    )
