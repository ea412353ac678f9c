"""What is wrong with the database's file is said with its name."""

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from db import servers
from db.connection import Connection
from db.database import Database
from db.errors import DatabaseFileError, DiskFullError, map_file_error
from tests import quota
from tests.databases import write_new
from tests.small_disk import small_disk


async def add_server(connection: Connection) -> None:
    await servers.ensure_server(connection, 1)


async def in_a_block(database: Database) -> None:
    async with database.write() as connection:
        await add_server(connection)


async def in_one_trip(database: Database) -> None:
    await database.transact(add_server)


@pytest.mark.parametrize("write", [in_a_block, in_one_trip])
async def test_a_quota_is_as_a_full_disk(
    database: Database, tmp_path: Path, write: Callable[[Database], Awaitable[None]]
) -> None:
    """SQLite calls it an I/O error, and songs that were made and paid for were FAILED of it."""
    with quota.used_up():
        for _ in range(2):
            with pytest.raises(DiskFullError, match="over its quota") as caught:
                await write(database)
            assert (caught.value.errno, caught.value.filename) == (
                errno.ENOSPC,
                str(tmp_path / "songs.db"),
            )
    assert await servers.names_present(database.reader) == {}
    await write(database)
    assert await servers.names_present(database.reader) == {1: None}


async def test_a_database_that_can_not_be_made_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mebibytes=1) as disk:
        disk.fill()
        with pytest.raises(DiskFullError) as caught:
            await Database.open(disk.folder / "songs.db")
        assert caught.value.filename == str(disk.folder / "songs.db")


async def test_a_database_that_can_not_be_opened_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mebibytes=1) as disk:
        await write_new(disk.folder / "songs.db")
        disk.fill()
        with pytest.raises(DiskFullError):
            await Database.open(disk.folder / "songs.db")
        disk.clear()
        await (await Database.open(disk.folder / "songs.db")).close()


async def test_file_that_cannot_be_opened_is_named_and_leaves_no_thread(tmp_path: Path) -> None:
    """The thread's complaint of a closed loop was a trace on the operator's screen."""
    before = set(threading.enumerate())
    with pytest.raises(DatabaseFileError, match=r"Is a directory\). Let the bot's user") as caught:
        await Database.open(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path} can't be used")
    assert not caught.value.damaged
    assert set(threading.enumerate()) == before


def error_of(code: int, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


CANTOPEN = error_of(sqlite3.SQLITE_CANTOPEN, "SQLITE_CANTOPEN")
IOERR_READ = error_of(sqlite3.SQLITE_IOERR_READ, "SQLITE_IOERR_READ")


def test_missing_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "songs.db").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may do everything
    error = map_file_error(CANTOPEN, tmp_path / "songs.db")
    assert "songs.db can't be used (unable to open database file: Permission denied)" in str(error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_there_is_no_room_to_make_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """SQLite can't open its log then, and does not say why."""

    def refuse(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("db.errors.tempfile.NamedTemporaryFile", refuse)
    error = map_file_error(CANTOPEN, tmp_path / "songs.db")
    assert isinstance(error, DiskFullError)


def test_unknown_reason_is_sqlites_message(tmp_path: Path) -> None:
    """A limit of open files, say."""
    error = map_file_error(IOERR_READ, tmp_path / "songs.db")
    assert isinstance(error, DatabaseFileError)
    assert "(unable to open database file)" in str(error)
    assert error.sqlite_errorcode == sqlite3.SQLITE_IOERR_READ
    assert list(tmp_path.iterdir()) == []


def test_error_that_is_not_about_the_file_is_not_mapped(tmp_path: Path) -> None:
    assert map_file_error(error_of(sqlite3.SQLITE_LOCKED, "SQLITE_LOCKED"), tmp_path) is None
    assert map_file_error(sqlite3.ProgrammingError("closed"), tmp_path) is None


async def test_damage_that_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    await write_new(path)
    database = await Database.open(path)
    await in_a_block(database)
    await database.close()
    damage(path)
    database = await Database.open(path)
    try:
        with pytest.raises(DatabaseFileError, match=r"songs\.db is damaged.*backup") as caught:
            await database.reader.execute_fetchall("SELECT * FROM servers")
        assert caught.value.damaged
    finally:
        await database.close()
    assert await Database.damage(path) == ["the table servers can't be read"]
    assert await Database.damage(tmp_path / "none.db") == []


def damage(path: Path, table: str = "servers") -> None:
    """Overwrite a table's first page, as a disk does that loses a sector."""
    with sqlite3.connect(path) as connection:
        ((page,),) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchall()
        ((size,),) = connection.execute("PRAGMA page_size").fetchall()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xde\xad" * (size // 2))


async def test_a_database_whose_list_of_migrations_is_damaged_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    await write_new(path)
    await asyncio.to_thread(damage, path, "migrations")
    with pytest.raises(DatabaseFileError) as caught:
        await Database.open(path)
    assert caught.value.damaged
