"""Messages with files, in PostgreSQL: stored and attached in one transaction.

Batches without files, nearly all, never come here: they stay one statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from chatd.rows import Append, AppendRow, AttachmentRow, NewMessage
from chatd.store.arrays import Uuids
from chatd.store.columns import attachments_of
from chatd.store.pool import Transaction

# Behind the sessions' locks, so a file is attached once; its row's lock keeps the sweep away.
_USABLE = """
    SELECT f.id, f.session_id, f.uploader_id
    FROM files f
    WHERE f.id = ANY (%(file_ids)s) AND f.completed_at IS NOT NULL AND f.revoked_at IS NULL
      AND f.message_id IS NULL
    ORDER BY f.id
    FOR NO KEY UPDATE
"""

_ATTACH = """
    WITH given AS (
        SELECT * FROM unnest(%(file_ids)s, %(message_ids)s)
            WITH ORDINALITY AS g (file_id, message_id, nth)
    ), attached AS (
        UPDATE files f SET message_id = g.message_id FROM given g WHERE f.id = g.file_id
    )
    UPDATE messages m SET attachments = a.list
    FROM (
        SELECT g.message_id, jsonb_agg(
            jsonb_build_array(
                f.id, f.name, f.size, f.mime_type, f.width, f.height, f.has_thumbnail
            ) ORDER BY g.nth
        ) AS list
        FROM given g JOIN files f ON f.id = g.file_id
        GROUP BY g.message_id
    ) a
    WHERE m.id = a.message_id
    RETURNING m.id, m.attachments
"""

_STANDING = """
    SELECT b.nth, d.id, m.user_id IS NOT NULL
    FROM unnest(%(session_ids)s, %(sender_ids)s, %(client_msg_ids)s)
        WITH ORDINALITY AS b (session_id, sender_id, client_msg_id, nth)
    LEFT JOIN messages d ON d.sender_id = b.sender_id AND d.client_msg_id = b.client_msg_id
    LEFT JOIN session_users m
        ON m.session_id = b.session_id AND m.user_id = b.sender_id AND m.left_at IS NULL
"""


async def with_usable_files(
    transaction: Transaction, batch: Sequence[NewMessage]
) -> list[NewMessage]:
    """Return the messages of a batch whose files can all be attached to them."""
    file_ids = Uuids([file_id for message in batch for file_id in message.attachments])
    rows = await transaction.fetch(_USABLE, {"file_ids": file_ids})
    usable = {file_id: place for file_id, *place in rows}
    return [
        message
        for message in batch
        if all(
            usable.get(file_id) == [message.session_id, message.sender_id]
            for file_id in message.attachments
        )
    ]


async def attach(
    transaction: Transaction, batch: Sequence[NewMessage], outcomes: Sequence[AppendRow]
) -> list[AppendRow]:
    """Attach the files of the messages that are stored; return the outcomes with them."""
    given = [
        (file_id, message.id)
        for message, outcome in zip(batch, outcomes, strict=True)
        if outcome.outcome is Append.STORED
        for file_id in message.attachments
    ]
    if not given:
        return list(outcomes)
    params = {"file_ids": Uuids([i for i, _ in given]), "message_ids": Uuids([i for _, i in given])}
    attached = {
        message_id: attachments_of(columns)
        for message_id, columns in await transaction.fetch(_ATTACH, params)
    }
    return [_with(outcome, attached) for outcome in outcomes]


def _with(outcome: AppendRow, attached: Mapping[UUID, tuple[AttachmentRow, ...]]) -> AppendRow:
    row = outcome.row
    if row is None or row.id not in attached:
        return outcome
    return outcome._replace(row=row._replace(attachments=attached[row.id]))


async def unattached(
    transaction: Transaction, params: Mapping[str, object]
) -> list[UUID | AppendRow]:
    """Judge messages whose files cannot be attached: the id of what they repeat, or a refusal.

    Args:
        params: their columns, as those of `append_messages`.
    """
    rows = await transaction.fetch(_STANDING, params)
    refusals = {True: Append.NO_SUCH_FILE, False: Append.NOT_A_MEMBER}
    return [found or AppendRow(refusals[is_member]) for _, found, is_member in sorted(rows)]
