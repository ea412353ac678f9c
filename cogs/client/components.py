"""Buttons and menus that outlive a restart: what they need is in their ids."""

import re
from typing import Any, Self, TypeVar, cast

import discord
from discord import ui
from discord.ext import commands

from cogs.client.errors import guarded

ID = r"[0-8]?[0-9]{1,18}"
"""Discord's ids are 63 bits long, and so are the database's integers."""

CogT = TypeVar("CogT", bound=commands.Cog)


class Row(ui.View):
    """A row of persistent components; discord.py need not keep it.

    It would, with a task for each, for 15 minutes.
    """

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.stop()


class Persistent:
    """Mixin of a `ui.DynamicItem`: discord.py makes it from its id each time it is used.

    The groups of its template are the arguments of its constructor.
    """

    song_id: int | None = None
    """The song that it is about, if it is about one."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],  # noqa: ARG003 - discord.py's form
        item: ui.Item[Any],  # noqa: ARG003
        match: re.Match[str],
        /,
    ) -> Self:
        """Called by discord.py; an argument of digits alone is a number."""
        given = match.groupdict().items()
        return cls(**{name: int(text) if text.isdecimal() else text for name, text in given})

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Called by discord.py when somebody uses it."""
        await guarded(interaction, self.respond(interaction), song_id=self.song_id)

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        """Do what it is for; what this raises is answered by the one handler of errors."""
        raise NotImplementedError


def cog_of(interaction: discord.Interaction[Any], kind: type[CogT]) -> CogT:
    """Find the cog of a persistent component, which discord.py makes without arguments of ours."""
    client = cast("commands.Bot", interaction.client)
    return next(cog for cog in client.cogs.values() if isinstance(cog, kind))
