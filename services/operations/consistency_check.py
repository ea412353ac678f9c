"""Checks that the database is consistent in itself and with the data folder, and fixes problems.

Every transaction keeps these facts true, so a problem comes from outside (a damaged disk, a manual
change, a removed file) or is a defect.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from db import checks, songs
from db.connection import Connection
from db.database import Database
from db.errors import DatabaseFileError
from db.records import Status, from_ms
from services.credits.credits import Credits
from services.operations.data_folder import MARKER, song_folders

"""The entry that ends a song's hold, by its status."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and whether it was fixed."""

    text: str
    fixed: bool = False


async def check_unopened(path: Path, error: DatabaseFileError) -> list[Finding]:
    """Return the problems of a database that can't be opened because of `error`."""
    return [
        Finding(str(error)),
        *(Finding(f"The file is damaged: {text}") for text in await Database.damage(path)),
    ]


class ConsistencyCheck:
    """Finds inconsistencies. The bot may be running."""

    def __init__(self, database: Database, credits: Credits, *, data_dir: Path) -> None:
        self._database = database
        self._credits = credits
        self._songs_dir = data_dir / "songs"

    async def run(self, *, fix: bool) -> list[Finding]:
        """Return all problems; with `fix`, fix those that can be fixed.

        One transaction, so that nothing changes meanwhile; others wait. In a damaged file nothing
        is fixed; unreadable parts are reported and the rest is checked.
        """
        found = list[Finding]()
        try:
            async with self._database.write() as connection:
                found += await _readable("The file", self._file(connection))
                fix = fix and not found
                for subject, part in (
                    ("The ledger", self._sums),
                    ("The songs", self._songs),
                    ("Undelivered songs", self._undelivered),
                ):
                    found += await _readable(subject, part(connection, fix=fix))
                needed = await songs.needing_files(connection)
                undelivered = await songs.stored_files(connection)
        except DatabaseFileError as error:
            # Also from the commit, which SQLite may refuse after damage even without changes.
            if not (found and error.damaged):
                raise
            return [*found, Finding("The files of songs were not checked.")]
        return [*found, *await asyncio.to_thread(self._folders, needed, undelivered, fix=fix)]

    async def _file(self, connection: Connection) -> AsyncIterator[Finding]:
        for text in await checks.damage(connection):
            yield Finding(f"The file is damaged: {text}")
        for text in await checks.broken_references(connection):
            yield Finding(f"The table {text}.")

    async def _sums(self, connection: Connection, *, fix: bool) -> AsyncIterator[Finding]:
        for entry in await checks.entries(connection):
            yield Finding(
                f"Entry {entry.name} is {entry.stored:+,}, and its parts are {entry.counted:+,}."
            )
        for lot in await checks.lots(connection):
            fixed = fix and await checks.set_remaining(connection, lot.name, lot.counted)
            yield Finding(
                f"Lot {lot.name} has {lot.stored:,} left, and by its parts {lot.counted:,}.", fixed
            )
        for period in await checks.periods(connection):
            fixed = fix and await checks.set_used(connection, period)
            yield Finding(
                f"The period of server {period.server_id} that began at "
                f"{from_ms(period.period_at):%Y-%m-%d %H:%M} UTC counts {period.stored:,}, and by "
                f"the ledger {period.counted:,} are used.",
                fixed,
            )

    async def _songs(self, connection: Connection, *, fix: bool) -> AsyncIterator[Finding]:
        for song_id in await checks.unheld(connection):
            yield Finding(f"Song {song_id} was never paid for: the ledger has no hold of it.")
        for song_id, state, last in await checks.misplaced(connection):
            yield Finding(f"Song {song_id} is {state}, and its last event says {last}.")
        for wrong in await checks.unended(connection):
            fixed = fix and await self._end(connection, wrong)
            yield Finding(
                f"Song {wrong.song_id} is {wrong.state}, and its hold was ended by "
                f"{wrong.entry or 'nothing'}.",
                fixed,
            )

    async def _undelivered(self, connection: Connection, *, fix: bool) -> AsyncIterator[Finding]:
        for wrong in await checks.uncompensated(connection):
            if wrong.compensated:
                yield Finding(
                    f"Song {wrong.song_id} is {wrong.state}, and its price was returned as that of "
                    "one that was not delivered."
                )
                continue
            # Only a settled price can be compensated.
            song = await songs.get(connection, wrong.song_id) if wrong.settled else None
            fixed = fix and song is not None
            if fixed and song is not None:
                await self._credits.compensate(connection, song)
            yield Finding(
                f"Song {wrong.song_id} is {wrong.state}, and the ledger has no return of its "
                "price.",
                fixed,
            )

    async def _end(self, connection: Connection, wrong: checks.Unended) -> bool:
        """Enter a missing settle or refund; a wrong one can't be undone."""
        song = await songs.get(connection, wrong.song_id)
        if wrong.entry is not None or song is None:
            return False
        if song.status is Status.COMPLETED:
            await self._credits.settle(connection, song)
        else:
            await self._credits.refund(connection, song)
        return True

    def _folders(
        self, needed: set[int], undelivered: dict[int, str], *, fix: bool
    ) -> list[Finding]:
        """Return unneeded and missing files."""
        folders = song_folders(self._songs_dir)
        found = []
        # Without the marker it may be another program's folder: nothing is deleted.
        fix = fix and (self._songs_dir / MARKER).exists()
        for song_id in sorted(folders.keys() - needed):
            if fix:
                shutil.rmtree(folders[song_id])
            found.append(Finding(f"Song {song_id} has ended, and its files are still there.", fix))
        for song_id, file in sorted(undelivered.items()):
            if not (self._songs_dir / str(song_id) / file).is_file():
                found.append(Finding(f"Song {song_id} should have the file {file}: it is gone."))
        return found


async def _readable(subject: str, findings: AsyncIterator[Finding]) -> list[Finding]:
    """Return the findings, as far as the file can be read."""
    found = list[Finding]()
    try:
        async for finding in findings:
            found.append(finding)
    except DatabaseFileError as error:
        reason = "the file is damaged" if error.damaged else error
        found.append(Finding(f"{subject} could not be checked completely: {reason}."))
    return found
