"""Posts what managers change, and warnings of the budget, in each server's log channel.

What is to be posted is in the table, so nothing is forgotten at a restart. Each channel has a task:
one that fails, or that Discord makes wait, holds up no other. What can't be posted for a transient
reason is retried for a day, and what comes after it waits, so that the order stays.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import discord
from discord.ext import commands

from cogs.client.answers import (
    TRANSIENT,
    may_succeed_later,
    outcome_unknown,
    refusal,
    wrap_parse_errors,
)
from cogs.settings.channels import GONE, obstacle
from cogs.settings.texts import WARNING, change_line
from db.records import Change
from services.clock import WatchedClock
from services.errors import CannotPost, Scope
from services.retry import Backoff, retry
from services.settings.changelog import Changelog
from services.settings.settings import Defaults
from services.songs.scheduler import Spawn

log = logging.getLogger(__name__)

LONGEST = 4_000
"""Characters in one message; an embed's description holds 4,096 (Discord, "Embed Limits")."""
AFTER_A_FAILURE = Backoff(first=2.0, longest=900.0)
"""About 140 tries in a day: 10,000 refused requests in ten minutes ban the machine's address."""
RETRIED_FOR = timedelta(hours=24)
"""How long a line is retried; it stays in the history all the same."""
POLL_EVERY = 60.0
"""Seconds between polls without being woken: `bot.py grant` is another process."""


@dataclass(frozen=True, slots=True)
class Message:
    """Changes of one server, oldest first, and the message that lists them."""

    changes: Sequence[Change]
    lines: Sequence[str]

    @property
    def embed(self) -> discord.Embed:
        """Return what is posted. Mentions in an embed ping nobody (Discord, "Allowed Mentions")."""
        warns = any(change.name == WARNING for change in self.changes)
        colour = discord.Colour.gold() if warns else discord.Colour.blurple()
        return discord.Embed(description="\n".join(self.lines), colour=colour)

    @property
    def nonce(self) -> str:
        """Return the same for the same changes; Discord takes 25 characters.

        A repeat within a few minutes then returns the first message instead of a second one.
        """
        first = self.changes[0]
        return f"{first.server_id:x}{first.number:06x}{len(self.changes):02x}"


def joined(changes: Sequence[Change], defaults: Defaults) -> Iterator[Message]:
    """Put changes into as few messages as hold them, in their order."""
    listed: list[Change] = []
    lines: list[str] = []
    for change in changes:
        line = change_line(change, defaults)
        if lines and len("\n".join((*lines, line))) > LONGEST:
            yield Message(listed, lines)
            listed, lines = [], []
        listed.append(change)
        lines.append(line)
    if lines:
        yield Message(listed, lines)


