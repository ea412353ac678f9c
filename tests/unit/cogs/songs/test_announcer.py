"""Status messages and posts, each through discord.py and real sockets."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import discord
import pytest

import bot
from cogs.client.client import Client
from cogs.client.registration import register_commands
from cogs.songs import announcer as module
from cogs.songs import texts
from cogs.songs.announcer import DiscordAnnouncer
from db import songs as song_rows
from db.errors import DiskFullError
from db.records import Reason, Song
from services.clock import utc_now
from services.errors import CannotPost, PostUncertain, Scope, TooLargeToPost
from services.songs.completion import SongCompletion
from services.songs.queue import Queue
from services.songs.scheduler import spawn
from tests.wire import Channel, DiscordWire, Fault, Guild, Interaction, Limits, Member, Permission
from tests.wire.permissions import BOT
from tests.wire.server import Recorded
from tests.wire.state import (
    FORUM_CHANNEL,
    PRIVATE_THREAD,
    VOICE_CHANNEL,
)
from tests.world.sockets import local_config

SOON = 10.0
MIB = 2**20
MESSAGES = "/channels/{channel_id}/messages"
CHANNEL = "/channels/{channel_id}"
POSTING = BOT | Permission.CONNECT
EDIT = "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"


@dataclass
class Stage:
    """A connected bot that makes no songs: each test moves them itself."""

    application: bot.Application
    wire: DiscordWire
    channel: Channel
    alice: Member

    @property
    def announcer(self) -> DiscordAnnouncer:
        return self.application.announcer

    @property
    def client(self) -> Client:
        return self.application.client

    @property
    def guild(self) -> Guild:
        """The simulated server of the channel."""
        assert self.channel.guild is not None
        return self.channel.guild

    @property
    def known_guild(self) -> discord.Guild:
        """What discord.py knows of it."""
        known = self.client.get_guild(self.guild.id)
        assert known is not None
        return known

    async def permit(self, permissions: Permission) -> None:
        """Give the bot these permissions in the channel, and wait until it knows."""
        self.wire.permit(self.channel, permissions)
        known = self.client.get_channel(self.channel.id)
        assert isinstance(known, discord.abc.GuildChannel)
        await until(
            lambda: known.permissions_for(known.guild.me).value & POSTING == permissions & POSTING
        )

    async def song(self) -> tuple[Interaction, Song]:
        """Request a song and wait for its status message."""
        requested = await self.wire.slash(
            self.alice, self.channel, "song", genres="funk", instrumental=True, seconds=10
        )
        await requested.wait_message(lambda m: bool(m.embeds))
        return requested, await self.row(requested.id)

    async def row(self, song_id: int) -> Song:
        found = await song_rows.get(self.application.database.reader, song_id)
        assert found is not None
        return found

    async def move(self, song: Song, step: Callable[..., Any], **values: Any) -> Song:
        async with self.application.database.write() as connection:
            assert await step(connection, song.song_id, **values)
        return await self.row(song.song_id)

    async def posting(self) -> tuple[Interaction, Song]:
        """Bring a song to where it is posted."""
        requested, song = await self.song()
        await self.move(song, song_rows.mark_submitting, at=utc_now())
        now = utc_now()
        await self.move(
            song, song_rows.mark_downloaded, submitted_at=now, at=now, run_low=0, run_high=1
        )
        await self.move(song, song_rows.mark_ready, file="1-funk.mp3", at=now)
        return requested, await self.move(song, song_rows.mark_posting, at=utc_now())

    async def process(self, song: Song) -> None:
        """Let it be made, and announce that."""
        await self.move(song, song_rows.mark_submitting, at=utc_now())
        await self.move(song, song_rows.mark_processing)
        self.announcer.changed(song.song_id)

    async def cancel(self, song: Song) -> None:
        """Cancel it as its member does, and announce that."""
        await self.application.songs.cancel(
            song.song_id, server_id=song.server_id, member_id=song.member_id, manager=False
        )
        self.announcer.changed(song.song_id)

    async def idle(self) -> None:
        """Wait until no status message is to be edited any more."""
        await until(lambda: not self.announcer._boards)

    @contextlib.asynccontextmanager
    async def announcing(self) -> AsyncIterator[None]:
        """Run the announcer's loop during the block."""
        running = asyncio.create_task(self.announcer.run())
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def undelivered(self) -> tuple[Interaction, Song]:
        """Bring a song to where it can't be posted."""
        requested, song = await self.posting()
        completion = SongCompletion(
            self.application.database, self.application.credits, clock=utc_now
        )
        assert await completion.mark_undelivered(song, Reason.CHANNEL_GONE)
        return requested, await self.row(song.song_id)

    def cut(self, method: str, route: str) -> None:
        """The next request is lost, and its repetition by aiohttp too."""
        self.wire.faults.plan(Fault(cut="before"), method=method, route=route, times=2)

    def answer(self, method: str, route: str, status: int, code: int = 0, times: int = 1) -> None:
        """Let Discord answer the next requests with an error."""
        body = {"message": "scripted", "code": code, "retry_after": 0.001, "global": False}
        self.wire.faults.plan(
            Fault(status=status, body=body), method=method, route=route, times=times
        )


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(tmp_path, monkeypatch) as stage:
        yield stage


