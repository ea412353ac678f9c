"""/quota usage and /quota export."""

import asyncio
import csv
import gzip
import io
import logging
import random
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import discord
import pytest
import simcord

from cogs.reports import reports as module
from cogs.reports.reports import ALT_TEXT, ExportTurns, Span, alt_text, names_of, usage_card
from db.records import State
from services.errors import InvalidRequest, NotPossible
from services.reports.export import DaysReversed, Export
from services.reports.usage import UsageReport
from services.reports.usage_picture import CannotDraw, UsageArtist, UsagePicture
from services.settings.catalogue import CALENDAR
from services.settings.server_settings import Manager
from tests.factories import add_song
from tests.world import World, said, text_of

PNG = b"\x89PNG\r\n\x1a\n"
TODAY = date(2026, 3, 14)


def mona(world: World) -> Manager:
    return Manager(world.guild.id, world.mona.id)


async def made(world: World, number: int, member: simcord.MemberActor, **fields: Any) -> None:
    """A song that was made and posted."""
    values = {
        "server_id": world.guild.id,
        "channel_id": world.channel.id,
        "member_id": member.id,
        "state": State.COMPLETED,
        "requested_at": world.clock(),
        **fields,
    }
    await add_song(world.application.database, number, **values)


async def usage(world: World) -> simcord.InteractionResult:
    return await world.mona.slash(world.channel, "quota usage")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[UsagePicture]:
    """Collect the pictures instead of drawing them."""
    pictures: list[UsagePicture] = []

    async def draw(_: UsageArtist, picture: UsagePicture) -> bytes:
        pictures.append(picture)
        return PNG

    monkeypatch.setattr(UsageArtist, "draw", draw)
    return pictures


# --- the usage ------------------------------------------------------------------------------------


async def test_usage_without_songs(world: World, drawn: list[UsagePicture]) -> None:
    result = await usage(world)
    assert result.ephemeral
    assert "No credits were spent." in text_of(result.response)
    assert said(result).attachments == []
    assert drawn == []


async def test_usage_is_a_picture_and_text(world: World, drawn: list[UsagePicture]) -> None:
    yesterday = world.clock() - timedelta(days=1)
    await made(world, 1, world.alice, price=2, genres="funk, pop", requested_at=yesterday)
    await made(world, 2, world.bob, price=7, genres="Funk")
    result = await usage(world)
    assert result.ephemeral
    text = text_of(result.response)
    assert "**9 credits** in 2 songs." in text
    assert "By day: 31\xa0Dec:\xa02 · 1\xa0Jan:\xa07" in text
    assert f"By member: 1. <@{world.bob.id}>: 7\n2. <@{world.alice.id}>: 2" in text
    assert "By genre: 1. funk: 9\n2. pop: 2" in text
    (picture,) = drawn
    assert picture.title == "Last 30 days in One"
    assert len(picture.days) == 30
    assert picture.members == [("bob", 7), ("alice", 2)]
    assert picture.genres == (("funk", 9), ("pop", 2))
    (file,) = said(result).attachments
    assert world.file(result.response) == PNG
    assert file.filename == "usage.png"
    assert file.description == alt_text(picture)


async def test_days_are_in_the_servers_zone(world: World, drawn: list[UsagePicture]) -> None:
    """It is the first of January in UTC, and still the last of December in New York."""
    await world.application.server_settings.update(
        mona(world), CALENDAR, lambda c: replace(c, zone="America/New_York")
    )
    world.clock.moved = timedelta(days=2, hours=1)
    await made(world, 1, world.alice, price=2)
    text = text_of((await usage(world)).response)
    assert "2\xa0Jan:\xa02" in text
    assert "Days are counted in America/New_York." in text


