"""Grants, takings and resets by managers, and gifts between members."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest

from db import ledger, servers, settings
from db.database import Database
from db.records import Lot, Reason, SettingRow, to_ms
from services.amounts import LONGEST, MAX_AMOUNT, InvalidReason, TimePassed, TimeTooFar
from services.credits import transfers as module
from services.credits.transfers import (
    MAX_ROLE_GRANTS,
    ROLE_GRANT_LASTS,
    ExpiresTooSoon,
    GiftBlocked,
    NotEnoughToGive,
    ResetPlan,
    TooManyRoleGrants,
)
from services.errors import NotEnoughCredits, OutOfRange, Refusal
from services.settings.catalogue import ALLOWANCE, BLOCK, GIFTS
from services.settings.changelog import as_json
from services.settings.settings import Block, Member
from tests.factories import MEMBER, NOON, SERVER, SettableClock
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, MANAGER, WHO, Product, compose, member

FRIEND = member(5)
ROLE = 21
TOMORROW = datetime(2026, 3, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def product(database: Database, clock: SettableClock) -> Product:
    product = compose(database, clock)
    async with database.write() as connection:
        await servers.ensure_server(connection, SERVER)
        await settings.put(connection, SERVER, "server", SettingRow(GIFTS.key, 0, "true"))
    return product


async def gift(product: Product, amount: int, giver: Member = WHO, to: Member = FRIEND) -> int:
    moved = await product.transfers.gift(giver, to, gift_id=8, amount=amount)
    assert moved.amount == amount
    return moved.balance.free


async def role_grant(product: Product, role_grant_id: int = 50, **changes: Any) -> Any:
    values: dict[str, Any] = {"kind": "grant", "amount": 4, "reason": "For the band."}
    return await product.transfers.role_grant(
        BY, ROLE, role_grant_id=role_grant_id, **values | changes
    )


async def lots(product: Product, who: Member = WHO) -> list[Lot]:
    return list((await product.credits.balance(who)).lots)


# --- grants ---------------------------------------------------------------------------------------


async def test_grant_delivered_twice_is_one_and_lasts(
    product: Product, clock: SettableClock
) -> None:
    assert await product.grant(4) == 14
    assert await product.grant(4) == 14
    assert await product.grant(4, grant_id=6) == 18
    clock.advance(days=400)
    balance = await product.credits.balance(WHO)
    assert (balance.sums.allowance, balance.sums.granted) == (10, 8)
    assert [c.name for c in await product.changes()] == ["grant", "grant"]


async def test_statement_and_history_name_who_granted_and_why(product: Product) -> None:
    await product.grant(4)
    statement = await product.credits.statement(WHO, entries=9)
    entry = next(e for e in statement.entries if e.kind == "grant")
    assert (entry.amount, entry.actor_id, entry.reason) == (4, MANAGER, "A good song.")
    (lot,) = [lot for lot in statement.balance.lots if lot.kind == "grant"]
    assert (lot.remaining, lot.reason, lot.expires_at) == (4, "A good song.", None)
    (change,) = await product.changes()
    assert (change.subject_id, change.actor_id, change.reason) == (MEMBER, MANAGER, "A good song.")
    assert change.after == as_json({"credits": 4, "expires_at": None})


# --- taking ---------------------------------------------------------------------------------------


async def test_take_stops_at_what_is_free(product: Product) -> None:
    await product.grant(4)
    await product.create(1, seconds=240)
    assert await product.take(100) == 6
    assert await product.take(100) == 6  # delivered twice
    assert await product.free() == 0
    assert await product.take(100, take_id=7) == 0
    amounts = await product.rows("SELECT amount FROM ledger WHERE kind = 'take' ORDER BY entry_id")
    assert amounts == [(-6,), (0,)]
    assert [c.after for c in await product.changes()][1:] == [
        as_json({"credits": 6}),
        as_json({"credits": 0}),
    ]


async def test_what_lasts_longest_is_taken_first(product: Product) -> None:
    await product.grant(4, 1)
    await product.grant(4, 2, expires_at=NOON + HOUR)
    await product.take(5)
    assert {lot.lot_id.split(":")[0]: lot.remaining for lot in await lots(product)} == {
        "grant": 4,
        "allowance": 9,
    }


# --- grants to a role -----------------------------------------------------------------------------


async def test_role_grant_reaches_each_member_seen_with_the_role_once(product: Product) -> None:
    made = await role_grant(product)
    assert made.ends_at == NOON + ROLE_GRANT_LASTS
    assert await product.free() == 10
    for who in (member(MEMBER, ROLE), member(6, ROLE, 99)):
        assert await product.free(who) == 14
        assert await product.free(who) == 14
    assert await product.free(WHO) == 14  # without the role since
    assert await product.free(member(MEMBER, ROLE)) == 14
    rows = await product.rows(
        "SELECT entry_id, actor_id, reason FROM ledger WHERE kind = 'grant' ORDER BY member_id"
    )
    assert rows == [(f"grant:50:{who}", MANAGER, "For the band.") for who in (6, MEMBER)]


async def test_role_grant_pays_for_the_song_of_its_transaction(
    product: Product,
) -> None:
    """A refused song rolls the grant back with it."""
    await product.server_settings.set(BY, ALLOWANCE, 0)
    await role_grant(product, amount=3)
    fan = member(MEMBER, ROLE)
    with pytest.raises(NotEnoughCredits):
        await product.create(1, who=fan, seconds=240)
    assert await product.rows("SELECT entry_id FROM ledger") == []
    await product.create(2, who=fan, seconds=60)
    assert await product.free(fan) == 1


async def test_role_take_takes_once_what_is_free(product: Product) -> None:
    fan = member(MEMBER, ROLE)
    await product.create(1, seconds=240)
    await role_grant(product, kind="take", amount=9)
    assert await product.free() == 2
    assert await product.free(fan) == 0
    await product.grant(5)
    assert await product.free(fan) == 5


async def test_credits_for_a_role_expire_for_all_at_once(
    product: Product, clock: SettableClock
) -> None:
    made = await role_grant(product, expires_at=NOON + 3 * HOUR)
    assert made.ends_at == NOON + 3 * HOUR
    clock.advance(hours=2)
    assert await product.free(member(MEMBER, ROLE)) == 14
    clock.advance(hours=1)
    assert await product.free(member(MEMBER, ROLE)) == 10


async def test_role_grant_delivered_twice_is_one_even_after_its_end(
    product: Product, clock: SettableClock
) -> None:
    first = await role_grant(product)
    clock.advance(minutes=1)
    assert await role_grant(product, amount=9) == first
    clock.advance(days=31)
    await role_grant(product)
    assert len(await product.changes()) == 1
    assert await product.rows("SELECT role_grant_id, amount FROM role_grants") == [(50, 4)]
    (change,) = await product.changes()
    assert change.after == as_json(
        {"credits": 4, "role": ROLE, "ends_at": to_ms(NOON + ROLE_GRANT_LASTS), "expires_at": None}
    )


async def test_open_role_grants_are_limited(product: Product, clock: SettableClock) -> None:
    for role_grant_id in range(1, MAX_ROLE_GRANTS + 1):
        await role_grant(product, role_grant_id, ends_at=NOON + HOUR)
    with refusal(TooManyRoleGrants(25, NOON + HOUR)):
        await role_grant(product)
    assert (await role_grant(product, 1)).role_grant_id == 1
    clock.now = NOON + HOUR
    await role_grant(product)


# --- gifts ----------------------------------------------------------------------------------------


async def test_gift_delivered_again_moves_once(product: Product) -> None:
    assert await gift(product, 4) == 6
    assert await gift(product, 4) == 6
    await product.server_settings.set(BY, GIFTS, value=False)
    assert await gift(product, 4) == 6
    assert await product.free(FRIEND) == 14
    rows = await product.rows(
        "SELECT member_id, amount, actor_id FROM ledger WHERE kind = 'gift' ORDER BY amount"
    )
    assert rows == [(MEMBER, -4, 5), (5, 4, MEMBER)]


async def test_gift_keeps_its_expiry(product: Product, clock: SettableClock) -> None:
    """What lasts longest is given first, and each part keeps its own end."""
    await product.grant(2, 1)
    await product.grant(3, 2, expires_at=NOON + 48 * HOUR)
    assert await gift(product, 8) == 7
    given = [lot for lot in await lots(product, FRIEND) if lot.kind == "gift"]
    assert [(lot.remaining, lot.expires_at) for lot in given] == [
        (3, TOMORROW),
        (3, NOON + 48 * HOUR),
        (2, None),
    ]
    clock.now = TOMORROW
    assert await product.free(FRIEND) == 15
    clock.now = NOON + 48 * HOUR
    assert await product.free(FRIEND) == 12


async def test_gift_of_more_than_is_free_is_refused(product: Product) -> None:
    await product.create(1, seconds=240)
    with refusal(NotEnoughToGive(2)):
        await gift(product, 3)
    assert (await product.free(), await product.free(FRIEND)) == (2, 10)


@pytest.mark.parametrize("blocked", [MEMBER, FRIEND.member_id])
async def test_blocked_members_neither_give_nor_get(
    product: Product, clock: SettableClock, blocked: int
) -> None:
    await product.server_settings.set(BY, BLOCK, Block("Spam.", NOON + HOUR), blocked)
    with pytest.raises(GiftBlocked):
        await gift(product, 1)
    clock.now = NOON + HOUR
    assert await gift(product, 1) == 9


# --- resetting ------------------------------------------------------------------------------------


async def reset(product: Product, reset_id: int = 9) -> ResetPlan:
    return await product.transfers.reset(BY, reset_id=reset_id, reason="A new season.")


async def test_reset_takes_granted_credits_and_leaves_the_rest(
    product: Product, clock: SettableClock
) -> None:
    for n in (1, 2, 3):
        await product.grant(n, 100 + n, who=member(n))
    await product.grant(9, 200, who=member(4), expires_at=NOON + HOUR)
    late = await product.create(1, who=member(2))
    held = await product.create(2, who=member(3), seconds=240)
    await product.create(3, who=member(3), seconds=120)  # one of it from the grant
    await gift(product, 2, member(6), member(7))
    clock.now = TOMORROW
    await product.completion.fail(late, Reason.MODEL_FAILED)
    plan = await product.transfers.plan_reset(SERVER)
    assert plan == ResetPlan(members=3, credits=1 + 2 + 1 + 1)
    assert await reset(product) == plan
    assert await product.transfers.plan_reset(SERVER) == ResetPlan(0, 0)
    assert [await product.free(member(n)) for n in range(1, 8)] == [10] * 7
    await product.completion.fail(held, Reason.MODEL_FAILED)
    assert await product.free(member(3)) == 18
    change = (await product.changes())[-1]
    assert (change.name, change.reason) == ("reset", "A new season.")
    assert change.after == as_json({"members": 3, "credits": 5})


async def test_reset_leaves_an_allowance_that_lasts_longer(product: Product) -> None:
    await product.grant(4, 100, expires_at=NOON + HOUR)
    assert await reset(product) == ResetPlan(members=1, credits=4)
    lots = await product.rows("SELECT kind, remaining FROM lots ORDER BY kind")
    assert lots == [("allowance", 10), ("grant", 0)]


async def test_reset_that_was_interrupted_takes_once_when_repeated(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESET_BATCH", 2)
    for n in range(1, 6):
        await product.grant(n, 100 + n, who=member(n))
    apply = product.credits.apply

    async def interrupted(*args: Any, **values: Any) -> int | None:
        if args[1].member_id == 4:
            raise asyncio.CancelledError
        return await apply(*args, **values)

    monkeypatch.setattr(product.credits, "apply", interrupted)
    with pytest.raises(asyncio.CancelledError):
        await reset(product)
    assert await product.transfers.plan_reset(SERVER) == ResetPlan(3, 12)
    await product.grant(7, 300, who=member(1))  # since then
    monkeypatch.setattr(product.credits, "apply", apply)
    assert await reset(product) == ResetPlan(3, 12)
    assert await reset(product) == ResetPlan(0, 0)
    assert [await product.free(member(n)) for n in range(1, 6)] == [17, 10, 10, 10, 10]
    rows = await product.rows("SELECT sum(amount) FROM ledger WHERE kind = 'take'")
    assert rows == [(-15,)]
    assert [c.after for c in await product.changes() if c.name == "reset"] == [
        as_json({"members": 2, "credits": 3}),
        as_json({"members": 1, "credits": 3}),
        as_json({"members": 2, "credits": 9}),
    ]


async def test_reset_ends_open_role_grants(product: Product) -> None:
    await role_grant(product, 7)
    await role_grant(product, 8, kind="take", amount=3)
    assert await product.transfers.plan_reset(SERVER) == ResetPlan(0, 0, role_grants=2)
    await role_grant(product, 10, amount=1)  # after the preview
    assert await reset(product, 9) == ResetPlan(0, 0, role_grants=2)
    assert await reset(product, 9) == ResetPlan(0, 0)
    with_role = replace(WHO, roles=frozenset({ROLE}))
    assert await product.free(with_role) == 11
    change = (await product.changes())[-1]
    assert (change.name, change.after, change.reason) == (
        "reset",
        as_json({"role_grants": 2}),
        "A new season.",
    )


async def test_reset_of_nothing_is_no_change(product: Product) -> None:
    assert await reset(product) == ResetPlan(0, 0)
    assert await product.changes() == []


# --- what is refused ------------------------------------------------------------------------------

TOO_MUCH = MAX_AMOUNT + 1
TAKE = {"take_id": 6, "actor_id": MANAGER}
Move = Callable[[Product], Awaitable[Any]]


@pytest.mark.parametrize(
    ("move", "error"),
    [
        (lambda p: p.grant(TOO_MUCH), OutOfRange),
        (lambda p: p.transfers.take(WHO, **TAKE, amount=0, reason="Why."), OutOfRange),
        (lambda p: role_grant(p, amount=-1), OutOfRange),
        (lambda p: gift(p, 0), OutOfRange),
        (lambda p: p.grant(1, reason=" \n "), InvalidReason),
        (lambda p: p.transfers.take(WHO, **TAKE, amount=1, reason=""), InvalidReason),
        (lambda p: role_grant(p, reason="x" * 201), InvalidReason),
        (lambda p: p.transfers.reset(BY, reset_id=9, reason="\u200b"), InvalidReason),
        (lambda p: p.grant(1, expires_at=NOON), TimePassed),
        (lambda p: role_grant(p, ends_at=NOON + LONGEST + HOUR), TimeTooFar),
        (lambda p: role_grant(p, expires_at=NOON - HOUR), TimePassed),
        (
            lambda p: role_grant(p, ends_at=NOON + 2 * HOUR, expires_at=NOON + HOUR),
            ExpiresTooSoon,
        ),
    ],
)
async def test_invalid_input_is_refused_and_moves_nothing(
    product: Product, move: Move, error: type[Refusal]
) -> None:
    with pytest.raises(error):
        await move(product)
    assert (await product.free(), await product.free(FRIEND)) == (10, 10)
    assert await product.changes() == []
    assert await product.rows("SELECT role_grant_id FROM role_grants") == []


async def test_gift_that_fails_halfway_moves_nothing(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = AsyncMock(side_effect=sqlite3.OperationalError("disk I/O error"))
    monkeypatch.setattr(ledger, "insert_lot", broken)
    with pytest.raises(sqlite3.OperationalError):
        await gift(product, 4)
    monkeypatch.undo()
    assert (await product.free(), await product.free(FRIEND)) == (10, 10)
