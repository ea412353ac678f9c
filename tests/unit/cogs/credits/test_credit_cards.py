"""Cards about credits: what they say in rare cases, and Discord's limits for any record."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.credits import credit_cards
from db.records import Entry, Lot
from db.reports import Place
from services.amounts import MAX_AMOUNT, MAX_REASON
from services.calendar import Calendar, Every, Period, Timeline
from services.credits.credits import Balance, CreditStatement
from services.settings.catalogue import BLOCK, GIFTS, PAUSE
from services.settings.reader import Settings
from services.settings.settings import Allowance, Block, Member, Source
from tests.factories import NOON, sums_of
from tests.unit.cogs.songs.test_cards import SNOWFLAKE, text, within_limits

LATER = NOON + timedelta(days=1)
ENTRY_KINDS = ("allowance", "grant", "take", "gift", "expire", "hold", "refund", "compensate")


def make_standing(lots: Sequence[Lot] = (), **fields: Any) -> CreditStatement:
    allowance = Allowance(10, Source.DEFAULT)
    balance = Balance(allowance, Period(NOON, LATER), Every.DAY, NOON, lots, sums_of(lots))
    values: dict[str, Any] = {"settings": Settings(), "spent": 0, "held": 0, "entries": ()}
    return CreditStatement(Member(1_000, 3_000), balance, **values | fields)


def unlimited(standing: CreditStatement) -> CreditStatement:
    allowance = Allowance(None, Source.ROLE, role_id=SNOWFLAKE)
    return replace(standing, balance=replace(standing.balance, allowance=allowance))


def field(card: discord.Embed, name: str) -> str:
    (value,) = (field.value for field in card.fields if field.name == name)
    return value or ""


@pytest.mark.parametrize(
    ("part", "whole", "full"), [(0, 10, 0), (5, 10, 6), (10, 10, 12), (20, 10, 12), (0, 0, 0)]
)
def test_the_bar_is_as_full_as_the_allowance(part: int, whole: int, full: int) -> None:
    assert credit_cards.bar(part, whole) == "▰" * full + "▱" * (12 - full)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"kind": "allowance", "amount": 10}, "`+10` allowance · "),
        ({"kind": "allowance", "amount": -4}, "`-4` allowance lowered · "),
        ({"kind": "grant", "amount": 1_000}, "`+1,000` granted by <@5> · "),
        ({"kind": "grant", "amount": 1, "actor_id": None}, "`+1` granted by the bot's operator · "),
        ({"kind": "take", "amount": 0, "reason": "no"}, "`0` taken by <@5>: no · "),
        ({"kind": "gift", "amount": 3}, "`+3` gift from <@5> · "),
        ({"kind": "gift", "amount": -3}, "`-3` gift to <@5> · "),
        ({"kind": "expire", "amount": -3}, "`-3` expired · "),
        ({"kind": "hold", "amount": -2, "number": 42}, "`-2` song #42 · "),
        (
            {"kind": "hold", "amount": -2, "number": 42, "channel_id": 7, "post_id": 8},
            "`-2` song [#42](https://discord.com/channels/1000/7/8) · ",
        ),
        (
            {"kind": "hold", "amount": 0, "price": 1, "number": 42},
            "`0` song #42, worth 1 credit · ",
        ),
        ({"kind": "refund", "amount": 2, "number": 42}, "`+2` refunded for #42 · "),
        (
            {"kind": "compensate", "amount": 2, "number": 42},
            "`+2` refunded for #42, which was not delivered · ",
        ),
    ],
)
def test_each_kind_of_entry_has_its_words(fields: dict[str, Any], line: str) -> None:
    values = {"price": None, "number": None, "actor_id": 5, "reason": None, "at": NOON}
    entry = Entry("e", **values | fields)
    assert credit_cards.entry_line(entry, 1_000) == f"{line}<t:{int(NOON.timestamp())}:R>"


def test_a_gift_names_who_it_is_from() -> None:
    lot = Lot("gift:1:0", "gift", 5, 3, 0, None, actor_id=7)
    assert credit_cards.lot_line(lot) == "`3` of 5 gift from <@7> · doesn't expire"


def test_lots_that_are_not_shown_are_summed_up() -> None:
    lots = [Lot(f"grant:{i}", "grant", 2, 2, 0, None, "short", 1) for i in range(100)]
    sources = credit_cards.sources_text(
        make_standing([*lots, Lot("a", "allowance", 9, 9, 0, LATER)])
    )
    assert sources.startswith("`9` of 10 a day")
    assert sources.count("granted by") == credit_cards.LOTS_SHOWN
    assert sources.endswith("\nand 92 more · 184 credits")


def test_lots_that_do_not_fit_are_summed_up() -> None:
    long = "*" * credit_cards.REASON_SHOWN
    lots = [Lot(str(i), "grant", 2, 2, 0, LATER, long, SNOWFLAKE) for i in range(8)]
    sources = credit_cards.sources_text(make_standing(lots))
    shown = sources.count("granted by")
    assert 3 <= shown < 8
    assert sources.endswith(f"\nand {8 - shown} more · {2 * (8 - shown)} credits")


def test_the_newest_entries_are_shown_as_far_as_they_fit() -> None:
    long = "*" * credit_cards.REASON_SHOWN
    entries = [Entry(str(i), "grant", i, None, None, SNOWFLAKE, long, NOON) for i in range(1, 9)]
    card = credit_cards.credits_card(make_standing(entries=entries), at=NOON)
    lately = field(card, "Recent").splitlines()
    assert 3 <= len(lately) < 8
    assert [line.split()[0] for line in lately] == [f"`+{i}`" for i in range(1, len(lately) + 1)]


@pytest.mark.parametrize("gifts", [False, True])
@pytest.mark.parametrize("free", [0, 5])
def test_gift_is_offered_to_who_can_give(gifts: bool, free: int) -> None:
    lots = [Lot("a", "allowance", 5, free, 0, LATER)] if free else []
    settings = Settings({GIFTS: gifts})
    card = credit_cards.credits_card(make_standing(lots, settings=settings), at=NOON)
    assert (card.footer.text is not None) == (gifts and free > 0)


def test_whom_the_leaderboard_does_not_name_hears_why() -> None:
    ten = [Place(1, member_id, 5) for member_id in range(10)]
    assert "You're not in the top 10" in footer(ten)
    assert "You made none" in footer(ten[:9])
    assert footer([*ten[:9], Place(10, 3_000, 1)]) == ""


def footer(places: Sequence[Place]) -> str:
    card = credit_cards.leaderboard_card(places, viewer_id=3_000, days=30, most=10)
    return card.footer.text or ""


# --- Discord's limits -----------------------------------------------------------------------------


@given(text(MAX_REASON, least=1), st.sampled_from(ENTRY_KINDS), st.integers(0, 30))
def test_the_credits_card_is_within_discords_limits(reason: str, kind: str, lots: int) -> None:
    entry = Entry("e", kind, -MAX_AMOUNT, 24, 2**31, SNOWFLAKE, reason, NOON, SNOWFLAKE, SNOWFLAKE)
    many = [
        Lot(str(i), "grant", MAX_AMOUNT, MAX_AMOUNT - 1, 0, LATER, reason, SNOWFLAKE)
        for i in range(lots)
    ]
    settings = Settings(
        {BLOCK: Block(reason, LATER), PAUSE: reason, GIFTS: True},
        timeline=Timeline(((LATER, Calendar(Every.MONTH, 23, "America/Argentina/Buenos_Aires")),)),
    )
    standing = make_standing(many, settings=settings, spent=10**9, held=10**9, entries=[entry] * 8)
    for whose in (standing, unlimited(standing)):
        assert within_limits(credit_cards.credits_card(whose, at=NOON))


def test_the_leaderboard_is_within_discords_limits() -> None:
    places = [Place(10**6, SNOWFLAKE, 10**9)] * 10
    assert within_limits(
        credit_cards.leaderboard_card(places, viewer_id=SNOWFLAKE, days=366, most=10)
    )
