"""Elapsed times on a machine whose clock is set while the bot runs."""

from datetime import timedelta

import pytest

from services.clock import MAX_ADJUSTMENTS, WatchedClock
from tests.factories import NOON, SettableClock

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("jump", [2.0, 24.0 * 365, -2.0, -24.0, 0.001, -0.001])
def test_elapsed_time_is_right_after_an_adjustment(clock: SettableClock, jump: float) -> None:
    clock.advance(days=400)
    before = clock()
    clock.advance(seconds=7)
    clock.jump(hours=jump)
    assert clock() == before + timedelta(seconds=7, hours=jump)
    assert clock.elapsed_since(before) == pytest.approx(timedelta(seconds=7), abs=timedelta(0.01))
    after = clock()
    clock.advance(seconds=5)
    assert clock.elapsed_since(after) == timedelta(seconds=5)


def test_elapsed_time_is_right_after_three_adjustments(clock: SettableClock) -> None:
    moments = []
    for hours in (3, -1, 5):
        moments.append(clock())
        clock.advance(minutes=10)
        clock.jump(hours=hours)
    ages = [clock.elapsed_since(moment) for moment in moments]
    assert ages == [timedelta(minutes=minutes) for minutes in (30, 20, 10)]


def test_an_ambiguous_time_means_the_later_one(clock: SettableClock) -> None:
    """It is set back by ten seconds, so it shows the same times twice."""
    moment = clock.advance(seconds=0)
    clock.advance(seconds=7)
    clock.jump(seconds=-10)
    assert clock.elapsed_since(moment) == timedelta(seconds=7)
    clock.advance(seconds=30)
    assert timedelta(seconds=27) <= clock.elapsed_since(moment) <= timedelta(seconds=37)


def test_times_of_an_earlier_process_are_read_by_the_clock(clock: SettableClock) -> None:
    before = clock()
    clock.advance(seconds=7)
    clock.jump(hours=2)
    restarted = clock.restarted()
    assert restarted.elapsed_since(before) == timedelta(hours=2, seconds=7)


def test_a_future_time_is_as_old_as_the_process(
    clock: SettableClock,
) -> None:
    """The clock was set back while the bot was stopped: its deadlines are not hours late."""
    before = clock()
    clock.jump(hours=-2)
    restarted = clock.restarted()
    assert restarted.elapsed_since(before) == timedelta(0)
    clock.advance(minutes=30)
    assert restarted.elapsed_since(before) == timedelta(minutes=30)


@pytest.mark.parametrize("jump", [7.0, -7.0])
def test_ago_is_right_after_an_adjustment(clock: SettableClock, jump: float) -> None:
    old = clock()
    clock.advance(minutes=20)
    young = clock()
    clock.advance(minutes=20)
    clock.jump(hours=jump)
    assert not old < clock.ago(HOUR)
    clock.advance(minutes=21)
    if jump > 0:  # after it was set back, the bound is late, but never early
        assert old < clock.ago(HOUR)
    assert not young < clock.ago(HOUR)
    clock.advance(hours=8)
    assert old < clock.ago(HOUR)
    assert young < clock.ago(HOUR)


def test_drift_is_no_adjustment(clock: SettableClock) -> None:
    began = clock()
    for _ in range(60):
        clock.advance(minutes=1)
        clock.jump(milliseconds=10)
    assert clock.elapsed_since(began) == pytest.approx(HOUR, abs=timedelta(seconds=1))
    assert len(clock._adjustments) == 1


def test_adjustments_are_bounded(clock: SettableClock) -> None:
    for step in range(5 * MAX_ADJUSTMENTS):
        clock.jump(seconds=30 if step % 2 else -30)
        clock()
    assert len(clock._adjustments) == MAX_ADJUSTMENTS


def test_the_machines_clocks() -> None:
    clock = WatchedClock()
    assert timedelta(0) <= clock.elapsed_since(clock()) < timedelta(seconds=5)
    # The two clocks are not read at one moment, and both are rounded.
    assert clock() - clock.ago(HOUR) >= HOUR - timedelta(milliseconds=1)
    assert clock() > NOON - timedelta(days=365)
