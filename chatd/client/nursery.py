"""A nursery that is an implementation detail of a context manager."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_private_nursery() -> AsyncIterator[trio.Nursery]:
    """Run tasks for the length of the block, then cancel them; keep the block's exception bare.

    Whoever writes `async with client.connect()` does not see the nursery inside, so that a
    `ClientError` of the block arrives as itself and not in a group. Several exceptions at once
    stay a group.
    """
    alone: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        alone = group.exceptions[0]
    if alone is not None:
        raise alone  # outside the handler: the group must not become its own member's context
