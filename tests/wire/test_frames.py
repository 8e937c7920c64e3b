"""Frame headers and strict JSON."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from chatd.errors import CloseCode
from chatd.wire.frames import (
    MAX_DEPTH,
    FrameError,
    close_frame,
    loads,
    ping_frame,
    text_frame,
)


def parse(data: bytes) -> Frame:
    """Read one frame as a client's library does."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as result:
        next(parser)
    frame: Frame = result.value.value
    return frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_client_reads_the_text_frames_that_we_write(size: int) -> None:
    frame = parse(text_frame(b"x" * size))
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, b"x" * size)


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_fits_its_frame(code: CloseCode) -> None:
    frame = parse(close_frame(code.code, code.reason))
    assert frame.opcode is Opcode.CLOSE
    assert bytes(frame.data) == code.code.to_bytes(2, "big") + code.reason.encode()


def test_a_long_reason_is_cut_to_a_control_frame() -> None:
    assert len(parse(close_frame(1000, "x" * 500)).data) == 125


def test_a_ping_carries_its_payload() -> None:
    frame = parse(ping_frame(b"there?"))
    assert (frame.opcode, bytes(frame.data)) == (Opcode.PING, b"there?")


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize("kind", [str, str.encode, lambda text: memoryview(text.encode())])
def test_json_is_taken_32_deep_and_not_33(kind: Any) -> None:
    assert loads(kind(nested(MAX_DEPTH)))
    with pytest.raises(FrameError, match="deeper"):
        loads(kind(nested(MAX_DEPTH + 1)))


def test_depth_counts_objects_and_arrays_alike() -> None:
    deep = '{"a":[' * 17 + "]}" * 17
    with pytest.raises(FrameError):
        loads(deep)


def test_many_brackets_beside_each_other_are_not_deep() -> None:
    assert len(loads("[" + ",".join(["{}"] * 100) + "]")) == 100
    assert loads(b'"' + b"[" * 100 + b'"') == "[" * 100


def test_the_deepest_json_that_a_frame_can_hold_is_refused_and_nothing_breaks() -> None:
    with pytest.raises(FrameError):
        loads(nested(500_000))


@pytest.mark.parametrize(
    "text", [b"", b"NaN", b"Infinity", b"{'a':1}", b"\xff", b"[1,]", b'"\xed\xa0\x80"', b"1 2"]
)
def test_what_is_no_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(FrameError):
        loads(text)
