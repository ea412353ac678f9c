"""Direct messages to the application's owner."""

import logging

import discord
from discord.ext import commands

from cogs.client.answers import TRANSIENT, wrap_parse_errors
from cogs.client.texts import plain

log = logging.getLogger(__name__)

DETAIL = 700
"""Characters, each of which may be escaped to two; a message has 2,000."""


class OwnerMessages:
    """Implements `services.operations.incidents.Operator`."""

    def __init__(self, bot: commands.AutoShardedBot) -> None:
        self._bot = bot

    async def notify(self, text: str, *, detail: str = "") -> bool:
        """Send `text` to the owner, or to the team's owner. Return whether it was sent.

        `detail` may come from a foreign server: Markdown and links in it are escaped.
        """
        if not self._bot.is_ready():
            return False  # housekeeping retries
        quoted = " ".join(plain(detail, DETAIL).split())
        try:
            with wrap_parse_errors():
                application = await self._bot.application_info()
                owner_id = application.team.owner_id if application.team else application.owner.id
                if owner_id is None:
                    return False
                owner = await self._bot.fetch_user(owner_id)
                await owner.send(f"{text}\n> {quoted}" if quoted else text)
        except (*TRANSIENT, discord.HTTPException) as error:
            log.warning("the operator could not be notified: %s", error)
            return False
        return True
