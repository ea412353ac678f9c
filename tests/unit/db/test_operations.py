"""Incidents and command sets."""

from datetime import timedelta

from db import operations
from db.database import Database
from db.records import Incident
from tests.factories import NOON

LATER = NOON + timedelta(minutes=1)


async def test_an_incident_is_opened_told_and_closed_once(database: Database) -> None:
    async with database.write() as connection:
        assert await operations.open_incident(connection, "b", detail="first", at=NOON)
        assert not await operations.open_incident(connection, "b", detail="again", at=LATER)
        assert await operations.open_incident(connection, "a", detail="other", at=NOON)
        assert await operations.mark_notified(connection, "b", at=LATER)
        assert not await operations.mark_notified(connection, "b", at=LATER)
        assert not await operations.mark_notified(connection, "none", at=LATER)
    assert await operations.incidents(database.reader) == [
        Incident("a", "other", NOON, None),
        Incident("b", "first", NOON, LATER),
    ]
    async with database.write() as connection:
        assert await operations.close_incident(connection, "b")
        assert not await operations.close_incident(connection, "b")
    assert [row.kind for row in await operations.incidents(database.reader)] == ["a"]


async def test_the_newest_commands_of_each_application_are_kept(database: Database) -> None:
    async with database.write() as connection:
        assert await operations.command_digest(connection, 1) is None
        await operations.set_command_digest(connection, 1, "one")
        await operations.set_command_digest(connection, 2, "two")
        await operations.set_command_digest(connection, 1, "three")
    assert await operations.command_digest(database.reader, 1) == "three"
    assert await operations.command_digest(database.reader, 2) == "two"
