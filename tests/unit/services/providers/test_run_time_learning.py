"""What is learnt while songs run side by side."""

import math
import random

import pytest

from services.providers.run_time_learning import MOST_FOLLOWED, PAUSE, Learner
from services.providers.run_times import Run
from tests.unit.services.providers.runs import run_times, seen


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


def test_what_still_runs_tells_that_songs_take_longer(clock: Clock, learner: Learner) -> None:
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


def test_what_all_have_ended_is_known_at_once(clock: Clock, learner: Learner) -> None:
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


def test_cold_start_does_not_hold_up_what_others_teach(clock: Clock, learner: Learner) -> None:
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
def test_nothing_is_learnt_from_an_interval_that_never_was(
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
