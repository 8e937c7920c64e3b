"""Frames between daemons: what is signed for one channel is good there and nowhere else."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.ids import uuid7
from chatd.wire.cluster import (
    CONTROL,
    EVENTS,
    HEAD_BYTES,
    BadFrame,
    Signer,
    WireEvent,
    pack_events,
    pack_named,
    unpack_events,
    unpack_named,
)

KEY, OLD, STRANGE = b"k" * 32, b"o" * 32, b"s" * 32
CHANNEL = b"chatd:control"

events = st.builds(
    WireEvent,
    st.integers(0, 2**63 - 1),
    st.text("abcdefghij:", min_size=1, max_size=40),
    st.binary(max_size=200),
    st.none() | st.uuids(),
    st.sampled_from(["removed", "banned", "deleted", "left"]),
)


def signer(*keys: bytes, tag: str = "aaaaaa") -> Signer:
    return Signer(keys or (KEY,), tag)


def test_a_frame_says_who_has_sent_it_and_what() -> None:
    frame = signer().frame(CHANNEL, CONTROL, b"{}")
    assert signer(tag="bbbbbb").read(CHANNEL, frame) == ("aaaaaa", CONTROL, b"{}")
    assert signer().is_own(frame)
    assert not signer(tag="bbbbbb").is_own(frame)


def test_a_frame_of_an_older_key_is_good_while_that_is_known() -> None:
    frame = signer(OLD).frame(CHANNEL, CONTROL, b"{}")
    signer(KEY, OLD).read(CHANNEL, frame)
    with pytest.raises(BadFrame, match="signature"):
        signer(KEY).read(CHANNEL, frame)


def test_a_frame_of_one_channel_is_none_on_another() -> None:
    frame = signer().frame(CHANNEL, CONTROL, b"{}")
    with pytest.raises(BadFrame, match="signature"):
        signer().read(b"chatd:s:" + uuid7().hex.encode(), frame)


@pytest.mark.parametrize("at", range(HEAD_BYTES + 2))
def test_a_frame_with_one_changed_byte_is_none(at: int) -> None:
    frame = bytearray(signer().frame(CHANNEL, EVENTS, b"{}"))
    frame[at] ^= 1
    with pytest.raises(BadFrame):
        signer().read(CHANNEL, bytes(frame))


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x80\x04\x95pickle" * 4, b"- !!python/x" * 4])
def test_what_others_put_there_is_no_frame(payload: bytes) -> None:
    with pytest.raises(BadFrame):
        signer().read(CHANNEL, payload)


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(BadFrame, match="kind"):
        signer().read(CHANNEL, signer().frame(CHANNEL, b"x", b""))


@given(st.lists(events, max_size=5))
def test_events_are_what_they_were(given: list[WireEvent]) -> None:
    expected = [
        each if each.removed is not None else each._replace(reason="removed") for each in given
    ]
    assert unpack_events(pack_events(given)) == expected


@given(st.lists(events, min_size=1, max_size=3), st.data())
def test_events_that_are_cut_off_are_refused(given: list[WireEvent], data: st.DataObject) -> None:
    body = pack_events(given)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    try:
        assert unpack_events(cut) == unpack_events(body)[: len(unpack_events(cut))]
    except BadFrame:
        return


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(body: bytes) -> None:
    for read in (unpack_events, unpack_named):
        try:
            read(body)
        except BadFrame:
            continue


@given(st.integers(0, 255), st.uuids(), st.text("abc:", max_size=40), st.binary(max_size=100))
def test_named_events_are_what_they_were(flags: int, id_: UUID, name: str, data: bytes) -> None:
    assert unpack_named(pack_named(flags, id_, name, data)) == (flags, id_, name, data)
