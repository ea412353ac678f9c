"""The gateway's frames, as they come: one that makes no sense does not end the bot."""

import asyncio
import logging
import zlib

import discord
from discord.gateway import DiscordWebSocket, ReconnectWebSocket

from cogs.client.answers import NONSENSE

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds before the next connection: what garbles one frame may garble each."""


class GatewaySocket(DiscordWebSocket):
    """discord.py's, which ends the whole client at the first frame that it can't read."""

    async def received_message(self, msg: object, /) -> None:
        """Read a frame; where that fails, connect anew and resume.

        What could not be read at all is then sent again. What was read and makes no sense has its
        number noted already, so that it is left out.

        Raises:
            ReconnectWebSocket: discord.py resumes.
        """
        try:
            await super().received_message(msg)
        except (*NONSENSE, zlib.error) as error:
            log.warning("a frame of the gateway that makes no sense: %r", error)
            await self.close()
            await asyncio.sleep(PAUSE)
            raise ReconnectWebSocket(self.shard_id) from error


def use() -> None:
    """Let discord.py connect by this."""
    discord.shard.DiscordWebSocket = GatewaySocket  # type: ignore[misc]
