"""Engine.IO packets in both transports, and which requests get a session."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.wire import engineio
from chatd.wire.engineio import (
    CLOSE,
    MAX_PACKETS,
    MESSAGE,
    NOOP,
    OPEN,
    PING,
    PONG,
    PROBE,
    UPGRADE,
    EngineRefusal,
    Existing,
    Handshake,
    Packet,
    ParseError,
    Refusal,
    decode_message,
    decode_payload,
    screen,
)
from chatd.wire.frames import Binary, binary_frame, text_frame

KINDS = [OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP]
texts = st.text(st.characters(exclude_characters="\x1e", exclude_categories=["Cs"])).map(str.encode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_message_is_a_digit_and_its_data(kind: bytes) -> None:
    assert decode_message(kind + b"probe") == Packet(kind, PROBE)
    assert decode_message(bytearray(kind)) == Packet(kind, b"")


def test_the_data_of_a_text_message_is_never_binary_nor_mutable() -> None:
    assert type(decode_message(b"4x").data) is bytes
    assert type(decode_message(bytearray(b"4x")).data) is bytes


@pytest.mark.parametrize("data", [b"", b"4", b"\xff\x00", b"b"])
def test_a_binary_message_is_a_message_whatever_its_bytes(data: bytes) -> None:
    packet = decode_message(Binary(data))
    assert packet == Packet(MESSAGE, data)
    assert type(packet.data) is Binary


@given(st.binary(max_size=100))
def test_a_text_that_starts_with_b_is_a_binary_message_in_base64(data: bytes) -> None:
    packet = decode_message(b"b" + base64.b64encode(data))
    assert packet == Packet(MESSAGE, data)
    assert type(packet.data) is Binary


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"7",
        b"9x",
        b"x4",
        b" 4",
        b"-1",
        "٤".encode(),  # a digit, in Arabic
        b"\x1e4",
        b"B",
        b"bA",
        b"bAAAA=",
        b"bAAAA====",
        b"bAA AA",
        b"bAA-_",
        b"b=",
        b"b\xff",
        b"4\xff",
        b"4\xed\xa0\x80",  # half of a surrogate pair
        b"\xf44",
    ],
)
def test_what_is_no_packet_is_a_parse_error(message: bytes) -> None:
    with pytest.raises(ParseError):
        decode_message(message)
    with pytest.raises(ParseError):
        decode_payload(b"4fine\x1e" + message.replace(b"\x1e", b"\x1e\x1e"))


@pytest.mark.parametrize("body", [b"", b"\x1e", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b", b"4a\x1e9"])
def test_a_body_with_anything_but_packets_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(ParseError):
        decode_payload(body)


def test_a_character_that_two_packets_share_is_a_parse_error() -> None:
    with pytest.raises(ParseError):
        decode_payload(b"4\xc3\x1e4\xa9")


def test_a_body_holds_1000_packets_and_not_1001() -> None:
    assert len(decode_payload(b"\x1e".join([b"4x"] * MAX_PACKETS))) == 1000
    with pytest.raises(ParseError, match="1000"):
        decode_payload(b"\x1e".join([b"4x"] * (MAX_PACKETS + 1)))
    with pytest.raises(ParseError, match="1000"):
        decode_payload(b"\x1e" * 1_000_000)


@given(st.lists(texts | st.binary().map(Binary), min_size=1))
def test_what_waits_for_a_poll_comes_out_as_it_went_in(sent: list[bytes]) -> None:
    queue = [
        engineio.queued_binary(data)
        if isinstance(data, Binary)
        else engineio.queued(MESSAGE + data)
        for data in sent
    ]
    body = engineio.payload(queue)
    assert engineio.payload([memoryview(b"".join(queue))]) == body
    got = decode_payload(body)
    assert got == [Packet(MESSAGE, data) for data in sent]
    assert [type(packet.data) for packet in got] == [type(data) for data in sent]


def test_nothing_that_waits_is_an_empty_body_and_no_frames() -> None:
    assert engineio.payload([]) == b""
    assert engineio.to_frames(b"", b64=False) == b""


def test_what_waits_goes_on_over_the_websocket_in_order() -> None:
    waits = engineio.queued(b"4one") + engineio.queued_binary(b"\x00\x1e\xff") + b"\x1e2"
    frames = text_frame(b"4one") + binary_frame(b"\x00\x1e\xff") + text_frame(b"2")
    assert engineio.to_frames(waits, b64=False) == frames


def test_a_client_that_cannot_take_binary_gets_base64_in_text_frames() -> None:
    waits = engineio.queued_binary(b"\x00\x1e\xff") + engineio.queued(b"4one")
    assert engineio.to_frames(waits, b64=True) == text_frame(b"bAB7/") + text_frame(b"4one")


def test_a_packet_is_one_websocket_message_and_a_binary_one_has_no_digit() -> None:
    assert engineio.framed(b"4hello") == b"\x81\x064hello"
    assert engineio.to_stream([Binary(b"\x00")], b64=False) == b"\x82\x01\x00"


def test_the_handshake_is_that_of_node_to_the_byte() -> None:
    assert engineio.handshake("abc", ["websocket"], 25.0, 20.0, 1_000_000) == (
        b'0{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,'
        b'"maxPayload":1000000}'
    )
    opened = engineio.handshake("abc", (), 0.3, 0.0201, 1)
    assert orjson.loads(opened[1:]) == {
        "sid": "abc",
        "upgrades": [],
        "pingInterval": 300,
        "pingTimeout": 20,
        "maxPayload": 1,
    }


@pytest.mark.parametrize(
    ("refusal", "status", "body"),
    [
        (Refusal.TRANSPORT_UNKNOWN, 400, b'{"code":0,"message":"Transport unknown"}'),
        (Refusal.SESSION_UNKNOWN, 400, b'{"code":1,"message":"Session ID unknown"}'),
        (Refusal.BAD_HANDSHAKE_METHOD, 400, b'{"code":2,"message":"Bad handshake method"}'),
        (Refusal.BAD_REQUEST, 400, b'{"code":3,"message":"Bad request"}'),
        (Refusal.FORBIDDEN, 403, b'{"code":4,"message":"Forbidden"}'),
        (Refusal.UNSUPPORTED_VERSION, 400, b'{"code":5,"message":"Unsupported protocol version"}'),
    ],
)
def test_a_refusal_has_the_words_of_node(refusal: Refusal, status: int, body: bytes) -> None:
    answer = EngineRefusal(refusal)
    assert (answer.status, answer.body()) == (status, body)
    assert str(answer) == answer.message == refusal.message


def test_who_forbids_may_say_why() -> None:
    answer = EngineRefusal(Refusal.FORBIDDEN, "not from there")
    assert (answer.status, answer.body()) == (403, b'{"code":4,"message":"not from there"}')


def refused(method: str, query: dict[str, str], *, is_upgrade: bool = False) -> Refusal:
    with pytest.raises(EngineRefusal) as refusal:
        screen(method, query, is_upgrade=is_upgrade)
    return refusal.value.refusal


def test_a_handshake_names_transport_and_version() -> None:
    assert screen(
        "GET", {"EIO": "4", "transport": "polling", "t": "x"}, is_upgrade=False
    ) == Handshake("polling", b64=False)
    query = {"EIO": "4", "transport": "websocket", "b64": "1", "sid": ""}
    assert screen("GET", query, is_upgrade=True) == Handshake("websocket", b64=True)


@pytest.mark.parametrize("transport", ["", "Polling", "webtransport", "../..", "constructor"])
def test_an_unknown_transport_is_refused_first(transport: str) -> None:
    assert refused("POST", {"transport": transport, "sid": "x"}) is Refusal.TRANSPORT_UNKNOWN
    assert refused("PUT", {}) is Refusal.TRANSPORT_UNKNOWN


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
def test_a_handshake_is_a_get_and_that_is_seen_ahead_of_the_upgrade(method: str) -> None:
    assert refused(method, {"transport": "websocket"}) is Refusal.BAD_HANDSHAKE_METHOD


def test_a_websocket_without_upgrade_is_refused_ahead_of_its_version() -> None:
    assert refused("GET", {"transport": "websocket", "EIO": "3"}) is Refusal.BAD_REQUEST
    query = {"transport": "polling", "EIO": "4"}
    assert refused("GET", query, is_upgrade=True) is Refusal.BAD_REQUEST


@pytest.mark.parametrize("query", [{}, {"EIO": ""}, {"EIO": "3"}, {"EIO": "5"}, {"EIO": "4 "}])
def test_another_version_or_none_is_refused_on_both_transports(query: dict[str, str]) -> None:
    polling = refused("GET", {"transport": "polling", **query})
    websocket = refused("GET", {"transport": "websocket", **query}, is_upgrade=True)
    assert polling is websocket is Refusal.UNSUPPORTED_VERSION


def test_a_request_with_a_sid_is_left_to_whoever_knows_the_session() -> None:
    query = {"transport": "polling", "sid": "abc"}
    screened = screen("DELETE", query, is_upgrade=False)
    assert screened == Existing("polling", False, "abc", "DELETE", None, False)


existing: dict[str, Any] = {
    "transport": "polling",
    "b64": False,
    "sid": "abc",
    "method": "GET",
    "version": "4",
    "is_upgrade": False,
}


@pytest.mark.parametrize(
    ("changes", "current"),
    [
        ({}, "polling"),
        ({"method": "POST"}, "polling"),
        ({"transport": "websocket", "is_upgrade": True}, "polling"),
        ({"transport": "websocket", "is_upgrade": True}, "websocket"),
    ],
)
def test_a_session_takes_its_own_transport_and_an_upgrade(
    changes: dict[str, Any], current: str
) -> None:
    Existing(**existing | changes).check(current)


@pytest.mark.parametrize(
    ("changes", "current"),
    [
        ({}, "websocket"),
        ({"version": "3"}, "polling"),
        ({"version": None}, "polling"),
        ({"method": "PUT"}, "polling"),
        ({"transport": "websocket"}, "polling"),
        ({"transport": "websocket"}, "websocket"),
        ({"is_upgrade": True}, "polling"),
        ({"transport": "websocket", "is_upgrade": True, "method": "POST"}, "polling"),
        ({"transport": "websocket", "is_upgrade": True, "version": "3"}, "polling"),
    ],
)
def test_a_session_refuses_another_transport_version_or_method(
    changes: dict[str, Any], current: str
) -> None:
    with pytest.raises(EngineRefusal) as refusal:
        Existing(**existing | changes).check(current)
    assert refusal.value.refusal is Refusal.BAD_REQUEST
