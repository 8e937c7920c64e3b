"""A chatd in memory, as small as protocol.md allows, with levers for what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

EPOCH = "e1"
BOB = {"id": "user-Bob", "name": "Bob"}


class FakeServer:
    """Users, sessions and messages in dicts; `dial` and `transport` are its two doors."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.transport = httpx2.MockTransport(self.answer)
        self.epoch = EPOCH
        self.users: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.joined: dict[WebSocketConnection, set[str]] = {}
        self.calls: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.refusals: dict[str, list[dict[str, Any]]] = {}
        self.dials = 0
        self.token_life = 900.0
        self.expired: set[str] = set()
        self.refresh_gate = trio.Event()
        self.refresh_gate.set()
        # Levers
        self.is_down = False
        self.is_mute = False
        self.is_reading = True
        self.close_at_auth: tuple[int, str] | None = None
        self.loses_answers_of: set[str] = set()
        self.replay_limit = 100
        self.proofs: list[dict[str, Any]] = []  # of second factors

    # REST
    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        self.calls.append(f"{request.method} {path}")
        if self.is_down:
            raise httpx2.ConnectError("connection refused")
        for refusal in self.refusals.get(path, []):
            self.refusals[path].remove(refusal)
            return httpx2.Response(refusal.pop("status"), json={"error": refusal})
        body = orjson.loads(request.content) if request.content else {}
        if path in {"/auth/register", "/auth/login"}:
            user = self.add_user(body.get("name") or "Ann", body["email"])
            return httpx2.Response(200, json={"user": user, **self.new_tokens()})
        if path == "/auth/login/totp":
            self.proofs.append(body)
            user = self.add_user("Ann", "ann@example.org")
            return httpx2.Response(200, json={"user": user, **self.new_tokens()})
        if path == "/auth/refresh":
            await self.refresh_gate.wait()
            return httpx2.Response(200, json=self.new_tokens())
        if request.headers["Authorization"].removeprefix("Bearer ") in self.expired:
            expired = {"code": "token_expired", "message": "expired", "retryable": True}
            return httpx2.Response(401, json={"error": expired})
        return self.answer_chat(request, path, body)

    def answer_chat(
        self, request: httpx2.Request, path: str, body: dict[str, Any]
    ) -> httpx2.Response:
        if path == "/auth/me":
            return httpx2.Response(200, json={"user": next(iter(self.users.values()))})
        if path == "/auth/logout":
            return httpx2.Response(204)
        if path == "/users":
            found = [u for u in self.users.values() if u["email"] == request.url.params["query"]]
            return httpx2.Response(200, json={"users": found})
        if path == "/chat/sessions":
            return self.answer_sessions(request, body)
        return self.answer_session(request, path, body)

    def answer_sessions(self, request: httpx2.Request, body: dict[str, Any]) -> httpx2.Response:
        if request.method == "POST":
            session = self.add_session(body.get("name"), body["kind"])
            return httpx2.Response(201, json={"session": session})
        rows = list(self.sessions.values())
        at = int(request.url.params.get("cursor", "0"))
        cursor = str(at + 2) if at + 2 < len(rows) else None
        return httpx2.Response(200, json={"sessions": rows[at : at + 2], "nextCursor": cursor})

    def answer_session(
        self, request: httpx2.Request, path: str, body: dict[str, Any]
    ) -> httpx2.Response:
        session_id, _, rest = path.removeprefix("/chat/sessions/").partition("/")
        answer: dict[str, Any] = {"session": self.sessions.get(session_id)}
        if session_id not in self.sessions:
            error = {"code": "not_a_member", "message": "no such session", "retryable": False}
            return httpx2.Response(403, json={"error": error})
        if rest == "members" and request.method == "GET":
            page = int(request.url.params.get("after", "0"))
            user = [next(iter(self.users.values())), BOB][page]
            answer = {"members": [{"user": user}], "nextAfter": None if page else "1"}
        elif rest == "members":
            answer = {"member": {"userId": body["userId"]}}
        elif rest == "messages" and request.method == "POST":
            key = request.headers.get("Idempotency-Key")
            message, duplicate = self.store(session_id, body["content"], key)
            answer = {"message": message, "duplicate": duplicate}
        elif rest == "messages":
            limit = int(request.url.params["limit"])
            answer = {"messages": self.messages[session_id][-limit:], "epoch": self.epoch}
        return httpx2.Response(200, json=answer)

    def new_tokens(self) -> dict[str, Any]:
        expires_at = datetime.now(UTC) + timedelta(seconds=self.token_life)
        return {
            "accessToken": f"access-{uuid4()}",
            "refreshToken": f"refresh-{uuid4()}",
            "expiresAt": expires_at.isoformat(),
        }

    def add_user(self, name: str, email: str) -> dict[str, Any]:
        user = {"id": f"user-{len(self.users) + 1}", "name": name, "email": email}
        return self.users.setdefault(email, user)

    def add_session(self, name: str | None, kind: str = "GROUP") -> dict[str, Any]:
        session_id = f"s{len(self.sessions) + 1}"
        session = {"id": session_id, "kind": kind, "name": name, "seq": 0, "unreadCount": 0}
        self.sessions[session_id], self.messages[session_id] = session, []
        return session

    def store(
        self, session_id: str, content: str, key: str | None = None, sender: str = "Ann"
    ) -> tuple[dict[str, Any], bool]:
        """Store a message as somebody would by another connection; nothing is pushed."""
        for message in self.messages[session_id]:
            if key is not None and message["clientMsgId"] == key:
                return message, True
        self.sessions[session_id]["seq"] += 1
        seq = self.sessions[session_id]["seq"]
        message = {
            "id": f"{session_id}-{seq}", "sessionId": session_id, "seq": seq, "content": content,
            "sender": {"id": f"user-{sender}", "name": sender}, "clientMsgId": key,
            "createdAt": "2026-01-02T12:31:00.000Z",
        }  # fmt: skip
        self.messages[session_id].append(message)
        return message, False

    # The live side
    async def dial(self) -> trio.abc.Stream:
        self.dials += 1
        if self.is_down:
            raise ConnectionRefusedError(111, "refused")
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.serve, theirs)
        return ours

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream, message_queue_size=64)
            websocket = await request.accept()
            try:
                while self.is_reading:
                    frame = orjson.loads(await websocket.get_message())
                    self.requests.append(frame)
                    await self.react(websocket, frame)
                await trio.sleep_forever()
            except ConnectionClosed:
                self.joined.pop(websocket, None)
            finally:
                await trio.aclose_forcefully(stream)

    async def react(self, websocket: WebSocketConnection, frame: dict[str, Any]) -> None:
        event, data = frame["event"], frame["data"]
        if event == "auth":
            await self.react_to_auth(websocket, data)
            return
        for refusal in self.refusals.get(event, []):
            self.refusals[event].remove(refusal)
            await say(websocket, {"id": frame["id"], "ok": False, "error": refusal})
            return
        pushed: dict[str, Any] | None = None
        content: dict[str, Any] = {}
        if event == "session:join":
            self.joined[websocket].add(data["sessionId"])
            content = self.join(data)
        elif event == "message:send":
            message, duplicate = self.store(data["sessionId"], data["content"], data["clientMsgId"])
            content = {"message": message, "duplicate": duplicate}
            pushed = None if duplicate else message
        if event in self.loses_answers_of:
            self.loses_answers_of.remove(event)
            await self.cut(1006)
            return
        if not self.is_mute:
            await say(websocket, {"id": frame["id"], "ok": True, "data": content})
        if pushed is not None:
            await self.push("message:new", pushed)

    async def react_to_auth(self, websocket: WebSocketConnection, data: dict[str, Any]) -> None:
        if self.close_at_auth is not None:
            await websocket.aclose(*self.close_at_auth)
        elif data["token"] in self.expired:
            await websocket.aclose(4401, "token expired")
        elif not self.is_mute:
            self.joined[websocket] = set()
            await say(websocket, {"event": "connection:ready", "data": {"connectionId": "c1"}})

    def join(self, data: dict[str, Any]) -> dict[str, Any]:
        session_id, since = data["sessionId"], data.get("since")
        messages = self.messages[session_id]
        recovered = False
        if since is not None and since["epoch"] == self.epoch:
            missed = [m for m in messages if m.get("changedSeq", m["seq"]) > since["seq"]]
            recovered = len(missed) <= self.replay_limit
            messages = missed if recovered else messages
        return {
            "sessionId": session_id,
            "epoch": self.epoch,
            "seq": self.sessions[session_id]["seq"],
            "recovered": recovered,
            "messages": messages,
            "members": [{"user": BOB, "role": "MEMBER"}],
            "presence": [{"userId": BOB["id"], "status": "ONLINE"}],
        }

    async def push(self, event: str, data: dict[str, Any]) -> None:
        for websocket, sessions in list(self.joined.items()):
            if data.get("sessionId", next(iter(sessions), None)) in sessions:
                await say(websocket, {"event": event, "data": data})

    async def say_to_all(self, session_id: str, content: str, sender: str = "Bob") -> None:
        """Store a message of somebody else and push it."""
        message, _ = self.store(session_id, content, sender=sender)
        await self.push("message:new", message)

    async def cut(self, code: int, reason: str = "") -> None:
        """End all connections with a close code; 1006 without a close frame."""
        for websocket in list(self.joined):
            del self.joined[websocket]
            if code == 1006:
                await trio.aclose_forcefully(websocket._stream)
            else:
                await websocket.aclose(code, reason or None)


async def say(websocket: WebSocketConnection, frame: dict[str, Any]) -> None:
    await websocket.send_message(orjson.dumps(frame).decode())


@asynccontextmanager
async def open_fake_server() -> AsyncIterator[FakeServer]:
    async with trio.open_nursery() as nursery:
        yield FakeServer(nursery)
        nursery.cancel_scope.cancel()
