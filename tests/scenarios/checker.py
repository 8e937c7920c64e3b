"""Judges a history: every acknowledged message there once, in one order, without a hole.

The checker knows only what clients saw: what they sent, what was acknowledged, and what the
history answers afterwards. Its own tests plant each fault that it exists for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """What may be wrong with a history."""

    LOST = "acknowledged, but not stored"
    DOUBLED = "stored more than once"
    HOLE = "a number is missing in the order"
    REORDERED = "not in the order, or not at the place, that was acknowledged"
    ALTERED = "other content than was sent"
    INVENTED = "stored, but never sent"


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as it was acknowledged, or as the history has it."""

    key: str  # clientMsgId
    seq: int
    content: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, and where."""

    fault: Fault
    key: str
    seq: int


def check_history(
    stored: Sequence[Entry],
    acked: Iterable[Entry],
    sent: Mapping[str, str],
    *,
    after: int = 0,
) -> list[Finding]:
    """Return what is wrong with a session's history, nothing if all is well.

    Args:
        stored: the history in the order in which it was answered.
        acked: what clients were told is stored; all of it above `after`.
        sent: key -> content of everything sent, acknowledged or not.
        after: the history begins above this `seq`.
    """
    found = [*_order(stored, after), *_copies(stored)]
    by_key = {entry.key: entry for entry in stored}
    for entry in stored:
        if entry.key not in sent:
            found.append(Finding(Fault.INVENTED, entry.key, entry.seq))
        elif sent[entry.key] != entry.content:
            found.append(Finding(Fault.ALTERED, entry.key, entry.seq))
    for ack in acked:
        held = by_key.get(ack.key)
        if held is None:
            found.append(Finding(Fault.LOST, ack.key, ack.seq))
        elif held.seq != ack.seq:
            found.append(Finding(Fault.REORDERED, ack.key, ack.seq))
        elif held.content != ack.content:
            found.append(Finding(Fault.ALTERED, ack.key, ack.seq))
    return found


def _order(stored: Sequence[Entry], after: int) -> list[Finding]:
    found, last = [], after
    for entry in stored:
        if entry.seq <= last:
            found.append(Finding(Fault.REORDERED, entry.key, entry.seq))
        elif entry.seq > last + 1:
            found.append(Finding(Fault.HOLE, entry.key, entry.seq))
        last = max(last, entry.seq)
    return found


def _copies(stored: Sequence[Entry]) -> list[Finding]:
    counts = Counter(entry.key for entry in stored)
    return [
        Finding(Fault.DOUBLED, entry.key, entry.seq) for entry in stored if counts[entry.key] > 1
    ]


def check_stream(seqs: Sequence[int], *, after: int) -> list[Finding]:
    """Return what is wrong with what one connection was pushed of one session.

    Args:
        seqs: as they arrived.
        after: where the connection joined.
    """
    found, last, seen = [], after, set[int]()
    for seq in seqs:
        if seq in seen:
            found.append(Finding(Fault.DOUBLED, "", seq))
        elif seq <= last:
            found.append(Finding(Fault.REORDERED, "", seq))
        elif seq > last + 1:
            found.append(Finding(Fault.HOLE, "", seq))
        seen.add(seq)
        last = max(last, seq)
    return found
