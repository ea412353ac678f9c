"""Keeps a song's status message true, and posts the song.

It works from the ids in the row alone, never from an object kept in memory, so it does after a
restart what it did before. All edits of a status message are made here, one at a time.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import discord
from discord.ext import commands

from cogs import cards
from cogs.buttons import status_buttons
from db.records import Song
from services import logs
from services.errors import CannotPost, PostUncertain, TooLargeToPost
from services.making.runner import Spawn
from services.making.worker import DEFAULT_UPLOAD_LIMIT
from services.queue import Queue, View

log = logging.getLogger(__name__)

BETWEEN_EDITS = 3.0
"""Seconds between two edits of one message; Discord answers 429 under about 1.5."""
REFRESH_EVERY = 20.0
"""Seconds between looks at the places of the first ten; the others are every third time."""
FIRST_IN_QUEUE = 10
STEADY = timedelta(seconds=20)
"""An expected time that moved by less is left as it stands."""
CLOCK_SKEW = timedelta(minutes=2)
"""By how much our clock may be ahead of Discord's when a post is looked for."""
MOST_SEARCHED = 5_000
"""Messages to look through for a post that may be there."""
TOO_LARGE = 40005  # Discord, "JSON Error Codes": request entity too large
UNREADABLE = (
    "It may have been posted just before a restart, and I can't read the channel's history to find "
    "out."
)
PASSING = (discord.DiscordServerError, aiohttp.ClientError, TimeoutError, OSError)
NOT_NOW = (401, 429)
"""Answers that say nothing of the post: a token that was just reset, a limit shared with others."""
TOO_MANY = 429


