"""One function decides who may do what in a session, for REST, sockets and everything to come."""

from __future__ import annotations

from enum import Enum

from chatd.rows import Role, SessionKind


class Action(Enum):
    """What can be done in a session."""

    READ = "read"
    SEND = "send"
    EDIT = "edit a message of one's own"
    REACT = "react to a message"
    DELETE = "delete a message of one's own"
    PIN = "pin a message"
    DELETE_ANY = "delete another's message"
    SETTINGS = "change the settings"
    DELETE_SESSION = "delete the session"
    ADD_SELF = "add self"
    ADD_MEMBER = "add a member"
    REMOVE_MEMBER = "remove a member"
    SET_ROLE = "give a member a role"
    MUTE = "mute a member"
    BAN = "ban somebody"
    INVITE = "make and revoke invites"
    AUDIT = "read the audit log"
    LEAVE = "leave"


RANKS: dict[Role, int] = {"READ_ONLY": 0, "MEMBER": 1, "ADMIN": 2, "OWNER": 3}

_ALLOWED: dict[Role, frozenset[Action]] = {
    "OWNER": frozenset(Action),
    "ADMIN": frozenset(Action) - {Action.DELETE_SESSION},
    "MEMBER": frozenset(
        {
            Action.READ,
            Action.SEND,
            Action.EDIT,
            Action.REACT,
            Action.DELETE,
            Action.ADD_SELF,
            Action.ADD_MEMBER,
            Action.LEAVE,
        }
    ),
    "READ_ONLY": frozenset({Action.READ, Action.DELETE, Action.ADD_SELF, Action.LEAVE}),
}

# What is done to somebody, who may be of a higher rank.
_TO_A_MEMBER = frozenset({Action.REMOVE_MEMBER, Action.SET_ROLE, Action.MUTE, Action.BAN})

# The two of a DIRECT session are equals and stay, and nobody joins them: for them these are no
# question of roles.
NOT_DIRECT = frozenset(
    {
        Action.SETTINGS,
        Action.DELETE_SESSION,
        Action.ADD_SELF,
        Action.ADD_MEMBER,
        Action.INVITE,
        Action.AUDIT,
        Action.LEAVE,
    }
    | _TO_A_MEMBER
)


def may(role: Role | None, action: Action, kind: SessionKind, target: Role | None = None) -> bool:
    """Return whether somebody with this role (None: no member) may do this in such a session.

    Args:
        target: the role of whom it is done to, where it is done to a member. Nobody acts on a
            member of the same or a higher rank, but an OWNER on anybody.
    """
    if role is None:
        return kind == "PUBLIC" and action is Action.ADD_SELF
    if kind == "DIRECT" and action is Action.PIN and role == "MEMBER":
        return True  # the two of it are its owners
    if action not in _ALLOWED[role] or (kind == "DIRECT" and action in NOT_DIRECT):
        return False
    is_above = target is None or role == "OWNER" or RANKS[target] < RANKS[role]
    return action not in _TO_A_MEMBER or is_above
