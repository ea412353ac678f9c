"""Who gets how much, and when: /quota server, role, member and budget."""

from datetime import datetime
from typing import Literal

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.client import Client
from cogs.client.people import manager_of, member_of
from cogs.settings.log_channel import obstacle
from cogs.settings.options import (
    SO_ALREADY,
    check_no_bot,
    check_role_exists,
    complete_moment,
    moment_of,
)
from cogs.settings.texts import calendar_text, shown
from services.credits.amounts import MAX_AMOUNT, MAX_BUDGET, credits_text
from services.credits.calendar import LONGEST_NAME, Calendar, Every, zones_like
from services.credits.credits import EACH
from services.credits.moments import LONGEST_TYPED
from services.errors import InvalidRequest
from services.settings.server_settings import Manager
from services.settings.settings import Rules

MORE_OR_LESS = "More is there at once; less takes only what is neither spent nor held."


class AllowanceCommands(commands.Cog):
    """The part of /quota that decides what members get each period."""

    _client: Client

    # --- /quota server ----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        allowance="Credits of each period, for every member",
        unlimited="True: songs cost members nothing",
        default="True: as many as the bot gives where a server has not decided",
        every="How long a period is",
        day_begins="The hour at which a period begins, 0 to 23",
        zone="Whose clocks count: type a city",
    )
    async def server(
        self,
        interaction: discord.Interaction,
        allowance: Range[int, 0, MAX_AMOUNT] | None = None,
        unlimited: bool = False,
        default: bool = False,
        every: Literal["day", "week", "month"] | None = None,
        day_begins: Range[int, 0, 23] | None = None,
        zone: Range[str, 1, LONGEST_NAME] | None = None,
    ) -> None:
        """Set what every member gets, and when it refills."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        chosen = [allowance is not None, unlimited, default].count(True)
        if chosen > 1:
            raise InvalidRequest("Please choose one of `allowance`, `unlimited` and `default`.")
        period = any(part is not None for part in (every, day_begins, zone))
        if period:
            # Refused now rather than after the allowance has been changed.
            Calendar.parse(every or Every.DAY, day_begins or 0, zone or "UTC")
        elif not chosen:
            raise InvalidRequest(
                "Please name what to change: `allowance`, `unlimited` or `default`, `every`, "
                "`day_begins` or `zone`. `/quota show` shows what holds now."
            )
        said = []
        if chosen:
            said.append(await self._set_allowance(by, allowance, default=default))
        if period:
            said.append(await self._set_calendar(by, every, day_begins, zone))
        await interaction.followup.send(" ".join(filter(None, said)) or SO_ALREADY, ephemeral=True)

    async def _set_allowance(self, by: Manager, credits: int | None, *, default: bool) -> str:
        services = self._client.services
        server_settings = services.server_settings
        if default:
            change = await server_settings.drop_allowance(by)
        else:
            change = await server_settings.set_allowance(by, credits)
        if change is None:
            return ""
        rules = await server_settings.rules(by.server_id)
        per = _per(rules.server.credits, rules, services.clock())
        return f"Every member now has {per}. {MORE_OR_LESS}"

    async def _set_calendar(
        self, by: Manager, every: str | None, hour: int | None, zone: str | None
    ) -> str:
        services = self._client.services
        if (
            await services.server_settings.set_calendar(by, every=every, hour=hour, zone=zone)
            is None
        ):
            return ""
        timeline = (await services.server_settings.rules(by.server_id)).timeline
        now = services.clock()
        following = timeline.next(now)
        if following is None:
            return (
                f"A period stays {calendar_text(timeline.at(now))}: the change that was still to "
                "come is dropped."
            )
        begins, calendar = following
        return (
            f"From {shown(begins)} on, when the running period ends, a period is "
            f"{calendar_text(calendar)}."
        )

    @server.autocomplete("zone")
    async def _zones(
        self,
        interaction: discord.Interaction,  # noqa: ARG002 - discord.py's form
        typed: str,
    ) -> list[Choice[str]]:
        return [Choice(name=name, value=name) for name in zones_like(typed)]

    # --- /quota role ------------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        role="Whose members get it",
        allowance="Credits of each period; the highest of a member's roles counts",
        unlimited="True: songs cost them nothing",
        remove="True: the role gives nothing of its own any more",
    )
    async def role(
        self,
        interaction: discord.Interaction,
        role: discord.Role,
        allowance: Range[int, 0, MAX_AMOUNT] | None = None,
        unlimited: bool = False,
        remove: bool = False,
    ) -> None:
        """Set what the members of a role get instead."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        _check_one_chosen(allowance, unlimited=unlimited, remove=remove)
        if role.is_default():
            raise InvalidRequest("Everyone has that role: please use `/quota server` for it.")
        server_settings = self._client.services.server_settings
        if remove:
            done = await server_settings.drop_role(by, role.id)
            said = (
                f"<@&{role.id}> gives nothing of its own any more: its members have what their "
                "other roles give, or the server. That takes only what is neither spent nor held."
            )
        else:
            check_role_exists(role)
            done = await server_settings.set_role(by, role.id, allowance)
            rules = await server_settings.rules(by.server_id)
            said = (
                f"Members with <@&{role.id}> now have "
                f"{_per(allowance, rules, self._client.services.clock())}, unless another role "
                f"gives them more, or `/quota member` something else. {MORE_OR_LESS}"
            )
        await interaction.followup.send(said if done else SO_ALREADY, ephemeral=True)

    # --- /quota member ----------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        member="Who gets it",
        allowance="Credits of each period, whatever their roles",
        unlimited="True: songs cost them nothing",
        until="Until when: 7d, 3 months, 2026-12-31 (for good)",
        remove="True: they have what their roles give again",
    )
    @app_commands.autocomplete(until=complete_moment)
    async def member(
        self,
        interaction: discord.Interaction,
        member: discord.User,
        allowance: Range[int, 0, MAX_AMOUNT] | None = None,
        unlimited: bool = False,
        until: Range[str, 1, LONGEST_TYPED] | None = None,
        remove: bool = False,
    ) -> None:
        """Set what one member gets instead, whatever their roles."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        _check_one_chosen(allowance, unlimited=unlimited, remove=remove)
        if remove:
            if until is not None:
                raise InvalidRequest("Removed is removed: please leave out `until`.")
            said = await self._drop_member(interaction, by, member)
        else:
            check_no_bot(member)
            ends = await moment_of(interaction, until)
            said = await self._set_member(by, member, allowance, ends)
        await interaction.followup.send(said, ephemeral=True)

    async def _set_member(
        self,
        by: Manager,
        member: discord.Member | discord.User,
        credits: int | None,
        until: datetime | None,
    ) -> str:
        services = self._client.services
        if await services.server_settings.set_member(by, member.id, credits, until=until) is None:
            return SO_ALREADY
        rules = await services.server_settings.rules(by.server_id)
        per = _per(credits, rules, services.clock())
        ends = f", until {shown(until)}; from then on those count again" if until else ""
        return f"<@{member.id}> now has {per}, whatever their roles{ends}. {MORE_OR_LESS}"

    async def _drop_member(
        self,
        interaction: discord.Interaction,
        by: Manager,
        member: discord.Member | discord.User,
    ) -> str:
        services = self._client.services
        if await services.server_settings.drop_member(by, member.id) is None:
            return SO_ALREADY
        now = services.clock()
        roles = member_of(interaction, member).roles
        if roles is None:
            return f"<@{member.id}> has no allowance of their own any more. They are not here now."
        rules = await services.credits.rules(by.server_id, member.id)
        per = _per(rules.allowance_of(roles, at=now).credits, rules, now)
        return f"<@{member.id}> has what their roles and the server give again: {per}."

    # --- /quota budget ---------------------------------------------------------------------------

    @app_commands.command()
    @app_commands.describe(
        credits="The most that all songs of a period may cost together",
        none="True: as much as the members have",
    )
    async def budget(
        self,
        interaction: discord.Interaction,
        credits: Range[int, 1, MAX_BUDGET] | None = None,
        none: bool = False,
    ) -> None:
        """Set the most that the whole server may spend in a period."""
        by = manager_of(interaction)
        await acknowledged(interaction)
        if (credits is None) != none:
            raise InvalidRequest("Please choose one of `credits` and `none`.")
        services = self._client.services
        done = await services.server_settings.set_budget(by, credits)
        rules, now = await services.server_settings.rules(by.server_id), services.clock()
        used = await services.budget.used(by.server_id, rules.timeline.period(now))
        can_log = obstacle(interaction.guild, rules.log_channel_id) is None
        said = _budget_text(credits, rules, now, used=used, can_log=can_log) if done else SO_ALREADY
        await interaction.followup.send(said, ephemeral=True)


def _check_one_chosen(allowance: int | None, *, unlimited: bool, remove: bool) -> None:
    if (allowance is not None) + unlimited + remove != 1:
        raise InvalidRequest("Please choose one of `allowance`, `unlimited` and `remove`.")


def _per(credits: int | None, rules: Rules, now: datetime) -> str:
    """`20 credits a day`, by the period in force."""
    if credits is None:
        return "unlimited credits"
    return f"{credits_text(credits)} {EACH[rules.timeline.at(now).every]}"


def _budget_text(
    credits: int | None, rules: Rules, now: datetime, *, used: int, can_log: bool
) -> str:
    if credits is None:
        return "The server has no budget of its own now: it may spend what its members have."
    told = (
        f"It is told in <#{rules.log_channel_id}> when 80 % and when all of it are spent."
        if rules.log_channel_id and can_log
        else "Choose a channel with `/quota log`, to be told there when 80 % of it are spent."
    )
    return (
        f"All songs of this server together may now cost {_per(credits, rules, now)} at most; in "
        f"the running period {used:,} of them are spent or held. {told}"
    )
