"""Tells in each server's log channel what its managers change, and when its ceiling comes near.

What has to be told stands in the table, so nothing is forgotten at a restart. Each channel is told
by a task of its own: one that fails, or that Discord makes wait, holds up no other.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import discord
from discord.ext import commands

from cogs.answers import PASSING, is_lost, understood
from cogs.quota.texts import change_line
from db.records import Change
from services.making.runner import Spawn
from services.making.worker import Backoff
from services.quota.changelog import Changelog
from services.quota.rules import Defaults

log = logging.getLogger(__name__)

LONGEST = 4_000
"""Characters in one message; an embed's description holds 4,096 (Discord, "Embed Limits")."""
AFTER_A_FAILURE = Backoff(first=2.0, longest=300.0)
LOOK_EVERY = 60.0
"""Seconds between looks without being woken: `bot.py grant` is another process."""
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Message:
    """Changes of one server, oldest first, and the message that tells them."""

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
    told: list[Change] = []
    lines: list[str] = []
    for change in changes:
        line = change_line(change, defaults)
        if lines and sum(map(len, lines)) + len(lines) + len(line) > LONGEST:
            yield Message(told, lines)
            told, lines = [], []
        told.append(change)
        lines.append(line)
    if lines:
        yield Message(told, lines)


class ManagerLog:
    """Posts changes that have not been told."""

    def __init__(
        self,
        bot: commands.AutoShardedBot,
        changelog: Changelog,
        defaults: Defaults,
        *,
        spawn: Spawn,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._changelog = changelog
        self._defaults = defaults
        self._spawn = spawn
        self._sleep = sleep
        self._woken = asyncio.Event()
        self._telling: dict[int, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """There may be something to tell."""
        self._woken.set()

    async def run(self) -> None:
        """Tell what was not told before the bot stopped, then what comes, until cancelled."""
        while True:
            self._woken.clear()
            await self._begin()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._woken.wait()

    async def stop(self, *, grace: float) -> None:
        """Give the messages under way `grace` seconds. For after the end of `run`."""
        tasks = list(self._telling.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _begin(self) -> None:
        """Begin to tell each channel that is not being told already what there is for it."""
        while found := await self._changelog.untold(besides=self._telling):
            by_channel: dict[int, list[Change]] = {}
            for change in found:
                assert change.log_channel_id is not None  # noqa: S101 - the query asks for it
                by_channel.setdefault(change.log_channel_id, []).append(change)
            for channel_id, changes in by_channel.items():
                task = self._spawn(self._tell(channel_id, changes), f"log in {channel_id}")
                self._telling[channel_id] = task
                task.add_done_callback(functools.partial(self._ended, channel_id))

    def _ended(self, channel_id: int, _: asyncio.Task[None]) -> None:
        """More may have come for it meanwhile."""
        del self._telling[channel_id]
        self.wake()

    async def _tell(self, channel_id: int, changes: Sequence[Change]) -> None:
        try:
            for message in joined(changes, self._defaults):
                await self._send(channel_id, message)
                await self._mark(message.changes)
        except Exception as error:
            # The channel is gone, say. They stay in the history; here they are given up.
            refused = isinstance(error, discord.HTTPException)
            log.warning(
                "log channel %d: %d changes can't be told: %s",
                *(channel_id, len(changes), error),
                exc_info=None if refused else error,
            )
            await self._mark(changes)

    async def _send(self, channel_id: int, message: Message) -> None:
        """Send it, however long Discord is not to be had.

        Raises:
            discord.HTTPException: it is refused for good.
        """
        server_id = message.changes[0].server_id
        channel = self._bot.get_partial_messageable(channel_id, guild_id=server_id)
        for failures in itertools.count(1):
            embed = message.embed
            try:
                with understood():
                    await channel.send(embed=embed, nonce=message.nonce)
            except (*PASSING, discord.HTTPException) as error:
                if isinstance(error, discord.HTTPException) and not is_lost(error):
                    raise
                log.warning("log channel %d: its message waits: %s", channel_id, error)
                await self._sleep(AFTER_A_FAILURE.pause(failures))
            else:
                return

    async def _mark(self, changes: Sequence[Change]) -> None:
        """Tried until it is done: what is not marked would be told again."""
        for failures in itertools.count(1):
            try:
                await self._changelog.mark_told(*changes)
            except Exception:
                log.exception("the log of server %d: error %d", changes[0].server_id, failures)
                await self._sleep(AFTER_A_FAILURE.pause(failures))
            else:
                return
