"""Answers buttons, menus and forms of an older version, which nothing handles any more."""

import re
from collections.abc import Collection
from typing import Any

import discord
from discord import ui
from discord.ext import commands

from cogs.client.discord_internals import template_of
from cogs.client.errors import say
from cogs.client.people import data_of

SENTENCE = "That is not in use here any more: please use the command again. Nothing was done."


class OutdatedCog(commands.Cog):
    """Discord would say that the interaction failed, and not why."""

    def __init__(
        self,
        components: Collection[type[ui.DynamicItem[Any]]],
        forms: Collection[re.Pattern[str]],
    ) -> None:
        self._known = {
            discord.InteractionType.component: [template_of(component) for component in components],
            discord.InteractionType.modal_submit: forms,
        }

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Something was pressed, chosen or sent."""
        known = self._known.get(interaction.type)
        custom_id = str(data_of(interaction).get("custom_id", ""))
        if known is not None and not any(pattern.fullmatch(custom_id) for pattern in known):
            await say(interaction, SENTENCE)
