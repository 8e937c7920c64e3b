"""Who may do what to whom: the whole table, written down independently of the code."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from chatd.handlers.permissions import Action, may
from chatd.rows import Role, SessionKind

ROLES: tuple[Role, ...] = get_args(Role)
KINDS: tuple[SessionKind, ...] = get_args(SessionKind)
EVERYBODY = {"OWNER", "ADMIN", "MEMBER", "READ_ONLY"}
WRITERS = {"OWNER", "ADMIN", "MEMBER"}
MODERATORS = {"OWNER", "ADMIN"}

# action -> who may, in a session that is not DIRECT
TABLE: dict[Action, set[str]] = {
    Action.READ: EVERYBODY,
    Action.SEND: WRITERS,
    Action.EDIT: WRITERS,
    Action.REACT: WRITERS,
    Action.DELETE: EVERYBODY,
    Action.DELETE_ANY: MODERATORS,
    Action.SETTINGS: MODERATORS,
    Action.DELETE_SESSION: {"OWNER"},
    Action.ADD_SELF: EVERYBODY,
    Action.ADD_MEMBER: WRITERS,
    Action.REMOVE_MEMBER: MODERATORS,
    Action.SET_ROLE: MODERATORS,
    Action.MUTE: MODERATORS,
    Action.BAN: MODERATORS,
    Action.INVITE: MODERATORS,
    Action.AUDIT: MODERATORS,
    Action.LEAVE: EVERYBODY,
}
IN_DIRECT = {
    Action.READ,
    Action.SEND,
    Action.EDIT,
    Action.REACT,
    Action.DELETE,
    Action.DELETE_ANY,
}
TO_SOMEBODY = {Action.REMOVE_MEMBER, Action.SET_ROLE, Action.MUTE, Action.BAN}
BELOW: dict[str, set[str]] = {
    "OWNER": EVERYBODY,
    "ADMIN": {"MEMBER", "READ_ONLY"},
    "MEMBER": set(),
    "READ_ONLY": set(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_role_may_do_to_every_role_what_the_table_says_and_no_more(
    kind: SessionKind,
) -> None:
    for role, action, target in itertools.product(ROLES, TABLE, (None, *ROLES)):
        expected = role in TABLE[action] and (kind != "DIRECT" or action in IN_DIRECT)
        if action in TO_SOMEBODY and target is not None:
            expected = expected and target in BELOW[role]
        assert may(role, action, kind, target) is expected, (role, action, kind, target)


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_no_member_may_join_a_public_session_and_nothing_else(kind: SessionKind) -> None:
    for action, target in itertools.product(TABLE, (None, *ROLES)):
        expected = kind == "PUBLIC" and action is Action.ADD_SELF
        assert may(None, action, kind, target) is expected
