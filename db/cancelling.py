"""What a cancellation has to wait for: a commit under way, a thread that holds a file."""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Await `work` to its end, however often cancelled meanwhile; the cancellation comes after.

    Also where `work` fails: a task that catches its errors would run on uncancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise cancelled from task.exception()
