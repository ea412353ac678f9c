"""Settings and calendars: what the schema refuses, and what is deleted."""

import sqlite3
from datetime import timedelta

import pytest

from db import servers, settings
from db.database import Database
from db.records import CalendarRow, SettingRow
from tests.factories import NOON, SERVER

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


@pytest.mark.parametrize(
    "wrong", [SettingRow("pause", 7, "1"), SettingRow("role", 0, "1"), SettingRow("block", 0, "1")]
)
async def test_a_setting_must_name_whom_it_is_about(database: Database, wrong: SettingRow) -> None:
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


@pytest.mark.parametrize(
    "wrong",
    [
        CalendarRow(NOON, "year", 0, "UTC"),
        CalendarRow(NOON, "day", 24, "UTC"),
        CalendarRow(NOON, "day", -1, "UTC"),
    ],
)
async def test_a_malformed_calendar_changes_nothing(database: Database, wrong: CalendarRow) -> None:
    await set_calendars(database, FIRST)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await set_calendars(database, SECOND, wrong)
    assert await settings.calendars(database.reader, SERVER) == [FIRST]


async def test_two_calendars_from_one_moment_are_refused(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await set_calendars(database, FIRST, CalendarRow(FIRST.from_at, "day", 0, "UTC"))
    assert await settings.calendars(database.reader, SERVER) == []


async def test_forgetting_a_server_deletes_its_settings(database: Database) -> None:
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
