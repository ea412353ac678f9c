"""Who may spend what: a model beside the real ledger, and the rules one by one."""

import asyncio
import contextlib
import itertools
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import pytest
from aiosqlite import Connection
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from db import ledger, servers, songs
from db.database import Database
from db.records import Song
from services.ending import COMPENSATE_AFTER, Ending
from services.errors import InvalidRequest, NotEnoughCredits
from services.quota.credits import (
    DEFAULT_ALLOWANCE,
    MAX_AMOUNT,
    MAX_REASON,
    Credits,
    Prices,
    credits_text,
    day_of,
)
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_held_song,
    add_song,
    database_in_memory,
    make_song,
)

T = TypeVar("T")

# --- A model --------------------------------------------------------------------------------------

Person = tuple[int, int]
PEOPLE: list[Person] = [(1, 1), (1, 2), (2, 1)]


@dataclass
class Held:
    """A song of the model, and from where its price came: source -> credits."""

    song: Song
    sources: dict[tuple[str, object], int]
    ended: bool = False
    undelivered_at: datetime | None = None


@dataclass
class Purse:
    """What the rules say that one member has."""

    used: Counter[date] = field(default_factory=Counter)
    grants: Counter[str] = field(default_factory=Counter)
    returns: dict[str, tuple[date, int]] = field(default_factory=dict)

    def free(self, allowance: int, today: date) -> int:
        live = sum(left for day, left in self.returns.values() if day == today)
        return max(0, allowance - self.used[today]) + live + sum(self.grants.values())

    def spend(self, price: int, allowance: int, today: date) -> dict[tuple[str, object], int]:
        """What expires first is spent first."""
        sources: dict[tuple[str, object], int] = {}
        part = min(price, max(0, allowance - self.used[today]))
        sources["day", today] = part
        self.used[today] += part
        for name in sorted(self.returns):
            day, left = self.returns[name]
            if day == today:
                part = min(price - sum(sources.values()), left)
                sources["return", name] = part
                self.returns[name] = (day, left - part)
        for name in sorted(self.grants):
            part = min(price - sum(sources.values()), self.grants[name])
            sources["grant", name] = part
            self.grants[name] -= part
        assert sum(sources.values()) == price
        return sources

    def take_back(self, held: Held, today: date) -> None:
        """To where it came from; what has expired, until the end of today."""
        late = 0
        for (kind, key), part in held.sources.items():
            if kind == "grant":
                self.grants[str(key)] += part
            elif kind == "day" and key == today:
                self.used[today] -= part
            elif kind == "return" and self.returns[str(key)][0] == today:
                self.returns[str(key)] = (today, self.returns[str(key)][1] + part)
            else:
                late += part
        if late:
            self.returns[f"return:{held.song.song_id}"] = (today, late)


