"""Completing the last term of a list of genres."""

from hypothesis import given
from hypothesis import strategies as st

from cogs.songs.song import CHOICE, CURATED, MOST_CHOICES, suggested_genres


def test_the_last_term_is_completed() -> None:
    assert suggested_genres("funk, fema", []) == ["funk, female vocals"]


def test_terms_that_begin_with_the_typed_text_come_first() -> None:
    offered = suggested_genres("rock", ["punk rock", "rock ballad"])
    assert offered.index("rock ballad") < offered.index("punk rock")


def test_case_is_ignored() -> None:
    assert suggested_genres("FUNK, PIA", []) == ["FUNK, piano"]


def test_chosen_terms_are_not_suggested_again() -> None:
    assert "jazz, jazz" not in suggested_genres("jazz, ja", [])
    assert suggested_genres("Jazz, jazz", []) == []


def test_used_genres_come_first_and_once() -> None:
    offered = suggested_genres("", ["zither, Funk", "funk, zither", "accordion"])
    assert offered[:3] == ["zither", "Funk", "accordion"]
    assert "funk" not in offered


def test_too_long_lists_are_not_suggested() -> None:
    offered = suggested_genres("a" * 92 + ", ", ["country, metal"])
    assert "a" * 92 + ", metal" in offered  # 99 characters
    assert "a" * 92 + ", country" not in offered  # 101
    assert suggested_genres("a" * 99 + ", ", []) == []
    assert suggested_genres("", ["z" * 101])[0] == CURATED[0]


@given(st.text(max_size=120), st.lists(st.text(max_size=120), max_size=80))
def test_suggestions_are_within_discords_limits(typed: str, used: list[str]) -> None:
    offered = suggested_genres(typed, used)
    assert len(offered) <= MOST_CHOICES
    assert all(1 <= len(text) <= CHOICE for text in offered)
