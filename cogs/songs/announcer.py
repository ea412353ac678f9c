"""Updates status messages and posts songs.

It only uses ids from the song's row, so it works the same after a restart. All edits of a status
message are made here, one at a time.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

import discord

from cogs.client.answers import (
    LONGEST_PAUSE,
    TRANSIENT,
    UNKNOWN_CHANNEL,
    map_discord_errors,
    outcome_unknown,
    wrap_parse_errors,
)
from cogs.client.client import Client
from cogs.client.permissions import lacking_to_post, lacking_to_read, permissions_in
from cogs.songs import cards
from cogs.songs.buttons import post_buttons, status_buttons
from db.errors import NOT_NOW
from db.records import Reason, Song, State
from services import logs
from services.clock import Clock
from services.errors import CannotPost, PostUncertain, Scope, TooLargeToPost
from services.retry import Backoff
from services.songs.poster import DEFAULT_UPLOAD_LIMIT
from services.songs.queue import Queue, View
from services.songs.scheduler import Spawn

T = TypeVar("T")
log = logging.getLogger(__name__)

BETWEEN_EDITS = 3.0
"""Seconds between two edits of one message; Discord answers 429 under about 1.5."""
REFRESH_EVERY = 20.0
"""Seconds between updates of the first ten places; the others are updated every third time."""
FIRST_IN_QUEUE = 10
SHOWN_AT_ONCE = 50
"""Status messages that are updated at once in a periodic refresh."""
STEADY = timedelta(seconds=20)
"""A smaller change of the expected time causes no edit."""
POSTING_PER_SECOND = 25.0
"""The share of posts and searches in the 50 requests a second of a bot (Discord, "Rate Limits")."""
CLOCK_SKEW = timedelta(minutes=2)
"""By how much our clock may be ahead of Discord's in a search."""
MOST_SEARCHED = 5_000
"""Messages that a search for a post reads."""
TOKEN_OVER = 50027  # Discord, "JSON Error Codes": invalid webhook token
GONE = (403, 404)
"""Status codes for an edit of a deleted status message."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a status message shows and may change.

    Not the View itself, which would hold the lyrics in memory while the song is in progress.
    """

    facts: tuple[object, ...]
    expected_at: datetime

    @classmethod
    def of(cls, view: View) -> "_Shown":
        song = view.song
        in_song = (song.status, song.cancellable, song.message_id, song.state, song.reason)
        return cls(
            (*in_song, song.origin_id, view.place, view.waiting, view.free), view.expected_at
        )

    def matches(self, view: View) -> bool:
        """Return whether a message that shows this needs no edit."""
        now = _Shown.of(view)
        return self.facts == now.facts and abs(self.expected_at - now.expected_at) < STEADY


@dataclass(slots=True)
class _Board:
    """One status message: when it may be edited next, and what it shows.

    Only its `task` edits it. `failures` counts failed edits in a row.
    """

    next_at: float = 0.0
    failures: int = 0
    dirty: bool = False
    shown: _Shown | None = None
    task: asyncio.Task[None] | None = None


