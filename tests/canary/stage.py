"""One person with everything that calls can be about, new for each operation: some end it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx2

from chatd.handlers.operations import Operation
from tests.canary.forms import PASSWORD, Json

_PARAMETER = re.compile(r"<\w+:(\w+)>")
TIMEOUT = 20.0  # seconds for one call


@dataclass
class Door:
    """REST calls, and the secrets and the refusals that were among their answers."""

    http: httpx2.AsyncClient
    secrets: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, **how: Any) -> httpx2.Response:
        """Send a request; keep what the answer holds."""
        answer = await self.http.request(method, path, timeout=TIMEOUT, **how)
        if answer.status_code >= 400:
            self.refusals.append(f"{answer.status_code} {answer.headers} {answer.text}")
        elif answer.headers.get("content-type", "").startswith("application/json"):
            self._keep(answer.json())
        return answer

    def _keep(self, answer: Json) -> None:
        for name in ("accessToken", "refreshToken"):
            if isinstance(answer.get(name), str):
                self.secrets.add(answer[name])

    async def post(self, path: str, body: Json, token: str | None = None) -> Json:
        """Send what must pass and return its answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = await self.call("POST", path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        made: Json = answer.json()
        return made


@dataclass
class Stage:
    """A person, what is theirs, and how operations are called in their name."""

    door: Door
    mark: str
    token: str
    ids: Json

    async def rest(
        self, operation: Operation, form: Json, *, token: str | None, query: Json | None = None
    ) -> int:
        """Call an operation by its route and return the status."""
        assert operation.route is not None
        route, left = operation.route, dict(form)

        def in_path(match: re.Match[str]) -> str:
            name = re.sub(r"_(\w)", lambda letter: letter[1].upper(), match[1])
            return str(left.pop(name, self.ids.get(name, uuid4())))

        path = _PARAMETER.sub(in_path, route.path)
        headers = {"Cookie": f"__Host-chatd-sign-in={self.mark}; chatd-sign-in={self.mark}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if route.method in {"GET", "DELETE"} and not route.takes_body:
            asked = {k: v for k, v in left.items() if not isinstance(v, list | dict)}
            path += "?" + urlencode(asked | (query or {}))
            answer = await self.door.call(route.method, path, headers=headers)
        else:
            path += "?" + urlencode(query or {})
            answer = await self.door.call(route.method, path, headers=headers, json=left)
        return answer.status_code


async def open_stage(door: Door, mark: str, operation: str = "") -> Stage:
    """Return a new person with everything that an operation can be about."""
    people = []
    for _ in range(3):
        body = {"email": f"{mark}-{uuid4().hex}@example.org", PASSWORD: f"{mark} {PASSWORD}"}
        people.append(await door.post("/auth/register", body))
    me, friend, stranger = people
    token = me["accessToken"]
    group: Json = {"kind": "GROUP", "name": f"{mark} tea", "memberIds": [friend["user"]["id"]]}
    session = (await door.post("/chat/sessions", group, token))["session"]["id"]
    path = f"/chat/sessions/{session}"
    sent = await door.post(f"{path}/messages", {"content": f"{mark} hello"}, token)
    invite = (await door.post(f"{path}/invites", {}, token))["invite"]["code"]
    door.secrets.add(invite)
    bot = (await door.post("/users/me/bots", {"name": "robot"}, token))["user"]["id"]
    wanted: Json = {"name": f"{mark} token", "scopes": ["read"]}
    api_token = await door.post("/auth/tokens", wanted, token)
    door.secrets.add(api_token["token"])
    asked = await door.post("/ai/sessions", {"title": f"{mark} talk"}, token)
    promise = {"fileName": "tea.txt", "size": 3, "mimeType": "text/plain", "sessionId": session}
    file = await door.post("/files", promise, token)
    link = file["upload"]
    await door.call(link["method"], link["url"], headers=link["headers"], content=b"tea")
    if operation != "file-complete":
        await door.post(f"/files/{file['fileId']}/complete", {}, token)
    message = sent["message"]["id"]
    if operation.startswith("ai-"):  # of these the messages are the assistant's
        path = f"/ai/sessions/{asked['aiSession']['id']}/messages"
        headers = {"Authorization": f"Bearer {token}"}
        answer = await door.call("POST", path, json={"content": f"{mark} why?"}, headers=headers)
        if answer.status_code < 300:  # the model does not answer, and soon nobody asks it
            message = answer.json()["messageId"]
    ids = {
        "tokenId": api_token["apiToken"]["id"],
        "botId": bot,
        "aiSessionId": asked["aiSession"]["id"],
        "fileId": file["fileId"],
        "scopes": ["read"],
        "sessionId": session,
        "messageId": message,
        "replyToId": sent["message"]["id"],
        "aroundId": sent["message"]["id"],
        "userId": bot if operation == "bot-remove" else friend["user"]["id"],
        "userIds": [friend["user"]["id"]],
        "memberIds": [stranger["user"]["id"]],
        "mentions": [friend["user"]["id"]],
        "deviceId": me["deviceId"],
        "code": invite,
        PASSWORD: f"{mark} {PASSWORD}",
        "accessToken": token,
        "refreshToken": me["refreshToken"],
    }
    return Stage(door, mark, token, ids)