@contextlib.asynccontextmanager
async def staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shards: int = 1
) -> AsyncIterator[Stage]:
    monkeypatch.setattr(module, "BETWEEN_EDITS", 0.02)
    async with DiscordWire(limits=Limits.none(), shards=shards) as wire:
        guild = wire.guild("One")
        channel, alice = wire.channel(guild, "songs"), wire.member(guild, "alice")
        config = local_config(wire, tmp_path, monkeypatch)
        async with bot.composed(config) as application:
            client = application.client
            client._connection.guild_ready_timeout = 0.01
            await client.login(wire.token)
            await register_commands(client, application.database)
            connection = asyncio.create_task(client.connect())
            await wire.ready()
            await asyncio.wait_for(client.wait_until_ready(), SOON)
            yield Stage(application, wire, channel, alice)
            await application.announcer.stop(grace=SOON)
            await client.close()
            await connection


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "1-funk.mp3"
    path.write_bytes(b"ID3 some music")
    return path


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while True:
            if reached():
                return
            await asyncio.sleep(0.005)


def requests(stage: Stage, method: str, route: str) -> list[Recorded]:
    """Those that were answered, in the order in which they came."""
    found = [r for r in stage.wire.requests if (r.method, r.route) == (method, route)]
    return sorted(found, key=lambda request: request.at)


def max_concurrent(made: list[Recorded]) -> int:
    """Return how many requests were in progress at the same time."""
    return max(sum(r.at <= other.at < r.at + r.seconds for r in made) for other in made)


# --- the status message ---------------------------------------------------------------------------


async def test_changes_are_merged_into_few_edits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BETWEEN_EDITS", 0.2)
    requested, song = await stage.song()
    for _ in range(20):
        stage.announcer.show(song.song_id)
        await asyncio.sleep(0)
    await stage.process(song)
    message = await requested.wait_message(lambda m: "**PROCESSING**" in str(m.embeds))
    assert len(message.edits) <= 3
    assert all(b.at - a.at >= 0.19 for a, b in pairwise(message.edits))


def restarted(stage: Stage) -> DiscordAnnouncer:
    """The announcer of the next process."""
    queue = stage.application.queue
    return DiscordAnnouncer(stage.client, queue, clock=utc_now, spawn=spawn)


