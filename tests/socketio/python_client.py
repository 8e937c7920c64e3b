"""Python's own Socket.IO client, run as a program: it needs threads. Says what it got as JSON.

Arguments: url, token, session, transport.
"""

from __future__ import annotations

import json
import sys
from queue import SimpleQueue
from typing import Any

import socketio

WAIT = 20  # seconds


def main(url: str, token: str, session: str, transport: str) -> None:
    """Connect, join, send one message, wait for it and for one of somebody else."""
    events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    client = socketio.Client(reconnection=False)
    client.on("message:new", lambda message, _offset: events.put(("echo", message["content"])))
    client.connect(url, auth={"token": token}, transports=[transport], wait_timeout=WAIT)
    used = client.transport()
    joined = client.call("session:join", {"sessionId": session}, timeout=WAIT)
    message = {"sessionId": session, "content": "from Python"}
    client.emit("message:send", message, callback=lambda answer: events.put(("ack", answer["ok"])))
    got = [events.get(timeout=WAIT) for _ in range(3)]
    refused = client.call("message:sing", {}, timeout=WAIT)
    client.disconnect()
    json.dump({"used": used, "joined": joined["ok"], "got": got, "refused": refused}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
