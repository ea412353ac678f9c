"""What servers have decided: one value for each rule, and their calendars."""

import json
import sqlite3
from datetime import timedelta

import pytest

from db import servers, settings
from db.database import Database
from db.records import CalendarRow, SettingRow, to_ms
from tests.factories import MEMBER, NOON, SERVER

OTHER = SERVER + 1
ABOUT = {"role": "role", "block": "member", "member": "member"}


@pytest.fixture(autouse=True)
async def two_servers(database: Database) -> None:
    async with database.write() as connection:
        for server_id in (SERVER, OTHER):
            await servers.ensure_server(connection, server_id)


async def put(database: Database, *those: SettingRow, server_id: int = SERVER) -> None:
    async with database.write() as connection:
        for row in those:
            await settings.put(connection, server_id, ABOUT.get(row.name, "server"), row)


async def test_a_setting_has_one_value_until_it_is_dropped(database: Database) -> None:
    reader = database.reader
    assert await settings.get(reader, SERVER, "allowance", 0) is None
    await put(database, SettingRow("allowance", 0, "1"), SettingRow("allowance", 0, "2"))
    await put(database, SettingRow("allowance", 0, "3"), server_id=OTHER)
    assert await settings.get(reader, SERVER, "allowance", 0) == "2"
    async with database.write() as connection:
        await settings.drop(connection, SERVER, "allowance", 0)
        await settings.drop(connection, SERVER, "allowance", 0)
    assert await settings.get(reader, SERVER, "allowance", 0) is None
    assert await settings.get(reader, OTHER, "allowance", 0) == "3"


async def test_settings_about_members_come_page_by_page(database: Database) -> None:
    reader = database.reader
    await put(database, *(SettingRow("block", n, str(n)) for n in (9, 7, 8)))
    page = await settings.named(reader, SERVER, "block", limit=2)
    assert page == [SettingRow("block", 7, "7"), SettingRow("block", 8, "8")]
    page = await settings.named(reader, SERVER, "block", limit=2, offset=2)
    assert page == [SettingRow("block", 9, "9")]
    assert await settings.named(reader, SERVER, "member", limit=5) == []
    assert await settings.count(reader, SERVER, "block") == 3
    assert await settings.count(reader, OTHER, "block") == 0


async def test_those_that_ended_are_not_counted(database: Database) -> None:
    ends = (None, to_ms(NOON) + 1, to_ms(NOON))
    values = [json.dumps({"reason": "was loud", "until": until}) for until in ends]
    await put(database, *(SettingRow("block", n, value) for n, value in enumerate(values, 1)))
    await put(database, SettingRow("member", 1, values[0]))
    assert await settings.count(database.reader, SERVER, "block", at=NOON) == 2
    assert await settings.count(database.reader, OTHER, "block", at=NOON) == 0


async def test_all_but_those_about_other_members_are_in_force(database: Database) -> None:
    own = [SettingRow(name, 0, "0") for name in ("allowance", "cooldown", "channels")]
    roles = [SettingRow("role", role, "1") for role in (1, 2)]
    mine = [SettingRow(name, MEMBER, "2") for name in ("member", "block")]
    others = [SettingRow(name, MEMBER + 1, "3") for name in ("member", "block")]
    await put(database, *own, *roles, *mine, *others)
    await put(database, SettingRow("member", MEMBER, "4"), server_id=OTHER)
    reader = database.reader
    assert sorted(await settings.in_force(reader, SERVER, MEMBER)) == sorted([*own, *roles, *mine])
    assert len(await settings.in_force(reader, SERVER, 0)) == len(own) + len(roles)
    names = [(row.name, row.subject_id) for row in (*own, *roles, *mine, *others)]
    assert await settings.names(reader, SERVER) == sorted(names)


@pytest.mark.parametrize(
    "wrong", [SettingRow("pause", 7, "1"), SettingRow("role", 0, "1"), SettingRow("block", 0, "1")]
)
async def test_a_setting_about_nobody_or_about_too_much_is_refused(
    database: Database, wrong: SettingRow
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await put(database, wrong)


async def test_a_setting_needs_a_server(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await put(database, SettingRow("allowance", 0, "1"), server_id=404)


# --- Calendars ----------------------------------------------------------------------------------

FIRST = CalendarRow(NOON, "week", 18, "Europe/Berlin")
SECOND = CalendarRow(NOON + timedelta(days=3), "month", 0, "UTC")


async def set_calendars(database: Database, *rows: CalendarRow, server_id: int = SERVER) -> None:
    async with database.write() as connection:
        await settings.set_calendars(connection, server_id, rows)


async def test_calendars_are_those_that_were_set_last_oldest_first(database: Database) -> None:
    reader = database.reader
    assert await settings.calendars(reader, SERVER) == []
    await set_calendars(database, SECOND, FIRST)
    await set_calendars(database, FIRST, server_id=OTHER)
    assert await settings.calendars(reader, SERVER) == [FIRST, SECOND]
    await set_calendars(database, SECOND)
    assert await settings.calendars(reader, SERVER) == [SECOND]
    assert await settings.calendars(reader, OTHER) == [FIRST]
    await set_calendars(database)
    assert await settings.calendars(reader, SERVER) == []


@pytest.mark.parametrize(
    "wrong",
    [
        CalendarRow(NOON, "year", 0, "UTC"),
        CalendarRow(NOON, "day", 24, "UTC"),
        CalendarRow(NOON, "day", -1, "UTC"),
    ],
)
async def test_a_calendar_that_makes_no_sense_leaves_those_before(
    database: Database, wrong: CalendarRow
) -> None:
    await set_calendars(database, FIRST)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await set_calendars(database, SECOND, wrong)
    assert await settings.calendars(database.reader, SERVER) == [FIRST]


async def test_of_two_calendars_from_one_moment_none_is_taken(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await set_calendars(database, FIRST, CalendarRow(FIRST.from_at, "day", 0, "UTC"))
    assert await settings.calendars(database.reader, SERVER) == []


async def test_a_server_that_is_forgotten_has_decided_nothing(database: Database) -> None:
    for server_id in (SERVER, OTHER):
        await put(
            database, SettingRow("pause", 0, "1"), SettingRow("member", 7, "1"), server_id=server_id
        )
        await set_calendars(database, FIRST, server_id=server_id)
    async with database.write() as connection:
        await settings.forget(connection, SERVER)
    reader = database.reader
    assert await settings.names(reader, SERVER) == []
    assert await settings.calendars(reader, SERVER) == []
    assert len(await settings.names(reader, OTHER)) == 2
    assert await settings.calendars(reader, OTHER) == [FIRST]
