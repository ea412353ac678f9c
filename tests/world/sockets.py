"""A server on `tests.wire`, a song API and a folder, with a bot between their sockets.

The bot is a process (`own_process`) or a task of the test's loop (`running`). What became of a song
is read where people and operators see it: in the channel, at the API, in the database's file.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import discord
import pytest
from pydantic import SecretStr

import bot
from cogs.client.client import Client
from commands.run import run
from db.records import State, status_in
from playground.song_api import MODEL, Composer, SongApiServer, Timing, serve
from services.config import Config, load
from tests.music import music
from tests.wire import Channel, DiscordWire, Guild, Interaction, Member, Message

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
SUBMIT, MAKE = f"/v2/{MODEL}", f"/v1/{MODEL}"
POLL_INTERVAL = 0.03
"""Seconds between two reads of the database, each of which takes a millisecond or two."""
SOON = 60.0
"""Seconds after which a test gives up waiting for what it started."""
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT", "TEMP", "TMPDIR")
"""What Python needs to start. Nothing else of the environment: an operator's settings stay out."""


def status_of(row: sqlite3.Row) -> str:
    """Return the status that members read of a song's row."""
    return status_in(State(row["state"]), processing=bool(row["processing"]))


def is_shown(song: Interaction, row: sqlite3.Row) -> bool:
    """Return whether a song's status message shows how it ended.

    An undelivered one keeps its token, so that its message can follow the delivery.
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
    """The environment of a bot between the two."""
    requested: dict[int, Interaction] = field(default_factory=dict)
    """Every /song so far, by its seed."""
    seeds: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

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
        channel = self.channel if member.guild is self.guild else first_channel(member.guild)
        requested = await self.wire.slash(member, channel, "song", **given)
        self.requested[given["seed"]] = requested
        return requested

    def slow(self, *, running: float) -> None:
        """Let the API take so many seconds for a song from now on."""
        self.api._timing = lambda _: Timing(0.0, running)

    @property
    def posts(self) -> list[Message]:
        """Every song that was posted, in all channels."""
        channels = list(self.wire.state.channels.values())
        return [m for c in channels for m in self.wire.messages(c) if m.attachments]

    async def post(self, within: float = SOON) -> Message:
        return await self.wire.wait_message(self.channel, lambda m: bool(m.attachments), within)

    @property
    def database_file(self) -> Path:
        return self.folder / "data/songs.db"

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Read from the database of a running bot.

        By a connection that can't write: closed last after a kill, a writing one would checkpoint
        the log that the bot has to find.
        """
        address = self.database_file.as_uri() + "?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()

    def execute(self, statement: str, *values: Any) -> None:
        """Change the database behind the bot's back."""
        with contextlib.closing(sqlite3.connect(self.database_file)) as connection:
            connection.execute(statement, values)
            connection.commit()

    def row(self, song: Interaction) -> sqlite3.Row | None:
        """Return a song's row; None before the request is committed."""
        found = self.rows("SELECT * FROM songs WHERE song_id = ?", song.id)
        return found[0] if found else None

    def state(self, song: Interaction) -> str:
        row = self.row(song)
        return row["state"] if row else ""

    async def over(self, song: Interaction, within: float = SOON) -> sqlite3.Row:
        """Wait until a song has ended; its message may not show it yet."""

        def over() -> sqlite3.Row | None:
            return row if (row := self.row(song)) and row["ended_at"] else None

        return await until(over, within)

    async def ended(self, song: Interaction, within: float = SOON) -> sqlite3.Row:
        """Wait until a song has ended and its message shows it."""

        def over() -> sqlite3.Row | None:
            row = self.row(song)
            return row if row and row["ended_at"] and is_shown(song, row) else None

        return await until(over, within)

    def entries(self, song: Interaction) -> list[str]:
        """Return the kinds of a song's ledger entries, in the order in which they happened."""
        rows = self.rows("SELECT kind FROM ledger WHERE song_id = ? ORDER BY after_id", song.id)
        return [row["kind"] for row in rows]

    def song_folders(self) -> list[Path]:
        """Return what is in the folder of songs, except for its marker."""
        return list((self.folder / "data/songs").glob("[!.]*"))

    def submits(self, song: Interaction | None = None) -> int:
        """Return how many submits the API got, accepted or not: of one song, or of all."""
        return sum(
            call.path in (SUBMIT, MAKE)
            and (song is None or self.requested.get(call.body.get("seed")) is song)
            for call in self.api.calls
        )

    def puts(self) -> int:
        return self.wire.state.command_puts


def first_channel(guild: Guild) -> Channel:
    return next(iter(guild.channels.values()))


