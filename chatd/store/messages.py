"""Messages in PostgreSQL: storing them, and finding out whether a lost COMMIT has stored them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

import orjson

from chatd.errors import StoreAmbiguous, StoreBug, StoreError, StoreRetryable
from chatd.rows import Append, AppendRow, MessageRow, NewMessage
from chatd.store.arrays import Texts, Times, Uuids
from chatd.store.attaching import attach, unattached, with_usable_files
from chatd.store.checks import is_storable
from chatd.store.columns import MESSAGE, mentions_of, reply_row
from chatd.store.contents import Contents
from chatd.store.pool import Pool, Rows, Transaction
from chatd.store.sqlstates import constraint_of

_APPEND_MESSAGE = """
    SELECT outcome, message_seq, sender_name, sender_avatar_url, found_id, reply, until
    FROM append_message(
        %(id)s, %(session_id)s, %(sender_id)s, %(content)s,
        %(created_at)s, %(client_msg_id)s::text, %(reply_to_id)s::uuid
    )
"""
_APPEND = """
    SELECT place, outcome, message_seq, sender_name, sender_avatar_url, found_id,
           found_session_id, found_changed_seq, found_content, found_created_at, reply,
           found_mentions, until
    FROM append_messages(
        %(ids)s, %(session_ids)s, %(sender_ids)s, %(contents)s,
        %(times)s, %(client_msg_ids)s, %(reply_to_ids)s{mentioned}
    )
"""
_APPEND_MESSAGES = _APPEND.format(mentioned="")
_APPEND_MENTIONS = _APPEND.format(mentioned=", %(mentioned)s::jsonb")

_LOCK_SESSIONS = """
    SELECT FROM sessions WHERE id = ANY (%(session_ids)s) ORDER BY id FOR NO KEY UPDATE
"""

_FIND_MESSAGES = f"""
    SELECT b.place,
           {MESSAGE}
    FROM unnest(%(ids)s, %(sender_ids)s, %(client_msg_ids)s)
        WITH ORDINALITY AS b (id, sender_id, client_msg_id, place)
    JOIN LATERAL (
        SELECT * FROM messages m WHERE m.id = b.id
        UNION
        SELECT * FROM messages m
        WHERE m.sender_id = b.sender_id AND m.client_msg_id = b.client_msg_id
    ) m ON true
    JOIN users u ON u.id = m.sender_id
"""

_MESSAGE = f"""
    SELECT {MESSAGE}
    FROM messages m
    JOIN users u ON u.id = m.sender_id
    WHERE m.id = %(message_id)s
