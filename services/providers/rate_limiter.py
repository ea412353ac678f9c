"""The account's requests a minute: no more calls are let out than it has, the urgent ones first."""

import asyncio
import math
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

WINDOW = 60.0
MARGIN = 0.5
"""Seconds a call keeps its place beyond the minute: two calls reach the server closer together than
they were sent, by as much as the first was slower on its way. With 20 to 120 ms on the wire each
way, 0 had 23 calls of 1,250 refused and 0.1 none (`python -m benchmarks.pacing`)."""

CALLS_A_SONG = 3.1
"""What a song takes of the account's calls while many wait: its submit, its polls, its result
(`python -m benchmarks.pacing`)."""
CALLS_TO_COME = 2.4
"""What a song at the API still takes of them, with some room for those polled twice."""

CROWDED, APART = 0.5, 1.5
"""In a minute fuller than `CROWDED`, submits keep the time of `APART` calls between them, at the
limit's own pace. Otherwise the songs of a crowd end in bursts, and so do their polls."""
PATIENCE = 2.0
"""Seconds, and the time of `APART` calls, that a planned poll may wait for its place. With none,
places are left unused: in a minute of 50 it was 15.1 songs a minute instead of 15.8."""
CHECK_AGAIN = 0.2
"""Seconds until a submit that was held back is weighed again: a song may have ended meanwhile."""

SUBMIT_TURN = 30
"""While submits wait, one of so many calls is a submit, at whatever pace: songs that are polled
again and again must not keep all others out. In a minute full of healthy songs it never comes to
that (`python -m benchmarks.pacing` has the same figures without)."""

GRAIN = 0.001  # seconds; a timer may fire this much early, which MARGIN covers
SHORTEST_REFUSAL, LONGEST_REFUSAL = 1.0, 900.0


class Planned(NamedTuple):
    """Calls that a song at the API will make."""

    at: float
    """When, on the rate limiter's clock; the past where they are due already."""
    calls: float


class Call(IntEnum):
    """What a call is for; where places are short, the lower number goes first.

    A result ends a song and frees its slot; a poll that is due is already late; a submit only
    brings more calls, and waits while the minute has no room for these: but see `SUBMIT_TURN`.
    """

    RESULT = 0
    POLL = 1
    SUBMIT = 2


