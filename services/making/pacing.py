"""When to look again, within the account's requests a minute.

Three parts. `RequestBudget` lets no more calls out than the account has. `RunTimes` learns how long
songs take. `Pacer` weighs, for one song, the price of a look against the seconds a song would lie
finished and unseen, and says when to look.

What is assumed: the logarithm of a run time is a level, plus a slope for the length, plus a slope
for the steps, plus noise; now and then a song strays (a cold start); now and then the level jumps
(another model, a slow day). All of it is learnt online (conjugate Bayesian regression; Adams and
MacKay, "Bayesian Online Changepoint Detection", 2007), from intervals: a look tells only that a
song ended some time after the look before.
"""

import asyncio
import heapq
import itertools
import math
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

# --- the account's requests a minute --------------------------------------------------------------

WINDOW = 60.0
MARGIN = 0.5
"""Seconds a call keeps its place beyond the minute: two calls reach the server closer together than
they were sent, by as much as the first was slower on its way. With 20 to 120 ms on the wire each
way, 0 had 30 calls of 1,240 refused and 0.1 none (`python -m benchmarks.pacing`)."""

SPURT, SPURT_FILL = 6.0, 0.5
"""In a minute fuller than `SPURT_FILL` a submit also has to fit into its last `SPURT` seconds, at
the limit's own pace. Else the songs of a crowd come in bursts: the minute is used up halfway, and
their looks wait for its other half."""

GRAIN = 0.001  # seconds; a timer may fire this much early, which MARGIN covers
SHORTEST_REFUSAL, LONGEST_REFUSAL = 1.0, 900.0


class Call(IntEnum):
    """What a call is for; where places are short, the lower number goes first.

    A result ends a song and frees its slot; a look that is due is already late; a submit only
    brings more calls.
    """

    RESULT = 0
    LOOK = 1
    SUBMIT = 2


class RequestBudget:
    """The account's requests a minute, shared by every call. For one event loop.

    No more than `per_minute` calls are let through in any `WINDOW` (a sliding one, the strictest
    reading of "a minute").

    Args:
        per_minute: the account's limit, 1 or more.
        clock: seconds that never go back; only differences count.
        full: count the last minute as full, since a process that was just restarted can't know what
            it sent. Its calls are taken to be spread evenly, so that a place comes free every
            `60 / per_minute` seconds from the start on, instead of none for a minute and then all.

    Raises:
        ValueError: `per_minute` is less than 1.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        full: bool = False,
    ) -> None:
        if per_minute < 1:
            raise ValueError("a budget needs at least one request a minute")
        self.per_minute = per_minute
        self._clock = clock
        self._sent: deque[float] = deque()
        self._refused_until = -math.inf
        self._takers: list[tuple[Call, int, asyncio.Future[float]]] = []
        self._waiting = 0
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        if full:
            now, gap = clock(), WINDOW / per_minute
            self._sent.extend(now - MARGIN - gap * (k + 0.5) for k in reversed(range(per_minute)))

    @property
    def fill(self) -> float:
        """How full the minute is: 0 is empty, 1 is full, more when calls wait for a place."""
        now = self._clock()
        self._forget(now)
        used = self.per_minute if now < self._refused_until else len(self._sent)
        return (used + self._waiting) / self.per_minute

    async def take(self, call: Call = Call.LOOK) -> None:
        """Wait for a place in the minute and use it: the call has to be made at once.

        Equals are served in order. A cancelled taker uses no place.
        """
        taker: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._takers, (call, next(self._order), taker))
        self._waiting += 1
        self._serve()
        try:
            await taker
        except asyncio.CancelledError:
            if taker.cancelled():
                self._waiting -= 1
            else:
                # Served and cancelled in the same turn of the loop: the call will not be made.
                self._sent.remove(taker.result())
                self._serve()
            raise

    def refused(self, retry_after: float) -> None:
        """A 429 came in: let nobody call for `retry_after` seconds.

        What makes no sense is bounded to `SHORTEST_REFUSAL` and `LONGEST_REFUSAL`: a server that
        answers "0" must not be hammered, one that answers "a year" must not stop the bot for good.
        """
        pause = SHORTEST_REFUSAL if math.isnan(retry_after) else retry_after
        pause = min(max(pause, SHORTEST_REFUSAL), LONGEST_REFUSAL)
        self._refused_until = max(self._refused_until, self._clock() + pause)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] + WINDOW + MARGIN - now <= GRAIN:
            self._sent.popleft()

    def _free_in(self, now: float, call: Call) -> float:
        """Seconds until the next call, being `call`, may go; 0 or more than `GRAIN`."""
        self._forget(now)
        wait = self._refused_until - now
        if len(self._sent) >= self.per_minute:
            wait = max(wait, self._sent[0] + WINDOW + MARGIN - now)
        elif call is Call.SUBMIT and len(self._sent) > SPURT_FILL * self.per_minute:
            spurt = max(int(self.per_minute * SPURT / WINDOW), 1)
            wait = max(wait, self._sent[-spurt] + SPURT - now)
        return wait if wait > GRAIN else 0.0

    def _serve(self) -> None:
        """Give every free place to the first in line, and come back when the next comes free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._takers:
            call, _, taker = self._takers[0]
            if not taker.done():
                now = self._clock()
                if (wait := self._free_in(now, call)) > 0.0:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._serve)
                    return
                self._sent.append(now)
                self._waiting -= 1
                taker.set_result(now)
            heapq.heappop(self._takers)


