"""Messages on their way into the memory twin: judged, then stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import Append, AppendRow, MessageRow, NewMessage
from chatd.store.checks import EXCERPT, is_storable, mention_refusal, write_refusal
from chatd.store.memory_state import Member, Message, Session, Tables, statement


class MemoryAppend(Tables):
    """The part of the contract that stores messages."""

    @statement
    def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        """Store a batch and return one outcome a message."""
        judged = self._judge_all(batch)
        stored = [each.id for each, row in zip(batch, judged, strict=True) if row is None]
        if len(set(stored)) < len(stored) or not self._by_id.keys().isdisjoint(stored):
            msg = "a message id is taken"
            raise StoreBug(msg)
        rows = [row or self._store(each) for each, row in zip(batch, judged, strict=True)]
        for each, row in zip(batch, judged, strict=True):  # behind all markers, as in the function
            if row is not None or not each.mentions:
                continue
            session, message = self._by_id[each.id]
            place = batch.index(each)
            rows[place] = rows[place]._replace(told=session.mention(message))
        return rows

    def _judge_all(self, batch: Sequence[NewMessage]) -> list[AppendRow | None]:
        """Return why each message is not stored, None when it will be."""
        judged: list[AppendRow | None] = []
        sent: dict[tuple[UUID, UUID], datetime | None] = {}
        for message in batch:
            verdict = self._judge(message)
            if verdict is None:
                session = self._sessions[message.session_id]
                member, key = session.members[message.sender_id], (session.id, message.sender_id)
                last = sent.get(key, member.last_sent_at)
                verdict = _slow(session, member, last, message.created_at)
                if verdict is None:
                    sent[key] = _later(last, message.created_at)
            judged.append(verdict)
        return judged

    def _judge(self, message: NewMessage) -> AppendRow | None:
        """Return why a message is not stored, None when it will be but for slow mode."""
        if not is_storable(message):
            return AppendRow(Append.INVALID)
        found = self._find_by_key(message)
        if found is not None:
            return AppendRow(Append.DUPLICATE, found)
        session = self._sessions.get(message.session_id)
        member = None if session is None else session.member(message.sender_id)
        if session is None or member is None:
            return AppendRow(Append.NOT_A_MEMBER)
        refusal = write_refusal(self._rules(session, member), message.created_at)
        if refusal is None and message.reply_to_id is not None:
            answered, _ = self._by_id.get(message.reply_to_id, (None, None))
            refusal = None if answered is session else Append.NO_SUCH_REPLY
        if refusal is None:
            count = session.row().member_count
            refusal = mention_refusal(self._rules(session, member), message.mentions, count)
        if message.attachments and not self._are_usable(message):
            refusal = Append.NO_SUCH_FILE
        return None if refusal is None else AppendRow(refusal)

    def _are_usable(self, message: NewMessage) -> bool:
        """Tell whether all files of a message can be attached to it."""
        for file_id in message.attachments:
            file = self._files.get(file_id)
            if (
                file is None
                or file.revoked_at is not None
                or (file.row.uploader_id, file.row.session_id)
                != (message.sender_id, message.session_id)
                or file.row.completed_at is None
                or file.row.message_id is not None
            ):
                return False
        return True

    def _find_by_key(self, message: NewMessage) -> MessageRow | None:
        if message.client_msg_id is None:
            return None
        found = self._by_key.get((message.sender_id, message.client_msg_id))
        return None if found is None else self._message_row(*found)

    def _store(self, new: NewMessage) -> AppendRow:
        session = self._sessions[new.session_id]
        seq = session.next_seq()
        message = Message(
            id=new.id,
            seq=seq,
            changed_seq=seq,
            ordinal=len(session.messages) + 1,
            sender_id=new.sender_id,
            content=self._contents.seal(new),
            created_at=new.created_at,
            client_msg_id=new.client_msg_id,
            reply_to_id=new.reply_to_id,
            reply_excerpt=self._excerpt(new.reply_to_id),
            mentions=session.mentionable(new.mentions),
        )
        for file_id in new.attachments:
            file = self._files[file_id]
            file.row = file.row._replace(message_id=new.id)
            message.files.append(file)
        session.messages.append(message)
        session.active_at = new.created_at
        self._by_id[new.id] = (session, message)
        if new.client_msg_id is not None:
            self._by_key[new.sender_id, new.client_msg_id] = (session, message)
        sender = session.members[new.sender_id]
        sender.last_read_seq, sender.last_read_ordinal = seq, message.ordinal
        sender.mention_count = 0
        sender.last_sent_at = _later(sender.last_sent_at, new.created_at)
        return AppendRow(Append.STORED, self._message_row(session, message))

    def _excerpt(self, message_id: UUID | None) -> str | None:
        if message_id is None:
            return None
        _, parent = self._by_id[message_id]
        return None if parent.deleted_at is not None else parent.content[:EXCERPT]

    @statement
    def find_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow | None]:
        """Tell what became of a batch whose COMMIT was lost."""
        return [self._find(message) for message in batch]

    def _find(self, message: NewMessage) -> AppendRow | None:
        found = self._by_id.get(message.id)
        if found is not None:
            return AppendRow(Append.STORED, self._message_row(*found))
        row = self._find_by_key(message)
        return None if row is None else AppendRow(Append.DUPLICATE, row)


def _slow(
    session: Session, member: Member, last: datetime | None, at: datetime
) -> AppendRow | None:
    """Return how long slow mode makes a member wait who wrote at `last`, None when not at all."""
    if not session.slow_mode_seconds or member.role != "MEMBER" or last is None:
        return None
    until = last + timedelta(seconds=session.slow_mode_seconds)
    return AppendRow(Append.SLOW_MODE, until=until) if until > at else None


def _later(last: datetime | None, at: datetime) -> datetime:
    return at if last is None else max(last, at)
