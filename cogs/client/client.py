"""The bot's connection to Discord."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import discord
import yarl
from discord.ext import commands

from cogs.client.answers import LONGEST_PAUSE, TRANSIENT
from cogs.client.connection import SessionStarts, until_answered
from cogs.client.discord_internals import ConnectionState, Presence, presence_of
from cogs.client.errors import Tree


class Client(commands.AutoShardedBot):
    """The bot. `prepare` is called once it is logged in, before any event arrives."""

    def __init__(self, prepare: Callable[["Client"], Awaitable[None]]) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=Tree,
            intents=discord.Intents(guilds=True),
            # Only a message that says so pings somebody.
            allowed_mentions=discord.AllowedMentions.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            max_ratelimit_timeout=LONGEST_PAUSE,
        )
        self._prepare = prepare
        self.session_starts = SessionStarts(self.http)

    @property
    def presence(self) -> Presence:
        """The servers that the bot is a member of."""
        return presence_of(self)

    def _get_state(self, **options: Any) -> ConnectionState:  # noqa: ANN401 - discord.py's
        """Called by discord.py."""
        return ConnectionState.of(self, **options)

    async def login(self, token: str) -> None:
        """Log in, which calls `setup_hook`; wait for Discord, however long it takes."""
        with until_answered(self.http):
            await super().login(token)

    async def launch_shard(
        self, gateway: yarl.URL, shard_id: int, *, initial: bool = False
    ) -> None:
        """Called by discord.py for each shard at the start, and again where that failed."""
        # Before it connects: discord.py gives a connection up after 180 s, with a trace.
        with contextlib.suppress(*TRANSIENT, discord.GatewayNotFound):  # `take` tries again
            await self.session_starts.wait()
        await super().launch_shard(gateway, shard_id, initial=initial)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Called by discord.py before each new session of a shard."""
        await super().before_identify_hook(shard_id, initial=initial)
        await self.session_starts.take()

    async def setup_hook(self) -> None:
        """Called by discord.py after the login."""
        await self._prepare(self)
