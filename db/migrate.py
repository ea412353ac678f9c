"""Numbered SQL files, each run in one transaction together with the record that it ran."""

import sqlite3
from collections.abc import Iterator
from importlib import resources

import aiosqlite

from db.errors import SchemaTooNewError, SchemaTooOldError

BASELINE = 9
"""The first migration there is. No released version wrote a file with the ones before it."""


async def migrate(connection: aiosqlite.Connection) -> None:
    """Run every migration that this file has not seen, in the order of their numbers.

    Raises:
        SchemaTooNewError, SchemaTooOldError: see `pending`.
    """
    pending_scripts = await pending(connection)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY) STRICT"
    )
    for number, script in pending_scripts.items():
        await _run(connection, number, script)


async def pending(connection: aiosqlite.Connection) -> dict[int, str]:
    """Number and text of each migration that this file has not seen; nothing is written.

    Raises:
        SchemaTooNewError: the file has seen a migration that this code does not have.
        SchemaTooOldError: it was written before the baseline.
    """
    known = dict(migrations())
    run = await seen(connection)
    if run and min(run) < BASELINE:
        raise SchemaTooOldError(
            "This database was written by a version from before the first release, and can't be "
            "upgraded. Start with a new one: move the file away, or set another DATABASE_URL."
        )
    if unknown := run - set(known):
        raise SchemaTooNewError(
            f"The database has migrations that this version lacks: {sorted(unknown)}. Run the "
            "version that wrote it, or a later one."
        )
    return {number: script for number, script in known.items() if number not in run}


def migrations() -> Iterator[tuple[int, str]]:
    """Number and text of each migration, in order."""
    folder = resources.files("db") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            yield int(file.name.split("_")[0]), file.read_text(encoding="utf-8")


def statements(script: str) -> Iterator[str]:
    """The script's statements one by one: `executescript` would commit what is open."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"A migration ends in the middle of a statement: {statement.strip()!r}")


async def seen(connection: aiosqlite.Connection) -> set[int]:
    """The numbers of the migrations that have been run on this file; none if it is not ours."""
    there = "SELECT 1 FROM sqlite_schema WHERE name = 'migrations'"
    if not list(await connection.execute_fetchall(there)):
        return set()
    rows = await connection.execute_fetchall("SELECT number FROM migrations")
    return {row["number"] for row in rows}


async def _run(connection: aiosqlite.Connection, number: int, script: str) -> None:
    """One migration. A table may be made anew in it: the references are held at the end instead.

    So SQLite wants it ("Making Other Kinds Of Table Schema Changes"); the pragma does nothing
    inside a transaction.
    """
    rows = list(await connection.execute_fetchall("PRAGMA foreign_keys"))
    await connection.execute("PRAGMA foreign_keys = OFF")
    try:
        await _run_whole(connection, number, script)
    finally:
        if rows[0][0]:
            await connection.execute("PRAGMA foreign_keys = ON")


async def _run_whole(connection: aiosqlite.Connection, number: int, script: str) -> None:
    try:
        await connection.execute("BEGIN IMMEDIATE")
        # The record first: another process may have run it while this one waited for its turn.
        cursor = await connection.execute(
            "INSERT INTO migrations (number) VALUES (?) ON CONFLICT (number) DO NOTHING", (number,)
        )
        if cursor.rowcount == 1:
            for statement in statements(script):
                await connection.execute(statement)
            if broken := list(await connection.execute_fetchall("PRAGMA foreign_key_check")):
                raise sqlite3.IntegrityError(f"migration {number} breaks {len(broken)} references")
        await connection.commit()
    except BaseException:
        await connection.rollback()
        raise
