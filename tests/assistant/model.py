"""A language model in memory, behind the interface of the provider: it says what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from chatd.ai_rows import Usage
from chatd.errors import ChatError, Unavailable
from chatd.nurseries.provider import ModelRequest, Piece, ProviderError
from tests.people import Client, World, open_world


class Call:
    """One request, and its answer as the test makes it."""

    def __init__(self, request: ModelRequest) -> None:
        self.request = request
        self.asked_at = trio.current_time()
        self.closed_at: float | None = None
        self._send, self._receive = trio.open_memory_channel[Piece | Exception](1000)

    @property
    def is_closed(self) -> bool:
        """Whether the daemon has left this answer's connection."""
        return self.closed_at is not None

    @property
    def texts(self) -> list[str]:
        """What is sent, without the roles."""
        return [turn.text for turn in self.request.turns]

    @property
    def roles(self) -> list[str]:
        """The roles of what is sent."""
        return [turn.role for turn in self.request.turns]

    async def say(self, *texts: str) -> None:
        """Say something, and wait until that has been dealt with."""
        for text in texts:
            self._send.send_nowait(Piece(text))
        await wait_all_tasks_blocked()

    async def finish(
        self, text: str = "", *, usage: Usage | None = None, reason: str = "stop"
    ) -> None:
        """End the answer."""
        self._send.send_nowait(Piece(text, reason))
        self._send.send_nowait(Piece("", None, usage))
        self._send.close()
        await wait_all_tasks_blocked()

    async def fail(
        self, refusal: ChatError | None = None, *, may_retry: bool = True, is_fault: bool = True
    ) -> None:
        """Break the answer off."""
        error = ProviderError(refusal or Unavailable(), may_retry=may_retry, is_fault=is_fault)
        self._send.send_nowait(error)
        await wait_all_tasks_blocked()

    async def hang_up(self) -> None:
        """End the connection without an end of the answer."""
        self._send.close()
        await wait_all_tasks_blocked()

    async def piece(self) -> Piece | None:
        """Give the next piece; see `ModelStream`."""
        try:
            piece = await self._receive.receive()
        except trio.EndOfChannel:
            return None
        if isinstance(piece, Exception):
            raise piece
        return piece


class Model:
    """See `chatd.nurseries.provider.Provider`.

    Attributes:
        calls: every request, the oldest first.
        refusals: raised by the next requests, one each, instead of an answer.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refusals: list[ProviderError] = []
        self._taken = 0
        self._has_called = trio.Event()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[Call]:
        """Open an answer."""
        call = Call(request)
        self.calls.append(call)
        self._has_called.set()
        self._has_called = trio.Event()
        await trio.lowlevel.checkpoint()
        if self.refusals:
            raise self.refusals.pop(0)
        try:
            yield call
        finally:
            call.closed_at = trio.current_time()

    async def called(self) -> Call:
        """Wait for the next request."""
        while len(self.calls) <= self._taken:
            await self._has_called.wait()
        self._taken += 1
        return self.calls[self._taken - 1]


@asynccontextmanager
async def open_ai_world(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[World, Model]]:
    """Run a daemon with an assistant that has this model; titles are off unless asked for."""
    model = Model()
    chosen = {"ai_titles": "off", **settings}
    async with open_world(tmp_path, provider=model, **chosen) as world:
        yield world, model


@asynccontextmanager
async def open_talk(
    tmp_path: Path, **settings: Any
) -> AsyncIterator[tuple[World, Model, Client, str]]:
    """Run such a daemon, with Anna who is connected and has begun a conversation."""
    async with (
        open_ai_world(tmp_path, **settings) as (world, model),
        world.connect(await world.person("anna")) as anna,
    ):
        yield world, model, anna, await converse(anna)


async def converse(client: Client, **wishes: Any) -> str:
    """Begin a conversation and return its id."""
    answer = await client.ask("ai:create", **wishes)
    ai_session_id: str = answer["aiSession"]["id"]
    return ai_session_id


async def ask(
    client: Client, model: Model, ai_session_id: str, content: str = "Why?"
) -> tuple[str, Call]:
    """Ask a question; return the id of the answer, and the request that it has led to."""
    sent = await client.ask("ai:send", aiSessionId=ai_session_id, content=content)
    message_id: str = sent["messageId"]
    return message_id, await model.called()


async def last_message(client: Client, ai_session_id: str) -> dict[str, Any]:
    """Return the last message of a conversation, as it is stored."""
    page = await client.ask("ai:messages", aiSessionId=ai_session_id)
    message: dict[str, Any] = page["messages"][-1]
    return message
