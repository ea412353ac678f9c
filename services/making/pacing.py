"""When to look again: the price of a look against the seconds a song would lie unseen.

The price comes from how full the account's minute is (`request_budget`), the seconds from how long
songs take (`run_times`).
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from services.making.request_budget import WINDOW, RequestBudget
from services.making.run_times import Run, RunTimes, survival

CHEAPEST = 0.08
"""Seconds of lateness that a look is worth while the minute is empty."""
EARLY_LOOKS = (2.0, 6.0, 18.0)  # ages at which PROCESSING is looked for, until it was seen
EARLY_FILL = 0.3  # while the minute is no fuller than this
SHORTEST_GAP, LONGEST_GAP = 0.25, 20.0  # seconds between looks; the latter past the median
LOST = 8.0
"""From so many medians on a song that is not done may be one that the API has forgotten. Where
others wait to be submitted it is looked at once a minute: 17 looked at every `LONGEST_GAP` would
fill a minute of 50, and nothing would be submitted until they are given up."""
FAR, FAR_GAP = 2.0, 0.1  # from so many medians on, gaps of at least this share of the age
DEADLINE = 30 * 60.0  # product: a song is given up 30 min after it was submitted

PRICE_STEP, SPREAD_STEP = 1.2, 1.1  # plans are made for prices and spreads rounded to powers
PRICES, SPREADS = (0.002, 1.0), (0.05, 1.5)  # the first in units of the median


def price_of_call(*, per_minute: int, fill: float, waiting: int) -> float:
    """Seconds of lateness that one more call is worth.

    In a full minute a call delays every song that waits by `60 / per_minute` seconds; in an empty
    one it delays none, and `CHEAPEST` keeps looks from being wasted. Rises with `fill` and
    `waiting`.
    """
    pressure = min(fill, 1.5) ** 4
    return CHEAPEST + pressure * (1 + waiting) * WINDOW / per_minute


class Plan(NamedTuple):
    """A song not done at `ages[i]` is best looked at next at `then[i]`; the unit is the median."""

    ages: tuple[float, ...]
    then: tuple[float, ...]

    def after(self, age: float) -> float:
        """When to look next, between the two nearest answers."""
        i = bisect_right(self.ages, age) - 1
        if i >= len(self.ages) - 1:
            return math.inf
        share = (age - self.ages[i]) / (self.ages[i + 1] - self.ages[i])
        return self.then[i] + share * (self.then[i + 1] - self.then[i])


def plan_for(price: float, spread: float) -> Plan:
    """The looks that cost least, for a price in units of the median; from a small set made once."""
    price = min(max(price, PRICES[0]), PRICES[1])
    spread = min(max(spread, SPREADS[0]), SPREADS[1])
    return _solved(
        round(math.log(price, PRICE_STEP)),
        round(math.log(spread, SPREAD_STEP)),
    )


@lru_cache(maxsize=2048)  # more than there are: 35 prices by 37 spreads
def _solved(price_power: int, spread_power: int) -> Plan:
    """Dynamic programme: from each age, the look that minimises price * looks + lateness after it.

    The best next look never comes earlier for a later age (the lateness between two ages is a Monge
    array), so that each age searches only up to the answer of the one after it.
    """
    price, spread = PRICE_STEP**price_power, SPREAD_STEP**spread_power
    ages = tuple(_grid(spread))
    alive = [survival(age, spread) for age in ages]
    done = [0.0]  # integral of P(done by age)
    for (a, p), (b, q) in itertools.pairwise(zip(ages, alive, strict=True)):
        done.append(done[-1] + (b - a) * (1.0 - (p + q) / 2.0))
    last = len(ages) - 1
    cost, best = [0.0] * len(ages), [last] * len(ages)
    for i in range(last - 1, -1, -1):
        age, gone = ages[i], 1.0 - alive[i]
        here, until = math.inf, best[i + 1]
        for j in range(i + 1, until + 1):
            late = done[j] - done[i] - gone * (ages[j] - age)
            if late + cost[j] < here:
                here, best[i] = late + cost[j], j
        cost[i] = here + price * alive[i]
    return Plan(ages, tuple(ages[j] for j in best))


def _grid(spread: float) -> Iterator[float]:
    """Ages in medians: 0, then fine where songs end (16 to a deviation), then ever wider to 200."""
    yield 0.0
    log, step = -4.0 * spread, spread / 16.0
    while log < math.log(200.0):
        yield math.exp(log)
        if log > 4.0 * spread:
            step = min(step * 1.1, 0.1)
        log += step


class Pacer:
    """Says when to look at a song next.

    Args:
        budget: how full its minute is makes the price of a look.
        runs: the latest songs that ended, oldest first; a hundred are enough.
        waiting: how many songs wait here to be submitted.
    """

    def __init__(
        self,
        budget: RequestBudget,
        runs: Iterable[Run] = (),
        *,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self._budget = budget
        self._waiting = waiting
        self._run_times = RunTimes()
        for run in runs:
            self.learn(run)

    def learn(self, run: Run) -> None:
        """A song ended, was COMPLETED, and is known to have run for this long."""
        self._run_times.learn(run)

    def expected(self, *, seconds: int, steps: int, age: float = 0.0) -> float:
        """Seconds until a song that is unfinished at `age` will be done, as likely more as less."""
        return self._run_times.expect(seconds, steps).remaining(max(age, 0.0))

    def next_look(self, *, seconds: int, steps: int, age: float, processing: bool = False) -> float:
        """The age at which to look next at a song that was unfinished at `age`.

        Ages are in seconds since the submit was accepted. The answer is later than `age`: by
        `SHORTEST_GAP` at least and, past the expected time, by `LONGEST_GAP` at most, or a minute
        where it may be `LOST`. The last look before `DEADLINE` is at it.

        Args:
            seconds, steps: what was asked for.
            age: of the song when it was last looked at (0: not yet), or now, after a restart.
            processing: whether a look has seen it PROCESSING. If not, and the minute is nearly
                empty, it is looked at early.
        """
        age = max(age, 0.0)
        expected = self._run_times.expect(seconds, steps)
        fill, waiting = self._budget.fill, self._waiting()
        price = price_of_call(per_minute=self._budget.per_minute, fill=fill, waiting=waiting)
        plan = plan_for(price / expected.median, expected.spread)
        look = plan.after(age / expected.median) * expected.median
        if age > FAR * expected.median:
            look = max(look, age + FAR_GAP * age)
        if age >= expected.median:
            lost = waiting and age > LOST * expected.median
            look = min(look, age + (WINDOW if lost else LONGEST_GAP))
        if not processing and not waiting and fill <= EARLY_FILL:
            early = next((early for early in EARLY_LOOKS if early >= age + 1.0), math.inf)
            look = early if early <= look - 1.0 else look
        look = max(look, age + SHORTEST_GAP)
        return min(look, DEADLINE) if age < DEADLINE else age + LONGEST_GAP
