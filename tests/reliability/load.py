"""Many at once: who requests songs, the order in which they have to be served, unfinished songs."""

import asyncio
import itertools
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp

from cogs.songs import cards
from db import servers, songs
from db.connection import Connection
from db.database import Database
from db.records import TOKEN_LIFETIME, Song, State
from services.clock import utc_now
from services.settings.settings import Defaults
from services.settings.settings import Member as Who
from tests.factories import make_credits, make_song
from tests.music import mp3
from tests.wire import Guild, Interaction, Member
from tests.wire.calls import Call, Upload
from tests.wire.interactions import COMMAND, new_interaction
from tests.wire.limits import CALLBACK
from tests.wire.rest import MESSAGES, THINK
from tests.wire.state import EPHEMERAL
from tests.world.sockets import SUBMIT, World, first_channel, until

LYRICS = (
    "[verse]\n" + "One more night on the midnight train, one more mile in the pouring rain\n" * 20
)
PATIENCE = 400.0
ENOUGH = 50
"""Songs of one member that may wait at once, where a test raises the limit."""


def most_within(times: Sequence[float], seconds: float) -> int:
    """Return how many of these ordered times are closer together than that, at most."""
    return max((n - bisect_right(times, at - seconds) for n, at in enumerate(times, 1)), default=0)


async def patiently(condition: Callable[[], object]) -> None:
    """Wait, polling so rarely that the polls themselves are no load. Raises TimeoutError."""
    await until(condition, PATIENCE, every=0.2)


# --- requests -------------------------------------------------------------------------------------


def crowd(world: World, sizes: Sequence[int]) -> list[Member]:
    """Create servers of these sizes, each with a channel; return their members."""
    members = []
    for number, size in enumerate(sizes, 1):
        guild = world.wire.guild(f"Crowd {number}")
        world.wire.channel(guild, "songs")
        members += [world.wire.member(guild, f"member-{number}-{n}") for n in range(size)]
    return members


async def press(
    world: World, members: Sequence[Member], *, within: float, made: int = 1
) -> list[Interaction]:
    """Let each of them use `/song`, evenly over so many seconds, without waiting for answers.

    One in `made` songs is made; the others fail at the API: Discord accepts a post a second in a
    channel, and an encoder is a process.
    """
    loop = asyncio.get_running_loop()
    began, requested = loop.time(), []
    for n, member in enumerate(members):
        await asyncio.sleep(began + n * within / len(members) - loop.time())
        genres = "funk" if n % made == made - 1 else "fail"
        requested.append(await world.song(member, genres=genres, lyrics=LYRICS))
    return requested


async def raise_limit(world: World, members: Sequence[Member]) -> None:
    """Let their servers allow `ENOUGH` songs in progress to a member, by the panel."""
    guilds = {member.guild.id: member.guild for member in members}.values()
    async with asyncio.TaskGroup() as group:
        for guild in guilds:
            group.create_task(_raise_limit(world, guild))
    raised = f"SELECT server_id FROM settings WHERE name = 'unfinished' AND value = '{ENOUGH}'"
    await patiently(lambda: len(world.rows(raised)) == len(guilds))


async def _raise_limit(world: World, guild: Guild) -> None:
    manager = world.wire.member(guild, "manager", manage_guild=True)
    shown = await world.wire.slash(manager, first_channel(guild), "quota show")
    panel = await shown.wait_message(lambda m: not m.loading, PATIENCE)
    topics = [f"settings:tab:{topic}:1" for topic in ("roles", "members", "limits")]
    hurried = [await world.wire.press(manager, panel, topic, forged=True) for topic in topics]
    for one in hurried:
        await one.acknowledged(PATIENCE)
    await world.wire.press(manager, panel, topics[-1], forged=True)
    # discord.py drops a press of a button that its message does not have.
    button = "settings:form:unfinished:0:limits:1"
    await shown.wait_message(lambda m: "form:unfinished" in str(m.components), PATIENCE)
    opened = await world.wire.press(manager, panel, button)
    await opened.acknowledged(PATIENCE)
    sent = await world.wire.submit(manager, opened, unfinished=str(ENOUGH))
    await sent.acknowledged(PATIENCE)


