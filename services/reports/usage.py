"""Credits that a server's songs took, and who made most of them."""

import asyncio
import contextlib
import heapq
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from db import reports
from db.database import Database
from db.records import to_ms
from db.reports import CountedSong, Place
from services.clock import Clock
from services.errors import OutOfRange

LONGEST = 366
"""Days that a report may go back."""
TOP = 10
"""Members and genres that a report names."""

_COMMA = re.compile("[,\N{FULLWIDTH COMMA}\N{IDEOGRAPHIC COMMA}\N{ARABIC COMMA}]")

Name = TypeVar("Name", int, str)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Credits spent in a span of days and not refunded.

    Attributes:
        days: every day of the span and its credits, oldest first; today is the last.
        members: the ids of those who spent most and their credits, at most `TOP`.
        genres: the single genres that most was spent on, in lower case, at most `TOP`. A song
            counts with its full price for each of its genres.
        songs: the number of songs.
        credits: the sum of `days`.
    """

    days: Sequence[tuple[date, int]]
    members: Sequence[tuple[int, int]]
    genres: Sequence[tuple[str, int]]
    songs: int
    credits: int


class Usage:
    """Reads what was spent. A song counts at the time of its request."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def report(self, server_id: int, *, days: int = 30, zone: str) -> UsageReport:
        """The last `days` days (1 to 366) as clocks in `zone` count them, today among them.

        The price of each song counts, those of unlimited members too, unless it was refunded:
        FAILED, CANCELLED, or not delivered in time. All parts of the report count the same songs.

        Raises:
            OutOfRange: `days` is out of bounds.
            zoneinfo.ZoneInfoNotFoundError: there is no such zone.
        """
        if not 1 <= days <= LONGEST:
            raise OutOfRange("days", 1, LONGEST)
        tally = _Tally(_days_until_now(self._clock(), days, ZoneInfo(zone)))
        songs = reports.counted_songs(
            self._database.reader, server_id, since=tally.since, until=tally.until
        )
        async with contextlib.aclosing(songs) as pages:
            async for page in pages:
                await asyncio.to_thread(tally.add, page)
        return await asyncio.to_thread(tally.report)

    async def leaderboard(
        self, server_id: int, *, days: int = 30, limit: int = 10
    ) -> Sequence[Place]:
        """Return who has the most COMPLETED songs of the last `days` times 24 hours.

        At most `limit` places by rank, then by id. After two members of rank 1 comes rank 3.
        """
        since = self._clock() - timedelta(days=days)
        return await reports.leaderboard(
            self._database.reader, server_id, since=to_ms(since), limit=limit
        )


class _Tally:
    """Adds songs up by day, member and genre. `starts`: when each day began; last, tomorrow."""

    def __init__(self, starts: Mapping[date, int]) -> None:
        *self._days, _ = starts
        *self._starts, self.until = starts.values()
        self.since = self._starts[0]
        self._by_day = [0] * len(self._days)
        self._by_member: Counter[int] = Counter()
        self._by_genre: Counter[str] = Counter()
        self._songs = 0

    def add(self, songs: Sequence[CountedSong]) -> None:
        self._songs += len(songs)
        for song in songs:
            self._by_day[bisect_right(self._starts, song.requested_at) - 1] += song.price
            self._by_member[song.member_id] += song.price
            terms = {" ".join(term.split()) for term in _COMMA.split(song.genres.lower())}
            for genre in filter(None, terms):
                self._by_genre[genre] += song.price

    def report(self) -> UsageReport:
        return UsageReport(
            days=tuple(zip(self._days, self._by_day, strict=True)),
            members=_top(self._by_member),
            genres=_top(self._by_genre),
            songs=self._songs,
            credits=sum(self._by_day),
        )


def _days_until_now(now: datetime, days: int, zone: ZoneInfo) -> dict[date, int]:
    """Return the last days and tomorrow, each with its beginning in milliseconds.

    A midnight that clocks skip is the moment when they jump; of one shown twice it is the first. So
    beginnings always ascend, unlike the dates of moments: clocks that were set back at 00:01 showed
    the previous day again.
    """
    today = now.astimezone(zone).date()
    span = (today + timedelta(days=n) for n in range(1 - days, 2))
    return {day: to_ms(datetime.combine(day, time.min, zone)) for day in span}


def _top(credits: Mapping[Name, int]) -> tuple[tuple[Name, int], ...]:
    return tuple(heapq.nsmallest(TOP, credits.items(), key=lambda item: (-item[1], item[0])))
