"""/history: what was made."""

import discord
from discord import app_commands
from discord.ext import commands

from cogs.buttons import history_answer
from cogs.client import Client


class LibraryCog(commands.Cog):
    """Looking at songs that were made."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @app_commands.command()
    @app_commands.describe(member="Whose songs (yours)")
    async def history(
        self, interaction: discord.Interaction, member: discord.User | None = None
    ) -> None:
        """Songs made here, page by page."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        member_id = (member or interaction.user).id
        embed, row = await history_answer(interaction, member_id, page=1)
        if row is None:
            await interaction.followup.send(embed=embed, ephemeral=True)
        else:
            await interaction.followup.send(embed=embed, view=row, ephemeral=True)
