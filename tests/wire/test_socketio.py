"""Socket.IO packets: what is taken and what is refused."""

from __future__ import annotations

import pytest

from chatd.wire.engineio import ParseError
from chatd.wire.frames import MAX_DEPTH, Binary
from chatd.wire.socketio import (
    ACK,
    CONNECT,
    DISCONNECT,
    EVENT,
    MAX_ID,
    RESERVED,
    Decoder,
    Packet,
    encode,
)


def read(*messages: bytes, max_bytes: int = 1000) -> Packet:
    """Return the one packet that these messages carry."""
    decoder = Decoder(max_bytes)
    packets = [decoder.feed(message) for message in messages]
    assert packets[:-1] == [None] * (len(messages) - 1)
    assert packets[-1] is not None
    assert not decoder.is_waiting
    return packets[-1]


def is_refused(*messages: bytes, max_bytes: int = 1000) -> bool:
    """Return whether the last message breaks the protocol, and only the last."""
    decoder = Decoder(max_bytes)
    for message in messages[:-1]:
        assert decoder.feed(message) is None
    with pytest.raises(ParseError):
        decoder.feed(messages[-1])
    return not decoder.is_waiting


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        (b"0", Packet(CONNECT, "/", None, None)),
        (b'0{"token":"x"}', Packet(CONNECT, "/", {"token": "x"}, None)),
        (b"0/admin,", Packet(CONNECT, "/admin", None, None)),
        (b"0/admin", Packet(CONNECT, "/admin", None, None)),
        (b"0/a?x=1,{}", Packet(CONNECT, "/a?x=1", {}, None)),
        ("0/日本,".encode(), Packet(CONNECT, "/日本", None, None)),
        (b"1", Packet(DISCONNECT, "/", None, None)),
        (b"1/admin,", Packet(DISCONNECT, "/admin", None, None)),
        (b'2["a"]', Packet(EVENT, "/", ["a"], None)),
        (b'2/,["a"]', Packet(EVENT, "/", ["a"], None)),
        (b'2/admin,456["a",{}]', Packet(EVENT, "/admin", ["a", {}], 456)),
        (b'20["a",null]', Packet(EVENT, "/", ["a", None], 0)),
        (b'29007199254740991["a"]', Packet(EVENT, "/", ["a"], MAX_ID)),
        (b'2["a",{"_placeholder":true}]', Packet(EVENT, "/", ["a", {"_placeholder": True}], None)),
        ('2["é","日本"]'.encode(), Packet(EVENT, "/", ["é", "日本"], None)),
        (b"312[]", Packet(ACK, "/", [], 12)),
        (b"3/admin,12[1]", Packet(ACK, "/admin", [1], 12)),
    ],
)
def test_a_packet_of_text_is_read(text: bytes, packet: Packet) -> None:
    assert read(text) == packet


@pytest.mark.parametrize(
    "text",
    [
        b"",  # types
        b"7",
        b"x",
        b"-1",
        "٢[]".encode(),
        b"\xff",
        b"0[]",  # CONNECT
        b"0null",
        b'0"token"',
        b"0 ",
        b"01",
        b"01{}",
        b"0{",
        b"1{}",  # DISCONNECT
        b"1null",
        b"11",
        b"1 ",
        b"2",  # EVENT
        b"2{}",
        b"2[]",
        b"2null",
        b'2"a"',
        b"2[{}]",
        b"2[null]",
        b"2[[]]",
        b"2[1]",
        b"2[true]",
        b'2["a"',
        b'2["a"]x',
        b'2["a",]',
        b"2['a']",
        b'2["\xff"]',
        b'2["\\ud800"]',  # a name is for logs
        b'2/admin["a"]',
        b"3[]",  # ACK
        b"3",
        b"31",
        b"31{}",
        b"31null",
        b"4",  # CONNECT_ERROR
        b'4{"message":"x"}',
        b'4"x"',
        b'20123["a"]',  # ids
        b'200["a"]',
        b'2-1["a"]',
        b'2+1["a"]',
        b'21.0["a"]',
        b'21e3["a"]',
        b'29007199254740992["a"]',
        b"39007199254740992[]",
        b"2" + b"9" * 400 + b'["a"]',
        '2٤["a"]'.encode(),
        b'21-["a"]',  # an EVENT has no attachments
        b"0/a\x1eb,",  # namespaces
        b"0/a\nb",
        b"0/\xff,",
        b"0admin,",
    ],
)
def test_a_text_that_is_no_packet_is_a_parse_error(text: bytes) -> None:
    assert is_refused(text)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_event_is_a_parse_error_in_and_a_value_error_out(name: str) -> None:
    assert is_refused(b'2["%b"]' % name.encode())
    with pytest.raises(ValueError, match="reserved"):
        encode(EVENT, "/", [name])


