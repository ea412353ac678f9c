"""Songs that could not be posted: each reaches its member once, or its price goes back."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta

import discord
import pytest

from cogs.client.client import Client
from cogs.songs.texts import COULD_NOT_POST, LISTEN
from db.records import Reason
from services.songs.delivery import Delivery
from tests.music import short
from tests.reliability.crash_points import Plan, all_points
from tests.reliability.guarantees import broken_guarantees
from tests.reliability.killable_bot import Constants, KillableBot, Nursery, nursery
from tests.reliability.killing import forget_nonces
from tests.reliability.scenarios import PROGRAM, QUICK, refuse_post
from tests.wire import Call, Fault, Interaction, Member, Permission
from tests.wire.permissions import BOT
from tests.wire.rest import MESSAGES
from tests.wire.state import PRIVATE_THREAD
from tests.world.clock import BotClock
from tests.world.sockets import SOON, World, own_process, running, status_of, until

forked = pytest.mark.skipif(not hasattr(os, "fork"), reason="bots are forked")

SILENT = BOT & ~Permission.ATTACH_FILES
ANSWER = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
DAY = timedelta(hours=25)
AT_ONCE: Constants = {
    "cogs.songs.announcer.BETWEEN_EDITS": 0.05,
    "services.songs.delivery.EVERY": 0.1,
    "services.songs.delivery.SETTLE": 0.0,
    PROGRAM: QUICK[PROGRAM],
}
REFUNDING = (
    "services.songs.poster.Poster._compensate: ",
    "services.songs.poster.Poster.close: ",
    "services.songs.completion.SongCompletion.compensate: ",
)
"""The steps on which a price goes back; what comes before them only reads."""


@pytest.fixture(autouse=True)
def quick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs are made in one call, and no pause is longer than the test."""
    world.wire.limits.edit_interval = None
    world.api._compose = short
    world.slow(running=0.0)
    world.settings |= {"SEGMIND_MODE": "sync", "DEFAULT_ALLOWANCE": "100"}
    for name, value in AT_ONCE.items():
        monkeypatch.setattr(name, value)


async def undelivered(world: World) -> Interaction:
    """A song of alice's whose permission was withdrawn while it was being made."""
    (song,) = await all_undelivered(world, world.alice)
    return song


async def all_undelivered(world: World, *members: Member) -> list[Interaction]:
    """The same of each of them."""
    with posts_held(world):
        songs = [await world.song(member) for member in members]
        await until(lambda: all(map(world.state, songs)))
        world.wire.permit(world.channel, SILENT)
    for song in songs:
        row = await world.ended(song)
        assert (status_of(row), row["post_id"]) == ("COMPLETED", None)
        assert row["reason"] == Reason.NO_PERMISSION
        assert file_of(world, song) is not None
    return songs


@contextlib.contextmanager
def posts_held(world: World) -> Iterator[None]:
    """Songs are made while the block runs, and whatever happens in it comes before their posts."""
    opened = asyncio.Event()

    async def hold(call: Call) -> None:
        if (call.method, call.route) == ("POST", MESSAGES):
            await opened.wait()

    world.wire.faults.hook = hold
    yield
    world.wire.faults.hook = None
    opened.set()


