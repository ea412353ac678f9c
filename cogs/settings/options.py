"""What the options of /quota mean: members, roles and moments to come."""

from datetime import datetime
from typing import Any

import discord
from discord import app_commands

from cogs.client.people import server_of, services
from services.credits.moments import parse_moment, suggestions
from services.errors import InvalidRequest, NotPossible


def check_no_bot(person: discord.Member | discord.User) -> None:
    """Check that it is somebody who could make songs.

    Raises:
        InvalidRequest: it is a bot.
    """
    if person.bot:
        raise InvalidRequest("Bots make no songs: please choose a member.")


def check_role_exists(role: discord.Role) -> None:
    """Check that a role still exists: it was chosen a moment ago.

    Raises:
        NotPossible: it was deleted meanwhile.
    """
    if role.guild.get_role(role.id) is None:
        raise NotPossible("That role was deleted meanwhile: please choose another one.")


async def moment_of(interaction: discord.Interaction[Any], typed: str | None) -> datetime | None:
    """The moment that was typed, on the clocks that the server counts its periods by.

    Raises:
        InvalidRequest: it can't be read, is over, or is more than ten years away.
        NotPermitted: not in a server.
    """
    if typed is None:
        return None
    now = services(interaction).clock()
    return parse_moment(typed, now=now, zone=await _zone(interaction, now))


async def complete_moment(
    interaction: discord.Interaction, typed: str
) -> list[app_commands.Choice[str]]:
    """What may be meant, with the day and the hour that it is."""
    now = services(interaction).clock()
    offered = suggestions(typed, now=now, zone=await _zone(interaction, now))
    return [app_commands.Choice(name=label, value=value) for label, value in offered]


async def _zone(interaction: discord.Interaction[Any], now: datetime) -> str:
    settings = await services(interaction).server_settings.read(server_of(interaction))
    return settings.timeline.at(now).zone
