"""Who may spend what, in single cases. `test_machine.py` combines them at random."""

import itertools
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock

import pytest
from aiosqlite import Connection

from db import ledger
from db.database import Database
from db.records import Reason, Song
from services.calendar import Every
from services.credits.credits import Credits, Move
from services.errors import NotEnoughCredits
from services.settings.catalogue import ALLOWANCE, CALENDAR, GIFTS, ROLE_ALLOWANCE
from services.settings.settings import Defaults, Limits, Member, Source
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_held_song,
    add_song,
    hold,
    make_credits,
)
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, WHO, Product, compose, member

TOMORROW = datetime(2026, 3, 15, tzinfo=UTC)
GOLD = 22
SECOND = timedelta(seconds=1)


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    """Ten credits a day, and no limit of songs at once."""
    return compose(database, clock, defaults=Defaults(limits=Limits(unfinished=100)))


async def parts(product: Product, who: Member = WHO) -> tuple[int, int]:
    """What is left of the allowance, and of all other credits."""
    balance = await product.credits.balance(who)
    return balance.sums.allowance, balance.sums.granted


async def refund(database: Database, credits: Credits, song: Song) -> None:
    async with database.write() as connection:
        await credits.refund(connection, song)


# --- periods --------------------------------------------------------------------------------------


async def test_each_period_grants_its_allowance_once(
    product: Product, clock: SettableClock
) -> None:
    balance = await product.credits.balance(WHO)
    assert (balance.free, balance.sums.allowance, balance.sums.granted) == (10, 10, 0)
    assert (balance.period.end, balance.every) == (TOMORROW, Every.DAY)
    assert balance.allowance.source is Source.DEFAULT
    assert not balance.unlimited
    assert await product.credits.balance(WHO) == balance
    clock.now = TOMORROW
    assert await product.free() == 10
    kinds = [kind for (kind,) in await product.rows("SELECT kind FROM ledger ORDER BY kind")]
    assert kinds == ["allowance", "allowance", "expire"]


async def test_clock_set_back_over_midnight_grants_nothing_twice(
    product: Product, clock: SettableClock
) -> None:
    song = await product.create(1, seconds=60)
    clock.now = TOMORROW
    assert await product.free() == 10
    clock.now = TOMORROW - SECOND
    assert await product.free() == 10  # what today gives, and nothing of yesterday's
    await product.completion.cancel(song)  # back into yesterday's lot, which was closed
    assert await product.free() == 12
    clock.now = TOMORROW
    for _ in range(2):
        assert await product.free() == 10


@pytest.mark.parametrize(
    ("every", "seen", "left"), [("day", True, 10), ("week", True, 6), ("week", False, 6)]
)
async def test_calendar_changed_on_a_clock_set_back_moves_the_allowances_end(
    product: Product, clock: SettableClock, every: str, seen: bool, left: int
) -> None:
    """A calendar that begins on Monday is replaced after its first moments were seen."""
    monday = datetime(2026, 3, 16, tzinfo=UTC)
    await product.server_settings.update(
        BY,
        CALENDAR,
        lambda c: replace(c, every=Every.DAY if every == "week" else Every.WEEK, hour=0),
    )
    clock.now = monday
    await product.create(1, seconds=120)
    clock.now = monday - SECOND
    await product.server_settings.update(BY, CALENDAR, lambda c: replace(c, every=Every(every)))
    if seen:
        clock.now = monday + SECOND
        assert await product.free() == 6
    clock.now = monday + timedelta(days=1)
    preview = await product.credits.preview(WHO)
    assert preview.free == await product.free() == left
    clock.now = monday + timedelta(days=7)
    assert await product.free() == 10


async def test_midnight_between_two_readings_of_the_clock_takes_nothing(
    database: Database,
) -> None:
    moments = itertools.chain([TOMORROW - timedelta(milliseconds=1)], itertools.repeat(TOMORROW))
    credits = make_credits(database, SettableClock())
    credits._clock = lambda: next(moments)
    assert (await credits.balance(WHO)).free == 10


# --- changed allowances ---------------------------------------------------------------------------


