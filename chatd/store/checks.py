"""What both stores ask of a row before they take it; the CHECKs of schema.sql say the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from chatd.contract.acts import Act, Standing
from chatd.contract.files import Bound, Quota
from chatd.keyring import MARK
from chatd.model import iso_or_none
from chatd.rows import (
    Append,
    InviteRow,
    MemberRow,
    Mentions,
    MessageRow,
    NewMessage,
    RulesRow,
    SessionKind,
)

CONTENT_CHARS = 16_384  # events.MAX_CONTENT; here it keeps one message from failing its batch
CLIENT_ID_CHARS = 255  # far below the 2,704 bytes that fit an index entry of PostgreSQL
LIVE_INVITES = 100  # of a session: a list that one page shows
JOIN_MEMBERS = 200  # members in a join page: above it a client wants counts, not faces

PINS = 50  # messages a session: what is pinned is read at once
EXCERPT = 200  # characters of an answered message that its replies show; in schema.sql as well
MENTION_ALL = 200  # members up to whom each may call all; in append_messages() as well
EMOJI = 20  # different ones a message: a row of buttons, not a wall
REACTORS = 20  # people who are named of one emoji, in reactions_of() as well: the rest is a number


def passed_bound(use: Quota, quota: Quota) -> Bound | None:
    """Return the first bound of a quota that a use passes."""
    if use.uploads > quota.uploads:
        return "uploads"
    if use.files > quota.files:
        return "files"
    return "bytes" if use.size > quota.size else None


def is_storable(message: NewMessage) -> bool:
    """Tell whether PostgreSQL can hold the text of a message: no NUL, no lone surrogate, no excess.

    Nor one that begins as a sealed text does.

    The handlers refuse such text with words; this check exists so that one message that came
    another way is answered alone instead of failing the whole batch it was put into.
    """
    key = message.client_msg_id
    return (
        len(message.content) <= CONTENT_CHARS
        and _is_text(message.content)
        and not message.content.startswith(MARK)
        and (key is None or (0 < len(key) <= CLIENT_ID_CHARS and _is_text(key)))
    )


def has_room(message: MessageRow, emoji: str) -> bool:
    """Tell whether a message takes a reaction: not a tombstone, nor a 21st emoji."""
    there = [reaction.emoji for reaction in message.reactions or ()]
    return message.deleted_at is None and (emoji in there or len(there) < EMOJI)


def write_refusal(rules: RulesRow, at: datetime) -> Append | None:
    """Tell why a member may not write; append_messages() in schema.sql says the same."""
    is_reader = rules.role == "READ_ONLY" or (rules.is_read_only and rules.role == "MEMBER")
    if rules.is_archived or is_reader:
        return Append.READ_ONLY
    return _muted(rules, at)


def mention_refusal(rules: RulesRow, mentions: Mentions | None, members: int) -> Append | None:
    """Tell why a member may not mention: everybody, in a session that is more than a circle."""
    is_shout = mentions == "ALL" and rules.role == "MEMBER" and members > MENTION_ALL
    return Append.TOO_MANY if is_shout else None


def reaction_refusal(rules: RulesRow, at: datetime) -> Append | None:
    """Tell why a member may not react: where only others write they may."""
    return Append.READ_ONLY if rules.is_archived else _muted(rules, at)


def _muted(rules: RulesRow, at: datetime) -> Append | None:
    is_muted = rules.muted_until is not None and rules.muted_until > at
    return Append.MUTED if is_muted else None


def search_name(name: str) -> str:
    """Return a name as it is searched for: compatible forms and cases are the same."""
    return unicodedata.normalize("NFKC", name).casefold()


def members_to_be(kind: SessionKind, creator_id: UUID, member_ids: Iterable[UUID]) -> list[UUID]:
    """Return the members of a new session, the creator first, nobody twice.

    Raises:
        ValueError: a DIRECT session without exactly one other member.
    """
    everyone = list(dict.fromkeys([creator_id, *member_ids]))
    if kind == "DIRECT" and len(everyone) != 2:  # noqa: PLR2004 - two people, by definition
        msg = "a DIRECT session has exactly one other member"
        raise ValueError(msg)
    return everyone


def update_notes(before: MemberRow, after: MemberRow) -> list[tuple[str, dict[str, Any]]]:
    """Return what the audit log says of a change of a member: action and details."""
    notes: list[tuple[str, dict[str, Any]]] = []
    if after.role != before.role:
        notes.append(("member_role", {"role": after.role, "before": before.role}))
    if after.muted_until != before.muted_until:
        notes.append(("member_muted", {"until": iso_or_none(after.muted_until)}))
    return notes


def setting_notes(
    *,
    name: str | None,
    is_read_only: bool | None,
    is_archived: bool | None,
    slow_mode_seconds: int | None,
) -> dict[str, Any]:
    """Return what the audit log says of new settings: what was set, as the wire names it."""
    settings = {
        "name": name,
        "readOnly": is_read_only,
        "archived": is_archived,
        "slowModeSeconds": slow_mode_seconds,
    }
    return {setting: value for setting, value in settings.items() if value is not None}


def is_same_ban(standing: Standing, act: Act, until: datetime | None, reason: str | None) -> bool:
    """Tell whether a ban is so already: this very one, in a transaction that is run again."""
    ban = standing.ban
    return (
        ban is not None
        and standing.target is None
        and (ban.by, ban.until, ban.reason) == (act.by, until, reason)
    )


def ban_notes(until: datetime | None, reason: str | None) -> dict[str, Any]:
    """Return what the audit log says of a ban."""
    return {"until": iso_or_none(until), "reason": reason}


def invite_notes(row: InviteRow) -> dict[str, Any]:
    """Return what the audit log says of a new invite."""
    return {
        "code": row.code,
        "role": row.role,
        "maxUses": row.max_uses,
        "expiresAt": iso_or_none(row.expires_at),
    }


def direct_key(kind: SessionKind, everyone: Sequence[UUID]) -> str | None:
    """Return what is unique about a DIRECT session: its two ids in rising order."""
    return ":".join(sorted(map(str, everyone))) if kind == "DIRECT" else None


def one_bound(*bounds: object) -> None:
    """Refuse a page with two bounds.

    Raises:
        ValueError: more than one bound is given.
    """
    if sum(bound is not None for bound in bounds) > 1:
        msg = "a page takes one of before_seq, after_seq and around_id"
        raise ValueError(msg)


def _is_text(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():  # a flag of the string: spares the encoding of most messages
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def bot_address(user_id: UUID) -> str:
    """Return what stands in the place of a bot's address: nothing that anybody can log in with."""
    return f"bot:{user_id}"