class CreditsMachine(RuleBasedStateMachine):
    """Anything may happen in any order; the ledger and the model must agree all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.open = contextlib.AsyncExitStack()
        self.database = self.run(self.open.enter_async_context(database_in_memory()))
        self.clock = SettableClock()
        self.credits = Credits(self.database, clock=self.clock)
        self.ending = Ending(self.database, self.credits, clock=self.clock)
        self.allowances = dict.fromkeys((1, 2), DEFAULT_ALLOWANCE)
        self.purses = {person: Purse() for person in PEOPLE}
        self.songs: list[Held] = []
        self.ids = itertools.count(1)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        try:
            for person in PEOPLE:
                self.look(person)
        finally:
            self.run(self.open.aclose())
            self.runner.close()

    @property
    def today(self) -> date:
        return self.clock().date()

    def expected(self, person: Person) -> int:
        return self.purses[person].free(self.allowances[person[0]], self.today)

    @rule(person=st.sampled_from(PEOPLE))
    def look(self, person: Person) -> None:
        balance = self.run(self.credits.balance(*person))
        assert balance.free == self.expected(person)
        assert balance.free == balance.of_today + balance.granted
        assert balance.allowance == self.allowances[person[0]]
        assert balance.free == self.run(self.sums(person))[0]

    @rule(person=st.sampled_from(PEOPLE), price=st.integers(0, 12))
    def ask(self, person: Person, price: int) -> None:
        server, member = person
        song_id = next(self.ids)
        enough = self.expected(person) >= price

        async def hold() -> Song:
            song = make_song(song_id, server_id=server, member_id=member, price=price)
            async with self.database.write() as connection:
                await servers.ensure_server(connection, server)
                await servers.ensure_member(connection, server, member)
                await songs.insert(connection, song)
                await self.credits.hold(connection, song)
            return song

        if not enough:
            with pytest.raises(NotEnoughCredits):
                self.run(hold())
            assert self.run(songs.get(self.database.reader, song_id)) is None
            return
        song = self.run(hold())
        sources = self.purses[person].spend(price, self.allowances[server], self.today)
        self.songs.append(Held(song, sources))

    def unfinished(self) -> list[Held]:
        return [held for held in self.songs if not held.ended]

    @precondition(lambda self: self.unfinished())
    @rule(
        data=st.data(),
        how=st.sampled_from(["post", "undelivered", "fail", "cancel"]),
        hours=st.sampled_from([0, 0, 3, 24]),
    )
    def end(self, data: st.DataObject, how: str, hours: int) -> None:
        self.clock.advance(hours=hours)
        held = data.draw(st.sampled_from(self.unfinished()))
        person = (held.song.server_id, held.song.member_id)
        if how in ("post", "undelivered"):
            self.run(self.bring_to_posting(held.song))
        assert self.run(self.finish(held, how))
        assert not self.run(self.finish(held, "fail"))
        held.ended = True
        if how in ("fail", "cancel"):
            self.purses[person].take_back(held, self.today)
        elif how == "undelivered":
            held.undelivered_at = self.clock()

    async def finish(self, held: Held, how: str) -> bool:
        if how == "post":
            return await self.ending.complete(held.song, post_id=9)
        if how == "undelivered":
            return await self.ending.complete(held.song, undelivered="No.")
        if how == "cancel":
            return await self.ending.cancel(held.song)
        return await self.ending.fail(held.song, "No.")

    async def bring_to_posting(self, song: Song) -> None:
        async with self.database.write() as connection:
            await songs.mark_submitting(connection, song.song_id)
            await songs.mark_downloaded(
                connection, song.song_id, at=self.clock(), run_low=1, run_high=2
            )
            await songs.mark_fitted(connection, song.song_id, file="x.mp3")
            await songs.mark_posting(connection, song.song_id, at=self.clock())

    @rule()
    def compensate(self) -> None:
        due = [
            held
            for held in self.songs
            if held.undelivered_at and self.clock() - held.undelivered_at > COMPENSATE_AFTER
        ]
        # The oldest first: each may become the source of nothing else meanwhile.
        found = self.run(self.ending.compensate_overdue())
        assert {song.song_id for song in found} == {held.song.song_id for held in due}
        for held in due:
            held.undelivered_at = None
            self.purses[held.song.server_id, held.song.member_id].take_back(held, self.today)

    @rule(person=st.sampled_from(PEOPLE), amount=st.integers(1, 9), times=st.integers(1, 2))
    def grant(self, person: Person, amount: int, times: int) -> None:
        grant_id = next(self.ids)
        server, member = person
        self.purses[person].grants[f"grant:{grant_id}"] += amount
        for _ in range(times):
            balance = self.run(
                self.credits.grant(
                    grant_id=grant_id,
                    server_id=server,
                    member_id=member,
                    actor_id=5,
                    amount=amount,
                    reason="A good song.",
                )
            )
            assert balance.free == self.expected(person)

    @rule(server=st.sampled_from([1, 2]), allowance=st.integers(0, 20))
    def set_allowance(self, server: int, allowance: int) -> None:
        before = self.run(self.credits.set_allowance(server, allowance))
        assert before == self.allowances[server]
        self.allowances[server] = allowance

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours=hours)

    async def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return list(await self.database.reader.execute_fetchall(sql, values))

    async def sums(self, person: Person) -> tuple[int, int]:
        """A member's sum of the ledger, and of what their lots hold, expired ones included."""
        (in_ledger,) = await self.rows(
            "SELECT coalesce(sum(amount), 0) FROM ledger WHERE server_id = ? AND member_id = ?",
            *person,
        )
        (in_lots,) = await self.rows(
            "SELECT coalesce(sum(remaining), 0) FROM lots WHERE server_id = ? AND member_id = ?",
            *person,
        )
        return in_ledger[0], in_lots[0]

    @invariant()
    def the_lots_are_the_ledger(self) -> None:
        for person in PEOPLE:
            in_ledger, in_lots = self.run(self.sums(person))
            assert in_ledger == in_lots >= 0

    @invariant()
    def each_sum_is_that_of_its_parts(self) -> None:
        assert not self.run(
            self.rows(
                """
                SELECT lot_id FROM lots LEFT JOIN ledger_parts USING (lot_id)
                GROUP BY lot_id HAVING remaining <> coalesce(sum(ledger_parts.amount), 0)
                """
            )
        )
        assert not self.run(
            self.rows(
                """
                SELECT entry_id FROM ledger LEFT JOIN ledger_parts USING (entry_id)
                GROUP BY entry_id HAVING ledger.amount <> coalesce(sum(ledger_parts.amount), 0)
                """
            )
        )

    @invariant()
    def what_is_held_is_the_price_of_what_is_unfinished(self) -> None:
        for server, member in PEOPLE:
            mine = [
                held.song.price
                for held in self.unfinished()
                if (held.song.server_id, held.song.member_id) == (server, member)
            ]
            assert self.run(self.credits.held(server, member)) == sum(mine)

    @invariant()
    def every_song_has_one_hold_and_one_end(self) -> None:
        rows = self.run(
            self.rows(
                """
                SELECT song_id, sum(kind = 'hold'), sum(kind IN ('settle', 'refund')),
                       sum(kind = 'compensate')
                FROM ledger WHERE song_id IS NOT NULL GROUP BY song_id ORDER BY song_id
                """
            )
        )
        assert [tuple(row)[:3] for row in rows] == [
            (held.song.song_id, 1, int(held.ended)) for held in self.songs
        ]
        assert all(row[3] <= 1 for row in rows)


