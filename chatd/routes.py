"""Where each operation of REST is, and the documents that tell of them.

Both are the same for every daemon, and tests start many in one process: they are made once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache

from quart import Response
from quart_trio import QuartTrio
from werkzeug.routing import Map

from chatd.asyncapi import asyncapi_document
from chatd.docs import docs_page
from chatd.events.server import SERVER_EVENTS
from chatd.handlers.catalogue import OPERATIONS
from chatd.model import dumps
from chatd.openapi import openapi_document

_DOCUMENTS = {"openapi": "/openapi.json", "asyncapi": "/asyncapi.json", "docs": "/docs"}


@cache
def routes() -> Map:
    """Return the paths; their endpoints are the names of the operations and of the documents."""
    app = QuartTrio("routes", static_folder=None)
    for operation in OPERATIONS:
        if operation.route is not None:
            app.add_url_rule(
                operation.route.path,
                operation.name,
                methods=[operation.route.method],
                provide_automatic_options=False,
            )
    for name, path in _DOCUMENTS.items():
        app.add_url_rule(path, name)
    return app.url_map


def document_views() -> dict[str, Callable[[], Awaitable[Response]]]:
    """Return the views of the OpenAPI and the AsyncAPI document and of the page that shows them."""
    rest, sockets, page, policy = _documents()

    async def openapi() -> Response:
        return Response(rest, content_type="application/json")

    async def asyncapi() -> Response:
        return Response(sockets, content_type="application/json")

    async def docs() -> Response:
        response = Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = policy
        return response

    return {"openapi": openapi, "asyncapi": asyncapi, "docs": docs}


@cache
def _documents() -> tuple[bytes, bytes, str, str]:
    rest = dumps(openapi_document(OPERATIONS))
    sockets = dumps(asyncapi_document(OPERATIONS, SERVER_EVENTS))
    return rest, sockets, *docs_page(OPERATIONS)
