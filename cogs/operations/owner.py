"""Direct messages to the application's owner."""

import logging

import discord
from discord.ext import commands

from cogs.client.answers import PASSING, wrap_parse_errors
from cogs.client.formatting import plain

log = logging.getLogger(__name__)

DETAIL = 700
"""Characters, of which each may come to be two; a message has 2,000 (Discord, "Create Message")."""


class OwnerMessages:
    """The services' Operator, on Discord."""

    def __init__(self, bot: commands.AutoShardedBot) -> None:
        self._bot = bot

    async def tell(self, text: str, *, detail: str = "") -> bool:
        """Send `text` to the owner, or to the owner of the team; whether it went out.

        `detail` may be what a stranger's server answered: it is no Markdown, and leads nowhere.
        """
        if not self._bot.is_ready():
            return False  # told again by the housekeeping
        quoted = " ".join(plain(detail, DETAIL).split())
        try:
            with wrap_parse_errors():
                application = await self._bot.application_info()
                owner_id = application.team.owner_id if application.team else application.owner.id
                if owner_id is None:
                    return False
                owner = await self._bot.fetch_user(owner_id)
                await owner.send(f"{text}\n> {quoted}" if quoted else text)
        except (*PASSING, discord.HTTPException) as error:
            log.warning("the operator could not be told: %s", error)
            return False
        return True
