"""The plain wire: requests in, answers and events out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.wire.frames import FrameError
from chatd.wire.plain import MAX_ID, Request, decode, encode_answer, encode_error, encode_event


def payload(data: bytes) -> Any:
    """Return what a short frame carries."""
    assert data[0] == 0x81
    assert data[1] == len(data) - 2
    return orjson.loads(data[2:])


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (b'{"event":"a:b"}', Request("a:b", None, {})),
        (b'{"event":"a:b","id":null,"data":null}', Request("a:b", None, None)),
        (b'{"event":"a:b","id":0,"data":[1]}', Request("a:b", 0, [1])),
        (b'{"event":"a:b","id":9007199254740991}', Request("a:b", MAX_ID, {})),
        (b'{"event":"a:b","id":"x","more":1}', Request("a:b", "x", {}, ("more",))),
        (bytearray(b'{"event":"\\u00e9"}'), Request("é", None, {})),
        (bytearray(b'{"event":"a","data":"\\ud83d"}'), Request("a", None, "\ud83d")),
        (b'{"event":"\\u00e9","id":"\xc3\xbc","data":"\\ud83d"}', Request("é", "ü", "\ud83d")),
    ],
)
def test_a_request_is_read(text: bytes, request_: Request) -> None:
    assert decode(text) == request_


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b'"event"',
        b"{}",
        b'{"event":1}',
        b'{"event":null}',
        b'{"event":"a","id":-1}',
        b'{"event":"a","id":9007199254740992}',
        b'{"event":"a","id":1.5}',
        b'{"event":"a","id":true}',
        b'{"event":"a","id":[]}',
        b'{"event":"a","id":"' + b"x" * 65 + b'"}',
        b'{"event":"a","data":NaN}',
        b'{"event":"a"} trailing',
        b'{"event":"\xff"}',
        b'{"event":"\\ud83d"}',
        b'{"event":"a","id":"\\ud83d"}',
        b'{"event":"a","\\ud83d":1}',
        b'{"event":"a","data":"\\ud83d"',
        b'{"event":"a","data":"\\ud83d","data":1}',
    ],
)
def test_what_is_no_request_is_no_frame_of_this_protocol(text: bytes) -> None:
    with pytest.raises(FrameError):
        decode(text)


@given(st.binary(max_size=100))
def test_no_bytes_make_the_decoder_fail_in_another_way(data: bytes) -> None:
    try:
        decode(data)
    except FrameError:
        return


@pytest.mark.parametrize("id_", [None, 0, 7, "x", 'quote "', "é"])
def test_an_answer_carries_its_id(id_: int | str | None) -> None:
    assert payload(encode_answer(id_, b'{"a":1}')) == {"id": id_, "ok": True, "data": {"a": 1}}
    error = {"code": "forbidden"}
    assert payload(encode_error(id_, error)) == {"id": id_, "ok": False, "error": error}


def test_an_event_is_its_name_and_the_bytes_that_were_encoded_once() -> None:
    assert encode_event("message:new", b'{"seq":1}')[2:] == (
        b'{"event":"message:new","data":{"seq":1}}'
    )