class RateLimiter:
    """The account's requests a minute, shared by every call. For one event loop.

    No more than `per_minute` calls are let through in any `WINDOW` (a sliding one, the strictest
    reading of "a minute").

    Args:
        per_minute: the account's limit, 1 or more.
        clock: seconds that never go back; only differences count.
        full: count the last minute as full, since a process that was just restarted can't know what
            it sent. Its calls are taken to be spread evenly, so that a place comes free every
            `60 / per_minute` seconds from the start on, instead of none for a minute and then all.

    Raises:
        ValueError: `per_minute` is less than 1.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        full: bool = False,
    ) -> None:
        if per_minute < 1:
            raise ValueError("a rate limit needs at least one request a minute")
        self.per_minute = per_minute
        self.clock = clock
        self._sent: deque[float] = deque()
        self._refused_until = -math.inf
        self._takers: dict[Call, deque[asyncio.Future[float]]] = {call: deque() for call in Call}
        self._waiting = 0
        self._since_submit = 0
        self._submitted_at = -math.inf
        self.planned: Callable[[], Sequence[Planned]] | None = None
        """What the songs at the API will need, and one that would be submitted now. None where a
        submit brings no further calls: then none is held back."""
        self._timer: asyncio.TimerHandle | None = None
        if full:
            now, gap = clock(), WINDOW / per_minute
            self._sent.extend(now - MARGIN - gap * (k + 0.5) for k in reversed(range(per_minute)))

    @property
    def fill(self) -> float:
        """Return how full the minute is: 0 is empty, 1 full, more when calls wait for a place."""
        return self.fill_ahead(0.0, calls=0.0)

    def fill_ahead(self, seconds: float, *, calls: float) -> float:
        """Return how full it will be in so many seconds, with that many more calls until then."""
        now = self.clock()
        self._forget(now)
        used = self._used_at(now + seconds) if now >= self._refused_until else self.per_minute
        return (used + self._waiting + calls) / self.per_minute

    async def take(self, call: Call = Call.POLL) -> None:
        """Wait for a place in the minute and use it: the call has to be made at once.

        Equals are served in order. A cancelled taker uses no place.
        """
        taker: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._takers[call].append(taker)
        self._waiting += 1
        self._serve()
        try:
            await taker
        except asyncio.CancelledError:
            if taker.cancelled():
                self._waiting -= 1
            else:
                # Served and cancelled in the same turn of the loop: the call will not be made.
                self._sent.remove(taker.result())
                self._serve()
            raise

    def refused(self, retry_after: float) -> None:
        """Let nobody call for `retry_after` seconds, after a 429.

        The pause is bounded to `SHORTEST_REFUSAL` and `LONGEST_REFUSAL`: a server that
        answers "0" must not be hammered, and "a year" must not stop the bot permanently.
        """
        pause = SHORTEST_REFUSAL if math.isnan(retry_after) else retry_after
        pause = min(max(pause, SHORTEST_REFUSAL), LONGEST_REFUSAL)
        self._refused_until = max(self._refused_until, self.clock() + pause)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] + WINDOW + MARGIN - now <= GRAIN:
            self._sent.popleft()

    def _used_at(self, at: float) -> int:
        """Return how many of the calls made will still be in the minute then."""
        return len(self._sent) - bisect_right(self._sent, at - WINDOW - MARGIN)

    def _free_in(self, now: float, call: Call) -> float:
        """Seconds until the next call, being `call`, may go; 0 or more than `GRAIN`."""
        self._forget(now)
        wait = self._refused_until - now
        if len(self._sent) >= self.per_minute:
            wait = max(wait, self._sent[0] + WINDOW + MARGIN - now)
        elif call is Call.SUBMIT and self.planned is not None and not self._overdue:
            apart = APART * WINDOW / self.per_minute
            if len(self._sent) > CROWDED * self.per_minute and now < self._submitted_at + apart:
                wait = max(wait, self._submitted_at + apart - now)
            elif not self._has_room(self.planned(), now + PATIENCE + apart):
                wait = max(wait, CHECK_AGAIN)
        return wait if wait > GRAIN else 0.0

    def _has_room(self, planned: Sequence[Planned], earliest: float) -> bool:
        """Return whether there will be places for all planned calls, if a song is submitted now.

        In each minute that ends with one of them, or `earliest`, no more than the limit may be
        made, planned or this submit.
        """
        if len(self._sent) + 1 + CALLS_A_SONG * len(planned) <= self.per_minute:
            return True
        late = earliest - self.clock()
        in_order = [(max(at + late, earliest), min(n, self.per_minute - 1)) for at, n in planned]
        in_order.sort()
        calls, first = 1.0, 0
        for at, count in in_order:
            calls += count
            while in_order[first][0] <= at - WINDOW:
                calls -= in_order[first][1]
                first += 1
            if self._used_at(at) + calls > self.per_minute:
                return False
        return True

    @property
    def _overdue(self) -> bool:
        """Return whether it is the turn of a submit."""
        return self._since_submit >= SUBMIT_TURN - 1

    def _serve(self) -> None:
        """Give every free place to the first in line, and come back when the next comes free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while line := self._line():
            now = self.clock()
            waits = [self._free_in(now, call) for call in line]
            if (soonest := min(waits)) > 0.0:
                self._timer = asyncio.get_running_loop().call_later(soonest, self._serve)
                return
            call = line[waits.index(0.0)]
            self._sent.append(now)
            self._waiting -= 1
            self._since_submit = 0 if call is Call.SUBMIT else self._since_submit + 1
            self._submitted_at = now if call is Call.SUBMIT else self._submitted_at
            self._takers[call].popleft().set_result(now)

    def _line(self) -> list[Call]:
        """Return what calls are waited for, first the one whose turn it is."""
        for takers in self._takers.values():
            while takers and takers[0].done():
                takers.popleft()
        line = [call for call in Call if self._takers[call]]
        if self._overdue:
            line.sort(key=lambda call: call is not Call.SUBMIT)
        return line
