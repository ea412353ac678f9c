"""What Discord's error codes say of a message that it refused: why, and whom that concerns.

The codes: https://docs.discord.com/developers/topics/opcodes-and-status-codes ("JSON Error
Codes"), and 20026, which only public reports tell of.
"""

from typing import Final

import discord

from services.errors import CannotPost, Scope, TooLargeToPost

UNKNOWN_CHANNEL: Final = 10003
MISSING_ACCESS: Final = 50001

TOO_LARGE_STATUS: Final = 413
"""Also what a proxy in front of Discord answers, and to be believed."""
TOO_LARGE: Final = frozenset({40005, 50045})
"""The whole request, or one file, is over the limit: transcode it again for a lower one."""

NOT_NOW: Final = frozenset(
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
"""Transient: these say nothing about the message."""

MALFORMED: Final = frozenset({50006, 50035, 50109})
"""What was sent is not a message: a defect of ours, which time does not fix."""

_NO_PERMISSION = (
    "I lack a permission in the channel: I need to view it, send messages, embed links and attach "
    "files."
)
_NO_ACCESS = (
    "I can't see the channel: I need View Channel there, in a voice channel Connect as well, and a "
    "private thread has to have me as a member (mention me there)."
)
_DEFECT = "I built a message that Discord does not accept. That is a defect of mine."
_BAD_FILE = "Discord did not accept the audio file."
NO_MEMBER: Final = "I am no longer in the server."
_ACCOUNT = "Discord has restricted this bot's account."
_WRONG_KIND = "Songs can't be posted in this kind of channel."

REFUSALS: Final[dict[int, tuple[Scope, str]]] = {
    **dict.fromkeys(MALFORMED, (Scope.EVERYBODY, _DEFECT)),
    UNKNOWN_CHANNEL: (Scope.CHANNEL, "The channel is gone."),
    10004: (Scope.SERVER, NO_MEMBER),
    20009: (Scope.MESSAGE, "Discord's filter for explicit content blocked the post."),
    20026: (Scope.EVERYBODY, _ACCOUNT),  # flagged by the anti-spam system
    40001: (Scope.EVERYBODY, _ACCOUNT),
    40002: (Scope.EVERYBODY, _ACCOUNT),  # the account has to be verified
    40007: (Scope.SERVER, "I am banned from the server."),
    40058: (Scope.CHANNEL, _WRONG_KIND),  # a forum takes posts, no messages
    MISSING_ACCESS: (Scope.CHANNEL, _NO_ACCESS),
    50007: (Scope.CHANNEL, "Discord does not let me write to this person."),
    50008: (Scope.CHANNEL, _WRONG_KIND),
    50009: (Scope.SERVER, "The server's verification level keeps me out."),
    50013: (Scope.CHANNEL, _NO_PERMISSION),
    50014: (Scope.EVERYBODY, _ACCOUNT),
    50024: (Scope.CHANNEL, _WRONG_KIND),
    50046: (Scope.MESSAGE, _BAD_FILE),
    50083: (Scope.CHANNEL, "The thread is archived, and I can't open it again."),
    50095: (Scope.SERVER, "Discord does not offer this server where the bot runs."),
    50110: (Scope.MESSAGE, _BAD_FILE),
    50123: (Scope.MESSAGE, _BAD_FILE),
    50146: (Scope.MESSAGE, _BAD_FILE),
    50178: (Scope.EVERYBODY, _ACCOUNT),  # as 40002
    50278: (Scope.CHANNEL, "Discord does not let me write to this person."),
    160005: (Scope.CHANNEL, "The thread is locked."),
    160006: (Scope.CHANNEL, "The thread is archived, and the server has too many open threads."),
    160007: (Scope.CHANNEL, "The thread is archived, and the server has too many open threads."),
    200000: (Scope.MESSAGE, "This server's AutoMod blocked the post."),
    200001: (Scope.MESSAGE, "This server's AutoMod blocked the post."),
    240000: (Scope.MESSAGE, "Discord's filter for harmful links blocked the post."),
    400001: (Scope.SERVER, "Discord has limited uploads of files in this server."),
}


def refusal(error: discord.HTTPException) -> CannotPost | TooLargeToPost:
    """Why Discord does not take a message, where that is permanent, and whom it concerns.

    A code that is not in the table concerns everybody, so that the operator hears of it; but 403
    and 404 are about one resource by their definition.
    """
    if error.status == TOO_LARGE_STATUS or error.code in TOO_LARGE:
        return TooLargeToPost(str(error))
    if error.code in REFUSALS:
        scope, reason = REFUSALS[error.code]
        return CannotPost(reason, scope=scope)
    scope = Scope.CHANNEL if error.status in (403, 404) else Scope.EVERYBODY
    return CannotPost(f"Discord refused it ({error.status}, code {error.code}).", scope=scope)


def passes_with_time(error: discord.HTTPException) -> bool:
    """Whether the same message may be taken later: once a permission is given again, say."""
    if error.code in MALFORMED or error.code == UNKNOWN_CHANNEL:
        return False
    refused = refusal(error)
    return isinstance(refused, CannotPost) and refused.scope is not Scope.MESSAGE
