"""What may be requested: every bound, and odd text."""

import dataclasses
import math
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from db.records import SongRequest
from services.errors import InvalidRequest, OutOfRange, TooLong
from services.providers.registry import PARAMETERS
from services.songs.song_request import (
    INSTRUMENTAL,
    MAX_GENRES,
    MAX_LYRICS,
    MAX_TITLE,
    InstrumentalWithLyrics,
    NoGenres,
    parse_request,
    title_of,
)
from services.text import clean, has_words
from tests.refusals import refusal

BOUNDS: dict[str, tuple[float, float]] = {
    field.name: getattr(PARAMETERS, field.name).bounds for field in dataclasses.fields(PARAMETERS)
}
INTEGERS = ("seconds", "steps", "seed")
ANY_TEXT = st.text(st.characters(), max_size=400)  # lone surrogates among them
ODD = st.sampled_from(
    [
        *"\x00\u202e\u2066\ud800\ufeff\u200b\u200d\u2028\U000e0041\U0010ffff`\t []\N{GUITAR}",
        *("\x1b[31m", "e\u0301", "@everyone", "<@1>", "**", "\r\n", "\\n", "[chorus]"),
    ]
)
ODD_TEXT = st.lists(ODD | ANY_TEXT, max_size=12).map("".join)


def parse(**changes: Any) -> SongRequest:
    values: dict[str, Any] = {"genres": "funk, pop", "random_seed": lambda: 7}
    return parse_request(PARAMETERS, **values | changes)


def test_the_defaults_are_those_of_the_apis_page() -> None:
    request = parse()
    assert (request.seconds, request.steps, request.cfg, request.shift) == (60, 50, 4.0, 4.0)
    assert (request.lyrics_strength, request.seed) == (1.0, 7)


def test_the_bounds_are_those_of_the_apis_page() -> None:
    assert BOUNDS == {
        "seconds": (10, 240),
        "steps": (10, 150),
        "cfg": (1, 15),
        "shift": (0, 10),
        "lyrics_strength": (0.1, 10),
        "seed": (0, 2_147_483_647),
    }


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_itself_is_allowed_and_the_next_number_is_not(name: str) -> None:
    for bound, beyond in zip(BOUNDS[name], (-math.inf, math.inf), strict=True):
        assert getattr(parse(**{name: bound}), name) == bound
        next_one = (
            bound + math.copysign(1, beyond) if name in INTEGERS else math.nextafter(bound, beyond)
        )
        with refusal(OutOfRange(name, *BOUNDS[name])):
            parse(**{name: next_one})


@given(
    name=st.sampled_from(sorted(BOUNDS)),
    value=st.integers() | st.floats() | st.booleans() | st.just(10**400),
)
def test_a_number_is_accepted_unchanged_or_refused(name: str, value: float) -> None:
    low, high = BOUNDS[name]
    a_number = isinstance(value, int if name in INTEGERS else (int, float))
    if isinstance(value, bool) or not a_number or not low <= value <= high:
        with pytest.raises(OutOfRange):
            parse(**{name: value})
        return
    request = parse(**{name: value})
    assert getattr(request, name) == value
    assert type(getattr(request, name)) is (int if name in INTEGERS else float)


def test_a_seed_is_drawn_only_if_none_was_requested() -> None:
    def never() -> int:
        raise AssertionError

    assert parse(seed=0, random_seed=never).seed == 0
    assert parse(random_seed=lambda: PARAMETERS.seed.high).seed == PARAMETERS.seed.high


# --- Genres and lyrics ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "genres", ["", "   ", "\n\t", ",,,", "\u200b\u202e", "\x00", "\ud800", "\N{GUITAR}", "!?"]
)
def test_blank_genres_are_refused(genres: str) -> None:
    with pytest.raises(NoGenres):
        parse(genres=genres)


def test_too_long_genres_are_refused() -> None:
    assert len(parse(genres="x" * MAX_GENRES).genres) == MAX_GENRES
    with refusal(TooLong("genres", 301, 300)):
        parse(genres="x" * (MAX_GENRES + 1))


def test_genres_are_one_tidy_line() -> None:
    assert parse(genres="  funk,\n\t pop \x07 , 105\u202e BPM ").genres == "funk, pop , 105 BPM"
    assert parse(genres="funk\vpop\x85rock\u2028soul").genres == "funk, pop, rock, soul"


@pytest.mark.parametrize(
    "genres",
    [
        "funk, pop, soul",
        "funk\uff0cpop\u3001soul",  # otwarchive 1615, vnite 441
        "funk; pop;soul;",
        "funk\uff1b pop, \nsoul",
        "funk\u060c pop\u061b soul",
    ],
)
def test_genres_are_separated_by_plain_commas(genres: str) -> None:
    assert parse(genres=genres).genres == "funk, pop, soul"


def test_too_long_lyrics_are_refused() -> None:
    assert len(parse(lyrics="la " * 1_333 + "l").lyrics) == MAX_LYRICS
    with refusal(TooLong("lyrics", 4_001, 4_000)):
        parse(lyrics="x" * (MAX_LYRICS + 1))


