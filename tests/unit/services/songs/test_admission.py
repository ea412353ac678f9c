"""The checks of a request: those of the settings alone, the others through `Songs`."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.records import Fault, Reason, SongRequest, State
from services.errors import Refusal
from services.providers.registry import PARAMETERS
from services.settings.catalogue import BY_KEY, COOLDOWN, HOURLY_IN_CHANNEL, POST_IN, UNFINISHED
from services.settings.reader import Settings
from services.settings.settings import Block, Defaults, Limits, Member
from services.songs.admission import (
    MAX_UNDELIVERED,
    MAX_UNDELIVERED_OF_MEMBER,
    BlockedWord,
    Cooldown,
    MemberBlocked,
    MemberHasUndelivered,
    ServerHasUndelivered,
    ServerPaused,
    SettingLimitReached,
    SongTooLarge,
    TooManyElsewhere,
    TooManyInProgress,
    TooManyRefunds,
    WrongChannel,
    check_settings,
)
from services.songs.song_request import parse_request
from tests.databases import dump
from tests.factories import MEMBER, NOON, SERVER, SettableClock, add_song
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, WHO, Product, compose, requester

HOUR = timedelta(hours=1)
OTHER = Member(SERVER, MEMBER + 1)
ELSEWHERE = Member(SERVER + 1, MEMBER)
UNDELIVERED: dict[str, Any] = {
    "state": State.UNDELIVERED,
    "reason": Reason.CHANNEL_GONE,
    "file": "song.mp3",
}


def check(
    settings: dict[str, Any],
    *,
    channel_id: int = 11,
    parent_id: int | None = None,
    **options: Any,
) -> None:
    values: dict[str, Any] = {"genres": "funk", "random_seed": lambda: 7}
    check_settings(
        Settings({BY_KEY[key]: value for key, value in settings.items()}),
        requester(1, at=NOON, channel_id=channel_id, parent_id=parent_id),
        parse_request(PARAMETERS, **values | options),
        at=NOON,
    )


def request() -> SongRequest:
    return parse_request(PARAMETERS, genres="funk", random_seed=lambda: 7)


def test_without_settings_everything_is_allowed() -> None:
    check({}, seconds=240, steps=150, lyrics="La la")


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        ({"pause": ""}, {}, ServerPaused("")),
        ({"pause": "it is late"}, {}, ServerPaused("it is late")),
        ({"block": Block("spam", None)}, {}, MemberBlocked("spam", None)),
        ({"block": Block("spam", NOON + HOUR)}, {}, MemberBlocked("spam", NOON + HOUR)),
        ({"channels": [12, 13]}, {}, WrongChannel([12, 13])),
        ({"channels": [12]}, {"channel_id": 5, "parent_id": 11}, WrongChannel([12])),
        ({"seconds": 60}, {"seconds": 61}, SongTooLarge("seconds", 60)),
        ({"steps": 50}, {"steps": 51}, SongTooLarge("steps", 50)),
        ({"blocked_words": ("eggs", "spam")}, {"genres": "Sp\u00e4m, pop"}, BlockedWord("spam")),
        ({"blocked_words": ("eggs", "spam")}, {"lyrics": "No SPAM!"}, BlockedWord("spam")),
    ],
)
def test_settings_refuse(
    settings: dict[str, Any], options: dict[str, Any], expected: Refusal
) -> None:
    with refusal(expected):
        check(settings, **options)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"block": Block("spam", NOON)}, {}),  # it has ended
        ({"channels": [11, 12]}, {}),
        ({"channels": [11, 12]}, {"channel_id": 5, "parent_id": 11}),
        ({"seconds": 60, "steps": 50}, {"seconds": 60, "steps": 50}),
        ({"blocked_words": ("eggs",)}, {"genres": "spam"}),
    ],
)
def test_settings_allow(settings: dict[str, Any], options: dict[str, Any]) -> None:
    check(settings, **options)


# --- Undelivered songs ----------------------------------------------------------------------------


async def test_a_server_with_many_undelivered_songs_gets_no_more(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    product = compose(database, clock)
    for number in range(1, MAX_UNDELIVERED):
        await add_song(database, 100 + number, member_id=100 + number, **UNDELIVERED)
    async with database.write() as connection:
        await connection.execute("UPDATE servers SET last_number = 300")
    song = await product.create(1)
    await add_song(database, 200, member_id=200, **UNDELIVERED)
    await add_song(database, 201, state=State.COMPLETED, reason=Reason.CHANNEL_GONE)
    before = dump(tmp_path)
    for refused in (product.songs.check, product.songs.create):
        with refusal(ServerHasUndelivered(25)):
            await refused(requester(2, at=NOON), request())
    assert dump(tmp_path) == before
    assert await product.create(1) == song
    await product.songs.check(requester(3, who=ELSEWHERE, at=NOON), request())
    await product.create(3, who=ELSEWHERE)


async def test_a_member_with_many_undelivered_songs_gets_no_more(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    """A private thread that its owner removes the bot from makes them so, free of charge."""
    product = compose(database, clock)
    for song_id in range(101, 101 + MAX_UNDELIVERED_OF_MEMBER):
        await add_song(database, song_id, **UNDELIVERED)
    await add_song(database, 200, state=State.COMPLETED, reason=Reason.CHANNEL_GONE)
    before = dump(tmp_path)
    for refused in (product.songs.check, product.songs.create):
        with refusal(MemberHasUndelivered(5)):
            await refused(requester(1, at=NOON), request())
    assert dump(tmp_path) == before
    await product.create(2, who=OTHER)
    await product.create(3, who=ELSEWHERE)


# --- Refunds --------------------------------------------------------------------------------------


@pytest.fixture
def two_refunds(database: Database, clock: SettableClock) -> Product:
    """Two songs an hour may be refunded by a member's own choice."""
    defaults = Defaults(limits=Limits(unfinished=100), hourly_refunds=2)
    return compose(database, clock, defaults=defaults)


