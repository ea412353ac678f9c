"""What the person who sent an interaction may do and see, and what the bot may in a channel."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import discord

from cogs.client.discord_internals import presence_of
from db.records import Song
from services.errors import NotPermitted

INVITED = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
)
"""The permissions in the invitation, which posting songs takes."""

# --- the person -----------------------------------------------------------------------------------


def manages(interaction: discord.Interaction) -> bool:
    """Return whether the person has Manage Server, as Discord says with each interaction."""
    return interaction.permissions.manage_guild


def check_manages(interaction: discord.Interaction) -> None:
    """Check for Manage Server; Discord's own check can be changed in a server's settings.

    Raises:
        NotPermitted: the person lacks Manage Server.
    """
    if not manages(interaction):
        raise NotPermitted("Only those with the Manage Server permission can do this.")


def may_read(interaction: discord.Interaction, song: Song) -> bool:
    """Return whether this person may read a song's genres and lyrics.

    Its member may, and those who manage the server; once it is posted, whoever sees that channel.
    """
    if song.member_id == interaction.user.id or manages(interaction):
        return True
    return song.post_id is not None and _sees(interaction, song.channel_id)


def as_seen(interaction: discord.Interaction, song: Song) -> Song:
    """Return the song as this person may see it: maybe without its text and its post."""
    if may_read(interaction, song):
        return song
    return replace(song, genres="", lyrics="", reason=None, post_id=None)


def _sees(interaction: discord.Interaction, channel_id: int) -> bool:
    """Return whether the person sees a channel. Only Discord knows who is in a private thread."""
    if channel_id == interaction.channel_id:
        return True
    guild, person = interaction.guild, interaction.user
    channel = guild.get_channel_or_thread(channel_id) if guild is not None else None
    if channel is None or not isinstance(person, discord.Member):
        return False
    if isinstance(channel, discord.Thread) and channel.is_private():
        return False
    return channel.permissions_for(person).view_channel


# --- the bot --------------------------------------------------------------------------------------


def check_is_member(interaction: discord.Interaction[Any]) -> None:
    """Check that the bot is in the server that an interaction comes from.

    If it was added with its commands alone (the scope `applications.commands`), they can be used,
    but it sees no channel and can post nowhere.

    Raises:
        NotPermitted: says how to invite the bot.
    """
    server_id = interaction.guild_id
    if server_id is None or server_id in presence_of(interaction.client):
        return
    link = discord.utils.oauth_url(
        interaction.application_id,
        permissions=INVITED,
        guild=discord.Object(server_id),
        scopes=("bot", "applications.commands"),
    )
    raise NotPermitted(
        "I'm not a member of this server: only my commands were added, so I can't post songs "
        "here. Nothing was spent. Someone with the Manage Server permission can add me with "
        f"[this link](<{link}>)."
    )


def check_can_post(interaction: discord.Interaction) -> None:
    """Check that a song could be posted in this channel, before anything is spent.

    Raises:
        NotPermitted: names what the bot lacks.
    """
    channel, mine = interaction.channel, interaction.app_permissions
    # None: of a kind that this version of discord.py does not know.
    if channel is None or _kind(channel) in WITHOUT_SONGS:
        raise NotPermitted("Songs can't be posted here. Please use a text channel of the server.")
    if _is_shut_out(interaction.guild, channel, mine):
        raise NotPermitted(
            "I'm not in this private thread, so I can't post songs here. Mention me in a message "
            "to add me, then use the command again. Nothing was spent."
        )
    if missing := lacking_to_post(channel, mine):
        raise NotPermitted(
            f"I can't post songs in this channel: I lack {', '.join(missing)}. Those who manage "
            "the server can give it to me, or try another channel. Nothing was spent."
        )


def may_post_in(interaction: discord.Interaction, channel_id: int) -> bool:
    """Return whether a song that is requested here may be posted in another channel.

    Its requester must see that channel, and nobody there may see what is hidden from them here:
    everyone sees this channel, or just those who see the other. What is age-restricted stays so.

    Raises:
        NotPermitted: names what the bot lacks there.
    """
    guild, here, person = interaction.guild, interaction.channel, interaction.user
    if guild is None or channel_id == interaction.channel_id:
        return False
    origin_id = interaction.channel_id
    if isinstance(here, discord.Thread):
        origin_id = None if here.is_private() else here.parent_id
    # Not `here`: of a channel that the gateway has not announced, it has no overwrites.
    origin, target = guild.get_channel(origin_id or 0), guild.get_channel(channel_id)
    if origin is None or target is None or not isinstance(person, discord.Member):
        return False
    if not target.permissions_for(person).view_channel:
        return False
    same = _views(origin) == _views(target) and origin.type not in VOICE
    if not (same or _is_open(origin)) or (origin.is_nsfw() and not target.is_nsfw()):
        return False
    if missing := lacking_to_post(target, permissions_in(target, guild.me)):
        raise NotPermitted(
            f"Songs of this server are posted in <#{channel_id}>, and I can't post there: I lack "
            f"{', '.join(missing)}. Those who manage the server can give it to me. Nothing was "
            "spent."
        )
    return True


def _is_open(channel: discord.abc.GuildChannel) -> bool:
    """Return whether everyone in the server can read a channel."""
    needed = ("view_channel", "connect") if channel.type in VOICE else ("view_channel",)
    everyone = channel.permissions_for(channel.guild.default_role)
    return all(
        getattr(everyone, name) and False not in _views(channel, name).values() for name in needed
    )


def _views(channel: discord.abc.GuildChannel, name: str = "view_channel") -> dict[int, bool | None]:
    """Return for whom a channel itself grants or denies a permission, except the bot."""
    granted = {who.id: getattr(each, name) for who, each in channel.overwrites.items()}
    me = channel.guild.me.id
    return {who: value for who, value in granted.items() if value is not None and who != me}


def _is_shut_out(guild: discord.Guild | None, channel: object, mine: discord.Permissions) -> bool:
    """Return whether this is a private thread without the bot; its permissions don't say so.

    The gateway announces only threads that the bot can see (Discord, "Threads"): one that it has
    not announced is hidden. Nothing is known of a server that is unavailable.
    """
    if guild is None or guild.unavailable or not isinstance(channel, discord.Thread):
        return False
    hidden = channel.is_private() and not mine.manage_threads
    return hidden and guild.get_thread(channel.id) is None


# --- what a kind of channel requires --------------------------------------------------------------
# Discord, "Permissions", "Threads" and "Get Channel Messages".

VOICE = (discord.ChannelType.voice, discord.ChannelType.stage_voice)
"""Their text is closed to those who may not connect (discord-api-docs 5111)."""
SENT_IN_THREADS = (
    discord.ChannelType.public_thread,
    discord.ChannelType.private_thread,
    discord.ChannelType.news_thread,
    # A song that is requested in these is requested in a post, which is a public thread.
    discord.ChannelType.forum,
    discord.ChannelType.media,
)
WITHOUT_SONGS = (
    discord.ChannelType.private,
    discord.ChannelType.group,
    discord.ChannelType.category,
)

Requirement = tuple[str, bool]
"""A permission's name, and whether the bot has it."""


