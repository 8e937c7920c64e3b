"""What daemons of one cluster publish to each other: signed frames of few kinds. Sans-I/O.

A frame is a version, a MAC over its channel and all that follows, the tag of who has sent it, a
kind, and the kind's body. Nothing in it is executed or trusted further than its signature: whoever
reaches Redis without the keys can delay and drop, and have the database read once more. Durable
events are binary, because their payloads are bytes that the rooms send on as they are; the rest is
JSON with a shape that its reader checks (`chatd.nurseries.control`).
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from chatd.peers import TAG_CHARS

VERSION = 1
MAC_BYTES = 16  # of SHA-256: what a forger has to guess (RFC 2104 5)
HEAD_BYTES = 1 + MAC_BYTES + TAG_CHARS + 1
REASONS = ("removed", "banned", "deleted", "left")
MAX_EVENTS = 10_000  # of one frame

# Kinds of frames
EVENTS = b"e"  # durable events of a session
EPHEMERAL = b"b"  # an event for whoever has joined a session
PERSONAL = b"p"  # an event for a user's sockets
CONTROL = b"c"  # JSON; see `chatd.nurseries.control`
KINDS = frozenset((EVENTS, EPHEMERAL, PERSONAL, CONTROL))

_EVENT = struct.Struct("!QBIB")  # seq, length of the name, length of the data, removal
_KEPT = 0  # the event removes nobody
_REMOVES = 1  # a user id and a reason stand behind the data


class BadFrame(Exception):
    """A frame that no daemon of this cluster has sent, or not whole."""


class Frame(NamedTuple):
    """A frame that was checked."""

    sender: str
    kind: bytes
    body: bytes


class WireEvent(NamedTuple):
    """A durable event as it travels; see `chatd.context.RoomEvent`."""

    seq: int
    name: str
    data: bytes
    removed: UUID | None
    reason: str


class Signer:
    """Signs with the first key, and takes what was signed with any of them.

    Args:
        keys: secrets of the cluster, the current one first.
        tag: who signs.
    """

    def __init__(self, keys: Sequence[bytes], tag: str) -> None:
        self._keys = tuple(keys)
        self.tag = tag
        self._tag = tag.encode("ascii")

    def mac(self, text: bytes) -> bytes:
        """Return what proves that we have said a text."""
        return hmac.digest(self._keys[0], text, "sha256")[:MAC_BYTES]

    def is_good(self, text: bytes, mac: bytes) -> bool:
        """Return whether one of us has said a text."""
        return any(
            hmac.compare_digest(hmac.digest(key, text, "sha256")[:MAC_BYTES], mac)
            for key in self._keys
        )

    def frame(self, channel: bytes, kind: bytes, body: bytes) -> bytes:
        """Return a frame for one channel: on another it is none."""
        said = b"%b%b%b" % (self._tag, kind, body)
        return b"%c%b%b" % (VERSION, self.mac(b"%b\0%b" % (channel, said)), said)

    def is_own(self, payload: bytes) -> bool:
        """Return whether a frame names us as its sender: it is not worth a look."""
        return payload[1 + MAC_BYTES : HEAD_BYTES - 1] == self._tag

    def read(self, channel: bytes, payload: bytes) -> Frame:
        """Return what a frame says.

        Raises:
            BadFrame: its version, its signature or its kind is not good.
        """
        if len(payload) < HEAD_BYTES or payload[0] != VERSION:
            msg = "no frame of this version"
            raise BadFrame(msg)
        said = payload[1 + MAC_BYTES :]
        if not self.is_good(b"%b\0%b" % (channel, said), payload[1 : 1 + MAC_BYTES]):
            msg = "a signature is not good: another cluster, other signing_keys, or a forgery"
            raise BadFrame(msg)
        kind = said[TAG_CHARS : TAG_CHARS + 1]
        if kind not in KINDS:
            msg = f"no such kind of frame: {kind!r}"
            raise BadFrame(msg)
        return Frame(said[:TAG_CHARS].decode("ascii"), kind, said[TAG_CHARS + 1 :])


def pack_events(events: Sequence[WireEvent]) -> bytes:
    """Return durable events as a body."""
    parts = []
    for seq, name, data, removed, reason in events:
        raw = name.encode("ascii")
        is_removal = removed is not None
        parts.append(_EVENT.pack(seq, len(raw), len(data), _REMOVES if is_removal else _KEPT))
        parts.append(raw)
        parts.append(data)
        if removed is not None:
            parts.append(removed.bytes)
            parts.append(bytes((REASONS.index(reason),)))
    return b"".join(parts)


def unpack_events(body: bytes) -> list[WireEvent]:
    """Return the durable events of a body.

    Raises:
        BadFrame: it is cut off, or there are too many.
    """
    events: list[WireEvent] = []
    at = 0
    try:
        while at < len(body):
            seq, name_size, data_size, removal = _EVENT.unpack_from(body, at)
            at += _EVENT.size
            name = body[at : at + name_size].decode("ascii")
            at += name_size
            data = body[at : at + data_size]
            at += data_size
            removed, reason = None, REASONS[0]
            if removal == _REMOVES:
                removed, reason = UUID(bytes=body[at : at + 16]), REASONS[body[at + 16]]
                at += 17
            events.append(WireEvent(seq, name, data, removed, reason))
    except (struct.error, ValueError, IndexError) as trouble:
        raise BadFrame(str(trouble)) from None
    if at != len(body) or len(events) > MAX_EVENTS:
        msg = "events are cut off"
        raise BadFrame(msg)
    return events


def pack_named(flags: int, id_: UUID, name: str, data: bytes) -> bytes:
    """Return an event that is not kept as a body, with a byte of flags and an id."""
    raw = name.encode("ascii")
    return b"%c%b%c%b%b" % (flags, id_.bytes, len(raw), raw, data)


def unpack_named(body: bytes) -> tuple[int, UUID, str, bytes]:
    """Return flags, id, name and data of such a body.

    Raises:
        BadFrame: it is cut off.
    """
    try:
        size = body[17]
        name = body[18 : 18 + size].decode("ascii")
        return body[0], UUID(bytes=body[1:17]), name, body[18 + size :]
    except (ValueError, IndexError) as trouble:
        raise BadFrame(str(trouble)) from None
