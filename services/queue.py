"""What waits and runs, as people see it: places and expected times."""

from dataclasses import dataclass
from datetime import datetime

from db import songs
from db.database import Database
from db.records import Song, Step
from services.making.forecast import Forecast
from services.quota.credits import Credits


@dataclass(frozen=True, slots=True)
class View:
    """A song with what changes while it is under way.

    `place` counts from 1 among the `waiting` songs of all servers, since they share one account;
    `free` is what its member has left in the song's server: None where that can't be known without
    their roles, since a new period has begun. `unlimited`: the song cost its member nothing.
    """

    song: Song
    expected_at: datetime
    place: int | None
    waiting: int
    free: int | None
    unlimited: bool


class Queue:
    """Reads what is under way, and forgets the tokens that showing it no longer needs."""

    def __init__(self, database: Database, credits: Credits, forecast: Forecast) -> None:
        self._database = database
        self._credits = credits
        self._forecast = forecast

    async def view(self, song_id: int) -> View | None:
        """One song as it is now."""
        song = await songs.get(self._database.reader, song_id)
        if song is None:
            return None
        order = await self._order() if song.step is Step.WAITING else []
        return await self._view(song, order)

    async def of_server(self, server_id: int) -> list[View]:
        """What runs in a server, then what waits there, in the order in which it will start."""
        order = await self._order()
        unfinished = await songs.unfinished_of_server(self._database.reader, server_id)
        views = [await self._view(song, order) for song in unfinished]
        return sorted(views, key=lambda view: view.place or 0)

    async def shown_and_waiting(self) -> list[tuple[int, int]]:
        """Each waiting song whose status message can be edited, with its place."""
        editable = {song.song_id for song in await self.shown(ended=False)}
        return [(s, place) for place, s in enumerate(await self._order(), 1) if s in editable]

    async def shown(self, *, ended: bool) -> list[Song]:
        """Songs, ended or under way, whose status message can still be edited."""
        return await songs.with_token(self._database.reader, ended=ended)

    async def forget_token(self, song: Song) -> None:
        """The song's status message won't be edited any more."""
        if song.token is not None:
            async with self._database.write() as connection:
                await songs.forget_token(connection, song.song_id, token=song.token)

    async def _order(self) -> list[int]:
        return await songs.waiting_in_order(self._database.reader)

    async def _view(self, song: Song, order: list[int]) -> View:
        place = order.index(song.song_id) + 1 if song.song_id in order else None
        free, unlimited = await self._credits.left(song)
        return View(
            song=song,
            expected_at=self._forecast.expected_at(song, place=place),
            place=place,
            waiting=len(order),
            free=free,
            unlimited=unlimited,
        )
