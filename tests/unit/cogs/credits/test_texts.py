"""What people read about credits."""

from syrupy.assertion import SnapshotAssertion

from cogs.client.texts import refusal_text
from cogs.credits import texts
from services.amounts import InvalidReason, TimePassed, TimeTooFar
from services.calendar import Period, UnknownPeriod, UnknownTimeZone
from services.credits.budgets import OperatorBudgetExceeded, ServerBudgetExceeded
from services.credits.transfers import (
    ExpiresTooSoon,
    GiftBlocked,
    GiftsNotAllowed,
    GiftToOneself,
    NotEnoughToGive,
    TooManyRoleGrants,
)
from services.errors import NotEnoughCredits
from services.moments import UnreadableTime
from tests.factories import NOON, make_song


def test_wording(snapshot: SnapshotAssertion) -> None:
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
    assert [refusal_text(refusal) for refusal in refusals] == snapshot(name="refusals")
    assert [
        texts.NO_LEADERBOARD,
        texts.BOT_RECEIVES,
        texts.receiver_left("@bob"),
        texts.gift_given("@bob", 1, 2_000, notified=True),
        texts.gift_given("@bob", 2, 0, notified=False),
        texts.gift_received("@bob", "@alice", 1),
    ] == snapshot(name="replies")
