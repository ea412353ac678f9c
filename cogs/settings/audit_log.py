"""Posts what managers change, and warnings of the budget, in each server's log channel.

What is to be posted is in the table, so nothing is forgotten at a restart. Each channel has a task:
one that fails, or that Discord makes wait, holds up no other. What can't be posted for a transient
reason is retried for a day, and what comes after it waits, so that the order stays.
"""

import asyncio
import contextlib
import functools
import logging
from collections import Counter
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
from cogs.settings.texts import change_line
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
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Message:
    """Changes of one server, oldest first, and the message that lists them."""

    changes: Sequence[Change]
    lines: Sequence[str]

    @property
    def embed(self) -> discord.Embed:
        """Mentions in an embed are shown and ping nobody (Discord, "Allowed Mentions")."""
        warns = any(change.name == WARNING for change in self.changes)
        colour = discord.Colour.gold() if warns else discord.Colour.blurple()
        return discord.Embed(description="\n".join(self.lines), colour=colour)

    @property
    def nonce(self) -> str:
        """The same for the same changes; Discord takes 25 characters.

        A repeat within a few minutes then returns the first message instead of a second one.
        """
        first = self.changes[0]
        return f"{first.server_id:x}{first.number:06x}{len(self.changes):02x}"


def joined(changes: Sequence[Change], defaults: Defaults) -> Iterator[Message]:
    """The changes in as few messages as hold them, in their order."""
    listed: list[Change] = []
    lines: list[str] = []
    for change in changes:
        line = change_line(change, defaults)
        if lines and sum(map(len, lines)) + len(lines) + len(line) > LONGEST:
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
        self._failures: Counter[int] = Counter()

    def wake(self) -> None:
        """There may be something to post."""
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
                assert change.log_channel_id is not None  # noqa: S101 - the query asks for it
                by_channel.setdefault(change.log_channel_id, []).append(change)
            for channel_id, changes in by_channel.items():
                task = self._spawn(self._post(channel_id, changes), f"log in {channel_id}")
                self._posting[channel_id] = task
                task.add_done_callback(functools.partial(self._ended, channel_id))

    def _ended(self, channel_id: int, _: asyncio.Task[None]) -> None:
        """More may have come for it meanwhile."""
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
        """Send it; where Discord refuses its words, line by line, so that only one is lost.

        Raises:
            discord.HTTPException: nothing can be posted there any more.
        """
        try:
            await self._send(channel_id, message)
        except discord.HTTPException as error:
            about_words = _is_about_words(error)
            if not about_words and not may_succeed_later(error):
                raise
            if about_words and len(message.changes) > 1:
                for change in message.changes:
                    (part,) = joined([change], self._defaults)
                    await self._post_in_parts(channel_id, part)
                return
            _warn(channel_id, message.changes, error)
        await self._mark(message.changes)

    async def _send(self, channel_id: int, message: Message) -> None:
        """Send it, however long Discord is not to be had, and for a day while it is refused.

        Always the same message: after a lost answer its nonce keeps it from being a second one.

        Raises:
            discord.HTTPException: it is refused, and time does not change that, or has not.
        """
        server_id = message.changes[0].server_id
        channel = self._bot.get_partial_messageable(channel_id, guild_id=server_id)
        while True:
            await self._wait_until_allowed(channel_id, message)
            embed = message.embed
            try:
                with wrap_parse_errors():
                    await channel.send(embed=embed, nonce=message.nonce)
            except (*TRANSIENT, discord.HTTPException) as error:
                if not self._may_pass(error, message):
                    raise
                log.warning("log channel %d: its message waits: %s", channel_id, error)
                self._failures[channel_id] += 1
                await self._pause(channel_id, AFTER_A_FAILURE.pause(self._failures[channel_id]))
            else:
                self._failures.pop(channel_id, None)
                return

    def _may_pass(self, error: BaseException, message: Message) -> bool:
        if not isinstance(error, discord.HTTPException) or outcome_unknown(error):
            return True
        return may_succeed_later(error) and not self._is_late(message)

    async def _wait_until_allowed(self, channel_id: int, message: Message) -> None:
        """Nothing is asked of Discord while the bot knows that it may not write there.

        What is known may be wrong: before the message is given up it is tried once.
        """
        said = None
        while not self._is_late(message):
            guild = self._bot.get_guild(message.changes[0].server_id)
            why = obstacle(guild, channel_id)
            if why is None or why == GONE:
                return
            if why != said:
                log.warning("log channel %d: its message waits: %s", channel_id, why)
            said = why
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
        """Tried until it is done: what is not marked would be posted again."""

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
    *,
    exc_info: Exception | None = None,
) -> None:
    log.warning(
        "log channel %d: %d changes can't be posted: %s",
        *(channel_id, len(changes), error),
        exc_info=exc_info,
    )


def _is_about_words(error: discord.HTTPException) -> bool:
    """Whether AutoMod or a filter of Discord's refused this message, and may take others."""
    refused = refusal(error)
    return isinstance(refused, CannotPost) and refused.scope is Scope.MESSAGE
