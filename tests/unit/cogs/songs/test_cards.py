"""Cards: what they say, what they must never do, and Discord's limits whatever is in a record."""

import re
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.client.formatting import ordinal, plain
from cogs.songs import cards
from db.records import Song, SongRequest, Status, Step
from services.credits.amounts import MAX_AMOUNT, Prices
from services.errors import InvalidRequest
from services.providers.registry import PARAMETERS
from services.settings.settings import Allowance, Rules, Source
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
def test_a_persons_text_is_shown_and_means_nothing(typed: str, shown: str) -> None:
    assert plain(typed) == shown


@given(st.text(NASTY), st.integers(1, 60))
def test_no_mark_of_a_persons_text_keeps_its_meaning(typed: str, longest: int) -> None:
    shown = plain(typed, longest)
    assert len(shown) <= 2 * longest
    bare = re.sub(r"\\[^a-z\s]", "x", shown)  # what is escaped is a letter among letters
    assert not re.search(r"[*_~`|\[\]\\]", bare)
    assert not re.search(r"^\s*[#>+-]", bare, re.MULTILINE)
    assert not re.search(r"[<@](?!\u200b)|://", bare)


def test_a_long_text_is_cut_with_an_ellipsis() -> None:
    assert plain("word " * 9, 10) == "word word…"


# --- what the cards say ---------------------------------------------------------------------------


def test_a_waiting_song_shows_its_place_time_price_and_rest() -> None:
    song = make_song(42, genres="funk", lyrics="[chorus]\nMidnight train", price=2, seed=7)
    card = cards.status_card(make_view(song, place=2, waiting=5, free=8))
    assert card.title == "⏳ Midnight train"
    assert "**QUEUED**" in (card.description or "")
    assert f"2nd of 5 waiting, expected <t:{int(NOON.timestamp())}:R>" in (card.description or "")
    assert [(f.name, f.value) for f in card.fields] == [
        ("Length", "60 s"),
        ("Price", "2 credits"),
        ("Left", "8 credits"),
    ]
    assert card.footer.text == "#42 · seed 7"


@pytest.mark.parametrize(
    ("fields", "news"),
    [
        ({"step": Step.SUBMITTED}, "Expected <t:"),
        ({"step": Step.DOWNLOADED}, "◉ **PROCESSING** → ○ COMPLETED\nExpected <t:"),
        ({"step": Step.ENDED, "post_id": 77}, "](https://discord.com/channels/1000/2000/77)"),
        (
            {"step": Step.ENDED, "status": Status.FAILED, "reason": "Blocked: *why*."},
            "**FAILED**\nBlocked: \\*why\\*.\nYour credits are back.",
        ),
        ({"step": Step.ENDED, "status": Status.CANCELLED}, "**CANCELLED**\nYour credits are back."),
        (
            {"step": Step.ENDED, "undelivered": "The channel is gone.", "file": "1.mp3"},
            "could not be posted. The channel is gone.\n**Get the song**, or `/show 1`, gives",
        ),
        (
            {"step": Step.ENDED, "undelivered": "No.", "delivered_at": NOON},
            "It could not be posted, so <@3000> got it, alone, <t:",
        ),
        (
            {"step": Step.ENDED, "undelivered": "No."},
            "It could not be delivered, so its price was given back.",
        ),
    ],
)
def test_each_state_has_its_news(fields: dict[str, Any], news: str) -> None:
    card = cards.status_card(make_view(make_song(**fields)))
    assert news in (card.description or "")


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_price_that_was_given_back_says_so(status: Status) -> None:
    card = cards.status_card(make_view(make_song(step=Step.ENDED, status=status, price=1)))
    assert card.fields[1].value == "1 credit, given back"


def test_a_completed_song_has_come_all_the_way() -> None:
    assert cards.progress(Status.COMPLETED) == "● QUEUED → ● PROCESSING → ● **COMPLETED**"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th")),
        *((13, "13th"), (21, "21st"), (111, "111th"), (1_002, "1,002nd")),
    ],
)
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


def test_the_post_can_be_found_again_by_its_mark() -> None:
    song = make_song(99, number=3)
    assert (cards.post_card(song).footer.text or "").endswith(cards.post_mark(song))
    assert not cards.post_mark(song).endswith(cards.post_mark(make_song(9)))


def test_words_that_were_forgotten_leave_a_card() -> None:
    card = cards.song_card(make_song(number=5, genres="", lyrics="", step=Step.ENDED))
    assert "Song #5" in (card.title or "")
    assert ("Genres", "deleted") in [(f.name, f.value) for f in card.fields]