class Rounds:
    """Counts the rounds of the delivery."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._over = 0
        once = Delivery.once

        async def counted(delivery: Delivery) -> None:
            await once(delivery)
            self._over += 1

        monkeypatch.setattr(Delivery, "once", counted)

    async def more(self, count: int) -> None:
        """Until so many have been begun and ended."""
        end = self._over + count + 1
        await until(lambda: self._over >= end)


def file_of(world: World, song: Interaction) -> str | None:
    """The name of its file, where the row and the folder have it."""
    row = world.row(song)
    if row is None or row["file"] is None:
        return None
    folder = world.folder / "data/songs" / str(song.id)
    return str(row["file"]) if (folder / row["file"]).is_file() else None


async def show(world: World, song: Interaction, member: Member | None = None) -> bytes | None:
    """`/show`; the audio that came with its answer, which only the member sees."""
    row = world.row(song)
    assert row is not None
    requested = await world.wire.slash(
        member or song.member, world.channel, "show", song=str(row["number"])
    )
    answer = await requested.wait_message(lambda m: bool(m.embeds or m.content), SOON)
    assert answer.ephemeral
    return answer.attachments[0].content if answer.attachments else None


async def delivered(world: World, *songs: Interaction) -> None:
    """Until each has reached its member, its message says so, and its files are away."""

    def all_are() -> bool:
        rows = [world.row(song) for song in songs]
        over = all(row and row["state"] == "completed" and row["token"] is None for row in rows)
        folder = world.folder / "data/songs"
        return over and not any((folder / str(song.id)).exists() for song in songs)

    await until(all_are)


async def check(world: World, song: Interaction, *, posts: int, back: bool = False) -> None:
    """What became of it, where everybody sees it."""
    assert sum(post.nonce == str(song.id) for post in world.posts) == posts
    assert world.entries(song) == ["hold", "settle", *(["compensate"] if back else [])]
    row = world.row(song)
    assert row is not None
    assert row["state"] == ("refunded" if back else "completed")
    assert (row["post_id"] is not None) is bool(posts)


def refused(world: World) -> int:
    """How many messages of the bot Discord has refused so far."""
    return world.wire.answers["POST", MESSAGES, 403]


# --- to the channel, to the member ----------------------------------------------------------------


async def test_a_permission_withdrawn_while_it_runs_and_restored(
    world: World, figure: Callable[[str], None]
) -> None:
    """The process as a user starts it: nothing of it is hurried."""
    async with own_process(world) as process:
        song = await undelivered(world)
        began = time.monotonic()
        world.wire.permit(world.channel, BOT)
        post = await world.post()
        took = time.monotonic() - began
        await delivered(world, song)
        assert post.pings.users == {world.alice.id}
        assert await show(world, song) is None
        assert await process.stop() == 0
    assert refused(world) == 1
    await check(world, song, posts=1)
    assert await broken_guarantees(world) == []
    figure(f"posted {took:.1f} s after that, with 1 refusal before")


@pytest.mark.long
async def test_removed_from_its_private_thread_and_added_again(
    world: World, figure: Callable[[str], None]
) -> None:
    """Its permissions stay as they are. The process as a user starts it: nothing is hurried."""
    world.channel = thread = world.wire.thread(world.channel, "secret", kind=PRIVATE_THREAD)
    async with own_process(world) as process:
        with posts_held(world):
            song = await world.song()
            await until(lambda: world.state(song))
            world.wire.remove_bot_from(thread)
        row = await world.ended(song)
        assert row["reason"] == Reason.NO_ACCESS
        message = await song.wait_message(lambda m: COULD_NOT_POST in str(m.embeds), SOON)
        began = time.monotonic()
        world.wire.add_bot(thread)
        await world.post()
        took = time.monotonic() - began
        await delivered(world, song)
        await until(lambda: LISTEN in str(message.embeds))
        assert await process.stop() == 0
    await check(world, song, posts=1)
    assert await broken_guarantees(world) == []
    figure(f"posted {took:.1f} s after that, with {refused(world)} refusal before")


async def test_show_gives_it_and_that_is_its_delivery(
    world: World, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    """The permission that comes back afterwards posts another's, and not this one."""
    bob = world.wire.member(world.guild, "bob")
    async with running(world, monkeypatch):
        song, other = await all_undelivered(world, world.alice, bob)
        assert await show(world, song, bob) is None
        audio = await show(world, song)
        assert audio is not None
        assert await show(world, song) is None
        world.wire.permit(world.channel, BOT)
        await delivered(world, song, other)
    await check(world, song, posts=0)
    await check(world, other, posts=1)
    assert await broken_guarantees(world) == []
    figure(f"{len(audio):,} bytes to its requester, 0 to another, 1 song of 2 posted")


async def test_its_channel_is_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    gone, world.channel = world.channel, world.wire.channel(world.guild, "songs too")
    async with running(world, monkeypatch):
        with posts_held(world):
            song = await world.wire.slash(
                world.alice, gone, "song", genres="funk", lyrics="[verse]\nla", seconds=10, seed=1
            )
            world.requested[1] = song
            await until(lambda: world.state(song))
            world.wire.delete_channel(gone)
        row = await world.ended(song)
        assert row["reason"] == Reason.CHANNEL_GONE
        assert await show(world, song) is not None
        await delivered(world, song)
    await check(world, song, posts=0)
    assert await broken_guarantees(world) == []
    figure("1 song, received in another channel")


