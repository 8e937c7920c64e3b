"""The audit log: what was done to others or to the session, and nothing else."""

from __future__ import annotations

import pytest

from chatd.contract import Store
from chatd.contract.acts import Act, Mute
from chatd.errors import Forbidden
from chatd.model import iso
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, gather, say
from tests.store.test_invites import make
from tests.store.test_members import by, refuse


async def test_every_act_stands_in_the_log_the_latest_first(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob, people.carol)
    act, end = by(people.alice), NOW + DAY
    [said, own] = await say(store, tea, people.bob, "spam", "own")
    await store.update_member(tea, people.bob, role="ADMIN", mute=Mute(end), act=act)
    await store.update_session(tea, name="Coffee", slow_mode_seconds=5, act=act)
    await store.delete_message(said.id, people.alice, role="OWNER", at=NOW)
    await store.delete_message(own.id, people.bob, role="ADMIN", at=NOW)
    await store.delete_message(said.id, people.alice, role="OWNER", at=NOW)  # once more
    await store.remove_member(tea, people.carol, at=NOW, act=act)
    await store.ban(tea, people.bob, until=end, reason="spam", act=act)
    await store.unban(tea, people.bob, act=act)
    await make(store, tea, people.alice, max_uses=2)
    await store.revoke_invite(tea, "code", act=act)
    await store.delete_session(tea, act=act)
    rows = await store.session_audit_page(tea, before=None, limit=99)
    assert {(row.at, row.user_id) for row in rows} == {(NOW, people.alice)}
    assert [(row.action, row.target_id, row.details) for row in reversed(rows)] == [
        ("member_role", people.bob, {"role": "ADMIN", "before": "MEMBER"}),
        ("member_muted", people.bob, {"until": iso(end)}),
        ("session_updated", None, {"name": "Coffee", "slowModeSeconds": 5}),
        ("message_deleted", people.bob, {"messageId": str(said.id)}),
        ("member_removed", people.carol, {}),
        ("member_banned", people.bob, {"until": iso(end), "reason": "spam"}),
        ("member_unbanned", people.bob, {}),
        (
            "invite_made",
            None,
            {"code": "code", "role": "READ_ONLY", "maxUses": 2, "expiresAt": None},
        ),
        ("invite_revoked", None, {"code": "code"}),
        ("session_deleted", None, {}),
    ]
    assert await store.session_audit_page(tea, before=None, limit=2) == rows[:2]
    assert await store.session_audit_page(tea, before=rows[1].id, limit=2) == rows[2:4]
    other = await gather(store, people.alice)
    assert await store.session_audit_page(other, before=None, limit=9) == []


async def test_what_is_refused_or_ones_own_leaves_no_trace(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    no = Act(people.alice, NOW, refuse)
    with pytest.raises(Forbidden):
        await store.remove_member(tea, people.bob, at=NOW, act=no)
    with pytest.raises(Forbidden):
        await store.ban(tea, people.bob, until=None, reason=None, act=no)
    await store.add_member(tea, people.carol, role="MEMBER", at=NOW, act=by(people.alice))
    await store.remove_member(tea, people.bob, at=NOW, act=by(people.bob))
    assert await store.session_audit_page(tea, before=None, limit=9) == []