async def all_over(world: World) -> None:
    """Wait until every song has ended, and its message shows it."""
    in_progress = "SELECT count(*) AS n FROM songs WHERE ended_at IS NULL OR token IS NOT NULL"
    await patiently(lambda: world.rows(in_progress)[0]["n"] == 0)


# --- the order of the starts ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """When a song was requested and started, in milliseconds."""

    song_id: int
    server: int
    member: int
    requested: int
    started: int


def starts(world: World) -> list[Start]:
    """Every song that was submitted, in the order in which they were marked."""
    rows: list[sqlite3.Row] = world.rows(
        """
        SELECT song_id, server_id, member_id, requested_at, counted_at FROM songs
        WHERE counted_at IS NOT NULL ORDER BY counted_at, song_id
        """
    )
    return [Start(*row) for row in rows]


def unfair(order: Sequence[Start]) -> list[str]:
    """Return every start before which another song had to come.

    Next is the server whose last start is longest ago (never started first), within it the member
    likewise, then the oldest song. Within one millisecond any order is right.
    """
    found = []
    by_server: dict[int, int] = {}
    by_member: dict[tuple[int, int], int] = {}
    waiting = list(order)
    for song in order:
        waiting.remove(song)
        for other in waiting:
            if other.requested >= song.started or other.started <= song.started:
                continue  # perhaps it was not waiting when this one was chosen
            if _is_before(other, song, by_server, by_member):
                found.append(f"{song} came before {other}")
        by_server[song.server] = song.started
        by_member[song.server, song.member] = song.started
    return found


def _is_before(
    other: Start,
    song: Start,
    by_server: dict[int, int],
    by_member: dict[tuple[int, int], int],
) -> bool:
    """Return whether `other` had to start first; servers that never started are equal."""
    if other.server != song.server:
        return by_server.get(other.server, 0) < by_server.get(song.server, 0)
    if other.member != song.member:
        return by_member.get((other.server, other.member), 0) < by_member.get(
            (song.server, song.member), 0
        )
    return other.requested < song.requested


# --- what a restarted bot finds -------------------------------------------------------------------

ALLOWANCE = 100_000
"""Credits a day, for thousands of songs. For DEFAULT_ALLOWANCE."""
MIX = (
    # Of twenty unfinished songs.
    *(State.WAITING,) * 12,
    *(State.SUBMITTED,) * 5,
    State.DOWNLOADED,
    State.READY,
    State.POSTING,
)
BATCH = 500
LONG_AGO, JUST_NOW = timedelta(minutes=20), timedelta(seconds=30)
"""Before now: when a request's token has expired, and when it has not."""


async def fill(
    world: World,
    members: Sequence[Member],
    count: int,
    *,
    mix: Sequence[State] = MIX,
    genres: str = "funk, pop",
) -> list[Interaction]:
    """Add so many unfinished songs, as `mix` says, to the database of a bot that is not running.

    Every other one was requested long ago, so that its token has expired. Every other one that was
    being posted is in its channel already.
    """
    requested = []
    database = await Database.open(world.folder / "data/songs.db")
    try:
        async with aiohttp.ClientSession() as session:
            whose = itertools.islice(itertools.cycle(members), count)
            for batch in _batches(whose, BATCH):
                found = [await _unfinished(world, session, member, mix, genres) for member in batch]
                await _write(database, [song for song, _ in found])
                requested += [interaction for _, interaction in found]
    finally:
        await database.close()
    return requested


def _batches(members: Iterable[Member], size: int) -> Iterator[list[Member]]:
    members = iter(members)
    while batch := list(itertools.islice(members, size)):
        yield batch


