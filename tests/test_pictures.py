"""Thumbnails: upright, small, without what a picture told, and of no bomb."""

from __future__ import annotations

import io
from typing import Any

import pytest
import structlog
import trio
from PIL import Image
from trio.testing import MockClock

from chatd import pictures
from chatd.errors import Unavailable
from chatd.pictures import SIDE, Pictures, TooManyPixelsError, shrink
from tests.files.kit import bomb, picture

GPS = 0x8825


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def corners(width: int, height: int, turn: int, kind: str = "PNG") -> bytes:
    """Return a white picture with a red first corner, to be turned as EXIF says, and a place."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 2, height // 2))
    exif = Image.Exif()
    exif[0x0112] = turn
    exif[0x010F] = "a camera"
    exif.get_ifd(GPS)[1] = "N"
    output = io.BytesIO()
    image.save(output, kind, exif=exif)
    return output.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_becomes_a_small_webp_with_its_proportions(kind: str) -> None:
    found = shrink(picture(2000, 1000, kind))
    assert (found.width, found.height) == (2000, 1000)
    small = opened(found.thumbnail)
    assert (small.format, small.size) == ("WEBP", (SIDE, SIDE // 2))


def test_a_small_picture_is_not_made_larger() -> None:
    assert opened(shrink(picture(20, 10)).thumbnail).size == (20, 10)


# Where the first corner of the picture is to be seen, by EXIF 2.32, 4.6.4.
@pytest.mark.parametrize(
    ("turn", "right", "bottom"),
    [
        (1, False, False),
        (2, True, False),
        (3, True, True),
        (4, False, True),
        (5, False, False),
        (6, True, False),
        (7, True, True),
        (8, False, True),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_is_shown_upright(turn: int, right: bool, bottom: bool, kind: str) -> None:
    found = shrink(corners(400, 200, turn, kind))
    assert (found.width, found.height) == ((400, 200) if turn < 5 else (200, 400))
    small = opened(found.thumbnail).convert("RGB")
    assert small.size == (found.width, found.height)
    for x in (False, True):
        for y in (False, True):
            pixel: Any = small.getpixel(
                (small.width * (3 if x else 1) // 4, small.height * (3 if y else 1) // 4)
            )
            assert (pixel[1] < 128) is ((x, y) == (right, bottom))


def test_a_thumbnail_tells_nothing_of_camera_and_place() -> None:
    data = corners(100, 100, 1, "JPEG")
    assert b"a camera" in data
    small = opened(shrink(data).thumbnail)
    assert not small.getexif()
    assert set(small.info) <= {"loop", "background", "timestamp", "duration"}


def test_transparency_stays() -> None:
    output = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(output, "PNG")
    pixel: Any = opened(shrink(output.getvalue()).thumbnail).getpixel((5, 5))
    assert pixel[3] == 0


def test_modes_of_printers_and_palettes_are_read() -> None:
    for mode, kind in (("CMYK", "JPEG"), ("P", "GIF"), ("1", "PNG"), ("I;16", "PNG"), ("L", "PNG")):
        output = io.BytesIO()
        Image.new(mode, (30, 20)).save(output, kind)
        assert opened(shrink(output.getvalue()).thumbnail).size == (30, 20)


@pytest.mark.parametrize("side", [6_000, 20_000])
def test_a_bomb_is_not_opened(side: int) -> None:
    data = bomb(side)
    assert len(data) < 100_000
    with pytest.raises((TooManyPixelsError, Image.DecompressionBombError)):
        shrink(data)


def test_a_large_photo_is_read_at_a_fraction_of_its_size() -> None:
    data = picture(8000, 6000, "JPEG", quality=10)  # 48 megapixels
    found = shrink(data)
    assert (found.width, found.height) == (8000, 6000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"words",
        picture()[:500],
        picture(kind="BMP"),
        picture(kind="TIFF"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    ],
)
async def test_what_is_no_picture_of_the_web_has_no_thumbnail(data: bytes) -> None:
    async def read() -> bytes:
        return data

    with structlog.testing.capture_logs() as logs:
        assert await Pictures().shrink(read) is None
    assert [each["event"] for each in logs] == ["no_thumbnail"]


async def test_a_store_that_is_away_is_told_and_is_no_defect_of_the_picture() -> None:
    answers: list[bytes | Unavailable] = [Unavailable(retry_after=1), picture()]

    async def read() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    made = Pictures()
    with pytest.raises(Unavailable):
        await made.shrink(read)
    assert await made.shrink(read) is not None


async def test_who_waits_too_long_for_a_thumbnail_has_none(mock_clock: MockClock) -> None:
    async def read() -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    made = Pictures()
    answers: list[object] = []

    async def ask() -> None:
        answers.append(await made.shrink(read))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(pictures.TIMEOUT - 0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        mock_clock.jump(0.1)
    assert answers == [None, None]
