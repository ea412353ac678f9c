"""A server's own budget, and the operator's."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db import songs as song_rows
from db.database import Database
from db.records import OperatorBudget, Song, Tally
from services.amounts import MAX_BUDGET
from services.calendar import Every
from services.credits.budgets import (
    DefaultBudgets,
    OperatorBudgetExceeded,
    ServerBudgetExceeded,
    utc_day,
)
from services.errors import BudgetExceeded, NotEnoughCredits, OutOfRange
from services.settings.catalogue import ALLOWANCE, BUDGET, CALENDAR
from services.settings.settings import Defaults, Limits
from tests.factories import NOON, SERVER, SettableClock, make_song
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, Product, compose, member

TOMORROW = datetime(2026, 3, 15, tzinfo=UTC)
OTHERS = SERVER + 1
SOMEBODY = member(5, server_id=OTHERS)


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(
        database, clock, defaults=Defaults(allowance=1_000, limits=Limits(unfinished=100))
    )


async def warnings(product: Product) -> list[tuple[int, int]]:
    """Percent, and what was used, of each that was given."""
    facts = [json.loads(c.after or "") for c in await product.changes() if c.name == "warning"]
    return [(fact["percent"], fact["used"]) for fact in facts]


async def used(product: Product) -> int:
    settings = await product.server_settings.read(SERVER)
    return await product.budget.used(SERVER, settings.timeline.period(product.clock()))


# --- a server's own -------------------------------------------------------------------------------


async def test_a_song_over_the_budget_is_refused_saying_when_and_nothing_is_spent(
    product: Product,
) -> None:
    await product.server_settings.set(BY, BUDGET, 2)
    await product.ask(1, seconds=60)
    with pytest.raises(ServerBudgetExceeded) as refused:
        await product.ask(2)
    assert (refused.value.song.price, refused.value.period.end) == (1, TOMORROW)
    assert await product.free() == 998
    assert await used(product) == 2
    assert await song_rows.get(product.database.reader, 2) is None


async def test_what_is_given_back_has_room_again(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 2)
    failed = await product.ask(1)
    undelivered = await product.ask(2)
    await product.complete(undelivered, undelivered="No.")
    with pytest.raises(BudgetExceeded):
        await product.ask(3)
    await product.completion.fail(failed, "No.")
    await product.ask(4)
    with pytest.raises(BudgetExceeded):
        await product.ask(5)
    async with product.database.write() as connection:
        await product.credits.compensate(connection, undelivered)
    await product.ask(6)
    assert await used(product) == 2


async def test_what_is_given_back_late_has_room_in_the_period_that_counted_it(
    product: Product, clock: SettableClock
) -> None:
    song = await product.ask(1)
    clock.now = TOMORROW
    await product.server_settings.set(BY, BUDGET, 1)
    await product.completion.fail(song, "No.")
    await product.ask(2)
    with pytest.raises(BudgetExceeded):
        await product.ask(3)
    clock.advance(seconds=-1)
    assert await used(product) == 0


async def test_a_budget_counts_by_the_servers_own_periods(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.update(
        BY, CALENDAR, lambda c: replace(c, every=Every.WEEK, hour=18)
    )
    await product.server_settings.set(BY, BUDGET, 2)
    clock.now = TOMORROW  # a Sunday: its week ends tomorrow at 18
    monday = datetime(2026, 3, 16, 18, tzinfo=UTC)
    for song_id, moment in enumerate((TOMORROW, monday - timedelta(hours=17)), start=1):
        clock.now = moment
        await product.ask(song_id)
    clock.now = monday - timedelta(milliseconds=1)
    with pytest.raises(ServerBudgetExceeded) as refused:
        await product.ask(3)
    assert refused.value.period.end == monday
    clock.now = monday
    song = await product.ask(4, seconds=60)
    clock.advance(days=6)
    with pytest.raises(BudgetExceeded):
        await product.ask(5)
    counts = "SELECT used FROM server_periods ORDER BY period_at"
    assert await product.rows(counts) == [(2,), (2,)]
    await product.completion.cancel(song)
    assert await product.rows(counts) == [(2,), (0,)]


async def test_unlimited_songs_count(product: Product) -> None:
    await product.server_settings.set(BY, ALLOWANCE, None)
    await product.server_settings.set(BY, BUDGET, 8)
    await product.ask(1, seconds=240)
    assert await product.rows("SELECT amount, price FROM ledger WHERE kind = 'hold'") == [(0, 8)]
    with pytest.raises(BudgetExceeded):
        await product.ask(2)


async def test_each_warning_is_given_once_a_period(product: Product, clock: SettableClock) -> None:
    await product.server_settings.set(BY, BUDGET, 10)
    for song_id in range(1, 8):
        await product.ask(song_id)
    assert await warnings(product) == []
    told = len(product.told)
    eighth = await product.ask(8)
    assert await warnings(product) == [(80, 8)]
    assert len(product.told) == told + 1
    await product.completion.fail(eighth, "No.")
    await product.ask(9)  # over 80 % once more
    for song_id in range(10, 12):
        await product.ask(song_id)
    for song_id in range(12, 14):
        with pytest.raises(BudgetExceeded):
            await product.ask(song_id)
    assert await warnings(product) == [(80, 8), (100, 10)]
    clock.now = TOMORROW
    await product.ask(14, seconds=240)
    assert await warnings(product) == [(80, 8), (100, 10), (80, 8)]


async def test_a_budget_that_is_raised_warns_no_more_in_its_period(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 2)
    await product.ask(1, seconds=60)
    await product.server_settings.set(BY, BUDGET, 4)
    await product.ask(2, seconds=60)
    with pytest.raises(BudgetExceeded):
        await product.ask(3)
    assert await warnings(product) == [(100, 2)]


async def test_a_leap_over_both_warns_of_the_graver_alone(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 8)
    await product.ask(1, seconds=240)
    assert await warnings(product) == [(100, 8)]


async def test_a_refusal_warns_that_the_budget_is_reached(product: Product) -> None:
    for song_id in range(1, 8):
        await product.ask(song_id)
    await product.server_settings.set(BY, BUDGET, 8)
    told = len(product.told)
    for song_id in (100, 101):
        with pytest.raises(BudgetExceeded):
            await product.ask(song_id, seconds=60)
    assert await warnings(product) == [(100, 7)]
    assert len(product.told) > told


async def test_a_song_too_dear_where_much_is_left_warns_nobody(product: Product) -> None:
    """What is said to be reached would not be, and the warning at 80 % would never come."""
    await product.server_settings.set(BY, BUDGET, 5)
    await product.ask(1, seconds=60)
    with pytest.raises(BudgetExceeded):
        await product.ask(2, seconds=120)
    assert await warnings(product) == []
    await product.ask(3, seconds=60)
    assert await warnings(product) == [(80, 4)]


async def test_a_budget_lowered_under_what_is_used_warns_with_the_next_refusal(
    product: Product,
) -> None:
    await product.ask(1, seconds=240)
    await product.server_settings.set(BY, BUDGET, 1)
    assert await warnings(product) == []
    with pytest.raises(BudgetExceeded):
        await product.ask(2)
    assert await warnings(product) == [(100, 8)]
    assert await used(product) == 8


@pytest.mark.parametrize("raised", [None, 9])
async def test_a_budget_raised_after_a_refusal_is_not_warned_of(
    product: Product, raised: int | None
) -> None:
    """The warning is a separate transaction, after the one that was rolled back."""
    await product.server_settings.set(BY, BUDGET, 1)
    period = (await product.server_settings.read(SERVER)).timeline.period(NOON)
    await product.server_settings.set(BY, BUDGET, raised)
    await product.budget.refused(ServerBudgetExceeded(make_song(price=9), period))
    assert await warnings(product) == []


async def test_a_refusal_just_before_the_period_ends_warns_of_that_period(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.set(BY, BUDGET, 5)
    await product.ask(1, seconds=120)
    period = (await product.server_settings.read(SERVER)).timeline.period(NOON)
    clock.now = TOMORROW
    await product.budget.refused(ServerBudgetExceeded(make_song(price=2), period))
    assert await warnings(product) == [(80, 4), (100, 4)]
    await product.ask(2, seconds=120)
    assert await warnings(product) == [(80, 4), (100, 4), (80, 4)]


async def test_without_credits_the_budget_is_not_spoken_of(product: Product) -> None:
    await product.server_settings.set(BY, ALLOWANCE, 0)
    await product.server_settings.set(BY, BUDGET, 1)
    with pytest.raises(NotEnoughCredits):
        await product.ask(1, seconds=60)
    assert await warnings(product) == []


async def test_fifty_members_never_pass_the_budget(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 20)
    results = await asyncio.gather(
        *(product.ask(n, who=member(n), seconds=60) for n in range(1, 51)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert {type(result) for result in refused} == {ServerBudgetExceeded}
    assert len(refused) == 40
    assert await used(product) == 20
    assert await warnings(product) == [(80, 16), (100, 20)]
    assert await product.rows("SELECT sum(price) FROM ledger WHERE kind = 'hold'") == [(20,)]


@pytest.mark.parametrize("figure", [0, -1, MAX_BUDGET + 1, 2**63, 10**30])
async def test_a_budget_out_of_bounds_is_refused(product: Product, figure: int) -> None:
    with refusal(OutOfRange("Budget", 1, MAX_BUDGET)):
        await product.server_settings.set(BY, BUDGET, figure)
    assert (await product.server_settings.read(SERVER))[BUDGET] is None
    assert await product.changes() == []


# --- the operator's -------------------------------------------------------------------------------


async def set_operator(
    product: Product,
    scope: str,
    server_id: int = 0,
    *,
    credits: int | None = None,
    songs: int | None = None,
) -> None:
    await product.operator.set(OperatorBudget(scope, server_id, credits, songs))


@pytest.mark.parametrize("most", [{"credits": 2}, {"songs": 1}, {"credits": 100, "songs": 1}])
@pytest.mark.parametrize(("scope", "server_id"), [("all", 0), ("each", 0), ("server", SERVER)])
async def test_what_waits_has_its_room_under_the_operators_budget(
    product: Product, scope: str, server_id: int, most: dict[str, int]
) -> None:
    await set_operator(product, scope, server_id, **most)
    await product.ask(1, seconds=60)
    with refusal(OperatorBudgetExceeded(scope, TOMORROW)):
        await product.ask(2)
    assert await product.free() == 998


async def test_servers_share_the_budget_of_all_and_no_other(product: Product) -> None:
    await set_operator(product, "each", credits=1)
    await product.ask(1)
    await product.ask(2, who=SOMEBODY)
    await set_operator(product, "all", credits=2)
    await set_operator(product, "each", credits=9)
    # What only waits in another server uses nothing up: it may be cancelled.
    third = await product.ask(3, who=SOMEBODY)
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.ask(4, who=SOMEBODY)
    for song_id in (1, 2):
        assert await product.submit(await row(product, song_id))
    assert not await product.submit(third)


async def row(product: Product, song_id: int) -> Song:
    song = await song_rows.get(product.database.reader, song_id)
    assert song is not None
    return song


async def test_default_budgets_count_without_anything_set(
    database: Database, clock: SettableClock
) -> None:
    """A stranger's server with unlimited members can't spend the operator's money for long."""
    product = compose(
        database,
        clock,
        defaults=Defaults(limits=Limits(unfinished=100)),
        budgets=DefaultBudgets(all_servers=3, each_server=2),
    )
    await product.server_settings.set(BY, ALLOWANCE, None)
    songs = [await product.ask(1), await product.ask(2)]
    with refusal(OperatorBudgetExceeded("each", TOMORROW)):
        await product.ask(3)
    songs += [await product.ask(4, who=SOMEBODY), await product.ask(5, who=SOMEBODY)]
    assert [await product.submit(song) for song in songs] == [True, True, True, False]
    assert await product.operator.next_waiting(database.reader) is None
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.ask(6, who=SOMEBODY)
    assert await product.operator.in_force() == [
        OperatorBudget("all", 0, None, 3),
        OperatorBudget("each", 0, None, 2),
    ]


