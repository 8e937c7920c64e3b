"""An HTTP transport whose answers have a size: for servers that are not ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

MAX_ANSWER_BYTES = 1_048_576  # keys and descriptions of an issuer have a few KiB


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """Refuses answers of more than `max_bytes`, and compressed ones, which have no size.

    Ask for `Accept-Encoding: identity`. Cookies are dropped: one client asks for many people.
    """

    def __init__(self, *, limits: httpx2.Limits, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        super().__init__(limits=limits)
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return its answer.

        Raises:
            httpx2.HTTPError: it could not be sent, or its answer is refused; while it is read too.
        """
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - of this transport
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.stream.aclose()
            msg = "the answer is compressed"
            raise httpx2.DecodingError(msg, request=request)
        response.headers.pop("set-cookie", None)
        response.stream = _BoundedStream(response.stream, request, self._max_bytes)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(
        self, stream: httpx2.AsyncByteStream, request: httpx2.Request, max_bytes: int
    ) -> None:
        self._stream = stream
        self._request = request
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for piece in self._stream:
            received += len(piece)
            if received <= self._max_bytes:
                yield piece
            # Else it is read and dropped, to its end or the caller's deadline: to stop in the
            # middle would leave httpcore's generators to the garbage collector, which Trio minds.
        if received > self._max_bytes:
            msg = f"the answer has more than {self._max_bytes} bytes"
            raise httpx2.ReadError(msg, request=self._request)

    async def aclose(self) -> None:
        await self._stream.aclose()
