"""The budgets: a server's own, which its managers set, and the operator's.

A server's counts what its members hold and have spent in a period of the server's, less refunds.
The operator's count what they pay for: every submit that was, or may have been, accepted, by days
in UTC; refunds change nothing there.

The methods that take a connection are for use inside one transaction of their caller.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from db import budgets, songs
from db.connection import Connection
from db.database import Database
from db.records import OperatorBudget, Song, Tally, to_ms
from services.amounts import MAX_BUDGET
from services.calendar import Period
from services.clock import Clock
from services.errors import BudgetExceeded, OutOfRange
from services.settings.catalogue import BUDGET
from services.settings.changelog import Changelog, as_json
from services.settings.reader import Settings, SettingsReader

WARNINGS = (100, 80)
"""Percent of a server's budget at which its managers are notified, once a period each."""


class ServerBudget:
    """A server's own budget, for a period."""

    def __init__(
        self, database: Database, settings_reader: SettingsReader, changelog: Changelog
    ) -> None:
        self._database = database
        self._settings_reader = settings_reader
        self._changelog = changelog

    async def used(self, server_id: int, period: Period) -> int:
        """Return the credits counted in a period."""
        return await budgets.used(self._database.reader, server_id, period.start)

    async def refused(self, reached: "ServerBudgetExceeded") -> None:
        """Notify the managers that the budget is reached, since it refused a song.

        Not if the budget was raised meanwhile and has room for it, or much is left for others.
        """
        song, period = reached.song, reached.period
        async with self._database.write() as connection:
            settings = await self._settings_reader.read(connection, song.server_id)
            budget = settings[BUDGET]
            if budget is None:
                return
            used = await budgets.used(connection, song.server_id, period.start)
            # Below the first warning, only this song was too expensive.
            nearly = used * 100 >= budget * min(WARNINGS)
            if nearly and used + song.price > budget:
                await self._warn(connection, song.server_id, period, budget, used, percent=100)
        self._changelog.notify()

    async def count(
        self, connection: Connection, song: Song, settings: Settings, period: Period
    ) -> bool:
        """Count a song's price inside a transaction. True if the caller has to announce a warning.

        Raises:
            ServerBudgetExceeded: it would exceed the budget.
        """
        budget = settings[BUDGET]
        used = await budgets.use(
            connection, song.server_id, period.start, credits=song.price, budget=budget
        )
        if used is None:
            raise ServerBudgetExceeded(song, period)
        if not budget:
            return False
        percent = next((p for p in WARNINGS if used * 100 >= budget * p), None)
        return percent is not None and await self._warn(
            connection, song.server_id, period, budget, used, percent=percent
        )

    async def _warn(
        self,
        connection: Connection,
        server_id: int,
        period: Period,
        budget: int,
        used: int,
        *,
        percent: int,
    ) -> bool:
        """Record a warning. False if it, or a higher one, was recorded in this period."""
        if not await budgets.mark_warned(connection, server_id, period.start, percent=percent):
            return False
        facts = {"percent": percent, "used": used, "budget": budget, "until": to_ms(period.end)}
        await self._changelog.record(connection, server_id, "warning", after=as_json(facts))
        return True


@dataclass(eq=False)
class ServerBudgetExceeded(BudgetExceeded):
    """A server's own budget has no room for this song in the running period."""

    song: Song
    period: Period


@dataclass(eq=False)
class OperatorBudgetExceeded(BudgetExceeded):
    """A budget of the operator has no room for another song today."""

    scope: str
    """`all`, `each` or `server`: see `OperatorBudget`."""
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class DefaultBudgets:
    """Songs a day (UTC) where `/operator` has set nothing for that scope; None is no limit."""

    all_servers: int | None = None
    each_server: int | None = None


