"""One member's credits in words, however much there is to say."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from cogs.client.texts import ago, shown
from cogs.settings.member_view import member_view
from db.records import Lot
from services.calendar import Calendar, Every, Period, Timeline
from services.credits.credits import Balance, CreditStatement
from services.settings.catalogue import BLOCK, MEMBER_ALLOWANCE, PAUSE
from services.settings.reader import Settings
from services.settings.settings import Allowance, Block, Member, Override, Source
from tests.factories import NOON, sums_of
from tests.unit.cogs.settings.layouts import buttons_in, check_limits, sent_by, text_in

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


OWN = Allowance(99, Source.MEMBER, until=DAY.end)
FREE = Allowance(None, Source.MEMBER)
ROLE = Allowance(50, Source.ROLE, role_id=7)


@pytest.mark.parametrize(
    ("allowance", "settings", "roles", "expected"),
    [
        (
            *(Allowance(20, Source.SERVER), Settings(roles={5: 50}), {6}),
            "20 credits a day: what this server gives everyone. None of their roles has",
        ),
        (
            *(ROLE, Settings(roles={7: 50, 6: 5}), {6, 7}),
            "have an allowance.\nNot counted, because allowances don't add up: <@&6> (5 credits",
        ),
        (Allowance(7, Source.ROLE, role_id=1), Settings(), (), "from @everyone, the highest"),
        (OWN, Settings(), (), f"their own allowance until {shown(DAY.end)}. It counts before"),
        (
            *(ROLE, Settings({MEMBER_ALLOWANCE: Override(99, NOON)}), {7}),
            f"Their own allowance (99 credits a day) ended {ago(NOON)}.",
        ),
        (FREE, Settings(), (), "**No limit**: songs cost them nothing.\n### Why\nunlimited: their"),
        (FREE, Settings(), (), "Held for songs in progress: worth 1,000,000 credits\n### Songs"),
        (Allowance(0, Source.SERVER), Settings(), (), "**0 credits** to spend now.\n### Why\n0 cr"),
        (Allowance(0, Source.SERVER), Settings(), (), "progress: 1,000,000 credits\n### Songs"),
        (ROLE, Settings({BLOCK: Block("was *loud*")}), (), "**Blocked**: was \\*loud\\*"),
        (ROLE, Settings({BLOCK: Block("was loud", NOON)}), (), "Not blocked."),
        (ROLE, Settings({PAUSE: "upkeep"}), (), "New songs are paused for everyone: upkeep"),
        (
            *(ROLE, Settings(timeline=Timeline(((DAY.end, Calendar(Every.WEEK)),))), ()),
            f"From {shown(DAY.end)} on the period is a week",
        ),
        (
            Allowance(5, Source.SERVER),
            Settings(roles={5: 50}),
            None,
            "gives everyone.\nThey are not",
        ),
    ],
)
def test_each_rule_is_explained(
    allowance: Allowance, settings: Settings, roles: Iterable[int] | None, expected: str
) -> None:
    known = None if roles is None else frozenset(roles)
    view = member_view(standing(allowance, settings, roles=known), at=NOON)
    assert expected in text_in(check_limits(view))


def test_credits_left_before_a_limit_was_lifted_stay() -> None:
    left = lot(1, kind="allowance", remaining=10)
    view = member_view(standing(FREE, Settings(), roles=frozenset(), lots=[left]), at=NOON)
    assert "They also have 10 credits, which stay as they are." in text_in(check_limits(view))


@pytest.mark.parametrize("blocked", [True, False])
def test_a_blocked_member_can_be_unblocked_and_others_blocked(blocked: bool) -> None:
    settings = Settings({BLOCK: Block("why")} if blocked else {})
    buttons = buttons_in(sent_by(member_view(standing(ROLE, settings, roles=frozenset()), at=NOON)))
    assert ("Unblock" in buttons, "Block" in buttons) == (blocked, not blocked)
