"""The REST half of the client: one call, one JSON answer, one deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import orjson
import trio

from chatd.client.errors import ClientError, JsonObject, refusal

REST_TIMEOUT = 15.0  # seconds for one call, connecting included; a bcrypt queue may take a few


class Rest:
    """HTTP calls to one server over kept-alive connections. Leave it with `aclose`."""

    def __init__(self, url: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        # trust_env: a proxy meant for browsers must not see the tokens of a chat server.
        self._http = httpx2.AsyncClient(
            base_url=url, timeout=REST_TIMEOUT, trust_env=False, transport=transport
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        query: Mapping[str, str | int] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """Return the JSON object that the server answers; `{}` for an empty answer.

        Raises:
            ClientError: the server refused, could not be reached, was too slow, or answered
                something that is not a JSON object.
        """
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        request: dict[str, Any] = {"headers": sent, "params": dict(query or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
            request["content"] = orjson.dumps(body)
        try:
            with trio.fail_after(REST_TIMEOUT):  # httpx2's timeouts are per read, not per call
                response = await self._http.request(method, path, **request)
        except (trio.TooSlowError, httpx2.TimeoutException):
            raise ClientError(
                "timed_out", f"no answer within {REST_TIMEOUT:.0f} s", retryable=True
            ) from None
        except httpx2.TransportError as error:
            raise ClientError(
                "unreachable", str(error) or type(error).__name__, retryable=True
            ) from error
        return _answer(response)


def _answer(response: httpx2.Response) -> JsonObject:
    try:
        answer = orjson.loads(response.content) if response.content else {}
    except orjson.JSONDecodeError:
        answer = None  # a proxy's error page: judged by its status below
    if not response.is_success:
        error = answer.get("error") if isinstance(answer, dict) else None
        raise refusal(error, status=response.status_code)
    if not isinstance(answer, dict):
        raise ClientError("bad_answer", "not a JSON object", status=response.status_code)
    return answer