def test_lyrics_and_genres_that_were_typed_within_the_limit_may_be_sent_longer() -> None:
    lyrics = "\n".join(["サビ", "あ" * 80] * 47)
    assert len(lyrics) <= MAX_LYRICS < len(parse(lyrics=lyrics).lyrics)
    genres = "、".join(["pop"] * 75)
    assert len(genres) <= MAX_GENRES < len(parse(genres=genres).genres)


@pytest.mark.parametrize(
    "lyrics", [None, "", " \n ", "[verse]\n\n[chorus]\n", "[verse 1] ... [chorus]", "\u202e"]
)
@pytest.mark.parametrize("instrumental", [False, True])
def test_lyrics_without_words_are_an_instrumental(lyrics: str | None, instrumental: bool) -> None:
    request = parse(lyrics=lyrics, instrumental=instrumental)
    assert request.lyrics == INSTRUMENTAL
    assert not has_words(request.lyrics)


def test_an_instrumental_with_lyrics_is_refused() -> None:
    with pytest.raises(InstrumentalWithLyrics):
        parse(lyrics="[verse]\nLa la", instrumental=True)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (r"[verse]\nOne\nTwo", "[verse]\nOne\nTwo"),
        ("One\r\nTwo\rThree", "One\nTwo\nThree"),
        ("  One\n\n  Two  ", "One\n\nTwo"),
        ("One\vTwo\fThree\x85Four\u2028Five\u2029Six", "One\nTwo\nThree\nFour\nFive\nSix"),
        ("\\\x00n la", "la"),
        ("Caf\x00e\u0301", "Caf\u00e9"),
        ("\N{WOMAN}\u200d\N{ROCKET} la", "\N{WOMAN}\u200d\N{ROCKET} la"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0646\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0646\u0645",
        ),
        ("@everyone <@1> sings", "@everyone <@1> sings"),
    ],
)
def test_line_breaks_and_hidden_characters_of_lyrics_are_normalised(typed: str, sent: str) -> None:
    assert parse(lyrics=typed).lyrics == sent


@given(text=ODD_TEXT)
@example(text="\ud800\udc00")
def test_clean_text_can_be_sent_and_has_no_hidden_characters(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn"}
    assert all(c in "\n\t\u200c\u200d" or unicodedata.category(c) not in hidden for c in cleaned)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert clean(cleaned) == cleaned


@given(genres=ODD_TEXT, lyrics=st.none() | ODD_TEXT, instrumental=st.booleans())
def test_any_text_is_a_valid_request_or_refused(
    genres: str, lyrics: str | None, instrumental: bool
) -> None:
    try:
        request = parse(genres=genres, lyrics=lyrics, instrumental=instrumental)
    except InvalidRequest:
        return
    assert 1 <= len(request.genres) <= max(MAX_GENRES, 2 * len(genres))
    assert "\n" not in request.genres
    assert 1 <= len(request.lyrics) <= max(MAX_LYRICS, 20 * len(lyrics or ""))
    assert has_words(request.lyrics) is (request.lyrics != INSTRUMENTAL)
    title = title_of(request.genres, request.lyrics)
    assert 1 <= len(title) <= MAX_TITLE
    assert title == " ".join(title.split())
    assert any(c.isalnum() for c in title)
    # A song that is requested again is the same song.
    assert parse(genres=request.genres, lyrics=request.lyrics) == request


@pytest.mark.parametrize(
    ("lyrics", "words"),
    [("[verse]", False), ("[verse] la", True), ("[a[b]c]", True), ("]la[", True), ("...", False)],
)
def test_text_in_brackets_is_not_sung(lyrics: str, words: bool) -> None:
    assert has_words(lyrics) is words


# --- Titles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lyrics", "title"),
    [
        ("[verse]\nOne\n[chorus]\nTwo\nThree", "Two"),
        ("[verse]\nOne\n[bridge]\nTwo", "One"),
        ("[bridge]\nTwo\n[outro]\nThree", "Two"),
        ("[Chorus] You make my mind", "You make my mind"),
        ("[CHORUS 2]\nUpper", "Upper"),
        ("[verse] One [chorus] Two", "Two"),
        ("No section at all\nSecond", "No section at all"),
        ("Before\n[verse]\nOne", "Before"),
        ("[intro]\n...\n[chorus]\n---\nReal words", "Real words"),
        ("[chorus]\n  Midnight   train, ", "Midnight train"),
        ("[chorus]\n\u2014 Alone \u2014", "Alone"),
        ("[chorus]\n[verse]\nOne", "One"),
        (INSTRUMENTAL, "funk, pop"),
        ("", "funk, pop"),
    ],
)
def test_the_title_is_the_first_line_of_the_chorus_or_else_of_the_lyrics(
    lyrics: str, title: str
) -> None:
    assert title_of("funk, pop", lyrics) == title


def test_a_long_line_is_cut_with_an_ellipsis() -> None:
    assert title_of("funk", "x" * MAX_TITLE) == "x" * MAX_TITLE
    title = title_of("funk", "word " * 40)
    assert title == "word " * 15 + "word\u2026"
    assert len(title) == MAX_TITLE
    cut = title_of("funk", "y" * 78 + " zz")
    assert cut == "y" * 78 + "\u2026"
