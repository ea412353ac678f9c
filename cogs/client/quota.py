"""What the commands of /quota share: they belong to several subjects."""

from datetime import datetime
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs.client.components import cog_of
from cogs.client.people import server_of
from services.clock import Clock
from services.credits.budgets import ServerBudget
from services.credits.credits import Credits
from services.credits.moments import parse_moment, suggestions
from services.credits.transfers import CreditTransfers
from services.errors import InvalidRequest, NotPossible
from services.reports.export import Export
from services.reports.usage import Usage
from services.reports.usage_picture import UsageArtist
from services.settings.changelog import Changelog
from services.settings.server_settings import ServerSettings
from services.settings.settings import Defaults
from services.songs.songs import Songs


class QuotaCommands(commands.Cog):
    """A part of /quota. Discord wants one group, so all parts are bases of one cog."""

    def __init__(
        self,
        server_settings: ServerSettings,
        changelog: Changelog,
        credits: Credits,
        transfers: CreditTransfers,
        server_budget: ServerBudget,
        songs: Songs,
        usage_reports: Usage,
        artist: UsageArtist,
        exports: Export,
        *,
        defaults: Defaults,
        clock: Clock,
    ) -> None:
        self.server_settings = server_settings
        self.changelog = changelog
        self.credits = credits
        self.transfers = transfers
        self.server_budget = server_budget
        self.songs = songs
        self.usage_reports = usage_reports
        self.artist = artist
        self.exports = exports
        self.defaults = defaults
        self.clock = clock


def quota_of(interaction: discord.Interaction[Any]) -> QuotaCommands:
    """Find the cog of /quota, for what discord.py makes."""
    return cog_of(interaction, QuotaCommands)


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
    now = quota_of(interaction).clock()
    return parse_moment(typed, now=now, zone=await _zone(interaction, now))


async def complete_moment(
    interaction: discord.Interaction, typed: str
) -> list[app_commands.Choice[str]]:
    """What may be meant, with the day and the hour that it is."""
    now = quota_of(interaction).clock()
    offered = suggestions(typed, now=now, zone=await _zone(interaction, now))
    return [app_commands.Choice(name=label, value=value) for label, value in offered]


async def _zone(interaction: discord.Interaction[Any], now: datetime) -> str:
    settings = await quota_of(interaction).server_settings.read(server_of(interaction))
    return settings.timeline.at(now).zone
