"""When songs are polled: in virtual time, so nothing here waits."""

import asyncio
import itertools
from functools import partial
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import pacing as bench
from benchmarks.virtual_time import run_virtually
from services.providers.pacing import (
    DEADLINE,
    DEAREST,
    LONGEST_GAP,
    SHORTEST_GAP,
    Pacer,
    best_gap,
    price_of_call,
)
from services.providers.rate_limiter import WINDOW, Call, RateLimiter
from services.providers.run_times import Expectation, Run
from tests.unit.services.providers.runs import run_times, seen


class TestBestGap:
    @pytest.mark.parametrize("spread", [0.05, 0.25, 1.0])
    @pytest.mark.parametrize("price", [0.02, 1.0, 20.0])
    def test_later_age_is_never_polled_before_an_earlier_one(
        self, price: float, spread: float
    ) -> None:
        ages = [0.1 * k for k in range(1000)]
        polls = [age + best_gap(Expectation(11.6, spread), age, price) for age in ages]
        # Gaps are compared in steps.
        assert all(
            b > a - 0.05 * (a - age) for age, a, b in zip(ages, polls, polls[1:], strict=False)
        )

    def test_dearer_poll_is_made_later(self) -> None:
        usual = Expectation(11.6, 0.25)
        firsts = [best_gap(usual, 0.0, price) for price in (0.05, 0.1, 0.6, 2.4, 12.0)]
        assert firsts == sorted(set(firsts))

    @pytest.mark.parametrize(("price", "polls", "late"), [(0.1, 5.14, 0.51), (0.5, 2.54, 1.1)])
    def test_cost_is_near_the_least_possible(self, price: float, polls: float, late: float) -> None:
        # `polls` and `late`: the dynamic programme over the very distribution, for 11.6 s and 0.25.
        expected, runs = Expectation(11.6, 0.25), run_times(11.6)
        cost, count = 0.0, 2000
        for took in itertools.islice(runs, count):
            age = 0.0
            while age < took:
                age += best_gap(expected, age, price)
                cost += price
            cost += age - took
        assert cost / count < 1.05 * (price * polls + late)

    @pytest.mark.parametrize("median", [1e-300, 1e300])
    @pytest.mark.parametrize("spread", [1e-9, 60.0])
    def test_gap_for_extreme_run_times(self, median: float, spread: float) -> None:
        for age in (0.0, 60.0):
            gap = best_gap(Expectation(median, spread), age, 1.0)
            assert SHORTEST_GAP <= gap <= DEADLINE


class TestPrice:
    @given(
        per_minute=st.integers(1, 1000),
        fill=st.floats(0, 3),
        more=st.floats(0, 1),
        waiting=st.integers(0, 1000),
    )
    def test_price_rises_with_the_fill_and_with_waiting_songs(
        self, per_minute: int, fill: float, more: float, waiting: int
    ) -> None:
        price = price_of_call(per_minute=per_minute, fill=fill, waiting=waiting)
        fuller = price_of_call(per_minute=per_minute, fill=fill + more, waiting=waiting)
        longer = price_of_call(per_minute=per_minute, fill=fill, waiting=waiting + 1)
        assert price <= fuller
        assert price <= longer


def pacer_at(fill: float, *, waiting: int = 0, runs: tuple[Run, ...] = ()) -> Pacer:
    """With a minute of 50 that stays as full as said."""

    class Filled(RateLimiter):
        def fill_ahead(self, seconds: float, *, calls: float) -> float:
            return fill

    return Pacer(Filled(50, clock=lambda: 0.0), runs, waiting=lambda: waiting)


def polls_of(pacer: Pacer, took: float, *, processing: bool = True) -> list[float]:
    """All polls at a song that takes this long."""
    ages = [0.0]
    while ages[-1] < took:
        ages.append(pacer.next_poll(seconds=60, steps=50, age=ages[-1], processing=processing))
    return ages[1:]


