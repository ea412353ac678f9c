"""Whether a song may be asked for, as a server's managers have decided. Pure."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.records import SongRequest
from services.clock import relative
from services.credits.amounts import songs_text
from services.errors import AgainstTheRules, ServerNotAllowed, TooManySongs, TooManyUndelivered
from services.settings.blocked_words import unwanted
from services.settings.settings import Rules

NOTHING_SPENT = "Nothing was spent."
MAX_UNDELIVERED = 25
"""Songs of a server that could not be posted, up to 10 MiB each, before new ones are refused."""
MAX_UNDELIVERED_OF_MEMBER = 5
"""Of them one member's: a member can make songs impossible to post, and must not lock others out.
"""
REFUNDS_COUNT_FOR = timedelta(hours=1)
NOT_ALLOWED = (
    "I can't make songs in this server: my operator has not allowed it. Ask them to add the server "
    "id {server_id} to ALLOWED_SERVERS."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a song is asked for; `parent_id` is the channel that a thread is in."""

    channel_id: int
    parent_id: int | None = None


def check_server(allowed: Collection[int], server_id: int) -> None:
    """Whether the operator lets this server's members request songs; an empty list allows all.

    Raises:
        ServerNotAllowed: its id is not in the list.
    """
    if allowed and server_id not in allowed:
        raise ServerNotAllowed(f"{NOT_ALLOWED.format(server_id=server_id)} {NOTHING_SPENT}")


def check_undelivered(by_member: Counter[int], member_id: int) -> None:
    """Whether a server and a member have room for one more song that might not be postable.

    Raises:
        TooManyUndelivered: `MAX_UNDELIVERED` wait for their members or their channels, or
            `MAX_UNDELIVERED_OF_MEMBER` for this one.
    """
    own, count = by_member[member_id], by_member.total()
    if own >= MAX_UNDELIVERED_OF_MEMBER:
        raise TooManyUndelivered(
            f"{own:,} of your songs in this server could not be posted, which is the limit. Get "
            f"them with `/show`, then request a new one. {NOTHING_SPENT}"
        )
    if count >= MAX_UNDELIVERED:
        raise TooManyUndelivered(
            f"{count:,} songs of this server could not be posted, which is the limit. Their "
            "members can get them with `/show`. I also post them as soon as I may: those who "
            "manage this server can give me View Channel, Send Messages, Embed Links, Attach Files "
            f"and Read Message History in their channels. {NOTHING_SPENT}"
        )


def check_member(rules: Rules, place: Place, *, at: datetime) -> None:
    """Whether somebody may ask for any song here.

    Raises:
        AgainstTheRules: songs are paused, the member is blocked, or it is the wrong channel.
    """
    if rules.pause is not None:
        why = f": {rules.pause}" if rules.pause else ""
        raise AgainstTheRules(
            f"Those who manage this server have paused new songs{why}. {NOTHING_SPENT}"
        )
    if rules.block is not None and rules.block.holds(at):
        until = f" until {relative(rules.block.until)}" if rules.block.until else ""
        raise AgainstTheRules(
            f"You can't make songs in this server{until}: {rules.block.reason}. {NOTHING_SPENT}"
        )
    if rules.channels and not {place.channel_id, place.parent_id} & set(rules.channels):
        where = ", ".join(f"<#{channel}>" for channel in rules.channels[:10])
        raise AgainstTheRules(f"Songs are made in {where} here. {NOTHING_SPENT}")


def check_size(rules: Rules, seconds: int, steps: int) -> None:
    """Whether a song of this size may be asked for.

    Raises:
        AgainstTheRules: it is longer, or takes more steps, than is allowed here.
    """
    for asked, most, what in (
        (seconds, rules.limits.seconds, "`seconds`"),
        (steps, rules.limits.steps, "`steps`"),
    ):
        if asked > most:
            raise AgainstTheRules(
                f"At most {most:,} {what} are allowed in this server: please ask for less. "
                f"{NOTHING_SPENT}"
            )


def check_words(rules: Rules, request: SongRequest) -> None:
    """Whether genres and lyrics go without the words that are not wanted here.

    Raises:
        AgainstTheRules: they don't; it names the word.
    """
    word = unwanted(rules.words, request.genres, request.lyrics) if rules.words else None
    if word is not None:
        raise AgainstTheRules(
            f"\N{LEFT DOUBLE QUOTATION MARK}{word}\N{RIGHT DOUBLE QUOTATION MARK} is not wanted in "
            f"genres and lyrics in this server: please leave it out. {NOTHING_SPENT}"
        )


def check_refunds(ends: Sequence[datetime], limit: int, *, elsewhere: int) -> None:
    """Whether a member has had fewer than `limit` songs refunded by choice in `REFUNDS_COUNT_FOR`.

    `ends`: when those that still count were over, newest first, at most `limit`. `elsewhere`: songs
    in progress in other servers, which count as if they were refunded too: each server's own limit
    of songs in progress knows nothing of the others.

    Raises:
        TooManySongs: they have to wait until the oldest of them counts no more, or until one in
            progress is done.
    """
    if limit and len(ends) >= limit:
        raise TooManySongs(
            f"In the last hour you cancelled {songs_text(limit)}, or they failed because of what "
            "you requested. That is the limit. You can request a song again "
            f"{relative(ends[limit - 1] + REFUNDS_COUNT_FOR)}. {NOTHING_SPENT}"
        )
    if limit and len(ends) + elsewhere >= limit:
        raise TooManySongs(
            f"You have {songs_text(elsewhere)} in progress in other servers, which leaves no room "
            f"for one here. Try again when one of them is done. {NOTHING_SPENT}"
        )


def check_pace(
    rules: Rules, *, unfinished: int, last_requested: datetime | None, at: datetime
) -> None:
    """Whether a member may have one more song now.

    Raises:
        TooManySongs: too many are under way, or the last was asked for too short a time ago.
    """
    limits = rules.limits
    if unfinished >= limits.unfinished:
        raise TooManySongs(
            f"You already have {songs_text(unfinished)} in progress here, and the limit is "
            f"{limits.unfinished:,}. Wait until one is done, or cancel one in `/queue`."
        )
    if last_requested is None:
        return
    again = last_requested + timedelta(seconds=limits.cooldown)
    # A clock that was set back does not make anybody wait for longer than they ever would.
    if at < again <= at + timedelta(seconds=limits.cooldown):
        raise TooManySongs(
            f"Members can request one song every {limits.cooldown:,} s here. Try again "
            f"{relative(again)}. {NOTHING_SPENT}"
        )
