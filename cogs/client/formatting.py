"""Parts of messages that every subject uses: names, times, links."""

import re
from datetime import datetime

import discord

from services.calendar import Calendar, Every
from services.text import clean

BLURPLE = discord.Colour.blurple()
FIELD = 1_024
"""Characters of an embed's field (Discord, "Embed Limits")."""
MARKDOWN = re.compile(r"^(\s*\d*)([#>+.-])|[\\*_~`|\[\]]", re.MULTILINE)
"""Marks that mean something at the beginning of a line, and those that do everywhere."""
_EVERY = {
    Every.DAY: "Every day",
    Every.WEEK: "Every week, on Monday",
    Every.MONTH: "Every month, on the 1st",
}


def plain(text: str, longest: int = 256) -> str:
    """A person's text as it stands: it pings nobody, links nowhere, and is no Markdown.

    At most `longest` characters of it, each of which may come to be two.
    """
    text = clean(text).strip()
    if len(text) > longest:
        text = text[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    # discord.py's escape_markdown leaves what stands inside of `[...](...)` as it is.
    text = MARKDOWN.sub(lambda found: f"{found[1] or ''}\\{found[2] or found[0]}", text)
    # A zero-width space takes the meaning from mentions (<@1>, @everyone), times, commands, links.
    return re.sub(r"[<@]|:(?=//)", "\\g<0>\N{ZERO WIDTH SPACE}", text)


def ago(moment: datetime) -> str:
    """A time that counts by itself, in everyone's own language and zone."""
    return f"<t:{int(moment.timestamp())}:R>"


def message_address(server_id: int, channel_id: int, message_id: int) -> str:
    """Where a message is."""
    return f"https://discord.com/channels/{server_id}/{channel_id}/{message_id}"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, `11th`."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number:,}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


def shown(moment: datetime) -> str:
    """A date and an hour, in everyone's own language and zone (Discord, "Message Formatting")."""
    return f"<t:{int(moment.timestamp())}:f>"


def calendar_text(calendar: Calendar) -> str:
    """When a calendar's periods begin: `Every day at 00:00, UTC`."""
    return f"{_EVERY[calendar.every]} at {calendar.hour:02}:00, {calendar.zone}"


def each_of(role_id: int, server_id: int) -> str:
    """The members with a role. That of @everyone has its server's id (Discord, "Role Object")."""
    return "each member" if role_id == server_id else f"each member with <@&{role_id}>"
