"""/quota usage as a picture and as text, /quota export as files."""

import asyncio
import contextlib
import io
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import Self
from zoneinfo import ZoneInfo

import discord
from discord import app_commands

from cogs.client.answers import TRANSIENT, wrap_parse_errors
from cogs.client.quota import QuotaCommands, acknowledged_manager
from cogs.client.texts import BLURPLE, plain
from cogs.reports import texts
from services.errors import InvalidRequest, NotPossible
from services.reports.export import LIMIT, DaysReversed, Exported
from services.reports.usage import UsageReport
from services.reports.usage_picture import CannotDraw, UsagePicture

log = logging.getLogger(__name__)

DAYS = 30
NAMES_WITHIN = 2.0
"""Seconds for getting the names of members in the picture."""
ALT_TEXT = 1_024
"""Characters of a file's description (Discord, "Attachment Object")."""
GENRE_SHOWN = 40
FILES = 10
"""Files of one message (Discord, "Create Message")."""
EXPORTS_AT_ONCE = 2
ANSWERED_WITHIN = 13 * 60.0
"""Seconds; an interaction can be answered for 15 minutes (Discord, "Interaction Callback")."""
BEGINNING = date(2015, 1, 1)
"""The year when Discord began: no entry is older."""
DOT = "\N{MIDDLE DOT}"


class ExportTurns:
    """Lets each server run one export at a time, and all servers `at_once`; others wait."""

    def __init__(self, at_once: int = EXPORTS_AT_ONCE) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._servers: set[int] = set()

    @contextlib.asynccontextmanager
    async def turn(self, server_id: int) -> AsyncIterator[None]:
        """Wait for this server's turn, which lasts as long as the block.

        Raises:
            NotPossible: an export of this server is in progress.
        """
        if server_id in self._servers:
            raise NotPossible(texts.EXPORT_RUNNING)
        self._servers.add(server_id)
        try:
            async with self._room:
                yield
        finally:
            self._servers.discard(server_id)


class Reports(QuotaCommands):
    """The part of /quota that reports usage."""

    @cached_property
    def _exporting(self) -> ExportTurns:
        return ExportTurns()

    @app_commands.command()
    async def usage(self, interaction: discord.Interaction) -> None:
        """See the credits of the last 30 days by day, by member and by genre."""
        by = await acknowledged_manager(interaction)
        settings = await self.server_settings.read(by.server_id)
        zone = settings.timeline.at(self.clock()).zone
        report = await self.usage_reports.report(by.server_id, days=DAYS, zone=zone)
        picture = await self._picture(interaction.guild, report)
        await interaction.followup.send(
            embed=usage_card(report, zone=zone),
            files=[] if picture is None else [picture],
            ephemeral=True,
        )

    async def _picture(
        self, guild: discord.Guild | None, report: UsageReport
    ) -> discord.File | None:
        """Draw the report; None if nothing was spent or it can't be drawn."""
        if not report.songs or guild is None:
            return None
        try:
            names = await names_of(guild, [member_id for member_id, _ in report.members])
            picture = UsagePicture(
                title=f"Last {DAYS} days in {guild.name}",
                days=report.days,
                members=[(names[member_id], spent) for member_id, spent in report.members],
                genres=report.genres,
            )
            png = await self.artist.draw(picture)
        except Exception as error:
            # The text has the same figures, so the reply does not need the picture.
            trace = None if isinstance(error, CannotDraw) else error
            log.warning("usage of server %d was not drawn: %s", guild.id, error, exc_info=trace)
            return None
        return discord.File(io.BytesIO(png), "usage.png", description=alt_text(picture))

    @app_commands.command()
    @app_commands.describe(
        since="The first day, as YYYY-MM-DD (29 days before the last)",
        until="The last day, as YYYY-MM-DD (today)",
    )
    async def export(
        self,
        interaction: discord.Interaction,
        since: str | None = None,
        until: str | None = None,
    ) -> None:
        """Get every entry of the ledger, for a spreadsheet (CSV)."""
        by = await acknowledged_manager(interaction)
        settings = await self.server_settings.read(by.server_id)
        zone = ZoneInfo(settings.timeline.at(self.clock()).zone)
        span = Span.parse(since, until, today=self.clock().astimezone(zone).date())
        begin, end = span.moments(zone)
        limit = interaction.filesize_limit or LIMIT
        async with (
            _in_time(),
            self._exporting.turn(by.server_id),
            self.exports.write(by.server_id, since=begin, until=end, limit=limit) as exported,
        ):
            await _hand_over(interaction, exported, span, zone)


# --- the usage ------------------------------------------------------------------------------------


