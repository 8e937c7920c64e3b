"""A zip archive written piece by piece: what is in memory is one piece, whatever the whole is.

Sizes and checksums stand behind each file (APPNOTE 4.3.9.1, bit 3), so nothing is written twice.
"""

from __future__ import annotations

import zipfile
from datetime import datetime
from typing import IO, Any, cast

LEVEL = 1  # deflate at 100 MB/s: text shrinks to a third, and the loop waits for half a ms a piece


class _Sink:
    """What the archive is written to; without `tell`, so that zipfile knows it for a stream."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""


class Archive:
    """An archive under way; take what is ready whenever `written` says it is worth it.

    Attributes:
        written: bytes of content written since the last `take`.
    """

    def __init__(self, at: datetime) -> None:
        self.written = 0
        self._at = at
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(
            cast("IO[bytes]", self._sink), "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL
        )
        self._file: IO[bytes] | None = None

    def begin(self, name: str, *, is_packed: bool = True) -> None:
        """End the file under way and begin another; pictures and videos are packed already."""
        self._end()
        parts: Any = self._at.timetuple()[:6]
        info = zipfile.ZipInfo(name, parts)
        info.compress_type = zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED
        self._file = self._zip.open(info, "w", force_zip64=True)

    def write(self, data: bytes) -> None:
        """Add to the file that was begun."""
        assert self._file is not None  # noqa: S101 - begun before
        self._file.write(data)
        self.written += len(data)

    def finish(self) -> None:
        """End the last file and the archive, also one that nobody wants any more; twice is once."""
        self._end()
        self._zip.close()

    def take(self) -> bytes:
        """Return the bytes of the archive that are ready, and forget them."""
        data = bytes(self._sink.data)
        self._sink.data.clear()
        self.written = 0
        return data

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
