"""Whether a song may be asked for: pure, and once through `Songs.ask`."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from db.database import Database
from db.records import Song, SongRequest
from services.errors import DeniedBySettings, Refusal, TooManySongs
from services.providers.registry import PARAMETERS
from services.settings.catalogue import (
    BLOCK,
    BLOCKED_WORDS,
    BY_KEY,
    CHANNELS,
    COOLDOWN,
    HOURLY_IN_CHANNEL,
    LONGEST,
    PAUSE,
    POST_IN,
    UNFINISHED,
)
from services.settings.reader import Settings
from services.settings.server_settings import ServerSettings
from services.settings.settings import Block
from services.songs import admission
from services.songs.admission import (
    BlockedWord,
    Cooldown,
    MemberBlocked,
    Place,
    ServerPaused,
    SettingLimitReached,
    SongTooLarge,
    TooManyInProgress,
    WrongChannel,
)
from services.songs.song_request import parse_request
from tests.factories import CHANNEL, MEMBER, NOON, SettableClock
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, Product, compose, requester

HOUR = timedelta(hours=1)
HERE = Place(11)


def settings(**decided: Any) -> Settings:
    return Settings({BY_KEY[key]: value for key, value in decided.items()})


def request(genres: str = "funk", lyrics: str = "La la") -> SongRequest:
    return parse_request(PARAMETERS, genres=genres, lyrics=lyrics, random_seed=lambda: 7)


def test_where_nothing_was_decided_anything_goes() -> None:
    admission.check_member(settings(), HERE, at=NOON)
    admission.check_size(settings(), 240, 150)
    admission.check_blocked_words(settings(), request())
    admission.check_pace(settings(), unfinished=2, last_requested=NOON, at=NOON)


@pytest.mark.parametrize(
    ("decided", "expected"),
    [
        ({"pause": ""}, ServerPaused("")),
        ({"pause": "it is late"}, ServerPaused("it is late")),
        ({"block": Block("spam", None)}, MemberBlocked("spam", None)),
        ({"block": Block("spam", NOON + HOUR)}, MemberBlocked("spam", NOON + HOUR)),
        ({"channels": [12, 13]}, WrongChannel([12, 13])),
    ],
)
def test_settings_refuse_a_member(decided: dict[str, Any], expected: Refusal) -> None:
    with refusal(expected):
        admission.check_member(settings(**decided), HERE, at=NOON)


def test_a_block_that_has_ended_blocks_nobody() -> None:
    admission.check_member(settings(block=Block("spam", NOON)), HERE, at=NOON)


@pytest.mark.parametrize("place", [Place(11), Place(5, 11), Place(11, 5)])
def test_a_thread_counts_as_its_channel(place: Place) -> None:
    admission.check_member(settings(channels=[11, 12]), place, at=NOON)
    with pytest.raises(DeniedBySettings):
        admission.check_member(settings(channels=[12]), place, at=NOON)


@pytest.mark.parametrize(
    ("seconds", "steps", "name", "limit"), [(61, 50, "seconds", 60), (60, 51, "steps", 50)]
)
def test_a_song_over_the_limits_is_refused(seconds: int, steps: int, name: str, limit: int) -> None:
    limited = settings(seconds=60, steps=50)
    admission.check_size(limited, 60, 50)
    with refusal(SongTooLarge(name, limit)):
        admission.check_size(limited, seconds, steps)


@pytest.mark.parametrize("asked", [request(genres="Sp\u00e4m, pop"), request(lyrics="No SPAM!")])
def test_an_unwanted_word_is_named(asked: SongRequest) -> None:
    with refusal(BlockedWord("spam")):
        admission.check_blocked_words(settings(blocked_words=("eggs", "spam")), asked)
    admission.check_blocked_words(settings(blocked_words=("eggs",)), asked)


def test_so_many_at_once_and_no_more() -> None:
    limited = settings(unfinished=2)
    admission.check_pace(limited, unfinished=1, last_requested=None, at=NOON)
    for unfinished in (2, 3):
        with refusal(TooManyInProgress(unfinished, 2)):
            admission.check_pace(limited, unfinished=unfinished, last_requested=None, at=NOON)


def test_members_wait_from_one_song_to_the_next() -> None:
    limited = settings(cooldown=60)
    minute = timedelta(seconds=60)
    with refusal(Cooldown(60, NOON + minute)):
        admission.check_pace(limited, unfinished=0, last_requested=NOON, at=NOON + minute / 2)
    admission.check_pace(limited, unfinished=0, last_requested=NOON, at=NOON + minute)


def test_nobody_waits_longer_because_a_clock_was_set_back() -> None:
    limited = settings(cooldown=60)
    admission.check_pace(limited, unfinished=0, last_requested=NOON + HOUR, at=NOON)
    with pytest.raises(TooManySongs):
        admission.check_pace(limited, unfinished=0, last_requested=NOON, at=NOON)


DECISIONS: dict[str, tuple[Callable[[ServerSettings], Any], type[Refusal]]] = {
    "pause": (lambda server_settings: server_settings.set(BY, PAUSE, ""), ServerPaused),
    "block": (
        lambda server_settings: server_settings.set(BY, BLOCK, Block("Spam."), MEMBER),
        DeniedBySettings,
    ),
    "channels": (
        lambda server_settings: server_settings.set(BY, CHANNELS, [CHANNEL + 1]),
        DeniedBySettings,
    ),
    "length": (
        lambda server_settings: server_settings.set(BY, LONGEST, 29),
        DeniedBySettings,
    ),
    "words": (
        lambda server_settings: server_settings.set(BY, BLOCKED_WORDS, ["funk"]),
        DeniedBySettings,
    ),
    "at once": (lambda server_settings: server_settings.set(BY, UNFINISHED, 1), TooManySongs),
    "cooldown": (lambda server_settings: server_settings.set(BY, COOLDOWN, 60), TooManySongs),
}


@pytest.mark.parametrize("decision", DECISIONS)
async def test_each_is_asked_in_the_transaction_that_spends(
    database: Database, clock: SettableClock, decision: str
) -> None:
    product: Product = compose(database, clock)
    assert await product.submit(await product.create(1))  # a block would cancel what waits
    decide, refusal = DECISIONS[decision]
    await decide(product.server_settings)
    with pytest.raises(refusal):
        await product.create(2)
    assert await product.free() == 9
    assert await product.rows("SELECT song_id FROM songs") == [(1,)]
    await product.server_settings.undo(BY, 1)
    await product.create(2)
    assert await product.rows("SELECT max(number), last_number FROM songs, servers") == [(2, 2)]


async def test_a_song_that_failed_starts_no_wait(database: Database, clock: SettableClock) -> None:
    product = compose(database, clock)
    await product.server_settings.set(BY, COOLDOWN, 60)
    song = await product.create(1)
    await product.completion.cancel(song)
    await product.create(2)
    with pytest.raises(TooManySongs):
        await product.create(3)


async def test_songs_an_hour_are_counted_by_channel_with_its_threads(
    database: Database, clock: SettableClock
) -> None:
    product = compose(database, clock)
    await product.server_settings.set(BY, HOURLY_IN_CHANNEL, 2)
    request = parse_request(PARAMETERS, genres="funk", random_seed=lambda: 7)

    async def ask(song_id: int, channel_id: int, parent_id: int | None = None) -> Song:
        place: dict[str, Any] = {"channel_id": channel_id, "parent_id": parent_id}
        return await product.songs.ask(requester(song_id, at=clock(), **place), request)

    await product.server_settings.set(BY, UNFINISHED, 100)
    first = clock()
    await ask(1, 50)
    clock.advance(minutes=10)
    await ask(2, 51, 50)
    full = SettingLimitReached("Songs an hour in a channel", 2, first + HOUR)
    for channel_id, parent_id in ((50, None), (52, 50)):
        with refusal(full):
            await ask(3, channel_id, parent_id)
    song = await ask(4, 60)
    await product.completion.cancel(song)
    await ask(5, 60)
    await ask(6, 60)  # a cancelled one doesn't count
    clock.now = first + HOUR
    await ask(7, 50)


async def test_a_song_that_is_posted_elsewhere_counts_where_it_was_requested(
    database: Database, clock: SettableClock
) -> None:
    product = compose(database, clock)
    await product.server_settings.set_all(BY, {HOURLY_IN_CHANNEL: 1, POST_IN: 60})
    request = parse_request(PARAMETERS, genres="funk", random_seed=lambda: 7)
    elsewhere: dict[str, Any] = {"channel_id": 50, "may_post_in": lambda _: True}
    song = await product.songs.ask(requester(1, at=clock(), **elsewhere), request)
    assert (song.channel_id, song.origin_id) == (60, 50)
    with refusal(SettingLimitReached("Songs an hour in a channel", 1, clock() + HOUR)):
        await product.songs.ask(requester(2, at=clock(), **elsewhere), request)
    await product.songs.ask(requester(3, at=clock(), channel_id=60), request)
