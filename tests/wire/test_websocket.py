"""The reader of one WebSocket: bytes in, messages out, and the end of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import CloseCode
from chatd.wire.frames import Binary, close_frame
from chatd.wire.websocket import WebSocketEnd, WebSocketReader

TEXT, BINARY, CONT, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
FIN = 0x80
MASK = b"\x11\x22\x33\x44"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a frame as a client sends it."""
    head = bytes((opcode | (FIN if fin else 0) | rsv,))
    size = len(payload)
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 65_536:
        head += bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((0x80 | 127,)) + size.to_bytes(8, "big")
    masked = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))
    return head + MASK + masked


def reader(max_size: int = 1000, max_fragments: int = 64) -> WebSocketReader:
    return WebSocketReader(max_size=max_size, max_fragments=max_fragments)


def end_of(data: bytes, socket: WebSocketReader | None = None) -> WebSocketEnd:
    with pytest.raises(WebSocketEnd) as end:
        (socket or reader()).feed(data)
    return end.value


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_text_frame_of_any_size_is_one_message(size: int) -> None:
    assert reader(max_size=100_000).feed(frame(TEXT, b"x" * size)) == [b"x" * size]


def test_several_frames_in_one_piece_are_several_messages() -> None:
    pieces = frame(TEXT, b"one") + frame(TEXT, b"two") + frame(TEXT, b"three")[:4]
    socket = reader()
    assert socket.feed(pieces) == [b"one", b"two"]
    assert socket.feed(frame(TEXT, b"three")[4:]) == [b"three"]


@given(st.lists(st.binary(max_size=200), max_size=5), st.data())
def test_where_the_bytes_are_cut_changes_nothing(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(frame(TEXT, message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    socket, read = reader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if start < end:
            read += socket.feed(stream[start:end])
    assert read == messages


def test_a_ping_is_answered_once_with_its_payload_and_a_pong_not_at_all() -> None:
    socket = reader()
    assert socket.feed(frame(PING, b"you?") + frame(TEXT, b"hi") + frame(PONG, b"me")) == [b"hi"]
    assert socket.replies() == bytes((FIN | PONG, 4)) + b"you?"
    assert socket.replies() == b""


def test_fragments_are_one_message_also_with_a_ping_between_them() -> None:
    socket = reader()
    assert socket.feed(frame(TEXT, b"one ", fin=False)) == []
    assert socket.feed(frame(PING) + frame(CONT, b"two ", fin=False)) == []
    assert socket.replies() == bytes((FIN | PONG, 0))
    assert socket.feed(frame(CONT, b"three") + frame(TEXT, b"next")) == [b"one two three", b"next"]


@pytest.mark.parametrize(("count", "is_taken"), [(64, True), (65, False)])
def test_a_message_has_at_most_64_fragments_even_empty_ones(count: int, is_taken: bool) -> None:
    socket = reader()
    socket.feed(frame(TEXT, b"", fin=False))
    for _ in range(count - 2):
        socket.feed(frame(CONT, b"", fin=False))
    if is_taken:
        assert socket.feed(frame(CONT, b"end")) == [b"end"]
    else:
        assert end_of(frame(CONT, b"end"), socket).code is CloseCode.TOO_BIG


def test_fragments_are_counted_a_message_at_a_time() -> None:
    socket = reader(max_fragments=2)
    for _ in range(5):
        assert socket.feed(frame(TEXT, b"a", fin=False) + frame(CONT, b"b")) == [b"ab"]


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"x" * 1001),
        bytes((FIN | TEXT, 0xFF)) + (1 << 62).to_bytes(8, "big") + MASK,
        frame(TEXT, b"x" * 600, fin=False) + frame(CONT, b"x" * 600),
    ],
)
def test_a_message_larger_than_the_limit_is_refused_by_its_head(data: bytes) -> None:
    end = end_of(data)
    assert end.code is CloseCode.TOO_BIG
    assert end.goodbye == close_frame(1009, CloseCode.TOO_BIG.reason)


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x05hello",  # not masked
        frame(TEXT, b"x", rsv=0x40),  # compressed, which was not negotiated
        frame(TEXT, b"x", rsv=0x20),
        frame(TEXT, b"x", rsv=0x10),
        frame(0x3, b"x"),
        frame(0xB, b"x"),
        frame(PING, b"x" * 126),
        frame(PING, b"x", fin=False),
        frame(CONT, b"of nothing"),
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, (1005).to_bytes(2, "big")),
        bytes((FIN | TEXT, 0xFF)) + (1 << 63).to_bytes(8, "big") + MASK,
    ],
)
def test_what_rfc_6455_forbids_ends_with_a_close_frame(data: bytes) -> None:
    end = end_of(data)
    assert end.code in {CloseCode.PROTOCOL_ERROR, CloseCode.TOO_BIG}
    assert end.goodbye[:2] == bytes((FIN | CLOSE, len(end.goodbye) - 2))


def test_a_close_reason_that_is_not_utf_8_is_1007() -> None:
    assert end_of(frame(CLOSE, b"\x03\xe8\xff")).code is CloseCode.INVALID_DATA


def test_a_binary_frame_is_1003() -> None:
    end = end_of(frame(BINARY, b"x"))
    assert end.goodbye == close_frame(1003, CloseCode.UNSUPPORTED_DATA.reason)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9going away"])