def test_a_name_has_256_characters_and_not_257() -> None:
    assert read('2["{}"]'.format("é" * 256).encode()).data == ["é" * 256]
    assert is_refused('2["{}"]'.format("é" * 257).encode())


def test_a_namespace_has_256_bytes_and_not_257() -> None:
    assert read(b"0/" + b"a" * 255 + b",").namespace == "/" + "a" * 255
    assert is_refused(b"0/" + b"a" * 256 + b",")
    assert is_refused(b"0/" + b"a" * 100_000)


def test_an_event_is_taken_32_deep_and_not_33() -> None:
    def nested(depth: int, word: bytes) -> bytes:
        return b'2["a",%b' % word + b"[" * (depth - 1) + b"]" * depth

    assert read(nested(MAX_DEPTH, b""))
    assert read(nested(MAX_DEPTH, b'"\\ud800",'))
    for depth in (MAX_DEPTH + 1, 2_000, 100_000):
        assert is_refused(nested(depth, b""))
        assert is_refused(nested(depth, b'"\\ud800",'))


@pytest.mark.parametrize("beside", [b"", b',"\\ud800"'])
@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000])
def test_a_number_that_is_none_is_a_parse_error(number: bytes, beside: bytes) -> None:
    assert is_refused(b'2["a",%b%b]' % (number, beside))


@pytest.mark.parametrize("beside", [b"", b',"\\ud800"'])
@pytest.mark.parametrize(
    ("number", "value"),
    [
        (b"9007199254740993", 9007199254740993),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2.0**64),
        (b"-9223372036854775808", -(2**63)),
        (b"-9223372036854775809", -(2.0**63)),
        (b"1" * 40, float("1" * 40)),
        (b"0.5", 0.5),
    ],
)
def test_a_number_beyond_64_bits_is_what_javascript_makes_of_it(
    number: bytes, value: float, beside: bytes
) -> None:
    got = read(b'2["a",%b%b]' % (number, beside)).data[1]
    assert (got, type(got)) == (value, type(value))


def test_half_an_emoji_is_understood_and_can_be_answered() -> None:
    packet = read(b'21["say",{"text":"\\ud83d","all":"\\ud83d\\ude00","raw":"\xc3\xa9"}]')
    assert packet.data == ["say", {"text": "\ud83d", "all": "😀", "raw": "é"}]
    (answer,) = encode(ACK, "/", [{"not": "\ud83d"}], 1)
    assert answer == b'431[{"not":"\\ud83d"}]'


def test_bytes_that_are_no_utf_8_do_not_pass_beside_half_an_emoji() -> None:
    assert is_refused(b'2["a","\\ud83d","\xed\xa0\x80"]')
    assert is_refused(b'2["a","\\ud83d","\x01"]')


def test_attachments_take_the_places_of_their_placeholders() -> None:
    text = (
        b'52-/files,7["up",{"_placeholder":true,"num":1},'
        b'{"in":[{"num":0,"_placeholder":true}],"no":{"_placeholder":1}}]'
    )
    one, two = Binary(b"one"), Binary(b"two")
    packet = read(text, one, two)
    data = ["up", two, {"in": [one], "no": {"_placeholder": 1}}]
    assert packet == Packet(EVENT, "/files", data, 7, is_binary=True)
    assert type(packet.data[1]) is Binary
    ack = read(b'61-3[{"_placeholder":true,"num":0}]', Binary(b""))
    assert ack == Packet(ACK, "/", [b""], 3, is_binary=True)


