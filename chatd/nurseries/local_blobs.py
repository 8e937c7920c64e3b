"""Files in the data folder, behind signed links of this daemon: the store that needs no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from chatd.blobs import BlobPart, Serving, Upload
from chatd.config import Settings
from chatd.errors import NotFound
from chatd.links import Link, Links
from chatd.nurseries.disk import Disk
from chatd.rows import FileRow

BLOB_PATH = "/blob"  # what `chatd.nurseries.blob_door` serves


log = structlog.get_logger("chatd.files")


class LocalBlobs:
    """See `chatd.blobs.Blobs`.

    Args:
        now: wall time, UTC.
    """

    def __init__(
        self, disk: Disk, links: Links, settings: Settings, now: Callable[[], datetime]
    ) -> None:
        self.disk = disk
        self.links = links
        self._base = (settings.files_url or "") + BLOB_PATH
        self._lifetime = timedelta(seconds=settings.file_link_ttl)
        self._now = now

    async def upload_to(self, row: FileRow) -> Upload:
        """Return a link that takes exactly the promised bytes."""
        until = int(row.upload_until.timestamp())
        link = Link("PUT", row.key, until, row.size, row.mime_type, "", str(row.uploader_id))
        return Upload(self._url(link), "PUT", {"Content-Type": row.mime_type})

    async def link_to(self, row: FileRow, serving: Serving, *, reader: str, part: BlobPart) -> str:
        """Return a link to a file or its thumbnail."""
        until = int((self._now() + self._lifetime).timestamp())
        return self._url(Link("GET", row.key, until, row.size, *serving, reader, part))

    async def adopt(self, row: FileRow) -> int | None:
        """Take what was uploaded out of its uploader's reach; its link has kept the type."""
        return await self.disk.run(self.disk.adopt, row.key)

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Return a part of an adopted file."""
        data = await self.disk.run(self.disk.read_stored, key, start, length)
        if data is None:
            raise NotFound
        return data

    async def write_thumbnail(self, key: str, data: bytes, content_type: str) -> None:
        """Keep the thumbnail of a file; the link to it says its type."""
        del content_type
        await self.disk.run(self.disk.write_stored, key, "thumbnail", data)

    async def clean(self, *, is_shared: bool) -> None:
        """Delete what broken uploads of an earlier start have left. See `Disk.delete_parts`."""
        count = await self.disk.run(partial(self.disk.delete_parts, is_shared=is_shared))
        if count:
            log.info("parts_deleted", uploads=count)

    async def delete_upload(self, key: str) -> None:
        """Delete what was uploaded and not adopted."""
        await self.disk.run(self.disk.delete_upload, key)

    async def delete(self, key: str) -> None:
        """Delete everything of a file."""
        await self.disk.run(self.disk.delete, key)

    def _url(self, link: Link) -> str:
        return f"{self._base}?link={self.links.sign(link)}"
