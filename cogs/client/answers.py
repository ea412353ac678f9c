"""What becomes of what is sent to Discord, in our words."""

import contextlib
from collections.abc import Iterator

import aiohttp
import discord

from cogs.client.refusals import NOT_NOW, TOO_LARGE_STATUS, refusal
from db.errors import SongwrightError
from services.errors import PostUncertain

LONGEST_PAUSE = 60.0
"""Seconds for which Discord may ask us to be silent; a call that would wait longer has failed."""


class MalformedResponseError(SongwrightError):
    """Discord, or what stands before it, has answered something that can't be read."""


PASSING = (
    discord.DiscordServerError,
    discord.RateLimited,
    MalformedResponseError,
    aiohttp.ClientError,
    TimeoutError,
    OSError,
)
TRANSIENT_STATUS = (401, 429)
"""Answers that say nothing of the post: a token that was just reset, a limit shared with others."""
PARSE_ERRORS = (ValueError, LookupError, TypeError, AttributeError)
"""What discord.py raises of an answer that is not what it expects."""
CLOSED = "Session is closed"
"""What aiohttp calls it, in a plain RuntimeError."""
ALREADY_ACKNOWLEDGED = 40060
"""Discord, "JSON Error Codes": another answer came first, perhaps our own that was lost."""


async def acknowledged(interaction: discord.Interaction) -> int | None:
    """Let the person see that it is being thought about; the id of the message that says so.

    Where Discord says that this was done before, and nothing was sent since, it is gone on with:
    its first answer was lost, and discord.py has asked again, or the interaction has come twice.
    What comes twice is done once: songs and credits are entered under the interaction's id, and
    rules are set to what was requested.

    Raises:
        discord.HTTPException, NonsenseError, aiohttp.ClientError: it is not known to be.
    """
    try:
        with wrap_parse_errors():
            message = await interaction.response.defer(ephemeral=True, thinking=True)
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED or not (shown := await _thinking(interaction)):
            raise
        return shown.id
    return message.message_id if message is not None else None


async def _thinking(interaction: discord.Interaction) -> discord.InteractionMessage | None:
    """The message that an interaction was acknowledged with, as long as it says nothing else."""
    try:
        with wrap_parse_errors():
            message = await interaction.original_response()
    except discord.HTTPException:
        return None
    return message if message.flags.loading else None


@contextlib.contextmanager
def map_discord_errors(doing: str) -> Iterator[None]:
    """Discord's errors become ours here.

    Raises:
        CannotPost, TooLargeToPost: the answer is permanent.
        PostUncertain: there was none, or none about this.
    """
    try:
        with wrap_parse_errors():
            yield
    except PASSING as error:
        raise PostUncertain(f"{doing}: {error!r}") from error
    except discord.HTTPException as error:
        if outcome_unknown(error):
            raise PostUncertain(f"{doing}: {error}") from error
        raise refusal(error) from error


@contextlib.contextmanager
def wrap_parse_errors() -> Iterator[None]:
    """Only what reads an answer belongs into the block: errors of ours would look like Discord's.

    Raises:
        NonsenseError: the answer is malformed. The request may have been carried out.
        aiohttp.ClientConnectionError: discord.py has closed the connection, at the fatal end of the
            gateway's (a token that was revoked); the bot is about to end.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != CLOSED:
            raise
        raise aiohttp.ClientConnectionError(CLOSED) from error
    except PARSE_ERRORS as error:
        raise MalformedResponseError(f"an answer that makes no sense: {error!r}") from error


def outcome_unknown(error: BaseException) -> bool:
    """Whether Discord was not there, or has not said what it did with what was sent."""
    if isinstance(error, discord.HTTPException):
        if isinstance(error, discord.DiscordServerError) or error.status in TRANSIENT_STATUS:
            return True
        # Each refusal of Discord's own has a code; one without is of something before it.
        return error.code in NOT_NOW or (not error.code and error.status != TOO_LARGE_STATUS)
    silence = (aiohttp.ClientError, ConnectionError, TimeoutError)
    return isinstance(error, (discord.RateLimited, MalformedResponseError, *silence))
