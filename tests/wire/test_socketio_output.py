"""Socket.IO packets that clients are sent, and that they come back as they went."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.wire.engineio import decode_message
from chatd.wire.frames import Binary
from chatd.wire.socketio import (
    ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAX_ATTACHMENTS,
    MAX_ID,
    RESERVED,
    Decoder,
    Packet,
    encode,
    encode_ack,
    encode_durable,
    encode_event,
)


def read(packets: list[bytes | Binary]) -> Packet | None:
    """Return what the other side reads, by way of Engine.IO."""
    decoder = Decoder()
    answers = [decoder.feed(decode_message(packet).data) for packet in packets]
    assert not any(answers[:-1])
    return answers[-1]


def test_the_packets_of_the_chat_are_those_of_node() -> None:
    assert encode_event("message:new", b'{"seq":1}') == b'42["message:new",{"seq":1}]'
    assert encode_durable("message:new", b"{}", "a-1") == b'42["message:new",{},"a-1"]'
    assert encode_ack(7, b'{"ok":true}') == b'437[{"ok":true}]'


@pytest.mark.parametrize(
    ("arguments", "packet"),
    [
        ((CONNECT, "/", {"sid": "x"}), b'40{"sid":"x"}'),
        ((CONNECT, "/admin"), b"40/admin,"),
        ((DISCONNECT, "/"), b"41"),
        ((DISCONNECT, "/admin"), b"41/admin,"),
        ((CONNECT_ERROR, "/x", {"message": "no"}), b'44/x,{"message":"no"}'),
        ((EVENT, "/", ["a"]), b'42["a"]'),
        ((EVENT, "/", ("a", ("é", None)), 0), '420["a",["é",null]]'.encode()),
        ((EVENT, "/admin", ["a"], MAX_ID), b'42/admin,9007199254740991["a"]'),
        ((ACK, "/", [], 5), b"435[]"),
        ((ACK, "/admin", [1], 5), b"43/admin,5[1]"),
        ((EVENT, "/", ["a", UUID(int=0)]), b'42["a","00000000-0000-0000-0000-000000000000"]'),
    ],
)
def test_any_packet_can_be_written(arguments: tuple[Any, ...], packet: bytes) -> None:
    assert encode(*arguments) == [packet]


def test_bytes_of_every_kind_become_attachments_in_their_order() -> None:
    data = ["a", b"0", {"in": (bytearray(b"1"), [memoryview(b"2")]), "too": Binary(b"3")}]
    packets = encode(EVENT, "/n", data, 9)
    places = tuple(b'{"_placeholder":true,"num":%d}' % num for num in range(4))
    text = b'454-/n,9["a",%b,{"in":[%b,[%b]],"too":%b}]' % places
    assert packets == [text, b"0", b"1", b"2", b"3"]
    assert [type(packet) for packet in packets] == [bytes, *[Binary] * 4]
    assert encode(ACK, "/", [b"x"], 1) == [b'461-1[{"_placeholder":true,"num":0}]', b"x"]


def test_ten_attachments_are_sent_and_eleven_are_not() -> None:
    assert len(encode(EVENT, "/", ["a", *[b"x"] * 10])) == 11
    with pytest.raises(ValueError, match="11 attachments"):
        encode(EVENT, "/", ["a", *[b"x"] * 11])


def test_half_an_emoji_is_sent_as_javascript_does_also_beside_attachments() -> None:
    packets = encode(EVENT, "/", ["a", b"x", "\ud83d", b"y", UUID(int=0), "é"])
    assert packets[0].endswith(b',"\\ud83d",{"_placeholder":true,"num":1},"%b","\\u00e9"]' % NIL)
    assert packets[1:] == [b"x", b"y"]
    data = ["a", b"x", "\ud83d", b"y", NIL.decode(), "é"]
    assert read(packets) == Packet(EVENT, "/", data, None, is_binary=True)


NIL = b"00000000-0000-0000-0000-000000000000"


def test_what_javascript_makes_of_numbers_and_keys_is_sent() -> None:
    assert encode(EVENT, "/", ["a", 2**64, {1: 2}]) == [b'42["a",18446744073709551616,{"1":2}]']


deep: list[Any] = []
for _ in range(5000):
    deep = [deep]
circle: list[Any] = ["a"]
circle.append(circle)


@pytest.mark.parametrize("beside", ["", "\ud83d"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"x": (math.nan,)}])
def test_a_number_that_json_does_not_have_is_not_sent(value: Any, beside: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of two writers
        encode(EVENT, "/", ["a", value, None, beside])


@pytest.mark.parametrize(
    "arguments",
    [
        (EVENT, "/", None),
        (EVENT, "/", []),
        (EVENT, "/", [1]),
        (EVENT, "/", "a"),
        (EVENT, "/", ["x" * 257]),
        (EVENT, "/", ["\ud83d"]),
        (EVENT, "/", ["a"], -1),
        (EVENT, "/", ["a"], MAX_ID + 1),
        (EVENT, "/", ["a", deep]),
        (EVENT, "/", circle),
        (EVENT, "/", ["a", b"x", {"_placeholder": True, "num": 0}]),
        (ACK, "/", []),
        (ACK, "/", {}, 1),
        (CONNECT, "/", {}, 1),
        (CONNECT, "/", {"x": b"y"}),
        (DISCONNECT, "/", {}),
        (BINARY_EVENT, "/", ["a", b"x"]),
        (7, "/"),
        (CONNECT, ""),
        (CONNECT, "admin"),
        (CONNECT, "/a,b"),
        (CONNECT, "/a\x1e"),
        (CONNECT, "/a\n"),
        (CONNECT, "/" + "é" * 128),
        (CONNECT, "/\ud83d"),
        *((EVENT, "/", [name]) for name in sorted(RESERVED)),
    ],
)
def test_what_a_stock_client_would_not_take_is_not_sent(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the table has the rules
        encode(*arguments)


@dataclass
class Person:
    name: str


@pytest.mark.parametrize("value", [object(), {1, 2}, Person("Ann"), 1j, {b"key": 1}])
def test_what_json_has_no_form_for_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(EVENT, "/", ["a", value])


keys = st.text(max_size=5)
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.text(st.characters(categories=["Cs", "L"]), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)
with_bytes = st.recursive(
    json | st.binary(max_size=20).map(Binary),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


def attachments(value: Any) -> int:
    """Return how many attachments there are in a value."""
    if isinstance(value, dict):
        return attachments(list(value.values()))
    if isinstance(value, list):
        return sum(map(attachments, value))
    return int(isinstance(value, Binary))


values = st.lists(with_bytes, max_size=3).filter(lambda data: attachments(data) <= MAX_ATTACHMENTS)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=256).filter(
    lambda name: name not in RESERVED
)
namespaces = st.just("/") | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=",\x7f", min_codepoint=0x20),
    max_size=50,
).map("/".__add__)
ids = st.integers(0, MAX_ID)


@given(names, values, namespaces, st.none() | ids)
def test_an_event_comes_back_as_it_went(
    name: str, arguments: list[Any], namespace: str, id_: int | None
) -> None:
    data = [name, *arguments]
    packets = encode(EVENT, namespace, data, id_)
    is_binary = len(packets) > 1
    assert read(packets) == Packet(EVENT, namespace, data, id_, is_binary=is_binary)


@given(values, namespaces, ids)
def test_an_ack_comes_back_as_it_went(data: list[Any], namespace: str, id_: int) -> None:
    packets = encode(ACK, namespace, data, id_)
    is_binary = len(packets) > 1
    assert read(packets) == Packet(ACK, namespace, data, id_, is_binary=is_binary)


@given(st.dictionaries(keys, json, max_size=3), namespaces)
def test_a_connect_comes_back_as_it_went(data: dict[str, Any], namespace: str) -> None:
    assert read(encode(CONNECT, namespace, data)) == Packet(CONNECT, namespace, data, None)
    assert read(encode(DISCONNECT, namespace)) == Packet(DISCONNECT, namespace, None, None)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9)), ids)
def test_the_packets_of_the_chat_are_what_the_general_writer_writes(
    data: dict[str, int], id_: int
) -> None:
    body = orjson.dumps(data)
    assert [encode_event("a:b", body)] == encode(EVENT, "/", ["a:b", data])
    assert [encode_durable("a:b", body, "x-1")] == encode(EVENT, "/", ["a:b", data, "x-1"])
    assert [encode_ack(id_, body)] == encode(ACK, "/", [data], id_)