async def test_what_the_operator_sets_wins_over_the_defaults(
    database: Database, clock: SettableClock
) -> None:
    product = compose(
        database,
        clock,
        defaults=Defaults(limits=Limits(unfinished=100)),
        budgets=DefaultBudgets(all_servers=1, each_server=1),
    )
    await product.ask(1)
    await set_operator(product, "each")
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.ask(2)
    await set_operator(product, "all", credits=2)
    await product.ask(2)
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.ask(3)
    await set_operator(product, "all")
    await product.ask(3)
    assert await product.operator.in_force() == [
        OperatorBudget("all", 0, None, None),
        OperatorBudget("each", 0, None, None),
    ]
    await product.operator.drop("each", 0)
    with refusal(OperatorBudgetExceeded("each", TOMORROW)):
        await product.ask(4)


async def test_a_servers_own_goes_before_that_of_each_until_it_is_dropped(
    product: Product,
) -> None:
    await set_operator(product, "each", songs=0)
    await set_operator(product, "server", SERVER, songs=1)
    assert {b.scope for b in await product.operator.in_force()} == {"each", "server"}
    await product.ask(1)
    with pytest.raises(BudgetExceeded):
        await product.ask(2, who=SOMEBODY)
    await product.operator.drop("server", SERVER)
    with refusal(OperatorBudgetExceeded("each", TOMORROW)):
        await product.ask(3)


