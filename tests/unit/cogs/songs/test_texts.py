"""The wording of everything that people read about songs, in one file beside this one.

After a change: `pytest tests/unit/cogs/songs/test_texts.py --snapshot-update`, then read the diff.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import discord
import pytest
from syrupy.assertion import SnapshotAssertion

from cogs.client.texts import FIELD, refusal_text
from cogs.songs import cards, texts
from db.records import Reason, Song, SongEvent, State, Status
from services.amounts import Prices
from services.errors import ServerNotAllowed, SongsPaused
from services.settings.catalogue import GIFTS, LEADERBOARD
from services.settings.reader import Settings
from services.songs import admission, refusals
from services.songs.song_request import InstrumentalWithLyrics, NoGenres
from services.songs.songs import Page
from tests.factories import NOON, make_song
from tests.unit.cogs.songs.test_cards import make_view

REASON = Reason.CHANNEL_GONE
SONGS: dict[str, dict[str, Any]] = {
    "waiting": {},
    "submitted": {"state": State.SUBMITTED},
    "processing": {"state": State.DOWNLOADED},
    "posted": {"state": State.COMPLETED, "post_id": 77},
    "undelivered": {"state": State.UNDELIVERED, "reason": REASON},
    "undelivered in another channel": {
        "state": State.UNDELIVERED,
        "reason": REASON,
        "origin_id": 9,
    },
    "delivered": {"state": State.COMPLETED, "reason": REASON},
    "refunded": {"state": State.REFUNDED, "reason": REASON},
    "failed": {
        "state": State.FAILED,
        "reason": Reason.MODEL_FAILED,
        "reason_detail": "NSFW *words*",
        "origin_id": 9,
    },
    "cancelled": {"state": State.CANCELLED},
}
DEFAULTS = Settings()
ALL_ALLOWED = Settings({GIFTS: True, LEADERBOARD: True})


def read(card: discord.Embed) -> str:
    """A card as people read it, from top to bottom."""
    fields = [f"{field.name}: {field.value}" for field in card.fields]
    return "\n".join(filter(None, [card.title, card.description, *fields, card.footer.text]))


@pytest.mark.parametrize("name", SONGS)
def test_song(name: str, snapshot: SnapshotAssertion) -> None:
    song = make_song(1, price=2, **SONGS[name])
    place = 2 if song.state is State.WAITING else None
    view = make_view(song, place=place, waiting=5)
    assert read(cards.status_card(view)) == snapshot(name="status message")
    assert read(cards.song_card(song, None if song.ended else view)) == snapshot(name="card")


def test_each_reason_has_a_sentence() -> None:
    assert texts.REASONS.keys() == set(Reason)


def test_story(snapshot: SnapshotAssertion) -> None:
    steps = [State.WAITING, *texts.STEPS]
    events = [SongEvent(NOON, *pair, Reason.CHANNEL_GONE) for pair in itertools.pairwise(steps)]
    posted, handed_over = make_song(post_id=9), make_song()
    assert texts.story(posted, events[:8]) == snapshot(name="posted late")
    assert texts.story(handed_over, events) == snapshot(name="all steps")
    long = SongEvent(NOON, State.POSTING, State.UNDELIVERED, Reason.NO_ACCESS)
    assert 500 < len(texts.story(posted, [long] * 50)) <= FIELD


def other_cards() -> Iterator[tuple[str, discord.Embed]]:
    song = make_song(1, price=2)
    yield "post", cards.post_card(song)
    yield "status message of a free song", cards.status_card(make_view(song, unlimited=True))
    yield "hidden card", cards.hidden_card(song)
    yield "given to its requester", cards.handed_over_card(make_song(**SONGS["undelivered"]))
    views = [make_view(make_song(i), place=i - 1 or None, waiting=4) for i in range(1, 6)]
    yield "queue", cards.queue_card(views, viewer_id=views[0].song.member_id, shown=4)
    yield "empty queue", cards.queue_card([], viewer_id=1)
    yield "history", cards.history_card(_page([song]), member_id=1)
    yield "empty history", cards.history_card(_page([]), member_id=1)
    yield "help for managers", cards.help_card(ALL_ALLOWED, Prices(), manages=True)
    yield "help for members", cards.help_card(DEFAULTS, Prices(20, 1_000), manages=False)
    for allowance in (1, None):
        yield f"hello, {allowance=}", cards.hello_card(allowance=allowance, prices=Prices())
    yield "hello where it is not allowed", cards.not_allowed_card(5)


def _page(songs: list[Song]) -> Page:
    return Page(songs, number=1, pages=1, total=len(songs))


@pytest.mark.parametrize(
    ("name", "card"), [pytest.param(*pair, id=pair[0]) for pair in other_cards()]
)
def test_card(name: str, card: discord.Embed, snapshot: SnapshotAssertion) -> None:
    assert read(card) == snapshot


def test_labels(snapshot: SnapshotAssertion) -> None:
    constants = {name: text for name, text in vars(texts).items() if name.isupper()}
    labels = {n: t for n, t in constants.items() if isinstance(t, str | dict) and "\n" not in t}
    assert labels == snapshot
    assert [texts.length_choice(60, 2, free=free) for free in (8, 1, None)] == snapshot


def test_refusals(snapshot: SnapshotAssertion) -> None:
    raised = [
        ServerNotAllowed(7),
        SongsPaused(),
        admission.MemberHasUndelivered(5),
        admission.ServerHasUndelivered(25),
        admission.ServerPaused(""),
        admission.ServerPaused("exams"),
        admission.MemberBlocked("spam", None),
        admission.MemberBlocked("spam", NOON),
        admission.WrongChannel([12, 13]),
        admission.SongTooLarge("seconds", 60),
        admission.BlockedWord("spam"),
        admission.TooManyRefunds(2, NOON),
        admission.TooManyElsewhere(1),
        admission.TooManyInProgress(1, 1),
        admission.Cooldown(60, NOON),
        admission.SettingLimitReached("Songs an hour in a channel", 5, NOON),
        NoGenres(),
        InstrumentalWithLyrics(),
        refusals.UnknownSong(),
        refusals.UnknownSong(42),
        refusals.NotYourSong(),
        refusals.TooLateToCancel(42, Status.PROCESSING),
        refusals.TooLateToCancel(42, Status.CANCELLED),
        refusals.FormExpired(),
        refusals.SongFileLost(),
        refusals.AudioUnusable(Reason.DOES_NOT_FIT, "10.0 MiB"),
    ]
    assert [refusal_text(refusal) for refusal in raised] == snapshot
