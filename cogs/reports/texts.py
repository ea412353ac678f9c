"""Texts about usage and exports."""

from datetime import date

from cogs.client.texts import counted, refusal_text
from services.reports.export import DaysReversed

EXPORT_RUNNING = "An export of this server is already running. Wait until it is done."
EXPORT_TOO_LONG = "That takes longer than Discord waits for an answer. Export fewer days at once."
MORE_FILES = "More files:"


@refusal_text.register
def _(refusal: DaysReversed) -> str:
    return f"The first day, {refusal.first}, is after the last, {refusal.last}. Swap them."


def not_yet(first: date, *, today: date) -> str:
    """Return the refusal of an export that begins in the future."""
    return f"{first} is in the future. Start with today, `{today}`, or an earlier day."


def unreadable_day(today: date) -> str:
    """Return the refusal of a day that can't be read."""
    return f"Write a day as year-month-day, like `{today}`."


def export_done(rows: int, days: str, *, compressed: bool) -> str:
    """Return what comes with the files of an export."""
    if not rows:
        return f"No credits were added or spent {days}."
    entries = "1 entry" if rows == 1 else f"{rows:,} entries"
    text = f"{entries} {days}. Times in the files are in UTC."
    if compressed:
        text += " The files are compressed with gzip. Programs like 7-Zip can open them."
    return text


def usage_summary(credits: int, songs: int, zone: str) -> str:
    """Return the first lines under the picture of a server's usage."""
    if not songs:
        return "No credits were spent. Failed and cancelled songs don't count."
    return (
        f"**{counted(credits, 'credit')}** in {counted(songs, 'song')}. Refunded songs don't "
        "count. A song with several genres counts in full for each of them. Days are counted in "
        f"{zone}."
    )
