"""Prices, and the bounds of amounts, reasons and times."""

from datetime import timedelta

import pytest

from services.amounts import (
    LONGEST,
    MAX_AMOUNT,
    MAX_REASON,
    InvalidReason,
    Prices,
    TimePassed,
    TimeTooFar,
    check_amount,
    check_end,
    check_reason,
)
from services.errors import OutOfRange
from tests.factories import NOON
from tests.refusals import refusal

MS = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("seconds", "steps", "price"),
    [(10, 10, 1), (30, 50, 1), (31, 50, 2), (60, 50, 2), (60, 51, 4), (240, 150, 24)],
)
def test_price_rounds_up(seconds: int, steps: int, price: int) -> None:
    assert Prices().of(seconds, steps) == price


def test_operator_sets_the_parts_of_a_price() -> None:
    assert Prices(seconds=240, steps=150).of(240, 150) == 1
    assert Prices(seconds=1, steps=1).of(240, 150) == 36_000


@pytest.mark.parametrize("amount", [1, MAX_AMOUNT])
def test_amount_within_bounds(amount: int) -> None:
    check_amount(amount)


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1, 2**63, 10**30, -(10**30)])
def test_amount_out_of_bounds_is_refused(amount: int) -> None:
    with refusal(OutOfRange("amount", 1, 1_000_000)):
        check_amount(amount)


@pytest.mark.parametrize(
    ("typed", "tidy"),
    [
        ("  A good\n\tsong. ", "A good song."),
        ("x" * MAX_REASON, "x" * MAX_REASON),
        ("stop\u202e\x00it", "stopit"),
        ("half \ud83d of a pair", "half of a pair"),  # no file takes it
        ("fu\u0308r", "f\u00fcr"),
    ],
)
def test_reason_is_cleaned(typed: str, tidy: str) -> None:
    assert check_reason(typed) == tidy


@pytest.mark.parametrize("typed", ["", " \n ", "\x00\u200b", "\ud83d", "x" * (MAX_REASON + 1)])
def test_blank_or_long_reason_is_refused(typed: str) -> None:
    with refusal(InvalidReason(200)):
        check_reason(typed)


@pytest.mark.parametrize("after", [MS, LONGEST])
def test_future_end(after: timedelta) -> None:
    assert check_end(NOON + after, at=NOON) == NOON + after


@pytest.mark.parametrize("after", [-LONGEST, -MS, timedelta(), LONGEST + MS, LONGEST * 100])
def test_past_or_remote_end_is_refused(after: timedelta) -> None:
    with pytest.raises((TimePassed, TimeTooFar)):
        check_end(NOON + after, at=NOON)
