"""Coming and going: the hello on joining a server, and the end of its songs on leaving."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import discord
from discord.ext import commands

from cogs.client.answers import PASSING, wrap_parse_errors
from cogs.client.client import Client
from cogs.client.discord_internals import forget_thread
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
        """A shard's READY, each one: it lists all its servers, the unavailable ones too."""
        await self._leave(self._servers.reconcile(shard, self._client.presence))

    @commands.Cog.listener()
    async def on_shard_ready(self, shard_id: int) -> None:
        """Discord has told of the shard's servers what it had to tell."""
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
        """Say hello once, where the bot may write."""
        self._delivery.wake(guild.id)
        first_time = await self._servers.join(guild.id, guild.name)
        if guild.id not in self._client.presence:  # removed before that was written down
            await self.on_server_left(guild.id)
            return
        if first_time:
            await self._say_hello(guild)
        await self._servers.notify_operator()

    async def _say_hello(self, guild: discord.Guild) -> None:
        channel = first_writable(guild)
        if channel is None:
            log.info("no channel to say hello in, in server %d", guild.id)
            return
        settings = await self._credits.settings(guild.id)
        hello = (
            cards.hello_card(allowance=settings.allowance.credits, prices=self._songs.prices)
            if self._servers.allows(guild.id)
            else cards.not_allowed_card(guild.id)
        )
        try:
            with wrap_parse_errors():
                await channel.send(embed=hello)
        except (*PASSING, discord.HTTPException) as error:
            log.warning("the hello in server %d: %s", guild.id, error)

    @commands.Cog.listener()
    async def on_guild_update(self, before: discord.Guild, after: discord.Guild) -> None:
        """The operator's list of servers has their names; and its boosts take larger files."""
        self._delivery.wake(after.id)
        if before.name != after.name:
            await self._servers.rename(after.id, after.name)

    @commands.Cog.listener()
    async def on_server_left(self, server_id: int) -> None:
        """Removed: what waits there is cancelled and refunded."""
        await self._leave(self._servers.leave(server_id))

    async def _leave(self, leaving: Awaitable[Sequence[Song]]) -> None:
        try:
            self._show(await leaving)
        except NOT_NOW as error:
            log.warning("leaving servers waits for the housekeeping: %s", error)

    # What may let songs be posted that could not be. Permissions are the server's, a role's, a
    # channel's, and come with the bot's own roles; a closed thread may be opened again.

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Discord's outage is over, or this is the first that a shard hears of the server."""
        self._delivery.wake(guild.id)

    @commands.Cog.listener()
    async def on_guild_channel_update(
        self,
        before: discord.abc.GuildChannel,  # noqa: ARG002 - discord.py gives both
        after: discord.abc.GuildChannel,
    ) -> None:
        """Its permissions, maybe."""
        self._delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_role_update(
        self,
        before: discord.Role,  # noqa: ARG002 - as above
        after: discord.Role,
    ) -> None:
        """Its permissions, maybe."""
        self._delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """What it denied the bot is denied no more."""
        self._delivery.wake(role.guild.id)

    @commands.Cog.listener()
    async def on_member_update(
        self,
        before: discord.Member,  # noqa: ARG002 - as above
        after: discord.Member,
    ) -> None:
        """The bot's own roles, or the end of its time-out."""
        if after.id == after.guild.me.id:
            self._delivery.wake(after.guild.id)

    @commands.Cog.listener()
    async def on_raw_thread_update(self, payload: discord.RawThreadUpdateEvent) -> None:
        """It was opened again, maybe. Raw, since a closed one is not in discord.py's cache."""
        self._delivery.wake(payload.guild_id)

    @commands.Cog.listener()
    async def on_thread_join(self, thread: discord.Thread) -> None:
        """The bot was added to it, or can see it now."""
        self._delivery.wake(thread.guild.id, channel_id=thread.id)

    @commands.Cog.listener()
    async def on_thread_remove(self, thread: discord.Thread) -> None:
        """The bot was removed from it. discord.py would go on knowing a private one as seen."""
        if thread.is_private():
            forget_thread(thread)

    @commands.Cog.listener()
    async def on_resumed(self) -> None:
        """Discord may have been away for long."""
        for guild in self._client.guilds:
            self._delivery.wake(guild.id)

    def _show(self, cancelled: Sequence[Song]) -> None:
        """A status message can be edited after the bot was thrown out: its token still works."""
        for song in cancelled:
            self._show_song(song.song_id)


def first_writable(guild: discord.Guild) -> discord.TextChannel | None:
    """The channel for the hello: one that the bot may write in.

    The server's system channel, else one where everybody talks. Rules, announcements and what only
    moderators see come last.
    """
    channels = [guild.system_channel, *sorted(guild.text_channels, key=_is_no_place_to_talk)]
    for channel in channels:
        if channel is not None:
            mine = channel.permissions_for(guild.me)
            if mine.view_channel and mine.send_messages and mine.embed_links:
                return channel
    return None


def _is_no_place_to_talk(channel: discord.TextChannel) -> bool:
    guild = channel.guild
    special = (guild.rules_channel, guild.public_updates_channel, guild.safety_alerts_channel)
    everybody = channel.permissions_for(guild.default_role)
    talking = everybody.view_channel and everybody.send_messages
    return channel.is_news() or channel in special or not talking