async def cancel(product: Product, song_id: int, *, by: int = MEMBER) -> None:
    await product.songs.cancel(song_id, server_id=SERVER, member_id=by, manager=by != MEMBER)


async def test_refunds_by_a_members_choice_are_limited_for_an_hour(
    two_refunds: Product, clock: SettableClock, tmp_path: Path
) -> None:
    """The operator pays for each accepted submit, whatever becomes of the song."""
    await two_refunds.create(1)
    await cancel(two_refunds, 1)
    clock.advance(minutes=20)
    second = await two_refunds.create(2, who=ELSEWHERE)
    assert await two_refunds.completion.fail(second, Reason.MODEL_FAILED, fault=Fault.REQUEST)
    before = dump(tmp_path)
    with refusal(TooManyRefunds(2, NOON + HOUR)):
        await two_refunds.create(3)
    assert dump(tmp_path) == before
    await two_refunds.create(4, who=OTHER)
    clock.advance(minutes=40)
    await two_refunds.create(5)


async def test_songs_in_progress_in_other_servers_count_as_refunds(
    two_refunds: Product, tmp_path: Path
) -> None:
    """24 songs failed at once in 8 servers, each within its own limit of songs in progress."""
    first = await two_refunds.create(1)
    await two_refunds.create(2)
    before = dump(tmp_path)
    with refusal(TooManyElsewhere(2)):
        await two_refunds.create(3, who=ELSEWHERE)
    assert dump(tmp_path) == before
    await two_refunds.create(4)
    assert await two_refunds.completion.fail(first, Reason.MODEL_FAILED)
    await two_refunds.create(5, who=Member(SERVER + 1, MEMBER + 1))


async def test_refunds_for_other_reasons_do_not_count(two_refunds: Product) -> None:
    for song_id, fault in enumerate((Fault.SERVICE, Fault.ACCOUNT, Fault.MACHINE), start=1):
        song = await two_refunds.create(song_id)
        assert await two_refunds.completion.fail(song, Reason.MODEL_FAILED, fault=fault)
    for song_id in (4, 5):
        await two_refunds.create(song_id)
        await cancel(two_refunds, song_id, by=99)
    song = await two_refunds.create(6)
    assert await two_refunds.completion.cancel(song)  # the bot left, say
    await two_refunds.create(7)


async def test_refunds_before_the_clock_was_set_back_do_not_count(
    two_refunds: Product, clock: SettableClock
) -> None:
    for song_id in (1, 2):
        await two_refunds.create(song_id)
        await cancel(two_refunds, song_id)
    clock.advance(hours=-5)
    await two_refunds.create(3)


# --- Pace -----------------------------------------------------------------------------------------


async def test_a_members_songs_in_progress_are_limited(
    database: Database, clock: SettableClock
) -> None:
    product = compose(database, clock)
    for song_id in (1, 2, 3):
        await product.create(song_id)
    with refusal(TooManyInProgress(3, 3)):
        await product.create(4)
    assert await product.free() == 7
    await product.create(5, who=OTHER)
    await product.create(6, who=ELSEWHERE)
    await cancel(product, 2)
    assert (await product.create(7)).number == 5


async def test_the_cooldown_counts_from_the_last_song_that_was_not_refunded(
    database: Database, clock: SettableClock
) -> None:
    product = compose(database, clock)
    await product.server_settings.set(BY, COOLDOWN, 60)
    await product.create(1)
    await cancel(product, 1)
    await product.create(2)
    clock.advance(seconds=30)
    with refusal(Cooldown(60, NOON + timedelta(seconds=60))):
        await product.create(3)
    clock.advance(seconds=30)
    await product.create(3)
    clock.advance(hours=-1)  # the clock is set back, and nobody waits longer for that
    await product.create(4)


async def test_songs_an_hour_are_counted_by_channel_with_its_threads(
    database: Database, clock: SettableClock
) -> None:
    product = compose(database, clock)
    await product.server_settings.set(BY, HOURLY_IN_CHANNEL, 2)
    await product.server_settings.set(BY, UNFINISHED, 100)

    async def create(song_id: int, channel_id: int, parent_id: int | None = None) -> None:
        place: dict[str, Any] = {"channel_id": channel_id, "parent_id": parent_id}
        await product.songs.create(requester(song_id, who=WHO, at=clock(), **place), request())

    await create(1, 50)
    clock.advance(minutes=10)
    await create(2, 51, 50)
    for channel_id, parent_id in ((50, None), (52, 50)):
        with refusal(SettingLimitReached("Songs an hour in a channel", 2, NOON + HOUR)):
            await create(3, channel_id, parent_id)
    await create(4, 60)
    await cancel(product, 4)
    await create(5, 60)
    await create(6, 60)  # the cancelled one doesn't count
    clock.now = NOON + HOUR
    await create(7, 50)


async def test_a_song_that_is_posted_elsewhere_counts_where_it_was_requested(
    database: Database, clock: SettableClock
) -> None:
    product = compose(database, clock)
    await product.server_settings.set_all(BY, {HOURLY_IN_CHANNEL: 1, POST_IN: 60})
    here: dict[str, Any] = {"channel_id": 50, "may_post_in": lambda _: True}
    song = await product.songs.create(requester(1, at=NOON, **here), request())
    assert (song.channel_id, song.origin_id) == (60, 50)
    with refusal(SettingLimitReached("Songs an hour in a channel", 1, NOON + HOUR)):
        await product.songs.create(requester(2, at=NOON, **here), request())
    await product.songs.create(requester(3, at=NOON, channel_id=60), request())
