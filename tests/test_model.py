"""What is written with orjson has exactly the shape of its pydantic model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from chatd import model, payloads
from chatd.events.server import (
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    MessageDeleted,
    MessagePinned,
    MessageReaction,
    MessageUpdated,
    NotificationNew,
)
from chatd.model import Shape
from chatd.payloads import member_event
from chatd.rows import (
    MemberRow,
    MessageRow,
    PositionRow,
    ReactionRow,
    ReplyRow,
    SessionListRow,
    SessionRow,
    UserRow,
)

AT = datetime(2026, 3, 4, 5, 6, 7, 123_456, tzinfo=UTC)
EPOCH = uuid4()
USER = UserRow(
    id=uuid4(),
    email="anna@example.com",
    name="Anna ✨",
    avatar_url="https://a.test/a.png",
    password_hash="never shown",
    created_at=AT,
    last_seen=AT,
    manual_status="BUSY",
    status_text="never shown",
    status_until=AT,
    email_verified_at=None,
)
SESSION = SessionRow(uuid4(), "GROUP", "tea", 7, 2, AT)
DIRECT = SessionRow(uuid4(), "DIRECT", None, 0, 2, AT)
MESSAGE = MessageRow(
    id=uuid4(),
    session_id=SESSION.id,
    seq=7,
    changed_seq=7,
    sender_id=USER.id,
    sender_name=USER.name,
    sender_avatar_url=None,
    content='quotes " and \\ and \u2028',
    created_at=AT,
    client_msg_id="k-1",
    reply_to=None,
)
EDITED = MESSAGE._replace(changed_seq=9, content="better", version=2, edited_at=AT)
REACTED = EDITED._replace(reactions=(ReactionRow("👍", 1, (USER.id,)),))
REPLY = MESSAGE._replace(reply_to=ReplyRow(uuid4(), 3, USER.id, USER.name, None, "well?"))
ORPHAN = REPLY._replace(reply_to=ReplyRow(uuid4(), 3, USER.id, USER.name, "/anna.png", None))
PINNED = EDITED._replace(pinned_at=AT, pinned_by=USER.id)
MENTIONS = MESSAGE._replace(mentions=(uuid4(), USER.id))
FOR_ALL = EDITED._replace(mentions="ALL")
DELETED = EDITED._replace(changed_seq=10, content="", deleted_at=AT, deleted_by=USER.id)
MEMBER = MemberRow(SESSION.id, USER.id, "Anna", None, "ADMIN", AT, 3, None, AT, joined_seq=3)
MUTED = MEMBER._replace(changed_seq=4, muted_until=AT)
GONE = MemberRow(SESSION.id, USER.id, "Anna", None, "MEMBER", AT, 4, AT, None)


def same(shape: type[Shape], written: dict[str, Any]) -> None:
    """Check that bytes on the wire are what the model would write, field by field."""
    wire = model.dumps(written)
    read = shape.model_validate_json(wire)
    assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == json.loads(wire)


@pytest.mark.parametrize(
    ("shape", "written"),
    [
        (model.User, model.user_dict(USER)),
        (model.Account, model.account_dict(USER)),
        (model.Message, model.message_dict(MESSAGE)),
        (model.Message, model.message_dict(EDITED)),
        (model.Message, model.message_dict(REPLY)),
        (model.Message, model.message_dict(MENTIONS)),
        (model.Message, model.message_dict(FOR_ALL)),
        (model.Message, model.message_dict(PINNED)),
        (MessagePinned, payloads.pinned_event(PINNED)),
        (MessagePinned, payloads.pinned_event(EDITED)),
        (NotificationNew, payloads.mention_event(MENTIONS)),
        (MessageUpdated, payloads.edited_event(FOR_ALL)),
        (model.Message, model.message_dict(ORPHAN)),
        (model.Message, model.message_dict(REACTED)),
        (MessageReaction, payloads.reaction_event(REACTED, "👍", USER.id, is_on=True)),
        (MessageReaction, payloads.reaction_event(REACTED, "❤", USER.id, is_on=False)),
        (model.Message, model.message_dict(DELETED)),
        (MessageDeleted, payloads.deleted_event(DELETED)),
        (model.Message, payloads.replayed_event(DELETED, 6)[1]),
        (MessageDeleted, payloads.replayed_event(DELETED, 7)[1]),
        (MessageUpdated, payloads.edited_event(EDITED)),
        (model.Message, payloads.replayed_event(EDITED, 6)[1]),
        (MessageUpdated, payloads.replayed_event(EDITED, 7)[1]),
        (model.Session, model.session_dict(SESSION)),
        (model.Session, model.session_dict(DIRECT)),
        (
            model.SessionSummary,
            model.summary_dict(SessionListRow(SESSION, "OWNER", 1, 0, 6, False, MESSAGE)),
        ),
        (
            model.SessionSummary,
            model.summary_dict(SessionListRow(DIRECT, "MEMBER", 0, 0, 0, True, None)),
        ),
        (model.Position, model.position_dict(PositionRow(SESSION.id, 7, 1, 0, 6), EPOCH)),
        (model.Member, model.member_dict(MEMBER)),
        (MemberJoined, member_event(MEMBER, by=GONE.session_id)[1]),
        (MemberUpdated, member_event(MUTED)[1]),
        (MemberLeft, member_event(GONE)[1]),
    ],
)
def test_every_shape_is_written_as_its_model_says(
    shape: type[Shape], written: dict[str, Any]
) -> None:
    same(shape, written)


def test_a_member_who_left_is_told_as_left() -> None:
    assert member_event(MEMBER)[0] == "member:joined"
    assert member_event(MUTED)[0] == "member:updated"
    assert member_event(MUTED, since=2)[0] == "member:joined"
    assert member_event(GONE)[0] == "member:left"


def test_nothing_that_is_not_for_others_is_in_a_user() -> None:
    assert set(model.user_dict(USER)) == {"id", "name", "avatarUrl", "avatarColor"}
    assert "never shown" not in model.dumps(model.account_dict(USER)).decode()


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2026-03-04T05:06:07.123Z"),
        (AT.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-03-04T05:06:07.123Z"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_utc_with_milliseconds(at: datetime, text: str) -> None:
    assert model.iso(at) == text


def test_a_shape_takes_no_field_that_it_does_not_know() -> None:
    with pytest.raises(ValidationError):
        model.User.model_validate(model.user_dict(USER) | {"isAdmin": True})
