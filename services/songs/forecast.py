"""When a song will be there: how long songs take, how many run, how many wait before it."""

from datetime import datetime, timedelta

from db.records import Song, State
from services.clock import Clock
from services.providers.base import Provider

AFTERWARDS = 4.0
"""Seconds from the end at the API to the post, for the download, the fitting and the upload."""


class Forecast:
    """Expected times, for people: a guess in good faith."""

    def __init__(self, provider: Provider, *, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock

    def expected_at(self, song: Song, *, place: int | None = None) -> datetime:
        """When `song` will be posted. `place` counts from 1 among those that wait."""
        now = self._clock()
        age = 0.0
        if song.submitted_at is not None:
            age = max(0.0, (now - song.submitted_at).total_seconds())
        seconds = AFTERWARDS
        if song.state in (State.WAITING, State.SUBMITTING, State.SUBMITTED):
            seconds += self._run(song, age)
        if place is not None:
            seconds += self._wait(song, place)
        return now + timedelta(seconds=seconds)

    def _run(self, song: Song, age: float) -> float:
        pacer = self._provider.pacer
        return pacer.expected(seconds=song.seconds, steps=song.steps, age=age)

    def _wait(self, song: Song, place: int) -> float:
        """Seconds until a start: the slots or the account's calls, whichever holds it up more."""
        by_slots = (place - 1) // self._provider.at_once * self._run(song, 0.0)
        by_calls = (place - 1) * self._provider.seconds_per_song
        return max(by_slots, by_calls)
