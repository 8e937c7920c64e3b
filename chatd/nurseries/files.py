"""Files, opened: where their bytes lie by the settings, who makes thumbnails, who sweeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

import trio

from chatd.blobs import Blobs, Files
from chatd.config import Settings
from chatd.contract import Store
from chatd.keys import SigningKey
from chatd.links import Links
from chatd.nurseries.disk import Disk
from chatd.nurseries.file_sweeper import FileSweeper
from chatd.nurseries.local_blobs import LocalBlobs
from chatd.pictures import Pictures

FOLDER = "files"  # in the data folder


@asynccontextmanager
async def open_files(
    settings: Settings,
    store: Store,
    keys: Sequence[SigningKey],
    now: Callable[[], datetime],
    *,
    is_alone: bool = True,
) -> AsyncIterator[Files | None]:
    """Have files for the length of the block, None where the settings say off.

    Args:
        is_alone: the data folder is this process's; else what stands there half is another's.

    Raises:
        SettingsError: files=s3 without botocore.
    """
    if settings.files == "off":
        yield None
        return
    async with _open_blobs(settings, keys, now) as blobs, trio.open_nursery() as nursery:
        if is_alone:
            await blobs.clean(is_shared=settings.redis_url is not None)
        patience = timedelta(seconds=settings.upload_patience)
        sweeper = FileSweeper(store, blobs, patience, now)
        nursery.start_soon(sweeper.run)
        yield Files(blobs, Pictures(), sweeper.wake)
        nursery.cancel_scope.cancel(reason="the daemon stops")


async def clean_files(settings: Settings) -> None:
    """Delete what broken uploads of an earlier start have left in the data folder."""
    if settings.files == "local":
        disk = Disk(settings.data_dir / FOLDER)
        await disk.run(partial(disk.delete_parts, is_shared=settings.redis_url is not None))


@asynccontextmanager
async def _open_blobs(
    settings: Settings, keys: Sequence[SigningKey], now: Callable[[], datetime]
) -> AsyncIterator[Blobs]:
    if settings.files == "local":
        yield LocalBlobs(Disk(settings.data_dir / FOLDER), Links(keys), settings, now)
        return
    from chatd.nurseries.s3_blobs import open_s3  # noqa: PLC0415 - others do not pay for it

    async with open_s3(settings, now) as blobs:
        yield blobs
