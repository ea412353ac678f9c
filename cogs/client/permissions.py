"""What the person who sent an interaction may do and see, and what the bot may in a channel."""

from collections.abc import Sequence
from dataclasses import replace

import discord

from db.records import Song
from services.errors import NotPermitted


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
    """Whether this person may read a song's genres and lyrics.

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
    return replace(song, genres="", lyrics="", reason=None, post_id=None)


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


def _is_shut_out(guild: discord.Guild | None, channel: object, mine: discord.Permissions) -> bool:
    """Whether this is a private thread without the bot, whose permissions say nothing of that.

    The gateway announces only threads that the bot can see (Discord, "Threads"): one that it has
    not announced is hidden. Of a server that is unavailable nothing is known.
    """
    if guild is None or guild.unavailable or not isinstance(channel, discord.Thread):
        return False
    hidden = channel.is_private() and not mine.manage_threads
    return hidden and guild.get_thread(channel.id) is None


# --- what a kind of channel demands ---------------------------------------------------------------
# Discord, "Permissions", "Threads" and "Get Channel Messages".

VOICE = (discord.ChannelType.voice, discord.ChannelType.stage_voice)
"""Their text is closed to whoever may not connect (discord-api-docs 5111)."""
THREADS = (
    discord.ChannelType.public_thread,
    discord.ChannelType.private_thread,
    discord.ChannelType.news_thread,
)
OF_POSTS = (discord.ChannelType.forum, discord.ChannelType.media)
"""Songs that are requested there are requested in a post, which is a public thread."""
WITHOUT_SONGS = (
    discord.ChannelType.private,
    discord.ChannelType.group,
    discord.ChannelType.category,
)


def lacking_to_post(channel: object, mine: discord.Permissions) -> list[str]:
    """What the bot would still need, of its permissions in a channel, to post songs there.

    A channel of a kind that discord.py does not know counts as a text channel. An archived thread
    needs nothing more: a message opens it again, unless it is locked.
    """
    needed = (("Attach Files", mine.attach_files), _to_read(mine))
    return [
        *lacking_to_write(channel, mine),
        *(name for name, granted in needed if not granted),
    ]


def lacking_to_write(channel: object, mine: discord.Permissions) -> list[str]:
    """The same, to post a message with an embed."""
    if _kind(channel) in (*THREADS, *OF_POSTS):
        send = ("Send Messages in Threads", mine.send_messages_in_threads)
    else:
        send = ("Send Messages", mine.send_messages)
    locked = isinstance(channel, discord.Thread) and channel.locked
    needed = (
        *_to_enter(channel, mine),
        send,
        ("Manage Threads (the thread is locked)", mine.manage_threads or not locked),
        ("Embed Links", mine.embed_links),
    )
    return [name for name, granted in needed if not granted]


def lacking_to_read(channel: object, mine: discord.Permissions) -> list[str]:
    """The same, to look through what was written there."""
    needed = (*_to_enter(channel, mine), _to_read(mine))
    return [name for name, granted in needed if not granted]


def _to_enter(channel: object, mine: discord.Permissions) -> Sequence[tuple[str, bool]]:
    is_voice = _kind(channel) in VOICE
    return (
        ("View Channel", mine.view_channel),
        ("Connect", mine.connect or not is_voice),
    )


def _to_read(mine: discord.Permissions) -> tuple[str, bool]:
    return ("Read Message History", mine.read_message_history)


def _kind(channel: object) -> discord.ChannelType | None:
    kind: discord.ChannelType | None = getattr(channel, "type", None)
    return kind


def permissions_in(
    channel: discord.abc.GuildChannel | discord.Thread, me: discord.Member
) -> discord.Permissions:
    """The bot's own. A thread whose channel is unknown is one that it can't see."""
    if isinstance(channel, discord.Thread) and channel.parent is None:
        return discord.Permissions.none()
    return channel.permissions_for(me)
