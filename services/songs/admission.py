"""Check whether a member may request a song."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from db import songs
from db.connection import Connection
from db.records import SongRequest
from services.errors import DeniedBySettings, TooManySongs, TooManyUndelivered
from services.settings.blocked_words import find_blocked
from services.settings.catalogue import BLOCKED_WORDS, CHANNELS, HOURLY_IN_CHANNEL, PAUSE
from services.settings.reader import Settings
from services.songs.song_request import Interaction

MAX_UNDELIVERED = 25
"""Songs of a server that could not be posted, up to 10 MiB each, before new ones are refused."""
MAX_UNDELIVERED_OF_MEMBER = 5
"""The same for one member, who can make songs impossible to post and must not lock others out."""
HOUR = timedelta(hours=1)


@dataclass(eq=False)
class MemberHasUndelivered(TooManyUndelivered):
    """Too many of the member's songs are undelivered."""

    count: int


@dataclass(eq=False)
class ServerHasUndelivered(TooManyUndelivered):
    """Too many songs of the server are undelivered."""

    count: int


@dataclass(eq=False)
class ServerPaused(DeniedBySettings):
    """The server's managers have paused new songs."""

    reason: str


@dataclass(eq=False)
class MemberBlocked(DeniedBySettings):
    """The member is blocked; `until` is None where it does not end."""

    reason: str
    until: datetime | None


@dataclass(eq=False)
class WrongChannel(DeniedBySettings):
    """Songs are made in other channels."""

    channels: Sequence[int]


@dataclass(eq=False)
class SongTooLarge(DeniedBySettings):
    """`seconds` or `steps` are over the server's limit."""

    name: str
    limit: int


@dataclass(eq=False)
class BlockedWord(DeniedBySettings):
    """Genres or lyrics have a word that the server has blocked."""

    word: str


@dataclass(eq=False)
class TooManyRefunds(TooManySongs):
    """So many songs were refunded in the last hour for reasons of the member's own."""

    limit: int
    again_at: datetime


@dataclass(eq=False)
class TooManyElsewhere(TooManySongs):
    """Songs in progress in other servers count as refunds."""

    count: int


@dataclass(eq=False)
class TooManyInProgress(TooManySongs):
    """The member's songs in progress in the server are at its limit."""

    count: int
    limit: int


@dataclass(eq=False)
class Cooldown(TooManySongs):
    """The member's last song was requested less than `seconds` ago."""

    seconds: int
    again_at: datetime


@dataclass(eq=False)
class SettingLimitReached(TooManySongs):
    """As many songs as the setting with this label allows; `again_at` is when there is room."""

    label: str
    limit: int
    again_at: datetime


async def check_undelivered(connection: Connection, requester: Interaction) -> None:
    """Check that one more song could wait for delivery.

    Raises:
        MemberHasUndelivered, ServerHasUndelivered
    """
    by_member = await songs.count_undelivered(connection, requester.server_id)
    if (own := by_member[requester.member_id]) >= MAX_UNDELIVERED_OF_MEMBER:
        raise MemberHasUndelivered(own)
    if (count := by_member.total()) >= MAX_UNDELIVERED:
        raise ServerHasUndelivered(count)


def check_settings(
    settings: Settings, requester: Interaction, request: SongRequest, *, at: datetime
) -> None:
    """Check a request against a server's settings.

    Raises:
        ServerPaused, MemberBlocked, WrongChannel, SongTooLarge, BlockedWord
    """
    if (pause := settings[PAUSE]) is not None:
        raise ServerPaused(pause)
    if block := settings.block(at=at):
        raise MemberBlocked(block.reason, block.until)
    channels = settings[CHANNELS]
    if channels and not {requester.channel_id, requester.parent_id} & set(channels):
        raise WrongChannel(channels)
    limits = settings.limits
    if request.seconds > limits.seconds:
        raise SongTooLarge("seconds", limits.seconds)
    if request.steps > limits.steps:
        raise SongTooLarge("steps", limits.steps)
    word = find_blocked(settings[BLOCKED_WORDS], request.genres, request.lyrics)
    if word is not None:
        raise BlockedWord(word)


async def check_refunds(
    connection: Connection, requester: Interaction, limit: int, *, at: datetime
) -> None:
    """Check that fewer than `limit` songs were refunded by a member's choice in the last hour.

    Songs in progress in other servers count as if they were refunded too: the limit of songs in
    progress applies to each server alone. 0 is no limit.

    Raises:
        TooManyRefunds: until the oldest of them no longer counts.
        TooManyElsewhere: until one in progress is done.
    """
    if not limit:
        return
    server_id, member_id = requester.server_id, requester.member_id
    ends = await songs.ends_by_choice(connection, member_id, since=at - HOUR, until=at, limit=limit)
    if len(ends) >= limit:
        raise TooManyRefunds(limit, ends[-1] + HOUR)
    elsewhere = await songs.count_unfinished_elsewhere(connection, server_id, member_id)
    if len(ends) + elsewhere >= limit:
        raise TooManyElsewhere(elsewhere)


async def check_pace(
    connection: Connection, settings: Settings, requester: Interaction, *, at: datetime
) -> None:
    """Check how many songs there are already in the channel and of the member, and since when.

    Raises:
        SettingLimitReached, TooManyInProgress, Cooldown
    """
    server_id, member_id = requester.server_id, requester.member_id
    if per_hour := settings[HOURLY_IN_CHANNEL]:
        channel_id = requester.parent_id or requester.channel_id
        requested = await songs.requested_in_channel(
            connection, server_id, channel_id, since=at - HOUR, limit=per_hour
        )
        if len(requested) == per_hour:
            raise SettingLimitReached(HOURLY_IN_CHANNEL.label, per_hour, requested[-1] + HOUR)
    limits = settings.limits
    unfinished = await songs.count_unfinished(connection, server_id, member_id)
    if unfinished >= limits.unfinished:
        raise TooManyInProgress(unfinished, limits.unfinished)
    if limits.cooldown:
        last = await songs.last_requested(connection, server_id, member_id)
        cooldown = timedelta(seconds=limits.cooldown)
        # After the clock was set back nobody waits for longer than the cooldown.
        if last is not None and at < last + cooldown <= at + cooldown:
            raise Cooldown(limits.cooldown, last + cooldown)
