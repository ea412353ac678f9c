"""Commands that set a setting where typing is quicker than the panel.

Each follows the catalogue: what is set, checked and replied is the setting's.
"""

from dataclasses import replace
from typing import Any, Literal

import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from cogs.client.people import member_of
from cogs.client.quota import (
    QuotaCommands,
    acknowledged_manager,
    check_no_bot,
    check_role,
    complete_moment,
    moment_of,
)
from cogs.settings.channels import REQUESTED_IN, ChannelOption, check_channels
from cogs.settings.components import explained, view_of
from cogs.settings.panel import PanelPage
from cogs.settings.texts import NO_CHANGE, changed_text
from db.records import Change
from services.amounts import MAX_AMOUNT, MAX_BUDGET, MAX_REASON
from services.calendar import LONGEST_NAME, Calendar, Every, zones_like
from services.errors import InvalidRequest
from services.moments import LONGEST_TYPED
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BUDGET,
    CALENDAR,
    CHANNELS,
    MEMBER_ALLOWANCE,
    PAUSE,
    ROLE_ALLOWANCE,
    Topic,
)
from services.settings.settings import Block, Override

_UNLIMITED = "True: songs cost nothing"
Until = Range[str, 1, LONGEST_TYPED]


class SettingCommands(QuotaCommands):
    """The part of /quota that shows and sets settings."""

    @app_commands.command()
    @app_commands.describe(member="Whose credits to explain; left out: all settings")
    async def show(
        self, interaction: discord.Interaction, member: discord.User | None = None
    ) -> None:
        """See all settings and change them, or what a member has and why."""
        # Acknowledged first: reading a member's credits may have to wait for a backup.
        await acknowledged_manager(interaction)
        if member is None:
            view = await view_of(interaction, PanelPage(Topic.CREDITS))
        else:
            check_no_bot(member)
            view = await explained(interaction, member_of(interaction, member))
        await interaction.followup.send(view=view, ephemeral=True)

    @app_commands.command()
    @app_commands.describe(
        allowance="Credits of each period, for every member",
        unlimited=_UNLIMITED,
        default="True: as many as the bot gives by default",
        every="How long a period is",
        day_begins="The hour at which a period begins, 0 to 23",
        zone="The time zone: type a city",
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
        by = await acknowledged_manager(interaction)
        parts = {
            "every": every and Every(every),
            "hour": day_begins,
            "zone": zone and Calendar.parse(Every.DAY, 0, zone).zone,
        }
        calendar: dict[str, Any] = {k: v for k, v in parts.items() if v is not None}
        chosen = [allowance is not None, unlimited, default].count(True)
        if chosen > 1 or not (chosen or calendar):
            raise InvalidRequest(
                "Choose one of `allowance`, `unlimited` and `default`, or a part of the period."
            )
        done = []
        if default:
            done.append(await self.server_settings.reset(by, ALLOWANCE))
        elif chosen:
            done.append(await self.server_settings.set(by, ALLOWANCE, allowance))
        if calendar:
            done.append(
                await self.server_settings.update(
                    by, CALENDAR, lambda now: replace(now, **calendar)
                )
            )
        await self._reply(interaction, *done)

    @server.autocomplete("zone")
    async def _zones(
        self,
        interaction: discord.Interaction,  # noqa: ARG002 - discord.py's form
        typed: str,
    ) -> list[Choice[str]]:
        return [Choice(name=name, value=name) for name in zones_like(typed)]

    @app_commands.command()
    @app_commands.describe(
        role="Whose members get it",
        allowance="Credits of each period; the highest of a member's roles counts",
        unlimited=_UNLIMITED,
        remove="True: remove the allowance of this role",
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
        by = await acknowledged_manager(interaction)
        _check_one_chosen(allowance, unlimited=unlimited, remove=remove)
        if remove:
            change = await self.server_settings.reset(by, ROLE_ALLOWANCE, role.id)
        else:
            check_role(role.guild, role.id)
            change = await self.server_settings.set(by, ROLE_ALLOWANCE, allowance, role.id)
        await self._reply(interaction, change)

    @app_commands.command()
    @app_commands.describe(
        member="Who gets it",
        allowance="Credits of each period, whatever their roles",
        unlimited=_UNLIMITED,
        until="Until when: 7d, 3 months, 2026-12-31 (no end)",
        remove="True: they have what their roles give again",
    )
    @app_commands.autocomplete(until=complete_moment)
    async def member(
        self,
        interaction: discord.Interaction,
        member: discord.User,
        allowance: Range[int, 0, MAX_AMOUNT] | None = None,
        unlimited: bool = False,
        until: Until | None = None,
        remove: bool = False,
    ) -> None:
        """Set what one member gets instead, whatever their roles."""
        by = await acknowledged_manager(interaction)
        _check_one_chosen(allowance, unlimited=unlimited, remove=remove)
        if remove:
            if until is not None:
                raise InvalidRequest("`until` can't be used with `remove`.")
            change = await self.server_settings.reset(by, MEMBER_ALLOWANCE, member.id)
        else:
            check_no_bot(member)
            override = Override(allowance, await moment_of(interaction, until))
            change = await self.server_settings.set(by, MEMBER_ALLOWANCE, override, member.id)
        await self._reply(interaction, change)

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
        by = await acknowledged_manager(interaction)
        if (credits is None) != none:
            raise InvalidRequest("Choose either `credits` or `none`.")
        await self._reply(interaction, await self.server_settings.set(by, BUDGET, credits))

    @app_commands.command()
    @app_commands.describe(
        add="One more channel where songs can be requested; its threads count with it",
        remove="A channel where they can't be requested any more",
        everywhere="True: in every channel",
    )
    async def channels(
        self,
        interaction: discord.Interaction,
        add: app_commands.Transform[int, ChannelOption(REQUESTED_IN)] | None = None,
        remove: app_commands.Transform[int, ChannelOption(REQUESTED_IN)] | None = None,
        everywhere: bool = False,
    ) -> None:
        """Choose where songs can be requested; without options the panel opens."""
        by = await acknowledged_manager(interaction)
        if everywhere and (add is not None or remove is not None):
            raise InvalidRequest("Choose either `everywhere` or channels.")
        if add is not None and add == remove:
            raise InvalidRequest("Choose different channels to `add` and to `remove`.")
        if not everywhere and add is None and remove is None:
            view = await view_of(interaction, PanelPage(Topic.LIMITS))
            await interaction.followup.send(view=view, ephemeral=True)
            return
        added = set() if add is None else {add}
        check_channels(interaction.guild, sorted(added), songs=True)
        change = await self.server_settings.update(
            by,
            CHANNELS,
            lambda now: () if everywhere else tuple({*now, *added} - {remove}),
        )
        await self._reply(interaction, change)

    @app_commands.command()
    @app_commands.describe(
        member="Who can't make songs here",
        reason="Why; they see it",
        until="Until when: 7d, 3 months, 2026-12-31 (no end)",
    )
    @app_commands.autocomplete(until=complete_moment)
    async def block(
        self,
        interaction: discord.Interaction,
        member: discord.User,
        reason: Range[str, 1, MAX_REASON],
        until: Until | None = None,
    ) -> None:
        """Stop a member from making songs."""
        by = await acknowledged_manager(interaction)
        check_no_bot(member)
        block = Block(reason, await moment_of(interaction, until))
        change = await self.server_settings.set(by, BLOCK, block, member.id)
        await self._reply(interaction, change)

    @app_commands.command()
    @app_commands.describe(member="Who can make songs here again")
    async def unblock(self, interaction: discord.Interaction, member: discord.User) -> None:
        """Let a member make songs again."""
        by = await acknowledged_manager(interaction)
        change = await self.server_settings.reset(by, BLOCK, member.id)
        await self._reply(interaction, change)

    @app_commands.command()
    @app_commands.describe(reason="Why; members who request a song see it")
    async def pause(
        self, interaction: discord.Interaction, reason: Range[str, 1, MAX_REASON] | None = None
    ) -> None:
        """Pause new songs; songs in progress are finished."""
        by = await acknowledged_manager(interaction)
        await self._reply(interaction, await self.server_settings.set(by, PAUSE, reason or ""))

    @app_commands.command()
    async def resume(self, interaction: discord.Interaction) -> None:
        """Allow new songs again."""
        by = await acknowledged_manager(interaction)
        await self._reply(interaction, await self.server_settings.set(by, PAUSE, None))

    async def _reply(self, interaction: discord.Interaction, *done: Change | None) -> None:
        said = [changed_text(change, self.defaults) for change in done if change is not None]
        await interaction.followup.send("\n".join(said) or NO_CHANGE, ephemeral=True)


def _check_one_chosen(allowance: int | None, *, unlimited: bool, remove: bool) -> None:
    if (allowance is not None) + unlimited + remove != 1:
        raise InvalidRequest("Choose one of `allowance`, `unlimited` and `remove`.")
