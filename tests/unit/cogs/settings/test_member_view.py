"""One member's credits in words, however much there is to say."""

from datetime import timedelta
from typing import Any

import pytest

from cogs.settings.member_view import member_view
from db.records import Lot
from services.calendar import Calendar, Every, Period, Timeline
from services.credits.credits import Balance, CreditStatement
from services.settings.catalogue import BLOCK, MEMBER_ALLOWANCE, PAUSE
from services.settings.reader import Settings
from services.settings.settings import Allowance, Block, Member, Override, Source
from tests.factories import NOON, sums_of
from tests.unit.cogs.settings.layouts import check_limits, text_in

LONG_ID = 9_223_372_036_854_775_807
DAY = Period(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
MANY = {LONG_ID - number: 1_000_000 - number for number in range(250)}


def lot(number: int, **fields: Any) -> Lot:
    values: dict[str, Any] = {
        "lot_id": str(number),
        "kind": "grant",
        "amount": 1_000_000,
        "remaining": 999_999,
        "revision": 1,
        "expires_at": NOON + timedelta(days=number + 1),
        "reason": "*" * 200,
        "actor_id": LONG_ID,
    }
    return Lot(**values | fields)


def standing(
    allowance: Allowance, settings: Settings, *, roles: frozenset[int] | None, lots: Any = ()
) -> CreditStatement:
    balance = Balance(allowance, DAY, Every.DAY, NOON, lots, sums_of(lots))
    return CreditStatement(Member(1, LONG_ID, roles), balance, settings, 1_000_000, 1_000_000, ())


@pytest.mark.parametrize("credits", [1_000_000, None])
async def test_the_longest_explanation_is_within_discords_limits(credits: int | None) -> None:
    settings = Settings(
        {
            MEMBER_ALLOWANCE: Override(5, NOON - timedelta(days=1)),
            BLOCK: Block("*" * 200, NOON + timedelta(days=1)),
            PAUSE: "*" * 200,
        },
        roles=MANY,
        timeline=Timeline(((DAY.end, Calendar(Every.WEEK)),)),
    )
    allowance = Allowance(credits, Source.ROLE, role_id=LONG_ID)
    full = standing(allowance, settings, roles=frozenset(MANY), lots=list(map(lot, range(100))))
    text = text_in(check_limits(member_view(full, at=NOON)))
    assert ", 244 more" in text
    assert "and 94 more" in text


async def test_an_allowance_of_nothing_refills_to_nothing() -> None:
    allowance = Allowance(0, Source.SERVER)
    text = text_in(
        check_limits(member_view(standing(allowance, Settings(), roles=frozenset()), at=NOON))
    )
    assert "0 credits a day: what this server gives everyone." in text
    assert "Refills" not in text
    assert "left of" not in text


async def test_a_block_that_is_over_blocks_nobody() -> None:
    settings = Settings({BLOCK: Block("was loud", NOON)})
    text = text_in(
        check_limits(
            member_view(standing(settings.allowance, settings, roles=frozenset()), at=NOON)
        )
    )
    assert "Not blocked." in text


async def test_unknown_roles_are_shown_as_unknown() -> None:
    settings = Settings(roles={5: 50})
    text = text_in(
        check_limits(member_view(standing(settings.allowance, settings, roles=None), at=NOON))
    )
    assert "None of their roles" not in text
    assert "their roles aren't known" in text
