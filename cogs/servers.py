"""Coming and going: the hello on joining a server, and the end of its songs on leaving."""

import logging
from collections.abc import Sequence

import discord
from discord.ext import commands

from cogs import cards
from cogs.answers import PASSING, understood
from cogs.connection.client import Client
from db.records import Song

log = logging.getLogger(__name__)


class ServersCog(commands.Cog):
    """Servers that the bot joins and leaves."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Every shard knows its servers, those that are unavailable for now among them."""
        present = {guild.id: guild.name or "" for guild in self._client.guilds}
        log.info("ready in %d servers", len(present))
        self._show(await self._client.services.servers.reconcile(present))
        for server_id in present:
            self._client.services.delivery.wake(server_id)

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Say hello once, where the bot may write."""
        self._client.services.delivery.wake(guild.id)
        first_time = await self._client.services.servers.join(guild.id, guild.name)
        if first_time:
            await self._say_hello(guild)
        await self._client.services.servers.notify_operator()

    async def _say_hello(self, guild: discord.Guild) -> None:
        channel = first_writable(guild)
        if channel is None:
            log.info("no channel to say hello in, in server %d", guild.id)
            return
        services = self._client.services
        rules = await services.credits.rules(guild.id)
        hello = (
            cards.hello_card(allowance=rules.server.credits, prices=services.songs.prices)
            if services.servers.allows(guild.id)
            else cards.not_allowed_card(guild.id)
        )
        try:
            with understood():
                await channel.send(embed=hello)
        except (*PASSING, discord.HTTPException) as error:
            log.warning("the hello in server %d: %s", guild.id, error)

    @commands.Cog.listener()
    async def on_guild_update(self, before: discord.Guild, after: discord.Guild) -> None:
        """The operator's list of servers has their names; and its boosts take larger files."""
        self._client.services.delivery.wake(after.id)
        if before.name != after.name:
            await self._client.services.servers.rename(after.id, after.name)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Thrown out: what waits there is cancelled and refunded."""
        self._show(await self._client.services.servers.leave(guild.id))

    # What may let songs be posted that could not be. Permissions are the server's, a role's, a
    # channel's, and come with the bot's own roles; a closed thread may be opened again.

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Discord's outage is over, or this is the first that a shard hears of the server."""
        self._client.services.delivery.wake(guild.id)

    @commands.Cog.listener()
    async def on_guild_channel_update(
        self,
        before: discord.abc.GuildChannel,  # noqa: ARG002 - discord.py gives both
        after: discord.abc.GuildChannel,
    ) -> None:
        """Its permissions, maybe."""
        self._client.services.delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_role_update(
        self,
        before: discord.Role,  # noqa: ARG002 - as above
        after: discord.Role,
    ) -> None:
        """Its permissions, maybe."""
        self._client.services.delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """What it denied the bot is denied no more."""
        self._client.services.delivery.wake(role.guild.id)

    @commands.Cog.listener()
    async def on_member_update(
        self,
        before: discord.Member,  # noqa: ARG002 - as above
        after: discord.Member,
    ) -> None:
        """The bot's own roles, or the end of its time-out."""
        if after.id == after.guild.me.id:
            self._client.services.delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_raw_thread_update(self, payload: discord.RawThreadUpdateEvent) -> None:
        """It was opened again, maybe. Raw, since a closed one is not in discord.py's cache."""
        self._client.services.delivery.wake(payload.guild_id)

    @commands.Cog.listener()
    async def on_thread_create(self, thread: discord.Thread) -> None:
        """One that was just made, and that the bot can see."""
        self._client.services.delivery.wake(thread.guild.id, channel_id=thread.id)

    @commands.Cog.listener()
    async def on_thread_join(self, thread: discord.Thread) -> None:
        """The bot was added to it, or can see it now."""
        self._client.services.delivery.wake(thread.guild.id, channel_id=thread.id)

    @commands.Cog.listener()
    async def on_thread_remove(self, thread: discord.Thread) -> None:
        """The bot was removed from it. discord.py would go on knowing a private one as seen."""
        if thread.is_private():
            thread.guild._remove_thread(thread)  # noqa: SLF001 - there is no public way

    @commands.Cog.listener()
    async def on_resumed(self) -> None:
        """Discord may have been away for long."""
        for guild in self._client.guilds:
            self._client.services.delivery.wake(guild.id)

    def _show(self, cancelled: Sequence[Song]) -> None:
        """A status message can be edited after the bot was thrown out: its token still works."""
        for song in cancelled:
            self._client.services.show(song.song_id)


def first_writable(guild: discord.Guild) -> discord.TextChannel | None:
    """The server's system channel, else its first text channel, that the bot may write in."""
    channels = [guild.system_channel, *guild.text_channels]
    for channel in channels:
        if channel is not None:
            mine = channel.permissions_for(guild.me)
            if mine.view_channel and mine.send_messages and mine.embed_links:
                return channel
    return None
