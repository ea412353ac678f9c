"""The connection to Discord, and what commands and buttons need beside their interaction."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import discord
from discord.ext import commands

from cogs.answers import LONGEST_PAUSE
from cogs.errors import Tree
from db.records import Song
from services.clock import Clock
from services.delivery import Delivery
from services.errors import NotPermitted
from services.queue import Queue
from services.quota.ceilings import OperatorCeilings, ServerCeiling
from services.quota.changelog import Changelog
from services.quota.credits import Credits
from services.quota.export import Export
from services.quota.giving import Giving
from services.quota.managing import Manager, Managing
from services.quota.overview import Overview
from services.quota.rules import Defaults, Member
from services.quota.usage import Usage
from services.quota.usage_picture import UsageArtist
from services.servers import Servers
from services.songs import Interaction, Songs


@dataclass(frozen=True, slots=True)
class Services:
    """The product, as the cogs see it."""

    songs: Songs
    queue: Queue
    credits: Credits
    managing: Managing
    giving: Giving
    usage: Usage
    artist: UsageArtist
    export: Export
    changelog: Changelog
    ceiling: ServerCeiling
    ceilings: OperatorCeilings
    defaults: Defaults
    overview: Overview
    operator_ids: frozenset[int]
    servers: Servers
    delivery: Delivery
    clock: Clock
    wake: Callable[[], None]
    """Something may be startable: a ceiling was raised, say."""
    show: Callable[[int], None]
    """Shows a song's state in its status message, whatever that shows now."""


class Client(commands.AutoShardedBot):
    """The bot. `prepare` is called once it is logged in, before any event arrives."""

    services: Services

    def __init__(self, prepare: Callable[["Client"], Awaitable[None]]) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=Tree,
            intents=discord.Intents(guilds=True),
            # Nobody is pinged but by a message that says so.
            allowed_mentions=discord.AllowedMentions.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            max_ratelimit_timeout=LONGEST_PAUSE,
        )
        self._prepare = prepare

    async def setup_hook(self) -> None:
        """Called by discord.py after the login."""
        await self._prepare(self)

    async def on_command_error(
        self,
        context: commands.Context[commands.Bot],  # type: ignore[override]
        exception: commands.CommandError,
        /,
    ) -> None:
        """There are no commands by mention: what looks like one is not answered."""


def services(interaction: discord.Interaction) -> Services:
    """The services of the bot that an interaction came to."""
    return cast("Client", interaction.client).services


def asker(interaction: discord.Interaction, *, message_id: int | None) -> Interaction:
    """Who asks and where; `message_id` is that of the answer that shows the song's state.

    Raises:
        NotPermitted: not in a server.
    """
    if interaction.guild_id is None or interaction.channel_id is None:
        raise NotPermitted("Songs are made in servers: please use this there.")
    return Interaction(
        interaction_id=interaction.id,
        application_id=interaction.application_id,
        server_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        member_id=interaction.user.id,
        token=interaction.token,
        received_at=services(interaction).clock(),
        message_id=message_id,
        parent_id=getattr(interaction.channel, "parent_id", None),
        roles=roles_of(interaction.user) or frozenset(),
    )


def roles_of(person: discord.Member | discord.User) -> frozenset[int] | None:
    """A person's roles, as they came with the interaction; None where they are no member now.

    Everyone has the role whose id is the server's own.
    """
    if not isinstance(person, discord.Member):
        return None
    # discord.py's `roles` leaves out what its cache does not know: a role that was just made, and
    # every role while the server is unavailable.
    return frozenset((*person._roles, person.guild.id))  # noqa: SLF001


def member_of(
    interaction: discord.Interaction, person: discord.Member | discord.User | None = None
) -> Member:
    """Whose credits it is about: a person of this server, else whoever uses the command.

    Raises:
        NotPermitted: not in a server.
    """
    person = person or interaction.user
    return Member(server_of(interaction), person.id, roles_of(person))


def manager_of(interaction: discord.Interaction) -> Manager:
    """Who decides here, checked.

    Raises:
        NotPermitted: not in a server, or the person lacks Manage Server.
    """
    check_manages(interaction)
    return Manager(server_of(interaction), interaction.user.id)


def server_of(interaction: discord.Interaction) -> int:
    """The server's id.

    Raises:
        NotPermitted: not in a server.
    """
    if interaction.guild_id is None:
        raise NotPermitted("This works in servers only.")
    return interaction.guild_id


def data_of(interaction: discord.Interaction) -> Mapping[str, Any]:
    """What came with the interaction, as Discord sent it."""
    return cast("Mapping[str, Any]", interaction.data or {})


def manages(interaction: discord.Interaction) -> bool:
    """Whether the person has Manage Server, as Discord says with each interaction."""
    return interaction.permissions.manage_guild


def check_manages(interaction: discord.Interaction) -> None:
    """Checked here too: Discord's own check can be changed in a server's settings.

    Raises:
        NotPermitted: the person lacks Manage Server.
    """
    if not manages(interaction):
        raise NotPermitted("Only those with the Manage Server permission can do this.")


def may_read(interaction: discord.Interaction, song: Song) -> bool:
    """Whether what a song was asked for with is this person's to read.

    It is its member's, and those' who manage the server; once the song is posted, everyone's who
    can see that channel.
    """
    if song.member_id == interaction.user.id or manages(interaction):
        return True
    return song.post_id is not None and _sees(interaction, song.channel_id)


def as_seen(interaction: discord.Interaction, song: Song) -> Song:
    """The song as this person may see it: whole, or without its words and where it was posted."""
    if may_read(interaction, song):
        return song
    return replace(song, genres="", lyrics="", reason=None, undelivered=None, post_id=None)


def _sees(interaction: discord.Interaction, channel_id: int) -> bool:
    """Of a private thread only Discord knows who is in it, and who uses a command there is."""
    if channel_id == interaction.channel_id:
        return True
    guild, person = interaction.guild, interaction.user
    channel = guild.get_channel_or_thread(channel_id) if guild is not None else None
    if channel is None or not isinstance(person, discord.Member):
        return False
    if isinstance(channel, discord.Thread) and channel.is_private():
        return False
    return channel.permissions_for(person).view_channel


def check_can_post(interaction: discord.Interaction) -> None:
    """Whether a song could be posted in this channel: said before anything is spent.

    Raises:
        NotPermitted: names what the bot lacks.
    """
    in_thread = isinstance(interaction.channel, discord.Thread)
    if missing := lacking_to_post(interaction.app_permissions, in_thread=in_thread):
        raise NotPermitted(
            f"I can't post songs in this channel: I lack {', '.join(missing)}. Those who manage "
            "the server can give it to me, or try another channel. Nothing was spent."
        )


def lacking_to_post(mine: discord.Permissions, *, in_thread: bool) -> list[str]:
    """What the bot would still need, of its permissions in a channel, to post songs there."""
    send = (
        ("Send Messages in Threads", mine.send_messages_in_threads)
        if in_thread
        else ("Send Messages", mine.send_messages)
    )
    needed = (
        ("View Channel", mine.view_channel),
        send,
        ("Embed Links", mine.embed_links),
        ("Attach Files", mine.attach_files),
        ("Read Message History", mine.read_message_history),
    )
    return [name for name, granted in needed if not granted]
