"""Migrations: numbered SQL files, each run in one transaction that also records it."""

import sqlite3
from collections.abc import Iterator
from importlib import resources

import aiosqlite

from db.errors import SchemaTooNewError, SchemaTooOldError

BASELINE = 10
"""The first migration. No released version wrote a file with earlier ones."""


async def migrate(connection: aiosqlite.Connection) -> None:
    """Run each pending migration, in the order of their numbers.

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
    """Return number and script of each migration that has not run on this file.

    Raises:
        SchemaTooNewError: a migration has run that this version does not have.
        SchemaTooOldError: it was written before the baseline.
    """
    known = dict(migrations())
    done = await applied(connection)
    if done and min(done) < BASELINE:
        raise SchemaTooOldError(
            "This database is from a version before the first release and can't be "
            "upgraded. Start with a new one: move the file away, or set another DATABASE_URL."
        )
    if unknown := done - set(known):
        raise SchemaTooNewError(
            f"The database has migrations that this version lacks: {sorted(unknown)}. Run the "
            "version that wrote it, or a later one."
        )
    return {number: script for number, script in known.items() if number not in done}


def migrations() -> Iterator[tuple[int, str]]:
    """Yield number and script of each migration, in order."""
    folder = resources.files("db") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            yield int(file.name.split("_")[0]), file.read_text(encoding="utf-8")


def statements(script: str) -> Iterator[str]:
    """Yield the script's statements: `executescript` would commit the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"A migration ends in the middle of a statement: {statement.strip()!r}")


async def applied(connection: aiosqlite.Connection) -> set[int]:
    """Return the numbers of the migrations that have run; none if the file is not Songwright's."""
    table = "SELECT 1 FROM sqlite_schema WHERE name = 'migrations'"
    if not list(await connection.execute_fetchall(table)):
        return set()
    rows = await connection.execute_fetchall("SELECT number FROM migrations")
    return {row["number"] for row in rows}


async def _run(connection: aiosqlite.Connection, number: int, script: str) -> None:
    """Run one migration, which may rebuild tables: foreign keys are checked at its end.

    Source: SQLite, "Making Other Kinds Of Table Schema Changes". The pragma has no effect inside a
    transaction.
    """
    await connection.execute("PRAGMA foreign_keys = OFF")
    try:
        await connection.execute("BEGIN IMMEDIATE")
        # The record first: another process may have run it while this one waited for the lock.
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
    finally:
        await connection.execute("PRAGMA foreign_keys = ON")
