"""What an API token may do: the one place that says which operation needs which scope.

An operation that stands in neither table is closed to API tokens, so a new one is safe until
somebody decides; a test asks that somebody does.
"""

from __future__ import annotations

from chatd.api_tokens import Scope
from chatd.errors import Forbidden

SCOPE_OF: dict[str, Scope] = {
    # read: see what the account sees, and hear what it hears
    "me": "read",
    "user-list": "read",
    "user-get": "read",
    "users-status": "read",
    "session-list": "read",
    "session-get": "read",
    "session-join": "read",
    "session-leave": "read",
    "member-list": "read",
    "message-history": "read",
    "message-pins": "read",
    "message-revisions": "read",
    "message-search": "read",
    "invite-preview": "read",
    "status-active": "read",
    "file-read": "read",
    "file-thumbnail": "read",
    "file-link": "read",
    "ai-session-list": "read",
    "ai-session-get": "read",
    "ai-message-list": "read",
    "ai-attach": "read",
    "ai-follow": "read",
    # write: take part
    "message-send": "write",
    "message-edit": "write",
    "message-delete": "write",
    "message-react": "write",
    "message-pin": "write",
    "message-read": "write",
    "message-unread": "write",
    "typing-start": "write",
    "typing-stop": "write",
    "status-set": "write",
    "session-prefs": "write",
    "invite-accept": "write",
    "user-update": "write",
    "file-create": "write",
    "file-complete": "write",
    "file-delete": "write",
    "ai-session-create": "write",
    "ai-session-update": "write",
    "ai-session-delete": "write",
    "ai-send": "write",
    "ai-retry": "write",
    "ai-stop": "write",
    # manage: sessions, who is in them, and what was done there
    "session-create": "manage",
    "session-update": "manage",
    "session-delete": "manage",
    "session-audit": "manage",
    "member-add": "manage",
    "member-update": "manage",
    "member-remove": "manage",
    "member-ban": "manage",
    "member-unban": "manage",
    "ban-list": "manage",
    "invite-make": "manage",
    "invite-list": "manage",
    "invite-revoke": "manage",
}

# What decides who has the account, what it is worth, and everything of it at once: a token that
# leaked must not make itself at home.
CLOSED: frozenset[str] = frozenset(
    {
        "logout",
        "logout-all",
        "auth-refresh",
        "device-list",
        "device-remove",
        "password-change",
        "email-verification",
        "email-change",
        "user-audit",
        "user-export",
        "user-erase",
        "totp-state",
        "totp-begin",
        "totp-confirm",
        "totp-recovery-codes",
        "totp-disable",
        "api-token-create",
        "api-token-list",
        "api-token-revoke",
        "bot-create",
        "bot-list",
        "bot-remove",
    }
)


def check_scope(operation: str, scopes: frozenset[str]) -> None:
    """Return when an API token with these scopes may call an operation.

    Raises:
        Forbidden: with `details.scope`, where there is one that would do.
    """
    needed = SCOPE_OF.get(operation)
    if needed is None:
        msg = "not with an API token: log in"
        raise Forbidden(msg)
    if needed not in scopes:
        msg = f"this token has no scope {needed}"
        raise Forbidden(msg, details={"scope": needed})
