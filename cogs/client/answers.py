"""What Discord's answers mean: what was done, and whether to retry.

The codes: https://docs.discord.com/developers/topics/opcodes-and-status-codes ("JSON Error
Codes"), and 20026, which only public reports describe.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

import aiohttp
import discord

from db.errors import SongwrightError
from db.records import Reason
from services.errors import CannotPost, PostUncertain, Scope, TooLargeToPost

LONGEST_PAUSE = 60.0
"""Seconds that a call may wait for Discord's rate limits; one that would wait longer fails."""


class MalformedResponseError(SongwrightError):
    """Discord, or a proxy in front of it, has sent an answer that can't be read."""


TRANSIENT = (
    discord.DiscordServerError,
    discord.RateLimited,
    MalformedResponseError,
    aiohttp.ClientError,
    TimeoutError,
    OSError,
)
TRANSIENT_STATUS = (401, 429)
"""These say nothing of the request: a token that was just reset, a limit shared with others."""
PARSE_ERRORS = (ValueError, LookupError, TypeError, AttributeError)
"""What discord.py raises of an answer that is not as expected."""
CLOSED = "Session is closed"
"""The text of aiohttp's RuntimeError."""
ALREADY_ACKNOWLEDGED = 40060
"""Another answer came first, perhaps one of the bot's that was lost."""
UNKNOWN_CHANNEL: Final = 10003
TOO_LARGE_STATUS: Final = 413
"""Also what a proxy in front of Discord answers."""
TOO_LARGE: Final = frozenset({40005, 50045})
"""The whole request, or one file, is over the limit: transcode it again for a lower one."""

TRANSIENT_CODES: Final = frozenset(
    {
        20016,  # slow mode
        20022,  # too many edits in an announcement channel
        20028,  # the channel's rate limit for writing
        20029,  # the server's
        30046,  # too many edits of messages that are over an hour old
        40004,  # sending is switched off for a while
        40006,  # a feature is
        40062,  # a part of Discord is rate limited
        40333,  # Cloudflare blocks the request before Discord sees it
        110001,  # the application is not available yet
        130000,  # overloaded
    }
)
"""These say nothing about the message."""

MALFORMED: Final = frozenset({50006, 50035, 50109})
"""What was sent is not a message: a defect of the bot."""

REFUSALS: Final[dict[int, tuple[Scope, Reason]]] = {
    **dict.fromkeys(MALFORMED, (Scope.EVERYBODY, Reason.BAD_MESSAGE)),
    UNKNOWN_CHANNEL: (Scope.CHANNEL, Reason.CHANNEL_GONE),
    10004: (Scope.SERVER, Reason.NOT_IN_SERVER),
    20009: (Scope.MESSAGE, Reason.EXPLICIT),
    20026: (Scope.EVERYBODY, Reason.BOT_RESTRICTED),  # flagged by the anti-spam system
    40001: (Scope.EVERYBODY, Reason.BOT_RESTRICTED),
    40002: (Scope.EVERYBODY, Reason.BOT_RESTRICTED),  # the account has to be verified
    40007: (Scope.SERVER, Reason.BANNED),
    40058: (Scope.CHANNEL, Reason.WRONG_KIND),  # a forum takes posts, no messages
    50001: (Scope.CHANNEL, Reason.NO_ACCESS),
    50007: (Scope.CHANNEL, Reason.NO_MESSAGES),
    50008: (Scope.CHANNEL, Reason.WRONG_KIND),
    50009: (Scope.SERVER, Reason.VERIFICATION),
    50013: (Scope.CHANNEL, Reason.NO_PERMISSION),
    50014: (Scope.EVERYBODY, Reason.BOT_RESTRICTED),
    50024: (Scope.CHANNEL, Reason.WRONG_KIND),
    50046: (Scope.MESSAGE, Reason.BAD_FILE),
    50083: (Scope.CHANNEL, Reason.THREAD_ARCHIVED),
    50095: (Scope.SERVER, Reason.NOT_OFFERED),
    50110: (Scope.MESSAGE, Reason.BAD_FILE),
    50123: (Scope.MESSAGE, Reason.BAD_FILE),
    50146: (Scope.MESSAGE, Reason.BAD_FILE),
    50178: (Scope.EVERYBODY, Reason.BOT_RESTRICTED),  # as 40002
    50278: (Scope.CHANNEL, Reason.NO_MESSAGES),
    160005: (Scope.CHANNEL, Reason.THREAD_LOCKED),
    160006: (Scope.CHANNEL, Reason.TOO_MANY_THREADS),
    160007: (Scope.CHANNEL, Reason.TOO_MANY_THREADS),
    200000: (Scope.MESSAGE, Reason.AUTOMOD),
    200001: (Scope.MESSAGE, Reason.AUTOMOD),
    240000: (Scope.MESSAGE, Reason.HARMFUL_LINK),
    400001: (Scope.SERVER, Reason.UPLOADS_LIMITED),
}