@pytest.mark.parametrize("error", [CannotDraw("no picture within 30 s"), RuntimeError("a defect")])
async def test_usage_without_a_picture_is_text(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    async def fail(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(UsageArtist, "draw", fail)
    await made(world, 1, world.alice)
    result = await usage(world)
    assert "in 1 song." in text_of(result.response)
    assert said(result).attachments == []
    (record,) = [r for r in caplog.records if "was not drawn" in r.getMessage()]
    assert record.levelno == logging.WARNING
    assert str(error) in record.getMessage()
    assert bool(record.exc_info) == isinstance(error, RuntimeError)


class Guild:
    """Knows one member, not another, and answers for others late or not at all."""

    async def fetch_member(self, member_id: int) -> Any:
        if member_id == 1:
            return Named("mona")
        if member_id == 2:
            response: Any = Answer()
            raise discord.NotFound(response, {"code": 10007, "message": "Unknown Member"})
        if member_id == 3:
            raise aiohttp.ServerDisconnectedError
        return await asyncio.Future()


class Named:
    def __init__(self, name: str) -> None:
        self.display_name = name


class Answer:
    status, reason = 404, "Not Found"


async def test_late_and_unknown_names_become_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_WITHIN", 0.05)
    late = 1_234_567_890_123_456_789
    guild: Any = Guild()
    assert await names_of(guild, [1, 2, 3, late]) == {
        1: "mona",
        2: "Member …2",
        3: "Member …3",
        late: "Member …6789",
    }


def test_longest_report_is_within_discords_bounds() -> None:
    days = [(TODAY - timedelta(days=n), 10**9) for n in range(30)][::-1]
    genre = "*_<@" * 75
    report = UsageReport(
        days=days,
        members=[(10**18 + n, 10**10) for n in range(10)],
        genres=[(f"{n}{genre}"[:300], 10**10) for n in range(10)],
        songs=10**9,
        credits=10**12,
    )
    card = usage_card(report, zone="America/Argentina/ComodRivadavia")
    assert all(len(field.value or "") <= 1_024 for field in card.fields)
    assert len(card) <= 6_000
    picture = UsagePicture("a" * 100, days, [("m" * 32, 10**10)] * 10, [(genre[:300], 10**10)] * 10)
    assert len(alt_text(picture)) == ALT_TEXT
    assert alt_text(picture).startswith("Three bar charts of credits. aaa")


def test_picture_is_described_for_a_screen_reader() -> None:
    days = [(TODAY - timedelta(days=1), 2), (TODAY, 7)]
    picture = UsagePicture("One", days, [("bob", 7), ("alice", 2)], [("funk", 9)])
    assert alt_text(picture) == (
        "Three bar charts of credits. One, by day from 13 Mar to 14 Mar: most on 14 Mar, 7. "
        "By member: bob 7, alice 2. By genre: funk 9."
    )


# --- a span of days -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [
        (None, None, "2026-02-13", "2026-03-14"),
        ("2026-03-01", None, "2026-03-01", "2026-03-14"),
        (None, "2026-01-30", "2026-01-01", "2026-01-30"),
        ("2026-03-14", "2026-03-14", "2026-03-14", "2026-03-14"),
        (" 2026-3-1 ", "2026-3-2", "2026-03-01", "2026-03-02"),
        ("2026-03-01", "9999-12-31", "2026-03-01", "2026-03-14"),
        ("0001-01-01", "2026-03-02", "2015-01-01", "2026-03-02"),
        (None, "0001-01-01", "2015-01-01", "2015-01-01"),
        ("0001-01-01", "0001-01-02", "2015-01-01", "2015-01-01"),
    ],
)
def test_spans(since: str | None, until: str | None, first: str, last: str) -> None:
    expected = Span(date.fromisoformat(first), date.fromisoformat(last))
    assert Span.parse(since, until, today=TODAY) == expected


