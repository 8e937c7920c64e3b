"""No bytes of a peer get anything out of the codecs but packets and the documented refusals.

`FUZZ_SECONDS` is how long the mutated corpus runs, `FUZZ_SEED` which mutations: a failure prints
its seed and its input.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.wire.engineio import (
    MAX_PACKETS,
    MESSAGE,
    Packet,
    ParseError,
    decode_message,
    decode_payload,
)
from chatd.wire.frames import Binary
from chatd.wire.socketio import ACK, CONNECT, DISCONNECT, EVENT, MAX_ATTACHMENTS, MAX_ID, Decoder
from chatd.wire.websocket import WebSocketEnd, WebSocketReader

MAX_BYTES = 1000
FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))
FUZZ_SEED = int(os.environ.get("FUZZ_SEED", "20"))
SEEDS = [path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").glob("*.bin"))]
GRAMMAR = [
    b"0",
    b"2",
    b"5",
    b"/a,",
    b"-",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b"\x1e",
    b"b",
    b"\\u",
]
WORDS = [b'"\\ud83d"', b'{"_placeholder":true,"num":0}', b"NaN", b"1e999", b"9" * 30, b"\xff", b""]

codecs = settings(deadline=None, max_examples=200)


def assert_bounded(decoder: Decoder) -> None:
    pending = decoder._pending
    assert decoder.is_waiting == (pending is not None)
    if pending is not None:
        assert len(pending.attachments) < pending.awaited <= MAX_ATTACHMENTS
        assert sum(map(len, pending.attachments)) <= MAX_BYTES


def feed(decoder: Decoder, packet: Packet) -> None:
    """Give a packet to the second codec and hold what comes out against its promises."""
    assert packet.kind in {b"0", b"1", b"2", b"3", b"4", b"5", b"6"}
    if isinstance(packet.data, Binary):
        assert packet.kind == MESSAGE
    else:
        packet.data.decode()
    if packet.kind != MESSAGE:
        return
    try:
        got = decoder.feed(packet.data)
    except ParseError:
        assert not decoder.is_waiting
        return
    assert_bounded(decoder)
    if got is not None:
        assert got.type in {CONNECT, DISCONNECT, EVENT, ACK}
        assert got.id is None or 0 <= got.id <= MAX_ID
        assert got.namespace.startswith("/")
        assert got.type != EVENT or isinstance(got.data[0], str)


def take(data: bytes) -> None:
    """Give the same bytes to all doors: a message, a binary one, a body, the second codec."""
    decoder = Decoder(MAX_BYTES)
    for part in (data, data[1:], Binary(data), data):  # as they are: no codec is ahead of it here
        with suppress(ParseError):
            decoder.feed(part)
        assert_bounded(decoder)
    with suppress(ParseError):
        feed(decoder, decode_message(data))
    decoder = Decoder(MAX_BYTES)
    try:
        packets = decode_payload(data)
    except ParseError:
        return
    assert 1 <= len(packets) <= MAX_PACKETS
    for packet in packets:
        feed(decoder, packet)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to four changes of the kinds that parsers break of."""
    for _ in range(chance.randint(1, 4)):
        at, to = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        match chance.randrange(6):
            case 0:
                data = data[:at] + chance.randbytes(1) + data[at + 1 :]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:at] + data[at:to] * chance.choice((2, 3, 40)) + data[to:]
            case 3:
                data = data[:at] + chance.choice(GRAMMAR) + data[at:]
            case 4:
                data = data[:at] + chance.choice(WORDS) + data[to:]
            case _:
                other = chance.choice(SEEDS)
                data = data[:at] + other[chance.randint(0, len(other)) :]
    return data[:5000]


def test_the_corpus_is_taken_or_refused_as_documented() -> None:
    assert len(SEEDS) >= 50
    for seed in SEEDS:
        take(seed)


def test_the_mutated_corpus_is_taken_or_refused_as_documented() -> None:
    chance = random.Random(FUZZ_SEED)  # noqa: S311 - the same mutations each run
    end = time.monotonic() + FUZZ_SECONDS
    while time.monotonic() < end:
        data = mutated(chance.choice(SEEDS), chance)
        try:
            take(data)
        except Exception as escaped:  # noqa: BLE001 - whatever it is, it is shown with its input
            pytest.fail(f"seed {FUZZ_SEED}: {escaped!r} of {data.hex()}")


pieces = st.sampled_from(GRAMMAR + WORDS + SEEDS[:10]) | st.binary(max_size=10)
messages = st.lists(pieces, max_size=8).map(b"".join) | st.sampled_from(SEEDS)


@codecs
@given(messages)
def test_any_bytes_are_packets_or_a_parse_error(data: bytes) -> None:
    take(data)


@codecs
@given(st.lists(messages | st.binary(max_size=600).map(Binary), max_size=12))
def test_any_sequence_of_messages_leaves_a_decoder_bounded(sequence: list[bytes]) -> None:
    decoder = Decoder(MAX_BYTES)
    for message in sequence:
        try:
            feed(decoder, decode_message(message))
        except ParseError:
            continue


@codecs
@given(
    st.lists(
        st.tuples(st.sampled_from([0x01, 0x02, 0x00, 0x81, 0x82, 0x80, 0x89]), st.binary())
        | st.binary(max_size=20),
        max_size=10,
    )
)
def test_any_bytes_are_messages_or_the_end_of_a_websocket(stream: list[object]) -> None:
    socket = WebSocketReader(max_size=MAX_BYTES, max_fragments=4, takes_binary=True)
    for part in stream:
        if isinstance(part, tuple):
            head, payload = part
            data = bytes((head, 0x80 | min(len(payload), 125), 0, 0, 0, 0)) + payload[:125]
        else:
            assert isinstance(part, bytes)
            data = part
        is_over = False
        try:
            got = socket.feed(data)
        except WebSocketEnd as end:
            got, is_over = end.messages, True
        assert all(len(message) <= MAX_BYTES for message in got)
        if is_over:
            return
        assert len(socket._fragments or ()) <= 4
