"""Completing the last term of a list of genres."""

from hypothesis import given
from hypothesis import strategies as st

from cogs.songs.genres import CURATED, LONGEST, MOST, complete


def test_the_last_term_is_completed_and_the_others_stay() -> None:
    assert complete("funk, fema", []) == ["funk, female vocals"]


def test_what_begins_with_the_typed_text_comes_before_what_holds_it() -> None:
    offered = complete("rock", ["punk rock", "rock ballad"])
    assert offered.index("rock ballad") < offered.index("punk rock")


def test_the_case_does_not_matter() -> None:
    assert complete("FUNK, PIA", []) == ["FUNK, piano"]


def test_what_was_chosen_is_not_offered_again() -> None:
    assert "jazz, jazz" not in complete("jazz, ja", [])
    assert complete("Jazz, jazz", []) == []


def test_own_genres_come_first_each_once() -> None:
    offered = complete("", ["zither, Funk", "funk, zither", "accordion"])
    assert offered[:3] == ["zither", "Funk", "accordion"]
    assert "funk" not in offered


def test_nothing_is_offered_where_the_whole_would_be_too_long() -> None:
    offered = complete("a" * 92 + ", ", ["country, metal"])
    assert "a" * 92 + ", metal" in offered  # 99 characters
    assert "a" * 92 + ", country" not in offered  # 101
    assert complete("a" * 99 + ", ", []) == []
    assert complete("", ["z" * 101])[0] == CURATED[0]


def test_a_name_of_just_100_characters_is_offered() -> None:
    assert (
        complete("a" * 94 + ", ", []) == [f"{'a' * 94}, {t}" for t in CURATED if len(t) <= 4][:25]
    )


@given(st.text(max_size=120), st.lists(st.text(max_size=120), max_size=80))
def test_discord_takes_whatever_is_offered(typed: str, used: list[str]) -> None:
    offered = complete(typed, used)
    assert len(offered) <= MOST
    assert all(1 <= len(text) <= LONGEST for text in offered)