@pytest.mark.parametrize(
    ("since", "until", "error"),
    [
        ("yesterday", None, InvalidRequest),
        (None, "14.03.2026", InvalidRequest),
        ("2026-02-30", None, InvalidRequest),
        ("2026-03-15", None, InvalidRequest),
        ("2026-03-02", "2026-03-01", DaysReversed),
    ],
)
def test_invalid_spans(since: str | None, until: str | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        Span.parse(since, until, today=TODAY)


def test_a_span_is_from_midnight_to_midnight_on_the_servers_clocks() -> None:
    span = Span(date(2026, 3, 29), date(2026, 3, 29))  # clocks go forward
    begin, end = (moment.astimezone(UTC) for moment in span.moments(ZoneInfo("Europe/Berlin")))
    assert begin == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert end == datetime(2026, 3, 29, 22, tzinfo=UTC)


# --- the export -----------------------------------------------------------------------------------


async def export(world: World, **options: str) -> simcord.InteractionResult:
    return await world.mona.slash(world.channel, "quota export", **options)


async def granted(world: World, reason: str = "for winning") -> None:
    await world.mona.slash(
        world.channel, "quota grant", member=world.alice, amount=5, reason=reason
    )


def answers(result: simcord.InteractionResult) -> list[simcord.ResponseMessage]:
    return [said(result), *result.followups]


def left(world: World) -> list[Path]:
    return list((world.folder / "exports").glob("[!.]*"))


async def test_the_ledger_is_a_file_for_a_spreadsheet(world: World) -> None:
    await granted(world)
    result = await export(world)
    assert result.ephemeral
    text = said(result).content
    assert text.startswith("2 entries from 2025-12-03 to 2026-01-01 (days in UTC).")
    (file,) = said(result).attachments
    assert file.filename == "songwright-ledger-2025-12-03-to-2026-01-01.csv"
    rows = list(csv.DictReader(io.StringIO(world.file(said(result)).decode("utf-8-sig"))))
    assert [(row["kind"], row["amount"]) for row in rows] == [("allowance", "10"), ("grant", "5")]
    assert rows[1]["reason"] == "for winning"
    assert left(world) == []


async def test_files_over_the_limit_are_parts_in_several_messages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILES", 2)
    write = Export.write

    def small(*args: Any, limit: int, **rest: Any) -> AbstractAsyncContextManager[Any]:
        assert limit > 2**20  # what the interaction said
        return write(*args, **rest, limit=330)

    monkeypatch.setattr(Export, "write", small)
    for number in range(12):
        await granted(world, reason=random.Random(number).randbytes(95).hex())
    result = await export(world)
    messages = answers(result)
    assert len(messages) > 1
    assert all(message.ephemeral for message in messages)
    files = [file for message in messages for file in message.attachments]
    assert all(len(message.attachments) <= 2 for message in messages)
    assert "compressed with gzip" in said(result).content
    assert messages[1].content == "More files:"
    kinds = []
    for file in files:
        content = world.env.backend.cdn.get(file.url)
        assert content is not None
        text = gzip.decompress(content).decode("utf-8-sig")
        kinds += [row["kind"] for row in csv.DictReader(io.StringIO(text))]
    assert kinds == ["allowance"] + ["grant"] * 12
    assert left(world) == []


async def test_export_of_days_without_entries_has_no_file(world: World) -> None:
    result = await export(world, since="2025-12-31", until="2025-12-31")
    assert said(result).content.startswith("No credits were added or spent")
    assert said(result).attachments == []


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), TimeoutError()])
async def test_files_are_removed_where_discord_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await granted(world)
    seen = []

    async def fail(*_: object, **__: object) -> None:
        seen.extend(left(world))
        raise error

    world.foreseen = [error]
    monkeypatch.setattr(module, "_hand_over", fail)
    result = await export(world)
    assert said(result).content.startswith("Discord did not answer me in time")
    assert seen
    assert left(world) == []


async def test_export_that_takes_too_long_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_ends(*_: object, **__: object) -> None:
        await asyncio.sleep(3_600)

    monkeypatch.setattr(module, "ANSWERED_WITHIN", 0.05)
    monkeypatch.setattr(module, "_hand_over", never_ends)
    result = await export(world)
    assert said(result).content.startswith("That takes longer than Discord waits for an answer")
    assert left(world) == []


async def test_one_export_at_a_time_in_a_server_and_two_in_all() -> None:
    exporting = ExportTurns(at_once=2)
    begun: list[int] = []
    go_on = asyncio.Event()

    async def export(server_id: int) -> None:
        async with exporting.turn(server_id):
            begun.append(server_id)
            await go_on.wait()

    tasks = [asyncio.create_task(export(server_id)) for server_id in (1, 2, 3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert begun == [1, 2]
    with pytest.raises(NotPossible, match="already running"):
        async with exporting.turn(3):
            pass
    go_on.set()
    await asyncio.gather(*tasks)
    assert begun == [1, 2, 3]
    async with exporting.turn(1):
        pass


@pytest.mark.parametrize("name", ["quota usage", "quota export"])
async def test_only_managers_can_use_it(world: World, name: str) -> None:
    command = world.env.backend.find_command("quota", None)
    assert command is not None
    world.guild.set_command_permissions(int(command["id"]), {world.alice: True})
    result = await world.alice.slash(world.channel, name)
    assert said(result).content == "Only those with the Manage Server permission can do this."
    assert said(result).ephemeral
