"""Ann, who speaks, and Ben, whose client is a stock one that comes and goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import trio

from chatd.keys import SigningKey
from chatd.tokens import AccessTokens
from tests.scenarios.daemon import START_TIMEOUT, Daemon
from tests.scenarios.talker import Person, Talker, create_session, register, talking

SIGNING_KEY = f"tests:{'a secret of nobody ' * 4}"
TOKEN_TTL = 900.0  # seconds


@dataclass(frozen=True)
class Tea:
    """Sessions of Ann and Ben. Ann is live on the plain WebSocket, with no proxy between."""

    ann: Talker
    ben: Person
    sessions: list[str]

    @property
    def session(self) -> str:
        """The first session."""
        return self.sessions[0]

    async def say(self, count: int, session: str | None = None) -> list[int]:
        """Let Ann send messages, one by one; return their `seq`s."""
        seqs = []
        for _ in range(count):
            answer = await self.ann.send(session or self.session, "more tea?")
            seqs.append(answer["message"]["seq"])
        return seqs


@asynccontextmanager
async def open_tea(daemon: Daemon, sessions: int = 1) -> AsyncIterator[Tea]:
    """Register Ann and Ben, open sessions of them, and let Ann be live for the block."""
    ann, ben = await register(daemon, "ann"), await register(daemon, "ben")
    rooms = [await create_session(daemon, ann, ben) for _ in range(sessions)]
    async with talking(daemon, ann) as talker:
        yield Tea(talker, ben, rooms)


@asynccontextmanager
async def restarted(daemon: Daemon) -> AsyncIterator[None]:
    """Stop the daemon for the block and start it again behind it, also when the block fails."""
    code = await trio.to_thread.run_sync(daemon.stop)
    try:
        assert code == 0
        yield
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + START_TIMEOUT):
            await trio.to_thread.run_sync(daemon.start)


def expired_token(person: Person) -> str:
    """Return an access token that was good until a moment ago."""
    kid, _, secret = SIGNING_KEY.partition(":")
    tokens = AccessTokens([SigningKey(kid, secret.strip().encode())], TOKEN_TTL)
    made_at = datetime.now(UTC) - timedelta(seconds=TOKEN_TTL + 1)
    return tokens.issue(UUID(person.id), uuid4(), uuid4(), made_at)[0]