TestCreditsMachine = CreditsMachine.TestCase
TestCreditsMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)

# --- The rules, one by one ------------------------------------------------------------------------

TOMORROW = datetime(2026, 3, 15, tzinfo=UTC)


async def free(credits: Credits) -> int:
    return (await credits.balance(SERVER, MEMBER)).free


async def refund(database: Database, credits: Credits, song: Song) -> None:
    async with database.write() as connection:
        await credits.refund(connection, song)


async def grant(credits: Credits, grant_id: int = 5, **changes: Any) -> int:
    values: dict[str, Any] = {
        "grant_id": grant_id,
        "server_id": SERVER,
        "member_id": MEMBER,
        "actor_id": 7,
        "amount": 4,
        "reason": "A good song.",
    }
    return (await credits.grant(**values | changes)).free


@pytest.mark.parametrize(
    ("seconds", "steps", "price"),
    [(10, 10, 1), (30, 50, 1), (31, 50, 2), (60, 50, 2), (60, 51, 4), (240, 150, 24)],
)
def test_a_price_counts_each_begun_part(seconds: int, steps: int, price: int) -> None:
    assert Prices().of(seconds, steps) == price


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0 credits"), (1, "1 credit"), (1_000, "1,000 credits")]
)
def test_credits_are_written_with_their_number(amount: int, text: str) -> None:
    assert credits_text(amount) == text


@pytest.mark.parametrize(
    "moment", [NOON, NOON.replace(hour=0), TOMORROW - timedelta(microseconds=1)]
)
def test_a_day_is_one_in_utc(moment: datetime) -> None:
    assert day_of(moment) == (NOON.replace(hour=0), TOMORROW)


async def test_a_look_grants_the_day_once_and_a_new_day_grants_anew(
    credits: Credits, clock: SettableClock
) -> None:
    balance = await credits.balance(SERVER, MEMBER)
    assert (balance.free, balance.of_today, balance.granted) == (10, 10, 0)
    assert balance.refills_at == TOMORROW
    assert await credits.balance(SERVER, MEMBER) == balance
    clock.now = TOMORROW
    assert await free(credits) == 10
    kinds = [entry.kind for entry in await credits.latest(SERVER, MEMBER, limit=9)]
    assert sorted(kinds) == ["allowance", "allowance", "expire"]