def test_a_reason_of_nothing_visible_is_still_a_field() -> None:
    song = make_song(step=Step.ENDED, status=Status.FAILED, reason="\u200e \n")
    assert within_limits(cards.song_card(song))


def test_an_empty_queue_says_how_to_start() -> None:
    assert "/song" in (cards.queue_card([], viewer_id=1).description or "")


def test_a_long_queue_says_how_many_more() -> None:
    views = [make_view(make_song(i), place=i, waiting=20) for i in range(1, 21)]
    card = cards.queue_card(views, viewer_id=views[0].song.member_id)
    assert (card.description or "").endswith("and 5 more")
    assert "yours" in (card.description or "")
    assert "all servers" in (card.footer.text or "")


def test_what_runs_has_no_place() -> None:
    card = cards.queue_card([make_view(make_song(step=Step.SUBMITTED))], viewer_id=1)
    assert "**now**" in (card.description or "")
    assert card.footer.text is None


def test_a_song_that_was_free_says_so_and_gives_nothing_back() -> None:
    waiting = cards.status_card(make_view(make_song(price=2), unlimited=True))
    assert [(f.name, f.value) for f in waiting.fields[1:]] == [
        ("Price", "2 credits, free for you"),
        ("Left", "as many as you like"),
    ]
    for status in (Status.FAILED, Status.CANCELLED):
        over = make_song(step=Step.ENDED, status=status)
        card = cards.status_card(make_view(over, unlimited=True))
        assert (card.description or "").endswith("It cost you nothing.")
        assert card.fields[1].value == "2 credits, free for you"


def test_what_is_left_is_not_guessed() -> None:
    card = cards.status_card(make_view(make_song(), free=None))
    assert [field.name for field in card.fields] == ["Length", "Price"]


RULES = Rules(Allowance(10, Source.DEFAULT))


def field(card: discord.Embed, name: str) -> str:
    (value,) = (field.value for field in card.fields if field.name == name)
    return value or ""


def test_the_operators_prices_are_told() -> None:
    prices = Prices(seconds=20, steps=1_000)
    help_price = field(cards.help_card(RULES, prices, manages=False), "Price")
    assert "1 credit for each begun 20 seconds" in help_price
    assert "each begun 1,000 `steps` over the first 1,000" in help_price
    hello = cards.hello_card(allowance=1, prices=prices)
    assert "1 credit a day for each of you; a minute of music costs 3." in field(
        hello, "For everyone"
    )
    free = cards.hello_card(allowance=None, prices=prices)
    assert field(free, "For everyone").startswith("As many songs as you like a day")


def test_help_names_what_the_server_allows() -> None:
    more = field(cards.help_card(RULES, Prices(), manages=False), "More")
    assert "`/credits`" in more
    assert "`/gift`" not in more
    assert "`/leaderboard`" not in more
    rules = Rules(Allowance(10, Source.DEFAULT), gifts=True, leaderboard=True)
    more = field(cards.help_card(rules, Prices(), manages=False), "More")
    assert "`/gift`" in more
    assert "`/leaderboard`" in more


def test_those_who_manage_the_server_get_five_first_steps() -> None:
    for card in (
        cards.help_card(RULES, Prices(), manages=True),
        cards.hello_card(allowance=10, prices=Prices()),
    ):
        steps = card.fields[-1].value or ""
        assert all(f"{number}. `/quota " in steps for number in range(1, 6))
        assert "`/quota show`" in steps


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
    """Odd and long: one piece, over and over, since what grows by escaping is what is repeated."""
    some = st.text(st.sampled_from(NASTY) | st.characters(), min_size=1, max_size=8)
    length = st.integers(least, most)
    return st.builds(lambda piece, size: (piece * size)[:size], some, length)


@st.composite
def requests(draw: st.DrawFn) -> SongRequest:
    """What may be asked for, words up to the longest."""
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
    step, status = draw(
        st.sampled_from(
            [
                (Step.WAITING, Status.QUEUED),
                (Step.POSTING, Status.PROCESSING),
                *((Step.ENDED, s) for s in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)),
            ]
        )
    )
    undelivered = draw(st.none() | text(400)) if status is Status.COMPLETED else None
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
        step=step,
        status=status,
        post_id=SNOWFLAKE if status is Status.COMPLETED else None,
        reason=draw(text(4000)) if status is Status.FAILED else None,
        undelivered=undelivered,
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


def test_the_cards_of_words_are_within_discords_limits() -> None:
    rules = Rules(Allowance(None, Source.SERVER), gifts=True, leaderboard=True)
    prices = Prices(240, 150)
    assert within_limits(cards.help_card(rules, prices, manages=True))
    assert within_limits(cards.hello_card(allowance=MAX_AMOUNT, prices=prices))
