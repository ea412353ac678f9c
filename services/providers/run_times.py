"""How long songs take, learnt from those that ended.

The model: the logarithm of a run time is a level, plus a slope for the length, plus a slope for the
steps, plus noise; now and then a song strays (a cold start); now and then the level jumps (another
model, a slow day). All of it is learnt online (conjugate Bayesian regression; Adams and MacKay,
"Bayesian Online Changepoint Detection", 2007), from intervals: a poll shows only that a song ended
some time after the poll before.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

PAGE_SECONDS = 11.56  # for 60 s of music in 50 steps: the API's own page
FIXED_SHARE = 0.3  # a guess at how much of it does not grow with the song; the slopes correct it

NOISE = 0.25  # standard deviation of the logarithm of a run time, before anything is learnt
LEVEL_DOUBT, SLOPE_DOUBT = 0.4, 0.4  # likewise of the level and of each slope
DRIFT = 0.025  # what the level may move from song to song, as a share of the noise: a slow day
CHANGE, JUMP = 0.005, 0.6  # the odds that the level jumps, and how far: another model
STRAY = 0.03  # how often a song strays: a cold start ...
STRAY_SHIFT, STRAY_SPREAD = 1.5, 1.2  # ... then it takes e**1.5 times as long, give or take
NEW_SHAPE, MEMORY = 3.0, 30.0  # half the songs the noise is known from: at first, and at most
_STRAY_MEAN = math.exp(STRAY_SHIFT + STRAY_SPREAD**2 / 2.0)
HYPOTHESES = 10

MOST_FOLLOWED = 64
"""Songs that are followed at once; those submitted beyond them teach nothing. Which these are does
not depend on their length, so nothing is distorted."""
OVERDUE = 2.5
"""Deviations above the median from which on the first song is not waited for: what it has run so
far is learnt instead of its end, as of a cold start or a song that the API has forgotten."""
PAUSE = 1.0
"""Seconds between provisional counts: one takes about 0.1 ms for each song that is followed."""

Vector = tuple[float, float, float]


class Run(NamedTuple):
    """What the polls have shown of one song: it ended between two of them.

    Ages are in seconds since the submit was accepted.
    """

    seconds: int
    """`seconds` and `steps`: what was requested."""
    steps: int
    low: float
    """The age at the last poll that found it unfinished; 0 if there was none."""
    high: float
    """The age when the poll that found it finished was answered; `math.inf` if there is none."""

    @property
    def possible(self) -> bool:
        """Return False where a clock was set back between the polls."""
        return 0.0 <= self.low <= self.high and self.low < math.inf and self.high > 0.0


def page_time(seconds: int, steps: int) -> float:
    """Seconds that a song is expected to take before anything is learnt."""
    return PAGE_SECONDS * (FIXED_SHARE + (1.0 - FIXED_SHARE) * seconds * steps / (60 * 50))


class Expectation(NamedTuple):
    """A song's run time: log-normal around `median` seconds, `spread` its logarithm's deviation.

    A share `STRAY` of the songs takes longer.
    """

    median: float
    spread: float

    def survival(self, age: float) -> float:
        """Return P(the song runs longer than `age` seconds)."""
        if age <= 0.0:
            return 1.0
        log = math.log(age / self.median)
        stray = _below((STRAY_SHIFT - log) / STRAY_SPREAD)
        return (1.0 - STRAY) * _below(-log / self.spread) + STRAY * stray

    def time_of_ended(self, age: float) -> float:
        """Return the mean run time of songs that end before `age`, as a share of all songs'."""
        if age <= 0.0:
            return 0.0
        log = math.log(age / self.median)
        usual = math.exp(self.spread**2 / 2.0) * _below(log / self.spread - self.spread)
        stray = _STRAY_MEAN * _below((log - STRAY_SHIFT) / STRAY_SPREAD - STRAY_SPREAD)
        return self.median * ((1.0 - STRAY) * usual + STRAY * stray)

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


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _add(a: Vector, factor: float, b: Vector) -> Vector:
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]


def _features(seconds: int, steps: int) -> Vector:
    return 1.0, math.log(seconds / 60), math.log(steps / 50)


