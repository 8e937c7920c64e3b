"""The texts of messages and of conversations with the assistant, on their way in and out of a row.

There they are plain, or sealed by the keyring.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog

from chatd.ai_rows import AiMessageRow, AiSessionRow
from chatd.keyring import MARK, Keyring, NoKey, Purpose, Slot, Unreadable, purpose_of, version_of
from chatd.rows import UNREADABLE, MessageRow, NewMessage
from chatd.store.checks import EXCERPT
from chatd.store.columns import message_row

ALARMS = 10_000  # rows whose alarm was raised, remembered: a page that is read often is one line

log = structlog.get_logger("chatd.contents")


class Contents:
    """What stands in `content`, `reply_excerpt`, `title` and `system_prompt`, and what it says.

    A text that does not open is UNREADABLE where it is read, never an error: it takes down neither
    its page nor its session. Each is told once in the log, a missing key once; all are counted.
    """

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.unreadable = 0
        self._told: set[tuple[UUID, int, str]] = set()

    def seal(self, message: NewMessage) -> str:
        """Return the text of a new message as it is to be stored."""
        return self.seal_text(message.session_id, message.id, 1, message.content)

    def seal_text(self, session_id: UUID, message_id: UUID, version: int, text: str) -> str:
        """Return one version of a message's text as it is to be stored."""
        return self.keyring.seal(Slot(Purpose.MESSAGE, session_id, message_id, version), text)

    def text(self, session_id: UUID, message_id: UUID, version: int, stored: str) -> str:
        """Return one version of a message's text, or UNREADABLE."""
        if not stored.startswith(MARK):
            return stored
        return self._open(Slot(Purpose.MESSAGE, session_id, message_id, version), stored)

    def excerpt(
        self, session_id: UUID, message_id: UUID, parent_id: UUID, stored: str | None
    ) -> str | None:
        """Return what a reply shows of its parent; None also where that is unreadable.

        Stored is the excerpt itself, or the whole text of the parent as it was then.
        """
        if stored is None or not stored.startswith(MARK):
            return stored
        slot = Slot(Purpose.MESSAGE, session_id, parent_id, version_of(stored))
        if purpose_of(stored) == Purpose.EXCERPT.value:
            slot = Slot(Purpose.EXCERPT, session_id, message_id)
        text = self._open(slot, stored)
        return None if text is UNREADABLE else text[:EXCERPT]

    def message_row(self, *columns: Any) -> MessageRow:
        """Return a message from the columns of `MESSAGE`, its texts opened."""
        return self.opened(message_row(*columns))

    def opened(self, row: MessageRow) -> MessageRow:
        """Return a message as it was read, its texts opened."""
        if row.content.startswith(MARK):
            row = row._replace(content=self.text(row.session_id, row.id, row.version, row.content))
        reply = row.reply_to
        if reply is not None and reply.excerpt is not None and reply.excerpt.startswith(MARK):
            said = self.excerpt(row.session_id, row.id, reply.id, reply.excerpt)
            row = row._replace(reply_to=reply._replace(excerpt=said))
        return row

    def seal_ai(self, slot: Slot, text: str | None) -> str | None:
        """Return a text of a conversation with the assistant as it is to be stored."""
        return None if text is None else self.keyring.seal(slot, text)

    def ai_session(self, row: AiSessionRow) -> AiSessionRow:
        """Return a conversation as it was read, its texts opened."""
        return row._replace(
            title=self._opened(title_slot(row.id), row.title),
            system_prompt=self._opened(prompt_slot(row.id), row.system_prompt),
        )

    def ai_message(self, row: AiMessageRow) -> AiMessageRow:
        """Return a question or an answer as it was read, its text opened."""
        if not row.content.startswith(MARK):
            return row
        slot = ai_slot(row.ai_session_id, row.id)
        return row._replace(content=self._open(slot, row.content))

    def reseal_text(
        self, session_id: UUID, message_id: UUID, version: int, stored: str
    ) -> str | None:
        """Return a stored text as it is written now; None when it is so, or does not open."""
        return self.reseal(Slot(Purpose.MESSAGE, session_id, message_id, version), stored)

    def reseal(self, slot: Slot, stored: str | None) -> str | None:
        """Return what stands in a slot as it is written now; None when it is so, or not to open."""
        if stored is None or self.keyring.is_current(stored):
            return None
        if not self.keyring.has_key_of(stored):
            return None
        text = self._open(slot, stored)
        return None if text is UNREADABLE else self.keyring.seal(slot, text)

    def reseal_excerpt(
        self, session_id: UUID, message_id: UUID, parent_id: UUID, stored: str, quoted: str
    ) -> str | None:
        """Return an excerpt as it is written now; None when it is so, or does not open.

        One that points to the text of its parent stays, as long as texts are sealed.

        Args:
            session_id: of both.
            message_id: the reply's.
            parent_id: the message that it answers.
            stored: what stands in the reply's row.
            quoted: what that comes to when it is read.
        """
        keyring = self.keyring
        is_pointer = purpose_of(stored) == Purpose.MESSAGE.value
        if keyring.is_current(stored) or (is_pointer and keyring.is_sealing):
            return None
        if not keyring.has_key_of(quoted):
            return None
        said = self.excerpt(session_id, message_id, parent_id, quoted)
        if said is None:
            return None
        return keyring.seal(Slot(Purpose.EXCERPT, session_id, message_id), said)

    def _opened(self, slot: Slot, stored: str | None) -> str | None:
        if stored is None or not stored.startswith(MARK):
            return stored
        return self._open(slot, stored)

    def _open(self, slot: Slot, stored: str) -> str:
        try:
            return self.keyring.open(slot, stored)
        except NoKey as trouble:  # all of a key are lost together: the first one says it
            self._alarm(slot, str(trouble), (UUID(int=0), 0, str(trouble)))
        except Unreadable as trouble:
            self._alarm(slot, str(trouble), (slot.row, slot.version, str(trouble)))
        return UNREADABLE

    def _alarm(self, slot: Slot, why: str, key: tuple[UUID, int, str]) -> None:
        self.unreadable += 1
        if key in self._told:
            return
        if len(self._told) >= ALARMS:
            self._told.clear()
        self._told.add(key)
        log.error(
            "unreadable",
            kind=slot.purpose.name.lower(),
            message=str(slot.row),
            session=str(slot.scope),
            version=slot.version,
            why=why,
        )


def ai_slot(ai_session_id: UUID, message_id: UUID) -> Slot:
    """Return where the text of a question or an answer stands."""
    return Slot(Purpose.AI_MESSAGE, ai_session_id, message_id)


def title_slot(ai_session_id: UUID) -> Slot:
    """Return where the title of a conversation stands."""
    return Slot(Purpose.AI_TITLE, ai_session_id, ai_session_id)


def prompt_slot(ai_session_id: UUID) -> Slot:
    """Return where the system prompt of a conversation stands."""
    return Slot(Purpose.AI_PROMPT, ai_session_id, ai_session_id)
