"""Cards: escaping of what people typed, and Discord's limits whatever is in a record."""

import re
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.client.texts import ordinal, plain
from cogs.songs import cards, texts
from db.records import Reason, Song, SongRequest, State
from services.amounts import MAX_AMOUNT, Prices
from services.errors import InvalidRequest
from services.providers.registry import PARAMETERS
from services.settings.catalogue import ALLOWANCE, GIFTS, LEADERBOARD
from services.settings.reader import Settings
from services.songs.queue import View
from services.songs.song_request import MAX_GENRES, MAX_LYRICS, parse_request
from services.songs.songs import PAGE, Page
from tests.factories import NOON, make_song

ZWSP = "\N{ZERO WIDTH SPACE}"
NASTY = "*_~`|\\[]()<>#@:/-+.1 a\n\u202e\u200f\x00😀é"
SNOWFLAKE = 2**63 - 1


def make_view(song: Song, **fields: Any) -> View:
    values = {"expected_at": NOON, "place": None, "waiting": 0, "free": 8, "unlimited": False}
    return View(song, **values | fields)


# --- a person's text ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("@everyone", f"@{ZWSP}everyone"),
        ("<@123> <@&4> <#5>", f"<{ZWSP}@{ZWSP}123> <{ZWSP}@{ZWSP}&4> <{ZWSP}#5>"),
        ("</cmd:1>", f"<{ZWSP}/cmd:1>"),
        ("<t:1:R>", f"<{ZWSP}t:1:R>"),
        ("https://x.test", f"https:{ZWSP}//x.test"),
        ("[a](http://x)", rf"\[a\](http:{ZWSP}//x)"),
        ("[**a**](b) [c](d)", r"\[\*\*a\*\*\](b) \[c\](d)"),
        ("`code` ||no|| ~~no~~", r"\`code\` \|\|no\|\| \~\~no\~\~"),
        ("# loud\n-# small\n> said\n- a\n1. b", "\\# loud\n\\-# small\n\\> said\n\\- a\n1\\. b"),
        ("lo-fi #1, 2.5", "lo-fi #1, 2.5"),
        ("a\\*b", r"a\\\*b"),
        ("left\u202eright\x07", "leftright"),
        ("夜の海 👩\u200d🎤", "夜の海 👩\u200d🎤"),
        ("  \u200e ", ""),
    ],
)
def test_a_persons_text_is_escaped(typed: str, shown: str) -> None:
    assert plain(typed) == shown


@given(st.text(NASTY), st.integers(1, 60))
def test_no_mark_in_a_persons_text_has_a_meaning(typed: str, longest: int) -> None:
    shown = plain(typed, longest)
    assert len(shown) <= 2 * longest
    bare = re.sub(r"\\[^a-z\s]", "x", shown)  # what is escaped is a letter among letters
    assert not re.search(r"[*_~`|\[\]\\]", bare)
    assert not re.search(r"^\s*[#>+-]", bare, re.MULTILINE)
    assert not re.search(r"[<@](?!\u200b)|://", bare)


def test_a_long_text_is_cut_with_an_ellipsis() -> None:
    assert plain("word " * 9, 10) == "word word…"


# --- cards ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th")),
        *((13, "13th"), (21, "21st"), (111, "111th"), (1_002, "1,002nd")),
    ],
)
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


def test_a_post_is_found_by_its_mark() -> None:
    song = make_song(99, number=3)
    assert (cards.post_card(song).footer.text or "").endswith(cards.post_mark(song))
    assert not cards.post_mark(song).endswith(cards.post_mark(make_song(9)))


def test_a_song_without_text_has_a_card() -> None:
    card = cards.song_card(make_song(number=5, genres="", lyrics="", state=State.COMPLETED))
    assert "Song #5" in (card.title or "")
    assert (texts.GENRES, texts.DELETED) in [(f.name, f.value) for f in card.fields]


