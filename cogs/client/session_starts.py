"""The gateway sessions that Discord lets a bot begin in a day.

A bot that begins more of them than the limit has its token reset by Discord, and is offline until
its operator brings the new one (discord-api-docs 215, discord.js 5455). discord.py does not look.
Source: Discord, "Gateway", session start limit.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import discord
from discord.http import HTTPClient

if TYPE_CHECKING:  # imported alone, discord.types meets itself half made
    from discord.types.gateway import SessionStartLimit

log = logging.getLogger(__name__)

RESERVE = 20
"""From so many left on Discord is asked again before each: other processes may begin some too."""
ASK_AGAIN = 300.0
"""Seconds between two questions while none is left, at most."""


class SessionStarts:
    """Counts the sessions that may still be begun, and waits where none is left."""

    def __init__(
        self, http: HTTPClient, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._http = http
        self._sleep = sleep
        self._left = 0
        self._logged = False

    async def wait(self) -> None:
        """Until one is left.

        Raises:
            discord.GatewayNotFound, aiohttp.ClientError, OSError: Discord can't say how many are.
        """
        if self._left <= RESERVE:
            await self._ask()

    async def take(self) -> None:
        """Begin one, once one is left; raises what `wait` does."""
        await self.wait()
        self._left -= 1

    def count(self, limit: "SessionStartLimit") -> float:
        """What `GET /gateway/bot` said; for how many seconds there is none."""
        self._left = limit["remaining"]
        return 0.0 if self._left > 0 else max(limit["reset_after"] / 1000.0, 1.0)

    async def _ask(self) -> None:
        while True:
            try:
                _, _, limit = await self._http.get_bot_gateway()
                reset_after = self.count(limit)
            except discord.RateLimited as error:
                pause = min(error.retry_after, ASK_AGAIN)
                log.warning("rate limited at GET /gateway/bot, retrying in %.0f s", pause)
                await self._sleep(pause)
                continue
            except (LookupError, TypeError, ValueError) as error:
                raise discord.GatewayNotFound from error  # what discord.py expects, and tries again
            if not reset_after:
                self._logged = False
                return
            if not self._logged:  # discord.py cancels a long wait, and begins another
                log.error(
                    "Discord lets this bot begin no more gateway sessions for %.0f s (%d a day): "
                    "waiting, since one more would reset its token. Songs in progress go on. If "
                    "nothing else uses the token, look for why the bot was started so often.",
                    reset_after,
                    limit["total"],
                )
                self._logged = True
            await self._sleep(min(reset_after, ASK_AGAIN))
