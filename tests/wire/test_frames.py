"""Frame headers and strict JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from chatd.errors import CloseCode
from chatd.wire.frames import (
    MAX_DEPTH,
    FrameError,
    close_frame,
    loads,
    loads_javascript,
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
@pytest.mark.threat("T24")
def test_what_is_no_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(FrameError):
        loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a" :1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '{"b":[{"c":{"a":1,"a":2}}]}',
        '{"x":":","a":1,"a":2}',
        '{"x":"\\":","a":1,"a":2}',
        '{"x":"\\ud83d","a":1,"a":2}',
    ],
)
@pytest.mark.parametrize("read", [loads, loads_javascript])
@pytest.mark.threat("T24")
def test_an_object_with_a_key_twice_is_refused(text: str, read: Callable[[bytes], Any]) -> None:
    with pytest.raises(FrameError):
        read(text.encode())


@given(
    st.recursive(
        st.none() | st.integers(-9, 9) | st.text(alphabet='":\\{}, a'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='":\\{}, a'), inner),
    ),
    st.sampled_from([None, 1]),
)
def test_what_has_no_key_twice_is_taken_however_it_is_written(
    value: Any, indent: int | None
) -> None:
    try:
        assert loads(json.dumps(value, indent=indent)) == value
    except FrameError as refusal:
        assert "deeper" in str(refusal)  # noqa: PT017 - the only other reason
