"""The account's requests a minute: no more calls are let out than it has, the urgent ones first."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum

WINDOW = 60.0
MARGIN = 0.5
"""Seconds a call keeps its place beyond the minute: two calls reach the server closer together than
they were sent, by as much as the first was slower on its way. With 20 to 120 ms on the wire each
way, 0 had 30 calls of 1,240 refused and 0.1 none (`python -m benchmarks.pacing`)."""

SPURT, SPURT_FILL = 6.0, 0.5
"""In a minute fuller than `SPURT_FILL` a submit also has to fit into its last `SPURT` seconds, at
the limit's own pace. Else the songs of a crowd come in bursts: the minute is used up halfway, and
their looks wait for its other half."""

SUBMIT_TURN = 30
"""While submits wait, one of so many calls is a submit, at whatever pace: songs that are looked at
again and again must not keep all others out. In a minute full of healthy songs it never comes to
that (`python -m benchmarks.pacing` has the same figures without)."""

GRAIN = 0.001  # seconds; a timer may fire this much early, which MARGIN covers
SHORTEST_REFUSAL, LONGEST_REFUSAL = 1.0, 900.0


class Call(IntEnum):
    """What a call is for; where places are short, the lower number goes first.

    A result ends a song and frees its slot; a look that is due is already late; a submit only
    brings more calls: but see `SUBMIT_TURN`.
    """

    RESULT = 0
    LOOK = 1
    SUBMIT = 2


class RequestBudget:
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
            raise ValueError("a budget needs at least one request a minute")
        self.per_minute = per_minute
        self._clock = clock
        self._sent: deque[float] = deque()
        self._refused_until = -math.inf
        self._takers: dict[Call, deque[asyncio.Future[float]]] = {call: deque() for call in Call}
        self._waiting = 0
        self._since_submit = 0
        self._timer: asyncio.TimerHandle | None = None
        if full:
            now, gap = clock(), WINDOW / per_minute
            self._sent.extend(now - MARGIN - gap * (k + 0.5) for k in reversed(range(per_minute)))

    @property
    def fill(self) -> float:
        """How full the minute is: 0 is empty, 1 is full, more when calls wait for a place."""
        now = self._clock()
        self._forget(now)
        used = self.per_minute if now < self._refused_until else len(self._sent)
        return (used + self._waiting) / self.per_minute

    async def take(self, call: Call = Call.LOOK) -> None:
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
        """A 429 came in: let nobody call for `retry_after` seconds.

        What makes no sense is bounded to `SHORTEST_REFUSAL` and `LONGEST_REFUSAL`: a server that
        answers "0" must not be hammered, one that answers "a year" must not stop the bot for good.
        """
        pause = SHORTEST_REFUSAL if math.isnan(retry_after) else retry_after
        pause = min(max(pause, SHORTEST_REFUSAL), LONGEST_REFUSAL)
        self._refused_until = max(self._refused_until, self._clock() + pause)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] + WINDOW + MARGIN - now <= GRAIN:
            self._sent.popleft()

    def _free_in(self, now: float, call: Call) -> float:
        """Seconds until the next call, being `call`, may go; 0 or more than `GRAIN`."""
        self._forget(now)
        wait = self._refused_until - now
        if len(self._sent) >= self.per_minute:
            wait = max(wait, self._sent[0] + WINDOW + MARGIN - now)
        elif call is Call.SUBMIT and self._crowded and not self._overdue:
            spurt = max(int(self.per_minute * SPURT / WINDOW), 1)
            wait = max(wait, self._sent[-spurt] + SPURT - now)
        return wait if wait > GRAIN else 0.0

    @property
    def _crowded(self) -> bool:
        """Whether a submit has to keep to an even pace."""
        return len(self._sent) > SPURT_FILL * self.per_minute

    @property
    def _overdue(self) -> bool:
        """Whether it is the turn of a submit."""
        return self._since_submit >= SUBMIT_TURN - 1

    def _serve(self) -> None:
        """Give every free place to the first in line, and come back when the next comes free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while line := self._line():
            now = self._clock()
            waits = [self._free_in(now, call) for call in line]
            if (soonest := min(waits)) > 0.0:
                self._timer = asyncio.get_running_loop().call_later(soonest, self._serve)
                return
            call = line[waits.index(0.0)]
            self._sent.append(now)
            self._waiting -= 1
            self._since_submit = 0 if call is Call.SUBMIT else self._since_submit + 1
            self._takers[call].popleft().set_result(now)

    def _line(self) -> list[Call]:
        """What calls are waited for, first the one whose turn it is."""
        for takers in self._takers.values():
            while takers and takers[0].done():
                takers.popleft()
        line = [call for call in Call if self._takers[call]]
        if self._overdue:
            line.sort(key=lambda call: call is not Call.SUBMIT)
        return line
