"""What the schema refuses, whoever writes: rows of budgets, role grants and changes."""

import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest

from db.database import Database
from tests.factories import SERVER, add_song

UNKNOWN = 404
"""A server that is not in the database."""
ROLE_GRANT = {
    "server_id": SERVER,
    "role_grant_id": 1,
    "role_id": 7,
    "kind": "grant",
    "amount": 5,
    "actor_id": 3,
    "at": 10,
    "ends_at": 20,
    "expires_at": 30,
}
CHANGE = {"server_id": SERVER, "number": 2, "name": "allowance", "at": 1}
PERIOD = {"server_id": SERVER, "period_at": 1, "used": 0}
BUDGET = {"scope": "all", "server_id": 0, "credits": None, "songs": None}
SUBMITS = {"day": 1, "server_id": 0, "songs": 1, "credits": 1}

Row = tuple[str, Mapping[str, Any]]
ACCEPTED: list[Row] = [
    ("role_grants", ROLE_GRANT),
    ("role_grants", ROLE_GRANT | {"kind": "take", "expires_at": None}),
    ("role_grants", ROLE_GRANT | {"expires_at": 20}),
    ("changes", CHANGE | {"log_channel_id": 5, "logged_at": 9}),
    ("server_periods", PERIOD),
    ("operator_budgets", BUDGET),
    ("operator_budgets", BUDGET | {"scope": "server", "server_id": SERVER, "credits": 0}),
    ("submits", SUBMITS),
]
REFUSED: list[Row] = [
    ("role_grants", ROLE_GRANT | {"kind": "loan"}),
    ("role_grants", ROLE_GRANT | {"amount": 0}),
    ("role_grants", ROLE_GRANT | {"ends_at": 10}),
    ("role_grants", ROLE_GRANT | {"expires_at": 19}),  # before the last member could get it
    ("role_grants", ROLE_GRANT | {"kind": "take"}),  # what is taken does not expire
    ("changes", CHANGE | {"undoes": 2}),
    ("changes", CHANGE | {"logged_at": 9}),
    ("server_periods", PERIOD | {"used": -1}),
    ("server_periods", PERIOD | {"warned": 50}),
    ("submits", SUBMITS | {"songs": -1}),
    ("submits", SUBMITS | {"credits": -1}),
    ("operator_budgets", BUDGET | {"scope": "some"}),
    ("operator_budgets", BUDGET | {"server_id": SERVER}),
    ("operator_budgets", BUDGET | {"scope": "each", "server_id": SERVER}),
    ("operator_budgets", BUDGET | {"scope": "server"}),
    ("operator_budgets", BUDGET | {"songs": -1}),
    ("operator_budgets", BUDGET | {"credits": -1}),
]
UNRELATED: list[Row] = [
    *(
        (table, row | {"server_id": UNKNOWN})
        for table, row in (
            *(("role_grants", ROLE_GRANT), ("changes", CHANGE), ("server_periods", PERIOD)),
        )
    ),
    ("members", {"server_id": UNKNOWN, "member_id": 1}),
    ("changes", CHANGE | {"undoes": 1}),  # a change of another server has this number
]


@pytest.fixture(autouse=True)
async def servers(database: Database) -> None:
    for server_id in (SERVER, SERVER + 1):
        await insert(database, "servers", {"server_id": server_id})
    await insert(database, "changes", CHANGE | {"server_id": SERVER + 1, "number": 1})


async def insert(database: Database, table: str, row: Mapping[str, Any]) -> None:
    async with database.write() as connection:
        await connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            tuple(row.values()),
        )


@pytest.mark.parametrize(("table", "row"), ACCEPTED)
async def test_valid_row_is_accepted_once(
    database: Database, table: str, row: Mapping[str, Any]
) -> None:
    await insert(database, table, row)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await insert(database, table, row)


@pytest.mark.parametrize(("table", "row"), REFUSED)
async def test_invalid_row_is_refused(
    database: Database, table: str, row: Mapping[str, Any]
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await insert(database, table, row)


@pytest.mark.parametrize(("table", "row"), UNRELATED)
async def test_row_without_its_parent_is_refused(
    database: Database, table: str, row: Mapping[str, Any]
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await insert(database, table, row)


async def test_server_that_the_bot_is_in_cannot_be_forgotten(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await database._writer.execute("UPDATE servers SET forgotten_at = 1")


async def test_song_number_is_unique_in_its_server(database: Database) -> None:
    await add_song(database, 1, number=42)
    with pytest.raises(sqlite3.IntegrityError, match=r"songs\.number"):
        await add_song(database, 2, number=42)
    await add_song(database, 3, number=42, server_id=SERVER + 1)
