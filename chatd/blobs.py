"""Where the bytes of files lie: what handlers, and the sweep, may rely on.

`chatd.nurseries.local_blobs` and `chatd.nurseries.s3_blobs` both keep this; `tests/files/` has the
same tests for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from chatd.pictures import Pictures
from chatd.rows import FileRow

BlobPart = Literal["", "thumbnail"]
BLOB_READ = 1_048_576  # bytes of one read: what is in memory of a file of any size


class Upload(NamedTuple):
    """Where a client puts the bytes of a file, with exactly these headers."""

    url: str
    method: str
    headers: dict[str, str]


class Serving(NamedTuple):
    """What a download says of itself."""

    content_type: str
    disposition: str


class Blobs(Protocol):
    """Where the bytes of files lie. What cannot be reached raises `Unavailable`.

    What clients write lies apart until it is adopted: from then on none of their links writes it.
    """

    async def upload_to(self, row: FileRow) -> Upload:
        """Return a link that takes exactly the promised bytes, until `upload_until`."""

    async def link_to(self, row: FileRow, serving: Serving, *, reader: str, part: BlobPart) -> str:
        """Return a link to a file or its thumbnail, good for `file_link_ttl`.

        Args:
            reader: for whom it is: links of one reader share what one may have.
        """

    async def adopt(self, row: FileRow) -> int | None:
        """Take what was uploaded out of its uploader's reach; return its size.

        None when nothing was uploaded, or under another type. A repeat returns the same.
        """

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Return a part of an adopted file, of at most `BLOB_READ` bytes.

        Raises:
            NotFound: it was deleted.
        """

    async def write_thumbnail(self, key: str, data: bytes, content_type: str) -> None:
        """Keep the thumbnail of a file beside it."""

    async def clean(self, *, is_shared: bool) -> None:
        """Delete what broken uploads of an earlier start have left, before there are new ones."""

    async def delete_upload(self, key: str) -> None:
        """Delete what was uploaded and not adopted; what is not there is deleted."""

    async def delete(self, key: str) -> None:
        """Delete everything of a file; what is not there is deleted."""


@dataclass(slots=True)
class Files:
    """What handlers need of files beside the store."""

    blobs: Blobs
    pictures: Pictures
    sweep: Callable[[], None]  # there is something to sweep; never waits
    completing: set[UUID] = field(default_factory=set)  # whose bytes are being looked at
