"""When a song is expected to be posted."""

from datetime import timedelta

import pytest

from db.records import State
from services.songs.forecast import AFTERWARDS, Forecast
from tests.factories import SettableClock, make_song
from tests.fake_provider import FakeProvider


@pytest.mark.parametrize(
    ("state", "age", "runs"),
    [
        (State.WAITING, 0, True),
        (State.SUBMITTING, 0, True),
        (State.SUBMITTED, 0, True),
        (State.SUBMITTED, 5, True),
        (State.SUBMITTED, -3_600, True),  # the clock was set back
        (State.DOWNLOADED, 0, False),
        (State.READY, 0, False),
        (State.POSTING, 0, False),
    ],
)
def test_a_song_takes_the_rest_of_its_run_and_the_time_to_post_it(
    clock: SettableClock, state: State, age: int, runs: bool
) -> None:
    provider = FakeProvider()
    clock.advance(seconds=age)
    expected = Forecast(provider, clock=clock).expected_at(make_song(state=state)) - clock()
    run = provider.pacer.expected(seconds=60, steps=50, age=max(0, age)) if runs else 0
    assert expected.total_seconds() == pytest.approx(run + AFTERWARDS)


def test_a_longer_song_takes_longer(clock: SettableClock) -> None:
    forecast = Forecast(FakeProvider(), clock=clock)
    assert forecast.expected_at(make_song(seconds=240)) > forecast.expected_at(make_song())


@pytest.mark.parametrize(
    ("at_once", "per_minute", "place"),
    [(1, 10_000, 1), (1, 10_000, 5), (8, 10_000, 9), (8, 10_000, 8), (8, 5, 3)],
)
def test_a_song_waits_for_a_slot_or_for_the_accounts_calls(
    clock: SettableClock, at_once: int, per_minute: int, place: int
) -> None:
    song = make_song()
    provider = FakeProvider(at_once=at_once, per_minute=per_minute)
    forecast = Forecast(provider, clock=clock)
    wait = forecast.expected_at(song, place=place) - forecast.expected_at(song)
    slots = (place - 1) // at_once * provider.pacer.expected(seconds=60, steps=50)
    calls = (place - 1) * provider.seconds_per_song
    assert abs(wait - timedelta(seconds=max(slots, calls))) < timedelta(milliseconds=1)