class AuditLog:
    """Posts changes that were not posted yet."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        changelog: Changelog,
        defaults: Defaults,
        *,
        spawn: Spawn,
        clock: WatchedClock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._changelog = changelog
        self._defaults = defaults
        self._spawn = spawn
        self._clock = clock
        self._sleep = sleep
        self._woken = asyncio.Event()
        self._posting: dict[int, asyncio.Task[None]] = {}
        self._pausing: set[int] = set()
        """Channels that wait before their next message: a stop need not wait for them."""

    def wake(self) -> None:
        """Post soon: there may be something."""
        self._woken.set()

    async def run(self) -> None:
        """Post what was not posted before the bot stopped, then what comes, until cancelled."""
        while True:
            self._woken.clear()
            await self._begin()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_EVERY):
                    await self._woken.wait()

    async def stop(self, *, grace: float) -> None:
        """Give the messages in progress `grace` seconds. For after the end of `run`."""
        for channel_id in self._pausing:
            self._posting[channel_id].cancel()
        tasks = list(self._posting.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _begin(self) -> None:
        """Start posting in each channel that is not being posted to already."""
        while found := await self._changelog.pending(besides=self._posting):
            by_channel: dict[int, list[Change]] = {}
            for change in found:
                assert change.log_channel_id is not None  # noqa: S101 - the query selects these
                by_channel.setdefault(change.log_channel_id, []).append(change)
            for channel_id, changes in by_channel.items():
                task = self._spawn(self._post(channel_id, changes), f"log in {channel_id}")
                self._posting[channel_id] = task
                task.add_done_callback(functools.partial(self._ended, channel_id))

    def _ended(self, channel_id: int, _: asyncio.Task[None]) -> None:
        """There may be more for that channel by now."""
        del self._posting[channel_id]
        self.wake()

    async def _post(self, channel_id: int, changes: Sequence[Change]) -> None:
        try:
            for message in joined(changes, self._defaults):
                await self._post_in_parts(channel_id, message)
        except Exception as error:  # noqa: BLE001 - it is logged in the next lines
            # The channel is gone, say. They stay in the history; here they are given up.
            refused = isinstance(error, discord.HTTPException)
            _warn(channel_id, changes, error, exc_info=None if refused else error)
            await self._mark(changes)

    async def _post_in_parts(self, channel_id: int, message: Message) -> None:
        """Send it; where Discord refuses its text, line by line, so that only one is lost.

        Raises:
            discord.HTTPException: nothing can be posted there any more.
        """
        try:
            await self._send(channel_id, message)
        except discord.HTTPException as error:
            # AutoMod or a filter of Discord's: it may accept others.
            refused = refusal(error)
            about_text = isinstance(refused, CannotPost) and refused.scope is Scope.MESSAGE
            if not about_text and not may_succeed_later(error):
                raise
            if about_text and len(message.changes) > 1:
                for change in message.changes:
                    (part,) = joined([change], self._defaults)
                    await self._post_in_parts(channel_id, part)
                return
            _warn(channel_id, message.changes, error)
        await self._mark(message.changes)

    async def _send(self, channel_id: int, message: Message) -> None:
        """Send it, however long Discord is unavailable, and for a day while it is refused.

        Always the same message: after a lost answer its nonce keeps it from being a second one.

        Raises:
            discord.HTTPException: it is refused permanently, or for a day.
        """
        server_id, failures = message.changes[0].server_id, 0
        channel = self._bot.get_partial_messageable(channel_id, guild_id=server_id)
        while True:
            await self._wait_until_allowed(channel_id, message)
            embed = message.embed
            try:
                with wrap_parse_errors():
                    await channel.send(embed=embed, nonce=message.nonce)
                return
            except (*TRANSIENT, discord.HTTPException) as error:
                if (
                    isinstance(error, discord.HTTPException)
                    and not outcome_unknown(error)
                    and (self._is_late(message) or not may_succeed_later(error))
                ):
                    raise
                log.warning("log channel %d: its message waits: %s", channel_id, error)
            failures += 1
            await self._pause(channel_id, AFTER_A_FAILURE.pause(failures))

    async def _wait_until_allowed(self, channel_id: int, message: Message) -> None:
        """Send nothing to Discord while the bot knows that it may not write there.

        It may be mistaken: before the message is given up it is tried once.
        """
        logged = None
        while not self._is_late(message):
            why = obstacle(self._bot.get_guild(message.changes[0].server_id), channel_id)
            if why is None or why == GONE:
                return
            if why != logged:
                log.warning("log channel %d: its message waits: %s", channel_id, why)
            logged = why
            await self._pause(channel_id, POLL_EVERY)

    def _is_late(self, message: Message) -> bool:
        return self._clock.elapsed_since(message.changes[-1].at) >= RETRIED_FOR

    async def _pause(self, channel_id: int, seconds: float) -> None:
        self._pausing.add(channel_id)
        try:
            await self._sleep(seconds)
        finally:
            self._pausing.discard(channel_id)

    async def _mark(self, changes: Sequence[Change]) -> None:
        """Retry until it is done: what is not marked would be posted again."""

        async def on_error(error: Exception, pause: float) -> None:
            log.error(
                "the audit log of server %d can't be saved, retrying in %.0f s",
                *(changes[0].server_id, pause),
                exc_info=error,
            )

        await retry(
            lambda: self._changelog.mark_notified(*changes),
            *(Exception, on_error),
            backoff=AFTER_A_FAILURE,
            sleep=self._sleep,
        )


def _warn(
    channel_id: int,
    changes: Sequence[Change],
    error: Exception,
    exc_info: Exception | None = None,
) -> None:
    text = "log channel %d: %d changes can't be posted: %s"
    log.warning(text, channel_id, len(changes), error, exc_info=exc_info)