@contextlib.asynccontextmanager
async def world_outside(
    folder: Path,
    *,
    wire: DiscordWire | None = None,
    compose: Composer = music,
    running: float = 0.1,
) -> AsyncIterator[World]:
    """One server with a channel and alice in it. The API makes a song in `running` seconds.

    Late acknowledgements are accepted: how soon the bot acknowledges is measured in benchmarks,
    where it has the machine to itself.
    """
    api = SongApiServer(compose, timing=lambda _: Timing(0.0, running), rpm=0)
    async with wire or DiscordWire() as wire, serve(api):
        wire.limits.acknowledgement = SOON
        guild = wire.guild("One")
        channel, alice = wire.channel(guild, "songs"), wire.member(guild, "alice")
        settings = {
            "DISCORD_TOKEN": wire.token,
            "DISCORD_API_URL": wire.api_url,
            "SEGMIND_API_KEY": api.key,
            "SEGMIND_API_URL": api.root,
            "SEGMIND_RPM": "10000",
            "DEFAULT_COOLDOWN": "0",
            "MEMBER_HOURLY_REFUNDS": "1000000",
            "DAILY_SONGS": "0",
            "SERVER_DAILY_SONGS": "0",
        }
        yield World(folder, wire, api, guild, channel, alice, settings)


async def until(
    condition: Callable[[], T | None], within: float = SOON, *, every: float = POLL_INTERVAL
) -> T:
    """Wait for the first true result of a condition that no socket notifies of."""
    async with asyncio.timeout(within):
        while True:
            if found := condition():
                return found
            await asyncio.sleep(every)


# --- the bot as a process -------------------------------------------------------------------------


class BotProcess:
    """One run of `bot.py` in `folder`, where its database, its data and its log are."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.output = ""
        """What it wrote to both streams, once it has ended."""

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "it has not been started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def start(self, *arguments: str) -> None:
        """Return at once; see `DiscordWire.ready` for when it is connected."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "bot.py"),
                *arguments,
                cwd=self._folder,
                env=kept | self._settings,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def ended(self, within: float = SOON) -> int:
        """Return its status, negative where a signal ended it. Raises TimeoutError."""
        status = await asyncio.wait_for(self.process.wait(), within)
        self.output = (self._folder / "log").read_text()
        return status

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = SOON) -> int:
        """Send it a signal and return its status. Raises TimeoutError."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await self.ended(within)


@contextlib.asynccontextmanager
async def own_process(world: World, **settings: str) -> AsyncIterator[BotProcess]:
    """Start `bot.py` in the world and wait until it is connected; it is killed at the end."""
    process = BotProcess(world.folder, world.settings | settings)
    await process.start()
    try:
        await world.wire.ready(4 * SOON)  # a busy machine takes long to start Python
        yield process
    finally:
        if process.process.returncode is None:
            await process.stop(signal.SIGKILL)


# --- the bot in the test's loop -------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(
    world: World, monkeypatch: pytest.MonkeyPatch, *, status: int = 0
) -> AsyncIterator[Client]:
    """Run `bot.py run` as a task of the test's loop.

    It is stopped at the end, unless `status` is not 0: then it has to end with that by itself.
    """
    stops: list[Callable[[], None]] = []
    clients: list[Client] = []
    began = Client.__init__

    def begin(client: Client, prepare: Callable[[Client], Awaitable[None]]) -> None:
        began(client, prepare)
        # discord.py's pauses spare Discord; the wire needs no sparing.
        client._connection.guild_ready_timeout = 0.05
        clients.append(client)

    async def at_once(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(Client, "__init__", begin)
    monkeypatch.setattr(Client, "before_identify_hook", at_once)
    monkeypatch.setattr("commands.run._on_signals", stops.append)
    configure(world, monkeypatch)
    task = asyncio.create_task(run(load(), bot.composed))
    try:
        await world.wire.ready()
        await asyncio.wait_for(clients[0].wait_until_ready(), SOON)
        yield clients[0]
        if status == 0:
            stops[0]()
        assert await asyncio.wait_for(task, SOON) == status
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def configure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the world's settings; undo what a bot sets for its process afterwards."""
    set_environment(monkeypatch, world.folder, world.settings)
    use_api(monkeypatch, discord.http.Route.BASE)


def use_api(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let discord.py use this API until the test ends, and the gateway that it names."""
    monkeypatch.setattr(discord.http.Route, "BASE", url)
    gateway = discord.gateway.DiscordWebSocket
    monkeypatch.setattr(gateway, "DEFAULT_GATEWAY", gateway.DEFAULT_GATEWAY)


def local_config(wire: DiscordWire, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return a bot's configuration for the simulated Discord, without pauses between songs."""
    use_api(monkeypatch, wire.api_url)
    return Config(
        discord_token=SecretStr(wire.token),
        segmind_api_key=SecretStr("SG_0123456789abcdef"),
        database_url=f"sqlite:///{folder / 'songs.db'}",
        data_dir=folder,
        default_cooldown=0,
        member_hourly_refunds=0,
    )


def set_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, given: dict[str, str]) -> None:
    for name in Config.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
