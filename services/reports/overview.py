"""Usage of all servers, and undelivered songs, for the operator."""

from collections.abc import Sequence
from dataclasses import dataclass

from db import budgets, servers, songs
from db.database import Database
from db.records import ServerCount, Tally, Undelivered
from services.calendar import Period
from services.clock import Clock
from services.credits.budgets import utc_day
from services.settings.catalogue import BUDGET
from services.settings.reader import SettingsReader


@dataclass(frozen=True, slots=True)
class ServerUse:
    """A server's use: submits of the running day (UTC), credits of its current period."""

    server: ServerCount
    today: Tally
    used: int
    budget: int | None
    period: Period


class Overview:
    """Reads the usage of all servers."""

    def __init__(
        self, database: Database, settings_reader: SettingsReader, *, clock: Clock
    ) -> None:
        self._database = database
        self._settings_reader = settings_reader
        self._clock = clock

    async def servers(self) -> list[ServerUse]:
        """Return every server, also those that the bot left; the busiest of today first."""
        found = await servers.all_counted(self._database.reader)
        uses = [await self._use(server) for server in found]
        return sorted(
            uses,
            key=lambda u: (-u.today.credits, -u.used, -u.server.songs, u.server.server_id),
        )

    async def undelivered(self) -> list[Undelivered]:
        """Return the undelivered songs of all servers by reason."""
        return await songs.undelivered_by_reason(self._database.reader)

    async def _use(self, server: ServerCount) -> ServerUse:
        reader, now = self._database.reader, self._clock()
        settings = await self._settings_reader.read(reader, server.server_id)
        period = settings.timeline.period(now)
        day, _ = utc_day(now)
        return ServerUse(
            server,
            today=await budgets.submitted(reader, server.server_id, day),
            used=await budgets.used(reader, server.server_id, period.start),
            budget=settings[BUDGET],
            period=period,
        )


def as_table(uses: Sequence[ServerUse]) -> str:
    """Format a heading and a line for each server, for a terminal."""
    head = ("server", "name", "members", "songs", "submitted today", "spent in its period", "")
    lines = [head, *map(_line, uses)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_lines(undelivered: Sequence[Undelivered]) -> str:
    """Format the number of undelivered songs and a line for each reason, for a terminal."""
    total = sum(each.songs for each in undelivered)
    lines = [
        f"  {each.songs:,} since {each.oldest:%Y-%m-%d %H:%M} UTC: {each.reason}"
        for each in undelivered
    ]
    return "\n".join([f"Could not be posted yet: {total:,}", *lines])


def _line(use: ServerUse) -> tuple[str, ...]:
    server, today = use.server, use.today
    of_budget = "" if use.budget is None else f" of {use.budget:,}"
    name = "".join(c if c.isprintable() else " " for c in server.name or "")
    return (
        str(server.server_id),
        name or "(not named yet)",
        f"{server.members:,}",
        f"{server.songs:,}",
        f"{today.songs:,} songs, {today.credits:,} credits",
        f"{use.used:,}{of_budget} until {use.period.end:%Y-%m-%d %H:%M} UTC",
        f"left {server.left_at:%Y-%m-%d}" if server.left_at else "",
    )