@dataclass(slots=True)
class _Board:
    """What is known of one status message: when it may be edited next, and what it shows.

    Who holds `turn` edits it, and nobody else.
    """

    next_at: float = 0.0
    dirty: bool = False
    shown: View | None = None
    task: asyncio.Task[None] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class DiscordAnnouncer:
    """The worker's Announcer, on Discord."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        queue: Queue,
        *,
        spawn: Spawn,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._queue = queue
        self._spawn = spawn
        self._monotonic = monotonic
        self._boards: dict[int, _Board] = {}
        self._stopping = False

    # --- the status message -----------------------------------------------------------------------

    def changed(self, song_id: int) -> None:
        """Show the song's state as soon as its message may be edited; after a stop, in `run`."""
        if self._stopping:
            return
        board = self._boards.setdefault(song_id, _Board())
        board.dirty = True
        if board.task is None:
            board.task = self._spawn(self._keep_true(song_id, board), f"status of {song_id}")

    def show(self, song_id: int) -> None:
        """Show the song's state, whatever its message shows now: somebody pressed a button."""
        if song_id in self._boards:
            self._boards[song_id].shown = None
        self.changed(song_id)

    async def run(self) -> None:
        """Show what changed while the bot was away, then refresh places, until cancelled."""
        for ended in (True, False):
            for song in await self._queue.shown(ended=ended):
                self.changed(song.song_id)
        rounds = 0
        while True:
            await asyncio.sleep(REFRESH_EVERY)
            rounds += 1
            for song_id, place in await self._queue.shown_and_waiting():
                if place <= FIRST_IN_QUEUE or rounds % 3 == 0:
                    self.changed(song_id)

    async def stop(self, *, grace: float) -> None:
        """Give the edits under way `grace` seconds, and begin no others."""
        self._stopping = True
        tasks = [board.task for board in self._boards.values() if board.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _keep_true(self, song_id: int, board: _Board) -> None:
        over = False
        logs.about_from_here(song_id)
        try:
            while board.dirty:
                async with self._turn(board):
                    if board.dirty:
                        board.dirty = False
                        view = await self._queue.view(song_id)
                        over = view is None or await self._show(view, board)
        except Exception:
            log.exception("its status message could not be kept true")
        finally:
            board.task = None
            if over:
                self._boards.pop(song_id, None)

    @contextlib.asynccontextmanager
    async def _turn(self, board: _Board) -> AsyncIterator[None]:
        """Alone with the message, and not before it may be edited."""
        async with board.turn:
            await asyncio.sleep(max(0.0, board.next_at - self._monotonic()))
            yield

    async def _show(self, view: View, board: _Board) -> bool:
        """Edit the message if its words differ; whether that was for the last time."""
        song = view.song
        if song.token is None:
            return True
        if board.shown is None or not _alike(board.shown, view):
            try:
                await self._edit(view, board)
            except PASSING as error:
                return self._again(board, error)
            except discord.HTTPException as error:
                if error.status == TOO_MANY:
                    return self._again(board, error)
                # Deleted by its member, or the token is over: the post alone tells the end.
                log.info("its status message is gone: %s", error)
                await self._queue.forget_token(song)
                return True
        if song.ended:
            await self._queue.forget_token(song)
        return song.ended

    def _again(self, board: _Board, error: Exception) -> bool:
        log.warning("its status message waits: %s", error)
        board.dirty = True
        board.next_at = self._monotonic() + 2 * BETWEEN_EDITS
        return False

    async def _edit(
        self, view: View, board: _Board, *, files: Sequence[discord.File] | None = None
    ) -> None:
        song = view.song
        if song.token is None or song.message_id is None:
            return
        webhook = discord.Webhook.partial(song.application_id, song.token, client=self._bot)
        await webhook.edit_message(
            song.message_id,
            embed=cards.status_card(view),
            view=status_buttons(song),
            attachments=discord.utils.MISSING if files is None else files,
        )
        log.debug("its status message shows %s", song.status)
        board.shown = view
        board.next_at = self._monotonic() + BETWEEN_EDITS

    # --- the post ---------------------------------------------------------------------------------

    def upload_limit(self, song: Song) -> int:
        """Bytes: what the song's server takes, as far as it is known."""
        guild = self._bot.get_guild(song.server_id)
        return guild.filesize_limit if guild is not None else DEFAULT_UPLOAD_LIMIT

    async def post(self, song: Song, file: Path) -> int:
        """Send the song to its channel; the message's id."""
        attachment = await asyncio.to_thread(discord.File, file)
        with _translated("the post"):
            message = await self._channel(song).send(
                content=f"<@{song.member_id}>",
                embed=cards.post_card(song),
                file=attachment,
                # A repeat within a few minutes returns the first message instead of a second one.
                nonce=str(song.song_id),
                allowed_mentions=discord.AllowedMentions(
                    everyone=False, roles=False, users=[discord.Object(song.member_id)]
                ),
            )
        return message.id

    async def find_post(self, song: Song) -> int | None:
        """Look through the channel, from when the song was marked as being posted."""
        await self._check_history_readable(song)
        with _translated("looking for the post"):
            try:
                return await self._search(song)
            except discord.Forbidden as error:
                raise CannotPost(UNREADABLE) from error

    async def _search(self, song: Song) -> int | None:
        after = (song.posting_at or song.asked_at) - CLOCK_SKEW
        mark = cards.post_mark(song)
        searched = 0
        async for message in self._channel(song).history(limit=MOST_SEARCHED, after=after):
            searched += 1
            if self._is_own(message) and any(
                (embed.footer.text or "").endswith(mark) for embed in message.embeds
            ):
                return message.id
        if searched == MOST_SEARCHED:
            raise CannotPost("Too much was written since to find out whether it was posted.")
        return None

    def _is_own(self, message: discord.Message) -> bool:
        return self._bot.user is not None and message.author.id == self._bot.user.id

    async def hand_over(self, song: Song, file: Path) -> bool:
        """Attach the song to its status message, which only its member sees.

        By the token in `song`: what shows the song's end may forget the row's meanwhile.
        """
        board = self._boards.setdefault(song.song_id, _Board())
        async with self._turn(board):
            view = await self._queue.view(song.song_id)
            if view is None or song.token is None or song.message_id is None:
                return False
            delivered = replace(view, song=replace(song, delivered_at=song.ended_at))
            try:
                attachment = await asyncio.to_thread(discord.File, file)
                await self._edit(delivered, board, files=[attachment])
            except (*PASSING, discord.HTTPException) as error:
                log.warning("it could not be handed over: %s", error)
                return False
            board.dirty = False  # whatever changed before is shown now
            return True

    async def _check_history_readable(self, song: Song) -> None:
        """To a bot that may not read it Discord shows an empty history, which looks like absence.

        Raises:
            CannotPost, PostUncertain: see `find_post`.
        """
        guild = self._bot.get_guild(song.server_id)
        if guild is None or guild.unavailable:
            if self._bot.is_ready() and guild is None:
                raise CannotPost("I am no longer in the server.")
            raise PostUncertain("the server is not known yet")
        with _translated("looking for the channel"):
            channel = guild.get_channel_or_thread(song.channel_id) or await guild.fetch_channel(
                song.channel_id
            )
        if not channel.permissions_for(guild.me).read_message_history:
            raise CannotPost(UNREADABLE)

    def _channel(self, song: Song) -> discord.PartialMessageable:
        return self._bot.get_partial_messageable(song.channel_id, guild_id=song.server_id)


def _alike(shown: View, view: View) -> bool:
    """Whether a message that shows the one is true for the other."""
    return (
        shown.song.status is view.song.status
        and shown.song.cancellable == view.song.cancellable
        and shown.song.message_id == view.song.message_id
        and (shown.song.delivered_at is None) == (view.song.delivered_at is None)
        and (shown.place, shown.waiting, shown.free) == (view.place, view.waiting, view.free)
        and abs(shown.expected_at - view.expected_at) < STEADY
    )


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Discord's errors become ours here.

    Raises:
        CannotPost, TooLargeToPost: the answer is for good.
        PostUncertain: there was none, or none about this.
    """
    try:
        yield
    except PASSING as error:
        raise PostUncertain(f"{doing}: {error!r}") from error
    except discord.HTTPException as error:
        if error.status in NOT_NOW:
            raise PostUncertain(f"{doing}: {error}") from error
        raise _refused(error) from error


def _refused(error: discord.HTTPException) -> CannotPost | TooLargeToPost:
    """Why Discord does not take a post, for good."""
    if error.status == 413 or error.code == TOO_LARGE:
        return TooLargeToPost(str(error))
    if isinstance(error, discord.NotFound):
        return CannotPost("The channel is gone.")
    if isinstance(error, discord.Forbidden):
        return CannotPost(
            "I lack a permission in the channel: I need to view it, send messages, "
            "embed links and attach files."
        )
    return CannotPost(f"Discord refused it ({error.status}).", shared=True)