async def test_removed_and_invited_again(
    world: World, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    rounds = Rounds(monkeypatch)
    async with running(world, monkeypatch) as client:
        with posts_held(world):
            song = await world.song()
            await until(lambda: world.state(song) == "posting")
            world.wire.remove_bot(world.guild)
        await world.over(song)
        assert file_of(world, song) is not None
        requests = len(world.wire.requests)
        await rounds.more(5)
        assert len(world.wire.requests) - requests <= 1  # the last edit of the status message
        world.wire.invite_bot(world.guild)
        await delivered(world, song)
        tried = len(world.wire.requests) - requests
        assert client.get_guild(world.guild.id) is not None
    await check(world, song, posts=1)
    assert await broken_guarantees(world) == []
    figure(f"posted late, once; {tried} requests from its end to that")


async def test_all_press_show_while_their_songs_are_posted(
    world: World, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    """The permission has just come back; and everybody presses twice."""
    members = [world.wire.member(world.guild, f"member {n}") for n in range(5)]
    async with running(world, monkeypatch):
        songs = await all_undelivered(world, *members)
        world.wire.permit(world.channel, BOT)
        await until(lambda: len(world.posts) >= 2)
        # The round goes from the oldest on: they meet in the middle.
        pressing = [asyncio.create_task(show(world, s)) for s in reversed(songs) for _ in (1, 2)]
        heard = [audio for audio in await asyncio.gather(*pressing) if audio is not None]
        await delivered(world, *songs)
    posts = [sum(post.nonce == str(song.id) for post in world.posts) for song in songs]
    for song, count in zip(songs, posts, strict=True):
        await check(world, song, posts=count)
    assert await broken_guarantees(world) == []
    assert set(posts) <= {0, 1}
    assert len(heard) + sum(posts) == len(songs)
    figure(f"{len(songs)} songs: {len(heard)} given to requesters, {sum(posts)} posted, none both")


async def test_a_permission_that_comes_and_goes(
    world: World, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    """And Discord refuses each post all the same: 10,000 refusals would shut the bot out."""
    refuse_post(world)
    async with running(world, monkeypatch) as client:
        song = await world.song()
        await world.ended(song)
        for change in range(50):
            wanted = SILENT if change % 2 else BOT
            world.wire.permit(world.channel, wanted)
            await until(lambda: permissions(client, world) == wanted)  # noqa: B023
        await until(lambda: refused(world) == 2)
        assert file_of(world, song) is not None
        assert world.wire.invalid_answers == 2
    assert await broken_guarantees(world) == []
    figure("1 refusal more in 50 changes")


def permissions(client: Client, world: World) -> int:
    channel = client.get_channel(world.channel.id)
    assert isinstance(channel, discord.TextChannel)
    return channel.permissions_for(channel.guild.me).value & BOT


# --- back -----------------------------------------------------------------------------------------


async def test_a_day_passes(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    bots_clock: BotClock,
    figure: Callable[[str], None],
) -> None:
    """The permission that comes back then comes too late."""
    rounds = Rounds(monkeypatch)
    async with running(world, monkeypatch):
        song = await undelivered(world)
        bots_clock.moved = timedelta(hours=23, minutes=59)
        await rounds.more(2)
        assert world.entries(song) == ["hold", "settle"]
        assert file_of(world, song) is not None
        bots_clock.moved = DAY
        await until(lambda: "compensate" in world.entries(song))
        await until(lambda: not (world.folder / "data/songs" / str(song.id)).exists())
        world.wire.permit(world.channel, BOT)
        assert await show(world, song) is None
        late = await world.song()
        for each in (song, late):
            await until(lambda: (row := world.row(each)) and row["token"] is None)  # noqa: B023
    await check(world, song, posts=0, back=True)
    assert await broken_guarantees(world) == []
    (back,) = world.rows("SELECT amount FROM ledger WHERE entry_id = ?", f"compensate:{song.id}")
    figure(f"{back['amount']} credit back and the file gone; the next song is posted, this is not")


# --- killed ---------------------------------------------------------------------------------------


@pytest.fixture
async def bots() -> AsyncIterator[Nursery]:
    async with nursery() as bots:
        yield bots


def kill_at(world: World, bot: KillableBot, method: str, route: str, *, carried_out: bool) -> None:
    """The next such request with a file kills the bot: before it is carried out, or after it."""

    async def meet(call: Call) -> Fault | None:
        if (call.method, call.route) != (method, route) or not call.uploads:
            return None
        world.wire.faults.hook = None
        if not carried_out:
            await bot.stop(signal.SIGKILL)
            return Fault(cut="before")

        async def after() -> None:
            await bot.stop(signal.SIGKILL)

        killing.append(asyncio.create_task(after()))
        return Fault(answer_delay=SOON, cut="after")

    killing: list[asyncio.Task[None]] = []
    world.wire.faults.hook = meet


SIDES = (False, True)
"""Killed before it is carried out, and after that."""


@forked
async def test_killed_while_it_is_handed_over(
    world: World, bots: Nursery, figure: Callable[[str], None]
) -> None:
    """What only its member sees can't be searched for: it is given again, and not posted then."""
    for carried_out in SIDES:
        async with bots.bot(world, constants=AT_ONCE) as bot:
            song = await undelivered(world)
            kill_at(world, bot, "PATCH", ANSWER, carried_out=carried_out)
            row = world.row(song)
            assert row is not None
            await world.wire.slash(world.alice, world.channel, "show", song=str(row["number"]))
            assert await asyncio.wait_for(asyncio.shield(bot.status), SOON) == -signal.SIGKILL
        assert file_of(world, song) is not None
        async with bots.bot(world, constants=AT_ONCE) as bot:
            assert await show(world, song) is not None
            await delivered(world, song)
            world.wire.permit(world.channel, BOT)
            assert await show(world, song) is None
            assert await bot.stop() == 0
        await check(world, song, posts=0)
    assert await broken_guarantees(world) == []
    figure("2 kills: given to its requester after each, 0 posts")


@forked
async def test_killed_while_it_is_posted_late(
    world: World, bots: Nursery, figure: Callable[[str], None]
) -> None:
    """And Discord has forgotten its nonce by the time that the bot is back."""
    for carried_out in SIDES:
        song = await killed_while_posted_late(world, bots, carried_out=carried_out)
        async with bots.bot(world, constants=AT_ONCE) as bot:
            await delivered(world, song)
            assert await show(world, song) is None
            assert await bot.stop() == 0
        await check(world, song, posts=1)
    assert await broken_guarantees(world) == []
    figure("2 kills: 1 post after each")


@forked
async def test_killed_while_it_is_posted_late_and_then_a_day_passes(
    world: World, bots: Nursery, figure: Callable[[str], None]
) -> None:
    """It is searched for before its refund: never both."""
    for carried_out in SIDES:
        song = await killed_while_posted_late(world, bots, carried_out=carried_out)
        world.wire.permit(world.channel, SILENT)
        a_day_passes(world)
        async with bots.bot(world, constants=AT_ONCE) as bot:
            await until(lambda: file_of(world, song) is None)  # noqa: B023
            await world.ended(song)
            assert await bot.stop() == 0
        await check(world, song, posts=int(carried_out), back=not carried_out)
        world.wire.permit(world.channel, BOT)
    assert await broken_guarantees(world) == []
    figure("2 kills: 0 posts and 1 credit refunded; 1 post and 0 credits refunded")


async def killed_while_posted_late(
    world: World, bots: Nursery, *, carried_out: bool
) -> Interaction:
    posts = len(world.posts)
    async with bots.bot(world, constants=AT_ONCE) as bot:
        song = await undelivered(world)
        kill_at(world, bot, "POST", MESSAGES, carried_out=carried_out)
        world.wire.permit(world.channel, BOT)
        assert await asyncio.wait_for(asyncio.shield(bot.status), SOON) == -signal.SIGKILL
    assert len(world.posts) == posts + carried_out
    forget_nonces(world)
    return song


@forked
async def test_killed_while_prices_are_refunded(
    world: World, bots: Nursery, long: bool, figure: Callable[[str], None]
) -> None:
    """At each step of it, a song each."""
    points = [point for point in all_points() if point.startswith(REFUNDING)]
    some = points if long else points[:: len(points) // 4]
    async with bots.bot(world, constants=AT_ONCE) as bot:
        songs = await many_undelivered(world, len(some))
        assert await bot.stop() == 0
    a_day_passes(world)
    for point in some:
        # It is dead before it has a connection that could be waited for.
        bot = await bots._fork(world, Plan(kill=(point, 1)), AT_ONCE)
        assert await asyncio.wait_for(asyncio.shield(bot.status), SOON) == -signal.SIGKILL
    async with bots.bot(world, constants=AT_ONCE) as bot:
        await until(lambda: all(world.entries(song)[-1] == "compensate" for song in songs))
        await until(lambda: world.song_folders() == [])
        assert await bot.stop() == 0
    for song in songs:
        await check(world, song, posts=0, back=True)
    assert await broken_guarantees(world) == []
    figure(f"{len(some)} kills, {len(songs)} refunds, each once")


async def many_undelivered(world: World, count: int) -> Sequence[Interaction]:
    """Refused by Discord, each of another member's."""
    refuse_post(world)
    members = [world.wire.member(world.guild, f"member {n}") for n in range(count)]
    songs = [await world.song(member) for member in members]
    for song in songs:
        await world.ended(song)
    return songs


def a_day_passes(world: World) -> None:
    """While the bot is away."""
    with contextlib.closing(sqlite3.connect(world.folder / "data/songs.db")) as connection:
        earlier = int(DAY.total_seconds() * 1000)
        connection.execute("UPDATE songs SET ended_at = ended_at - ?", (earlier,))
        connection.commit()
