"""When a song will be posted: how long songs take, how many run, how many wait before it."""

from datetime import datetime, timedelta

from db.records import Song, State
from services.clock import Clock
from services.providers.base import Provider

AFTERWARDS = 4.0
"""Seconds from the end at the API to the post, to download, transcode and upload."""


class Forecast:
    """Estimates when songs are posted."""

    def __init__(self, provider: Provider, *, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock

    def expected_at(self, song: Song, *, place: int | None = None) -> datetime:
        """Return when `song` will be posted. `place` counts from 1 among those that wait."""
        now, expected = self._clock(), self._provider.pacer.expected
        seconds = AFTERWARDS
        if song.state in (State.WAITING, State.SUBMITTING, State.SUBMITTED):
            age = (now - (song.submitted_at or now)).total_seconds()
            seconds += expected(seconds=song.seconds, steps=song.steps, age=max(0.0, age))
        if place is not None:
            run = expected(seconds=song.seconds, steps=song.steps, age=0.0)
            by_slots = (place - 1) // self._provider.at_once * run
            by_calls = (place - 1) * self._provider.seconds_per_song
            seconds += max(by_slots, by_calls)
        return now + timedelta(seconds=seconds)
