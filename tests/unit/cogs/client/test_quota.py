"""Suggestions for a time that is being typed."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.client.quota import suggested_moments
from services.calendar import WELL_KNOWN
from services.moments import parse_moment
from tests.unit.services.test_moments import BERLIN, MOMENTS, NOW, TYPED


def suggested(typed: str) -> list[tuple[str, str]]:
    return [(c.name, c.value) for c in suggested_moments(typed, now=NOW, zone=BERLIN)]


@given(TYPED, MOMENTS, st.sampled_from(WELL_KNOWN))
def test_suggestions_can_be_sent(typed: str, now: datetime, zone: str) -> None:
    offered = suggested_moments(typed, now=now, zone=zone)
    assert len(offered) <= 25
    for choice in offered:
        assert len(choice.name) <= 100
        assert parse_moment(choice.value, now=now, zone=zone) > now


@pytest.mark.parametrize(
    ("typed", "choices"),
    [
        ("2026-12-31", [("2026-12-31: the end of Thursday, 31 December 2026", "2026-12-31")]),
        ("1 m", [("1 month: Thursday, 24 December 2026, 13:30", "1 month")]),
        ("2026-1", []),
    ],
)
def test_suggestion_shows_day_and_hour(typed: str, choices: list[tuple[str, str]]) -> None:
    assert suggested(typed) == choices


def test_usual_times_are_suggested_first() -> None:
    offered = suggested("")
    assert offered[0] == ("1 day: Wednesday, 25 November 2026, 13:30", "1 day")
    assert len(offered) == 7


def test_number_is_suggested_with_units() -> None:
    assert [value for _, value in suggested("in 5")] == [
        *("5 hours", "5 days", "5 weeks", "5 months")
    ]
