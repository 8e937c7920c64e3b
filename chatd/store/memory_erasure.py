"""The end of an account in the memory twin."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from chatd.contract.erasure import ERASED_NAME, ErasedBatch, ErasureRow
from chatd.rows import MemberChange, MessageRow
from chatd.store.memory_members import MemoryMembers
from chatd.store.memory_state import Erasure, Message, Session, statement


class MemoryErasure(MemoryMembers):
    """The part of the contract that ends an account."""

    @statement
    def begin_erasure(
        self, user_id: UUID, *, deletes_messages: bool, at: datetime
    ) -> list[UUID] | None:
        """Remove what an account says of a person; return its logins."""
        if user_id in self._erasures:
            return self._erasures[user_id].family_ids
        user = self._users.get(user_id)
        if user is None:
            return None
        del self._emails[user.email.lower()]
        self._users[user_id] = replace(
            user,
            email=f"deleted:{user_id}",
            name=ERASED_NAME,
            avatar_url=None,
            password_hash=None,
            last_seen=None,
            manual_status=None,
            status_text=None,
            status_until=None,
            email_verified_at=None,
        )
        family_ids = [each for each, row in self._families.items() if row.user_id == user_id]
        family_ids += self._forget_secrets(user_id)
        self._erasures[user_id] = Erasure(deletes_messages, family_ids, at)
        self._forget_devices(user_id)
        for pid in [pid for pid, row in self._recoveries.items() if row.user_id == user_id]:
            del self._recoveries[pid]
        self._forget_identities(user_id)
        self._forget_conversations(user_id)
        for file in self._files.values():
            if file.row.uploader_id == user_id and file.row.message_id is None:
                file.revoke(at)
        self.audit[:] = [
            (whose, row._replace(address=None, details={}) if whose == user_id else row)
            for whose, row in self.audit
        ]
        self._lines = [
            (place, is_act, None if not is_act and self.audit[place][0] == user_id else salt)
            for place, is_act, salt in self._lines
        ]
        mode = "DELETE" if deletes_messages else "KEEP_ANONYMOUS"
        self._write_audit("account_erased", user_id, None, at, {"messages": mode})
        return family_ids

    def _forget_identities(self, user_id: UUID) -> None:
        self._forget_mail_tokens(user_id)
        self._identities = {k: v for k, v in self._identities.items() if v[0] != user_id}
        self._sign_ins = {k: row for k, row in self._sign_ins.items() if row.user_id != user_id}

    def _forget_secrets(self, user_id: UUID) -> list[UUID]:
        """Forget second factor, challenges and API tokens; return the ids of these."""
        self._second_factors.pop(user_id, None)
        return self._forget_credentials(user_id)

    def _forget_conversations(self, user_id: UUID) -> None:
        kept = {k: v for k, v in self._ai_sessions.items() if v.row.user_id != user_id}
        self._ai_sessions = kept
        self._ai_usage = {k: v for k, v in self._ai_usage.items() if k[0] != user_id}

    def _forget_devices(self, user_id: UUID) -> None:
        gone = {each for each, row in self._families.items() if row.user_id == user_id}
        self._tokens = {key: row for key, row in self._tokens.items() if row.family_id not in gone}
        self._families = {key: row for key, row in self._families.items() if key not in gone}
        self._devices = {k: row for k, row in self._devices.items() if row.user_id != user_id}

    @statement
    def open_erasures(self, limit: int) -> list[ErasureRow]:
        """Return erasures that are not finished."""
        found = sorted(
            (row.begun_at, user_id, row.deletes_messages)
            for user_id, row in self._erasures.items()
            if row.finished_at is None
        )
        return [ErasureRow(user_id, deletes) for _, user_id, deletes in found[:limit]]

    @statement
    def erase_membership(
        self, session_id: UUID, user_id: UUID, *, at: datetime
    ) -> list[MemberChange]:
        """Forget a user's markers in a session and end their membership."""
        session = self._sessions.get(session_id)
        member = None if session is None else session.members.get(user_id)
        if session is None or member is None:
            return []
        member.last_read_seq = member.last_read_ordinal = member.mention_count = 0
        member.muted, member.marked_unread_at = False, None
        for message in session.messages:
            message.told -= {user_id}
        if member.left_at is not None or session.kind == "DIRECT":
            return []
        change = self._leave(session, user_id, at, "left")
        heirs = [
            replace(change, member=row, seq=row.changed_seq, others=()) for row in change.others
        ]
        return [*heirs, replace(change, others=())]

    @statement
    def erase_messages(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        deletes_messages: bool,
        above: int,
        span: int,
        limit: int,
        at: datetime,
    ) -> ErasedBatch:
        """Take a user's reactions off messages, and make the user's own tombstones."""
        session, rows = self._sessions.get(session_id), list[MessageRow]()
        if session is None:
            return ErasedBatch(rows, above + span)
        for message in _erasable(session, user_id, deletes_messages, above, span)[:limit]:
            if deletes_messages and message.sender_id == user_id:
                session.wipe(message, user_id, at)
            _take_back(message, user_id)
            message.changed_seq = session.next_seq()
            rows.append(self._message_row(session, message))
        return ErasedBatch(rows, rows[-1].seq if len(rows) == limit else above + span)

    @statement
    def next_erasable(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        deletes_messages: bool,
        above: int,
        span: int,
    ) -> int | None:
        """Return the `seq` of the first message that is to be erased."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        found = _erasable(session, user_id, deletes_messages, above, span)
        return found[0].seq if found else None

    @statement
    def finish_erasure(self, user_id: UUID, at: datetime) -> None:
        """Note that nothing is left."""
        self._forget_devices(user_id)
        self._erasures[user_id].finished_at = at


def _erasable(
    session: Session,
    user_id: UUID,
    deletes_messages: bool,  # noqa: FBT001 - passed through
    above: int,
    span: int,
) -> list[Message]:
    return [
        message
        for message in session.messages
        if above < message.seq <= above + span
        and (
            (deletes_messages and message.sender_id == user_id and message.deleted_at is None)
            or any(user_id in who for who in message.reactions.values())
        )
    ]


def _take_back(message: Message, user_id: UUID) -> None:
    for emoji, who in list(message.reactions.items()):
        left = [each for each in who if each != user_id]
        message.reactions[emoji] = left
        if not left:
            del message.reactions[emoji]