class _Turns:
    """Limits posts and searches: one of each at a time in a channel, and few a second in all.

    discord.py waits for a channel's limit, but then sends everything that waited at once: a start
    with 1,500 finished songs got 893 replies of 429 in 30 s.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # A lock exists as long as somebody has it or waits for it.
        self._locks: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._next_at = 0.0

    @contextlib.asynccontextmanager
    async def to(self, what: str, channel_id: int) -> AsyncIterator[None]:
        """Wait for a turn in a channel, in the order of the calls."""
        async with self._locks.setdefault((what, channel_id), asyncio.Lock()):
            at = max(self._monotonic(), self._next_at)
            self._next_at = at + 1 / POSTING_PER_SECOND
            await asyncio.sleep(at - self._monotonic())
            yield


class DiscordAnnouncer:
    """Posts songs and shows their status on Discord: the poster's `Channel`."""

    def __init__(
        self,
        bot: Client,
        queue: Queue,
        *,
        clock: Clock,
        spawn: Spawn,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._queue = queue
        self._spawn = spawn
        self._monotonic = monotonic
        self._boards: dict[int, _Board] = {}
        self._turns = _Turns(monotonic)
        self._began_at = clock()
        self._fresh_until = monotonic() + BETWEEN_EDITS
        self._stopping = False

    # --- the status message -----------------------------------------------------------------------

    def changed(self, song_id: int) -> None:
        """Show the song's state as soon as its message may be edited; after a restart, in `run`."""
        if self._stopping:
            return
        board = self._boards.setdefault(song_id, _Board())
        board.dirty = True
        if board.task is None:
            board.task = self._spawn(self._update(song_id, board), f"status of {song_id}")

    def show(self, song_id: int) -> None:
        """Edit the message even if it shows the state already: somebody pressed a button."""
        if song_id in self._boards:
            self._boards[song_id].shown = None
        self.changed(song_id)

    async def run(self) -> None:
        """Show what changed while the bot was stopped, then refresh places, until cancelled."""
        for ended in (True, False):
            await self._show_all([song.song_id for song in await self._queue.shown(ended=ended)])
        for rounds in itertools.count(1):
            await asyncio.sleep(REFRESH_EVERY)
            waiting = await self._queue.shown_and_waiting()
            furthest = FIRST_IN_QUEUE if rounds % 3 else len(waiting)
            await self._show_all([song_id for song_id, place in waiting if place <= furthest])

    async def _show_all(self, song_ids: Sequence[int]) -> None:
        """Update a few at a time: thousands of edits at once would need as many connections.

        A slow edit does not delay the others for long.
        """
        for first in range(0, len(song_ids), SHOWN_AT_ONCE):
            some = song_ids[first : first + SHOWN_AT_ONCE]
            for song_id in some:
                self.changed(song_id)
            boards = [self._boards[song_id] for song_id in some if song_id in self._boards]
            if tasks := [board.task for board in boards if board.task is not None]:
                await asyncio.wait(tasks, timeout=BETWEEN_EDITS)

    async def stop(self, *, grace: float) -> None:
        """Give edits in progress `grace` seconds, and start no others."""
        self._stopping = True
        tasks = [board.task for board in self._boards.values() if board.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _update(self, song_id: int, board: _Board) -> None:
        """Edit the message until it shows the last change."""
        over = False
        logs.set_context(song_id)
        try:
            while board.dirty:
                await asyncio.sleep(max(0.0, board.next_at - self._monotonic()))
                board.dirty = False
                view = await self._queue.view(song_id)
                over = view is None or await self._show(view, board)
        except Exception:
            log.exception("updating the status message failed")
        finally:
            board.task = None
            if over:
                self._boards.pop(song_id, None)

    async def _show(self, view: View, board: _Board) -> bool:
        """Edit the message if its text differs; return whether that was the last edit."""
        song = view.song
        if song.token is None:
            return True
        if board.shown is None or not board.shown.matches(view):
            if song.requested_at < self._began_at and self._monotonic() < self._fresh_until:
                # The previous process may have edited it just now. Each waits from its own turn on:
                # otherwise all edits would be sent at once.
                board.dirty, board.next_at = True, self._monotonic() + BETWEEN_EDITS
                return False
            try:
                await self._edit(view, board)
            except TRANSIENT as error:
                return self._retry_later(board, error)
            except discord.HTTPException as error:
                # 401 means that the interaction's token has expired; it is not the bot's.
                if outcome_unknown(error) and error.code != TOKEN_OVER:
                    return self._retry_later(board, error)
                if error.code == TOKEN_OVER or error.status in GONE:
                    # Deleted by its requester, or expired: only the post shows the result.
                    log.info("status message deleted or expired: %s", error)
                    return await self._forget(song, board)
                # Refused because of its text. The next state's may be accepted.
                log.warning("Discord refused the status message: %s", error)
                board.shown = _Shown.of(view)
        # An undelivered song may still be posted, which the message will show.
        is_over = song.ended and song.state is not State.UNDELIVERED
        return is_over and await self._forget(song, board)

    async def _forget(self, song: Song, board: _Board) -> bool:
        """Delete the token after the last edit; with a full disk, later."""
        try:
            await self._queue.forget_token(song)
        except OSError as error:
            return self._retry_later(board, error)
        return True

    def _retry_later(self, board: _Board, error: Exception) -> bool:
        """Retry with growing delays: Discord limits edits of messages over an hour old (30046)."""
        log.warning("editing the status message failed, retrying: %s", error)
        board.dirty = True
        board.failures += 1
        pauses = Backoff(first=4 * BETWEEN_EDITS, longest=LONGEST_PAUSE)
        board.next_at = self._monotonic() + pauses.pause(board.failures)
        return False

    async def _edit(self, view: View, board: _Board) -> None:
        song = view.song
        if song.token is None or song.message_id is None:
            return
        webhook = discord.Webhook.partial(song.application_id, song.token, client=self._bot)
        card, buttons = cards.status_card(view), status_buttons(song)
        # discord.py sets no limit for webhooks, see `Client`.
        with wrap_parse_errors():
            async with asyncio.timeout(LONGEST_PAUSE):
                await webhook.edit_message(song.message_id, embed=card, view=buttons)
        log.debug("status message shows %s", song.status)
        board.shown, board.failures = _Shown.of(view), 0
        board.next_at = self._monotonic() + BETWEEN_EDITS

    # --- the post ---------------------------------------------------------------------------------

    def upload_limit(self, song: Song) -> int:
        """Return the upload limit of the song's server in bytes; a default if it is unknown."""
        guild = self._bot.get_guild(song.server_id)
        return guild.filesize_limit if guild is not None else DEFAULT_UPLOAD_LIMIT

    async def post(self, song: Song, file: Path) -> int:
        """Send the song to its channel and return the message's id."""
        return await self._or_in_origin(song, lambda song: self._post(song, file))

    async def _post(self, song: Song, file: Path) -> int:
        async with self._turns.to("post", song.channel_id):
            name = cards.audio_filename(song, file)
            attachment = await asyncio.to_thread(discord.File, file, name)
            try:
                with map_discord_errors("the post"):
                    message = await self._channel(song).send(
                        content=f"<@{song.member_id}>",
                        embed=cards.post_card(song),
                        file=attachment,
                        view=post_buttons(song),
                        # A retry within minutes returns the first message, not a second one;
                        # in another channel than the first time it must not.
                        nonce=f"{song.song_id}{'x' if song.origin_id else ''}",
                        allowed_mentions=discord.AllowedMentions(
                            everyone=False, roles=False, users=[discord.Object(song.member_id)]
                        ),
                    )
            except CannotPost as error:
                # After the bot left, Discord's error is the same as for a hidden channel.
                if self._has_left(song):
                    raise CannotPost(Reason.NOT_IN_SERVER, scope=Scope.SERVER) from error
                raise
        return message.id

    async def find_post(self, song: Song) -> int | None:
        """Search the channel's history for the post, back to the request."""
        return await self._or_in_origin(song, self._find_post)

    async def _find_post(self, song: Song) -> int | None:
        try:
            await self._check_history_readable(song)
            with map_discord_errors("searching for the post"):
                try:
                    async with self._turns.to("search", song.channel_id):
                        return await self._search(song)
                except discord.Forbidden as error:
                    if outcome_unknown(error):
                        raise
                    raise CannotPost(Reason.HISTORY_UNREADABLE) from error
        except TooLargeToPost as error:
            # From a proxy: a search uploads nothing.
            raise PostUncertain(f"searching for the post: {error}") from error

    async def _search(self, song: Song) -> int | None:
        """Search from the newest message back to the song's id, which is a time of Discord's clock.

        `posting_at` is a time of our clock, which may be wrong: it only limits a very long search.
        """
        marked_at = (song.posting_at or song.requested_at) - CLOCK_SKEW
        mark, own_id = cards.post_mark(song), self._bot.user and self._bot.user.id
        searched, oldest = 0, None
        async for message in self._channel(song).history(
            limit=MOST_SEARCHED, after=discord.Object(song.song_id), oldest_first=False
        ):
            searched, oldest = searched + 1, message.created_at
            if message.author.id == own_id and any(
                (embed.footer.text or "").endswith(mark) for embed in message.embeds
            ):
                return message.id
        if searched == MOST_SEARCHED and oldest is not None and oldest > marked_at:
            raise CannotPost(Reason.HISTORY_TOO_LONG)
        return None

    def _has_left(self, song: Song) -> bool:
        """Return whether the bot has left the song's server, which discord.py does not cache."""
        return self._bot.is_ready() and song.server_id not in self._bot.presence

    async def can_post(self, song: Song) -> bool:
        """Check the permissions known from the gateway; only an unknown channel is fetched.

        That is an archived thread, which a post opens again, or a deleted channel.
        """
        return await self._or_in_origin(song, self._can_post)

    async def _can_post(self, song: Song) -> bool:
        guild = self._bot.get_guild(song.server_id)
        if guild is None or guild.unavailable:
            return False
        channel = await self._known_channel(guild, song)
        return not lacking_to_post(channel, permissions_in(channel, guild.me))

    async def _or_in_origin(self, song: Song, act: Callable[[Song], Awaitable[T]]) -> T:
        """Do something in the song's channel; if that was deleted, where it was requested.

        The row is changed first. A post that the deleted channel had is gone with it.
        """
        try:
            return await act(song)
        except CannotPost as error:
            cause = error.__cause__
            gone = isinstance(cause, discord.NotFound) and cause.code == UNKNOWN_CHANNEL
            if not gone or song.origin_id is None:
                raise
        log.info("channel %d was deleted, posting in %d instead", song.channel_id, song.origin_id)
        try:
            song = await self._queue.move_to_origin(song)
        except NOT_NOW as error:
            raise PostUncertain(f"the channel of the post can't be changed: {error}") from error
        return await act(song)

    async def _check_history_readable(self, song: Song) -> None:
        """Check the permissions first: without them Discord returns an empty history.

        Raises:
            CannotPost, PostUncertain: see `find_post`.
        """
        guild = self._bot.get_guild(song.server_id)
        if guild is None or guild.unavailable:
            if self._has_left(song):
                raise CannotPost(Reason.NOT_IN_SERVER, scope=Scope.SERVER)
            raise PostUncertain("the server is not known yet")
        channel = await self._known_channel(guild, song)
        if lacking_to_read(channel, permissions_in(channel, guild.me)):
            raise CannotPost(Reason.HISTORY_UNREADABLE)

    async def _known_channel(
        self, guild: discord.Guild, song: Song
    ) -> discord.abc.GuildChannel | discord.Thread:
        """Return the song's channel with its permissions, from the cache or fetched.

        Raises:
            CannotPost, PostUncertain: see `find_post`.
        """
        with map_discord_errors("fetching the channel"):
            return guild.get_channel_or_thread(song.channel_id) or await guild.fetch_channel(
                song.channel_id
            )

    def _channel(self, song: Song) -> discord.PartialMessageable:
        return self._bot.get_partial_messageable(song.channel_id, guild_id=song.server_id)
