"""Buttons and menus that work after a restart: all they need is in their ids."""

import re
from collections.abc import Collection
from typing import Any, ClassVar, Self, TypeVar, cast

import discord
from discord import ui
from discord.ext import commands

from cogs.client.discord_internals import template_of
from cogs.client.errors import guarded, say
from cogs.client.people import data_of

ID = r"[0-8]?[0-9]{1,18}"
"""Discord's ids have 63 bits, and so do the database's integers."""
EXPIRED = "This has expired. Use the command again. Nothing was done."

CogT = TypeVar("CogT", bound=commands.Cog)


class Row(ui.View):
    """A row of persistent components, which discord.py need not track with a task for each."""

    def __init__(self, *items: ui.Item[Any]) -> None:
        super().__init__(timeout=None)
        self.stop()
        for item in items:
            self.add_item(item)


class Persistent:
    """Mixin of a `ui.DynamicItem`: discord.py makes it from its id each time it is used.

    The groups of its template are the arguments of its constructor.
    """

    song_id: int | None = None
    """The song that it is about, if any."""
    public: ClassVar[bool] = False
    """Whether it is under a message that everybody sees, like a post."""

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
        work = self.respond(interaction)
        await guarded(interaction, work, song_id=self.song_id, public=self.public)

    async def respond(self, interaction: discord.Interaction[Any]) -> None:
        """Do what it is for; the handler of errors answers what this raises."""
        raise NotImplementedError


def cog_of(interaction: discord.Interaction[Any], kind: type[CogT]) -> CogT:
    """Find the cog of a persistent component, which discord.py makes without arguments of ours."""
    client = cast("commands.Bot", interaction.client)
    return next(cog for cog in client.cogs.values() if isinstance(cog, kind))


class OutdatedCog(commands.Cog):
    """Answers components and forms of an older version, for which Discord would show an error."""

    def __init__(
        self,
        components: Collection[type[ui.DynamicItem[Any]]],
        forms: Collection[re.Pattern[str]],
    ) -> None:
        self._in_use = {
            discord.InteractionType.component: [template_of(component) for component in components],
            discord.InteractionType.modal_submit: forms,
        }

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Answer what no component or form in use does."""
        patterns = self._in_use.get(interaction.type)
        custom_id = str(data_of(interaction).get("custom_id", ""))
        if patterns is not None and not any(p.fullmatch(custom_id) for p in patterns):
            await say(interaction, EXPIRED)
