"""The queue as people see it: places and expected times of songs in progress."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from db import songs
from db.database import Database
from db.records import Song, SongEvent, State
from services.clock import Clock
from services.credits.credits import Credits
from services.providers.base import Provider


@dataclass(frozen=True, slots=True)
class View:
    """A song with what changes while it is in progress.

    `place` counts from 1 among the `waiting` songs of all servers, since they share one account;
    `free` is what its member has left in the song's server: None in a view of all its songs, and
    where it can't be known without their roles, since a new period has begun. `unlimited`: the song
    cost its member nothing; False in a view of all its songs.
    """

    song: Song
    expected_at: datetime
    place: int | None
    waiting: int
    free: int | None = None
    unlimited: bool = False


PAUSE = 4.0
"""How long the places are not read after they were, in lengths of that reading: with 6,000 songs
that wait it takes 34 ms."""


class _Places:
    """The place of each song that waits.

    When a crowd requests songs, each status message shows a place in an order as long as the crowd.
    Calls while the places are being read share the next reading: none gets one that began earlier.
    """

    def __init__(
        self,
        database: Database,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._calls = self._answered = 0
        self._known: Mapping[int, int] = {}
        self._not_before = 0.0

    async def read(self) -> Mapping[int, int]:
        """From 1, by the songs' ids, in their order."""
        self._calls += 1
        mine = self._calls
        async with self._turn:
            if self._answered < mine:
                await self._read()
            return self._known

    async def _read(self) -> None:
        await self._sleep(max(0.0, self._not_before - self._monotonic()))
        began, calls = self._monotonic(), self._calls
        order = await songs.waiting_in_order(self._database.reader)
        self._known = {song_id: place for place, song_id in enumerate(order, 1)}
        self._answered = calls
        ended = self._monotonic()
        self._not_before = ended + PAUSE * (ended - began)


AFTERWARDS = 4.0
"""Seconds from the end at the API to the post, to download, transcode and upload."""


def expected_at(
    provider: Provider, song: Song, *, now: datetime, place: int | None = None
) -> datetime:
    """Estimate when `song` will be posted. `place` counts from 1 among those that wait."""
    seconds = AFTERWARDS
    if song.state in (State.WAITING, State.SUBMITTING, State.SUBMITTED):
        age = max(0.0, (now - (song.submitted_at or now)).total_seconds())
        seconds += provider.pacer.expected(seconds=song.seconds, steps=song.steps, age=age)
    if place is not None:
        run = provider.pacer.expected(seconds=song.seconds, steps=song.steps, age=0.0)
        by_slots = (place - 1) // provider.at_once * run
        by_calls = (place - 1) * provider.seconds_per_song
        seconds += max(by_slots, by_calls)
    return now + timedelta(seconds=seconds)


class Queue:
    """Reads songs in progress, and forgets the tokens that showing it no longer needs."""

    def __init__(
        self,
        database: Database,
        credits: Credits,
        provider: Provider,
        *,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._credits = credits
        self._provider = provider
        self._clock = clock
        self._places = _Places(database, monotonic, sleep)

    async def view(self, song_id: int) -> View | None:
        """One song as it is now."""
        song = await songs.get(self._database.reader, song_id)
        if song is None:
            return None
        places = await self._places.read() if song.state is State.WAITING else {}
        free, unlimited = await self._credits.left(song)
        return replace(self._view(song, places), free=free, unlimited=unlimited)

    async def of_server(self, server_id: int) -> list[View]:
        """What runs in a server, then what waits there, in the order in which it will start."""
        places = await self._places.read()
        unfinished = await songs.unfinished_of_server(self._database.reader, server_id)
        views = [self._view(song, places) for song in unfinished]
        return sorted(views, key=lambda view: view.place or 0)

    async def shown_and_waiting(self) -> list[tuple[int, int]]:
        """Each waiting song whose status message can be edited, with its place."""
        editable = {song.song_id for song in await self.shown(ended=False)}
        places = await self._places.read()
        return [(song_id, place) for song_id, place in places.items() if song_id in editable]

    async def shown(self, *, ended: bool) -> list[Song]:
        """Songs, ended or in progress, whose status message can still be edited."""
        return await songs.with_token(self._database.reader, ended=ended)

    async def story(self, song_id: int) -> list[SongEvent]:
        """Return a song's transitions in their order, as far as they are still stored."""
        return await songs.events(self._database.reader, song_id)

    async def forget_token(self, song: Song) -> None:
        """The song's status message won't be edited any more."""
        if song.token is not None:
            async with self._database.write() as connection:
                await songs.forget_token(connection, song.song_id, token=song.token)

    async def move_to_origin(self, song: Song) -> Song:
        """Let a song whose channel is gone be posted where it was requested."""
        async with self._database.write() as connection:
            await songs.move_to_origin(connection, song.song_id)
        return replace(song, channel_id=song.origin_id or song.channel_id, origin_id=None)

    def _view(self, song: Song, places: Mapping[int, int]) -> View:
        place = places.get(song.song_id)
        return View(
            song=song,
            expected_at=expected_at(self._provider, song, now=self._clock(), place=place),
            place=place,
            waiting=len(places),
        )
