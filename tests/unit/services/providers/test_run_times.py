"""What is learnt of how long songs take."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.providers.run_times import Expectation, Run, RunTimes, page_time
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
    def test_a_changed_model_is_learnt_within_ten_songs(self, factor: float) -> None:
        learner = taught(run_times(11.6), 100)
        taught(run_times(11.6 * factor, seed=2), 10, learner)
        assert learner.expect(60, 50).median == pytest.approx(11.6 * factor, rel=0.2)
        assert learner.expect(60, 50).spread < 0.45

    def test_a_slow_day_is_followed(self) -> None:
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

    def test_a_cold_start_as_the_first_song_is_outweighed_by_the_next(self) -> None:
        learner = RunTimes()
        learner.learn(Run(60, 50, 170.0, 190.0))
        assert learner.expect(60, 50).median < 40.0
        taught(iter((11.0, 12.5, 11.6)), 3, learner)
        assert learner.expect(60, 50).median == pytest.approx(11.6, rel=0.2)

    def test_what_one_length_teaches_helps_the_others_and_each_finds_its_own(self) -> None:
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
            told = learner.expect(seconds, steps).median
            assert told == pytest.approx(truth(seconds, steps), rel=0.3)

    def test_a_song_given_up_unfinished_tells_that_it_took_long(self) -> None:
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
    def test_whatever_is_seen_the_numbers_stay_numbers(
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
        [
            (0, 50, 1.0, 2.0),
            (60, 0, 1.0, 2.0),
            (60, 50, -1.0, 2.0),
            (60, 50, 3.0, 2.0),
            (60, 50, 0.0, 0.0),
            (60, 50, math.nan, 2.0),
            (60, 50, 1.0, math.nan),
            (60, 50, math.inf, math.inf),
        ],
    )
    def test_what_is_no_run_is_refused(self, wrong: tuple[int, int, float, float]) -> None:
        with pytest.raises(ValueError, match="not a run"):
            Run(*wrong)


class TestExpectation:
    def test_what_remains_shrinks_at_first_and_is_never_negative(self) -> None:
        expected = Expectation(11.56, 0.25)
        assert expected.remaining(0.0) == pytest.approx(11.56, abs=0.01)
        assert expected.remaining(8.0) == pytest.approx(4.0, abs=0.8)
        assert all(expected.remaining(float(age)) > 0.0 for age in range(0, 4000, 7))

    def test_far_beyond_its_time_a_song_is_a_stray_and_may_take_as_long_again(self) -> None:
        assert 20.0 < Expectation(11.56, 0.25).remaining(60.0) < 120.0
