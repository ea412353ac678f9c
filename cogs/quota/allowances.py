"""Who gets how much: /quota server."""

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from cogs.client import Client, manager_of
from services.quota.amounts import MAX_AMOUNT, credits_text


class Allowances(commands.Cog):
    """The part of /quota that decides what members get each period."""

    _client: Client

    @app_commands.command()
    @app_commands.describe(allowance="Credits a day for each member")
    async def server(
        self, interaction: discord.Interaction, allowance: Range[int, 0, MAX_AMOUNT]
    ) -> None:
        """Set the daily credits of every member."""
        manager = manager_of(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._client.services.managing.set_allowance(manager, allowance)
        await interaction.followup.send(
            f"Every member now has {credits_text(allowance)} a day. More is "
            "there at once; less takes only what is neither spent nor held.",
            ephemeral=True,
        )