def test_a_placeholder_may_stand_twice_as_for_node() -> None:
    place = b'{"_placeholder":true,"num":0}'
    assert read(b'51-["a",%b,%b]' % (place, place), Binary(b"x")).data == ["a", b"x", b"x"]


def test_a_decoder_waits_for_attachments_and_then_reads_on() -> None:
    decoder = Decoder()
    text = b'51-["a",{"_placeholder":true,"num":0}]'
    waits = [(decoder.feed(part), decoder.is_waiting) for part in (text, Binary(b"x"))]
    assert waits == [(None, True), (Packet(EVENT, "/", ["a", b"x"], None, is_binary=True), False)]
    assert decoder.feed(b'2["b"]') == Packet(EVENT, "/", ["b"], None)


PLACE = b'{"_placeholder":true,"num":%b}'


@pytest.mark.parametrize(
    "text",
    [
        b'5["a",%b]' % (PLACE % b"0"),
        b'5-["a",%b]' % (PLACE % b"0"),
        b'50-["a"]',
        b'501-["a",%b]' % (PLACE % b"0"),
        b'5+1-["a",%b]' % (PLACE % b"0"),
        b'51.0-["a",%b]' % (PLACE % b"0"),
        b'51["a",%b]' % (PLACE % b"0"),
        b'511-["a",%b]' % b",".join(PLACE % b"%d" % num for num in range(11)),
        b'510000-["a",%b]' % (PLACE % b"0"),
        b'51-["a"]',
        b'52-["a",%b]' % (PLACE % b"0"),
        b'52-["a",%b,%b]' % (PLACE % b"1", PLACE % b"1"),
        b'51-["a",%b,%b]' % (PLACE % b"0", PLACE % b"1"),
        b"51-[%b]" % (PLACE % b"0"),
        b"51-%b" % (PLACE % b"0"),
        b"51-",
        b"61-[%b]" % (PLACE % b"0"),
        b"61-7%b" % (PLACE % b"0"),
        *(b'51-["a",%b]' % (PLACE % num) for num in (b"-1", b"1", b"99", b'"0"', b"0.0", b"null")),
        *(b'51-["a",%b]' % (PLACE % num) for num in (b"true", b"false", b"[0]", b'"splice"')),
        b'51-["a",{"_placeholder":true}]',
        b'51-["connect",%b]' % (PLACE % b"0"),
    ],
)
def test_a_binary_packet_that_does_not_fit_together_is_refused_ahead_of_its_attachments(
    text: bytes,
) -> None:
    assert is_refused(text)


def test_ten_attachments_are_taken() -> None:
    places = b",".join(PLACE % b"%d" % num for num in range(10))
    parts = [Binary(bytes((num,))) for num in range(10)]
    assert read(b'510-["a",%b]' % places, *parts).data == ["a", *parts]


def test_nothing_comes_between_a_packet_and_its_attachments() -> None:
    two = b'52-["a",%b,%b]' % (PLACE % b"0", PLACE % b"1")
    assert is_refused(two, b'2["b"]')
    assert is_refused(two, Binary(b"x"), two)
    assert is_refused(Binary(b"x"))
    decoder = Decoder()
    decoder.feed(b'2["a"]')
    with pytest.raises(ParseError):
        decoder.feed(Binary(b"x"))


def test_the_attachments_of_a_packet_are_bounded_together() -> None:
    two = b'52-["a",%b,%b]' % (PLACE % b"0", PLACE % b"1")
    assert read(two, Binary(b"x" * 600), Binary(b"y" * 400)).data[2] == b"y" * 400
    assert is_refused(two, Binary(b"x" * 600), Binary(b"y" * 401))
    assert is_refused(two, Binary(b"x" * 1001))
