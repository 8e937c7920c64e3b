"""Python's own Socket.IO client talks to chatd as well."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from tests.scenarios.daemon import Daemon
from tests.socketio.people import open_tea

PROGRAM = Path(__file__).with_name("python_client.py")


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_the_python_client_connects_joins_sends_with_an_ack_and_receives(
    daemon: Daemon, transport: str
) -> None:
    said: list[Any] = []
    async with open_tea(daemon) as tea:
        command = [sys.executable, str(PROGRAM)]
        command += [daemon.url, tea.ben.token, tea.session, transport]
        await tea.ann.join(tea.session)

        async def run() -> None:
            # Its errors are on stderr.
            process = await trio.run_process(command, stdin=b"", capture_stdout=True)
            said.append(orjson.loads(process.stdout))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await tea.ann.until(lambda: bool(tea.ann.messages(tea.session)))
                await tea.say(1)
    (told,) = said
    assert told["used"] == transport
    assert told["joined"]
    assert told["got"] == [["ack", True], ["echo", "from Python"], ["echo", "more tea?"]]
    assert not told["refused"]["ok"]
    assert told["refused"]["error"]["code"] == "validation_failed"
