"""The export: everything of the caller's account in one archive, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

import trio

from chatd.context import Caller, Services
from chatd.errors import Conflict, Overloaded, StoreBug, StoreError, Unauthorized, Unavailable
from chatd.events.answers import Nothing
from chatd.handlers.export_parts import PARTS, contents
from chatd.handlers.operations import Operation, Route, Streamed, spend
from chatd.limits import Rate
from chatd.model import account_dict, dumps, iso_or_none
from chatd.rows import UserRow
from chatd.wire.archive import Archive

PIECE = 65_536  # bytes of content between two writes to the client
MAX_EXPORTS = 4  # at once, of all users: each keeps a connection to the database busy

_README = """\
Everything that this chat server keeps of one account. Times are UTC; ids are those of the API.

profile.json     the account itself
devices.json     every device that logged in, by id
identities.json  who the account is at a sign-in service, where it was signed in with one
bots.json        bots of the account
tokens.json      API tokens of the account and its bots: for what, since when, last used
sessions.json    chat sessions that the account is or was in, and how far it has read them
messages.json    messages that the account wrote, by session and then in their order
revisions.json   earlier texts of those messages
reactions.json   reactions that the account gave
mentions.json    messages that mention the account
ai_sessions.json conversations with the assistant
ai_messages.json their questions and answers, by conversation and then in their order
audit.json       logins and other acts on the account, the newest first
files.json       files that the account uploaded; their bytes are in the folder files/

Not here: the password, the texts of tokens and recovery codes, of which only hashes are kept; the
secret of the second factor, which is for one authenticator; and what others wrote. What was written
while the archive was made may be in it or not.
"""


async def export(services: Services, caller: Caller, _command: Nothing) -> Streamed:
    """Return an archive of everything of the caller's account, written while it is read."""
    if caller.user_id in services.exports:
        msg = "an export of this account is under way"
        raise Conflict(msg)
    if len(services.exports) >= MAX_EXPORTS:
        raise Overloaded(retry_after=60)
    assert caller.identity is not None  # noqa: S101 - needs_login
    pieces = _counted(services, caller, caller.identity.family_id)
    await anext(pieces)  # from here on its end is seen to
    return Streamed(pieces, "application/zip", "chatd-export.zip")


async def _counted(
    services: Services, caller: Caller, family_id: UUID
) -> AsyncGenerator[bytes, None]:
    """Give the archive as `_pieces` does; one that does not get to its end is not counted."""
    interval = services.settings.export_interval
    key, rate = ("exported", caller.user_id), Rate(1 / interval, 1)
    started = trio.current_time()
    spend(services, caller, "user", key, rate, started)
    is_whole = False
    try:
        users = await services.store.users_by_ids([caller.user_id])
        if not users:
            raise Unauthorized
        async with aclosing(_pieces(services, users[0], family_id)) as pieces:
            async for piece in pieces:
                yield piece
        is_whole = True
    finally:
        if not is_whole and trio.current_time() < started + interval:  # later it is another's
            services.limiter.give_back("user", key, rate)


async def _pieces(
    services: Services, user: UserRow, family_id: UUID
) -> AsyncGenerator[bytes, None]:
    """Give the archive, behind one empty piece.

    Raises:
        Unavailable: the store is away; what was given is half an archive.
        Unauthorized: the login that asked has ended meanwhile; the same.
    """
    services.exports.add(user.id)
    archive = Archive(services.now())
    try:
        yield b""
        archive.begin("README.txt")
        archive.write(_README.encode())
        archive.begin("profile.json")
        archive.write(_profile(user))
        for name, rows in PARTS.items():
            archive.begin(name)
            separator = b"[\n"
            async with aclosing(rows(services, user.id)) as found:
                async for row in found:
                    archive.write(separator + dumps(row))
                    separator = b",\n"
                    if archive.written >= PIECE:
                        await trio.lowlevel.checkpoint()  # an empty piece does not wait
                        yield archive.take()
                        _check(services, family_id)
            archive.write(b"[]\n" if separator == b"[\n" else b"\n]\n")
        last = ""
        async with aclosing(contents(services, user.id)) as parts:
            async for path, data in parts:
                if path != last:
                    archive.begin(path, is_packed=False)
                    last = path
                archive.write(data)
                yield archive.take()
                _check(services, family_id)
        archive.finish()
        yield archive.take()
    except StoreError as trouble:
        if isinstance(trouble, StoreBug):
            raise
        raise Unavailable(retry_after=1) from trouble
    finally:
        services.exports.discard(user.id)
        archive.finish()


def _check(services: Services, family_id: UUID) -> None:
    """Refuse to go on for a login that has ended: a slow reader has hours."""
    if services.sockets.is_revoked(family_id):
        raise Unauthorized


def _profile(user: UserRow) -> bytes:
    profile = account_dict(user) | {
        "lastSeen": iso_or_none(user.last_seen),
        "status": user.manual_status,
        "statusText": user.status_text,
        "statusUntil": iso_or_none(user.status_until),
    }
    return dumps(profile) + b"\n"


OPERATIONS = (
    Operation(
        "user-export",
        Nothing,
        None,
        "Everything of the caller's account, as a zip archive",
        run=export,
        route=Route("GET", "/users/me/export", media="application/zip"),
        rate=Rate(1, 10),  # and one export in `export_interval`
    ),
)
