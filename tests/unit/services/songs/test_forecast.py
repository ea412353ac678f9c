"""When a song will be there."""

from datetime import timedelta

import pytest

from db.records import Step
from services.providers.pacing import Pacer
from services.providers.rate_limiter import CALLS_A_SONG, RateLimiter
from services.songs.forecast import AFTERWARDS, Forecast
from tests.factories import NOON, SettableClock, make_song


@pytest.fixture
def pacer() -> Pacer:
    return Pacer(RateLimiter(50), waiting=lambda: 0)


def forecast(
    pacer: Pacer, clock: SettableClock, *, at_once: int = 8, per_minute: int = 50
) -> Forecast:
    return Forecast(pacer, at_once=at_once, per_minute=per_minute, clock=clock)


def seconds_until(pacer: Pacer, clock: SettableClock, step: Step, **fields: int) -> float:
    expected = forecast(pacer, clock).expected_at(make_song(step=step, **fields))
    return (expected - clock()).total_seconds()


@pytest.mark.parametrize("step", [Step.WAITING, Step.SUBMITTING, Step.SUBMITTED])
def test_a_song_takes_its_run_and_what_comes_after_it(
    pacer: Pacer, clock: SettableClock, step: Step
) -> None:
    run = pacer.expected(seconds=60, steps=50)
    assert seconds_until(pacer, clock, step) == pytest.approx(run + AFTERWARDS)


@pytest.mark.parametrize("step", [Step.DOWNLOADED, Step.READY, Step.POSTING])
def test_a_song_that_was_made_takes_only_what_comes_after(
    pacer: Pacer, clock: SettableClock, step: Step
) -> None:
    assert seconds_until(pacer, clock, step) == pytest.approx(AFTERWARDS)


def test_a_longer_song_takes_longer(pacer: Pacer, clock: SettableClock) -> None:
    short = seconds_until(pacer, clock, Step.WAITING, seconds=30)
    assert seconds_until(pacer, clock, Step.WAITING, seconds=240) > short


def test_what_has_run_already_is_counted(pacer: Pacer, clock: SettableClock) -> None:
    clock.advance(seconds=5)
    left = pacer.expected(seconds=60, steps=50, age=5.0)
    assert seconds_until(pacer, clock, Step.SUBMITTED) == pytest.approx(left + AFTERWARDS)


def test_a_clock_that_was_set_back_makes_no_song_older_than_new(
    pacer: Pacer, clock: SettableClock
) -> None:
    clock.advance(hours=-1)
    run = pacer.expected(seconds=60, steps=50)
    assert seconds_until(pacer, clock, Step.SUBMITTED) == pytest.approx(run + AFTERWARDS)


def test_nobody_waits_for_the_first_place(pacer: Pacer, clock: SettableClock) -> None:
    song = make_song()
    in_time = forecast(pacer, clock)
    assert in_time.expected_at(song, place=1) == in_time.expected_at(song)


@pytest.mark.parametrize(
    ("at_once", "per_minute", "place"), [(1, 10_000, 5), (8, 10_000, 9), (8, 10_000, 8), (8, 5, 3)]
)
def test_one_waits_for_a_slot_or_for_the_accounts_calls(
    pacer: Pacer, clock: SettableClock, at_once: int, per_minute: int, place: int
) -> None:
    song = make_song()
    in_time = forecast(pacer, clock, at_once=at_once, per_minute=per_minute)
    wait = in_time.expected_at(song, place=place) - in_time.expected_at(song)
    slots = (place - 1) // at_once * pacer.expected(seconds=60, steps=50)
    calls = (place - 1) * CALLS_A_SONG * 60 / per_minute
    assert wait.total_seconds() == pytest.approx(max(slots, calls), abs=1e-5)


def test_it_counts_from_now(pacer: Pacer, clock: SettableClock) -> None:
    first = forecast(pacer, clock).expected_at(make_song())
    clock.advance(minutes=1)
    assert forecast(pacer, clock).expected_at(make_song()) == first + timedelta(minutes=1)
    assert first > NOON
