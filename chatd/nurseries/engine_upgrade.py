"""The WebSocket that takes over from polling: its probe, and its close when it does not."""

from __future__ import annotations

import trio

from chatd.errors import CloseCode
from chatd.nurseries.http import Upgrade
from chatd.nurseries.polling import Polling
from chatd.wire import engineio
from chatd.wire.engineio import PING, PONG, PROBE, UPGRADE, Packet, ParseError, decode_message
from chatd.wire.frames import close_frame
from chatd.wire.websocket import WebSocketEnd, WebSocketReader


async def probe(upgrade: Upgrade, reader: WebSocketReader, polling: Polling) -> list[Packet] | None:
    """Answer probes until the client switches; return what followed, None if it does not."""
    data = upgrade.leftover
    try:
        await upgrade.stream.send_all(upgrade.answer)
        while True:
            packets = [decode_message(message) for message in reader.feed(data)]
            while packets:
                packet = packets.pop(0)
                if packet == (UPGRADE, b""):
                    return packets
                if packet != (PING, PROBE):
                    return None
                polling.probe(is_on=True)
                await upgrade.stream.send_all(engineio.framed(PONG + PROBE))
            data = bytes(await upgrade.stream.receive_some(65_536))
            if not data:
                return None
    except (WebSocketEnd, ParseError, trio.BrokenResourceError, trio.ClosedResourceError):
        return None


async def close_socket(
    upgrade: Upgrade,
    answer: bytes,
    timeout: float,  # noqa: ASYNC109 - for one write
    code: CloseCode | None = None,
) -> None:
    """Close a WebSocket that gets no session, behind its 101 if that is not sent yet.

    Args:
        code: why its session has ended, where it has.
    """
    code = code or CloseCode.NORMAL
    with trio.move_on_after(timeout):
        try:
            await upgrade.stream.send_all(answer + close_frame(code.code, code.reason))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it has gone by itself
