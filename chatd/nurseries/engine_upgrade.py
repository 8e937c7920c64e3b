"""The WebSocket that takes over from polling: its probe, and its close when it does not."""

from __future__ import annotations

import trio

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
                await upgrade.stream.send_all(engineio.framed(PONG + PROBE))
                polling.probe(is_on=True)
            data = bytes(await upgrade.stream.receive_some(65_536))
            if not data:
                return None
    except (WebSocketEnd, ParseError, trio.BrokenResourceError, trio.ClosedResourceError):
        return None


async def close_socket(upgrade: Upgrade, answer: bytes, timeout: float) -> None:  # noqa: ASYNC109 - for one write
    """Close a WebSocket that gets no session, behind its 101 if that is not sent yet."""
    with trio.move_on_after(timeout):
        try:
            await upgrade.stream.send_all(answer + close_frame(1000, ""))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it has gone by itself
