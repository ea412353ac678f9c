"""/quota: for those who manage the server. Checked here too, not by Discord alone."""

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from cogs import cards
from cogs.client import Client, check_manages, server_of
from services.errors import InvalidRequest
from services.quota.credits import MAX_AMOUNT, MAX_REASON, credits_text


# Discord hides the group from others; a server's settings may say otherwise.
@app_commands.default_permissions(manage_guild=True)
class QuotaCog(
    commands.GroupCog,
    group_name="quota",
    group_description="Credits and limits, for those who manage the server",
):
    """Who may make how much."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @app_commands.command()
    @app_commands.describe(allowance="Credits a day for each member")
    async def server(
        self, interaction: discord.Interaction, allowance: Range[int, 0, MAX_AMOUNT]
    ) -> None:
        """Set the daily credits of every member."""
        check_manages(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        before = await self._client.services.credits.set_allowance(
            server_of(interaction), allowance
        )
        await interaction.followup.send(
            f"Every member now has {credits_text(allowance)} a day (before: {before:,}). More is "
            "there at once; less takes only what is neither spent nor held.",
            ephemeral=True,
        )

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
        balance = await self._client.services.credits.grant(
            grant_id=interaction.id,
            server_id=server_of(interaction),
            member_id=member.id,
            actor_id=interaction.user.id,
            amount=amount,
            reason=reason,
        )
        await interaction.followup.send(
            f"<@{member.id}> got {credits_text(amount)} ({cards.plain(reason)}) and has "
            f"{balance.free:,} now.",
            ephemeral=True,
        )
