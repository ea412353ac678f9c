"""What the person who sent an interaction may do and see, and what the bot may in a channel."""

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
