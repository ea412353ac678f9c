"""Direct messages to the application's owner."""

import logging

import aiohttp
import discord
from discord.ext import commands

log = logging.getLogger(__name__)

LONGEST = 2_000
"""Characters; Discord, "Create Message"."""


class OwnerMessages:
    """The services' Operator, on Discord."""

    def __init__(self, bot: commands.AutoShardedBot) -> None:
        self._bot = bot

    async def tell(self, text: str) -> bool:
        """Send `text` to the owner, or to the owner of the team; whether it went out."""
        if not self._bot.is_ready():
            return False  # told again by the housekeeping
        try:
            application = await self._bot.application_info()
            owner_id = application.team.owner_id if application.team else application.owner.id
            if owner_id is None:
                return False
            owner = await self._bot.fetch_user(owner_id)
            await owner.send(text[:LONGEST])
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            log.warning("the operator could not be told: %s", error)
            return False
        return True
