"""Retries calls of the login that meet a rate limit or a network that is not up yet.

discord.py fails a call that would have to wait longer than `max_ratelimit_timeout`, and every call
that Cloudflare limits. A supervisor would restart a bot that ends there, which calls again and
makes it worse. After a power cut the machine is often up before its router (Red-DiscordBot 5780),
and not every supervisor restarts a bot.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import aiohttp
import discord
from discord.http import HTTPClient, Route

from services.retry import Backoff, retry

log = logging.getLogger(__name__)

RATE_LIMITED = 429
BACKOFF = Backoff(first=5.0, longest=300.0)
UNKNOWN_LIMIT = 60.0
"""Seconds to wait at least where a rate limit does not say for how long."""
TRANSIENT = (discord.DiscordServerError, aiohttp.ClientError, OSError)


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
