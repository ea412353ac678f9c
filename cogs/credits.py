"""/credits and /help."""

import discord
from discord import app_commands
from discord.ext import commands

from cogs import cards
from cogs.client import Client, member_of

LATELY = 8


class CreditsCog(commands.Cog):
    """What a member has, and how to use it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @app_commands.command()
    async def credits(self, interaction: discord.Interaction) -> None:
        """What you have here, where it comes from, and when it refills."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        standing = await self._client.services.credits.standing(
            member_of(interaction), entries=LATELY
        )
        await interaction.followup.send(embed=cards.credits_card(standing), ephemeral=True)

    @app_commands.command()
    async def help(self, interaction: discord.Interaction) -> None:
        """The shortest way to a first song."""
        await interaction.response.send_message(embed=cards.help_card(), ephemeral=True)