def usage_card(report: UsageReport, *, zone: str) -> discord.Embed:
    """Return the figures of the picture as text, for those who can't see it."""
    card = discord.Embed(title=f"Usage of the last {DAYS} days", colour=BLURPLE)
    card.description = texts.usage_summary(report.credits, report.songs, zone)
    if not report.songs:
        return card
    days = [
        f"{_day(day)}: {spent:,}".replace(" ", "\N{NO-BREAK SPACE}")
        for day, spent in report.days
        if spent
    ]
    members = [f"{n}. <@{who}>: {spent:,}" for n, (who, spent) in enumerate(report.members, 1)]
    genres = [
        f"{n}. {plain(genre, GENRE_SHOWN)}: {spent:,}"
        for n, (genre, spent) in enumerate(report.genres, 1)
    ]
    card.add_field(name="By day", value=f" {DOT} ".join(days) or "nothing", inline=False)
    card.add_field(name="By member", value="\n".join(members) or "nothing")
    card.add_field(name="By genre", value="\n".join(genres) or "nothing")
    return card


def alt_text(picture: UsagePicture) -> str:
    """Describe the picture for a screen reader, in at most `ALT_TEXT` characters."""
    (first, _), (last, _) = picture.days[0], picture.days[-1]
    top, most = max(picture.days, key=lambda day: day[1])
    members = ", ".join(f"{name} {spent:,}" for name, spent in picture.members)
    genres = ", ".join(f"{genre} {spent:,}" for genre, spent in picture.genres)
    text = (
        f"Three bar charts of credits. {picture.title}, by day from {_day(first)} to {_day(last)}: "
        f"most on {_day(top)}, {most:,}. By member: {members}. By genre: {genres}."
    )
    return text if len(text) <= ALT_TEXT else text[: ALT_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


async def names_of(guild: discord.Guild, member_ids: Sequence[int]) -> Mapping[int, str]:
    """Return members' names, within `NAMES_WITHIN`; a number for those who can't be found."""

    async def name(member_id: int) -> str:
        try:
            async with asyncio.timeout(NAMES_WITHIN):
                with wrap_parse_errors():
                    return (await guild.fetch_member(member_id)).display_name
        except (*TRANSIENT, discord.HTTPException):
            # The last digits: the first ones are the account's age, and many share them.
            return f"Member \N{HORIZONTAL ELLIPSIS}{str(member_id)[-4:]}"

    return dict(zip(member_ids, await asyncio.gather(*map(name, member_ids)), strict=True))


# --- the export -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """From a first day to a last one, both included."""

    first: date
    last: date

    @classmethod
    def parse(cls, since: str | None, until: str | None, *, today: date) -> Self:
        """Parse the days as typed; the default is the last `DAYS` days including today.

        Raises:
            InvalidRequest: not a date, in the future, or in the wrong order.
        """
        last = max(_parsed(until, today), BEGINNING) if until else today
        first = _parsed(since, today) if since else last - timedelta(days=DAYS - 1)
        if first > today:
            raise InvalidRequest(texts.not_yet(first, today=today))
        if first > last:
            raise DaysReversed(first, last)
        return cls(max(first, BEGINNING), min(last, today))

    def moments(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return when the first day begins and the last one ends in a time zone."""
        after = self.last + timedelta(days=1)
        return datetime.combine(self.first, time(), zone), datetime.combine(after, time(), zone)


def _parsed(typed: str, today: date) -> date:
    try:
        return datetime.strptime(typed.strip(), "%Y-%m-%d").date()  # noqa: DTZ007 - only a date
    except ValueError:
        raise InvalidRequest(texts.unreadable_day(today)) from None


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Limit the block to the time in which the interaction can be answered.

    Raises:
        NotPossible: it takes longer.
    """
    try:
        async with asyncio.timeout(ANSWERED_WITHIN) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise NotPossible(texts.EXPORT_TOO_LONG) from None


async def _hand_over(
    interaction: discord.Interaction, exported: Exported, span: Span, zone: ZoneInfo
) -> None:
    """Send the files in as many messages as needed."""
    days = f"from {span.first} to {span.last} (days in {zone.key})"
    compressed = any(part.name.endswith(".gz") for part in exported.parts)
    text = texts.export_done(exported.rows, days, compressed=compressed)
    if not exported.rows:
        await interaction.followup.send(text, ephemeral=True)
        return
    for start in range(0, len(exported.parts), FILES):
        parts = exported.parts[start : start + FILES]
        files = [await asyncio.to_thread(discord.File, part.path, part.name) for part in parts]
        await interaction.followup.send(text, files=files, ephemeral=True)
        text = texts.MORE_FILES
