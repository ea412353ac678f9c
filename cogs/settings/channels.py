"""Channels that settings name: which can be chosen, and whether the bot could post there."""

from collections.abc import Sequence
from typing import Any

import discord
from discord import app_commands

from cogs.client.permissions import lacking_to_post
from services.errors import NotPermitted

LACKING_SHOWN = 8
"""Channels, each with what is missing in it, that fit into one message."""
SONG_CHANNELS = [
    discord.ChannelType.text,
    discord.ChannelType.news,
    discord.ChannelType.voice,
    discord.ChannelType.stage_voice,
    discord.ChannelType.forum,
]
"""Where commands can be used; threads and posts count as the channel that they are in.

Media channels are missing: Discord's description of its API does not list them (16) for options,
and an option that is refused is refused with all commands.
"""


class SongChannel(app_commands.Transformer):
    """A channel that songs may be requested in, also one that the bot does not see (yet)."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """What Discord lets people choose from."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """See `SONG_CHANNELS`."""
        return SONG_CHANNELS

    async def transform(
        self,
        interaction: discord.Interaction[Any],  # noqa: ARG002 - discord.py's form
        value: Any,  # noqa: ANN401
        /,
    ) -> int:
        """Its id."""
        return int(value.id)


def check_channels(guild: discord.Guild | None, channel_ids: Sequence[int]) -> None:
    """Check that songs could be posted in all of these channels.

    Raises:
        NotPermitted: names the channels, and what the bot lacks in each.
    """
    lacking = [
        (channel_id, missing)
        for channel_id in channel_ids
        if (missing := _lacking(guild, channel_id))
    ]
    if not lacking:
        return
    named = "; ".join(
        f"in <#{channel_id}> {', '.join(missing)}"
        for channel_id, missing in lacking[:LACKING_SHOWN]
    )
    more = len(lacking) - LACKING_SHOWN
    others = f"; and something in {more} more" if more > 0 else ""
    raise NotPermitted(
        f"I couldn't post songs there. I lack {named}{others}. Please give it to me in the "
        "channel's settings, or choose other channels. Nothing was changed."
    )


def _lacking(guild: discord.Guild | None, channel_id: int) -> list[str]:
    channel = guild.get_channel(channel_id) if guild is not None else None
    if guild is None or channel is None:
        return ["View Channel"]
    return lacking_to_post(channel, channel.permissions_for(guild.me))
