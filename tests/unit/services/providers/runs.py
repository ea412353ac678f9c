"""Run times of songs, as polls have seen them."""

import math
import random
from collections.abc import Iterator

from services.providers.run_times import Run


def run_times(median: float, sigma: float = 0.25, seed: int = 1) -> Iterator[float]:
    chance = random.Random(seed)
    while True:
        yield median * math.exp(sigma * chance.gauss(0.0, 1.0))


def seen(took: float, *, seconds: int = 60, steps: int = 50, gap: float = 1.0) -> Run:
    """As two polls around its end, `gap` apart, have seen it."""
    low = took // gap * gap
    return Run(seconds, steps, low, low + gap)
