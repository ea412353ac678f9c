"""When a song will be there."""

from datetime import timedelta

import pytest

from db.records import State
from services.songs.forecast import AFTERWARDS, Forecast
from tests.factories import NOON, SettableClock, make_song
from tests.fake_provider import FakeProvider


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


def seconds_until(
    provider: FakeProvider, clock: SettableClock, state: State, **fields: int
) -> float:
    expected = Forecast(provider, clock=clock).expected_at(make_song(state=state, **fields))
    return (expected - clock()).total_seconds()


@pytest.mark.parametrize("state", [State.WAITING, State.SUBMITTING, State.SUBMITTED])
def test_a_song_takes_its_run_and_what_comes_after_it(
    provider: FakeProvider, clock: SettableClock, state: State
) -> None:
    run = provider.pacer.expected(seconds=60, steps=50)
    assert seconds_until(provider, clock, state) == pytest.approx(run + AFTERWARDS)


@pytest.mark.parametrize("state", [State.DOWNLOADED, State.READY, State.POSTING])
def test_a_song_that_was_made_takes_only_what_comes_after(
    provider: FakeProvider, clock: SettableClock, state: State
) -> None:
    assert seconds_until(provider, clock, state) == pytest.approx(AFTERWARDS)


def test_a_longer_song_takes_longer(provider: FakeProvider, clock: SettableClock) -> None:
    short = seconds_until(provider, clock, State.WAITING, seconds=30)
    assert seconds_until(provider, clock, State.WAITING, seconds=240) > short


def test_what_has_run_already_is_counted(provider: FakeProvider, clock: SettableClock) -> None:
    clock.advance(seconds=5)
    left = provider.pacer.expected(seconds=60, steps=50, age=5.0)
    assert seconds_until(provider, clock, State.SUBMITTED) == pytest.approx(left + AFTERWARDS)


def test_a_clock_that_was_set_back_makes_no_song_older_than_new(
    provider: FakeProvider, clock: SettableClock
) -> None:
    clock.advance(hours=-1)
    run = provider.pacer.expected(seconds=60, steps=50)
    assert seconds_until(provider, clock, State.SUBMITTED) == pytest.approx(run + AFTERWARDS)


def test_nobody_waits_for_the_first_place(provider: FakeProvider, clock: SettableClock) -> None:
    song = make_song()
    in_time = Forecast(provider, clock=clock)
    assert in_time.expected_at(song, place=1) == in_time.expected_at(song)


@pytest.mark.parametrize(
    ("at_once", "per_minute", "place"), [(1, 10_000, 5), (8, 10_000, 9), (8, 10_000, 8), (8, 5, 3)]
)
def test_one_waits_for_a_slot_or_for_the_accounts_calls(
    clock: SettableClock, at_once: int, per_minute: int, place: int
) -> None:
    song = make_song()
    provider = FakeProvider(at_once=at_once, per_minute=per_minute)
    in_time = Forecast(provider, clock=clock)
    wait = in_time.expected_at(song, place=place) - in_time.expected_at(song)
    slots = (place - 1) // at_once * provider.pacer.expected(seconds=60, steps=50)
    calls = (place - 1) * provider.seconds_per_song
    assert wait.total_seconds() == pytest.approx(max(slots, calls), abs=1e-5)


def test_it_counts_from_now(provider: FakeProvider, clock: SettableClock) -> None:
    first = Forecast(provider, clock=clock).expected_at(make_song())
    clock.advance(minutes=1)
    assert Forecast(provider, clock=clock).expected_at(make_song()) == first + timedelta(minutes=1)
    assert first > NOON