def test_a_close_frame_is_echoed_with_its_code(payload: bytes) -> None:
    end = end_of(frame(CLOSE, payload))
    assert end.code is CloseCode.NORMAL
    assert end.goodbye[:1] == bytes((FIN | CLOSE,))
    assert end.goodbye[2:4] == payload[:2]


def test_a_ping_ahead_of_the_close_is_still_answered() -> None:
    end = end_of(frame(PING, b"1") + frame(CLOSE, b"\x03\xe8"))
    assert end.goodbye == bytes((FIN | PONG, 1)) + b"1" + b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("last", [frame(CLOSE, b"\x03\xe8"), frame(BINARY), b"\x81\x01x"])
def test_what_was_said_ahead_of_the_end_is_not_lost_with_it(last: bytes) -> None:
    end = end_of(frame(TEXT, b"last words") + last)
    assert end.messages == [b"last words"]


def binary_reader() -> WebSocketReader:
    return WebSocketReader(max_size=1000, max_fragments=64, takes_binary=True)


def test_binary_messages_are_taken_where_they_are_wanted_and_keep_their_order() -> None:
    messages = binary_reader().feed(
        frame(TEXT, b"one")
        + frame(BINARY, b"\xff", fin=False)
        + frame(PING)
        + frame(CONT, b"\x00")
        + frame(TEXT, b"thr", fin=False)
        + frame(CONT, b"ee")
        + frame(BINARY)
    )
    assert messages == [b"one", b"\xff\x00", b"three", b""]
    assert [isinstance(message, Binary) for message in messages] == [False, True, False, True]


@pytest.mark.parametrize(
    "data",
    [
        frame(BINARY, b"x" * 1001),
        frame(BINARY, b"x" * 600, fin=False) + frame(CONT, b"x" * 600),
        frame(BINARY, b"", fin=False) + frame(CONT, b"", fin=False) * 64,
    ],
)
def test_the_limits_hold_for_binary_messages_too(data: bytes) -> None:
    assert end_of(data, binary_reader()).code is CloseCode.TOO_BIG


def test_a_binary_message_in_fragments_is_1003_where_it_is_not_wanted() -> None:
    assert end_of(frame(BINARY, b"x", fin=False)).code is CloseCode.UNSUPPORTED_DATA


@pytest.mark.parametrize(
    ("payload", "goodbye"),
    [(b"", b"\x88\x00"), (b"\x03\xe8bye", close_frame(1000, "bye"))],
)
def test_a_close_between_fragments_is_a_close_like_any_other(
    payload: bytes, goodbye: bytes
) -> None:
    end = end_of(frame(TEXT, b"half", fin=False) + frame(CLOSE, payload) + frame(CONT, b"rest"))
    assert (end.code, end.goodbye, end.messages) == (CloseCode.NORMAL, goodbye, [])


def test_a_bad_close_between_fragments_is_an_error() -> None:
    end = end_of(frame(TEXT, b"half", fin=False) + frame(CLOSE, b"\x03"))
    assert end.code is CloseCode.PROTOCOL_ERROR


FRAMES = st.builds(
    frame,
    st.sampled_from([TEXT, TEXT, BINARY, CONT, CLOSE, PING, PONG, 0x3]),
    st.one_of(st.binary(max_size=130), st.just(b"\x03\xe8"), st.just(b"x" * 1001)),
    fin=st.sampled_from([True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0x40]),
)


def story_of(socket: WebSocketReader, pieces: list[bytes]) -> tuple[object, ...]:
    """Return all that a reader makes of some bytes, up to its end."""
    messages: list[bytes | bytearray] = []
    replies = b""
    for piece in pieces:
        try:
            messages += socket.feed(piece)
        except WebSocketEnd as end:
            messages += end.messages
            return list(map(bytes, messages)), replies, end.code, end.goodbye[:4]
        replies += socket.replies()
    return list(map(bytes, messages)), replies


@given(st.lists(FRAMES, max_size=6), st.booleans(), st.data())
def test_the_short_way_for_whole_messages_reads_what_the_library_reads(
    frames: list[bytes], takes_binary: bool, data: st.DataObject
) -> None:
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pairs = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    pieces = [stream[start:end] for start, end in pairs if start < end]
    socket, library = (
        WebSocketReader(max_size=1000, max_fragments=4, takes_binary=takes_binary) for _ in range(2)
    )
    library.feed(frame(PING))  # from here on everything is the library's
    library.replies()
    assert story_of(socket, pieces) == story_of(library, pieces)


@pytest.mark.parametrize("head", [b"\xff\xff", b"\x81\x7f", b"\x83\xfe"])
def test_a_head_that_is_none_is_refused_without_waiting_for_its_frame(head: bytes) -> None:
    assert end_of(head).code is CloseCode.PROTOCOL_ERROR
    socket = reader()
    assert socket.feed(head[:1]) == []
    assert end_of(head[1:], socket).code is CloseCode.PROTOCOL_ERROR


def test_a_limit_that_is_raised_while_a_message_arrives_holds_for_the_next_one() -> None:
    socket = reader(max_size=10)
    assert socket.feed(frame(TEXT, b"x" * 10)[:5]) == []
    socket.allow(20)
    assert socket.feed(frame(TEXT, b"x" * 10)[5:] + frame(TEXT, b"y" * 20)) == [
        b"x" * 10,
        b"y" * 20,
    ]
    assert end_of(frame(TEXT, b"z" * 21), socket).code is CloseCode.TOO_BIG