async def test_every_submit_counts_also_of_what_fails_and_the_second_too(
    product: Product, clock: SettableClock
) -> None:
    song = await product.ask(1, seconds=60)
    assert await product.submit(song)
    assert await product.submit(song)  # its first answer was lost
    await product.completion.fail(song, "No.")
    assert await product.operator.submitted_today(SERVER) == Tally(2, 4)
    assert await product.operator.submitted_today() == Tally(2, 4)
    assert await product.free() == 1_000
    await set_operator(product, "all", credits=5)
    with pytest.raises(BudgetExceeded):
        await product.ask(2, seconds=60)
    clock.now = TOMORROW
    assert await product.operator.submitted_today() == Tally(0, 0)
    await product.ask(3, seconds=60)


async def test_a_submit_that_was_surely_not_accepted_counts_no_more_on_its_day(
    product: Product, clock: SettableClock
) -> None:
    song = await product.ask(1, seconds=60)
    assert not await product.uncount(song)
    assert await product.submit(song)
    clock.now = TOMORROW
    assert await product.uncount(song)
    clock.advance(seconds=-1)
    assert await product.operator.submitted_today(SERVER) == Tally(0, 0)
    assert await product.submit(song)
    assert not await product.submit(replace(song, song_id=404))
    assert await product.operator.submitted_today(SERVER) == Tally(1, 2)


