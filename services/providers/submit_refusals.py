"""Whose refusal a 403 or 404 to a submit is: the operator's account's, or one request's alone.

A firewall in front of the API answers 403 to text that it dislikes (google/adk-python 4372,
BerriAI/litellm 12421). If that counted as the account's, any member could pause songs in every
server, at no cost.
"""

import asyncio
import logging
from collections import Counter
from datetime import datetime, timedelta

from services.clock import WatchedClock
from services.errors import AccountProblem, SongApiError
from services.providers.base import Provider

log = logging.getLogger(__name__)

CHECK_EVERY = timedelta(minutes=1)
"""For how long an account check holds."""
RELATED_WITHIN = timedelta(minutes=10)
"""Within it refusals of two members' songs are the account's."""
TOGETHER = timedelta(minutes=1)
"""How long after a pair of related refusals others that were refused together with it may come."""
MOST_PROBES = 3
"""How often one song may be refused while the key is known to be."""


class SubmitRefusals:
    """Remembers the refusals that were put down to their requests."""

    def __init__(self, provider: Provider, *, clock: WatchedClock) -> None:
        self._provider = provider
        self._clock = clock
        # The member whose song was refused last, and when.
        self._last: tuple[int, datetime] | None = None
        # When the account was blamed for that refusal and another one, together.
        self._blamed: datetime | None = None
        # When the account was checked last, and whether the key worked, if that is known.
        self._check: tuple[datetime, bool | None] | None = None
        # How often songs were refused while the key was.
        self._probes = Counter[int]()
        # Of songs that are refused together, each sees what the one before it was put down to.
        self._one_at_a_time = asyncio.Lock()

    def accepted(self) -> None:
        """Note that the API has accepted a submit: the account works."""
        self._last = self._blamed = None
        self._probes.clear()

    async def concerns_request(self, member_id: int) -> bool:
        """Return whether the refusal of a member's song is that request's alone.

        Not if the account check is refused, too. But a readable balance does not prove that the
        key may submit. So a second member's song, refused within ten minutes and with nothing
        accepted between, is the account's; also where the check has no verdict. A pair
        blames it once: otherwise one refusal of an accomplice's would do for ten minutes of pauses.
        """
        async with self._one_at_a_time:
            if self._blamed is not None and self._clock.elapsed_since(self._blamed) > TOGETHER:
                self._last = self._blamed = None
            if self._last is not None:
                other, at = self._last
                if other != member_id and self._clock.elapsed_since(at) <= RELATED_WITHIN:
                    self._blamed = self._blamed or self._clock()
                    return False
            if await self._key_works() is False:
                return False
            self._last = (member_id, self._clock())
            return True

    async def concerns_probe(self, song_id: int) -> bool:
        """Return whether a song's refusal is that request's alone, while the key is refused.

        Such a song waits again, since the refusal is known. But no new songs come then: if those
        left to probe the account with are refused for their lyrics, songs would stay paused until
        their six hours are over. They take turns, so each has its own count.
        """
        async with self._one_at_a_time:
            self._probes[song_id] += 1
            return self._probes[song_id] >= MOST_PROBES and await self._key_works() is True

    async def _key_works(self) -> bool | None:
        """Return whether the balance can be read, checked once a minute at most.

        None: the check has no verdict. A 429, an outage or a lost answer says nothing of the key.
        """
        if self._check is not None:
            checked_at, known = self._check
            if self._clock.elapsed_since(checked_at) < CHECK_EVERY:
                return known
        works: bool | None
        try:
            await self._provider.get_balance()
        except SongApiError as error:
            log.warning("The account at the song API: %s", error)
            works = False if isinstance(error, AccountProblem) else None
        else:
            works = True
        self._check = (self._clock(), works)
        return works