class TestPacer:
    def test_empty_minute_has_an_early_poll_and_then_the_paced_ones(self) -> None:
        pacer = pacer_at(0.1)
        assert pacer.next_poll(seconds=60, steps=50, age=0.0) == 2.0
        assert pacer.next_poll(seconds=60, steps=50, age=2.1, processing=True) > 5.0

    def test_while_it_is_queued_early_polls_go_on_with_growing_gaps(self) -> None:
        pacer = pacer_at(0.1)
        assert pacer.next_poll(seconds=240, steps=150, age=2.1) == 6.0
        assert pacer.next_poll(seconds=240, steps=150, age=6.1) == 18.0
        assert pacer.next_poll(seconds=240, steps=150, age=18.1) > 22.0

    @pytest.mark.parametrize(("fill", "waiting"), [(0.6, 0), (0.1, 1)])
    def test_no_early_poll_where_calls_are_short(self, fill: float, waiting: int) -> None:
        assert pacer_at(fill, waiting=waiting).next_poll(seconds=60, steps=50, age=0.0) > 5.0

    def test_no_early_poll_at_a_song_that_is_done_by_then(self) -> None:
        runs = tuple(seen(2.5, gap=0.2) for _ in range(20))
        first = pacer_at(0.1, runs=runs).next_poll(seconds=60, steps=50, age=0.0)
        assert 1.0 < first < 3.0

    def test_polls_get_fewer_as_the_minute_fills_and_songs_wait(self) -> None:
        counts = [
            len(polls_of(pacer_at(fill, waiting=waiting), 20.0))
            for fill, waiting in ((0.1, 0), (0.6, 0), (1.0, 0), (1.0, 3), (1.0, 20))
        ]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > 2 * counts[-1]

    @pytest.mark.parametrize("fill", [0.0, 0.5, 1.0, 1.5])
    def test_song_far_beyond_its_time_is_polled_with_growing_gaps_until_its_deadline(
        self, fill: float
    ) -> None:
        polls = polls_of(pacer_at(fill), DEADLINE)
        assert polls[-1] == DEADLINE
        gaps = [b - a for a, b in itertools.pairwise(polls)]
        assert all(SHORTEST_GAP <= gap <= LONGEST_GAP + 1e-9 for gap in gaps[:-1])
        far = [(age, gap) for age, gap in zip(polls, gaps, strict=False) if age > 40.0][:-1]
        assert all(gap >= min(0.1 * age, LONGEST_GAP) - 1e-9 for age, gap in far)
        assert far[-1][1] == pytest.approx(LONGEST_GAP)

    def test_poll_after_the_deadline(self) -> None:
        poll = pacer_at(0.0).next_poll(seconds=60, steps=50, age=DEADLINE + 5.0)
        assert poll == DEADLINE + 5.0 + LONGEST_GAP

    def test_first_poll_of_a_song_that_already_runs(self) -> None:
        pacer = pacer_at(0.1)
        poll = pacer.next_poll(seconds=60, steps=50, age=13.0, processing=True)
        assert 13.0 < poll < 16.0

    def test_negative_age_is_a_song_just_submitted(self) -> None:
        pacer = pacer_at(0.6)
        first = pacer.next_poll(seconds=60, steps=50, age=0.0)
        assert pacer.next_poll(seconds=60, steps=50, age=-1.0) == first

    def test_price_of_a_poll_of_a_long_song_is_limited(self) -> None:
        """In a full minute it is not left unseen for as long as its length would allow."""
        runs = tuple(seen(took) for took in itertools.islice(run_times(100.0), 40))
        polls = polls_of(pacer_at(1.0, waiting=50, runs=runs), 150.0)
        gaps = [b - a for a, b in itertools.pairwise(polls)]
        assert len(polls) >= 2
        assert max(gaps) <= 2 * DEAREST

    def test_what_was_learnt_before_the_restart_counts(self) -> None:
        pacer = pacer_at(0.1, runs=tuple(seen(30.0) for _ in range(20)))
        assert pacer.expected(seconds=60, steps=50) == pytest.approx(30.0, rel=0.1)
        assert pacer.expected(seconds=60, steps=50, age=20.0) == pytest.approx(10.5, abs=2.0)
        with pacer.running(1, seconds=60, steps=50):
            pacer.ended(1, low=29.0, high=30.0)
        assert pacer.next_poll(seconds=60, steps=50, age=3.0, processing=True) > 20.0