async def _unfinished(
    world: World,
    session: aiohttp.ClientSession,
    member: Member,
    mix: Sequence[State],
    genres: str,
) -> tuple[Song, Interaction]:
    """Make one song, with what Discord, the song API and the disk know of it."""
    seed = world.seeds()
    step = mix[seed % len(mix)]
    over = seed // len(mix) % 2 == 0
    now = utc_now()
    requested = world.requested[seed] = _requested(world, member)
    if over:
        requested.dispatched -= LONG_AGO.total_seconds()
    song = make_song(
        requested.id,
        server_id=member.guild.id,
        member_id=member.id,
        channel_id=requested.channel.id,
        number=seed,
        seed=seed,
        genres=genres,
        lyrics=LYRICS,
        seconds=10,
        price=1,
        state=step,
        requested_at=now - (LONG_AGO if over else JUST_NOW),
        submitted_at=now if step is not State.WAITING else None,
        application_id=world.wire.application_id,
        message_id=None if requested.original is None else requested.original.id,
        token=requested.token,
        token_until=now + (TOKEN_LIFETIME - (LONG_AGO if over else JUST_NOW)),
        request_id=(None if step is State.WAITING else await _submit(world, session, genres, seed)),
        file="song.mp3",
    )
    folder = world.folder / "data/songs" / str(song.song_id)
    if step not in (State.WAITING, State.SUBMITTED):
        folder.mkdir(parents=True)
        name = "source" if step is State.DOWNLOADED else song.file or ""
        os.link(_audio(world.folder), folder / name)
    if step is State.POSTING and over:
        _post(world, song)
    return song, requested


def _audio(folder: Path) -> Path:
    """Return one file for all of them: thousands would fill the disk."""
    path = folder / "audio.mp3"
    if not path.exists():
        path.write_bytes(mp3(10))
    return path


def _requested(world: World, member: Member) -> Interaction:
    """Make a /song that the bot of before acknowledged."""
    channel = first_channel(member.guild)
    requested = new_interaction(world.wire.state, COMMAND, member, channel, {})
    params = {"interaction_id": str(requested.id), "interaction_token": requested.token}
    body: dict[str, object] = {"type": THINK, "data": {"flags": EPHEMERAL}}
    world.wire._rest.call_back(_call(world, CALLBACK, params, body))
    return requested


def _post(world: World, song: Song) -> None:
    """Post it, as a bot that was killed before it knew."""
    body: dict[str, object] = {
        "content": f"<@{song.member_id}>",
        "embeds": [cards.post_card(song).to_dict()],
        "nonce": str(song.song_id),
    }
    call = _call(world, MESSAGES, {"channel_id": str(song.channel_id)}, body)
    call.uploads.append(Upload(0, "song.mp3", b"ID3"))
    world.wire._rest.post_message(call)


def _call(world: World, route: str, params: dict[str, str], body: dict[str, object]) -> Call:
    return Call("POST", route, route, world.wire.clock.now(), params, {}, None, body)


async def _submit(world: World, session: aiohttp.ClientSession, genres: str, seed: int) -> str:
    """Submit a song, as the bot of before did."""
    body = {"genres": genres, "output_seconds": 10, "seed": seed}
    headers = {"x-api-key": world.api.key}
    async with session.post(world.api.root + SUBMIT, json=body, headers=headers) as answer:
        return str((await answer.json())["request_id"])


async def _write(database: Database, found: Sequence[Song]) -> None:
    """Write their rows and their holds, by the functions that move songs."""
    credits = make_credits(database, utc_now, defaults=Defaults(allowance=ALLOWANCE))

    async def write(connection: Connection) -> None:
        for song in found:
            who = Who(song.server_id, song.member_id)
            settings = await credits._settings_reader.read(connection, who.server_id, who.member_id)
            balance = await credits.open(connection, who, settings, at=utc_now())
            await servers.take_number(connection, song.server_id)
            await songs.insert(connection, song)
            await credits.hold(connection, song, balance, settings)
            await _move(connection, song)

    await database.transact(write)


async def _move(connection: Connection, song: Song) -> None:
    """Move it to its state, step by step."""
    song_id, at = song.song_id, utc_now()
    moves: dict[State, Callable[[], Awaitable[bool]]] = {
        State.SUBMITTED: lambda: songs.mark_submitted(
            connection, song_id, request_id=song.request_id, at=at
        ),
        State.DOWNLOADED: lambda: songs.mark_downloaded(
            connection, song_id, submitted_at=at, at=at, run_low=None, run_high=None
        ),
        State.READY: lambda: songs.mark_ready(connection, song_id, file="song.mp3", at=at),
        State.POSTING: lambda: songs.mark_posting(connection, song_id, at=at),
    }
    if song.state is State.WAITING:
        return
    assert await songs.mark_submitting(connection, song_id, at=at)
    for step, move in moves.items():
        assert await move()
        if step is song.state:
            return
