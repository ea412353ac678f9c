"""Waiting for Discord at the login, and for a gateway session that may be begun.

discord.py fails a call that would have to wait longer than `max_ratelimit_timeout`, and every call
that Cloudflare limits. A supervisor would restart a bot that ends there, which calls again and
makes it worse. After a power cut the machine is often up before its router (Red-DiscordBot 5780),
and not every supervisor restarts a bot.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
from discord.http import HTTPClient, Route

from services.retry import Backoff, retry

if TYPE_CHECKING:  # at runtime discord.types can't be imported before the rest of discord.py
    from discord.types.gateway import SessionStartLimit

log = logging.getLogger(__name__)

RATE_LIMITED = 429
BACKOFF = Backoff(first=5.0, longest=300.0)
UNKNOWN_LIMIT = 60.0
"""Seconds to wait at least where a rate limit does not say for how long."""
TRANSIENT = (discord.DiscordServerError, aiohttp.ClientError, OSError)
RESERVE = 20
"""With so few sessions left, count again before each: other processes may begin some too."""
POLL_INTERVAL = 300.0
"""Seconds between two calls while no session is left, at most."""


@contextlib.contextmanager
def until_answered(http: HTTPClient) -> Iterator[None]:
    """Repeat calls until Discord answers them while the block runs, with a log line each time.

    Only for the login: every call through `http` would wait.
    """
    request, longest = http.request, http.max_ratelimit_timeout

    async def patient(route: Route, **options: Any) -> Any:  # noqa: ANN401 - JSON
        async def on_error(error: Exception, pause: float) -> None:
            if not _is_limit(error) and not isinstance(error, TRANSIENT):
                raise error
            why = "rate limited" if _is_limit(error) else f"Discord can't be reached ({error})"
            log.warning("%s at %s %s, retrying in %.0f s", why, route.method, route.path, pause)

        return await retry(
            lambda: request(route, **options),
            (*TRANSIENT, discord.HTTPException),
            on_error,
            backoff=BACKOFF,
            at_least=lambda error: retry_after(error) or UNKNOWN_LIMIT * _is_limit(error),
        )

    # Where Discord says for how long, discord.py waits by itself and logs that.
    http.max_ratelimit_timeout = None
    http.request = patient  # type: ignore[method-assign]
    try:
        yield
    finally:
        http.request = request  # type: ignore[method-assign]
        http.max_ratelimit_timeout = longest


def _is_limit(error: Exception) -> bool:
    return isinstance(error, discord.HTTPException) and error.status == RATE_LIMITED


def retry_after(error: BaseException) -> float:
    """Return the seconds for which Discord allows no further call; 0 if it did not say."""
    if isinstance(error, discord.RateLimited):
        return error.retry_after
    if isinstance(error, discord.HTTPException) and error.status == RATE_LIMITED:
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, float(error.response.headers.get("Retry-After", "")))
    return 0.0


class SessionStarts:
    """Counts the gateway sessions that may be begun today, and waits while there is none.

    Discord resets the token of a bot that begins more, which is then offline until its operator
    brings the new one (discord-api-docs 215, discord.js 5455). discord.py does not count them.
    Source: Discord, "Gateway", session start limit.
    """

    def __init__(
        self, http: HTTPClient, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._http = http
        self._sleep = sleep
        self._left = 0
        self._logged = False

    async def take(self) -> None:
        """Begin a session, once one is left; raises what `wait` does."""
        await self.wait()
        self._left -= 1

    def count(self, limit: "SessionStartLimit") -> float:
        """Note what `GET /gateway/bot` returned; return for how many seconds there is none."""
        self._left = limit["remaining"]
        return 0.0 if self._left > 0 else max(limit["reset_after"] / 1000.0, 1.0)

    async def wait(self) -> None:
        """Wait until a session may be begun.

        Raises:
            discord.GatewayNotFound, aiohttp.ClientError, OSError: Discord can't be reached.
        """
        while self._left <= RESERVE:
            try:
                _, _, limit = await self._http.get_bot_gateway()
                reset_after = self.count(limit)
            except discord.RateLimited as error:
                pause = min(error.retry_after, POLL_INTERVAL)
                log.warning("rate limited at GET /gateway/bot, retrying in %.0f s", pause)
                await self._sleep(pause)
                continue
            except (LookupError, TypeError, ValueError) as error:
                raise discord.GatewayNotFound from error  # discord.py then connects again
            if not reset_after:
                self._logged = False
                return
            if not self._logged:  # discord.py cancels a long wait and begins another
                log.error(
                    "Discord lets this bot begin no more gateway sessions for %.0f s (%d a day): "
                    "waiting, since one more would reset its token. Songs in progress go on. If "
                    "nothing else uses the token, find out why the bot was started so often.",
                    reset_after,
                    limit["total"],
                )
                self._logged = True
            await self._sleep(min(reset_after, POLL_INTERVAL))