def _below(z: float) -> float:
    """P(Z < z) of a standard normal variable."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _within(low: float, high: float) -> float:
    """P(low < Z < high), without losing the far tails to rounding."""
    return _below(high) - _below(low) if low < 0.0 else _below(-low) - _below(-high)


def _density(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def _as_normal(t: float, freedom: float) -> float:
    """Return the normal quantile of a Student-t one (Wallace 1959; good to 0.02 from 3 degrees)."""
    if math.isinf(t):
        return t
    scale = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    return math.copysign(scale * math.sqrt(freedom * math.log1p(t * t / freedom)), t)


def _moments(low: float, high: float) -> tuple[float, float]:
    """Mean and variance of a standard normal variable known to lie between `low` and `high`."""
    mass = _within(low, high)
    if mass < 1e-12:
        return (low if low > 0.0 else high), 0.0
    at_low, at_high = _density(low), _density(high)
    mean = (at_low - at_high) / mass
    pull = (low * at_low if at_low else 0.0) - (high * at_high if at_high else 0.0)
    return mean, min(max(1.0 + pull / mass - mean * mean, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class _Fit:
    """One belief about log(run time / page_time), and its weight among the others.

    It is normal-inverse-gamma over a linear model. `cov` is in units of the noise's variance, which
    is about `rate / shape`.
    """

    weight: float = 1.0
    mean: Vector = (0.0, 0.0, 0.0)
    cov: tuple[Vector, Vector, Vector] = (
        ((LEVEL_DOUBT / NOISE) ** 2, 0.0, 0.0),
        (0.0, (SLOPE_DOUBT / NOISE) ** 2, 0.0),
        (0.0, 0.0, (SLOPE_DOUBT / NOISE) ** 2),
    )
    shape: float = NEW_SHAPE
    rate: float = NEW_SHAPE * NOISE**2

    def predict(self, x: Vector) -> tuple[float, float, Vector]:
        """Location and scale of such a song's logarithm, and how the coefficients vary with it."""
        along = _dot(self.cov[0], x), _dot(self.cov[1], x), _dot(self.cov[2], x)
        scale = math.sqrt(self.rate / self.shape * (1.0 + _dot(x, along)))
        return _dot(self.mean, x), scale, along

    def after(self, x: Vector, low: float, high: float) -> "_Fit":
        """Learn a song between `low` and `high`; the weight becomes how likely it was.

        An interval says less than a point: the level moves as if the song had ended at its mean,
        and certainty grows by the share of the variance that it took away (moment matching).
        """
        at, scale, along = self.predict(x)
        z_low, z_high, freedom = (low - at) / scale, (high - at) / scale, 2.0 * self.shape
        usual = (1.0 - STRAY) * _within(_as_normal(z_low, freedom), _as_normal(z_high, freedom))
        away = at + STRAY_SHIFT
        stray = STRAY * _within((low - away) / STRAY_SPREAD, (high - away) / STRAY_SPREAD)
        likely = max(usual + stray, 1e-300)
        counts = usual / likely
        mean, variance = _moments(z_low, z_high)
        noise, gain = self.rate / self.shape, 1.0 / (1.0 + _dot(x, along))
        learnt = -counts * (1.0 - variance) * gain
        level, length, steps = self.cov
        return _Fit(
            weight=self.weight * likely,
            mean=_add(self.mean, counts * mean * math.sqrt(noise * gain), along),
            cov=(
                _add(level, learnt * along[0], along),
                _add(length, learnt * along[1], along),
                _add(steps, learnt * along[2], along),
            ),
            shape=self.shape + counts / 2.0,
            rate=self.rate + counts / 2.0 * (mean**2 + variance) * noise,
        ).loosened(DRIFT**2, MEMORY)

    def loosened(self, level: float, shape: float) -> "_Fit":
        """Let the level vary by so much more, and know the noise from no more than `shape`."""
        known = min(1.0, shape / self.shape)
        first, length, steps = self.cov
        cov = (_add(first, level, (1.0, 0.0, 0.0)), length, steps)
        return _Fit(self.weight, self.mean, cov, self.shape * known, self.rate * known)


