"""When to poll again: the price of a poll against the seconds that a song would lie unseen.

The price comes from how full the account's minute is (`rate_limiter`), the seconds from how long
songs take (`run_times`).
"""

import contextlib
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from services.providers.rate_limiter import (
    CALLS_A_SONG,
    CALLS_TO_COME,
    WINDOW,
    Planned,
    RateLimiter,
)
from services.providers.run_times import Expectation, Learner, Run

CHEAPEST = 0.063
"""Seconds of lateness that a poll is worth while the minute is empty."""
EARLY_POLLS = (2.0, 6.0, 18.0)  # ages at which to poll for PROCESSING, until it was seen
EARLY_FILL = 0.3  # while the minute is no fuller than this
DEAREST = 20.0
"""Seconds of lateness that a poll is worth at most: long songs would lie unseen for a minute."""
SHORTEST_GAP, LONGEST_GAP = 0.25, 20.0  # seconds between polls; the latter past the median
NEAR, NEAR_GAP = 4.0, 12.0
"""Likewise up to so many medians, where songs end that were only slower than most."""
LOST = 8.0
"""From so many medians on a song that is not done may be one that the API has forgotten. Where
others wait to be submitted it is polled once a minute: 17 polled every `LONGEST_GAP` would
fill a minute of 50, and nothing would be submitted until they are given up."""
FAR, FAR_GAP = 2.0, 0.1  # from so many medians on, gaps of at least this share of the age
AHEAD = 1.5
"""After so many medians a song was seen to be done as a rule, where calls are short. The price of a
poll is that of the minute as it is, or as it will be then with the calls of all that run."""
FINENESS = 1.05  # the gaps that are compared are each so many times as long as the one before
_GAPS = tuple(SHORTEST_GAP * FINENESS**step for step in range(180))  # to 26 minutes
NARROWEST, WIDEST = 0.05, 1.5  # the spreads that polls are planned with
USUAL = 60, 50  # seconds and steps of a song, before there was one
DEADLINE = 30 * 60.0  # product: a song is given up 30 min after it was submitted


def price_of_call(*, per_minute: int, fill: float, waiting: int) -> float:
    """Return the seconds of lateness that one more call is worth.

    In a full minute a call delays every song that waits by `60 / per_minute` seconds; in an empty
    one it delays none, and `CHEAPEST` keeps polls from being wasted. Rises with `fill` and
    `waiting`, up to `DEAREST`.
    """
    pressure = min(fill, 1.5) ** 4
    return min(CHEAPEST + pressure * (1 + waiting) * WINDOW / per_minute, DEAREST)


def best_gap(expected: Expectation, age: float, price: float) -> float:
    """Return after how many seconds to poll a song that was unfinished at `age`.

    A poll costs its price, and the seconds for which the song has been done by then; it finds the
    song if that is done. The best one costs least for each song that it finds. For songs that end
    equally often at any time this is the square-root rule; for run times as they are, it was never
    more than 0.4 % dearer than a plan of all polls by a dynamic programme (decision 0040).
    """
    spread = min(max(expected.spread, NARROWEST), WIDEST)
    expected = expected._replace(spread=spread)
    alive, before = expected.survival(age), expected.time_of_ended(age)

    def cost(gap: float) -> float:
        found = alive - expected.survival(age + gap)
        late = (age + gap) * found - (expected.time_of_ended(age + gap) - before)
        return (price * alive + late) / found if found > 0.0 else math.inf

    # It falls and then rises.
    best = bisect_left(_GAPS, True, key=lambda gap: cost(gap) < cost(gap * FINENESS))  # noqa: FBT003
    return _GAPS[min(best, len(_GAPS) - 1)]


