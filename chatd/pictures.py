"""Thumbnails: a picture as a stranger's program sent it, read with care, made small and new.

Pillow works in a thread, one picture at a time: two would take two cores and twice the memory. It
is imported with the first one (0.1 s and 10 MiB). Whatever goes wrong with it means no thumbnail.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog
import trio

SIDE: Final = 512  # pixels: a preview in a message on a sharp screen
MAX_SOURCE: Final = 20_971_520  # bytes of a picture that is read whole: two photos of a good phone
MAX_PIXELS: Final = 50_000_000  # a phone's best; a progressive JPEG takes 6 bytes for each
MAX_READ_PIXELS: Final = 30_000_000  # as they are read: 120 MiB; a bomb of some KiB has 200 million
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")  # decoders that the world attacks every day
TIMEOUT: Final = 10.0  # seconds for one picture, its wait for a turn included
QUALITY: Final = 80
TYPES: Final = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
THUMBNAIL_TYPE: Final = "image/webp"
# EXIF 2.32, 4.6.4: how a picture is to be turned, as `PIL.Image.Transpose` numbers it.
_ORIENTATION: Final = 0x0112
_TURNS: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_SIDEWAYS: Final = frozenset((5, 6, 7, 8))

log = structlog.get_logger("chatd.pictures")


class Picture(NamedTuple):
    """A picture upright, as it is to be shown: its size, and a small one without what it told."""

    width: int
    height: int
    thumbnail: bytes


class Pictures:
    """Makes thumbnails; one for a daemon."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)
        self._turn = trio.Lock()

    async def shrink(self, read: Callable[[], Awaitable[bytes]]) -> Picture | None:
        """Return a picture, None when it is none, too large, or takes too long.

        What `read` raises is raised: bytes that did not come say nothing of the picture.

        Args:
            read: gives its bytes; called when it is its turn, so that one is in memory at a time.
        """
        with trio.move_on_after(TIMEOUT):
            async with self._turn:
                data = await read()
                try:
                    # The thread goes on when nobody waits any more, and the limiter with it.
                    return await trio.to_thread.run_sync(
                        shrink, data, limiter=self._limiter, abandon_on_cancel=True
                    )
                except Exception as trouble:  # noqa: BLE001 - a decoder's defect costs a thumbnail
                    log.info("no_thumbnail", reason=type(trouble).__name__)
                    return None
        log.info("no_thumbnail", reason="it took too long")
        return None


class TooManyPixelsError(Exception):
    """It would take more memory than a thumbnail is worth."""


def shrink(data: bytes) -> Picture:
    """Return a picture and its thumbnail: upright, WebP, no metadata. Blocks.

    Raises:
        Exception: whatever a decoder says of what is no picture.
    """
    from PIL import Image  # noqa: PLC0415 - not for daemons without pictures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the bounds are ours
        with Image.open(io.BytesIO(data), formats=FORMATS) as source:
            width, height = source.size
            source.draft("RGB", (SIDE, SIDE))  # a JPEG is read at an eighth where that is enough
            if width * height > MAX_PIXELS or source.size[0] * source.size[1] > MAX_READ_PIXELS:
                raise TooManyPixelsError
            turn = source.getexif().get(_ORIENTATION, 1)
            mode = "RGBA" if source.has_transparency_data else "RGB"
            small: Image.Image = source if source.mode == mode else source.convert(mode)
            small.thumbnail((SIDE, SIDE))
            if turn in _TURNS:
                small = small.transpose(Image.Transpose(_TURNS[turn]))
            clean = Image.new(mode, small.size)  # what was told of it stays behind
            clean.paste(small)
        output = io.BytesIO()
        clean.save(output, "WEBP", quality=QUALITY)
    if turn in _SIDEWAYS:
        width, height = height, width
    return Picture(width, height, output.getvalue())