def refusal(error: discord.HTTPException) -> CannotPost | TooLargeToPost:
    """Return why Discord permanently refuses a message, and whom that concerns.

    A code that is not in the table concerns everybody, so that the operator is notified; but 403
    and 404 are about one resource by their definition.
    """
    if error.status == TOO_LARGE_STATUS or error.code in TOO_LARGE:
        return TooLargeToPost(str(error))
    if error.code in REFUSALS:
        scope, reason = REFUSALS[error.code]
        return CannotPost(reason, scope=scope)
    scope = Scope.CHANNEL if error.status in (403, 404) else Scope.EVERYBODY
    detail = f"{error.status}, code {error.code}"
    return CannotPost(Reason.REFUSED, detail=detail, scope=scope)


def may_succeed_later(error: discord.HTTPException) -> bool:
    """Return whether the same message may be accepted later, as when a permission returns."""
    if error.code in MALFORMED or error.code == UNKNOWN_CHANNEL:
        return False
    refused = refusal(error)
    return isinstance(refused, CannotPost) and refused.scope is not Scope.MESSAGE


def outcome_unknown(error: BaseException) -> bool:
    """Return whether Discord did not answer, or did not say what it did with the request."""
    if isinstance(error, discord.HTTPException):
        if isinstance(error, discord.DiscordServerError) or error.status in TRANSIENT_STATUS:
            return True
        # Each refusal of Discord's has a code; one without comes from a proxy in front of it.
        return error.code in TRANSIENT_CODES or (
            not error.code and error.status != TOO_LARGE_STATUS
        )
    silence = (aiohttp.ClientError, ConnectionError, TimeoutError)
    return isinstance(error, (discord.RateLimited, MalformedResponseError, *silence))


@contextlib.contextmanager
def map_discord_errors(doing: str) -> Iterator[None]:
    """Map Discord's errors to ours.

    Raises:
        CannotPost, TooLargeToPost: the answer is permanent.
        PostUncertain: there was none, or none about this request.
    """
    try:
        with wrap_parse_errors():
            yield
    except TRANSIENT as error:
        raise PostUncertain(f"{doing}: {error!r}") from error
    except discord.HTTPException as error:
        if outcome_unknown(error):
            raise PostUncertain(f"{doing}: {error}") from error
        raise refusal(error) from error


@contextlib.contextmanager
def wrap_parse_errors() -> Iterator[None]:
    """Map errors of reading an answer; do nothing else in the block, since its errors look alike.

    Raises:
        MalformedResponseError: the answer is malformed. The request may have been carried out.
        aiohttp.ClientConnectionError: discord.py has closed the connection, after the gateway's
            ended permanently (the token was revoked); the bot is about to end.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != CLOSED:
            raise
        raise aiohttp.ClientConnectionError(CLOSED) from error
    except PARSE_ERRORS as error:
        raise MalformedResponseError(f"malformed answer: {error!r}") from error


async def acknowledged(interaction: discord.Interaction) -> int | None:
    """Acknowledge an interaction, and return the id of the message that shows that.

    If Discord says that this was done before, and nothing was sent since, go on: Discord's first
    answer was lost and discord.py has repeated the call, or the interaction was delivered twice.
    What is delivered twice is done once: songs and credits are entered under the interaction's id,
    and settings are set to what was requested.

    Raises:
        discord.HTTPException, MalformedResponseError, aiohttp.ClientError: the outcome is unknown.
    """
    try:
        with wrap_parse_errors():
            message = await interaction.response.defer(ephemeral=True, thinking=True)
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:
            raise
        with contextlib.suppress(discord.HTTPException), wrap_parse_errors():
            shown = await interaction.original_response()
            if shown.flags.loading:  # it says nothing else yet
                return shown.id
        raise
    return message.message_id if message is not None else None