async def test_edits_wait_after_those_of_an_earlier_process(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested, song = await stage.song()
    before = len(requested.messages[0].versions)
    monkeypatch.setattr(module, "BETWEEN_EDITS", 0.3)
    began = stage.wire.clock.wall()
    restarted(stage).changed(song.song_id)
    await requested.wait_message(lambda m: len(m.versions) > before)
    assert requested.messages[0].now.at >= began + 0.29


async def test_edits_of_new_songs_do_not_wait_after_a_restart(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BETWEEN_EDITS", 10 * SOON)
    announcer = restarted(stage)
    requested, song = await stage.song()
    before = len(requested.messages[0].versions)
    announcer.changed(song.song_id)
    await requested.wait_message(lambda m: len(m.versions) > before)


async def test_an_unchanged_message_is_not_edited(stage: Stage) -> None:
    _, song = await stage.song()
    before = stage.wire.answers[("PATCH", EDIT, 200)]
    stage.announcer.changed(song.song_id)
    await until(lambda: not stage.announcer._boards[song.song_id].dirty)
    await stage.announcer.stop(grace=SOON)
    assert stage.wire.answers[("PATCH", EDIT, 200)] == before


async def test_a_pressed_button_edits_an_unchanged_message(stage: Stage) -> None:
    requested, _ = await stage.song()
    before = stage.wire.answers[("PATCH", EDIT, 200)]
    await stage.wire.press(stage.alice, requested.messages[0], f"song:refresh:{requested.id}")
    await stage.wire.until(lambda: stage.wire.answers[("PATCH", EDIT, 200)] > before)


@pytest.mark.parametrize("trouble", ["cut", "429"])
async def test_a_transient_error_of_an_edit_is_retried(stage: Stage, trouble: str) -> None:
    requested, song = await stage.song()
    if trouble == "cut":
        stage.cut("PATCH", EDIT)
    else:
        stage.answer("PATCH", EDIT, 429, times=5)  # as often as discord.py tries
    await stage.process(song)
    await requested.wait_message(lambda m: "**PROCESSING**" in str(m.embeds))
    assert (await stage.row(song.song_id)).token == requested.token


async def test_an_error_of_the_database_is_logged_and_the_next_change_shown(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requested, song = await stage.song()
    view, failing = Queue.view, [sqlite3.OperationalError("disk I/O error")]

    async def fail_once(queue: Queue, song_id: int) -> Any:
        if failing:
            raise failing.pop()
        return await view(queue, song_id)

    monkeypatch.setattr(Queue, "view", fail_once)
    stage.announcer.changed(song.song_id)
    await until(lambda: "updating the status message failed" in caplog.text)
    await stage.process(song)
    await requested.wait_message(lambda m: "**PROCESSING**" in str(m.embeds))


async def test_an_ended_song_is_shown_once_and_its_token_deleted(stage: Stage) -> None:
    requested, song = await stage.song()
    await stage.cancel(song)
    message = await requested.wait_message(lambda m: "**CANCELLED**" in str(m.embeds))
    await stage.idle()
    assert (await stage.row(song.song_id)).token is None
    assert message.components == []
    stage.announcer.changed(song.song_id)
    await stage.idle()
    assert len(message.edits) == 2


async def test_the_token_is_deleted_once_the_disk_has_room(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested, song = await stage.song()
    forget, full = Queue.forget_token, [DiskFullError(Path("songs.db"))]

    async def fail_once(queue: Queue, song: Song) -> None:
        if full:
            raise full.pop()
        await forget(queue, song)

    monkeypatch.setattr(Queue, "forget_token", fail_once)
    await stage.cancel(song)
    message = await requested.wait_message(lambda m: "**CANCELLED**" in str(m.embeds))
    await stage.idle()
    assert (await stage.row(song.song_id)).token is None
    assert len(message.edits) == 2  # one of them showed that it waits


async def test_a_deleted_message_is_not_edited_again(stage: Stage) -> None:
    requested, song = await stage.song()
    stage.wire.state.delete_message(requested.messages[0])
    stage.announcer.show(song.song_id)
    await stage.idle()
    assert (await stage.row(song.song_id)).token is None
    stage.announcer.changed(song.song_id)
    await stage.idle()
    assert stage.wire.answers[("PATCH", EDIT, 404)] == 1


async def test_after_a_refused_edit_the_next_state_is_shown(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    requested, song = await stage.song()
    stage.answer("PATCH", EDIT, 400, 200000)
    stage.announcer.show(song.song_id)
    await until(lambda: "Discord refused the status message" in caplog.text)
    await stage.process(song)
    await requested.wait_message(lambda m: "**PROCESSING**" in str(m.embeds))


async def test_a_message_without_an_id_is_not_edited(stage: Stage) -> None:
    """Discord did not say which message the answer made."""
    requested, song = await stage.song()
    async with stage.application.database.write() as connection:
        await connection.execute("UPDATE songs SET message_id = NULL")
    stage.announcer.show(song.song_id)
    await until(lambda: not stage.announcer._boards[song.song_id].dirty)
    await stage.announcer.stop(grace=SOON)
    assert len(requested.messages[0].edits) == 1


async def test_all_messages_are_shown_at_the_start_then_places(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places up to the last that is refreshed each time: here the first alone."""
    _, song = await stage.song()
    _, other = await stage.song()
    shown: list[int] = []
    monkeypatch.setattr(stage.announcer, "changed", shown.append)
    monkeypatch.setattr(module, "REFRESH_EVERY", 0.01)
    monkeypatch.setattr(module, "FIRST_IN_QUEUE", 1)
    async with stage.announcing():
        await until(lambda: shown.count(other.song_id) >= 3)
    assert shown[:2] == [song.song_id, other.song_id]
    rounds = shown[2:]
    assert rounds[:4] == [song.song_id] * 3 + [other.song_id]
    assert rounds[4:8] == [song.song_id] * 3 + [other.song_id]


async def test_few_messages_are_edited_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = [(await stage.song())[1] for _ in range(3)]
    stage.announcer._boards.clear()
    monkeypatch.setattr(module, "SHOWN_AT_ONCE", 2)
    monkeypatch.setattr(module, "BETWEEN_EDITS", SOON)
    stage.wire.requests.clear()
    stage.wire.faults.plan(Fault(delay=0.05), method="PATCH", route=EDIT, times=len(songs))
    async with stage.announcing():
        await until(lambda: len(requests(stage, "PATCH", EDIT)) == len(songs))
    assert max_concurrent(requests(stage, "PATCH", EDIT)) == 2


async def test_a_slow_edit_does_not_delay_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, song), (requested, _) = await stage.song(), await stage.song()
    stage.announcer._boards.clear()
    monkeypatch.setattr(module, "SHOWN_AT_ONCE", 1)
    never = asyncio.create_task(asyncio.sleep(10 * SOON))
    stage.announcer._boards[song.song_id] = module._Board(task=never)
    async with stage.announcing():
        await until(lambda: len(requested.messages[0].edits) == 2)
    never.cancel()
    del stage.announcer._boards[song.song_id]


async def test_stop_cancels_late_edits_and_starts_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, song = await stage.song()
    monkeypatch.setattr(stage.announcer._boards[song.song_id], "next_at", float("inf"))
    stage.announcer.show(song.song_id)
    await stage.announcer.stop(grace=0.01)
    assert stage.announcer._boards[song.song_id].task is None
    stage.announcer.changed(song.song_id)
    assert stage.announcer._boards[song.song_id].task is None


# --- the post -------------------------------------------------------------------------------------


async def test_upload_limit_is_the_servers(stage: Stage) -> None:
    guild = stage.wire.guild("Boosted", premium_tier=3)
    _, song = await stage.song()
    assert stage.announcer.upload_limit(song) == 10 * MIB
    await until(lambda: stage.client.get_guild(guild.id))
    boosted = Stage(
        stage.application, stage.wire, stage.wire.channel(guild, "a"), stage.wire.member(guild, "b")
    )
    assert stage.announcer.upload_limit((await boosted.song())[1]) == 100 * MIB
    stage.wire.remove_bot(guild)
    await until(lambda: stage.client.get_guild(guild.id) is None)
    assert stage.announcer.upload_limit((await stage.song())[1]) == 10 * MIB


async def test_posts_are_limited_in_a_channel_and_in_all(
    stage: Stage, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSTING_PER_SECOND", 20.0)
    elsewhere = stage.wire.channel(stage.channel.guild or stage.alice.guild, "elsewhere")
    songs = [(await stage.posting())[1] for _ in range(3)]
    songs[2] = replace(songs[2], channel_id=elsewhere.id)
    stage.wire.faults.plan(Fault(delay=0.2), method="POST", route=MESSAGES, times=len(songs))
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(stage.announcer.post(song, file) for song in songs))
    posts = requests(stage, "POST", MESSAGES)
    assert max_concurrent(posts) == 2
    # Not one from the other: the first may come late, on a busy machine, and the next in time.
    assert all(post.at - began >= 0.045 * n for n, post in enumerate(posts))


async def test_a_search_does_not_delay_a_post(stage: Stage, file: Path) -> None:
    _, song = await stage.posting()
    stage.wire.faults.plan(Fault(delay=0.5), method="GET", route=MESSAGES)
    searching = asyncio.create_task(stage.announcer.find_post(song))
    await asyncio.sleep(0.05)
    await stage.announcer.post(song, file)
    assert not searching.done()
    await searching


async def test_a_post_twice_within_minutes_is_one(stage: Stage, file: Path) -> None:
    _, song = await stage.posting()
    first = await stage.announcer.post(song, file)
    assert await stage.announcer.post(song, file) == first
    (message,) = stage.wire.messages(stage.channel)
    assert message.attachments[0].content == b"ID3 some music"
    assert message.pings.users == {stage.alice.id}
    assert await stage.announcer.find_post(song) == first


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (413, 40005, TooLargeToPost, ""),
        (404, 10003, CannotPost, Reason.CHANNEL_GONE),
        (403, 50013, CannotPost, Reason.NO_PERMISSION),
        (400, 50045, TooLargeToPost, ""),
        (400, 200000, CannotPost, Reason.AUTOMOD),
        (403, 400001, CannotPost, Reason.UPLOADS_LIMITED),
        (400, 50035, CannotPost, Reason.BAD_MESSAGE),
        (401, 0, PostUncertain, ""),
        (429, 0, PostUncertain, ""),
        (503, 0, PostUncertain, ""),
    ],
)
async def test_errors_of_a_post(
    stage: Stage, file: Path, status: int, code: int, kind: type[Exception], words: str
) -> None:
    _, song = await stage.posting()
    stage.answer("POST", MESSAGES, status, code, times=5 if status == 429 else 1)
    with pytest.raises(kind, match=re.escape(words) or None):
        await stage.announcer.post(song, file)


async def test_a_post_is_found_after_a_lost_answer(stage: Stage, file: Path) -> None:
    _, song = await stage.posting()
    _, other = await stage.posting()
    stage.wire.faults.plan(Fault(cut="after"), method="POST", route=MESSAGES)
    with pytest.raises(PostUncertain):
        await stage.announcer.post(song, file)
    (message,) = stage.wire.messages(stage.channel)
    assert await stage.announcer.find_post(song) == message.id
    assert await stage.announcer.find_post(other) is None


async def test_another_authors_message_is_not_the_post(stage: Stage, file: Path) -> None:
    _, song = await stage.posting()
    await stage.announcer.post(song, file)
    (message,) = stage.wire.messages(stage.channel)
    message.author = stage.alice.user
    assert await stage.announcer.find_post(song) is None


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_post_is_found_whatever_our_clock_said(
    stage: Stage, file: Path, ahead: timedelta
) -> None:
    """An hour off when it was marked, say, and set right since."""
    _, song = await stage.posting()
    post_id = await stage.announcer.post(song, file)
    assert song.posting_at is not None
    marked = replace(song, posting_at=song.posting_at + ahead)
    assert await stage.announcer.find_post(marked) == post_id
    history = [r for r in stage.wire.requests if (r.method, r.route) == ("GET", MESSAGES)]
    assert [request.status for request in history] == [200]


async def test_search_ends_at_the_songs_request(stage: Stage) -> None:
    channel = stage.client.get_partial_messageable(stage.channel.id)
    for _ in range(101):  # more than a page
        await channel.send("hello")
    _, song = await stage.posting()
    assert await stage.announcer.find_post(song) is None
    history = [r for r in stage.wire.requests if (r.method, r.route) == ("GET", MESSAGES)]
    assert len(history) == 1


@pytest.mark.parametrize("reached", [False, True])
async def test_a_search_ends_after_the_most_messages(
    stage: Stage, file: Path, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    """The post is missing only if the messages reach back to when it was marked."""
    _, song = await stage.posting()
    _, other = await stage.posting()
    await stage.announcer.post(other, file)
    monkeypatch.setattr(module, "MOST_SEARCHED", 1)
    assert song.posting_at is not None
    if reached:
        song = replace(song, posting_at=song.posting_at + timedelta(minutes=5))
        assert await stage.announcer.find_post(song) is None
    else:
        with pytest.raises(CannotPost, match=Reason.HISTORY_TOO_LONG):
            await stage.announcer.find_post(song)


async def test_a_hidden_history_is_not_an_empty_one(stage: Stage) -> None:
    _, song = await stage.posting()
    await stage.permit(BOT & ~Permission.READ_MESSAGE_HISTORY)
    with pytest.raises(CannotPost, match=Reason.HISTORY_UNREADABLE):
        await stage.announcer.find_post(song)


async def test_a_refused_history(stage: Stage) -> None:
    """The permission was withdrawn, and the bot does not know it yet."""
    _, song = await stage.posting()
    stage.answer("GET", MESSAGES, 403, 50001)
    with pytest.raises(CannotPost, match=Reason.HISTORY_UNREADABLE):
        await stage.announcer.find_post(song)


@pytest.mark.parametrize("status", [403, 413])
async def test_a_proxys_refusal_of_a_search_is_uncertain(stage: Stage, status: int) -> None:
    """Discord's refusals have a code, and a search is never too large."""
    _, song = await stage.posting()
    stage.answer("GET", MESSAGES, status)
    with pytest.raises(PostUncertain):
        await stage.announcer.find_post(song)


async def test_a_deleted_channel_has_no_post(stage: Stage) -> None:
    _, song = await stage.posting()
    stage.wire.delete_channel(stage.channel)
    await until(lambda: stage.client.get_channel(stage.channel.id) is None)
    stage.cut("GET", CHANNEL)
    with pytest.raises(PostUncertain):
        await stage.announcer.find_post(song)
    with pytest.raises(CannotPost, match=Reason.CHANNEL_GONE):
        await stage.announcer.find_post(song)


async def test_an_unavailable_server_is_uncertain_and_a_left_one_permanent(
    stage: Stage, file: Path
) -> None:
    _, song = await stage.posting()
    guild = stage.guild
    stage.wire.outage(guild)
    known = stage.client.get_guild(guild.id)
    assert known is not None
    await until(lambda: known.unavailable)
    with pytest.raises(PostUncertain):
        await stage.announcer.find_post(song)
    # discord.py does not keep one that is unavailable when the bot joins it.
    stage.client._connection._remove_guild(known)
    with pytest.raises(PostUncertain):
        await stage.announcer.find_post(song)
    stage.wire.outage(guild, over=True)
    await until(lambda: not getattr(stage.client.get_guild(guild.id), "unavailable", True))
    assert await stage.announcer.find_post(song) is None
    stage.wire.remove_bot(guild)
    await until(lambda: stage.client.get_guild(guild.id) is None)
    with pytest.raises(CannotPost, match=Reason.NOT_IN_SERVER):
        await stage.announcer.find_post(song)
    with pytest.raises(CannotPost, match=Reason.NOT_IN_SERVER) as refused:
        await stage.announcer.post(song, file)
    assert refused.value.scope is Scope.SERVER
    stage.client._ready.clear()  # before READY the servers are not known
    with pytest.raises(PostUncertain):
        await stage.announcer.find_post(song)


# --- what could not be posted ---------------------------------------------------------------------


async def test_an_undelivered_songs_message_says_how_to_get_it(stage: Stage) -> None:
    requested, song = await stage.undelivered()
    stage.announcer.changed(song.song_id)
    message = await requested.wait_message(lambda m: texts.COULD_NOT_POST in str(m.embeds))
    assert texts.REASONS[Reason.CHANNEL_GONE] in str(message.embeds)
    assert f"`/show {song.number}`" in str(message.embeds)
    assert f"song:get:{song.song_id}" in str(message.components)
    assert (await stage.row(song.song_id)).token == requested.token


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("post_late", texts.LISTEN),
        ("hand_over", texts.NOT_STORED),
        ("compensate", texts.NOT_DELIVERED),
    ],
)
async def test_the_end_of_an_undelivered_song_is_shown(
    stage: Stage, end: str, words: str, restarted: bool
) -> None:
    """Its message said "could not be posted" although the token was valid."""
    requested, song = await stage.undelivered()
    stage.announcer.changed(song.song_id)
    message = await requested.wait_message(lambda m: texts.COULD_NOT_POST in str(m.embeds))
    await until(lambda: not stage.announcer._boards[song.song_id].dirty)
    if restarted:
        stage.announcer._boards.clear()
    completion = SongCompletion(
        stage.application.database, stage.application.credits, clock=utc_now
    )
    ends = {
        "post_late": lambda: completion.complete(song, 9),
        "hand_over": lambda: completion.hand_over(song),
        "compensate": lambda: completion.compensate(song),
    }
    assert await ends[end]()
    stage.announcer.changed(song.song_id)
    await requested.wait_message(lambda m: words in str(m.embeds))
    await stage.idle()
    assert message.components == []
    assert (await stage.row(song.song_id)).token is None


async def test_a_new_reason_of_an_undelivered_song_is_shown(stage: Stage) -> None:
    requested, song = await stage.undelivered()
    stage.announcer.changed(song.song_id)
    await requested.wait_message(lambda m: texts.REASONS[Reason.CHANNEL_GONE] in str(m.embeds))
    reason = Reason.AUTOMOD
    assert await stage.application.completion.mark_undelivered(song, reason)
    stage.announcer.changed(song.song_id)
    await requested.wait_message(lambda m: texts.REASONS[reason] in str(m.embeds))


async def test_the_channel_of_a_reason_is_named_until_it_is_that_of_the_request(
    stage: Stage,
) -> None:
    requested, song = await stage.undelivered()
    async with stage.application.database.write() as connection:
        await connection.execute("UPDATE songs SET origin_id = 9")
    stage.announcer.changed(song.song_id)
    named = f"In <#{song.channel_id}>: The channel is gone."
    await requested.wait_message(lambda m: named in str(m.embeds))
    async with stage.application.database.write() as connection:
        await song_rows.move_to_origin(connection, song.song_id)
    stage.announcer.changed(song.song_id)
    await requested.wait_message(lambda m: bool(m.embeds) and "In <#" not in str(m.embeds))


async def test_an_undelivered_song_without_a_token_is_not_shown(stage: Stage) -> None:
    requested, song = await stage.undelivered()
    stage.announcer.changed(song.song_id)
    message = await requested.wait_message(lambda m: texts.COULD_NOT_POST in str(m.embeds))
    async with stage.application.database.write() as connection:
        assert song.token_until is not None
        await song_rows.forget_tokens_until(connection, song.token_until)
    edits = len(message.edits)
    stage.announcer.show(song.song_id)
    await stage.idle()
    assert len(message.edits) == edits


async def test_failed_edits_are_retried_with_growing_delays(stage: Stage) -> None:
    """discord-api-docs 4413, aikaterna-cogs 302: few edits of a message over an hour old."""
    _, song = await stage.song()
    stage.answer("PATCH", EDIT, 429, 30046, times=5 * 3)  # five each are discord.py's own
    stage.announcer.show(song.song_id)
    board = stage.announcer._boards[song.song_id]
    await until(lambda: board.failures == 3)
    await until(lambda: board.failures == 0)


async def test_can_post_reads_what_is_known(stage: Stage) -> None:
    _, song = await stage.undelivered()
    before = len(stage.wire.requests)
    assert await stage.announcer.can_post(song)
    for lacking in (Permission.ATTACH_FILES, Permission.READ_MESSAGE_HISTORY):
        await stage.permit(BOT & ~lacking)
        assert not await stage.announcer.can_post(song)
    await stage.permit(BOT)
    assert await stage.announcer.can_post(song)
    guild, known = stage.guild, stage.known_guild
    stage.wire.outage(guild)
    await until(lambda: known.unavailable)
    assert not await stage.announcer.can_post(song)
    stage.wire.remove_bot(guild)
    await until(lambda: stage.client.get_guild(guild.id) is None)
    assert not await stage.announcer.can_post(song)
    assert len(stage.wire.requests) == before  # nothing was requested from Discord


async def test_can_post_fetches_an_unknown_channel_alone(stage: Stage) -> None:
    """A thread that was archived: the gateway does not announce those."""
    thread = stage.wire.thread(stage.channel, "night")
    _, song = await stage.undelivered()
    song = replace(song, channel_id=thread.id)
    guild = stage.known_guild
    await until(lambda: guild.get_thread(thread.id))
    known = guild.get_thread(thread.id)
    assert known is not None
    guild._remove_thread(known)
    assert await stage.announcer.can_post(song)
    await stage.permit(BOT & ~Permission.SEND_MESSAGES_IN_THREADS)
    assert not await stage.announcer.can_post(song)
    stage.wire.delete_channel(thread)
    with pytest.raises(CannotPost, match=Reason.CHANNEL_GONE):
        await stage.announcer.can_post(song)


# --- kinds of channel -----------------------------------------------------------------------------


async def test_private_thread_needs_the_bot_in_it(
    stage: Stage,
) -> None:
    """Songs there were accepted, made and paid, and then refused on every try."""
    thread = stage.wire.thread(stage.channel, "secret", kind=PRIVATE_THREAD, has_bot=False)
    stage.channel = thread
    assert "not in this private thread" in await refused_here(stage)
    guild = stage.client.get_guild(thread.guild.id if thread.guild else 0)
    assert guild is not None
    stage.wire.add_bot(thread)
    await until(lambda: guild.get_thread(thread.id))
    await stage.song()
    stage.wire.change_thread(thread, archived=True)
    await until(lambda: not guild.get_thread(thread.id))
    stage.wire.change_thread(thread)  # opened again: Discord does not repeat who is in it
    await until(lambda: guild.get_thread(thread.id))
    await stage.song()
    stage.wire.remove_bot_from(thread)
    await until(lambda: not guild.get_thread(thread.id))
    assert "not in this private thread" in await refused_here(stage)


async def refused_here(stage: Stage) -> str:
    """Request a song, and return why it is refused before anything is spent."""
    requested = await stage.wire.slash(
        stage.alice, stage.channel, "song", genres="funk", instrumental=True, seconds=10
    )
    message = await requested.wait_message(lambda m: bool(m.content))
    assert await song_rows.get(stage.application.database.reader, requested.id) is None
    return message.content


async def test_the_text_of_a_voice_channel_takes_connect(stage: Stage, file: Path) -> None:
    guild = stage.guild
    stage.channel = stage.wire.channel(guild, "talk", kind=VOICE_CHANNEL)
    assert "I lack Connect." in await refused_here(stage)
    await stage.permit(BOT | Permission.CONNECT)
    _, song = await stage.posting()
    assert await stage.announcer.find_post(song) is None
    assert await stage.announcer.post(song, file)
    await stage.permit(BOT)
    assert not await stage.announcer.can_post(song)
    with pytest.raises(CannotPost, match=Reason.HISTORY_UNREADABLE):
        await stage.announcer.find_post(song)


async def test_songs_are_posted_in_a_post_of_a_forum(stage: Stage, file: Path) -> None:
    # Send Messages is the permission to begin posts there, and counts for nothing within them.
    may = BOT & ~Permission.SEND_MESSAGES
    forum = stage.wire.channel(stage.guild, "requests", permissions=may, kind=FORUM_CHANNEL)
    stage.channel = stage.wire.thread(forum, "songs, please")
    _, song = await stage.posting()
    assert await stage.announcer.post(song, file)
    assert await stage.announcer.can_post(song)


async def test_a_post_opens_an_archived_thread(stage: Stage, file: Path) -> None:
    stage.channel = thread = stage.wire.thread(stage.channel, "night")
    _, song = await stage.posting()
    stage.wire.change_thread(thread, archived=True)
    guild = stage.client.get_guild(song.server_id)
    assert guild is not None
    await until(lambda: not guild.get_thread(thread.id))
    assert await stage.announcer.can_post(song)
    assert await stage.announcer.post(song, file)
    assert not thread.archived
    stage.wire.change_thread(thread, archived=True, locked=True)
    assert not await stage.announcer.can_post(song)
    with pytest.raises(CannotPost, match=Reason.THREAD_LOCKED):
        await stage.announcer.post(song, file)
