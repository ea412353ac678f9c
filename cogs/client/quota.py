"""What the commands of /quota share: they belong to several subjects."""

import re
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import discord
from discord import app_commands
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.components import cog_of
from cogs.client.people import manager_of, server_of
from services.clock import Clock
from services.credits.budgets import ServerBudget
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.errors import InvalidRequest, NotPossible
from services.moments import parse_moment
from services.reports.export import Export
from services.reports.usage import Usage
from services.reports.usage_picture import UsageArtist
from services.settings.changelog import Changelog
from services.settings.server_settings import Manager, ServerSettings
from services.settings.settings import Defaults
from services.songs.songs import Songs

USUAL = ("1 day", "3 days", "7 days", "2 weeks", "1 month", "3 months", "1 year")
COUNTED = ("hours", "days", "weeks", "months")
NO_BOTS = "Bots make no songs: please choose a member."


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


async def acknowledged_manager(interaction: discord.Interaction[Any]) -> Manager:
    """Check that somebody who manages the server uses a command, and acknowledge it.

    Raises:
        NotPermitted: see `manager_of`.
    """
    by = manager_of(interaction)
    await acknowledged(interaction)
    return by


def check_no_bot(person: discord.Member | discord.User) -> None:
    """Check that it is somebody who could make songs.

    Raises:
        InvalidRequest: it is a bot.
    """
    if person.bot:
        raise InvalidRequest(NO_BOTS)


def check_role(guild: discord.Guild | None, role_id: int, *, everyone: bool = False) -> None:
    """Check that a role exists, as far as the server is known, and is only @everyone if it may be.

    Raises:
        NotPossible: it was deleted since it was chosen.
        InvalidRequest: everyone has it.
    """
    if guild is None or guild.unavailable:
        return
    role = guild.get_role(role_id)
    if role is None:
        raise NotPossible("That role was deleted meanwhile: please choose another one.")
    if role.is_default() and not everyone:
        raise InvalidRequest("Everyone has that role. Use `/quota server` for it.")


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
    """Suggest times for what has been typed so far, each with its day and hour."""
    now = quota_of(interaction).clock()
    return suggested_moments(typed, now=now, zone=await _zone(interaction, now))


def suggested_moments(typed: str, *, now: datetime, zone: str) -> list[app_commands.Choice[str]]:
    """Return choices that `parse_moment` reads: at most 8, each of at most 100 characters."""
    text = " ".join(typed.lower().split())
    if re.fullmatch(r"(in )?[0-9]{1,4}", text):
        offered = [f"{text.removeprefix('in ')} {unit}" for unit in COUNTED]
    else:
        offered = [text, *(usual for usual in USUAL if usual.startswith(text) and usual != text)]
    choices = []
    for value in offered:
        try:
            local = parse_moment(value, now=now, zone=zone).astimezone(ZoneInfo(zone))
        except InvalidRequest:
            continue
        if local.time() == time():
            day = local.date() - timedelta(days=1)
            label = f"{value}: the end of {day:%A}, {day.day} {day:%B %Y}"
        else:
            label = f"{value}: {local:%A}, {local.day} {local:%B %Y, %H:%M}"
        choices.append(app_commands.Choice(name=label, value=value))
    return choices


async def _zone(interaction: discord.Interaction[Any], now: datetime) -> str:
    settings = await quota_of(interaction).server_settings.read(server_of(interaction))
    return settings.timeline.at(now).zone