async def test_lower_allowance_takes_neither_spent_nor_held_credits(product: Product) -> None:
    spent, held = await product.create(1, seconds=60), await product.create(2, seconds=120)
    await product.complete(spent)
    await product.server_settings.set(BY, ALLOWANCE, 8)
    assert await product.free() == 2
    await product.server_settings.set(BY, ALLOWANCE, 3)
    assert await product.free() == 0
    await product.completion.fail(held, Reason.MODEL_FAILED)
    assert await product.free() == 1  # three, less the two that were spent
    await product.server_settings.set(BY, ALLOWANCE, 10)
    assert await product.free() == 8


async def test_allowance_changed_back_and_forth_grants_nothing_twice(product: Product) -> None:
    song = await product.create(1, seconds=150)
    for allowance in (20, 0, 20, 5, 10):
        await product.server_settings.set(BY, ALLOWANCE, allowance)
        assert await product.free() == max(0, allowance - 5)
    await product.completion.fail(song, Reason.MODEL_FAILED)
    assert await product.free() == 10


# --- roles ----------------------------------------------------------------------------------------


async def test_role_lost_while_songs_run_leaves_what_is_held(product: Product) -> None:
    await product.server_settings.set(BY, ROLE_ALLOWANCE, 30, GOLD)
    gold = member(MEMBER, GOLD)
    songs = [await product.create(n, who=gold, seconds=240) for n in (1, 2, 3)]
    assert await product.free(gold) == 6
    assert await product.free() == 0
    await product.completion.fail(songs[0], Reason.MODEL_FAILED)
    assert await product.free() == 0  # sixteen are held, and ten are theirs
    await product.complete(songs[1])
    await product.completion.fail(songs[2], Reason.MODEL_FAILED)
    assert await product.free() == 2
    assert await product.free(gold) == 22


