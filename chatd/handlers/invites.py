"""Ways into a session for everybody who knows a code (protocol.md section 3)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from chatd.context import Caller, RoomEvent, Services
from chatd.contract.acts import Act, Standing
from chatd.errors import Conflict, NotAMember, NotFound
from chatd.events.answers import Nothing
from chatd.events.invites import (
    InviteAnswer,
    InviteList,
    InviteMake,
    InvitePreview,
    InviteRef,
    InviteRevoke,
    Invites,
)
from chatd.events.sessions import SessionAnswer
from chatd.handlers.access import act, allowed, refuse_banned
from chatd.handlers.membership import told, welcome
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action
from chatd.limits import Rate
from chatd.model import dumps, iso_or_none, session_dict
from chatd.payloads import invite_dict
from chatd.rows import InviteUse

CODE_BYTES = 18  # 144 random bits, 24 characters: nobody finds one by trying
_CODE = re.compile(r"[A-Za-z0-9_-]{24}")
_NO_INVITE = "no such invite, or it has expired, was used up or revoked"


async def make(services: Services, caller: Caller, command: InviteMake) -> bytes:
    """Make an invite with a new code."""
    session, _ = await allowed(services, caller, command.session_id, Action.INVITE)
    judged = act(services, caller, session.kind, Action.INVITE)
    expires_at = None
    if command.expires_in_ms is not None:
        expires_at = judged.at + timedelta(milliseconds=command.expires_in_ms)
    try:
        invite = await services.store.make_invite(
            command.session_id,
            code=secrets.token_urlsafe(CODE_BYTES),
            role=command.role,
            max_uses=command.max_uses,
            expires_at=expires_at,
            act=judged,
        )
    except ValueError as full:
        raise Conflict(str(full)) from None
    if invite is None:
        raise NotAMember
    return dumps({"invite": invite_dict(invite)})


async def live(services: Services, caller: Caller, command: InviteList) -> bytes:
    """Return the live invites of a session."""
    await allowed(services, caller, command.session_id, Action.INVITE)
    rows = await services.store.invites(command.session_id, at=services.now())
    return dumps({"invites": [invite_dict(row) for row in rows]})


async def revoke(services: Services, caller: Caller, command: InviteRevoke) -> bytes:
    """End an invite."""
    session, _ = await allowed(services, caller, command.session_id, Action.INVITE)
    judged = act(services, caller, session.kind, Action.INVITE)
    code = _clean(command.code)
    if not await services.store.revoke_invite(command.session_id, code, act=judged):
        raise NotFound(_NO_INVITE)
    return b"{}"


async def preview(services: Services, caller: Caller, command: InviteRef) -> bytes:
    """Return where an invite leads."""
    del caller  # everybody with a login may ask
    found = await services.store.invite(_clean(command.code), services.now())
    if found is None:
        raise NotFound(_NO_INVITE)
    invite, session = found
    return dumps(
        {
            "name": session.name,
            "kind": session.kind,
            "memberCount": session.member_count,
            "role": invite.role,
            "expiresAt": iso_or_none(invite.expires_at),
        }
    )


async def accept(services: Services, caller: Caller, command: InviteRef) -> bytes:
    """Make the caller a member of the session to which an invite leads."""
    code = _clean(command.code)
    judged = Act(caller.user_id, services.now(), _judge_entry)

    async def work() -> tuple[InviteUse | None, Sequence[RoomEvent]]:
        use = await services.store.accept_invite(code, act=judged)
        if use is None:
            return None, ()
        welcome(services, use.session, use.change)
        return use, told(services, use.change, caller.user_id)

    use = await services.journal.change(work)
    if use is None:
        raise NotFound(_NO_INVITE)
    return dumps({"session": session_dict(use.session)})


def _judge_entry(standing: Standing) -> None:
    refuse_banned(standing.ban)


def _clean(code: str) -> str:
    """Return a code that may be one.

    Raises:
        NotFound: it cannot be; told as for one that is none.
    """
    if _CODE.fullmatch(code) is None:
        raise NotFound(_NO_INVITE)
    return code


_PATH = "/chat/sessions/<uuid:session_id>/invites"
_CODE_PATH = "/chat/invites/<string:code>"

_CODE_RATE = Rate(0.5, 20)  # a person's clicks, nobody's search

OPERATIONS = (
    Operation(
        "invite-make",
        InviteMake,
        InviteAnswer,
        "Make an invite into a session",
        run=make,
        rate=Rate(0.5, 20),
        event="invite:make",
        route=Route("POST", _PATH, 201),
    ),
    Operation(
        "invite-list",
        InviteList,
        Invites,
        "Live invites into a session",
        run=live,
        event="invite:list",
        route=Route("GET", _PATH),
    ),
    Operation(
        "invite-revoke",
        InviteRevoke,
        Nothing,
        "End an invite",
        run=revoke,
        event="invite:revoke",
        route=Route("DELETE", _PATH + "/<string:code>"),
    ),
    Operation(
        "invite-preview",
        InviteRef,
        InvitePreview,
        "Where an invite leads",
        run=preview,
        rate=_CODE_RATE,
        event="invite:preview",
        route=Route("GET", _CODE_PATH),
    ),
    Operation(
        "invite-accept",
        InviteRef,
        SessionAnswer,
        "Come into a session by an invite",
        run=accept,
        rate=_CODE_RATE,
        event="invite:accept",
        route=Route("POST", _CODE_PATH),
    ),
)
