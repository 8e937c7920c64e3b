"""Commands and answers of files (protocol.md section 8)."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from chatd.events.fields import MAX_SEQ
from chatd.filenames import MAX_NAME, clean_file_name
from chatd.model import Attachment, Shape, Time

FileName = Annotated[
    str, Field(min_length=1, max_length=4 * MAX_NAME), AfterValidator(clean_file_name)
]
MimeType = Annotated[
    str,
    StringConstraints(to_lower=True),
    Field(
        max_length=127,  # RFC 6838 4.2
        pattern=r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$",
        description="without parameters",
    ),
]


class FileCreate(Shape):
    """Promise a file for a session; without `sessionId` it is to become the caller's avatar."""

    file_name: FileName
    size: Annotated[int, Field(ge=1, le=MAX_SEQ, strict=True)]
    mime_type: MimeType
    session_id: UUID | None = None


class UploadLink(Shape):
    """Where the bytes go: exactly `size` of them, with exactly these headers.

    `url` is absolute, or a path of this server.
    """

    url: str
    method: Literal["PUT"]
    headers: dict[str, str]


class FileCreated(Shape):
    """A promise: upload before `expiresAt`, then say that it is complete."""

    file_id: UUID
    upload: UploadLink
    expires_at: Time


class FileRef(Shape):
    """Names a file; one that the caller may not have is not found."""

    file_id: UUID


class FileThumbnail(FileRef):
    """Names the small picture of an image that has one."""


class FileLinkAsk(FileRef):
    """Ask for a link to a file, or to its small picture."""

    thumbnail: bool = False


class FileLink(Shape):
    """A link that needs no login, until `expiresAt`: absolute, or a path of this server."""

    url: str
    expires_at: Time


class FileAnswer(Shape):
    """A file that is complete, as a message will hold it."""

    file: Attachment
