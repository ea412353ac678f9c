"""When a song will be there: how long songs take, how many run, how many wait before it."""

from datetime import datetime, timedelta

from db.records import Song, Step
from services.clock import Clock
from services.providers.pacing import Pacer
from services.providers.rate_limiter import CALLS_A_SONG

AFTERWARDS = 4.0
"""Seconds from the end at the API to the post, for the download, the fitting and the upload."""


class Forecast:
    """Expected times, for people: a guess in good faith."""

    def __init__(self, pacer: Pacer, *, at_once: int, per_minute: int, clock: Clock) -> None:
        self._pacer = pacer
        self._at_once = at_once
        self._per_minute = per_minute
        self._clock = clock

    def expected_at(self, song: Song, *, place: int | None = None) -> datetime:
        """When `song` will be posted. `place` counts from 1 among those that wait."""
        now = self._clock()
        age = 0.0
        if song.submitted_at is not None:
            age = max(0.0, (now - song.submitted_at).total_seconds())
        seconds = AFTERWARDS
        if song.step in (Step.WAITING, Step.SUBMITTING, Step.SUBMITTED):
            seconds += self._pacer.expected(seconds=song.seconds, steps=song.steps, age=age)
        if place is not None:
            seconds += self._wait(song, place)
        return now + timedelta(seconds=seconds)

    def _wait(self, song: Song, place: int) -> float:
        """Seconds until a start: the slots or the account's calls, whichever holds it up more."""
        run = self._pacer.expected(seconds=song.seconds, steps=song.steps)
        by_slots = (place - 1) // self._at_once * run
        by_calls = (place - 1) * CALLS_A_SONG * 60 / self._per_minute
        return max(by_slots, by_calls)
