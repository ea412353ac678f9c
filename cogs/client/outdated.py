"""Buttons, menus and forms that nothing here answers any more: an older version has shown them."""

from typing import Any

import discord
from discord.ext import commands

from cogs.client.client import Client
from cogs.client.errors import say
from cogs.client.people import data_of
from cogs.settings import cog as quota
from cogs.settings.limits import WORDS_FORM
from cogs.settings.settings_buttons import FORM_ID
from cogs.songs import buttons, song

SENTENCE = "That is not in use here any more: please use the command again. Nothing was done."


class OutdatedCog(commands.Cog):
    """Answers what else would be shown as failed, without a word."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Something was pressed, chosen or sent."""
        custom_id = str(data_of(interaction).get("custom_id", ""))
        is_known = {
            discord.InteractionType.component: answers_component,
            discord.InteractionType.modal_submit: answers_form,
        }.get(interaction.type)
        if is_known is not None and not is_known(custom_id):
            await say(interaction, SENTENCE)


def answers_component(custom_id: str) -> bool:
    """Whether a button or a menu with this id is answered by a class of ours."""
    return any(
        item.__discord_ui_compiled_template__.fullmatch(custom_id)
        for item in (*buttons.PERSISTENT, *quota.PERSISTENT)
    )


def answers_form(custom_id: str) -> bool:
    """Whether a form with this id is answered by one of the listeners."""
    return (
        custom_id.partition(":")[0] == song.FORM
        or custom_id == WORDS_FORM
        or FORM_ID.fullmatch(custom_id) is not None
    )