class Pacer:
    """Says when to poll a song next.

    Args:
        rate_limiter: how full its minute is makes the price of a poll.
        runs: the latest songs that ended, in the order of their submits; a hundred are enough.
        waiting: how many songs wait here to be submitted.
        polled: whether songs take further calls after their submits. Those of v1 don't, so that
            their submits need not be held back.
    """

    def __init__(
        self,
        rate_limiter: RateLimiter,
        runs: Iterable[Run] = (),
        *,
        waiting: Callable[[], int] = lambda: 0,
        polled: bool = True,
    ) -> None:
        self._rate_limiter = rate_limiter
        self._waiting = waiting
        self._learner = Learner(runs, clock=rate_limiter.clock)
        # When a song is polled next, on the rate limiter's clock, and whether it is `LOST`.
        self._at_api: dict[int, tuple[float, bool]] = {}
        self._latest = USUAL
        if polled:
            rate_limiter.planned = self._planned

    @contextlib.contextmanager
    def submitting(self, song_id: int, *, seconds: int, steps: int) -> Iterator[None]:
        """Count the calls to come of a song whose submit has its place in the minute."""
        self._latest = seconds, steps
        self._at_api[song_id] = self._first_poll(seconds, steps), False
        try:
            yield
        finally:
            self._at_api.pop(song_id, None)

    @contextlib.contextmanager
    def running(self, song_id: int, *, seconds: int, steps: int) -> Iterator[None]:
        """Learn from a song that was just submitted; to be entered in the order of the submits."""
        self._learner.submitted(song_id, seconds=seconds, steps=steps)
        try:
            with self.submitting(song_id, seconds=seconds, steps=steps):
                yield
        finally:
            self._learner.dropped(song_id)

    def unfinished(self, song_id: int, *, age: float) -> None:
        """Learn that a song was still running at this age."""
        self._learner.unfinished(song_id, age=age)

    def ended(self, song_id: int, *, low: float, high: float) -> None:
        """Learn that a song was made; see `Run` for `low` and `high`. It takes no more polls."""
        self._at_api.pop(song_id, None)
        self._learner.ended(song_id, low=low, high=high)

    def expected(self, *, seconds: int, steps: int, age: float = 0.0) -> float:
        """Seconds until a song that is unfinished at `age` will be done, as likely more as less."""
        return self._learner.expect(seconds, steps).remaining(max(age, 0.0))

    def next_poll(
        self,
        *,
        seconds: int,
        steps: int,
        age: float,
        processing: bool = False,
        song_id: int | None = None,
    ) -> float:
        """The age at which to poll next a song that was unfinished at `age`.

        Ages are in seconds since the submit was accepted. The answer is later than `age`: by
        `SHORTEST_GAP` at least and, past the expected time, by `LONGEST_GAP` at most, or a minute
        where it may be `LOST`. The last poll before `DEADLINE` is at it.

        Args:
            seconds, steps: what was requested.
            age: of the song when it was last polled (0: not yet), or now, after a restart.
            processing: whether a poll has seen it PROCESSING. If not, and the minute is nearly
                empty, it is polled early.
            song_id: whose plan this is, if its calls are to be counted among those to come.
        """
        age = max(age, 0.0)
        expected = self._learner.expect(seconds, steps)
        waiting = self._waiting()
        lost = age > LOST * expected.median
        at = self._worth_it(expected, age, lost=lost, processing=processing, waiting=waiting)
        at = max(at, age + SHORTEST_GAP)
        at = min(at, DEADLINE) if age < DEADLINE else age + LONGEST_GAP
        if song_id in self._at_api:
            self._at_api[song_id] = self._rate_limiter.clock() + at - age, lost
        return at

    def _worth_it(
        self, expected: Expectation, age: float, *, lost: bool, processing: bool, waiting: int
    ) -> float:
        """The age at which a poll is worth its price."""
        ahead = AHEAD * expected.median
        calls = CALLS_A_SONG * len(self._at_api) * min(1.0, WINDOW / ahead)
        fill = max(self._rate_limiter.fill, self._rate_limiter.fill_ahead(ahead, calls=calls))
        price = price_of_call(per_minute=self._rate_limiter.per_minute, fill=fill, waiting=waiting)
        at = age + best_gap(expected, age, price)
        if age > FAR * expected.median:
            at = max(at, age + FAR_GAP * age)
        if age >= expected.median:
            gap = NEAR_GAP if age <= NEAR * expected.median else LONGEST_GAP
            at = min(at, age + (WINDOW if lost and waiting else gap))
        if not processing and not waiting and fill <= EARLY_FILL:
            early = next((early for early in EARLY_POLLS if early >= age + 1.0), math.inf)
            at = early if early <= at - 1.0 else at
        return at

    def _planned(self) -> list[Planned]:
        """Return the calls to come of the songs at the API, and of one more like the latest.

        Of one that is `LOST`, a poll that finds nothing new. In a minute from now on, each song
        that ends will have made room for another's submit.
        """
        soon = self._rate_limiter.clock() + WINDOW
        one_more = self._first_poll(*self._latest), False
        return [
            Planned(at, 1.0 if lost else CALLS_TO_COME if at < soon else CALLS_A_SONG)
            for at, lost in (*self._at_api.values(), one_more)
        ]

    def _first_poll(self, seconds: int, steps: int) -> float:
        """When a song that is submitted now will be polled, on the rate limiter's clock."""
        at = self.next_poll(seconds=seconds, steps=steps, age=0.0, processing=True)
        return self._rate_limiter.clock() + at
