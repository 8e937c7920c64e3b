"""The chat that chatd is measured against, as it is usually built on asyncio.

python-socketio for what is live, Starlette for REST, psycopg for PostgreSQL, one uvicorn worker
with uvloop and httptools: `uvicorn bench.peers.python.server:app`.
"""

# Its packages are installed in its own environment only.
# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import socketio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bench.peers.python import chat
from bench.peers.python.auth import ChatError, verify_token
from bench.peers.python.database import fetch, make_pool

log = logging.getLogger("peer")
pool = make_pool()
io = socketio.AsyncServer(async_mode="asgi")

Handler = Callable[[str, str, dict[str, Any]], Awaitable[dict[str, Any]]]


def caller(request: Request) -> str:
    """Return the user id of a bearer token.

    Raises:
        ChatError: there is no valid one.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return verify_token(token if scheme == "Bearer" else None)


async def readyz(request: Request) -> JSONResponse:
    """Answer while the database does."""
    del request
    await fetch(pool, "SELECT 1", {})
    return JSONResponse({"ok": True})


async def register(request: Request) -> JSONResponse:
    """Make an account."""
    return JSONResponse(await chat.register(pool, await request.json()), 201)


async def create_session(request: Request) -> JSONResponse:
    """Open a session."""
    user_id = caller(request)
    session = await chat.create_session(pool, user_id, await request.json())
    return JSONResponse({"session": session}, 201)


async def history(request: Request) -> JSONResponse:
    """Answer a page of messages."""
    path, query = request.path_params["session_id"], dict(request.query_params)
    return JSONResponse(await chat.history(pool, caller(request), path, query))


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """Turn a refusal into a status and a code."""
    del request
    assert isinstance(error, ChatError)
    return JSONResponse({"error": {"code": error.code}}, error.status)


async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
    """Let a client with a valid token in."""
    del environ
    try:
        user_id = verify_token((auth or {}).get("token"))
    except ChatError as error:
        raise socketio.exceptions.ConnectionRefusedError(error.code) from None
    await io.save_session(sid, {"user_id": user_id})


def answering(handler: Handler) -> Callable[[str, Any], Awaitable[dict[str, Any]]]:
    """Return an event handler whose answer is {ok, data} or {ok, error: {code}}."""

    async def answer(sid: str, payload: Any) -> dict[str, Any]:
        user_id = (await io.get_session(sid))["user_id"]
        try:
            data = await handler(sid, user_id, payload if isinstance(payload, dict) else {})
        except ChatError as error:
            return {"ok": False, "error": {"code": error.code}}
        except Exception:
            log.exception("an event failed")
            return {"ok": False, "error": {"code": "internal"}}
        return {"ok": True, "data": data}

    return answer


async def join(sid: str, user_id: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Enter a room, then read: what is sent meanwhile comes twice, not never."""
    session_id = chat.session_id_of(payload)
    await chat.check_member(pool, user_id, session_id)
    await io.enter_room(sid, str(session_id))
    return await chat.page(pool, user_id, session_id)


async def send(sid: str, user_id: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Store a message, tell the room; python-socketio acknowledges with what is returned."""
    del sid
    message, is_duplicate = await chat.send(pool, user_id, payload)
    if not is_duplicate:
        await io.emit("message:new", message, room=message["sessionId"])
    return {"message": message, "duplicate": is_duplicate}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep the pool open while the server runs."""
    del app
    async with pool:
        yield


io.on("connect", connect)
io.on("session:join", answering(join))
io.on("message:send", answering(send))
rest = Starlette(
    routes=[
        Route("/readyz", readyz),
        Route("/auth/register", register, methods=["POST"]),
        Route("/chat/sessions", create_session, methods=["POST"]),
        Route("/chat/sessions/{session_id}/messages", history),
    ],
    exception_handlers={ChatError: refuse},
    lifespan=lifespan,
)
app = socketio.ASGIApp(io, rest)
