"""The keys of content at rest in the memory twin, where what is at rest is sealed as well."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from uuid import UUID

from chatd.contract.encryption import KeyRow, Pass
from chatd.keyring import PLAIN, Purpose, kid_of, purpose_of
from chatd.store.memory_conversation import AiConversation
from chatd.store.memory_state import Message, Tables, statement


class MemoryEncryption(Tables):
    """The part of the contract about keys."""

    def unreadable_texts(self) -> int:
        """Return how many texts did not open since the store was made."""
        return self._contents.unreadable

    @statement
    def content_keys(self) -> list[KeyRow]:
        """Return the keys that stored content may need."""
        return [self._content_keys[kid] for kid in sorted(self._content_keys)]

    @statement
    def current_pass(self) -> Pass | None:
        """Return the latest pass."""
        return self._content_pass

    @statement
    def take_up_keys(self, at: datetime, *, again: bool = False) -> None:
        """Write with the first key from now on."""
        target, now = self._contents.keyring.first, self._content_pass
        fingerprint = self._contents.keyring.fingerprint(target)
        if fingerprint is not None and target != PLAIN:
            row = self._content_keys.get(target, KeyRow(target, fingerprint, at))
            self._content_keys[target] = row._replace(given_up_at=None)
        elif now is None:
            return
        is_over = now is not None and now.finished_at is not None
        if now is None or now.target != target or (again and is_over):
            self._content_pass, self._content_place = Pass(target, at, None, 0), (UUID(int=0), 0)

    @statement
    def reseal_messages(self, limit: int, at: datetime) -> int:
        """Write about so many messages anew with the first key."""
        now = self._content_pass
        if now is None or now.finished_at is not None:
            return 0
        if now.target != self._contents.keyring.first:
            return 0
        place, done, changed = self._content_place, 0, 0
        for scope, seq, item in self._contents_above(place):
            if done >= limit:
                break
            if isinstance(item, Message):
                changed += self._reseal(scope, item)
            else:
                changed += item.reseal(self._contents, seq)
            done += item.version if isinstance(item, Message) else 1
            self._content_place = scope, seq
        else:
            now = now._replace(finished_at=at)
            self._content_keys = {
                kid: row
                for kid, row in self._content_keys.items()
                if kid == now.target or row.given_up_at is not None
            }
        self._content_pass = now._replace(changed=now.changed + changed)
        return max(done, 1)

    def _contents_above(
        self, place: tuple[UUID, int]
    ) -> list[tuple[UUID, int, Message | AiConversation]]:
        """Return messages, and conversations once for each message and for what has none."""
        found: list[tuple[UUID, int, Message | AiConversation]] = [
            (session_id, message.seq, message) for session_id, message in self._messages()
        ]
        for scope, talk in self._ai_sessions.items():
            found += [(scope, seq, talk) for seq in range(len(talk.messages) + 1)]
        above = (each for each in found if each[:2] > place)
        return sorted(above, key=lambda each: each[:2])

    def _messages(self) -> list[tuple[UUID, Message]]:
        return [
            (session_id, message)
            for session_id, session in self._sessions.items()
            for message in session.messages
        ]

    def _reseal(self, session_id: UUID, message: Message) -> int:
        contents, changed = self._contents, 0
        text = contents.reseal_text(session_id, message.id, message.version, message.content)
        if text is not None:
            message.content, changed = text, changed + 1
        stored, parent_id = message.reply_excerpt, message.reply_to_id
        if stored is not None and parent_id is not None:
            quoted = self._quoted(parent_id, stored)
            said = contents.reseal_excerpt(session_id, message.id, parent_id, stored, quoted)
            if said is not None:
                message.reply_excerpt, changed = said, changed + 1
        for place, (version, earlier, at) in enumerate(message.revisions):
            text = contents.reseal_text(session_id, message.id, version, earlier)
            if text is not None:
                message.revisions[place], changed = (version, text, at), changed + 1
        return changed

    @statement
    def count_texts(self) -> dict[str, int]:
        """Return how many texts each key seals."""
        counts: Counter[str] = Counter()
        for _, message in self._messages():
            excerpt = message.reply_excerpt or ""
            if purpose_of(excerpt) == Purpose.MESSAGE.value:
                excerpt = ""  # points to the text of another message
            texts = (message.content, excerpt, *(text for _, text, _ in message.revisions))
            counts.update(kid_of(text) for text in texts if text)
        for talk in self._ai_sessions.values():
            counts.update(kid_of(text) for text in talk.texts() if text)
        return dict(counts)

    @statement
    def give_up_key(self, kid: str, at: datetime) -> bool:
        """Note that a key is lost."""
        row = self._content_keys.get(kid)
        if row is None or row.given_up_at is not None:
            return False
        self._content_keys[kid] = row._replace(given_up_at=at)
        return True
