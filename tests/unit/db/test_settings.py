"""What servers have decided: one value for each rule, and their calendars."""

import json
import sqlite3
from datetime import timedelta

import pytest

from db import servers, settings
from db.database import Database
from db.records import CalendarRow, Rule, to_ms
from tests.factories import MEMBER, NOON, SERVER

OTHER = SERVER + 1
OF_A_SERVER = (
    *("allowance", "limits", "channels", "words", "pause", "budget", "log", "gifts"),
    "leaderboard",
)
ABOUT_SOMEBODY = ("role", "member", "block")


@pytest.fixture(autouse=True)
async def two_servers(database: Database) -> None:
    async with database.write() as connection:
        for server_id in (SERVER, OTHER):
            await servers.ensure_server(connection, server_id)


async def put(database: Database, *those: Rule, server_id: int = SERVER) -> None:
    async with database.write() as connection:
        for rule in those:
            await settings.put(connection, server_id, rule.name, rule.subject_id, rule.value)


async def test_a_rule_is_there_once_and_goes_again(database: Database) -> None:
    reader = database.reader
    assert await settings.get(reader, SERVER, "allowance", 0) is None
    await put(database, Rule("allowance", 0, "1"), Rule("allowance", 0, "2"))
    await put(database, Rule("allowance", 0, "3"), server_id=OTHER)
    assert await settings.get(reader, SERVER, "allowance", 0) == "2"
    async with database.write() as connection:
        await settings.drop(connection, SERVER, "allowance", 0)
        await settings.drop(connection, SERVER, "allowance", 0)
    assert await settings.get(reader, SERVER, "allowance", 0) is None
    assert await settings.get(reader, OTHER, "allowance", 0) == "3"


async def test_one_about_somebody_is_apart_from_those_about_others(database: Database) -> None:
    reader = database.reader
    await put(database, *(Rule("block", n, str(n)) for n in (9, 7, 8)))
    async with database.write() as connection:
        await settings.drop(connection, SERVER, "block", 8)
    assert await settings.named(reader, SERVER, "block", limit=5) == [
        Rule("block", 7, "7"),
        Rule("block", 9, "9"),
    ]
    assert await settings.named(reader, SERVER, "block", limit=1) == [Rule("block", 7, "7")]
    assert await settings.named(reader, SERVER, "member", limit=5) == []
    assert await settings.count(reader, SERVER, "block") == 2
    assert await settings.count(reader, OTHER, "block") == 0


async def test_rules_about_somebody_come_page_by_page(database: Database) -> None:
    await put(database, *(Rule("block", n, str(n)) for n in (9, 7, 8)))
    page = await settings.named(database.reader, SERVER, "block", limit=2, offset=2)
    assert page == [Rule("block", 9, "9")]
    assert await settings.named(database.reader, SERVER, "block", limit=2, offset=3) == []


async def test_what_is_over_does_not_stand(database: Database) -> None:
    ends = (None, to_ms(NOON) + 1, to_ms(NOON))
    values = [json.dumps({"reason": "was loud", "until": until}) for until in ends]
    await put(database, *(Rule("block", n, value) for n, value in enumerate(values, start=1)))
    await put(database, Rule("member", 1, values[0]))
    assert await settings.count_standing(database.reader, SERVER, "block", at=NOON) == 2
    assert await settings.count_standing(database.reader, OTHER, "block", at=NOON) == 0


async def test_in_force_is_everything_but_what_is_about_other_members(
    database: Database,
) -> None:
    own = [Rule(name, 0, "0") for name in OF_A_SERVER]
    roles = [Rule("role", role, "1") for role in (1, 2)]
    mine = [Rule(name, MEMBER, "2") for name in ("member", "block")]
    others = [Rule(name, MEMBER + 1, "3") for name in ("member", "block")]
    await put(database, *own, *roles, *mine, *others)
    await put(database, Rule("member", MEMBER, "4"), server_id=OTHER)

    def key(rule: Rule) -> tuple[str, int]:
        return rule.name, rule.subject_id

    reader = database.reader
    found = await settings.in_force(reader, SERVER, MEMBER)
    assert sorted(found, key=key) == sorted([*own, *roles, *mine], key=key)
    assert len(await settings.in_force(reader, SERVER, 0)) == len(own) + len(roles)
    assert await settings.names(reader, SERVER) == sorted(map(key, [*own, *roles, *mine, *others]))


@pytest.mark.parametrize(
    "wrong",
    [
        *(Rule(name, 7, "1") for name in OF_A_SERVER),
        *(Rule(name, 0, "1") for name in ABOUT_SOMEBODY),
        Rule("colour", 0, "1"),
    ],
    ids=lambda rule: f"{rule.name}-{rule.subject_id}",
)
async def test_a_rule_that_makes_no_sense_is_refused(database: Database, wrong: Rule) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await put(database, wrong)


async def test_a_rule_needs_a_server(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await put(database, Rule("allowance", 0, "1"), server_id=404)


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
        await put(database, Rule("pause", 0, "1"), Rule("member", 7, "1"), server_id=server_id)
        await set_calendars(database, FIRST, server_id=server_id)
    async with database.write() as connection:
        await settings.forget(connection, SERVER)
    reader = database.reader
    assert await settings.names(reader, SERVER) == []
    assert await settings.calendars(reader, SERVER) == []
    assert len(await settings.names(reader, OTHER)) == 2
    assert await settings.calendars(reader, OTHER) == [FIRST]
