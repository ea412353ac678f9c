"""What the bot has to wait for before it can start: rate limits, and a network that is not up yet.

discord.py fails a call that would have to wait longer than `max_ratelimit_timeout`, and at once
where it is not Discord but Cloudflare before it that limits. A bot that ends there is started again
by its supervisor, asks again, and makes it worse. After a power cut the machine is often up before
its router (Red-DiscordBot 5780), and not every supervisor starts a bot again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import aiohttp
import discord
from discord.http import HTTPClient, Route

from services.songs.pipeline import Backoff

log = logging.getLogger(__name__)

RATE_LIMITED = 429
AGAIN = Backoff(first=60.0, longest=3600.0)
"""Where it is not said for how long."""
UNREACHED = Backoff(first=5.0, longest=300.0)
TRANSIENT = (discord.DiscordServerError, aiohttp.ClientError, OSError)


@contextlib.contextmanager
def until_answered(http: HTTPClient) -> Iterator[None]:
    """While the block runs, calls are repeated until Discord answers them, a log line each time.

    Only for the login: every call through `http` would wait.
    """
    request, longest = http.request, http.max_ratelimit_timeout

    async def patient(route: Route, **options: Any) -> Any:  # noqa: ANN401 - JSON
        failures = 0
        while True:
            try:
                return await request(route, **options)
            except TRANSIENT as error:
                failures += 1
                pause, why = UNREACHED.pause(failures), f"Discord can't be reached ({error})"
            except discord.HTTPException as error:
                if error.status != RATE_LIMITED:
                    raise
                failures += 1
                pause, why = retry_after(error) or AGAIN.pause(failures), "rate limited"
            log.warning("%s at %s %s, retrying in %.0f s", why, route.method, route.path, pause)
            await asyncio.sleep(pause)

    # Where Discord says for how long, discord.py waits by itself and logs that.
    http.max_ratelimit_timeout = None
    http.request = patient  # type: ignore[method-assign]
    try:
        yield
    finally:
        http.request = request  # type: ignore[method-assign]
        http.max_ratelimit_timeout = longest


def retry_after(error: BaseException) -> float:
    """For how many seconds Discord asked to be left alone; 0 where it did not say."""
    if isinstance(error, discord.RateLimited):
        return error.retry_after
    if isinstance(error, discord.HTTPException) and error.status == RATE_LIMITED:
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, float(error.response.headers.get("Retry-After", "")))
    return 0.0
