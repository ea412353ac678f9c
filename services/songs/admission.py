"""Check a request for a song against a server's settings. Pure."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.records import SongRequest
from services.errors import (
    DeniedBySettings,
    ServerNotAllowed,
    TooManySongs,
    TooManyUndelivered,
)
from services.settings.blocked_words import find_blocked
from services.settings.catalogue import BLOCKED_WORDS, CHANNELS, PAUSE
from services.settings.reader import Settings

MAX_UNDELIVERED = 25
"""Songs of a server that could not be posted, up to 10 MiB each, before new ones are refused."""
MAX_UNDELIVERED_OF_MEMBER = 5
"""Of them one member's: a member can make songs impossible to post, and must not lock others out.
"""
REFUNDS_COUNT_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a song is requested; `parent_id` is the channel that a thread is in."""

    channel_id: int
    parent_id: int | None = None


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
    """So many songs were refunded in `REFUNDS_COUNT_FOR` by the member's own doing."""

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


def check_server(allowed: Collection[int], server_id: int) -> None:
    """Whether the operator lets this server's members request songs; an empty list allows all.

    Raises:
        ServerNotAllowed: its id is not in the list.
    """
    if allowed and server_id not in allowed:
        raise ServerNotAllowed(server_id)


def check_undelivered(by_member: Counter[int], member_id: int) -> None:
    """Whether a server and a member have room for one more song that might not be postable.

    Raises:
        MemberHasUndelivered: `MAX_UNDELIVERED_OF_MEMBER` of this member wait.
        ServerHasUndelivered: `MAX_UNDELIVERED` of the server wait.
    """
    own, count = by_member[member_id], by_member.total()
    if own >= MAX_UNDELIVERED_OF_MEMBER:
        raise MemberHasUndelivered(own)
    if count >= MAX_UNDELIVERED:
        raise ServerHasUndelivered(count)


def check_member(settings: Settings, place: Place, *, at: datetime) -> None:
    """Whether somebody may ask for any song here.

    Raises:
        ServerPaused, MemberBlocked, WrongChannel
    """
    if (pause := settings[PAUSE]) is not None:
        raise ServerPaused(pause)
    if block := settings.block(at=at):
        raise MemberBlocked(block.reason, block.until)
    channels = settings[CHANNELS]
    if channels and not {place.channel_id, place.parent_id} & set(channels):
        raise WrongChannel(channels)


def check_size(settings: Settings, seconds: int, steps: int) -> None:
    """Whether a song of this size may be requested.

    Raises:
        SongTooLarge: it is longer, or takes more steps, than is allowed here.
    """
    for name, value, limit in (
        ("seconds", seconds, settings.limits.seconds),
        ("steps", steps, settings.limits.steps),
    ):
        if value > limit:
            raise SongTooLarge(name, limit)


def check_blocked_words(settings: Settings, request: SongRequest) -> None:
    """Whether genres and lyrics go without the words that are blocked here.

    Raises:
        BlockedWord: they don't.
    """
    word = find_blocked(settings[BLOCKED_WORDS], request.genres, request.lyrics)
    if word is not None:
        raise BlockedWord(word)


def check_refunds(ends: Sequence[datetime], limit: int, *, elsewhere: int) -> None:
    """Whether a member has had fewer than `limit` songs refunded by choice in `REFUNDS_COUNT_FOR`.

    `ends`: when those that still count were over, newest first, at most `limit`. `elsewhere`: songs
    in progress in other servers, which count as if they were refunded too: each server's own limit
    of songs in progress knows nothing of the others.

    Raises:
        TooManyRefunds: until the oldest of them no longer counts.
        TooManyElsewhere: until one in progress is done.
    """
    if limit and len(ends) >= limit:
        raise TooManyRefunds(limit, ends[limit - 1] + REFUNDS_COUNT_FOR)
    if limit and len(ends) + elsewhere >= limit:
        raise TooManyElsewhere(elsewhere)


def check_pace(
    settings: Settings, *, unfinished: int, last_requested: datetime | None, at: datetime
) -> None:
    """Whether a member may have one more song now.

    Raises:
        TooManyInProgress, Cooldown
    """
    limits = settings.limits
    if unfinished >= limits.unfinished:
        raise TooManyInProgress(unfinished, limits.unfinished)
    if last_requested is None:
        return
    again = last_requested + timedelta(seconds=limits.cooldown)
    # A clock that was set back does not make anybody wait for longer than they ever would.
    if at < again <= at + timedelta(seconds=limits.cooldown):
        raise Cooldown(limits.cooldown, again)
