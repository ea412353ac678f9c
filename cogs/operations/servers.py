"""Joining a server with a greeting, and leaving one with the end of its songs."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import discord
from discord.ext import commands

from cogs.client.answers import TRANSIENT, wrap_parse_errors
from cogs.client.client import Client
from cogs.client.discord_internals import forget_thread
from cogs.client.permissions import lacking_to_write
from cogs.songs import cards
from db.errors import NOT_NOW
from db.records import Song
from services.credits.credits import Credits
from services.operations.servers import Servers, Shard
from services.songs.delivery import Delivery
from services.songs.songs import Songs

log = logging.getLogger(__name__)


class ServersCog(commands.Cog):
    """Servers that the bot joins and leaves."""

    def __init__(
        self,
        client: Client,
        servers: Servers,
        delivery: Delivery,
        songs: Songs,
        credits: Credits,
        *,
        show: Callable[[int], None],
    ) -> None:
        self._client = client
        self._servers = servers
        self._delivery = delivery
        self._songs = songs
        self._credits = credits
        self._show_song = show

    @commands.Cog.listener()
    async def on_shard_session(self, shard: Shard) -> None:
        """Leave servers that a shard's READY does not list; it lists unavailable ones too."""
        await self._leave(self._servers.reconcile(shard, self._client.presence))

    @commands.Cog.listener()
    async def on_shard_ready(self, shard_id: int) -> None:
        """Store the names of a shard's servers once they are known, and retry deliveries."""
        shard = Shard(shard_id, self._client.shard_count or 1)
        guilds = [guild for guild in self._client.guilds if shard.serves(guild.id)]
        log.info("shard %d is ready in %d servers", shard_id, len(guilds))
        await self._servers.note_names(
            shard, {guild.id: guild.name for guild in guilds if guild.name}
        )
        for guild in guilds:
            self._delivery.wake(guild.id)

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Greet a new server once, where the bot may write."""
        self._delivery.wake(guild.id)
        first_time = await self._servers.join(guild.id, guild.name)
        if guild.id not in self._client.presence:  # removed before the row was written
            await self.on_server_left(guild.id)
            return
        if first_time:
            await self._greet(guild)
        await self._servers.notify_operator()

    async def _greet(self, guild: discord.Guild) -> None:
        channel = first_writable(guild)
        if channel is None:
            log.info("no channel for the greeting in server %d", guild.id)
            return
        settings = await self._credits.settings(guild.id)
        greeting = (
            cards.hello_card(allowance=settings.allowance.credits, prices=self._songs.prices)
            if self._servers.allows(guild.id)
            else cards.not_allowed_card(guild.id)
        )
        try:
            with wrap_parse_errors():
                await channel.send(embed=greeting)
        except (*TRANSIENT, discord.HTTPException) as error:
            log.warning("the greeting in server %d failed: %s", guild.id, error)

    @commands.Cog.listener()
    async def on_guild_update(self, before: discord.Guild, after: discord.Guild) -> None:
        """Store a new name. Boosts may also allow larger files."""
        self._delivery.wake(after.id)
        if before.name != after.name:
            await self._servers.rename(after.id, after.name)

    @commands.Cog.listener()
    async def on_server_left(self, server_id: int) -> None:
        """Cancel and refund the waiting songs of a server that removed the bot."""
        await self._leave(self._servers.leave(server_id))

    async def _leave(self, leaving: Awaitable[Sequence[Song]]) -> None:
        try:
            for song in await leaving:
                # Status messages work after the removal while their tokens are valid.
                self._show_song(song.song_id)
        except NOT_NOW as error:
            log.warning("leaving servers failed, housekeeping retries: %s", error)

    # Events that may allow undelivered songs to be posted. Permissions belong to the server, a role
    # or a channel, and come with the bot's own roles; a closed thread may be reopened.

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Retry deliveries after an outage, or when a server is first available."""
        self._delivery.wake(guild.id)

    @commands.Cog.listener()
    async def on_guild_channel_update(
        self,
        before: discord.abc.GuildChannel,  # noqa: ARG002 - discord.py gives both
        after: discord.abc.GuildChannel,
    ) -> None:
        """Retry deliveries: permissions may have changed."""
        self._delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Retry deliveries: songs of a deleted channel are posted where they were requested."""
        self._delivery.wake(channel.guild.id)

    @commands.Cog.listener()
    async def on_guild_role_update(
        self,
        before: discord.Role,  # noqa: ARG002 - as above
        after: discord.Role,
    ) -> None:
        """Retry deliveries: permissions may have changed."""
        self._delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """Retry deliveries: the role's denials are gone."""
        self._delivery.wake(role.guild.id)

    @commands.Cog.listener()
    async def on_member_update(
        self,
        before: discord.Member,  # noqa: ARG002 - as above
        after: discord.Member,
    ) -> None:
        """Retry deliveries when the bot's roles change or its time-out ends."""
        if after.id == after.guild.me.id:
            self._delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_raw_thread_update(self, payload: discord.RawThreadUpdateEvent) -> None:
        """Retry deliveries. Raw, since a closed thread is not in discord.py's cache."""
        self._delivery.wake(payload.guild_id)

    @commands.Cog.listener()
    async def on_thread_join(self, thread: discord.Thread) -> None:
        """Retry deliveries in a thread that the bot was added to or can see now."""
        self._delivery.wake(thread.guild.id, channel_id=thread.id)

    @commands.Cog.listener()
    async def on_thread_remove(self, thread: discord.Thread) -> None:
        """Drop a private thread from discord.py's cache, which keeps it."""
        if thread.is_private():
            forget_thread(thread)

    @commands.Cog.listener()
    async def on_resumed(self) -> None:
        """Retry deliveries everywhere: Discord may have been unavailable for long."""
        for guild in self._client.guilds:
            self._delivery.wake(guild.id)


def first_writable(guild: discord.Guild) -> discord.TextChannel | None:
    """Return the channel for the greeting: one that the bot may write in.

    The server's system channel comes first, then public channels; channels for rules,
    announcements and moderators come last.
    """
    channels = [guild.system_channel, *sorted(guild.text_channels, key=_is_no_place_to_talk)]
    for channel in channels:
        if channel and not lacking_to_write(channel, channel.permissions_for(guild.me)):
            return channel
    return None


def _is_no_place_to_talk(channel: discord.TextChannel) -> bool:
    guild = channel.guild
    special = (guild.rules_channel, guild.public_updates_channel, guild.safety_alerts_channel)
    everybody = channel.permissions_for(guild.default_role)
    talking = everybody.view_channel and everybody.send_messages
    return channel.is_news() or channel in special or not talking