class OperatorBudgets:
    """The operator's budgets: for each server, for one, for all together; by days in UTC.

    One that was set replaces the default of its scope, also where it sets no figure at all.
    """

    def __init__(
        self, database: Database, *, clock: Clock, defaults: DefaultBudgets = DefaultBudgets()
    ) -> None:
        self._database = database
        self._clock = clock
        self.defaults = defaults
        by_scope = {"all": defaults.all_servers, "each": defaults.each_server}
        self._by_default = [
            OperatorBudget(scope, 0, credits=None, songs=songs)
            for scope, songs in by_scope.items()
            if songs is not None
        ]

    async def in_force(self) -> list[OperatorBudget]:
        """Return every budget that counts, defaults first where nothing else was set."""
        found = await budgets.operators(self._database.reader)
        scopes = {budget.scope for budget in found}
        return [budget for budget in self._by_default if budget.scope not in scopes] + found

    async def submitted_today(self) -> Tally:
        """Return what all servers submitted today."""
        day, _ = utc_day(self._clock())
        return await budgets.submitted(self._database.reader, budgets.ALL, day)

    async def set(self, budget: OperatorBudget) -> None:
        """Set a budget. One for a `server` goes before that for `each`.

        Raises:
            OutOfRange: a figure is not between 0 and `MAX_BUDGET`.
        """
        for figure in (budget.credits, budget.songs):
            if figure is not None and not 0 <= figure <= MAX_BUDGET:
                raise OutOfRange("budget", 0, MAX_BUDGET)
        async with self._database.write() as connection:
            await budgets.set_operators(connection, budget)

    async def drop(self, scope: str, server_id: int) -> None:
        """Remove a budget: for a `server` that for `each` counts then, otherwise the default."""
        async with self._database.write() as connection:
            await budgets.drop_operators(connection, scope, server_id)

    # --- inside the transaction of a caller -----------------------------------------------------

    async def check(self, connection: Connection, server_id: int, price: int) -> None:
        """Check that today has room for one more song after those of its server that wait.

        Songs of other servers that only wait use up nothing: they may be cancelled. Whose submit
        comes first is decided when it is made.

        Raises:
            OperatorBudgetExceeded: it has none.
        """
        day, tomorrow = utc_day(self._clock())
        scope = await self._exceeded(connection, server_id, price, day=day, after_waiting=True)
        if scope is not None:
            raise OperatorBudgetExceeded(scope, tomorrow)

    async def next_waiting(self, connection: Connection) -> Song | None:
        """Return the song to start next, of those that the budgets have room for."""
        day, _ = utc_day(self._clock())
        return await songs.next_waiting(
            connection,
            day=day,
            all_songs=self.defaults.all_servers,
            each_songs=self.defaults.each_server,
        )

    async def mark_submitting(self, connection: Connection, song: Song) -> bool:
        """Count a submit that is about to be made. False where none may be made."""
        now, server_id = self._clock(), song.server_id
        day, _ = utc_day(now)
        if await self._exceeded(connection, server_id, song.price, day=day) is not None:
            return False
        if not await songs.mark_submitting(connection, song.song_id, at=now):
            return False
        await budgets.count_submit(connection, server_id, day, songs=1, credits=song.price)
        return True

    async def unmark_submitting(self, connection: Connection, song: Song) -> bool:
        """Stop counting a submit that was not accepted; its song waits again."""
        counted_at = await songs.unmark_submitting(connection, song.song_id, at=self._clock())
        if counted_at is None:
            return False
        await self.uncount(connection, song, counted_at)
        return True

    async def uncount(self, connection: Connection, song: Song, counted_at: datetime) -> None:
        """Stop counting a submit that was not accepted; its song ends."""
        day, _ = utc_day(counted_at)
        await budgets.count_submit(connection, song.server_id, day, songs=-1, credits=-song.price)

    async def _exceeded(
        self,
        connection: Connection,
        server_id: int,
        price: int,
        *,
        day: datetime,
        after_waiting: bool = False,
    ) -> str | None:
        """Return the scope of a budget that has no room for one more song on that day.

        `after_waiting`: count the waiting songs of its server as well.
        """
        limits = {budget.scope: budget for budget in self._by_default}
        limits |= {b.scope: b for b in await budgets.operators(connection, server_id)}
        if "server" in limits:
            limits.pop("each", None)
        ahead = Tally(0, 0)
        if limits and after_waiting:
            ahead = await budgets.waiting_of_server(connection, server_id)
        more = Tally(ahead.songs + 1, ahead.credits + price)
        for scope, limit in limits.items():
            counted = budgets.ALL if scope == "all" else server_id
            used = await budgets.submitted(connection, counted, day)
            if limit.credits is not None and used.credits + more.credits > limit.credits:
                return scope
            if limit.songs is not None and used.songs + more.songs > limit.songs:
                return scope
        return None


def utc_day(moment: datetime) -> tuple[datetime, datetime]:
    """Return begin and end of the day, in UTC, that `moment` is in."""
    start = datetime.combine(moment.date(), time(), tzinfo=moment.tzinfo)
    return start, start + timedelta(days=1)
