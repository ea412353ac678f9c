"""Texts that every subject uses: refusals, amounts, names, times, links."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial, singledispatch

import discord

from services.calendar import Calendar, Every
from services.errors import OutOfRange, Refusal, TooLong
from services.text import clean

NOTHING_SPENT = "Nothing was spent."
BLURPLE = discord.Colour.blurple()
FIELD = 1_024
"""Characters of an embed's field (Discord, "Embed Limits")."""
MARKDOWN = re.compile(r"^(\s*\d*)([#>+.-])|[\\*_~`|\[\]]", re.MULTILINE)
"""Marks that have a meaning at the beginning of a line, and those that have one everywhere."""
_EVERY = {
    Every.DAY: "Every day",
    Every.WEEK: "Every week, on Monday",
    Every.MONTH: "Every month, on the 1st",
}

# --- refusals -------------------------------------------------------------------------------------


@singledispatch
def refusal_text(refusal: Refusal) -> str:
    """Return the sentence for a refusal.

    A subject's `texts` module adds those of its services, with `register_sentences` or
    `@refusal_text.register`. A refusal that `cogs` raises brings its own sentence.
    """
    return str(refusal)


def register_sentences(sentences: Mapping[type[Refusal], str]) -> None:
    """Add sentences in which `{name}` stands for a refusal's fact; a time counts down."""
    for kind, sentence in sentences.items():
        refusal_text.register(kind, partial(_fill, sentence))


def _fill(sentence: str, refusal: Refusal) -> str:
    facts = vars(refusal).items()
    return sentence.format(**{k: ago(v) if isinstance(v, datetime) else v for k, v in facts})


register_sentences(
    {
        OutOfRange: "`{name}` must be between {low:,.12g} and {high:,.12g}.",
        TooLong: "`{name}` has {length:,} characters; the limit is {limit:,}.",
    }
)

# --- numbers, times, links ------------------------------------------------------------------------


def credits_text(amount: int) -> str:
    """Return `1 credit` or `2 credits`."""
    return counted(amount, "credit")


def songs_text(count: int) -> str:
    """Return `1 song` or `2 songs`."""
    return counted(count, "song")


def counted(count: int, noun: str) -> str:
    """Return `1 song` or `2 songs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th`, `11th`."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number:,}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


def plain(text: str, longest: int = 256) -> str:
    """Escape a person's text, so that it pings nobody, links nowhere, and is no Markdown.

    At most `longest` characters of it are left, each of which may become two.
    """
    text = clean(text).strip()
    if len(text) > longest:
        text = text[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    # discord.py's escape_markdown leaves what is inside of `[...](...)` as it is.
    text = MARKDOWN.sub(lambda found: f"{found[1] or ''}\\{found[2] or found[0]}", text)
    # A zero-width space disables mentions (<@1>, @everyone), times, commands and links.
    return re.sub(r"[<@]|:(?=//)", "\\g<0>\N{ZERO WIDTH SPACE}", text)


def ago(moment: datetime) -> str:
    """Format a time that Discord counts up or down to (Discord, "Message Formatting")."""
    return f"<t:{int(moment.timestamp())}:R>"


def shown(moment: datetime) -> str:
    """Format a date and an hour, in everyone's own language and zone."""
    return f"<t:{int(moment.timestamp())}:f>"


def message_address(server_id: int, channel_id: int, message_id: int) -> str:
    """Return a message's URL."""
    return f"https://discord.com/channels/{server_id}/{channel_id}/{message_id}"


def calendar_text(calendar: Calendar) -> str:
    """Say when a calendar's periods begin: `Every day at 00:00, UTC`."""
    return f"{_EVERY[calendar.every]} at {calendar.hour:02}:00, {calendar.zone}"


def each_of(role_id: int, server_id: int) -> str:
    """Name the members with a role. @everyone has its server's id (Discord, "Role Object")."""
    return "each member" if role_id == server_id else f"each member with <@&{role_id}>"
