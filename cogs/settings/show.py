"""Seeing what holds, and changing it in place: /quota show."""

import discord
from discord import app_commands
from discord.ext import commands

from cogs.client.answers import acknowledged
from cogs.client.client import Client
from cogs.client.people import data_of, manager_of, member_of
from cogs.settings.places import Page, Place
from cogs.settings.settings_buttons import FORM_ID, explained, form_sent, view_of
from services.errors import InvalidRequest


class ShowCommand(commands.Cog):
    """The part of /quota that shows all settings, or explains one member's credits."""

    _client: Client

    @app_commands.command()
    @app_commands.describe(member="Whose credits to explain; left out: all settings")
    async def show(
        self, interaction: discord.Interaction, member: discord.User | None = None
    ) -> None:
        """See all settings and change them, or what a member has and why."""
        manager_of(interaction)
        if member is not None and member.bot:
            raise InvalidRequest("Bots make no songs: please choose a member.")
        # Acknowledged first: looking at a member's credits may have to wait for a backup.
        await acknowledged(interaction)
        if member is None:
            view = await view_of(interaction, Place(Page.CREDITS))
        else:
            view = await explained(interaction, member_of(interaction, member))
        await interaction.followup.send(view=view, ephemeral=True)

    @commands.Cog.listener("on_interaction")
    async def settings_form_sent(self, interaction: discord.Interaction) -> None:
        """A form of the settings was sent: its answer needs no form in memory."""
        if interaction.type is not discord.InteractionType.modal_submit:
            return
        if match := FORM_ID.fullmatch(str(data_of(interaction).get("custom_id", ""))):
            await form_sent(interaction, match)
