"""Takes away files that nobody has any more: bytes first, then the row that knew of them.

What broken uploads left, what was never attached, what belonged to deleted messages, ended sessions
and erased accounts. Whatever fails, a crash included, is done again: the row stays until its bytes
have gone, and is looked at a last time when no upload to them can be under way any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
import trio

from chatd.blobs import Blobs
from chatd.contract import Store
from chatd.errors import ChatError, StoreError
from chatd.rows import SweepRow

INTERVAL = 60.0  # seconds between two looks; what is revoked wakes the sweep
BATCH = 100  # rows of one read
PAUSE = 0.02  # seconds between two files: they are in nobody's way
RETRY = timedelta(minutes=5)  # for a file that could not be deleted
# After the end of a link: most uploads are over, and the slowest (`upload_rate`).
SOON, LATE = timedelta(minutes=10), timedelta(days=1)

log = structlog.get_logger("chatd.file_sweeper")


class FileSweeper:
    """Sweeps in the background; one for a daemon.

    Args:
        patience: how long a file may be attached to nothing.
        now: wall time, UTC.
    """

    def __init__(
        self, store: Store, blobs: Blobs, patience: timedelta, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._patience = patience
        self._now = now
        self._woken = trio.Event()

    def wake(self) -> None:
        """Look soon; never waits."""
        self._woken.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                swept = await self.sweep()
            except StoreError as trouble:
                log.warning("sweep failed", error=type(trouble).__name__)
            else:
                if swept:
                    log.info("files_swept", files=swept)
            with trio.move_on_after(INTERVAL):
                await self._woken.wait()
            self._woken = trio.Event()

    async def sweep(self) -> int:
        """Look once at everything that is due; return how many files that was.

        Raises:
            StoreError: the database is away; what is left is left for the next look.
        """
        now, done = self._now(), 0
        count = BATCH
        while count == BATCH:
            count = await self._store.revoke_loose(now - self._patience, now, BATCH)
        while rows := await self._store.files_to_sweep(now, BATCH):
            for row in rows:
                await self._store.note_swept(row.id, await self._take(row, now))
                done += 1
                await trio.sleep(PAUSE)
        return done

    async def _take(self, row: SweepRow, now: datetime) -> datetime | None:
        """Delete what is to be deleted of a file; return when to look again."""
        looks = [row.upload_until + SOON, row.upload_until + LATE]
        try:
            if row.is_revoked:
                await self._blobs.delete(row.key)
            elif now >= looks[0]:
                await self._blobs.delete_upload(row.key)
        except ChatError as trouble:
            log.warning("file not deleted", file=str(row.id), error=trouble.code)
            return now + RETRY
        return next((look for look in looks if look > now), None)