class RunTimes:
    """How long songs take, learnt from those that ended.

    Several `_Fit`s compete: with each song, one is added that holds that the level has just jumped,
    and all are weighed by how well they predicted the songs since.
    """

    def __init__(self, fits: tuple[_Fit, ...] = (_Fit(),)) -> None:
        self.fits = fits
        self._expected: dict[tuple[int, int], Expectation] = {}

    def expect(self, seconds: int, steps: int) -> Expectation:
        """Return what is known of a song of this length and these steps.

        It is all fits as one: a jump that is only suspected widens the spread.
        """
        if (seconds, steps) not in self._expected:
            x = _features(seconds, steps)
            predicted = [(fit.weight, *fit.predict(x)) for fit in self.fits]
            location = sum(weight * at for weight, at, *_ in predicted)
            variance = sum(w * (scale**2 + (at - location) ** 2) for w, at, scale, _ in predicted)
            median = page_time(seconds, steps) * math.exp(location)
            self._expected[seconds, steps] = Expectation(median, math.sqrt(variance))
        return self._expected[seconds, steps]

    def learn(self, run: Run) -> None:
        """Learn from one more song, in the order in which they were submitted.

        Raises:
            ValueError: it is not possible, or nothing was requested.
        """
        if run.seconds < 1 or run.steps < 1 or not run.possible:
            raise ValueError(f"not a run: {run}")
        if run.low == 0.0 and run.high == math.inf:
            return  # nothing is known of it yet
        x = _features(run.seconds, run.steps)
        usual = math.log(page_time(run.seconds, run.steps))
        low = math.log(run.low) - usual if run.low else -math.inf
        high = math.log(run.high) - usual
        if high - low < 0.002:
            low, high = low - 0.001, high + 0.001  # a point has no probability
        by_weight = attrgetter("weight")
        best = max(self.fits, key=by_weight)
        jumped = replace(best, weight=CHANGE).loosened((JUMP / NOISE) ** 2, NEW_SHAPE)
        posterior = [fit.after(x, low, high) for fit in (*self.fits, jumped)]
        heaviest = heapq.nlargest(HYPOTHESES, posterior, key=by_weight)
        total = sum(fit.weight for fit in heaviest)
        self.fits = tuple(replace(fit, weight=fit.weight / total) for fit in heaviest)
        self._expected.clear()


class Learner:
    """What is known of run times, with songs that still run.

    Songs that were submitted together end in the order of their length. Learnt in that order they
    would look like an API that gets slower from song to song. So they are learnt in the order of
    their submits. Until the earlier ones have ended, all that is known of the later ones counts
    provisionally, and a song that still runs counts as one that takes longer than it has run so far
    (a right-censored observation).

    Args:
        runs: songs that ended earlier, in the order in which they were submitted.
        clock: seconds that never go back; only differences count.
    """

    def __init__(self, runs: Iterable[Run], *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._settled = RunTimes()
        for run in runs:
            self._settled.learn(run)
        # In the order of their submits, until they are settled; `high` is infinite while one runs.
        self._followed: dict[int, Run] = {}
        self._provisional = self._settled
        self._stale, self._counted_at = False, -math.inf

    def expect(self, seconds: int, steps: int) -> Expectation:
        """Return what is known of a song, counting what is not settled once in `PAUSE` at most."""
        if self._stale and not self._followed:
            self._provisional, self._stale = self._settled, False
        elif self._stale and (now := self._clock()) - self._counted_at >= PAUSE:
            self._provisional = RunTimes(self._settled.fits)
            for run in self._followed.values():
                self._provisional.learn(run)
            self._stale, self._counted_at = False, now
        return self._provisional.expect(seconds, steps)

    def submitted(self, song_id: int, *, seconds: int, steps: int) -> None:
        """Follow a song that was just submitted."""
        if len(self._followed) < MOST_FOLLOWED:
            self._followed[song_id] = Run(seconds, steps, 0.0, math.inf)

    def unfinished(self, song_id: int, *, age: float) -> None:
        """Note that a song was still running at this age, in seconds since it was submitted."""
        if run := self._running(song_id):
            self._followed[song_id] = run._replace(low=max(age, 0.0))
            self._settle()

    def ended(self, song_id: int, *, low: float, high: float) -> None:
        """Note that a song was made; see `Run` for `low` and `high`.

        Nothing is learnt from an impossible interval: a clock was set back.
        """
        run = self._running(song_id)
        if run and (ended := run._replace(low=low, high=high)).possible:
            self._followed[song_id] = ended
            self._settle()

    def dropped(self, song_id: int) -> None:
        """Forget a song that will never be made; one that ended counts."""
        if self._running(song_id):
            del self._followed[song_id]
            self._settle()

    def _running(self, song_id: int) -> Run | None:
        run = self._followed.get(song_id)
        return run if run and run.high == math.inf else None

    def _settle(self) -> None:
        """Learn the first songs, as far as nothing is to be waited for."""
        for song_id, run in list(self._followed.items()):
            if run.high == math.inf:
                expected = self.expect(run.seconds, run.steps)
                if run.low <= expected.median * math.exp(OVERDUE * expected.spread):
                    break
            self._settled.learn(run)
            del self._followed[song_id]
        self._stale = True
