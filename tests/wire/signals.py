"""Waiting for a condition that other code makes true."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds until a test that waits has failed, on a busy machine too."""


class Signal:
    """Wakes those who wait for a condition each time that something changed."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def until(
        self, condition: Callable[[], T | None], within: float, otherwise: Callable[[], str]
    ) -> T:
        """Wait for the first result of the condition that is neither None nor False.

        Raises TimeoutError with the text of `otherwise` after `within` seconds of real time.
        """
        try:
            async with asyncio.timeout(within):
                while (found := condition()) is None or found is False:
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.add(future)
                    try:
                        await future
                    finally:
                        self._waiting.discard(future)
                return found
        except TimeoutError:
            raise TimeoutError(f"not within {within} s: {otherwise()}") from None