"""

# Places: of the first two behind the columns that every outcome has.
_REPLY, _MENTIONS, _FOUND_ID = 5, 6, 3

# Taken by another node between our look and our insert: the second look sees it.
_RACED = frozenset({"messages_client_msg_id_key", "messages_seq_key"})


class Messages:
    """The statements that store messages."""

    _pool: Pool
    _contents: Contents

    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        """Store a batch and return one outcome a message, in the batch's order."""
        good = [message for message in batch if is_storable(message)]
        if not good:
            return [AppendRow(Append.INVALID) for _ in batch]
        append = self._append
        if any(message.attachments for message in good):
            append = self._append_attaching
        try:
            outcomes = await append(good)
        except StoreBug as bug:
            if constraint_of(bug) not in _RACED:
                raise
            outcomes = await append(good)
        if len(good) == len(batch):
            return outcomes
        by_id = {message.id: row for message, row in zip(good, outcomes, strict=True)}
        return [by_id.get(message.id) or AppendRow(Append.INVALID) for message in batch]

    async def _append(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        if len(batch) == 1 and not batch[0].mentions:
            return [await self._append_alone(batch[0])]
        statement, params = self._statement(batch)
        rows = await self._pool.fetch(statement, params, writes=True, is_bounded=True)
        return await self._whole([self._opened(outcome) for outcome in _outcomes(batch, rows)])

    async def _append_alone(self, message: NewMessage) -> AppendRow:
        params = {
            "id": message.id,
            "session_id": message.session_id,
            "sender_id": message.sender_id,
            "content": self._texts([message])[0],
            "created_at": message.created_at,
            "client_msg_id": message.client_msg_id,
            "reply_to_id": message.reply_to_id,
        }
        rows = await self._pool.fetch(_APPEND_MESSAGE, params, writes=True, is_bounded=True)
        outcome, seq, name, avatar_url, found_id, reply, until = rows[0]
        if outcome == "stored":
            row = _stored(message, seq, name, avatar_url, reply)
            return self._opened(AppendRow(Append.STORED, row))
        if outcome == "duplicate":
            return AppendRow(Append.DUPLICATE, await self._original(found_id))
        return AppendRow(Append(outcome), until=until)

    async def _append_attaching(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        async def work(transaction: Transaction) -> list[AppendRow]:
            await transaction.fetch(_LOCK_SESSIONS, self._columns(batch))
            fit = await with_usable_files(transaction, batch)
            rows = await transaction.fetch(*self._statement(fit)) if fit else []
            appended = [self._opened(row) for row in _outcomes(fit, rows)]
            found = await attach(transaction, fit, appended)
            outcomes = {message.id: row for message, row in zip(fit, found, strict=True)}
            rest = [message for message in batch if message.id not in outcomes]
            judged = await unattached(transaction, self._columns(rest)) if rest else []
            for message, verdict in zip(rest, judged, strict=True):
                outcomes[message.id] = (
                    verdict
                    if isinstance(verdict, AppendRow)
                    else AppendRow(Append.DUPLICATE, await self._message(transaction, verdict))
                )
            return [outcomes[message.id] for message in batch]

        return await self._whole(await self._pool.transact(work))

    async def _whole(self, outcomes: Sequence[AppendRow]) -> list[AppendRow]:
        """Complete the duplicates: the batch's answer has not all their columns."""
        return [
            AppendRow(outcome.outcome, await self._original(outcome.row.id))
            if outcome.outcome is Append.DUPLICATE and outcome.row is not None
            else outcome
            for outcome in outcomes
        ]

    async def _original(self, message_id: UUID) -> MessageRow:
        """Return the stored message of which another one is a repeat.

        Raises:
            StoreAmbiguous: it cannot be read now, and the batch is stored: nobody may be told else.
        """
        try:
            return await self._message(self._pool, message_id)
        except StoreError as trouble:
            msg = "a duplicate cannot be read"
            raise StoreAmbiguous(msg) from trouble

    async def find_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow | None]:
        """Tell what became of a batch whose COMMIT was lost."""
        found: list[AppendRow | None] = [None] * len(batch)
        params = self._columns(batch)

        async def work(transaction: Transaction) -> Rows:
            await transaction.fetch(_LOCK_SESSIONS, params)
            return await transaction.fetch(_FIND_MESSAGES, params)

        await self._pool.end_lost()
        for place, *columns in await self._pool.transact(work):
            row = self._contents.message_row(*columns)
            is_stored = row.id == batch[place - 1].id
            if is_stored or found[place - 1] is None:
                outcome = Append.STORED if is_stored else Append.DUPLICATE
                found[place - 1] = AppendRow(outcome, row)
        return found

    def _columns(self, batch: Sequence[NewMessage]) -> dict[str, Any]:
        return {
            "ids": Uuids([message.id for message in batch]),
            "session_ids": Uuids([message.session_id for message in batch]),
            "sender_ids": Uuids([message.sender_id for message in batch]),
            "contents": Texts(self._texts(batch)),
            "times": Times([message.created_at for message in batch]),
            "client_msg_ids": Texts([message.client_msg_id for message in batch]),
            "reply_to_ids": Uuids([message.reply_to_id for message in batch]),
        }

    def _texts(self, batch: Sequence[NewMessage]) -> list[str]:
        """Return the messages' texts as they are stored."""
        contents = self._contents
        if contents.keyring.is_sealing:
            return [contents.seal(message) for message in batch]
        return [message.content for message in batch]

    def _opened(self, outcome: AppendRow) -> AppendRow:
        """Open what a batch's answer says of a stored message; a duplicate is read again."""
        row = outcome.row
        if row is None or outcome.outcome is not Append.STORED or row.reply_to is None:
            return outcome  # all there is of it is what was sent
        return outcome._replace(row=self._contents.opened(row))

    async def _message(self, reader: Pool | Transaction, message_id: UUID) -> MessageRow:
        for columns in await reader.fetch(_MESSAGE, {"message_id": message_id}):
            return self._contents.message_row(*columns)
        msg = "a message was swept, with its session, while it was read"
        raise StoreRetryable(msg)

    def _statement(self, batch: Sequence[NewMessage]) -> tuple[LiteralString, dict[str, Any]]:
        """Return what appends a batch, and its parameters."""
        params = self._columns(batch)
        if not any(message.mentions for message in batch):
            return _APPEND_MESSAGES, params
        params["mentioned"] = _mentioned(batch)
        return _APPEND_MENTIONS, params


def _mentioned(batch: Sequence[NewMessage]) -> str:
    places = enumerate(batch, start=1)
    return orjson.dumps(
        {str(place): message.mentions for place, message in places if message.mentions}
    ).decode()


def _outcomes(batch: Sequence[NewMessage], rows: Rows) -> list[AppendRow]:
    outcomes: dict[int, AppendRow] = {}
    for place, outcome, *columns in rows:
        message = batch[place - 1]
        if outcome == "stored":
            seq, name, avatar_url, *rest = columns
            row = _stored(message, seq, name, avatar_url, rest[_REPLY], rest[_MENTIONS])
            outcomes[place] = AppendRow(Append.STORED, row)
        elif outcome == "duplicate":
            outcomes[place] = AppendRow(Append.DUPLICATE, _duplicate(message, *columns))
        elif outcome == "told":
            before = outcomes[place]
            outcomes[place] = before._replace(told=(*before.told, columns[_FOUND_ID]))
        else:
            outcomes[place] = AppendRow(Append(outcome), until=columns[-1])
    return [outcomes[place] for place in range(1, len(batch) + 1)]


def _stored(
    message: NewMessage,
    seq: int,
    name: str,
    avatar_url: str | None,
    reply: Any,
    mentioned: Any = None,
) -> MessageRow:
    return MessageRow(
        message.id,
        message.session_id,
        seq,
        seq,
        message.sender_id,
        name,
        avatar_url,
        message.content,
        message.created_at,
        message.client_msg_id,
        reply if reply is None else reply_row(reply),
        mentioned if mentioned is None else mentions_of(mentioned),
    )


def _duplicate(
    message: NewMessage,
    seq: int,
    name: str,
    avatar_url: str | None,
    found_id: UUID,
    session_id: UUID,
    changed_seq: int,
    *rest: Any,
) -> MessageRow:
    content, created_at, reply, mentioned, _ = rest
    return MessageRow(
        found_id,
        session_id,
        seq,
        changed_seq,
        message.sender_id,
        name,
        avatar_url,
        content,
        created_at,
        message.client_msg_id,
        reply_row(reply),
        mentions_of(mentioned),
    )
