"""A crowd of stock Socket.IO clients in one Node process. The other half is `crowd.mjs`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import trio

HERE = Path(__file__).parent
WAIT = 90.0  # seconds for a command; most of them wait for what a fault has delayed
READ_BYTES = 1_048_576


class Crowd:
    """Made by `open_crowd`."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""

    async def do(self, name: str, **more: Any) -> Any:
        """Let the crowd do something, and return what came of it.

        Raises:
            trio.TooSlowError: it is not done within `WAIT`.
        """
        assert self._process.stdin is not None
        line = orjson.dumps({"do": name, **more}) + b"\n"
        with trio.fail_after(WAIT):
            await self._process.stdin.send_all(line)
            report = orjson.loads(await self._line())
        assert report["name"] == name
        return report["result"]

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            data = await self._process.stdout.receive_some(READ_BYTES)
            assert data, "Node has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


@asynccontextmanager
async def open_crowd() -> AsyncIterator[Crowd]:
    """Run the Node process for the block."""
    node = shutil.which("node")
    assert node is not None, "there is no node: `make test` brings one"
    start = partial(
        trio.run_process,
        [node, str(HERE / "crowd.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        check=False,
    )
    async with trio.open_nursery() as nursery:
        yield Crowd(await nursery.start(start))
        nursery.cancel_scope.cancel()
