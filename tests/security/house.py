"""A house for songs, with the real database and client, whose API is what a test answers."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from services.providers.addresses import Network
from services.providers.segmind import Segmind
from tests.databases import new_database
from tests.security.answers import KEY, ROOT
from tests.security.line import Line, Reply
from tests.unit.services.songs.carrying import Channel, House


class Quiet(Channel):
    """A channel that takes every post; nobody looks at the changes."""

    def changed(self, song_id: int) -> None:
        """Nothing is noted: there may be thousands."""


class HouseOnALine(House):
    """Songs are made one after the other; what they leave can be looked at."""

    resolver: AbstractResolver | None = None
    allow: Collection[Network] = ()

    def make_api(self, **_: Any) -> Segmind:
        """The client, with the test's own DNS."""
        return super().make_api(root=ROOT, key=KEY, allow=self.allow, resolver=self.resolver)

    async def fails(self, song_id: int) -> str:
        """A new song is made, and fails: refunded, not posted, nothing left. Why it failed."""
        await self.add(song_id, member_id=song_id, requested_at=self.time())
        await self.start(song_id)
        song = await self.song(song_id)
        assert (song.status, self.channel.posts) == ("FAILED", {})
        assert await self.entries(song_id) == ["hold", "refund"]
        assert self.files() == []
        assert song.reason
        return song.reason


@contextlib.asynccontextmanager
async def house_on_a_line(
    folder: Path,
    answer: Callable[[str, URL], Reply],
    *,
    resolver: AbstractResolver | None = None,
    allow: Collection[Network] = (),
) -> AsyncIterator[HouseOnALine]:
    """The house; `answer` is who sits at the API's end."""
    database = await new_database(folder / "songs.db")
    await database._writer.execute("PRAGMA synchronous = OFF")  # no power is cut here
    line = Line()
    line.answer = answer
    async with (
        aiohttp.ClientSession(connector=line) as session,
        contextlib.AsyncExitStack() as stack,
    ):
        stack.push_async_callback(database.close)
        house = HouseOnALine(database, session, folder)
        house.resolver, house.allow = resolver, allow
        house.channel = Quiet(folder / "songs.db")
        house.restart()
        yield house