def lacking_to_post(channel: object, mine: discord.Permissions) -> list[str]:
    """Return which of the permissions that posting a song in a channel takes the bot lacks.

    A channel of a kind that discord.py does not know counts as a text channel. An archived thread
    needs nothing more: a message opens it again, unless it is locked.
    """
    attach = ("Attach Files", mine.attach_files)
    return _lacking([*_to_write(channel, mine), attach, _to_read(mine)])


def lacking_to_write(channel: object, mine: discord.Permissions) -> list[str]:
    """Do the same for a message with an embed."""
    return _lacking(_to_write(channel, mine))


def lacking_to_read(channel: object, mine: discord.Permissions) -> list[str]:
    """Do the same for searching the channel's history."""
    return _lacking([*_to_enter(channel, mine), _to_read(mine)])


def _lacking(requirements: Sequence[Requirement]) -> list[str]:
    return [name for name, granted in requirements if not granted]


def _to_write(channel: object, mine: discord.Permissions) -> list[Requirement]:
    if _kind(channel) in SENT_IN_THREADS:
        send = ("Send Messages in Threads", mine.send_messages_in_threads)
    else:
        send = ("Send Messages", mine.send_messages)
    locked = isinstance(channel, discord.Thread) and channel.locked
    return [
        *_to_enter(channel, mine),
        send,
        ("Manage Threads (the thread is locked)", mine.manage_threads or not locked),
        ("Embed Links", mine.embed_links),
    ]


def _to_enter(channel: object, mine: discord.Permissions) -> list[Requirement]:
    return [
        ("View Channel", mine.view_channel),
        ("Connect", mine.connect or _kind(channel) not in VOICE),
    ]


def _to_read(mine: discord.Permissions) -> Requirement:
    return ("Read Message History", mine.read_message_history)


def _kind(channel: object) -> discord.ChannelType | None:
    kind: discord.ChannelType | None = getattr(channel, "type", None)
    return kind


def permissions_in(
    channel: discord.abc.GuildChannel | discord.Thread, me: discord.Member
) -> discord.Permissions:
    """Return the bot's permissions. A thread of an unknown channel is one that it can't see."""
    if isinstance(channel, discord.Thread) and channel.parent is None:
        return discord.Permissions.none()
    return channel.permissions_for(me)
