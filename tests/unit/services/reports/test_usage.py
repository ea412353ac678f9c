"""Usage by day, member and genre, and the leaderboard."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import reports
from db.database import Database
from db.records import State, to_ms
from db.reports import CountedSong, Place
from services.errors import OutOfRange
from services.reports.usage import LONGEST, Usage, UsageReport
from tests.databases import database_in_memory
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_song,
)
from tests.refusals import refusal

ENDED: dict[str, Any] = {"state": State.COMPLETED}


@pytest.fixture
def usage(database: Database, clock: SettableClock) -> Usage:
    return Usage(database, clock=clock)


async def report(usage: Usage, *, days: int = 30, zone: str = "UTC") -> UsageReport:
    return await usage.report(SERVER, days=days, zone=zone)


async def spent(usage: Usage, **how: Any) -> dict[str, int]:
    """The days on which something was spent."""
    return {str(day): credits for day, credits in (await report(usage, **how)).days if credits}


async def test_a_server_without_songs_has_days_without_credits(usage: Usage) -> None:
    read = await report(usage)
    assert [day for day, _ in read.days] == [
        date(2026, 2, 13) + timedelta(days=n) for n in range(30)
    ]
    assert {credits for _, credits in read.days} == {0}
    assert (read.members, read.genres, read.songs, read.credits) == ((), (), 0, 0)


async def test_songs_are_added_up(database: Database, usage: Usage) -> None:
    await add_song(database, 1, price=2, genres="funk, pop", member_id=1)
    await add_song(database, 2, price=3, genres="Pop", member_id=2, **ENDED)
    await add_song(
        database, 3, price=5, member_id=1, requested_at=NOON - timedelta(days=1), **ENDED
    )
    await add_song(database, 4, server_id=SERVER + 1, **ENDED)
    read = await report(usage, days=2)
    assert read == UsageReport(
        days=((date(2026, 3, 13), 5), (date(2026, 3, 14), 5)),
        members=((1, 7), (2, 3)),
        genres=(("pop", 10), ("funk", 7)),
        songs=3,
        credits=10,
    )


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"state": State.SUBMITTED}, True),
        (ENDED, True),
        ({"state": State.FAILED}, False),
        ({"state": State.CANCELLED}, False),
        ({"state": State.UNDELIVERED}, True),
        ({"state": State.REFUNDED}, False),
    ],
)
async def test_refunded_songs_do_not_count(
    database: Database, usage: Usage, fields: dict[str, Any], *, counts: bool
) -> None:
    await add_song(database, **fields)
    read = await report(usage)
    assert (read.songs, read.credits) == ((1, 2) if counts else (0, 0))


async def test_top_ten_are_ordered_by_credits_then_id(database: Database, usage: Usage) -> None:
    for number in range(12, 0, -1):  # those of the same price are not in the order of their songs
        price = {4: 9, 11: 1}.get(number, 3)
        await add_song(database, 13 - number, price=price, genres=f"g{number:02}", member_id=number)
    read = await report(usage)
    assert read.members == ((4, 9), *((n, 3) for n in (1, 2, 3, 5, 6, 7, 8, 9, 10)))
    assert read.genres == (("g04", 9), *((f"g{n:02}", 3) for n in (1, 2, 3, 5, 6, 7, 8, 9, 10)))


@pytest.mark.parametrize(
    ("typed", "genres"),
    [
        ("Funk,POP , lo-fi   beats", {"funk", "pop", "lo-fi beats"}),
        ("pop, Pop,POP", {"pop"}),
        (", ,pop,,", {"pop"}),
        ("\u30b8\u30e3\u30ba\u3001\u30dd\u30c3\u30d7\uff0crock", {"ジャズ", "ポップ", "rock"}),
        ("روك، بوب", {"روك", "بوب"}),
        ("", set()),  # blanked, since the bot left
    ],
)
async def test_genres_are_counted_one_by_one(
    database: Database, usage: Usage, typed: str, genres: set[str]
) -> None:
    await add_song(database, genres=typed)
    assert dict((await report(usage)).genres) == dict.fromkeys(genres, 2)


# --- Days -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "requested", "day"),
    [
        ("UTC", "2026-03-13T23:59:59.999", "2026-03-13"),
        ("UTC", "2026-03-14T00:00", "2026-03-14"),
        ("Asia/Kolkata", "2026-03-13T18:29:59.999", "2026-03-13"),
        ("Asia/Kolkata", "2026-03-13T18:30", "2026-03-14"),
        ("Asia/Kathmandu", "2026-03-13T18:14:59", "2026-03-13"),
        ("Asia/Kathmandu", "2026-03-13T18:15", "2026-03-14"),
        ("America/New_York", "2026-03-08T04:59:59", "2026-03-07"),  # UTC-5
        ("America/New_York", "2026-03-09T03:59:59", "2026-03-08"),  # UTC-4, 23 hours later
        ("America/New_York", "2026-03-09T04:00", "2026-03-09"),
    ],
)
async def test_days_follow_the_servers_zone(
    database: Database, usage: Usage, zone: str, requested: str, day: str
) -> None:
    await add_song(database, requested_at=datetime.fromisoformat(requested).replace(tzinfo=UTC))
    assert await spent(usage, zone=zone) == {day: 2}


async def test_the_span_begins_at_its_first_midnight(database: Database, usage: Usage) -> None:
    midnight = datetime(2026, 3, 13, tzinfo=ZoneInfo("Asia/Kolkata"))
    await add_song(database, 1, requested_at=midnight - timedelta(milliseconds=1))
    assert await spent(usage, days=2, zone="Asia/Kolkata") == {}
    await add_song(database, 2, requested_at=midnight)
    assert await spent(usage, days=2, zone="Asia/Kolkata") == {"2026-03-13": 2}


async def test_a_day_shown_twice_is_counted_where_it_was_first_over(database: Database) -> None:
    """In Newfoundland, until 2011, clocks were set back at 00:01: to the day before."""
    clock = SettableClock(datetime(2010, 11, 7, 12, tzinfo=UTC))
    usage = Usage(database, clock=clock)
    midnight = datetime(2010, 11, 7, 2, 30, tzinfo=UTC)
    await add_song(database, 1, requested_at=midnight - timedelta(seconds=1))
    await add_song(database, 2, requested_at=midnight)
    again = midnight + timedelta(minutes=30)
    assert again.astimezone(ZoneInfo("America/St_Johns")).date() == date(2010, 11, 6)
    await add_song(database, 3, requested_at=again)
    assert await spent(usage, days=1, zone="America/St_Johns") == {"2010-11-07": 4}
    assert await spent(usage, days=2, zone="America/St_Johns") == {
        "2010-11-06": 2,
        "2010-11-07": 4,
    }


async def test_a_day_that_a_zone_skipped_has_no_songs(database: Database) -> None:
    """Samoa had no 30 December 2011."""
    jump = datetime(2011, 12, 30, 10, tzinfo=UTC)
    usage = Usage(database, clock=SettableClock(jump + timedelta(hours=3)))
    await add_song(database, 1, requested_at=jump - timedelta(milliseconds=1), price=1)
    await add_song(database, 2, requested_at=jump, price=4)
    read = await report(usage, days=3, zone="Pacific/Apia")
    assert [(day.day, credits) for day, credits in read.days] == [(29, 1), (30, 0), (31, 4)]


ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe")
SPAN = timedelta(days=9)


@settings(max_examples=40)
@given(
    now=st.timedeltas(timedelta(days=-700), timedelta(days=700)).map(NOON.__add__),
    ago=st.lists(st.timedeltas(timedelta(0), SPAN), max_size=8),
    zone=st.sampled_from(ZONES),
)
def test_each_song_counts_on_the_day_that_its_date_says(
    now: datetime, ago: list[timedelta], zone: str
) -> None:
    """In zones whose clocks never go back over midnight, a day is just a date."""

    async def check() -> None:
        async with database_in_memory() as database:
            for number, before in enumerate(ago, start=1):
                await add_song(database, number, requested_at=now - before, price=1)
            read = await report(Usage(database, clock=lambda: now), days=12, zone=zone)
        # As they are stored: in milliseconds.
        moments = [to_ms(now - before) / 1000 for before in ago]
        dates = [datetime.fromtimestamp(moment, ZoneInfo(zone)).date() for moment in moments]
        assert [count for _, count in read.days] == [dates.count(day) for day, _ in read.days]
        assert read.credits == read.songs == len(ago)

    asyncio.run(check())


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [0, -1, LONGEST + 1])
async def test_a_span_out_of_bounds_is_refused(usage: Usage, days: int) -> None:
    with refusal(OutOfRange("days", 1, 366)):
        await report(usage, days=days)


# --- Pages ----------------------------------------------------------------------------------------


async def test_each_song_is_on_one_page(
    database: Database, usage: Usage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 8):  # all at one moment: the pages are parted by the song's id
        await add_song(database, number)
    pages = []
    original = reports.counted_songs

    async def in_twos(*arguments: Any, **bounds: Any) -> AsyncIterator[list[CountedSong]]:
        async for page in original(*arguments, **bounds, page=2):
            pages.append(len(page))
            yield page

    monkeypatch.setattr(reports, "counted_songs", in_twos)
    assert (await report(usage)).songs == 7
    assert pages == [2, 2, 2, 1]


# --- The leaderboard ------------------------------------------------------------------------------


async def test_equal_numbers_of_songs_share_a_rank(database: Database, usage: Usage) -> None:
    members = [5, 5, 5, 9, 9, 3, 3, 7]
    for number, member in enumerate(members, start=1):
        await add_song(database, number, member_id=member, **ENDED)
    assert await usage.leaderboard(SERVER) == [
        Place(1, 5, 3),
        Place(2, 3, 2),
        Place(2, 9, 2),
        Place(4, 7, 1),
    ]
    assert await usage.leaderboard(SERVER, limit=2) == [Place(1, 5, 3), Place(2, 3, 2)]


async def test_only_completed_songs_of_the_span_are_ranked(
    database: Database, usage: Usage
) -> None:
    await add_song(database, 1)
    await add_song(database, 2, **ENDED | {"state": State.FAILED})
    await add_song(database, 3, **ENDED | {"state": State.CANCELLED})
    before = NOON - timedelta(days=30)
    await add_song(database, 4, requested_at=before - timedelta(milliseconds=1), **ENDED)
    assert await usage.leaderboard(SERVER) == []
    await add_song(database, 5, requested_at=before, **ENDED)
    assert await usage.leaderboard(SERVER) == [Place(1, MEMBER, 1)]
    assert await usage.leaderboard(SERVER, days=29) == []