async def test_member_who_leaves_and_returns_has_no_second_allowance(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.set(BY, ROLE_ALLOWANCE, 30, GOLD)
    song = await product.create(1, who=member(MEMBER, GOLD), seconds=240)
    gone = Member(SERVER, MEMBER, roles=None)
    assert await product.free(gone) == 22  # without their roles nothing changes
    await product.completion.fail(song, Reason.MODEL_FAILED)
    assert await product.free(gone) == 30
    assert await product.free() == 10
    await product.create(2, seconds=240)
    assert await product.free(gone) == 2
    assert await product.free() == 2
    clock.now = TOMORROW
    assert await product.free(gone) == 0
    assert await product.free() == 10


# --- without limit --------------------------------------------------------------------------------


async def test_unlimited_songs_take_nothing_and_record_their_price(product: Product) -> None:
    await product.grant(4)
    await product.server_settings.set(BY, ALLOWANCE, None)
    made, failed = await product.create(1, seconds=240), await product.create(2, seconds=240)
    balance = await product.credits.balance(WHO)
    assert (balance.unlimited, balance.free) == (True, 14)
    await product.complete(made)
    await product.completion.fail(failed, Reason.MODEL_FAILED)
    rows = await product.rows(
        "SELECT kind, amount, price FROM ledger WHERE song_id IS NOT NULL ORDER BY entry_id"
    )
    assert rows == [("hold", 0, 8), ("hold", 0, 8), ("refund", 0, 8), ("settle", 0, 8)]
    assert await product.free() == 14
    statement = await product.credits.statement(WHO, entries=9)
    assert (statement.spent, statement.held) == (8, 0)


# --- spending -------------------------------------------------------------------------------------


async def test_what_expires_first_is_spent_first(product: Product, clock: SettableClock) -> None:
    await product.grant(4, 1)
    await product.grant(4, 2, expires_at=NOON + timedelta(days=2))
    await product.grant(2, 3, expires_at=NOON + timedelta(hours=1))
    left = []
    for song_id, seconds in enumerate((60, 240, 60, 120), start=1):
        await product.create(song_id, seconds=seconds)
        lots = (await product.credits.balance(WHO)).lots
        left.append([lot.remaining for lot in lots])
    assert left == [[10, 4, 4], [2, 4, 4], [4, 4], [4]]


async def test_too_few_credits_are_refused_with_the_next_refill(product: Product) -> None:
    await product.create(1, seconds=240)
    with refusal(NotEnoughCredits(8, 2, 10, "day", TOMORROW)):
        await product.create(2, seconds=240)
    assert await product.free() == 2
    assert await product.rows("SELECT song_id FROM songs") == [(1,)]


async def test_statement_counts_spent_and_held_credits_of_the_period(
    product: Product, clock: SettableClock
) -> None:
    await product.complete(await product.create(1, seconds=60))
    clock.now = TOMORROW
    await product.complete(await product.create(2, seconds=90))
    undelivered = await product.create(3, seconds=120)
    await product.complete(undelivered, undelivered=True)
    await product.create(4)
    statement = await product.credits.statement(WHO, entries=2)
    assert (statement.spent, statement.held) == (7, 1)
    assert [entry.kind for entry in statement.entries] == ["hold", "hold"]
    assert statement.settings.allowance.credits == 10
    assert await product.completion.compensate(undelivered)
    assert (await product.credits.statement(WHO, entries=2)).spent == 3


# --- refunds --------------------------------------------------------------------------------------


async def test_refund_returns_to_where_the_credits_came_from(product: Product) -> None:
    await product.grant(4)
    song = await product.create(1, seconds=240)
    other = await product.create(2, seconds=120)
    assert await parts(product) == (0, 2)
    await product.completion.cancel(other)
    assert await parts(product) == (2, 4)
    await product.completion.fail(song, Reason.MODEL_FAILED)
    assert await parts(product) == (10, 4)


async def test_refund_to_an_expired_lot_lasts_for_the_running_period(
    product: Product, clock: SettableClock
) -> None:
    await product.grant(4)
    await product.create(1, seconds=90)
    song = await product.create(2, seconds=240)  # seven from the day, one from the grant
    clock.now = TOMORROW
    await product.completion.fail(song, Reason.MODEL_FAILED)
    assert await parts(product) == (10, 11)
    (late,) = [lot for lot in (await product.credits.balance(WHO)).lots if lot.kind == "return"]
    assert (late.remaining, late.expires_at) == (7, TOMORROW + timedelta(days=1))
    clock.advance(days=1)
    assert await parts(product) == (10, 4)


@pytest.mark.parametrize(("first", "error"), [("refund", RuntimeError), ("settle", sqlite3.Error)])
async def test_hold_is_not_refunded_twice(
    database: Database, credits: Credits, first: str, error: type[Exception]
) -> None:
    song = await add_held_song(database, credits)
    async with database.write() as connection:
        await getattr(credits, first)(connection, song)
    before = (await credits.balance(WHO)).free
    with pytest.raises(error):
        await refund(database, credits, song)
    assert (await credits.balance(WHO)).free == before


async def test_fact_about_a_song_is_entered_once(database: Database, credits: Credits) -> None:
    song = await add_held_song(database, credits, price=0)

    async def enter(fact: Callable[[Connection, Song], Awaitable[None]]) -> None:
        async with database.write() as connection:
            await fact(connection, song)

    with pytest.raises(RuntimeError, match="hold:1"):
        await hold(database, credits, song)
    for fact in (credits.settle, credits.compensate):
        await enter(fact)
        with pytest.raises(RuntimeError, match=":1"):
            await enter(fact)


async def test_lot_that_changed_meanwhile_undoes_the_transaction(
    database: Database, credits: Credits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a defect could cause it: nobody else writes."""
    song = await add_song(database)
    await credits.balance(WHO)
    monkeypatch.setattr(ledger, "change_lot", AsyncMock(return_value=False))
    with pytest.raises(RuntimeError, match="hold:1"):
        await hold(database, credits, song)
    assert (await credits.balance(WHO)).free == 10


# --- reading only ---------------------------------------------------------------------------------


async def test_reading_what_is_left_changes_nothing(product: Product, clock: SettableClock) -> None:
    await product.grant(4)
    song = await product.create(1, seconds=240)
    assert await product.credits.left(song) == (6, False)
    clock.now = TOMORROW
    entries = await product.rows("SELECT entry_id FROM ledger")
    assert await product.credits.left(song) == (None, False)
    assert await product.rows("SELECT entry_id FROM ledger") == entries
    await product.free()
    assert await product.credits.left(song) == (14, False)
    await product.server_settings.set(BY, ALLOWANCE, None)
    unlimited = await product.create(2, seconds=240)
    assert await product.credits.left(unlimited) == (14, True)


async def test_preview_equals_the_balance_and_changes_nothing(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.set(BY, ROLE_ALLOWANCE, 30, GOLD)
    assert (await product.credits.preview(WHO)).free == 10
    assert (await product.credits.preview(member(MEMBER, GOLD))).free == 30
    assert await product.rows("SELECT entry_id FROM ledger") == []
    await product.grant(4)
    await product.create(1, seconds=240)
    assert (await product.credits.preview(WHO)).free == 6
    await product.server_settings.set(BY, ALLOWANCE, 3)
    assert (await product.credits.preview(WHO)).free == 4
    clock.now = TOMORROW
    preview = await product.credits.preview(WHO)
    assert (preview.free, preview.settings.allowance.credits) == (7, 3)
    await product.server_settings.set(BY, ALLOWANCE, None)
    assert (await product.credits.preview(WHO)).free is None


# --- a member with a thousand lots ----------------------------------------------------------------


async def with_gifts(product: Product, who: Member, count: int) -> None:
    """Grant lots of one credit each, which expire at fifty different times."""
    async with product.database.write() as connection:
        await product.credits.balance_in(connection, who)
        for number in range(count):
            entry_id, expires_at = (
                f"grant:{who.member_id}:{number}",
                NOON + timedelta(days=2 + number % 50),
            )
            move = Move(entry_id, "grant", 1, None, None, expires_at)
            await product.credits.apply(connection, who, move)


async def test_thousand_lots_take_hardly_more_steps_than_one(product: Product) -> None:
    """Counted in SQLite's steps, which other processes don't disturb."""
    few, many = member(1), member(2)
    await with_gifts(product, few, 1)
    await with_gifts(product, many, 1_000)
    steps: list[None] = []
    await product.database._writer.set_progress_handler(lambda: steps.append(None), 100)
    counted = []
    for song_id, who in enumerate((few, many, few, many), start=1):
        steps.clear()
        await product.create(song_id, who=who)
        counted.append(len(steps))
    await product.database._writer.set_progress_handler(None, 100)  # type: ignore[arg-type]
    assert sum(counted[1::2]) < 2 * sum(counted[::2])
    assert len((await product.credits.balance(many)).lots) == ledger.MOST_LOTS
    assert await product.free(many) == 10 + 1_000 - 2


async def test_more_lots_than_one_read_are_spent_taken_given_and_reset(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.set(BY, GIFTS, value=True)
    await product.server_settings.set(BY, ALLOWANCE, 0)
    await with_gifts(product, WHO, 100)
    song = await product.create(1, seconds=240)
    moved = await product.transfers.gift(WHO, member(2), gift_id=7, amount=40)
    assert (moved.balance.free, await product.free(member(2))) == (52, 40)
    assert await product.take(30) == 30
    await product.completion.cancel(song)
    assert await product.free() == 30
    plan = await product.transfers.reset(BY, reset_id=8, reason="A new season.")
    assert (plan.members, plan.credits) == (2, 70)
    assert await product.free() == await product.free(member(2)) == 0


async def test_many_expired_lots_are_closed_in_batches(
    product: Product, clock: SettableClock
) -> None:
    await with_gifts(product, WHO, 60)
    clock.advance(days=60)
    closed = "SELECT count(*) FROM ledger WHERE kind = 'expire' AND entry_id LIKE 'expire:grant:%'"
    for expected in (24, 49, 60, 60):  # and the allowance of that day, which is the oldest
        assert await product.free() == 10
        assert await product.rows(closed) == [(expected,)]
