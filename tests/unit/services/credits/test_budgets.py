"""A server's own budget, and the operator's."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from db.records import OperatorBudget, Reason, Tally
from services.amounts import MAX_BUDGET
from services.credits.budgets import (
    DefaultBudgets,
    OperatorBudgetExceeded,
    ServerBudgetExceeded,
    utc_day,
)
from services.errors import BudgetExceeded, OutOfRange
from services.settings.catalogue import ALLOWANCE, BUDGET
from services.settings.settings import Defaults, Limits
from tests.factories import NOON, SERVER, SettableClock, make_song
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, Product, compose, member

TOMORROW = datetime(2026, 3, 15, tzinfo=UTC)
OTHER_SERVER = SERVER + 1
OUTSIDER = member(5, server_id=OTHER_SERVER)


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(
        database, clock, defaults=Defaults(allowance=1_000, limits=Limits(unfinished=100))
    )


async def warnings(product: Product) -> list[tuple[int, int]]:
    """Percent and use of each recorded warning."""
    facts = [json.loads(c.after or "") for c in await product.changes() if c.name == "warning"]
    return [(fact["percent"], fact["used"]) for fact in facts]


async def used(product: Product) -> int:
    settings = await product.server_settings.read(SERVER)
    return await product.budget.used(SERVER, settings.timeline.period(product.clock()))


# --- a server's own -------------------------------------------------------------------------------


async def test_song_over_the_budget_is_refused_and_spends_nothing(
    product: Product,
) -> None:
    await product.server_settings.set(BY, BUDGET, 2)
    await product.create(1, seconds=60)
    with pytest.raises(ServerBudgetExceeded) as refused:
        await product.create(2)
    assert (refused.value.song.price, refused.value.period.end) == (1, TOMORROW)
    assert await product.free() == 998
    assert await used(product) == 2
    assert await product.rows("SELECT song_id FROM songs") == [(1,)]


async def test_refunds_leave_room_in_the_budget(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 2)
    failed = await product.create(1)
    undelivered = await product.create(2)
    await product.complete(undelivered, undelivered=True)
    with pytest.raises(BudgetExceeded):
        await product.create(3)
    await product.completion.fail(failed, Reason.MODEL_FAILED)
    await product.create(4)
    with pytest.raises(BudgetExceeded):
        await product.create(5)
    async with product.database.write() as connection:
        await product.credits.compensate(connection, undelivered)
    await product.create(6)
    assert await used(product) == 2


async def test_each_warning_is_recorded_once_a_period(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.set(BY, BUDGET, 10)
    for song_id in range(1, 8):
        await product.create(song_id)
    assert await warnings(product) == []
    before = len(product.notified)
    eighth = await product.create(8)
    assert await warnings(product) == [(80, 8)]
    assert len(product.notified) == before + 1
    await product.completion.fail(eighth, Reason.MODEL_FAILED)
    await product.create(9)  # 80% again
    for song_id in range(10, 12):
        await product.create(song_id)
    for song_id in range(12, 14):
        with pytest.raises(BudgetExceeded):
            await product.create(song_id)
    assert await warnings(product) == [(80, 8), (100, 10)]
    clock.now = TOMORROW
    await product.create(14, seconds=240)
    assert await warnings(product) == [(80, 8), (100, 10), (80, 8)]


async def test_refusal_warns_that_the_budget_is_reached(product: Product) -> None:
    for song_id in range(1, 8):
        await product.create(song_id)
    await product.server_settings.set(BY, BUDGET, 8)
    before = len(product.notified)
    for song_id in (100, 101):
        with pytest.raises(BudgetExceeded):
            await product.create(song_id, seconds=60)
    assert await warnings(product) == [(100, 7)]
    assert len(product.notified) > before


async def test_expensive_song_warns_nobody_where_much_is_left(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 5)
    await product.create(1, seconds=60)
    with pytest.raises(BudgetExceeded):
        await product.create(2, seconds=120)
    assert await warnings(product) == []
    await product.create(3, seconds=60)
    assert await warnings(product) == [(80, 4)]


@pytest.mark.parametrize("raised", [None, 9])
async def test_budget_raised_after_a_refusal_warns_nobody(
    product: Product, raised: int | None
) -> None:
    await product.server_settings.set(BY, BUDGET, 1)
    period = (await product.server_settings.read(SERVER)).timeline.period(NOON)
    await product.server_settings.set(BY, BUDGET, raised)
    await product.budget.refused(ServerBudgetExceeded(make_song(price=9), period))
    assert await warnings(product) == []


async def test_refusal_just_before_the_period_ends_warns_of_that_period(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.set(BY, BUDGET, 5)
    await product.create(1, seconds=120)
    period = (await product.server_settings.read(SERVER)).timeline.period(NOON)
    clock.now = TOMORROW
    await product.budget.refused(ServerBudgetExceeded(make_song(price=2), period))
    assert await warnings(product) == [(80, 4), (100, 4)]
    await product.create(2, seconds=120)
    assert await warnings(product) == [(80, 4), (100, 4), (80, 4)]


async def test_fifty_members_at_once_never_exceed_the_budget(product: Product) -> None:
    await product.server_settings.set(BY, BUDGET, 20)
    results = await asyncio.gather(
        *(product.create(n, who=member(n), seconds=60) for n in range(1, 51)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert {type(result) for result in refused} == {ServerBudgetExceeded}
    assert len(refused) == 40
    assert await used(product) == 20
    assert await warnings(product) == [(80, 16), (100, 20)]
    assert await product.rows("SELECT sum(price) FROM ledger WHERE kind = 'hold'") == [(20,)]


# --- the operator's -------------------------------------------------------------------------------


async def set_operator(product: Product, scope: str, server_id: int = 0, **figures: int) -> None:
    values = {"credits": None, "songs": None} | figures
    await product.operator.set(OperatorBudget(scope, server_id, **values))


def with_defaults(database: Database, clock: SettableClock, *, all_: int, each: int) -> Product:
    defaults = Defaults(limits=Limits(unfinished=100))
    return compose(database, clock, defaults=defaults, budgets=DefaultBudgets(all_, each))


@pytest.mark.parametrize(
    ("scope", "server_id", "most"),
    [
        ("all", 0, {"credits": 2}),
        ("each", 0, {"songs": 1}),
        ("server", SERVER, {"credits": 100, "songs": 1}),
    ],
)
async def test_waiting_songs_count_against_the_operators_budget(
    product: Product, scope: str, server_id: int, most: dict[str, int]
) -> None:
    await set_operator(product, scope, server_id, **most)
    await product.create(1, seconds=60)
    with refusal(OperatorBudgetExceeded(scope, TOMORROW)):
        await product.create(2)
    assert await product.free() == 998


async def test_servers_share_only_the_budget_for_all(product: Product) -> None:
    await set_operator(product, "each", credits=1)
    songs = [await product.create(1), await product.create(2, who=OUTSIDER)]
    await set_operator(product, "all", credits=2)
    await set_operator(product, "each", credits=9)
    songs.append(await product.create(3, who=OUTSIDER))
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.create(4, who=OUTSIDER)
    assert [await product.submit(song) for song in songs] == [True, True, False]


async def test_default_budgets_count_where_nothing_was_set(
    database: Database, clock: SettableClock
) -> None:
    product = with_defaults(database, clock, all_=3, each=2)
    await product.server_settings.set(BY, ALLOWANCE, None)
    songs = [await product.create(1), await product.create(2)]
    with refusal(OperatorBudgetExceeded("each", TOMORROW)):
        await product.create(3)
    songs += [await product.create(4, who=OUTSIDER), await product.create(5, who=OUTSIDER)]
    assert [await product.submit(song) for song in songs] == [True, True, True, False]
    assert await product.operator.next_waiting(database.reader) is None
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.create(6, who=OUTSIDER)
    assert await product.operator.in_force() == [
        OperatorBudget("all", 0, None, 3),
        OperatorBudget("each", 0, None, 2),
    ]


async def test_set_budgets_replace_the_defaults(database: Database, clock: SettableClock) -> None:
    product = with_defaults(database, clock, all_=1, each=1)
    await product.create(1)
    await set_operator(product, "each")
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.create(2)
    await set_operator(product, "all", credits=2)
    await product.create(2)
    with refusal(OperatorBudgetExceeded("all", TOMORROW)):
        await product.create(3)
    await set_operator(product, "all")
    await product.create(3)
    assert await product.operator.in_force() == [
        OperatorBudget("all", 0, None, None),
        OperatorBudget("each", 0, None, None),
    ]
    await product.operator.drop("each", 0)
    with refusal(OperatorBudgetExceeded("each", TOMORROW)):
        await product.create(4)


async def test_submit_that_was_not_accepted_is_uncounted_on_its_day(
    product: Product, clock: SettableClock
) -> None:
    song = await product.create(1, seconds=60)
    assert not await product.uncount(song)
    assert await product.submit(song)
    clock.now = TOMORROW
    assert await product.uncount(song)
    clock.advance(seconds=-1)
    assert await product.operator.submitted_today() == Tally(0, 0)
    assert await product.submit(song)
    assert not await product.submit(replace(song, song_id=404))
    assert await product.operator.submitted_today() == Tally(1, 2)


async def test_budget_is_checked_again_at_the_submit(product: Product) -> None:
    first, second = await product.create(1), await product.create(2, seconds=60)
    await set_operator(product, "server", SERVER, credits=2)
    assert await product.submit(first)
    assert not await product.submit(second)
    assert await product.operator.submitted_today() == Tally(1, 1)


async def test_submits_at_once_never_exceed_the_operators_budget(product: Product) -> None:
    songs = [await product.create(n, who=member(n)) for n in range(1, 31)]
    await set_operator(product, "all", songs=7)
    counted = await asyncio.gather(*map(product.submit, songs))
    assert sum(counted) == 7
    assert await product.operator.submitted_today() == Tally(7, 7)


@pytest.mark.parametrize("figures", [{"credits": -1}, {"songs": MAX_BUDGET + 1}])
async def test_operators_budget_out_of_bounds_is_refused(
    product: Product, figures: dict[str, int]
) -> None:
    with refusal(OutOfRange("budget", 0, 1_000_000_000)):
        await set_operator(product, "all", **figures)
    assert await product.operator.in_force() == []


@pytest.mark.parametrize(
    "moment",
    [NOON, NOON.replace(hour=0), TOMORROW - timedelta(microseconds=1)],
)
def test_operators_day_is_in_utc(moment: datetime) -> None:
    assert utc_day(moment) == (NOON.replace(hour=0), TOMORROW)