def submits_next_to_forgotten_songs(count: int, *, minutes: int) -> int:
    """In those minutes, with `count` songs at the API that never end; whoever waits submits."""
    submitted = 0

    async def main() -> int:
        loop = asyncio.get_running_loop()
        rate_limiter = RateLimiter(50, clock=loop.time)
        pacer = Pacer(rate_limiter, waiting=lambda: 5)

        async def poll_it(song_id: int) -> None:
            began = loop.time()
            next_poll = partial(pacer.next_poll, seconds=60, steps=50, song_id=song_id)
            with pacer.running(song_id, seconds=60, steps=50):
                while True:
                    age = loop.time() - began
                    await asyncio.sleep(next_poll(age=age, processing=True) - age)
                    await rate_limiter.take(Call.POLL)
                    pacer.unfinished(song_id, age=age)

        async def submit() -> None:
            nonlocal submitted
            while True:
                await rate_limiter.take(Call.SUBMIT)
                submitted += 1

        polling = [asyncio.create_task(poll_it(song_id)) for song_id in range(count)]
        await asyncio.sleep(5 * WINDOW)
        submitting = asyncio.create_task(submit())
        await asyncio.sleep(minutes * WINDOW)
        for task in (*polling, submitting):
            task.cancel()
        return submitted

    return run_virtually(main)


@pytest.mark.parametrize(("forgotten", "submits"), [(17, 300), (500, 10)])
def test_songs_that_the_api_has_lost_leave_submits_their_turn(forgotten: int, submits: int) -> None:
    assert submits_next_to_forgotten_songs(forgotten, minutes=10) >= submits


class TestGoals:
    """The design's goals, on the benchmark's server: every run is the same."""

    def test_with_an_empty_minute_songs_are_seen_soon_and_cheaply(self) -> None:
        songs = bench.run_ours(bench.scripted(0.25), bench.Load(75.0, songs=220))
        seen = bench.Figures.of(songs[20:])
        assert seen.calls <= 9.3
        assert seen.late <= 0.6
        # The limit knows no wire: what an answer takes on it is late for whatever schedule.
        least = bench.least_lateness(0.25, seen.polls)
        assert seen.late - bench.ON_THE_WIRE <= 1.2 * least
        assert all(song.early == 1 for song in songs)

    def test_full_minute_makes_many_songs_and_no_call_is_refused(self) -> None:
        songs = bench.run_ours(bench.scripted(0.25), bench.Load(0.0, songs=220))
        assert bench.songs_a_minute(songs) >= 15.0
        assert bench.Figures.of(songs).refused == 0

    def test_songs_side_by_side_are_no_drift(self) -> None:
        runs = [bench.waves(seed) for seed in range(8)]
        first, *later = zip(*runs, strict=True)
        # Nothing is known yet; but songs that end before the others are no reason to poll these.
        assert bench.Figures.of([*itertools.chain(*first)]).calls <= 9.3
        seen = bench.Figures.of([*itertools.chain(*itertools.chain(*later))])
        assert seen.calls <= 9.3
        assert seen.late <= 0.6

    def test_crowd_is_submitted_as_the_minute_has_room(self) -> None:
        crowds = [bench.crowd(seed) for seed in range(4)]
        assert fmean(songs_a_minute for songs_a_minute, _ in crowds) >= 15.0
        assert max(longest for _, longest in crowds) <= 15.0
