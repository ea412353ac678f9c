"""A bot seen from outside: a server and a song API around it, and a folder for its data.

Nothing of the bot is run here. What became of a song is read where people and operators see it: in
the channel, at the API, in the database's file.
"""

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from db.records import State, status_in
from playground.song_api import MODEL, SongApiServer, Timing, serve
from tests.bot_process import BotProcess, bot_process, settings_for
from tests.music import music
from tests.wire import Channel, DiscordWire, Guild, Interaction, Member, Message

T = TypeVar("T")
SUBMIT, MAKE = f"/v2/{MODEL}", f"/v1/{MODEL}"
POLL_INTERVAL = 0.03
"""Seconds between two looks at the database, each of which takes a millisecond or two."""
SOON = 60.0
"""Seconds after which a test gives up waiting for what it started."""


def status_of(row: sqlite3.Row) -> str:
    """What members read of a song's row."""
    return status_in(State(row["state"]), processing=bool(row["processing"]))


def is_shown(song: Interaction, row: sqlite3.Row) -> bool:
    """Whether its status message says how it ended.

    Of one that waits to be delivered the token stays, so that it can go on following.
    """
    if row["token"] is None:
        return True
    shown = "" if song.original is None else str(song.original.embeds)
    return bool(row["state"] == "undelivered" and f"**{status_of(row)}**" in shown)


@dataclass
class World:
    """One server with a channel and a member, the song API, and a folder for the bot's data."""

    folder: Path
    wire: DiscordWire
    api: SongApiServer
    guild: Guild
    channel: Channel
    alice: Member
    settings: dict[str, str] = field(default_factory=dict)
    asked: dict[int, Interaction] = field(default_factory=dict)
    """Every /song so far, by the seed that it was asked with."""
    seeds: Callable[[], int] = itertools.count(1).__next__

    # What people do

    async def song(self, member: Member | None = None, /, **options: Any) -> Interaction:
        """`/song` with everything it needs, by `member` (alice), with a unique seed.

        In the channel of alice's server; in another server, in its first one.
        """
        given: dict[str, Any] = {
            "genres": "funk, pop",
            "lyrics": "[verse]\nMidnight train",
            "seconds": 10,
            "seed": self.seeds(),
            **options,
        }
        member = member or self.alice
        others = iter(member.guild.channels.values())
        channel = self.channel if member.guild is self.guild else next(others)
        asked = await self.wire.slash(member, channel, "song", **given)
        self.asked[given["seed"]] = asked
        return asked

    def slow(self, *, running: float) -> None:
        """The API takes so many seconds for a song from now on."""
        self.api._timing = lambda _: Timing(0.0, running)

    # What came of it

    @property
    def posts(self) -> list[Message]:
        """In every channel."""
        channels = list(self.wire.state.channels.values())
        return [m for c in channels for m in self.wire.messages(c) if m.attachments]

    async def post(self, within: float = SOON) -> Message:
        return await self.wire.wait_message(self.channel, lambda m: bool(m.attachments), within)

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """What the database says, read beside the bot.

        By a connection that can't write: another one, closed last after a kill, would tidy up what
        the bot has to find.
        """
        address = (self.folder / "data/songs.db").as_uri() + "?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()

    def row(self, song: Interaction) -> sqlite3.Row | None:
        """None before the ask's commit."""
        found = self.rows("SELECT * FROM songs WHERE song_id = ?", song.id)
        return found[0] if found else None

    def state(self, song: Interaction) -> str:
        row = self.row(song)
        return row["state"] if row else ""

    async def over(self, song: Interaction, within: float = SOON) -> sqlite3.Row:
        """Its row once it has ended; its message may still be about to say so."""

        def over() -> sqlite3.Row | None:
            return row if (row := self.row(song)) and row["ended_at"] else None

        return await until(over, within)

    async def ended(self, song: Interaction, within: float = SOON) -> sqlite3.Row:
        """Its row once it has ended, and nothing more is to be shown until it is delivered."""

        def over() -> sqlite3.Row | None:
            row = self.row(song)
            return row if row and row["ended_at"] and is_shown(song, row) else None

        return await until(over, within)

    def entries(self, song: Interaction) -> list[str]:
        """What the ledger holds of a song, in the order in which it happened."""
        rows = self.rows("SELECT kind FROM ledger WHERE song_id = ? ORDER BY after_id", song.id)
        return [row["kind"] for row in rows]

    def song_folders(self) -> list[Path]:
        """What lies in the folder of songs, but for its marker."""
        return list((self.folder / "data/songs").glob("[!.]*"))

    def submits(self, song: Interaction | None = None) -> int:
        """How many submits came to the API's door: of one song, or of all."""
        return sum(
            call.path in (SUBMIT, MAKE)
            and (song is None or self.asked.get(call.body.get("seed")) is song)
            for call in self.api.calls
        )

    def puts(self) -> int:
        return self.wire.state.command_puts


@contextlib.asynccontextmanager
async def world_outside(folder: Path, *, wire: DiscordWire | None = None) -> AsyncIterator[World]:
    """One server with a channel and alice in it; songs take 0.1 s, and no limit of calls holds."""
    api = SongApiServer(music, timing=lambda _: Timing(0.0, 0.1), rpm=0)
    async with wire or DiscordWire() as wire, serve(api):
        guild = wire.guild("One")
        channel, alice = wire.channel(guild, "songs"), wire.member(guild, "alice")
        settings = settings_for(wire, api, SEGMIND_RPM="10000")
        yield World(folder, wire, api, guild, channel, alice, settings)


@contextlib.asynccontextmanager
async def own_process(world: World, **settings: str) -> AsyncIterator[BotProcess]:
    """`bot.py` between the world's two sides, once it is connected."""
    settings = world.settings | settings
    async with bot_process(world.folder, settings) as process:
        await world.wire.ready(4 * SOON)  # a busy machine takes long to start Python
        yield process


async def until(look: Callable[[], T | None], within: float = SOON) -> T:
    """The first answer of `look` that is true, for what no socket tells."""
    async with asyncio.timeout(within):
        while True:
            if found := look():
                return found
            await asyncio.sleep(POLL_INTERVAL)