async def test_a_submit_is_held_against_the_budget_when_it_is_made(product: Product) -> None:
    """What was asked for before the budget was lowered, or waited over midnight, waits on."""
    first, second = await product.ask(1), await product.ask(2, seconds=60)
    await set_operator(product, "server", SERVER, credits=2)
    assert await product.submit(first)
    assert not await product.submit(second)
    assert await product.operator.submitted_today(SERVER) == Tally(1, 1)


async def test_the_next_song_is_one_that_has_room(product: Product) -> None:
    operator, reader = product.operator, product.database.reader
    long = await product.ask(1, seconds=240)
    short = await product.ask(2)
    other = await product.ask(3, who=SOMEBODY, seconds=240)

    async def following() -> int | None:
        song = await operator.next_waiting(reader)
        return None if song is None else song.song_id

    assert await following() == long.song_id
    await set_operator(product, "server", SERVER, credits=2)
    assert await following() == short.song_id
    await set_operator(product, "server", SERVER, songs=0)
    assert await following() == other.song_id
    await set_operator(product, "all", credits=7)
    assert await following() is None
    await operator.drop("server", SERVER)
    assert await following() == short.song_id


async def test_racing_submits_never_pass_the_operators_budget(product: Product) -> None:
    songs = [await product.ask(n, who=member(n)) for n in range(1, 31)]
    await set_operator(product, "all", songs=7)
    counted = await asyncio.gather(*map(product.submit, songs))
    assert sum(counted) == 7
    assert await product.operator.submitted_today() == Tally(7, 7)


@pytest.mark.parametrize("figure", [-1, MAX_BUDGET + 1, 2**63, 10**30])
@pytest.mark.parametrize("of", ["credits", "songs"])
async def test_an_operators_budget_out_of_bounds_is_refused(
    product: Product, of: str, figure: int
) -> None:
    with refusal(OutOfRange("budget", 0, 1_000_000_000)):
        await set_operator(product, "all", **{of: figure})
    assert await product.operator.in_force() == []


@pytest.mark.parametrize(
    "moment",
    [NOON, NOON.replace(hour=0), TOMORROW - timedelta(microseconds=1)],
)
def test_the_operators_day_is_one_in_utc(moment: datetime) -> None:
    assert utc_day(moment) == (NOON.replace(hour=0), TOMORROW)
