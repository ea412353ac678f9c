"""What people read about credits, and Discord's limits for the cards."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from cogs.client.texts import refusal_text
from cogs.credits import texts
from cogs.credits.credits import credits_card, leaderboard_card
from db.records import Entry, Lot, RoleGrant
from db.reports import Place
from services.amounts import MAX_AMOUNT, MAX_REASON, InvalidReason, TimePassed, TimeTooFar
from services.calendar import Calendar, Every, Period, Timeline, UnknownPeriod, UnknownTimeZone
from services.credits.budgets import OperatorBudgetExceeded, ServerBudgetExceeded
from services.credits.credits import Balance, CreditStatement
from services.credits.transfers import (
    ExpiresTooSoon,
    GiftBlocked,
    GiftsNotAllowed,
    GiftToOneself,
    Moved,
    NotEnoughToGive,
    ResetPlan,
    TooManyRoleGrants,
)
from services.errors import NotEnoughCredits
from services.moments import UnreadableTime
from services.settings.catalogue import BLOCK, BUDGET, GIFTS, PAUSE, ROLE_ALLOWANCE
from services.settings.reader import Settings
from services.settings.settings import Allowance, Block, Member, Source
from tests.factories import NOON, make_song, sums_of
from tests.unit.cogs.songs.test_cards import SNOWFLAKE, text, within_limits

SERVER = 1_000
LATER = NOON + timedelta(days=1)
DEFAULT = Allowance(10, Source.DEFAULT)
UNLIMITED = Allowance(None, Source.ROLE, role_id=21)
OWN = Lot("a", "allowance", 10, 8, 0, LATER)


def statement(
    lots: Sequence[Lot] = (),
    allowance: Allowance = DEFAULT,
    every: Every = Every.DAY,
    values: Any = None,
    **fields: Any,
) -> CreditStatement:
    balance = Balance(allowance, Period(NOON, LATER), every, NOON, lots, sums_of(lots))
    settings = Settings(values or {}, timeline=fields.pop("timeline", Timeline()))
    usual: dict[str, Any] = {"spent": 2, "held": 0, "entries": ()}
    return CreditStatement(Member(SERVER, 3_000), balance, settings, **usual | fields)


def moved(amount: int) -> Moved:
    return Moved(amount, statement([OWN]).balance)


def test_refusals(snapshot: SnapshotAssertion) -> None:
    refusals = [
        NotEnoughCredits(4, 2, 10, "week", NOON),
        NotEnoughCredits(1, 0, None, "day", NOON),
        ServerBudgetExceeded(make_song(price=2), Period(NOON, NOON)),
        OperatorBudgetExceeded("all", NOON),
        OperatorBudgetExceeded("each", NOON),
        InvalidReason(),
        TimePassed(),
        TimeTooFar(),
        UnreadableTime(),
        UnknownPeriod(),
        UnknownTimeZone([]),
        UnknownTimeZone(["Europe/Berlin", "Europe/Bern"]),
        ExpiresTooSoon(),
        TooManyRoleGrants(25, NOON),
        GiftToOneself(),
        GiftsNotAllowed(),
        GiftBlocked(),
        NotEnoughToGive(1),
    ]
    assert [refusal_text(refusal) for refusal in refusals] == snapshot


def test_commands(snapshot: SnapshotAssertion) -> None:
    grant = RoleGrant(1, SERVER, 21, "grant", 5, "Won.", 7, NOON, LATER, None)
    everyone = RoleGrant(1, SERVER, SERVER, "grant", 1, "*Won*", 7, NOON, LATER, LATER)
    take = RoleGrant(1, SERVER, 21, "take", 1_000, "Lost.", 7, NOON, LATER, None)
    assert [
        texts.gift_given("@bob", 1, 2_000, notified=True),
        texts.gift_given("@bob", 2, 0, notified=False),
        texts.gift_received("@bob", "@alice", 1),
        texts.granted("@bob", moved(5), "*Won* @everyone", None),
        texts.granted("@bob", moved(1), "Won.", LATER),
        texts.taken("@bob", moved(3), 3, "Lost.", held=0),
        texts.taken("@bob", moved(1), 3, "Lost.", held=1),
        texts.taken("@bob", moved(0), 3, "Lost.", held=2),
        *map(texts.role_granted, (grant, everyone, take)),
        *(texts.reset_preview(what, ResetPlan(0, 0), []) for what in texts.NOTHING_TO_RESET),
        texts.reset_preview(
            texts.EVERYTHING,
            ResetPlan(1, 1, role_grants=1),
            [(ROLE_ALLOWANCE, 21), (BUDGET, 0), (ROLE_ALLOWANCE, 22)],
        ),
        texts.credits_reset(ResetPlan(0, 0)),
        texts.credits_reset(ResetPlan(1, 1)),
        texts.credits_reset(ResetPlan(2, 1_000, role_grants=2)),
        texts.settings_reset(0),
        texts.settings_reset(1),
    ] == snapshot


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "allowance", "amount": 10},
        {"kind": "allowance", "amount": -4},
        {"kind": "grant", "amount": 1_000},
        {"kind": "grant", "amount": 1, "actor_id": None},
        {"kind": "take", "amount": 0, "reason": "*no*"},
        {"kind": "gift", "amount": 3},
        {"kind": "gift", "amount": -3},
        {"kind": "expire", "amount": -3},
        {"kind": "hold", "amount": -2, "number": 42},
        {"kind": "hold", "amount": -2, "number": 42, "channel_id": 7, "post_id": 8},
        {"kind": "hold", "amount": 0, "price": 1, "number": 42},
        {"kind": "refund", "amount": 2, "number": 42},
        {"kind": "compensate", "amount": 2, "number": 42},
    ],
    ids=str,
)
def test_entry(fields: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    values = {"price": None, "number": None, "actor_id": 5, "reason": None, "at": NOON}
    assert texts.entry_line(Entry("e", **values | fields), SERVER) == snapshot


@pytest.mark.parametrize(
    ("lots", "allowance"),
    [
        ([OWN], DEFAULT),
        ([OWN], Allowance(25, Source.ROLE, role_id=21)),
        ([OWN], Allowance(25, Source.ROLE, role_id=SERVER)),
        ([OWN], Allowance(40, Source.MEMBER)),
        ([OWN], Allowance(40, Source.MEMBER, until=LATER)),
        ([], Allowance(0, Source.SERVER)),
        ([OWN], UNLIMITED),
        ([Lot("grant:1", "grant", 4, 4, 0, LATER, "the jam")], DEFAULT),
        ([Lot("grant:1", "grant", 5, 2, 0, None, "*Won*", 7)], DEFAULT),
        ([Lot("gift:1:0", "gift", 5, 3, 0, None, actor_id=7)], DEFAULT),
        ([Lot("return:1", "return", 2, 2, 0, LATER)], DEFAULT),
    ],
)
def test_sources(lots: list[Lot], allowance: Allowance, snapshot: SnapshotAssertion) -> None:
    assert texts.sources_text(statement(lots, allowance)) == snapshot


def test_card(snapshot: SnapshotAssertion) -> None:
    weekly = Timeline(((LATER, Calendar(Every.WEEK, 6, "Europe/Berlin")),))
    entry = Entry("e", "expire", -1, None, None, None, None, NOON)
    statements = [
        statement([OWN]),
        statement([OWN], Allowance(0, Source.SERVER), every=Every.WEEK, held=1, entries=[entry]),
        statement([], Allowance(0, Source.SERVER), every=Every.MONTH, values={GIFTS: True}),
        statement([OWN], UNLIMITED, held=8, values={GIFTS: True}),
        statement([OWN], values={BLOCK: Block("*spam*", LATER), PAUSE: ""}, timeline=weekly),
        statement([OWN], values={BLOCK: Block("spam"), PAUSE: "till noon"}),
        statement([OWN], values={BLOCK: Block("spam", NOON)}),
    ]
    assert [credits_card(each, at=NOON).to_dict() for each in statements] == snapshot


@pytest.mark.parametrize(
    ("part", "total", "full"), [(0, 10, 0), (5, 10, 6), (10, 10, 12), (20, 10, 12), (0, 0, 0)]
)
def test_bar_is_as_full_as_the_allowance(part: int, total: int, full: int) -> None:
    assert texts.bar(part, total) == "▰" * full + "▱" * (12 - full)


def test_lots_that_are_not_listed_are_summed_up() -> None:
    lots = [Lot(f"grant:{i}", "grant", 2, 2, 0, None, "short", 1) for i in range(100)]
    sources = texts.sources_text(statement([*lots, OWN]))
    assert sources.startswith("`8` of 10 a day")
    assert sources.count("granted by") == texts.LOTS_SHOWN
    assert sources.endswith("\nand 92 more · 184 credits")


def test_lots_that_do_not_fit_are_summed_up() -> None:
    long = "*" * texts.REASON_SHOWN
    lots = [Lot(str(i), "grant", 2, 2, 0, LATER, long, SNOWFLAKE) for i in range(8)]
    sources = texts.sources_text(statement(lots))
    listed = sources.count("granted by")
    assert 3 <= listed < 8
    assert sources.endswith(f"\nand {8 - listed} more · {2 * (8 - listed)} credits")


def test_newest_entries_are_listed_as_far_as_they_fit() -> None:
    long = "*" * texts.REASON_SHOWN
    entries = [Entry(str(i), "grant", i, None, None, SNOWFLAKE, long, NOON) for i in range(1, 9)]
    lines = texts.entries_text(statement(entries=entries)).splitlines()
    assert 3 <= len(lines) < 8
    assert [line.split()[0] for line in lines] == [f"`+{i}`" for i in range(1, len(lines) + 1)]


def board(places: Sequence[Place]) -> discord.Embed:
    return leaderboard_card(places, viewer_id=3_000, days=30, most=10)


def test_leaderboard(snapshot: SnapshotAssertion) -> None:
    ten = [Place(1, member_id, 5) for member_id in range(10)]
    boards: list[list[Place]] = [[], ten, ten[:9], [Place(1, 5, 2), Place(2, 3_000, 1)]]
    assert [board(places).to_dict() for places in boards] == snapshot


ENTRY_KINDS = ("allowance", "grant", "take", "gift", "expire", "hold", "refund", "compensate")


@given(text(MAX_REASON, least=1), st.sampled_from(ENTRY_KINDS), st.integers(0, 30))
def test_credits_card_is_within_discords_limits(reason: str, kind: str, lots: int) -> None:
    entry = Entry("e", kind, -MAX_AMOUNT, 24, 2**31, SNOWFLAKE, reason, NOON, SNOWFLAKE, SNOWFLAKE)
    many = [
        Lot(str(i), "grant", MAX_AMOUNT, MAX_AMOUNT - 1, 0, LATER, reason, SNOWFLAKE)
        for i in range(lots)
    ]
    facts: dict[str, Any] = {
        "values": {BLOCK: Block(reason, LATER), PAUSE: reason, GIFTS: True},
        "timeline": Timeline(((LATER, Calendar(Every.MONTH, 23, "America/Indiana/Vevay")),)),
        "spent": 10**9,
        "held": 10**9,
        "entries": [entry] * 8,
    }
    for allowance in (DEFAULT, Allowance(None, Source.ROLE, role_id=SNOWFLAKE)):
        assert within_limits(credits_card(statement(many, allowance, **facts), at=NOON))


def test_leaderboard_is_within_discords_limits() -> None:
    assert within_limits(board([Place(10**6, SNOWFLAKE, 10**9)] * 10))