# --- how long songs take --------------------------------------------------------------------------

PAGE_SECONDS = 11.56  # for 60 s of music in 50 steps: the API's own page
FIXED_SHARE = 0.3  # a guess at how much of it does not grow with the song; the slopes mend it

NOISE = 0.25  # standard deviation of the logarithm of a run time, before anything is learnt
LEVEL_DOUBT, SLOPE_DOUBT = 0.4, 0.4  # likewise of the level and of each slope
DRIFT = 0.025  # what the level may move from song to song, as a share of the noise: a slow day
CHANGE, JUMP = 0.005, 0.6  # how often the level jumps, and how far: another model
STRAY = 0.03  # how often a song strays: a cold start ...
STRAY_SHIFT, STRAY_SPREAD = 1.5, 1.2  # ... then it takes e**1.5 times as long, give or take
NEW_SHAPE, MEMORY = 3.0, 30.0  # half the songs the noise is known from: at first, and at most
HYPOTHESES = 10


@dataclass(frozen=True, slots=True)
class Run:
    """What the looks have told about one song: it ended between two of them.

    Args:
        seconds, steps: what was asked for.
        low: the song's age (seconds since the submit was accepted) when the last look that found it
            unfinished was made; 0 if there was none.
        high: its age when the look that found it finished was answered; `math.inf` for a song that
            was given up unfinished.

    Raises:
        ValueError: `0 <= low <= high` does not hold, `high` is 0, `low` infinite, or nothing was
            asked for.
    """

    seconds: int
    steps: int
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.seconds < 1 or self.steps < 1 or not self._possible:
            raise ValueError(f"not a run: {self}")

    @property
    def _possible(self) -> bool:
        return 0.0 <= self.low <= self.high and self.low < math.inf and self.high > 0.0


def page_time(seconds: int, steps: int) -> float:
    """Seconds a song is expected to take before anything is learnt."""
    return PAGE_SECONDS * (FIXED_SHARE + (1.0 - FIXED_SHARE) * seconds * steps / (60 * 50))


Vector = tuple[float, float, float]


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _plus(a: Vector, factor: float, b: Vector) -> Vector:
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]


def _features(seconds: int, steps: int) -> Vector:
    return 1.0, math.log(seconds / 60), math.log(steps / 50)


class _Interval(NamedTuple):
    """Where a normal variable is known to be: its mean and variance there, in its own units."""

    mean: float
    variance: float


