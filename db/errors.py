"""The root of all errors, and those of the database's file: SQLite's own don't name the file."""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""`errno` of a file that can't grow: the disk or the user's quota is full."""

_NOT_WRITTEN = (
    sqlite3.SQLITE_FULL,
    # SQLITE_FULL means only ENOSPC (os_unix.c); a full quota is this. A failing disk looks the same
    # and is retried too: the operator gets a message.
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OF_THE_FILE = (
    *_DAMAGED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)


class SongwrightError(Exception):
    """The root: every error class of this project is below it. Most are in services/errors.py."""


class DiskFullError(SongwrightError, OSError):
    """There is no room for a transaction, which was rolled back. Its `errno` is ENOSPC."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ENOSPC, "the disk is full, over its quota, or failing", str(path))


class DatabaseFileError(SongwrightError, sqlite3.OperationalError):
    """The file can't be used. `str()` names it and says what to do."""

    damaged = False
    """True: it is corrupt, or no database. False: it can't be opened, read or written."""


class DatabaseBusyError(SongwrightError, sqlite3.OperationalError):
    """Another program kept the file locked for too long. `str()` names the file."""


class LocksUnsupportedError(SongwrightError, OSError):
    """The file system has no locks: nobody can know whether another process uses the file."""


class SchemaTooNewError(SongwrightError):
    """A later version has written this file: run that version, or restore a backup."""


class SchemaTooOldError(SongwrightError):
    """An earlier version wrote this file, and may be using it, or it can't be upgraded."""


NOT_NOW = (DiskFullError, DatabaseBusyError)
"""Errors of a write that changed nothing and may be repeated."""


def map_file_error(error: sqlite3.Error, path: Path) -> Exception | None:
    """Return the error that names the file, or None if `error` is not about the file."""
    # Errors that aiosqlite raises have no code.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code in _NOT_WRITTEN:
        return DiskFullError(path)
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_BUSY:
        busy = DatabaseBusyError(
            f"{path} is locked by another program: a backup, or a database browser with a change "
            "that was not saved. Close that program."
        )
        busy.sqlite_errorcode, busy.sqlite_errorname = code, error.sqlite_errorname
        return busy
    if primary not in _OF_THE_FILE:
        return None
    if primary in _DAMAGED:
        found = DatabaseFileError(
            f"{path} is damaged or is no database ({error}). Stop the bot and replace the file "
            "with the newest backup: see Backups in docs/operating.md."
        )
    else:
        why = _write_error(path)
        if why is not None and why.errno in NO_ROOM:
            return DiskFullError(path)
        reason = f"{error}: {why.strerror}" if why is not None else f"{error}"
        found = DatabaseFileError(
            f"{path} can't be used ({reason}). Let the bot's user read and write the file and its "
            "folder, or set another DATABASE_URL."
        )
    found.damaged = primary in _DAMAGED
    found.sqlite_errorcode, found.sqlite_errorname = code, error.sqlite_errorname
    return found


def _write_error(path: Path) -> OSError | None:
    """Return why this file, or a new one next to it, can't be written; None if it can.

    The file itself is not opened: closing it would release SQLite's locks on it.
    """
    if path.is_dir():
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        with tempfile.NamedTemporaryFile(prefix=f"{path.name}-", dir=path.parent) as probe:
            probe.write(bytes(2**16))  # what SQLite needs at first
    except OSError as error:
        return error
    return None
