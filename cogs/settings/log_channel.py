"""The channel in which a server's changes are posted, and whether the bot can post there."""

import discord

from cogs.client.permissions import lacking_to_write, permissions_in
from services.errors import NotPermitted

LOG_CHANNELS = [discord.ChannelType.text, discord.ChannelType.news]
"""Not threads: they are archived when nobody writes."""
GONE = "it is gone"


def check_can_log(guild: discord.Guild | None, channel_id: int) -> None:
    """Check that the bot could write there.

    Raises:
        NotPermitted: names what the bot lacks.
    """
    channel = guild and guild.get_channel(channel_id)
    mine = permissions_in(channel, guild.me) if guild and channel else discord.Permissions.none()
    if missing := lacking_to_write(channel, mine):
        raise NotPermitted(
            f"I can't write in <#{channel_id}>: I lack {', '.join(missing)} there. Please give it "
            "to me in the channel's settings, or choose another channel. Nothing was changed."
        )


def obstacle(guild: discord.Guild | None, channel_id: int | None) -> str | None:
    """Why nothing can be posted there, by what the gateway has said; None where nothing is known.

    `GONE`, or what the bot lacks.
    """
    if channel_id is None or guild is None or guild.unavailable:
        return None
    channel = guild.get_channel(channel_id)
    if channel is None:
        return GONE
    missing = lacking_to_write(channel, permissions_in(channel, guild.me))
    return f"I lack {', '.join(missing)} there" if missing else None


def promise(channel_id: int | None, why: str | None) -> str:
    """What `/quota log` says of it. `why`: its `obstacle`."""
    if channel_id is None:
        return (
            "Changes are posted nowhere. `/quota log` with a `channel` chooses one; "
            "`/quota history` shows them all."
        )
    if why == GONE:
        return (
            "The log channel is gone, so changes are posted nowhere. `/quota log` with a `channel` "
            "chooses another one; `/quota history` shows every change."
        )
    if why is not None:
        return (
            f"Changes should be posted in <#{channel_id}>, but {why}. I retry each for a day; "
            "`/quota history` shows them all."
        )
    return (
        f"Each change, and each warning of the budget, is posted in <#{channel_id}>. `/quota log` "
        "with `off` ends it."
    )
