"""Repeat what fails, with growing delays."""

import asyncio
import itertools
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]
Errors = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that double up to `longest`, with jitter: half to all of each."""

    first: float = 1.0
    longest: float = 60.0

    def pause(self, failures: int) -> float:
        """Return how long to wait after `failures` in a row, 1 or more."""
        nominal = min(self.longest, self.first * 2.0 ** min(failures - 1, 32))
        return nominal * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


async def retry(
    work: Callable[[], Awaitable[T]],
    errors: Errors,
    on_error: Callable[[Exception, float], Awaitable[object]],
    *,
    backoff: Backoff = Backoff(),
    at_least: Callable[[Exception], float] = lambda _: 0.0,
    tries: float = math.inf,
    sleep: Sleep | None = None,
) -> T:
    """Call `work` until it raises none of `errors`, and return its result.

    `on_error` gets each error and the seconds until the next call; it gives up by raising.
    `at_least`: seconds that the other side requested in its error. `tries`: calls at most, after
    which the last error is raised.
    """
    for failures in itertools.count(1):
        try:
            return await work()
        except errors as error:
            pause = max(backoff.pause(failures), at_least(error))
            await on_error(error, pause)
            if failures >= tries:
                raise
        await (sleep or asyncio.sleep)(pause)
    raise AssertionError("itertools.count ended")
