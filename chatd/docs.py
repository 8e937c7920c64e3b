"""The page at `/docs`: each operation with its route, event and fields, without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from pydantic import BaseModel

from chatd import __version__
from chatd.events.server import SERVER_EVENTS
from chatd.handlers.operations import Operation
from chatd.wire.edge import CLOSED

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1b1b1f;background:#fff}
code{font-family:ui-monospace,monospace;background:#f1f1f4;padding:.1em .3em;border-radius:4px}
h2{border-bottom:1px solid #ddd;margin-top:2.5rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#17171a}code{background:#2a2a30}
h2{border-color:#444}a{color:#9ab8ff}}
"""


def docs_page(operations: Sequence[Operation]) -> tuple[str, str]:
    """Return the page and the Content-Security-Policy that allows its one style sheet."""
    body = "".join(_operation(operation) for operation in operations)
    events = "".join(
        f"<h3><code>{escape(name)}</code></h3><p>{_first_line(model)}</p>{_fields(model)}"
        for name, model in SERVER_EVENTS.items()
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>chatd API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>chatd {escape(__version__)}</h1>"
        '<p>Machine-readable: <a href="/openapi.json">openapi.json</a> (REST), '
        '<a href="/asyncapi.json">asyncapi.json</a> (sockets). REST takes '
        "<code>Authorization: Bearer</code>; the WebSocket <code>/ws</code> takes "
        '<code>{"event":"auth","data":{"token":"…"}}</code> as its first frame.</p>'
        f"<h2>Operations</h2>{body}<h2>Events of the server</h2>{events}</html>"
    )
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return page, f"default-src 'none'; style-src 'sha256-{digest}'; {CLOSED}"


def _operation(operation: Operation) -> str:
    doors = []
    if operation.route is not None:
        doors.append(f"<code>{operation.route.method} {escape(operation.route.path)}</code>")
    if operation.event is not None:
        doors.append(f"<code>{escape(operation.event)}</code>")
    title, fields = escape(operation.summary), _fields(operation.command)
    return f"<h3>{title}</h3><p>{' · '.join(doors)}</p>{fields}"


def _fields(model: type[BaseModel]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(field.alias or name)}</code></td>"
        f"<td>{'required' if field.is_required() else 'optional'}</td>"
        f"<td>{escape(field.description or '')}</td></tr>"
        for name, field in model.model_fields.items()
    )
    return f"<table>{rows}</table>" if rows else ""


def _first_line(model: type[BaseModel]) -> str:
    return escape((model.__doc__ or "").split("\n", 1)[0])
