"""Work that a cancellation must wait for: a commit in progress, a thread that uses a file."""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def run_to_completion(work: Awaitable[T]) -> T:
    """Await `work` even if this task is cancelled meanwhile; raise the cancellation afterwards.

    Also if `work` fails: a task that catches its errors would otherwise continue uncancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise cancelled from task.exception()
