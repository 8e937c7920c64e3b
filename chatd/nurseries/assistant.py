"""The provider of language models: any server that speaks OpenAI's chat completions.

The only module that knows the `openai` package, which takes 19 MiB and 0.4 s with its client: it
is imported when the settings name a model. Where is asked and with which key comes from the
settings alone; nothing of the environment counts, and no redirect is followed.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import openai
import structlog
import trio

from chatd.ai_rows import Usage
from chatd.config import Settings
from chatd.context import Services
from chatd.errors import PayloadTooLarge, RateLimited, Unavailable
from chatd.nurseries.answering import Answering, open_answering
from chatd.nurseries.bounded_http import BoundedTransport
from chatd.nurseries.mirrors import Mirrors
from chatd.nurseries.provider import RETRY_AFTER, ModelRequest, Piece, ProviderError
from chatd.prompts import clean

OPENAI = "https://api.openai.com/v1"
ANSWER_BYTES = 16_777_216  # of one answer with all that stands around its pieces: 300 bytes each
CLOSE_TIMEOUT = 1.0  # seconds to close a connection, which waits for nobody: TLS says goodbye
MAX_COUNT = 2**31  # tokens: what the store holds; no answer has as many
REASON_CHARS = 40  # of a finish reason: OpenAI's longest has 14
NO_KEY = "none"  # shown to a server of one's own that asks for none

log = structlog.get_logger("chatd.provider")


class OpenAI:
    """See `chatd.nurseries.provider.Provider`."""

    def __init__(self, client: openai.AsyncOpenAI, *, is_openai: bool) -> None:
        self._client = client
        # OpenAI's newer models refuse the old name, servers of one's own may know no other.
        self._limit_name = "max_completion_tokens" if is_openai else "max_tokens"

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[_Stream]:
        """Ask, and open the answer. See `chatd.nurseries.provider.Provider`."""
        asked: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": each.role, "content": each.text} for each in request.turns],
            self._limit_name: request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        with _translated():
            chunks = await self._client.chat.completions.create(**asked)
        try:
            yield _Stream(chunks)
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await chunks.close()


class _Stream:
    """See `chatd.nurseries.provider.ModelStream`."""

    def __init__(self, chunks: Any) -> None:
        self._chunks = aiter(chunks)

    async def piece(self) -> Piece | None:
        """Wait for the next piece; None at the end."""
        with _translated():
            async for chunk in self._chunks:
                return _piece_of(chunk)
        return None


def _piece_of(chunk: Any) -> Piece:
    """Return what a chunk holds; the package does not check what a server sends.

    Raises:
        ValueError: it is no chunk.
    """
    choices, usage = getattr(chunk, "choices", None), getattr(chunk, "usage", None)
    if not isinstance(choices, list):
        msg = "a chunk without choices"
        raise ValueError(msg)  # noqa: TRY004 - as for JSON that is none
    text, reason = None, None
    if choices:
        text = getattr(getattr(choices[0], "delta", None), "content", None)
        reason = getattr(choices[0], "finish_reason", None)
    return Piece(
        text if isinstance(text, str) else "",
        (clean(reason)[:REASON_CHARS] or None) if isinstance(reason, str) else None,
        _usage_of(usage),
    )


def _usage_of(usage: Any) -> Usage | None:
    prompt = getattr(usage, "prompt_tokens", None)
    completion = getattr(usage, "completion_tokens", None)
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    is_sane = 0 <= prompt < MAX_COUNT and 0 <= completion < MAX_COUNT
    return Usage(prompt, completion) if is_sane else None


@contextmanager
def _translated() -> Iterator[None]:
    """Say what a provider has done in our words, and log it in its own."""
    try:
        yield
    except openai.APIStatusError as refusal:
        # Not its message: that may repeat the key, or what was asked.
        log.warning("provider", status=refusal.status_code, code=refusal.code, type=refusal.type)
        raise _refused(refusal) from None
    except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, ValueError) as failure:
        log.warning("provider", error=type(failure).__name__)
        msg = "the language model does not answer as it should"
        raise ProviderError(Unavailable(msg), may_retry=True) from None


def _refused(refusal: openai.APIStatusError) -> ProviderError:
    """Return what a status that is no success means."""
    wait = _retry_after(refusal.response)
    if refusal.status_code == httpx2.codes.TOO_MANY_REQUESTS:
        msg = "the language model has too many questions"
        limited = RateLimited(msg, retry_after=wait or RETRY_AFTER)
        return ProviderError(limited, may_retry=True, is_fault=False)
    if refusal.code == "context_length_exceeded":
        msg = "the conversation is longer than the language model takes"
        return ProviderError(PayloadTooLarge(msg), may_retry=False, is_fault=False)
    is_passing = refusal.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR
    is_passing = is_passing or refusal.status_code == httpx2.codes.REQUEST_TIMEOUT
    msg = "the language model does not take the question"
    return ProviderError(Unavailable(msg, retry_after=wait), may_retry=is_passing)


def _retry_after(response: httpx2.Response) -> float | None:
    """Return the seconds of Retry-After, where it has any; a date is as good as none."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


@asynccontextmanager
async def open_provider(settings: Settings) -> AsyncIterator[OpenAI]:
    """Keep connections to the provider for the length of the block."""
    key = settings.openai_api_key
    limits = httpx2.Limits(max_connections=settings.ai_at_once * 2)
    async with httpx2.AsyncClient(
        transport=BoundedTransport(limits=limits, max_bytes=ANSWER_BYTES),
        timeout=httpx2.Timeout(settings.ai_deadline),
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,
        trust_env=False,
    ) as http:
        client = openai.AsyncOpenAI(
            api_key=NO_KEY if key is None else key.get_secret_value(),
            base_url=settings.openai_base_url or OPENAI,
            organization="",
            project="",
            max_retries=0,  # ours know the deadline
            http_client=http,
        )
        yield OpenAI(client, is_openai=settings.openai_base_url is None)


@asynccontextmanager
async def open_assistant(
    services: Services, mirrors: Mirrors | None = None
) -> AsyncIterator[Answering]:
    """Answer with the provider of the settings for the length of the block."""
    async with (
        open_provider(services.settings) as provider,
        open_answering(services, provider, mirrors) as answering,
    ):
        yield answering