def _below(z: float) -> float:
    """P(Z < z) of a standard normal variable."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _within(low: float, high: float) -> float:
    """P(low < Z < high), without losing the far tails to rounding."""
    return _below(high) - _below(low) if low < 0.0 else _below(-low) - _below(-high)


def _as_normal(t: float, freedom: float) -> float:
    """The normal quantile of a Student-t one (Wallace 1959; good to 0.02 from 3 degrees on)."""
    if math.isinf(t):
        return t
    scale = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    return math.copysign(scale * math.sqrt(freedom * math.log1p(t * t / freedom)), t)


def _censored(low: float, high: float) -> _Interval:
    """Moments of a standard normal variable known to lie between `low` and `high`."""
    mass = _within(low, high)
    if mass < 1e-12:
        return _Interval(low if low > 0.0 else high, 0.0)
    at_low, at_high = _density(low), _density(high)
    mean = (at_low - at_high) / mass
    pull = (low * at_low if at_low else 0.0) - (high * at_high if at_high else 0.0)
    return _Interval(mean, min(max(1.0 + pull / mass - mean * mean, 0.0), 1.0))


def _density(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class _Fit:
    """One belief about log(run time / page_time): normal-inverse-gamma over a linear model.

    `cov` is in units of the noise's variance, which is about `rate / shape`.
    """

    mean: Vector
    cov: tuple[Vector, Vector, Vector]
    shape: float
    rate: float

    def predict(self, x: Vector) -> tuple[float, float]:
        """Location and scale of the next song's logarithm, relative to the page's."""
        spread = _dot(x, self._along(x))
        return _dot(self.mean, x), math.sqrt(self.rate / self.shape * (1.0 + spread))

    def after(self, x: Vector, seen: _Interval, weight: float) -> "_Fit":
        """Having seen a song where `predict` expected one; `weight` 0 to 1 is how much it counts.

        An interval tells less than a point: the step goes to its mean, and certainty grows by the
        share of the variance that it took away (Fisher scoring).
        """
        _, scale = self.predict(x)
        along = self._along(x)
        told = weight * (1.0 - seen.variance)
        gain = 1.0 / (1.0 + told * _dot(x, along))
        level, length, steps = (
            _plus(row, -told * gain * a, along) for row, a in zip(self.cov, along, strict=True)
        )
        square = (seen.mean**2 + seen.variance) * self.rate / self.shape
        shape, rate = self.shape + weight / 2.0, self.rate + weight / 2.0 * square
        kept = min(1.0, MEMORY / shape)
        return _Fit(
            mean=_plus(self.mean, weight * seen.mean * scale * gain, along),
            cov=(_plus(level, DRIFT**2, (1.0, 0.0, 0.0)), length, steps),
            shape=shape * kept,
            rate=rate * kept,
        )

    def reopened(self) -> "_Fit":
        """The level may have jumped, and the noise may have changed; the slopes are kept."""
        level, length, steps = self.cov
        kept = min(1.0, NEW_SHAPE / self.shape)
        return _Fit(
            mean=self.mean,
            cov=(_plus(level, (JUMP / NOISE) ** 2, (1.0, 0.0, 0.0)), length, steps),
            shape=self.shape * kept,
            rate=self.rate * kept,
        )

    def _along(self, x: Vector) -> Vector:
        return _dot(self.cov[0], x), _dot(self.cov[1], x), _dot(self.cov[2], x)


def _unlearnt() -> _Fit:
    level, slope = (LEVEL_DOUBT / NOISE) ** 2, (SLOPE_DOUBT / NOISE) ** 2
    return _Fit(
        mean=(0.0, 0.0, 0.0),
        cov=((level, 0.0, 0.0), (0.0, slope, 0.0), (0.0, 0.0, slope)),
        shape=NEW_SHAPE,
        rate=NEW_SHAPE * NOISE**2,
    )


class Expectation(NamedTuple):
    """A song's run time: log-normal around `median` seconds, `spread` its logarithm's deviation.

    A share `STRAY` of the songs takes longer; see `survival`.
    """

    median: float
    spread: float

    def survival(self, age: float) -> float:
        """P(the song runs longer than `age` seconds)."""
        return _survival(age / self.median, self.spread)

    def remaining(self, age: float) -> float:
        """Seconds that a song unfinished at `age` will still take, as likely more as less."""
        target = self.survival(age) * self.survival(self.median)
        low, high = age, max(age, self.median)
        while self.survival(high) > target:
            low, high = high, 2.0 * high
        for _ in range(40):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.survival(middle) > target else (low, middle)
        return high - age


def _survival(ratio: float, spread: float) -> float:
    if ratio <= 0.0:
        return 1.0
    log = math.log(ratio)
    stray = _below((STRAY_SHIFT - log) / STRAY_SPREAD)
    return (1.0 - STRAY) * _below(-log / spread) + STRAY * stray


class RunTimes:
    """How long songs take, learnt from those that ended.

    A few `_Fit`s live side by side: each song, one is born that holds that the level has just
    jumped, and all are weighed by how well they foretold the songs since.
    """

    def __init__(self) -> None:
        self._fits = [(1.0, _unlearnt())]
        self._known: dict[tuple[int, int], Expectation] = {}

    def expect(self, seconds: int, steps: int) -> Expectation:
        """What is known of a song of this length and these steps."""
        key = seconds, steps
        if key not in self._known:
            self._known[key] = self._mixed(seconds, steps)
        return self._known[key]

    def learn(self, run: Run) -> None:
        """Take in a song that ended. In the order in which they ended."""
        x = _features(run.seconds, run.steps)
        usual = math.log(page_time(run.seconds, run.steps))
        low = math.log(run.low) - usual if run.low else -math.inf
        high = math.log(run.high) - usual
        if high - low < 0.002:
            low, high = low - 0.001, high + 0.001  # a point has no probability
        best = max(self._fits, key=lambda weighted: weighted[0])[1]
        prior = [(weight * (1.0 - CHANGE), fit) for weight, fit in self._fits]
        prior.append((CHANGE, best.reopened()))
        posterior = [_judged(weight, fit, x, low, high) for weight, fit in prior]
        heaviest = heapq.nlargest(HYPOTHESES, posterior, key=lambda weighted: weighted[0])
        total = sum(weight for weight, _ in heaviest)
        self._fits = [(weight / total, fit) for weight, fit in heaviest]
        self._known.clear()

    def _mixed(self, seconds: int, steps: int) -> Expectation:
        """All fits as one: a jump that is only suspected widens the spread."""
        x = _features(seconds, steps)
        told = [(weight, *fit.predict(x)) for weight, fit in self._fits]
        location = sum(weight * at for weight, at, _ in told)
        variance = sum(weight * (scale**2 + (at - location) ** 2) for weight, at, scale in told)
        return Expectation(page_time(seconds, steps) * math.exp(location), math.sqrt(variance))


def _judged(weight: float, fit: _Fit, x: Vector, low: float, high: float) -> tuple[float, _Fit]:
    """The fit with the song learnt, weighed by how likely it had held the song to be."""
    at, scale = fit.predict(x)
    freedom = 2.0 * fit.shape
    z = (low - at) / scale, (high - at) / scale
    usual = (1.0 - STRAY) * _within(_as_normal(z[0], freedom), _as_normal(z[1], freedom))
    away = at + STRAY_SHIFT
    stray = STRAY * _within((low - away) / STRAY_SPREAD, (high - away) / STRAY_SPREAD)
    likely = max(usual + stray, 1e-300)
    return weight * likely, fit.after(x, _censored(*z), usual / likely)


# --- when to look ---------------------------------------------------------------------------------

CHEAPEST = 0.08
"""Seconds of lateness that a look is worth while the minute is empty."""
EARLY_LOOKS = (2.0, 6.0, 18.0)  # ages at which PROCESSING is looked for, until it was seen
EARLY_FILL = 0.3  # while the minute is no fuller than this
SHORTEST_GAP, LONGEST_GAP = 0.25, 20.0  # seconds between looks; the latter past the median
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
    alive = [_survival(age, spread) for age in ages]
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
        `SHORTEST_GAP` at least and, past the expected time, by `LONGEST_GAP` at most. The last
        look before `DEADLINE` is at it.

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
            look = min(look, age + LONGEST_GAP)
        if not processing and not waiting and fill <= EARLY_FILL:
            early = next((early for early in EARLY_LOOKS if early >= age + 1.0), math.inf)
            look = early if early <= look - 1.0 else look
        look = max(look, age + SHORTEST_GAP)
        return min(look, DEADLINE) if age < DEADLINE else age + LONGEST_GAP
