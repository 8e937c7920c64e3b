"""Files: promised, uploaded straight to where they lie, looked at, read by link (section 8)."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal
from uuid import UUID

from chatd.addresses import address_key
from chatd.blobs import BLOB_READ, BlobPart, Blobs, Files, Serving
from chatd.context import Caller, Services
from chatd.contract.files import Quota, Seen
from chatd.errors import (
    Conflict,
    NotAMember,
    NotFound,
    NotSetUp,
    PayloadTooLarge,
    RateLimited,
    ValidationFailed,
)
from chatd.events.answers import Nothing
from chatd.events.files import (
    FileAnswer,
    FileCreate,
    FileCreated,
    FileLink,
    FileLinkAsk,
    FileRef,
    FileThumbnail,
)
from chatd.filenames import disposition
from chatd.handlers.operations import Operation, Redirect, Route
from chatd.handlers.refusals import refusal_of
from chatd.ids import random_hex, uuid7
from chatd.limits import Rate
from chatd.magic import BYTES, HEAD_BYTES, WrongTypeError, is_shown, served_type
from chatd.model import attachment_dict, dumps, iso
from chatd.pictures import MAX_SOURCE, THUMBNAIL_TYPE, TYPES, Picture
from chatd.rows import FileRow
from chatd.store.checks import write_refusal


async def create(services: Services, caller: Caller, command: FileCreate) -> bytes:
    """Promise a file: the answer says where its bytes go."""
    files, settings = files_of(services), services.settings
    if command.size > settings.file_bytes:
        raise PayloadTooLarge(details={"maxBytes": settings.file_bytes})
    if command.session_id is not None:
        await _check_writer(services, caller, command.session_id)
    now = services.now()
    row = FileRow(
        id=uuid7(),
        key=random_hex(16),
        uploader_id=caller.user_id,
        session_id=command.session_id,
        name=command.file_name,
        size=command.size,
        mime_type=command.mime_type,
        created_at=now,
        upload_until=now + timedelta(seconds=settings.upload_ttl),
    )
    quota = Quota(settings.user_file_bytes, settings.user_files, settings.user_uploads)
    bound = await services.store.insert_file(row, quota)
    if bound == "uploads":
        msg = "too many uploads at once: finish one, or wait"
        raise RateLimited(msg, retry_after=settings.upload_ttl)
    if bound is not None:
        msg = f"no more {bound} for this account: delete something"
        raise Conflict(msg, details={"quota": bound, "limit": getattr(quota, _QUOTAS[bound])})
    upload = await files.blobs.upload_to(row)
    return dumps({"fileId": row.id, "upload": upload._asdict(), "expiresAt": iso(row.upload_until)})


_QUOTAS = {"bytes": "size", "files": "files"}


async def complete(services: Services, caller: Caller, command: FileRef) -> bytes:
    """Look at what was uploaded: from here on it can be attached, and is written no more."""
    files = files_of(services)
    if command.file_id in files.completing:
        msg = "this file is being looked at"
        raise Conflict(msg)
    files.completing.add(command.file_id)
    try:
        row = await services.store.own_file(command.file_id, caller.user_id)
        if row is not None and row.completed_at is None:
            seen = await _look(services, files, row)
            row = await services.store.complete_file(row.id, row.uploader_id, seen, services.now())
    finally:
        files.completing.discard(command.file_id)
    if row is None:
        raise NotFound
    return dumps({"file": attachment_dict(row.attachment)})


async def _look(services: Services, files: Files, row: FileRow) -> Seen:
    """Return what the bytes of a file show; what is not as promised is revoked.

    Raises:
        Conflict: there are none.
        ValidationFailed: they are not what was promised.
    """
    size = await files.blobs.adopt(row)
    if size is None:
        msg = "nothing was uploaded"
        raise Conflict(msg)
    head = await files.blobs.read(row.key, 0, min(size, HEAD_BYTES))
    try:
        if size != row.size:
            msg = f"this has {size} bytes, not {row.size}"
            raise WrongTypeError(msg)
        served = served_type(row.mime_type, head)
    except WrongTypeError as wrong:
        refusal = ValidationFailed(str(wrong))
    else:
        picture = await _picture(files, row, served)
        if picture is None:
            return Seen(served)
        return Seen(served, picture.width, picture.height, has_thumbnail=True)
    await services.store.revoke_file(row.id, row.uploader_id, services.now())
    files.sweep()
    raise refusal


async def _picture(files: Files, row: FileRow, served: str | None) -> Picture | None:
    """Make the thumbnail of an image; without one it is a file as others are."""
    if served not in TYPES or row.size > MAX_SOURCE:
        return None
    picture = await files.pictures.shrink(lambda: _bytes(files.blobs, row))
    if picture is not None:
        await files.blobs.write_thumbnail(row.key, picture.thumbnail, THUMBNAIL_TYPE)
    return picture


async def _bytes(blobs: Blobs, row: FileRow) -> bytes:
    pieces = [
        await blobs.read(row.key, start, min(BLOB_READ, row.size - start))
        for start in range(0, row.size, BLOB_READ)
    ]
    return b"".join(pieces)


async def read(services: Services, caller: Caller, command: FileRef) -> Redirect:
    """Send who is a member now to the bytes of a file."""
    return Redirect(await _link(services, caller, command.file_id, ""))


async def thumbnail(services: Services, caller: Caller, command: FileThumbnail) -> Redirect:
    """Send who is a member now to the small picture of an image."""
    return Redirect(await _link(services, caller, command.file_id, "thumbnail"))


async def link(services: Services, caller: Caller, command: FileLinkAsk) -> bytes:
    """Return a link, for what cannot follow a redirect with a login: an `<img>`, a socket."""
    expires = services.now() + timedelta(seconds=services.settings.file_link_ttl)
    url = await _link(services, caller, command.file_id, "thumbnail" if command.thumbnail else "")
    return dumps({"url": url, "expiresAt": iso(expires)})


async def _link(services: Services, caller: Caller, file_id: UUID, part: BlobPart) -> str:
    files = files_of(services)
    row = await services.store.file_for(file_id, caller.user_id)
    if row is None or (part and not row.has_thumbnail):
        raise NotFound
    reader = str(caller.user_id)
    return await files.blobs.link_to(row, serving(row, part), reader=reader, part=part)


async def avatar(services: Services, caller: Caller, command: FileRef) -> Redirect:
    """Send anybody to the picture that somebody shows to everybody."""
    files = files_of(services)
    row = await services.store.avatar_file(command.file_id)
    if row is None:
        raise NotFound
    picture: BlobPart = "thumbnail"
    reader = f"at {address_key(caller.address)}"
    shown = Serving(THUMBNAIL_TYPE, disposition("inline", "avatar.webp"))  # not its owner's name
    return Redirect(await files.blobs.link_to(row, shown, reader=reader, part=picture))


async def delete(services: Services, caller: Caller, command: FileRef) -> bytes:
    """Take back a file that is attached to nothing."""
    files = files_of(services)
    if not await services.store.revoke_file(command.file_id, caller.user_id, services.now()):
        row = await services.store.own_file(command.file_id, caller.user_id)
        if row is None:
            raise NotFound
        msg = "this file is a part of a message, or the avatar: delete that"
        raise Conflict(msg)
    files.sweep()
    return b"{}"


def serving(row: FileRow, part: BlobPart) -> Serving:
    """Return as what a file is served: shown if its bytes have proved a type that runs nothing."""
    if part:
        stem = row.name.rpartition(".")[0] or row.name
        return Serving(THUMBNAIL_TYPE, disposition("inline", f"{stem}.webp"))
    kind: Literal["inline", "attachment"] = "attachment"
    if is_shown(row.served_type):
        kind = "inline"
    return Serving(row.served_type or BYTES, disposition(kind, row.name))


def files_of(services: Services) -> Files:
    """Return where files are.

    Raises:
        NotSetUp: there are none at this server.
    """
    if services.files is None:
        msg = "there are no files at this server"
        raise NotSetUp(msg)
    return services.files


async def _check_writer(services: Services, caller: Caller, session_id: UUID) -> None:
    """Refuse a file for a session that the caller may not write in; sending judges it again."""
    rules = await services.store.rules_for(session_id, caller.user_id)
    if rules is None:
        raise NotAMember
    refusal = write_refusal(rules, services.now())
    if refusal is not None:
        raise refusal_of(refusal)


_FILE = "/files/<uuid:file_id>"
_READ_RATE = Rate(20, 200)  # a page of pictures asks for as many at once

OPERATIONS = (
    Operation(
        "file-create",
        FileCreate,
        FileCreated,
        "Promise a file; the answer says where its bytes go",
        run=create,
        event="file:create",
        route=Route("POST", "/files", 201),
        rate=Rate(1, 30),
    ),
    Operation(
        "file-complete",
        FileRef,
        FileAnswer,
        "Say that a file is uploaded; its size, type and first bytes are checked",
        run=complete,
        event="file:complete",
        route=Route("POST", _FILE + "/complete"),
        rate=Rate(1, 30),
    ),
    Operation(
        "file-read",
        FileRef,
        None,
        "To the bytes of a file, for who is a member now",
        run=read,
        route=Route("GET", _FILE, 302, media=BYTES),
        rate=_READ_RATE,
    ),
    Operation(
        "file-thumbnail",
        FileThumbnail,
        None,
        "To the small picture of an image, for who is a member now",
        run=thumbnail,
        route=Route("GET", _FILE + "/thumbnail", 302, media=THUMBNAIL_TYPE),
        rate=_READ_RATE,
    ),
    Operation(
        "file-link",
        FileLinkAsk,
        FileLink,
        "A link to a file that needs no login, good for a minute",
        run=link,
        event="file:link",
        route=Route("GET", _FILE + "/link"),
        rate=_READ_RATE,
    ),
    Operation(
        "file-delete",
        FileRef,
        Nothing,
        "Take back a file of one's own that is attached to nothing",
        run=delete,
        event="file:delete",
        route=Route("DELETE", _FILE),
        rate=Rate(1, 30),
    ),
    Operation(
        "avatar",
        FileRef,
        None,
        "To the avatar of a user, for everybody",
        run=avatar,
        route=Route("GET", "/avatars/<uuid:file_id>", 302, media=THUMBNAIL_TYPE),
        needs_login=False,
        rate=Rate(50, 1000),  # of an address: an office that opens a list of members
    ),
)
