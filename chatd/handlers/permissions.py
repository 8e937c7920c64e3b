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
    RENAME = "rename"
    ADD_SELF = "add self"
    ADD_MEMBER = "add a member"
    REMOVE_MEMBER = "remove a member"
    LEAVE = "leave"


_ALLOWED: dict[Role, frozenset[Action]] = {
    "OWNER": frozenset(Action),
    "ADMIN": frozenset(Action),
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


def may(role: Role | None, action: Action, kind: SessionKind) -> bool:
    """Return whether somebody with this role (None: no member) may do this in such a session."""
    if role is None:
        return kind == "PUBLIC" and action is Action.ADD_SELF
    if kind == "DIRECT" and action is Action.PIN and role == "MEMBER":
        return True  # the two of it are its owners
    return action in _ALLOWED[role] and not (kind == "DIRECT" and action is Action.RENAME)
