"""Accounts and sessions for a scenario, made through REST."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.daemon import Server

REST_TIMEOUT = 30.0  # seconds for one call


@dataclass(frozen=True)
class Person:
    """An account and its access token."""

    id: str
    token: str


class Rest:
    """One kept-alive HTTP connection."""

    def __init__(self, server: Server) -> None:
        self._http = http.client.HTTPConnection(server.host, server.port, timeout=REST_TIMEOUT)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str = ""
    ) -> dict[str, Any]:
        """Return the JSON answer.

        Raises:
            RuntimeError: any status but 2xx.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        sent = None if body is None else json.dumps(body)
        self._http.request(method, path, sent, headers)
        response = self._http.getresponse()
        content = response.read()
        if not 200 <= response.status < 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def people(self, count: int) -> list[Person]:
        """Register people that nobody knows yet."""
        return [self._person() for _ in range(count)]

    def _person(self) -> Person:
        name = f"bench-{uuid.uuid4().hex[:16]}"
        body = {"email": f"{name}@example.org", "password": "correct horse battery", "name": name}
        answer = self.call("POST", "/auth/register", body)
        return Person(answer["user"]["id"], answer["accessToken"])

    def session(self, people: Sequence[Person]) -> str:
        """Create a session of these people and return its id."""
        body = {"kind": "GROUP", "name": "bench", "memberIds": [p.id for p in people[1:]]}
        return str(self.call("POST", "/chat/sessions", body, people[0].token)["session"]["id"])
