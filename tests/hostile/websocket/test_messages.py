"""Text that is no request: an error or a close, never silence; T24, T45, T46, T83."""

from __future__ import annotations

from uuid import uuid4

import orjson
import pytest
import trio

from tests.hostile.websocket.attack import (
    PATIENCE,
    Place,
    first_answer,
    is_answered,
    request,
)
from tests.scenarios.wire import (
    CLOSE,
    frame,
    open_wire,
)

DEEP = b'{"event":"session:list","id":1,"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
DIGITS = b"9" * 400


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(DEEP, id="T24 10,000 deep"),
        pytest.param(b"[" * 500_000, id="T24 500,000 open"),
        pytest.param(b'{"event":"session:list","id":1,"data":{"limit":NaN}}', id="T24 NaN"),
        pytest.param(b'{"event":"session:list","id":1,"data":{"limit":1e400}}', id="T24 1e400"),
        pytest.param(
            b'{"event":"session:list","id":1,"data":{"limit":%b}}' % DIGITS, id="T24 digits"
        ),
        pytest.param(
            b'{"event":"session:list","id":1,"data":{"cursor":"\\ud800"}}', id="T24 surrogate"
        ),
        pytest.param(b'{"event":"\\ud800","id":1}', id="T24 surrogate as event"),
        pytest.param(b'\xef\xbb\xbf{"event":"session:list","id":1}', id="T24 byte order mark"),
        pytest.param(b"", id="T24 nothing"),
        pytest.param(b"null", id="T45 null"),
        pytest.param(b"[]", id="T45 a list"),
        pytest.param(b'"session:list"', id="T45 a string"),
        pytest.param(b"{}", id="T45 an empty object"),
        pytest.param(b'{"event":null,"id":1}', id="T45 event null"),
        pytest.param(b'{"event":[],"id":1}', id="T45 event a list"),
        pytest.param(b'{"event":{},"id":1}', id="T45 event an object"),
        pytest.param(b'{"event":"connect","id":1}', id="T45 reserved event"),
        pytest.param(b'{"event":"__proto__","id":1}', id="T45 __proto__ as event"),
        pytest.param(b'{"event":"no:such","id":1,"data":{}}', id="T45 unknown event"),
        pytest.param(b'{"event":"%b","id":1}' % (b"x" * 100_000), id="T45 a long event"),
        pytest.param(
            b'{"event":"message:send","id":1,"data":{"__proto__":{}}}', id="T24 __proto__"
        ),
        pytest.param(b'{"event":"message:send","id":1}', id="T24 no data"),
        pytest.param(b'{"event":"message:send","id":1,"data":null}', id="T24 data null"),
        pytest.param(b'{"event":"message:send","id":1,"data":[1]}', id="T24 data a list"),
        pytest.param(b'{"event":"message:send","id":1,"data":7}', id="T24 data a number"),
        pytest.param(
            b'{"event":"session:join","id":1,"data":{"sessionId":7}}', id="T83 wrong type"
        ),
        pytest.param(b'{"event":"session:list","id":%b}' % DIGITS, id="T46 id of 400 digits"),
        pytest.param(b'{"event":"session:list","id":9007199254740992}', id="T46 id 2^53"),
        pytest.param(b'{"event":"session:list","id":-1}', id="T46 id negative"),
        pytest.param(b'{"event":"session:list","id":1.5}', id="T46 id a fraction"),
        pytest.param(b'{"event":"session:list","id":true}', id="T46 id true"),
        pytest.param(b'{"event":"session:list","id":{}}', id="T46 id an object"),
        pytest.param(b'{"event":"session:list","id":"%b"}' % DIGITS, id="T46 id a long string"),
    ],
)
async def test_a_message_that_is_no_request_is_refused_or_closes_4500_never_silence(
    place: Place, message: bytes
) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.upgrade(place.ann.token)
            await wire.send(frame(message))
            while (found := await wire.frames()) is not None:
                for one in found:
                    if one.opcode == CLOSE:
                        assert one.code == 4500
                        return
                    said = orjson.loads(one.payload)
                    if "ok" in said:
                        assert not said["ok"]
                        assert said["error"]["code"] == "validation_failed"
                        assert await is_answered(wire)
                        return
    pytest.fail("closed without a word")


@pytest.mark.parametrize(
    ("since", "code"),
    [
        ({"seq": -1}, "validation_failed"),
        ({"seq": 2**63}, "validation_failed"),
        ({"seq": 0.5}, "validation_failed"),
        ({"seq": "1"}, "validation_failed"),
        ({"seq": True}, "validation_failed"),
        ({"seq": 2**53 - 1}, None),
    ],
    ids=lambda value: f"T83 {value}",
)
async def test_a_position_that_is_none_is_refused_and_one_beyond_the_end_not_recovered(
    place: Place, since: dict[str, object], code: str | None
) -> None:
    epoch = str(uuid4())
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.upgrade(place.ann.token)
            join = request("session:join", sessionId=place.session, since={"epoch": epoch, **since})
            await wire.send(frame(join))
            said = await first_answer(wire)
    if code is None:
        assert said["data"]["recovered"] is False
    else:
        assert said["error"]["code"] == code
