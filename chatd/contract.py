"""What the layers promise each other: the store, written down once for PostgreSQL and its twin.

`chatd.store.postgres.PostgresStore` and `chatd.store.memory.MemoryStore` both keep this contract;
`tests/store/` proves it on both. Every method may raise `StoreRetryable`, `StoreUnavailable` or
`StoreBug`; only writers may raise `StoreAmbiguous`. Every method may be cancelled at any point:
a cancelled reader has done nothing, a cancelled writer may have committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.rows import (
    AppendRow,
    ChangesPage,
    DeviceRow,
    HistoryPage,
    JoinPage,
    ManualStatus,
    MemberChange,
    MemberRow,
    MessageAccess,
    MessageChange,
    NewMessage,
    PositionRow,
    RecoveryRow,
    Role,
    RotationRow,
    SessionKind,
    SessionListRow,
    SessionRow,
    UserRow,
)


class Store(Protocol):
    """The durable side of chatd. Times come in as arguments; ids are UUIDv7 made by the daemon."""

    async def ping(self) -> None:
        """Return when the store answers; raise StoreUnavailable when it does not."""

    async def epoch(self) -> UUID:
        """Return the epoch of the log: it changes only when history was reset (a restore)."""

    # Users
    async def insert_user(
        self,
        *,
        user_id: UUID,
        email: str,
        name: str,
        password_hash: str | None,
        created_at: datetime,
    ) -> UserRow | None:
        """Store an account and return it, or None when the (lower-cased) address is taken."""

    async def user_by_email(self, email: str) -> UserRow | None:
        """Return the account of a lower-cased address."""

    async def users_by_ids(self, user_ids: Sequence[UUID]) -> list[UserRow]:
        """Return those of these accounts that exist, in any order."""

    async def set_last_seen(self, user_ids: Sequence[UUID], at: datetime) -> None:
        """Remember when users were last there; never moves back."""

    async def set_status(
        self,
        user_id: UUID,
        *,
        manual_status: ManualStatus | None,
        text: str | None,
        until: datetime | None,
    ) -> None:
        """Remember a manual status; None clears it."""

    # Refresh tokens: families, hashes only
    async def open_family(
        self,
        *,
        family_id: UUID,
        user_id: UUID,
        device_id: UUID,
        device_name: str,
        address: str,
        token_hash: bytes,
        at: datetime,
        expires_at: datetime,
    ) -> None:
        """Begin a family: one login of one device, with its first refresh token."""

    async def rotate_refresh_token(
        self,
        *,
        token_hash: bytes,
        successor_hash: bytes,
        at: datetime,
        grace_until: datetime,
        expires_at: datetime,
    ) -> RotationRow:
        """Exchange a refresh token for its successor, in one statement.

        A token counts as used from its first rotation; it may be repeated while its successor
        is unused and it was first used at or after `grace_until` (that is `at` minus the grace).
        Any other use of a used token revokes the family (REUSED) and is written to the audit log.
        A repeat that names another successor than the stored one is REFUSED: the key from which
        successors are derived has changed, and nobody holds the stored one.
        """

    async def revoke_family(self, family_id: UUID, at: datetime) -> bool:
        """Revoke one login; return whether it was still open."""

    async def revoke_user(self, user_id: UUID, at: datetime) -> list[UUID]:
        """Revoke all open logins of a user and return their family ids."""

    async def devices(self, user_id: UUID, *, at: datetime, limit: int) -> list[DeviceRow]:
        """Return the devices with a login that is open at a time, the last used first.

        A login is open until it is revoked or its last refresh token has expired.
        """

    async def revoke_device(self, user_id: UUID, device_id: UUID, at: datetime) -> list[UUID]:
        """Revoke the logins of a user's device; return their ids, also of those closed before.

        So a call whose answer was lost can be repeated. Another user's device has none.
        """

    async def revoked_since(self, at: datetime) -> list[UUID]:
        """Return the families revoked at or after a time: their access tokens may be alive."""

    # Sessions
    async def create_session(
        self,
        *,
        session_id: UUID,
        kind: SessionKind,
        name: str | None,
        creator_id: UUID,
        member_ids: Sequence[UUID],
        at: datetime,
    ) -> tuple[SessionRow, bool]:
        """Store a session with its creator and members; return it with True.

        The creator is its OWNER, the others are MEMBER; a new session stands at `seq` 0. A DIRECT
        session takes exactly one other member, both are MEMBER, and there is one per pair: an
        existing one is returned with False, also when two ask at once.

        Raises:
            KeyError: with the id of a member that is not a user.
            ValueError: a DIRECT session without exactly one other member.
        """

    async def session_for(
        self, session_id: UUID, user_id: UUID
    ) -> tuple[SessionRow, Role | None] | None:
        """Return a session that the user may see: a member with the role, PUBLIC with None."""

    async def list_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[SessionListRow]:
        """Return the sessions of a user, latest activity first, below a keyset position.

        A row's position is (created_at of the last message or else of the session, session id).
        """

    async def first_states(
        self, user_ids: Sequence[UUID], limit: int
    ) -> dict[UUID, tuple[UserRow, list[PositionRow]]]:
        """Return accounts and where each stands in its sessions, latest activity first.

        One statement for all who connect at once. Who has no account is left out.
        """

    async def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id above `after`."""

    async def join_page(
        self, session_id: UUID, user_id: UUID, *, since: int | None, replay: int, limit: int
    ) -> JoinPage | None:
        """Read what a member sees at join, in one snapshot; None when the user is no member.

        With `since` at most `seq` and at most `replay` changes behind it, `recovered` is True.
        Members are capped at 200 (a larger session pages through them).
        """

    async def add_member(
        self, session_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MemberChange | None:
        """Make a user a member and take a `seq`; None when session or user do not exist.

        Takes the session's row lock, as every durable change does. Who is a member already keeps
        their role (`is_changed` is False). A DIRECT session takes no third member: None as well.
        """

    async def remove_member(
        self, session_id: UUID, user_id: UUID, *, at: datetime
    ) -> MemberChange | None:
        """End a membership and take a `seq`; None when the user is no member.

        The two of a DIRECT session stay, or asking for it again would find it without them: None.
        """

    async def update_session(self, session_id: UUID, *, name: str) -> SessionRow | None:
        """Rename a session and take a `seq`."""

    async def heads(self, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of each of these sessions that exists."""

    # Messages
    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        """Store a batch in one transaction and return one outcome a message, in the batch's order.

        Locks the sessions in id order, gives each stored message the next `seq` of its session
        in the order of the batch, and judges membership, role, reply and (sender, client_msg_id)
        after the lock is held: what commits is exact, hole-free and idempotent also across nodes.
        No two messages of a batch have the same (sender, client_msg_id): the caller sees to it.
        Everything is judged against the state before the batch, and a DUPLICATE before membership:
        a repeat is answered though its sender has left. Moves each sender's own read marker.

        Raises:
            StoreAmbiguous: the connection was lost while COMMIT was under way.
        """

    async def find_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow | None]:
        """Tell what became of a batch whose COMMIT was lost: STORED or DUPLICATE, or None.

        Takes the sessions' locks first, so that a None is final: the lost transaction has ended.
        """

    async def history(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        around_id: UUID | None = None,
        limit: int = 50,
    ) -> HistoryPage | None:
        """Return a page by keyset, the newest without a bound; None when the user is no member.

        An `around_id` that is not in the session gives an empty page.

        Raises:
            ValueError: more than one bound.
        """

    async def changes_since(self, session_id: UUID, seq: int, limit: int) -> ChangesPage:
        """Return current rows whose `changed_seq` is above `seq`, by rising `changed_seq`."""

    async def message_for(self, message_id: UUID, user_id: UUID) -> MessageAccess | None:
        """Return a message of a session in which the user is a member now, and their role there."""

    async def edit_message(
        self,
        message_id: UUID,
        user_id: UUID,
        *,
        role: Role,
        content: str,
        version: int | None,
        at: datetime,
    ) -> MessageChange | None:
        """Replace a message's text, keep the earlier one, and take a `seq`, under the session lock.

        Who may is the caller's to judge, from `message_for`: `role` is what was judged, and None
        comes back when the user does not have it any more. Nothing changes when the text is the
        same, `version` is not the current one, or the message is deleted.
        """

    async def delete_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MessageChange | None:
        """Make a message a tombstone, without texts and reactions; once. Else as an edit."""

    async def react(
        self, message_id: UUID, user_id: UUID, *, role: Role, emoji: str, is_on: bool
    ) -> MessageChange | None:
        """Give a reaction or take it back; else as an edit.

        Nothing changes when it is so already, for a tombstone, and for a 21st emoji.
        """

    async def mark_read(self, session_id: UUID, user_id: UUID, seq: int) -> PositionRow | None:
        """Move a member's marker forward, never back; return where it is, None for no member."""

    # Socket.IO connections that come back after a restart
    async def save_recoveries(self, rows: Sequence[RecoveryRow], at: datetime) -> None:
        """Keep these for a restart, and delete what has expired at `at`.

        A pid that is there is replaced, of one that is given twice the last counts; rows of users
        that are gone are left out. Many rows take several statements of bounded size, each a
        transaction of its own with a deadline of its own: an error or a cancellation leaves what
        was stored before it.
        """

    async def take_recovery(self, pid: str, at: datetime) -> RecoveryRow | None:
        """Return and delete the state of a pid; None when there is none, or it has expired.

        Of two that ask at once one gets it. After a `StoreAmbiguous` it may be gone unseen: the
        client starts anew, as with None.
        """

    async def memberships(self, user_id: UUID, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of those of these sessions in which the user is a member now."""