async def test_raising_the_allowance_gives_the_difference_at_once(
    database: Database, credits: Credits
) -> None:
    await add_held_song(database, credits, price=4)
    assert await credits.set_allowance(SERVER, 15) == 10
    assert await free(credits) == 11
    assert await credits.allowance(SERVER) == 15


async def test_lowering_it_takes_only_what_is_free(database: Database, credits: Credits) -> None:
    song = await add_held_song(database, credits, price=4)
    await credits.set_allowance(SERVER, 3)
    assert await free(credits) == 0
    await refund(database, credits, song)
    assert await free(credits) == 3


@pytest.mark.parametrize("looked_at", list(itertools.product([False, True], repeat=3)))
async def test_what_is_free_depends_on_the_rule_alone_not_on_who_looked_when(
    database: Database, credits: Credits, looked_at: tuple[bool, ...]
) -> None:
    await add_held_song(database, credits, price=4)
    for allowance, look in zip((2, 30, 9), looked_at, strict=True):
        await credits.set_allowance(SERVER, allowance)
        if look:
            await free(credits)
    assert await free(credits) == 5


@pytest.mark.parametrize("allowance", [-1, MAX_AMOUNT + 1])
async def test_an_allowance_out_of_bounds_is_refused(credits: Credits, allowance: int) -> None:
    with pytest.raises(InvalidRequest, match="1,000,000"):
        await credits.set_allowance(SERVER, allowance)
    assert await credits.allowance(SERVER) == DEFAULT_ALLOWANCE


async def test_no_allowance_is_an_allowance(credits: Credits) -> None:
    await credits.set_allowance(SERVER, 0)
    assert await free(credits) == 0
    assert await credits.allowance(SERVER) == 0


