"""How long songs take: what is learnt of those that ended, and of those that still run."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.providers.run_times import (
    MOST_FOLLOWED,
    PAUSE,
    Expectation,
    Learner,
    Run,
    RunTimes,
    page_time,
)
from tests.unit.services.providers.runs import run_times, seen


def taught(runs: Iterator[float], count: int, into: RunTimes | None = None) -> RunTimes:
    learner = into or RunTimes()
    for _ in range(count):
        learner.learn(seen(next(runs)))
    return learner


class TestRunTimes:
    def test_before_anything_is_learnt_it_is_the_page_and_longer_songs_take_longer(self) -> None:
        learner = RunTimes()
        assert learner.expect(60, 50).median == pytest.approx(11.56)
        times = [learner.expect(seconds, 50).median for seconds in (10, 60, 120, 240)]
        assert times == sorted(set(times))
        times = [learner.expect(60, steps).median for steps in (10, 50, 100, 150)]
        assert times == sorted(set(times))

    @pytest.mark.parametrize("sigma", [0.15, 0.25, 0.4])
    @pytest.mark.parametrize("median", [4.0, 11.6, 40.0])
    def test_median_and_spread_come_out(self, median: float, sigma: float) -> None:
        expected = taught(run_times(median, sigma), 150).expect(60, 50)
        assert expected.median == pytest.approx(median, rel=0.15)
        assert expected.spread == pytest.approx(sigma, rel=0.35)

    def test_wide_intervals_teach_without_bias(self) -> None:
        learner, runs = RunTimes(), run_times(11.6)
        for _ in range(300):
            took = next(runs)
            learner.learn(Run(60, 50, 0.0, 11.0) if took < 11.0 else Run(60, 50, 11.0, 30.0))
        assert learner.expect(60, 50).median == pytest.approx(11.6, rel=0.15)

    @pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
    def test_changed_model_is_learnt_within_ten_songs(self, factor: float) -> None:
        learner = taught(run_times(11.6), 100)
        taught(run_times(11.6 * factor, seed=2), 10, learner)
        assert learner.expect(60, 50).median == pytest.approx(11.6 * factor, rel=0.2)
        assert learner.expect(60, 50).spread < 0.45

    def test_slow_day_is_followed(self) -> None:
        learner = taught(run_times(11.6), 50)
        for day in range(30):
            taught(run_times(11.6 * 1.02**day, 0.2, seed=day), 1, learner)
        assert learner.expect(60, 50).median == pytest.approx(11.6 * 1.02**29, rel=0.2)

    def test_one_cold_start_among_known_songs_moves_little(self) -> None:
        learner = taught(run_times(11.6), 50)
        before = learner.expect(60, 50)
        learner.learn(Run(60, 50, 170.0, 190.0))
        assert learner.expect(60, 50).median == pytest.approx(before.median, rel=0.05)
        taught(run_times(11.6, seed=3), 2, learner)
        assert learner.expect(60, 50).spread == pytest.approx(before.spread, rel=0.3)

    def test_cold_start_as_the_first_song_is_outweighed_by_the_next(self) -> None:
        learner = RunTimes()
        learner.learn(Run(60, 50, 170.0, 190.0))
        assert learner.expect(60, 50).median < 40.0
        taught(iter((11.0, 12.5, 11.6)), 3, learner)
        assert learner.expect(60, 50).median == pytest.approx(11.6, rel=0.2)

    def test_lengths_learn_from_each_other(self) -> None:
        def truth(seconds: int, steps: int) -> float:
            return 5.0 + 30.0 * (seconds / 60) * (steps / 50)

        learner, chance = RunTimes(), random.Random(4)
        for _ in range(30):
            learner.learn(seen(truth(60, 50) * math.exp(0.2 * chance.gauss(0, 1))))
        assert learner.expect(120, 50).median > 2.0 * page_time(120, 50)
        for _ in range(120):
            seconds, steps = chance.choice((30, 60, 120, 240)), chance.choice((25, 50, 100))
            took = truth(seconds, steps) * math.exp(0.2 * chance.gauss(0, 1))
            learner.learn(seen(took, seconds=seconds, steps=steps))
        for seconds, steps in ((30, 50), (60, 50), (120, 100), (240, 50)):
            median = learner.expect(seconds, steps).median
            assert median == pytest.approx(truth(seconds, steps), rel=0.3)

    def test_song_given_up_unfinished_took_long(self) -> None:
        learner = RunTimes()
        learner.learn(Run(60, 50, 15.0, math.inf))
        assert 11.56 < learner.expect(60, 50).median < 30.0

    @settings(max_examples=100)
    @given(
        st.lists(
            st.tuples(
                st.integers(1, 240), st.integers(1, 150), st.floats(0, 2e3), st.floats(1e-6, 1e7)
            ),
            max_size=25,
        )
    )
    def test_expectation_is_finite_for_any_runs(
        self, runs: list[tuple[int, int, float, float]]
    ) -> None:
        learner = RunTimes()
        for seconds, steps, low, more in runs:
            learner.learn(Run(seconds, steps, low, low + more))
        expected = learner.expect(60, 50)
        assert 0.0 < expected.median < math.inf
        assert 0.0 < expected.spread < math.inf

    @pytest.mark.parametrize(
        "wrong",
        [(0, 50, 1.0, 2.0), (60, 50, -1.0, 2.0), (60, 50, 0.0, 0.0), (60, 50, 1.0, math.nan)],
    )
    def test_impossible_run_is_refused(self, wrong: tuple[int, int, float, float]) -> None:
        with pytest.raises(ValueError, match="not a run"):
            RunTimes().learn(Run(*wrong))


class TestExpectation:
    def test_remaining_time_is_never_negative(self) -> None:
        expected = Expectation(11.56, 0.25)
        assert expected.remaining(0.0) == pytest.approx(11.56, abs=0.01)
        assert expected.remaining(8.0) == pytest.approx(4.0, abs=0.8)
        assert all(expected.remaining(float(age)) > 0.0 for age in range(0, 4000, 7))

    def test_song_far_beyond_its_time_may_take_as_long_again(self) -> None:
        assert 20.0 < Expectation(11.56, 0.25).remaining(60.0) < 120.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def learner(clock: Clock) -> Learner:
    """One that knows songs of 12 s."""
    runs, chance = run_times(12.0), random.Random(2)
    return Learner((seen(next(runs) + chance.random()) for _ in range(60)), clock=clock)


def submit(learner: Learner, count: int, *, first: int = 1) -> range:
    songs = range(first, first + count)
    for song_id in songs:
        learner.submitted(song_id, seconds=60, steps=50)
    return songs


def test_wave_that_ends_in_the_order_of_length_is_no_drift(clock: Clock) -> None:
    """24 songs around 12 s, submitted together, three times."""
    learner = Learner((), clock=clock)
    for wave in range(3):
        chance = random.Random(wave)
        took = [12.0 * math.exp(0.25 * chance.gauss(0.0, 1.0)) for _ in range(24)]
        songs = submit(learner, 24)
        for song_id, age in sorted(zip(songs, took, strict=True), key=lambda song: song[1]):
            clock.now = wave * 100.0 + age
            for other in songs:
                if took[other - 1] > age:
                    learner.unfinished(other, age=age)
            learner.ended(song_id, low=age - 0.5, high=age + 0.5)
            assert 9.0 < learner.expect(60, 50).median < 16.0
    assert learner.expect(60, 50).median == pytest.approx(12.0, rel=0.15)


def test_songs_that_still_run_raise_the_expectation(clock: Clock, learner: Learner) -> None:
    """The API became slower: known before the first of them has ended."""
    before = learner.expect(60, 50).median
    for song_id in submit(learner, 10):
        learner.unfinished(song_id, age=18.0)
    clock.now += PAUSE
    assert learner.expect(60, 50).median > 1.2 * before


def test_provisional_counts_are_a_pause_apart(clock: Clock, learner: Learner) -> None:
    first, second = submit(learner, 2)
    learner.unfinished(first, age=16.0)
    counted = learner.expect(60, 50)
    learner.unfinished(second, age=16.0)
    clock.now += 0.9 * PAUSE
    assert learner.expect(60, 50) == counted
    clock.now += 0.2 * PAUSE
    assert learner.expect(60, 50) != counted


def test_end_of_the_last_song_counts_at_once(clock: Clock, learner: Learner) -> None:
    (song_id,) = submit(learner, 1)
    learner.unfinished(song_id, age=9.0)
    before = learner.expect(60, 50)
    learner.ended(song_id, low=9.0, high=9.5)
    assert learner.expect(60, 50) != before


def test_order_of_the_ends_makes_no_difference(clock: Clock) -> None:
    runs = {1: (8.0, 9.0), 2: (15.0, 16.0), 3: (11.0, 12.0)}
    learners = [Learner((), clock=clock) for _ in range(2)]
    for learner, order in zip(learners, ((1, 2, 3), (3, 2, 1)), strict=True):
        submit(learner, 3)
        for song_id in order:
            low, high = runs[song_id]
            learner.ended(song_id, low=low, high=high)
    assert learners[0].expect(60, 50) == learners[1].expect(60, 50)
    in_order = Learner((Run(60, 50, *runs[song_id]) for song_id in (1, 2, 3)), clock=clock)
    assert in_order.expect(60, 50) == learners[0].expect(60, 50)


def test_cold_start_does_not_delay_learning_from_others(clock: Clock, learner: Learner) -> None:
    cold, *others = submit(learner, 40)
    for song_id in others:
        learner.ended(song_id, low=23.0, high=24.0)
    learner.unfinished(cold, age=120.0)
    # At once, since nothing is provisional any more.
    known = learner.expect(60, 50)
    assert known.median == pytest.approx(24.0, rel=0.15)
    learner.ended(cold, low=150.0, high=160.0)
    assert learner.expect(60, 50) == known


def test_song_that_failed_is_forgotten(clock: Clock, learner: Learner) -> None:
    before = learner.expect(60, 50)
    failed, made = submit(learner, 2)
    learner.unfinished(failed, age=20.0)
    learner.ended(made, low=11.0, high=12.0)
    learner.dropped(made)  # it ended: this changes nothing
    learner.dropped(failed)
    clock.now += PAUSE
    with_one = learner.expect(60, 50)
    assert with_one != before
    learner.dropped(failed)
    assert learner.expect(60, 50) == with_one


def test_songs_beyond_the_most_followed_teach_nothing(clock: Clock, learner: Learner) -> None:
    submit(learner, MOST_FOLLOWED)
    (beyond,) = submit(learner, 1, first=1000)
    before = learner.expect(60, 50)
    learner.unfinished(beyond, age=30.0)
    learner.ended(beyond, low=30.0, high=31.0)
    learner.dropped(beyond)
    clock.now += PAUSE
    assert learner.expect(60, 50) == before


@pytest.mark.parametrize(("low", "high"), [(5.0, 4.0), (0.0, 0.0), (-2.0, 3.0)])
def test_nothing_is_learnt_from_an_impossible_interval(
    clock: Clock, learner: Learner, low: float, high: float
) -> None:
    before = learner.expect(60, 50)
    (song_id,) = submit(learner, 1)
    learner.unfinished(song_id, age=-3.0)
    learner.ended(song_id, low=low, high=high)
    clock.now += PAUSE
    assert learner.expect(60, 50) == before
    learner.ended(song_id, low=11.0, high=12.0)
    learner.ended(song_id, low=11.0, high=40.0)  # the first one counts
    assert learner.expect(60, 50).median == pytest.approx(before.median, rel=0.05)
