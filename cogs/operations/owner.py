"""Direct messages to the application's owner."""

import logging
from collections.abc import Sequence

import discord
from discord.ext import commands

from cogs.client.answers import TRANSIENT, wrap_parse_errors
from cogs.client.texts import plain
from cogs.operations import texts
from db.records import Server
from services.operations.incidents import Kind

log = logging.getLogger(__name__)

DETAIL = 700
"""Characters, each of which may be escaped to two; a message has 2,000."""


class OwnerMessages:
    """Implements `services.operations.incidents.Operator`."""

    def __init__(self, bot: commands.AutoShardedBot) -> None:
        self._bot = bot

    async def incident_began(self, kind: Kind, detail: str) -> bool:
        return await self.send(f"\N{WARNING SIGN} {texts.BEGINS[kind]}", detail=detail)

    async def incident_ended(self, kind: Kind) -> bool:
        return await self.send(f"\N{WHITE HEAVY CHECK MARK} {texts.ENDS[kind]}")

    async def bot_added(self, servers: Sequence[Server], *, allowed: bool) -> bool:
        text = texts.added(len(servers), allowed=allowed)
        return await self.send(text, detail=texts.names_of(servers))

    async def send(self, text: str, *, detail: str = "") -> bool:
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