async def test_a_grant_delivered_twice_is_one_and_lasts(
    credits: Credits, clock: SettableClock
) -> None:
    assert await grant(credits) == 14
    assert await grant(credits) == 14
    assert await grant(credits, grant_id=6) == 18
    clock.advance(days=400)
    balance = await credits.balance(SERVER, MEMBER)
    assert (balance.of_today, balance.granted) == (10, 8)
    entry = next(e for e in await credits.latest(SERVER, MEMBER, limit=9) if e.kind == "grant")
    assert (entry.amount, entry.actor_id, entry.reason) == (4, 7, "A good song.")


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"amount": -5},
        {"amount": MAX_AMOUNT + 1},
        {"reason": " \n "},
        {"reason": "x" * (MAX_REASON + 1)},
    ],
)
async def test_a_grant_out_of_bounds_is_refused(credits: Credits, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await grant(credits, **wrong)
    assert await free(credits) == 10


async def test_what_expires_first_is_spent_first(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    await grant(credits)
    await add_held_song(database, credits, price=11)
    balance = await credits.balance(SERVER, MEMBER)
    assert (balance.of_today, balance.granted) == (0, 3)


async def test_too_few_says_so_and_when_they_refill_and_spends_nothing(
    database: Database, credits: Credits
) -> None:
    song = await add_song(database, price=11)
    with pytest.raises(NotEnoughCredits) as refused:
        async with database.write() as connection:
            await credits.hold(connection, song)
    assert str(refused.value) == (
        "This song costs 11 credits and you have 10. 10 a day are yours here; they refill "
        f"<t:{int(TOMORROW.timestamp())}:R>."
    )
    assert await free(credits) == 10


async def test_a_refund_returns_to_where_the_credits_came_from(
    database: Database, credits: Credits
) -> None:
    await grant(credits)
    song = await add_held_song(database, credits, price=11)
    await refund(database, credits, song)
    balance = await credits.balance(SERVER, MEMBER)
    assert (balance.of_today, balance.granted) == (10, 4)


async def test_a_refund_after_the_day_lasts_until_the_end_of_the_running_one(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    await grant(credits)
    song = await add_held_song(database, credits, price=11)
    clock.now = TOMORROW
    await refund(database, credits, song)
    balance = await credits.balance(SERVER, MEMBER)
    assert (balance.of_today, balance.granted, balance.free) == (10, 14, 24)
    clock.advance(days=1)
    balance = await credits.balance(SERVER, MEMBER)
    assert (balance.of_today, balance.granted) == (10, 4)


async def test_a_late_refund_can_be_spent_and_refunded_itself(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    first = await add_held_song(database, credits, 1, price=10)
    clock.now = TOMORROW
    await refund(database, credits, first)
    second = await add_held_song(database, credits, 2, price=15)
    assert await free(credits) == 5
    await refund(database, credits, second)
    assert await free(credits) == 20


@pytest.mark.parametrize(("first", "error"), [("refund", RuntimeError), ("settle", sqlite3.Error)])
async def test_a_hold_is_not_given_back_twice(
    database: Database, credits: Credits, first: str, error: type[Exception]
) -> None:
    song = await add_held_song(database, credits)
    async with database.write() as connection:
        await getattr(credits, first)(connection, song)
    before = await free(credits)
    with pytest.raises(error):
        await refund(database, credits, song)
    assert await free(credits) == before


async def test_a_fact_about_a_song_without_price_is_entered_once_too(
    database: Database, credits: Credits
) -> None:
    song = await add_held_song(database, credits, price=0)

    async def enter(fact: Callable[[Connection, Song], Awaitable[None]]) -> None:
        async with database.write() as connection:
            await fact(connection, song)

    with pytest.raises(RuntimeError, match="hold:1"):
        await enter(credits.hold)
    for fact in (credits.settle, credits.compensate):
        await enter(fact)
        with pytest.raises(RuntimeError, match=":1"):
            await enter(fact)


async def test_a_song_is_not_compensated_before_it_is_settled(
    database: Database, credits: Credits
) -> None:
    song = await add_held_song(database, credits)
    with pytest.raises(sqlite3.IntegrityError):
        async with database.write() as connection:
            await credits.compensate(connection, song)
    assert await free(credits) == 8


async def test_a_clock_set_back_over_midnight_locks_nobody_out(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    song = await add_held_song(database, credits)
    clock.now = TOMORROW
    assert await free(credits) == 10
    clock.advance(seconds=-1)
    await refund(database, credits, song)  # back into yesterday's lot, which was closed
    assert await free(credits) == 12
    clock.advance(seconds=1)
    assert await free(credits) == 10
    assert await free(credits) == 10


async def test_midnight_between_two_readings_of_the_clock_takes_nothing(
    database: Database,
) -> None:
    moments = itertools.chain([TOMORROW - timedelta(milliseconds=1)], itertools.repeat(TOMORROW))
    assert (await Credits(database, clock=lambda: next(moments)).balance(1, 1)).free == 10


async def test_racing_holds_never_overspend(database: Database, credits: Credits) -> None:
    asked = [await add_song(database, song_id, price=1) for song_id in range(1, 51)]

    async def hold(song: Song) -> None:
        async with database.write() as connection:
            await credits.hold(connection, song)

    results = await asyncio.gather(*map(hold, asked), return_exceptions=True)
    assert Counter(map(type, results)) == {type(None): 10, NotEnoughCredits: 40}
    assert await free(credits) == 0


async def test_lots_that_change_under_a_transaction_undo_it(
    database: Database, credits: Credits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a defect could make it so: nobody else writes. Then nothing is better than half."""
    song = await add_song(database)

    async def nothing_moved(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(ledger, "move", nothing_moved)
    with pytest.raises(RuntimeError, match="hold:1"):
        async with database.write() as connection:
            await credits.hold(connection, song)
    assert await free(credits) == 10


async def test_members_and_servers_have_their_own(database: Database, credits: Credits) -> None:
    await add_held_song(database, credits)
    assert (await credits.balance(SERVER, MEMBER + 1)).free == 10
    assert (await credits.balance(SERVER + 1, MEMBER)).free == 10
    assert await credits.held(SERVER, MEMBER) == 2
    assert await credits.held(SERVER + 1, MEMBER) == 0
