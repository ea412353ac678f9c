"""Channels that settings name: which can be chosen, and whether the bot can use them."""

from collections.abc import Sequence
from typing import Any

import discord
from discord import app_commands

from cogs.client.permissions import lacking_to_post, lacking_to_write
from services.errors import NotPermitted

LACKING_SHOWN = 8
"""Channels, each with what is missing in it, that fit into one message."""
GONE = "it is gone"
WRITTEN_IN = [discord.ChannelType.text, discord.ChannelType.news]
"""Not threads: they are archived when nobody writes."""
REQUESTED_IN = [
    *WRITTEN_IN,
    discord.ChannelType.voice,
    discord.ChannelType.stage_voice,
    discord.ChannelType.forum,
]
"""Where commands can be used; threads and posts count as the channel that they are in.

Media channels are missing: Discord's description of its API does not list them (16) for options,
and an option that is refused is refused with all commands.
"""


class ChannelOption(app_commands.Transformer):
    """A command's option: the id of a channel, also of one that the bot does not see (yet)."""

    def __init__(self, types: list[discord.ChannelType]) -> None:
        self._types = types

    @property
    def type(self) -> discord.AppCommandOptionType:
        """Return what Discord lets people choose from."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Return the kinds of channels that can be chosen."""
        return self._types

    async def transform(
        self,
        interaction: discord.Interaction[Any],  # noqa: ARG002 - discord.py's form
        value: Any,  # noqa: ANN401
        /,
    ) -> int:
        """Return the channel's id."""
        return int(value.id)


def check_channels(guild: discord.Guild | None, channel_ids: Sequence[int], *, songs: bool) -> None:
    """Check that the bot could post in all of these channels: songs, or only text.

    Raises:
        NotPermitted: names the channels, and what the bot lacks in each.
    """
    lacking = [
        f"in <#{channel_id}> {', '.join(missing)}"
        for channel_id in channel_ids
        if (missing := _lacking(guild, channel_id, songs=songs))
    ]
    if lacking:
        more = len(lacking) - LACKING_SHOWN
        others = f"; and something in {more} more" if more > 0 else ""
        raise NotPermitted(
            f"I can't post there. I lack {'; '.join(lacking[:LACKING_SHOWN])}{others}. Please give "
            "it to me in the channel's settings, or choose another channel. Nothing was changed."
        )


def obstacle(
    guild: discord.Guild | None, channel_id: int | None, *, songs: bool = False
) -> str | None:
    """Return why nothing can be posted there, `GONE` or what the bot lacks.

    None where nothing is in the way, as far as the gateway has said.
    """
    if channel_id is None or guild is None or guild.unavailable:
        return None
    if guild.get_channel(channel_id) is None:
        return GONE
    missing = _lacking(guild, channel_id, songs=songs)
    return f"I lack {', '.join(missing)} there" if missing else None


def _lacking(guild: discord.Guild | None, channel_id: int, *, songs: bool) -> list[str]:
    channel = guild.get_channel(channel_id) if guild is not None else None
    if guild is None or channel is None:
        return ["View Channel"]
    lacking = lacking_to_post if songs else lacking_to_write
    return lacking(channel, channel.permissions_for(guild.me))