def test_a_free_song_is_not_refunded() -> None:
    for state in (State.FAILED, State.CANCELLED):
        song = make_song(state=state)
        card = cards.status_card(make_view(song, unlimited=True))
        assert (card.description or "").endswith(texts.COST_NOTHING)
        assert card.fields[1].value == texts.price(song, unlimited=True)


def test_unknown_credits_are_not_shown() -> None:
    card = cards.status_card(make_view(make_song(), free=None))
    assert [field.name for field in card.fields] == [texts.LENGTH, texts.PRICE]


# --- Discord's limits -----------------------------------------------------------------------------


def within_limits(card: discord.Embed) -> bool:
    """Discord, "Embed Limits"; and no part that is there may be blank."""
    assert len(card.title or "") <= 256
    assert len(card.description or "") <= 4096
    assert len(card.footer.text or "") <= 2048
    assert len(card.fields) <= 25
    for field in card.fields:
        assert 0 < len((field.name or "").strip()) <= 256
        assert 0 < len((field.value or "").strip()) <= 1024
    assert len(card) <= 6000
    return True


def text(most: int, least: int = 0) -> st.SearchStrategy[str]:
    """Long texts of one repeated piece, since escaping makes those grow most."""
    some = st.text(st.sampled_from(NASTY) | st.characters(), min_size=1, max_size=8)
    length = st.integers(least, most)
    return st.builds(lambda piece, size: (piece * size)[:size], some, length)


@st.composite
def requests(draw: st.DrawFn) -> SongRequest:
    """Valid requests, with lyrics up to the longest."""
    try:
        return parse_request(
            PARAMETERS,
            genres="a" + draw(text(MAX_GENRES - 1)),
            lyrics=draw(text(MAX_LYRICS)),
            random_seed=lambda: 2**31 - 1,
        )
    except InvalidRequest:  # the composed form (NFC) of a text may be longer than what was typed
        return parse_request(PARAMETERS, genres="a", random_seed=lambda: 1)


@st.composite
def songs(draw: st.DrawFn) -> Song:
    request = draw(requests())
    state = draw(st.sampled_from(State))
    reason = None
    if state in (State.FAILED, State.UNDELIVERED, State.REFUNDED):
        reason = draw(st.sampled_from(Reason))
    elif state is State.COMPLETED:
        reason = draw(st.none() | st.sampled_from(Reason))
    return make_song(
        SNOWFLAKE,
        number=2**31,
        server_id=SNOWFLAKE,
        member_id=SNOWFLAKE,
        channel_id=SNOWFLAKE,
        genres=request.genres,
        lyrics=request.lyrics,
        seconds=240,
        seed=2**31 - 1,
        price=24,
        state=state,
        post_id=SNOWFLAKE if state is State.COMPLETED else None,
        reason=reason,
        reason_detail=draw(st.none() | text(4000)) if reason else None,
    )


@given(songs())
def test_a_songs_cards_are_within_discords_limits(song: Song) -> None:
    assert within_limits(cards.status_card(make_view(song, place=10**6, waiting=10**6)))
    assert within_limits(cards.post_card(song))
    assert within_limits(cards.song_card(song))


@given(songs())
def test_many_of_the_longest_songs_are_within_discords_limits(song: Song) -> None:
    views = [make_view(song, place=10**6, waiting=10**6)] * 30
    assert within_limits(cards.queue_card(views, viewer_id=1))
    page = Page([song] * PAGE, 10**6, 10**6, 10**7)
    assert within_limits(cards.history_card(page, member_id=SNOWFLAKE))


def test_help_and_hello_are_within_discords_limits() -> None:
    settings = Settings({ALLOWANCE: None, GIFTS: True, LEADERBOARD: True})
    prices = Prices(240, 150)
    assert within_limits(cards.help_card(settings, prices, manages=True))
    assert within_limits(cards.hello_card(allowance=MAX_AMOUNT, prices=prices))
