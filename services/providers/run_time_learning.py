"""How long songs take, learnt while several run side by side.

Songs that were submitted together end in the order of their length. Learnt in that order they look
like an API that gets slower from song to song, which is the drift that `RunTimes` follows. So they
are learnt in the order in which they were submitted. Until the earlier ones have ended, everything
that is known of the later ones counts provisionally, and a song that still runs counts as one that
takes longer than it has run so far (a right-censored observation).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.providers.run_times import Expectation, Run, RunTimes

MOST_FOLLOWED = 64
"""Songs that are followed at once; what is submitted beyond them teaches nothing. Which these are
does not depend on their length, so that nothing is distorted."""
OVERDUE = 2.5
"""Deviations above the median from which on the first song is not waited for: what it has run so
far is learnt instead of its end, as of a cold start or a song that the API has forgotten."""
PAUSE = 1.0
"""Seconds between provisional counts: one takes about 0.1 ms for each song that is followed."""


@dataclass(slots=True)
class _Followed:
    """A song that was submitted: how long it has run for sure, and its run once it has ended."""

    seconds: int
    steps: int
    low: float = 0.0
    run: Run | None = None

    @property
    def so_far(self) -> Run | None:
        """What is known of it, if anything is."""
        if self.run is None and self.low > 0.0:
            return Run(self.seconds, self.steps, self.low, math.inf)
        return self.run


class Learner:
    """What is known of run times, with songs that still run.

    Args:
        runs: songs that ended earlier, in the order in which they were submitted.
        clock: seconds that never go back; only differences count.
    """

    def __init__(self, runs: Iterable[Run], *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._settled = RunTimes()
        for run in runs:
            self._settled.learn(run)
        # In the order in which they were submitted; all but the settled ones.
        self._followed: dict[int, _Followed] = {}
        self._provisional = self._settled
        self._stale, self._counted_at = False, -math.inf

    def expect(self, seconds: int, steps: int) -> Expectation:
        """What is known of a song of this length and these steps."""
        if self._stale:
            self._count()
        return self._provisional.expect(seconds, steps)

    def submitted(self, song_id: int, *, seconds: int, steps: int) -> None:
        """Follow a song that was just submitted."""
        if len(self._followed) < MOST_FOLLOWED:
            self._followed[song_id] = _Followed(seconds, steps)

    def unfinished(self, song_id: int, *, age: float) -> None:
        """Note that a song was still running at this age, in seconds since it was submitted."""
        if song := self._followed.get(song_id):
            song.low = max(age, 0.0)
            self._settle()

    def ended(self, song_id: int, *, low: float, high: float) -> None:
        """Note that a song was made; see `Run` for `low` and `high`.

        Nothing is learnt from an interval that can't be: a clock was set back.
        """
        song = self._followed.get(song_id)
        if song is not None and song.run is None and 0.0 <= low <= high and high > 0.0:
            song.run = Run(song.seconds, song.steps, low, high)
            self._settle()

    def dropped(self, song_id: int) -> None:
        """Forget a song that will never be made; one that ended is kept."""
        song = self._followed.get(song_id)
        if song is not None and song.run is None:
            del self._followed[song_id]
            self._settle()

    def _settle(self) -> None:
        """Learn the first songs, as far as nothing is to be waited for."""
        for song_id, song in list(self._followed.items()):
            if song.run is None and not self._is_overdue(song):
                break
            if run := song.so_far:
                self._settled.learn(run)
            del self._followed[song_id]
        self._stale = True

    def _is_overdue(self, song: _Followed) -> bool:
        expected = self.expect(song.seconds, song.steps)
        return song.low > expected.median * math.exp(OVERDUE * expected.spread)

    def _count(self) -> None:
        """Count what is not settled on top of what is, at most once in `PAUSE`."""
        now = self._clock()
        if not self._followed:
            self._provisional, self._stale = self._settled, False
        elif now - self._counted_at >= PAUSE:
            self._provisional = self._settled.copy()
            for song in self._followed.values():
                if run := song.so_far:
                    self._provisional.learn(run)
            self._stale, self._counted_at = False, now
