"""Giving and taking: /quota grant."""

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from cogs import cards
from cogs.client import Client, check_manages, member_of
from services.errors import InvalidRequest
from services.quota.amounts import MAX_AMOUNT, MAX_REASON, credits_text


class Giving(commands.Cog):
    """The part of /quota that moves credits."""

    _client: Client

    @app_commands.command()
    @app_commands.describe(
        member="Who gets them", amount="How many", reason="Why; the member sees it in /credits"
    )
    async def grant(
        self,
        interaction: discord.Interaction,
        member: discord.User,
        amount: Range[int, 1, MAX_AMOUNT],
        reason: Range[str, 1, MAX_REASON],
    ) -> None:
        """Give a member credits that don't expire."""
        check_manages(interaction)
        if member.bot:
            raise InvalidRequest("Bots make no songs: please choose a member.")
        await interaction.response.defer(ephemeral=True, thinking=True)
        moved = await self._client.services.giving.grant(
            member_of(interaction, member),
            grant_id=interaction.id,
            actor_id=interaction.user.id,
            amount=amount,
            reason=reason,
        )
        await interaction.followup.send(
            f"<@{member.id}> got {credits_text(amount)} ({cards.plain(reason)}) and has "
            f"{moved.balance.free:,} now.",
            ephemeral=True,
        )
