"""Engine.IO and Socket.IO without chat: `python -m chatd.testing.echo engineio|socketio --port N`.

`engineio` sends every message back, at `/engine.io/`. `socketio` is what the protocol's own test
suite expects, at `/socket.io/`: on connection it emits `auth` with the payload of CONNECT, answers
`message` with `message-back`, acknowledges `message-with-ack` with its arguments, and has a
namespace `/custom` that emits `auth` too.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio

from chatd.config import Settings
from chatd.errors import NotFound
from chatd.metrics import Metrics
from chatd.nurseries.doors import Doors
from chatd.nurseries.engine import open_engine
from chatd.nurseries.engine_session import EngineSession, Opening
from chatd.nurseries.event_namespace import EventNamespace, EventSocket
from chatd.nurseries.http import HttpServer, Routes, UpgradeRoute
from chatd.nurseries.listener import Guard, bound_port, open_listeners, serve_listeners
from chatd.nurseries.socketio import SocketIoSession
from chatd.wire.engineio import MESSAGE
from chatd.wire.frames import Binary

RECOVERY_SECONDS = 120.0  # as Node's maxDisconnectionDuration


class EchoSession(EngineSession):
    """Sends every message back."""

    async def _message(self, data: bytes) -> None:
        self.send([data if isinstance(data, Binary) else MESSAGE + data])

    def _ended(self, code: object) -> None:
        """Nobody else knows an echo."""


def event_namespaces(recovery_seconds: float = 0) -> dict[str, EventNamespace]:
    """Return the namespaces of the Socket.IO protocol's test suite."""

    async def greet(socket: EventSocket) -> None:
        socket.emit("auth", socket.auth)

    main = EventNamespace("/", connected=greet, recovery_seconds=recovery_seconds)
    custom = EventNamespace("/custom", connected=greet, recovery_seconds=recovery_seconds)

    @main.on("message")
    async def message(socket: EventSocket, *args: Any) -> None:
        socket.emit("message-back", *args)

    @main.on("message-with-ack")
    async def message_with_ack(_socket: EventSocket, *args: Any) -> tuple[Any, ...]:
        return args

    return {"/": main, "/custom": custom}


async def run_echo(
    kind: str,
    settings: Settings,
    *,
    connect_timeout: float = 45.0,
    recovery_seconds: float = 0,
    announce: Callable[[int], None],
) -> None:
    """Serve until cancelled.

    Args:
        kind: "engineio" or "socketio".
        connect_timeout: seconds to join a namespace.
        announce: called with the port once connections are accepted.
    """
    namespaces = event_namespaces(recovery_seconds)

    def make_session(opening: Opening) -> EngineSession:
        if kind == "engineio":
            return EchoSession(opening)
        return SocketIoSession(opening, namespaces, connect_timeout=connect_timeout)

    metrics = Metrics()
    path = "/engine.io" if kind == "engineio" else "/socket.io"
    paths = (f"{path}/", path)
    async with open_engine(make_session, settings, metrics) as engine:
        routes = Routes(
            app=_no_app,
            direct=dict.fromkeys(paths, engine.serve),
            upgrades=dict.fromkeys(paths, UpgradeRoute(engine.screen, engine.upgrade)),
        )
        server = HttpServer(routes, settings)
        listeners = await open_listeners(settings)
        async with trio.open_nursery() as nursery:
            guard = Guard(
                server.serve_connection,
                nursery,
                max_connections=settings.max_connections,
                metrics=metrics,
                doors=Doors(settings.model_copy(update={"rate_limits": "off"})),
            )
            await nursery.start(serve_listeners, listeners, guard)
            announce(bound_port(listeners[0]))
            await trio.sleep_forever()


async def _no_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer every other path."""
    del scope, receive, send
    raise NotFound


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(prog="python -m chatd.testing.echo", description=__doc__)
    made.add_argument("kind", choices=("engineio", "socketio"))
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", type=int, required=True, help="0 takes a free one")
    made.add_argument("--ping-interval", type=float, default=25_000, metavar="MS")
    made.add_argument("--ping-timeout", type=float, default=20_000, metavar="MS")
    made.add_argument("--max-payload", type=int, default=1_000_000, metavar="BYTES")
    made.add_argument("--connect-timeout", type=float, default=45_000, metavar="MS")
    made.add_argument("--recovery", choices=("on", "off"), nargs="?", const="on", default="off")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted and return the exit status."""
    options = parser().parse_args(arguments)
    # A copy is not validated: suites use payloads and intervals that no chat would have.
    settings = Settings(host=options.host, port=options.port).model_copy(
        update={
            "ping_interval": options.ping_interval / 1000,
            "ping_timeout": options.ping_timeout / 1000,
            "frame_bytes": options.max_payload,
        }
    )

    def announce(port: int) -> None:
        sys.stdout.write(f"{options.kind} echo on http://{options.host}:{port}\n")
        sys.stdout.flush()

    serve = partial(
        run_echo,
        options.kind,
        settings,
        connect_timeout=options.connect_timeout / 1000,
        recovery_seconds=RECOVERY_SECONDS if options.recovery == "on" else 0,
        announce=announce,
    )
    trio.run(_until_asked_to_stop, serve)
    return 0


async def _until_asked_to_stop(serve: Callable[[], Awaitable[None]]) -> None:
    # Not by KeyboardInterrupt: it would come out of the nurseries in a group, with a traceback.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await anext(signals)
            nursery.cancel_scope.cancel(reason="asked to stop")


if __name__ == "__main__":
    sys.exit(main())
