"""How long songs take, learnt from those that ended.

What is assumed: the logarithm of a run time is a level, plus a slope for the length, plus a slope
for the steps, plus noise; now and then a song strays (a cold start); now and then the level jumps
(another model, a slow day). All of it is learnt online (conjugate Bayesian regression; Adams and
MacKay, "Bayesian Online Changepoint Detection", 2007), from intervals: a poll shows only that a
song ended some time after the poll before.
"""

import heapq
import math
from dataclasses import dataclass
from typing import NamedTuple

PAGE_SECONDS = 11.56  # for 60 s of music in 50 steps: the API's own page
FIXED_SHARE = 0.3  # a guess at how much of it does not grow with the song; the slopes correct it

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
    """What the polls have shown of one song: it ended between two of them.

    Args:
        seconds, steps: what was requested.
        low: the song's age (seconds since the submit was accepted) when the last poll that found it
            unfinished was made; 0 if there was none.
        high: its age when the poll that found it finished was answered; `math.inf` for a song that
            was given up unfinished.

    Raises:
        ValueError: `0 <= low <= high` does not hold, `high` is 0, `low` infinite, or nothing was
            requested.
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
        doubt = _dot(x, self.along(x))
        return _dot(self.mean, x), math.sqrt(self.rate / self.shape * (1.0 + doubt))

    def after(self, x: Vector, along: Vector, seen: _Interval, weight: float) -> "_Fit":
        """Having seen a song where `predict` expected one; `weight` 0 to 1 is how much it counts.

        An interval says less than a point: the level moves as if the song had ended at its mean,
        and certainty grows by the share of the variance that it took away (moment matching).
        """
        noise, doubt = self.rate / self.shape, _dot(x, along)
        gain = 1.0 / (1.0 + doubt)
        learnt = weight * (1.0 - seen.variance)
        level, length, steps = (
            _plus(row, -learnt * gain * a, along) for row, a in zip(self.cov, along, strict=True)
        )
        square = (seen.mean**2 + seen.variance) * noise
        shape, rate = self.shape + weight / 2.0, self.rate + weight / 2.0 * square
        kept = min(1.0, MEMORY / shape)
        return _Fit(
            mean=_plus(self.mean, weight * seen.mean * math.sqrt(noise * gain), along),
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

    def along(self, x: Vector) -> Vector:
        """How the coefficients vary with such a song, in units of the noise's variance."""
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
        return survival(age / self.median, self.spread)

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


def survival(ratio: float, spread: float) -> float:
    """P(a song runs longer than `ratio` medians), the logarithm's deviation being `spread`."""
    if ratio <= 0.0:
        return 1.0
    log = math.log(ratio)
    stray = _below((STRAY_SHIFT - log) / STRAY_SPREAD)
    return (1.0 - STRAY) * _below(-log / spread) + STRAY * stray


class RunTimes:
    """How long songs take, learnt from those that ended.

    A few `_Fit`s live side by side: each song, one is born that holds that the level has just
    jumped, and all are weighed by how well they predicted the songs since.
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

    def copy(self) -> "RunTimes":
        """Another one that knows the same, to learn what may turn out differently."""
        other = RunTimes()
        other._fits = self._fits
        return other

    def learn(self, run: Run) -> None:
        """Learn from one more song. In the order in which they were submitted."""
        x = _features(run.seconds, run.steps)
        usual = math.log(page_time(run.seconds, run.steps))
        low = math.log(run.low) - usual if run.low else -math.inf
        high = math.log(run.high) - usual
        if high - low < 0.002:
            low, high = low - 0.001, high + 0.001  # a point has no probability
        best = max(self._fits, key=lambda weighted: weighted[0])[1]
        prior = [(weight * (1.0 - CHANGE), fit) for weight, fit in self._fits]
        prior.append((CHANGE, best.reopened()))
        posterior = [_updated(weight, fit, x, low, high) for weight, fit in prior]
        heaviest = heapq.nlargest(HYPOTHESES, posterior, key=lambda weighted: weighted[0])
        total = sum(weight for weight, _ in heaviest)
        self._fits = [(weight / total, fit) for weight, fit in heaviest]
        self._known.clear()

    def _mixed(self, seconds: int, steps: int) -> Expectation:
        """All fits as one: a jump that is only suspected widens the spread."""
        x = _features(seconds, steps)
        predicted = [(weight, *fit.predict(x)) for weight, fit in self._fits]
        location = sum(weight * at for weight, at, _ in predicted)
        variance = sum(
            weight * (scale**2 + (at - location) ** 2) for weight, at, scale in predicted
        )
        return Expectation(page_time(seconds, steps) * math.exp(location), math.sqrt(variance))


def _updated(weight: float, fit: _Fit, x: Vector, low: float, high: float) -> tuple[float, _Fit]:
    """The fit with the song learnt, weighed by how likely the song was by it."""
    along = fit.along(x)
    at, scale = _dot(fit.mean, x), math.sqrt(fit.rate / fit.shape * (1.0 + _dot(x, along)))
    freedom = 2.0 * fit.shape
    z = (low - at) / scale, (high - at) / scale
    usual = (1.0 - STRAY) * _within(_as_normal(z[0], freedom), _as_normal(z[1], freedom))
    away = at + STRAY_SHIFT
    stray = STRAY * _within((low - away) / STRAY_SPREAD, (high - away) / STRAY_SPREAD)
    likely = max(usual + stray, 1e-300)
    return weight * likely, fit.after(x, along, _censored(*z), usual / likely)
