"""The QuartTrio app: a view for each operation, the one error handler, headers.

The routes come from the catalogue of operations: path parameters, query and body become the
operation's command, its answer becomes the body. There is nothing else that REST does.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from pydantic.alias_generators import to_camel
from quart import Response, request
from quart.utils import encode_headers
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from chatd.context import Caller, Services
from chatd.errors import ChatError, MethodNotAllowed, NotFound, Unauthorized, ValidationFailed
from chatd.handlers.catalogue import OPERATIONS
from chatd.handlers.operations import Operation, Redirect, Streamed, call, submit, translate
from chatd.handlers.refusals import wrong
from chatd.limits import budget_of
from chatd.model import dumps
from chatd.pages import refusal_page
from chatd.routes import document_views, routes
from chatd.wire.frames import FrameError, loads_javascript
from chatd.wire.site import SiteFile

_HTML = "text/html; charset=utf-8"
_JSON = {"Content-Type": "application/json"}
_CORS_METHODS = "GET, POST, PATCH, DELETE"
_CORS_HEADERS = "authorization, content-type, idempotency-key, last-event-id"


class _Cycle(TrioASGIHTTPConnection):
    """One request through Quart in the task that has it.

    Quart's own way is a nursery with a second task that watches for the client's end, a fifth of
    the cost of a page. A command is short and has deadlines below; its caller may leave.
    """

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        request = self._create_request_from_scope(send)
        is_complete = False
        while not is_complete:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client left, or its body is refused by the HTTP loop
            request.body.append(message["body"])
            is_complete = not message["more_body"]
        request.body.set_complete()
        response: Any = await self.app.handle_request(request)
        async with response.response as body:  # whatever happens, a stream is closed
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": encode_headers(response.headers),
                    "trailers": False,
                }
            )
            if isinstance(body, DataBody):
                whole = await response.get_data(as_text=False)
                await send({"type": "http.response.body", "body": whole, "more_body": False})
                return
            if request.method != "HEAD":  # of a stream it asks for the head: nothing is made
                async for piece in body:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def create_app(services: Services, missing: SiteFile | None = None) -> QuartTrio:
    """Return the app of one daemon; it keeps nothing between requests.

    Args:
        missing: the page for browsers that go where nothing is.
    """
    app = QuartTrio("chatd", static_folder=None)
    app.asgi_http_class = _Cycle
    app.config["RESPONSE_TIMEOUT"] = None  # the HTTP loop has a deadline on every write
    app.config["BODY_TIMEOUT"] = None  # as above, on every read
    app.url_map = routes()
    for operation in OPERATIONS:
        if operation.route is not None:
            view = _page_view if operation.is_page else _view
            app.view_functions[operation.name] = view(services, operation)
    app.view_functions.update(document_views())
    _add_errors(app, missing)
    if services.settings.cors_origins:
        _add_preflight(app, frozenset(services.settings.cors_origins))
    return app


def _view(services: Services, operation: Operation) -> Callable[..., Awaitable[Response]]:
    """Return the view of one operation."""
    assert operation.route is not None  # noqa: S101 - asked before
    status = operation.route.status

    async def view(**path: Any) -> Response:
        # Werkzeug's view of the headers costs 10 µs a look; these are the ASGI scope's own.
        scope: Any = request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = await _caller(services, headers, needs_login=operation.needs_login)
        data = await _command_data(operation, headers, path)
        now = trio.current_time()
        if operation.submit is not None:
            body = await _submitted(services, caller, operation, data, now)
        else:
            answer = await call(services, caller, operation, data, now)
            if isinstance(answer, Redirect):
                return _redirect(answer, status, _rate_headers(caller))
            if isinstance(answer, Streamed):
                return _stream(answer, status, _rate_headers(caller))
            body = cast("bytes", answer)  # Followed answers are the sockets'
        return Response(body, status, _JSON | _rate_headers(caller))

    return view


def _rate_headers(caller: Caller) -> dict[str, str]:
    """Return what is left of the tightest rate (draft-ietf-httpapi-ratelimit-headers-06)."""
    if caller.spent is None:
        return {}
    limit, remaining, reset = budget_of(*caller.spent)
    return {
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(remaining),
        "RateLimit-Reset": str(reset),
    }


def _page_view(services: Services, operation: Operation) -> Callable[..., Awaitable[Response]]:
    """Return a view that shows its refusals to people; programs get the envelope."""
    view = _view(services, operation)

    async def page_view(**path: Any) -> Response:
        try:
            return await view(**path)
        except ChatError as refusal:
            if "text/html" not in request.headers.get("Accept", ""):
                raise
            scope: Any = request.scope
            page = refusal_page(refusal, scope["chatd.request_id"])
            response = Response(page, refusal.status, content_type=_HTML)
            _tell_wait(response, refusal)
            return response

    return page_view


def _redirect(answer: Redirect, status: int, rate: dict[str, str]) -> Response:
    headers = rate | {"Location": answer.url}
    return Response(b"", status, headers | ({"Set-Cookie": answer.cookie} if answer.cookie else {}))


def _stream(answer: Streamed, status: int, rate: dict[str, str]) -> Response:
    if answer.filename is None:
        headers = rate | {"X-Accel-Buffering": "no"}  # nginx would keep events back
        return Response(answer.pieces, 200, headers, content_type=answer.content_type)
    disposition = f'attachment; filename="{answer.filename}"'
    headers = rate | {"Content-Disposition": disposition}
    return Response(answer.pieces, status, headers, content_type=answer.content_type)


async def _submitted(
    services: Services, caller: Caller, operation: Operation, data: object, now: float
) -> bytes:
    """Run an operation that answers when it is committed, and wait for that."""
    answers: list[bytes | ChatError] = []
    answered = trio.Event()

    def reply(answer: bytes | ChatError) -> None:
        answers.append(answer)
        answered.set()

    submit(services, caller, operation, data, now, reply)
    await answered.wait()
    if isinstance(answers[0], ChatError):
        raise answers[0]
    return answers[0]


async def _caller(services: Services, headers: dict[bytes, bytes], *, needs_login: bool) -> Caller:
    scope: Any = request.scope
    caller = Caller(
        request_id=scope["chatd.request_id"],
        address=scope["client"][0],
        user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
        cookie=headers.get(b"cookie", b"").decode("latin-1"),
        wants_events=b"text/event-stream" in headers.get(b"accept", b""),
        last_event_id=headers.get(b"last-event-id", b"").decode("latin-1"),
    )
    scope["chatd.caller"] = caller  # for the refusal, if it becomes one
    if needs_login:
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized
        identity = await services.bearers.identify(token.strip(), caller.address)
        if services.sockets.is_revoked(identity.family_id):
            raise Unauthorized
        caller.identity = identity
    return caller


async def _command_data(
    operation: Operation, headers: dict[bytes, bytes], path: dict[str, Any]
) -> dict[str, Any]:
    """Return what the client sent, what the path names and the `Idempotency-Key` as one object."""
    assert operation.route is not None  # noqa: S101 - asked before
    if request.method in {"GET", "DELETE"} and not operation.route.takes_body:
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            # Not ignored: a removal that loses its `userId` removes the caller.
            msg = f"the parameters of a {request.method} stand in the query"
            raise ValidationFailed(msg)
        data: dict[str, Any] = dict(_query())
    else:
        data = await _body()
    named = {to_camel(name): value for name, value in path.items()}
    for field, value in named.items():
        if field in data and str(data[field]).lower() != str(value).lower():
            raise wrong(field, "is not the one of the path")
    key = headers.get(b"idempotency-key")
    if key is not None and "client_msg_id" in operation.command.model_fields:
        data["clientMsgId"] = key.decode("latin-1")
    return data | named


async def _body() -> dict[str, Any]:
    """Return the object in the body, an empty one for none."""
    if request.args:  # not ignored: they would look as if they had been heard
        msg = f"the parameters of this {request.method} stand in the body"
        raise ValidationFailed(msg)
    raw = cast("bytes", await request.get_data(cache=False))
    if raw and request.mimetype != "application/json":
        msg = "a body is application/json"
        raise ValidationFailed(msg)
    try:
        data = loads_javascript(raw) if raw else {}
    except FrameError as refusal:
        msg = f"the body is not JSON: {refusal}"
        raise ValidationFailed(msg) from None
    if not isinstance(data, dict):
        msg = "the body is an object"
        raise ValidationFailed(msg)
    return data


def _query() -> dict[str, str]:
    """Return the parameters of the query; one that is there twice has two readers, who differ."""
    fields = [
        {"field": name[:64], "message": "is there twice"}
        for name, values in request.args.lists()
        if len(values) > 1
    ]
    if fields:
        raise ValidationFailed(details={"fields": fields[:20]})
    return request.args.to_dict()


def _add_errors(app: QuartTrio, missing: SiteFile | None) -> None:
    """One place turns whatever a view raises into the error envelope."""

    async def refuse(trouble: Exception) -> Response:
        scope: Any = request.scope
        if missing is not None and _is_lost_browser(trouble):
            headers = {name.decode(): value.decode() for name, value in missing.headers}
            return Response(missing.plain, NotFound.status, headers)
        request_id = scope["chatd.request_id"]
        refusal = _refusal_of(trouble, request_id)
        body = dumps({"error": refusal.to_wire(request_id)})
        caller = scope.get("chatd.caller")
        headers = _JSON if caller is None else _JSON | _rate_headers(caller)
        response = Response(body, refusal.status, headers)
        if isinstance(trouble, WrongMethod) and trouble.valid_methods:  # RFC 9110 15.5.6
            response.headers["Allow"] = ", ".join(sorted(trouble.valid_methods))
        _tell_wait(response, refusal)
        return response

    app.register_error_handler(Exception, refuse)


def _is_lost_browser(trouble: Exception) -> bool:
    """Whether somebody followed a link to a page that there is not; programs get the envelope."""
    return (
        isinstance(trouble, HTTPException)
        and trouble.code == NotFound.status
        and request.method == "GET"
        and "text/html" in request.headers.get("Accept", "")
    )


def _tell_wait(response: Response, refusal: ChatError) -> None:
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after)))


def _refusal_of(trouble: Exception, request_id: str) -> ChatError:
    if isinstance(trouble, HTTPException) and trouble.code is not None:
        if trouble.code == MethodNotAllowed.status:
            return MethodNotAllowed()
        return NotFound() if trouble.code == NotFound.status else ValidationFailed(trouble.name)
    return translate(trouble, Caller(request_id, ""), request.path)


def _add_preflight(app: QuartTrio, origins: frozenset[str]) -> None:
    """Tell pages of exactly these origins what they may ask; the edge lets them read answers."""

    async def finish(response: Response) -> Response:
        if request.method == "OPTIONS" and request.headers.get("Origin") in origins:
            response.status_code = 204  # no route answers it
            response.set_data(b"")
            response.headers["Access-Control-Allow-Methods"] = _CORS_METHODS
            response.headers["Access-Control-Allow-Headers"] = _CORS_HEADERS
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    app.after_request(finish)
