"""Export a server's ledger as CSV for spreadsheets.

Files begin with a byte order mark, since Excel reads a CSV without one in the machine's code page.
Members' ids are written as mentions: spreadsheets keep 15 digits of a number, Discord's ids have up
to 19, and quotes around a number don't make it text. A mention is text to all of them, and pasted
into Discord it is the member.
"""

import asyncio
import contextlib
import csv
import io
import logging
import re
import shutil
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from db import reports
from db.database import Database
from db.records import from_ms, to_ms
from db.reports import LedgerLine
from services.errors import InvalidRequest

log = logging.getLogger(__name__)

LIMIT = 10 * 2**20
"""Discord's limit for a file where nobody pays for more, in bytes."""
COLUMNS = ("time", "entry", "kind", "member_id", "song", "amount", "price", "actor_id", "reason")

T = TypeVar("T")
Cell = str | int | None


@dataclass(eq=False)
class DaysReversed(InvalidRequest):
    """The first day of an export is after the last."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Part:
    """One file: the number of rows below its header, and its size in bytes."""

    name: str
    path: Path
    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class Exported:
    """The files in the order of their rows, at least one, and the number of all rows."""

    parts: Sequence[Part]
    rows: int


class Export:
    """Writes a server's ledger to files, and removes them after their use."""

    def __init__(self, database: Database, *, folder: Path) -> None:
        """`folder` is only for exports, and is created by the first one."""
        self._database = database
        self._folder = folder

    async def clear(self) -> None:
        """Remove the files of a process that was killed. Only for the start."""
        for folder in await asyncio.to_thread(lambda: list(self._folder.glob(f"{_PREFIX}*"))):
            await asyncio.to_thread(_remove, folder)

    @contextlib.asynccontextmanager
    async def write(
        self, server_id: int, *, since: datetime, until: datetime, limit: int = LIMIT
    ) -> AsyncIterator[Exported]:
        """Write the entries from `since` to just before `until` to files; remove them afterwards.

        One CSV; if that is over `limit` bytes, one with gzip; if that is still over it, several
        with gzip, none over it, each with the header and complete rows. Their names contain the
        first and the last day in the zones of `since` and `until`. Entries made meanwhile may be
        missing; none is there twice.

        The work is done in a separate thread, which stops soon after the task is cancelled.

        Raises:
            DaysReversed: `since` is not before `until`.
            ValueError: a single row does not fit into `limit`.
            OSError: the files can't be written.
        """
        first, end = to_ms(since), to_ms(until)
        if first >= end:
            raise DaysReversed(since.date(), until.date())
        last_day = (until - timedelta(milliseconds=1)).date()
        stem = f"songwright-ledger-{since.date()}-to-{last_day}"
        entries = reports.ledger_of_server(self._database.reader, server_id, since=first, until=end)
        async with (
            _workspace(self._folder) as (thread, folder),
            contextlib.aclosing(entries) as pages,
        ):
            files = await _run(thread, partial(_Files, folder, stem, limit))
            async for page in pages:
                await _run(thread, partial(files.add, page))
            parts = await _run(thread, files.finish)
            yield Exported(parts, sum(part.rows for part in parts))


_PREFIX = "tmp"
"""How the names of exports' folders begin; other folders are left alone."""


@contextlib.asynccontextmanager
async def _workspace(parent: Path) -> AsyncIterator[tuple[Executor, Path]]:
    """Provide a folder, and a thread that does one thing after the other: removal comes last."""
    folder = parent / f"{_PREFIX}{uuid.uuid4().hex}"
    thread = ThreadPoolExecutor(1, thread_name_prefix="export")
    try:
        await _run(thread, partial(folder.mkdir, mode=0o700, parents=True))
        yield thread, folder
    finally:
        try:
            await _run(thread, partial(_remove, folder))
        finally:
            thread.shutdown(wait=False)  # submitted work is done anyway


async def _run(thread: Executor, work: Callable[[], T]) -> T:
    """Run on the thread. Shielded: submitted work is done even if the task is cancelled."""
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(thread, work))


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it could not be created
    except OSError as error:
        log.warning("the exported files in %s could not be removed: %s", folder, error)


# --- Cells ----------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SKIPPED = (
    r"\s'\"`\u00ab\u00bb\u2018-\u201f\uff02\uff07"  # spaces and quotes
    r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # invisible
)
_STARTS = (
    r"=+\-@"
    r"\uff1d\uff0b\uff0d\uff20"  # full-width
    r"\ufe66\ufe62\ufe63\ufe6b\u2212"  # small forms, and the minus sign
)
_FORMULA = re.compile(rf"(?:^|(?<=;))(?=[{_SKIPPED}]*[{_STARTS}])")


def _cells(entry: LedgerLine) -> tuple[Cell, ...]:
    """Return one row, in the order of `COLUMNS`."""
    return (
        from_ms(entry.at).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        _text(entry.entry_id),
        entry.kind,
        f"<@{entry.member_id}>",
        entry.number,
        entry.amount,
        entry.price,
        None if entry.actor_id is None else f"<@{entry.actor_id}>",
        _text(entry.reason),
    )


def _text(text: str | None) -> str | None:
    """Return the text on one line, without anything that a spreadsheet would run.

    An apostrophe goes before what could begin a formula (OWASP "CSV Injection", CWE-1236), also
    after a semicolon, which separates cells where a comma is the decimal sign. A program that reads
    the file removes one apostrophe before such a beginning to restore all but control characters.
    """
    return None if text is None else _FORMULA.sub("'", _CONTROL.sub(" ", text))


def _lines(rows: Iterable[Iterable[Cell]]) -> list[bytes]:
    """Return each row as one line of CSV (RFC 4180)."""
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    return written.getvalue().encode().splitlines(keepends=True)


_HEADER = b"\xef\xbb\xbf" + b"".join(_lines([COLUMNS]))

# --- Files ----------------------------------------------------------------------------------------

_GZIP = 31
"""zlib's `wbits` for data between gzip's header and trailer."""
_TRAILER = 16
"""Bytes, at most, that end a gzip file: an empty block, the checksum, the length."""
_BLOCK = 2**16
"""Bytes of CSV, about, that are compressed at a time."""


class _Files:
    """Writes entries to one plain file, or to gzip files if that gets too large.

    All methods block: they are work for a thread. No file is open between two calls.
    """

    def __init__(self, folder: Path, stem: str, limit: int) -> None:
        self._stem = stem
        self._limit = limit
        self._plain = folder / f"{stem}.csv"
        self._gzip: _GzipParts | None = None
        self._rows = 0
        self._size = 0  # of the plain file
        self._append([_HEADER])

    def add(self, entries: Sequence[LedgerLine]) -> None:
        """Write these after those before."""
        self._rows += len(entries)
        self._append(_lines(map(_cells, entries)))

    def finish(self) -> tuple[Part, ...]:
        """Return the complete files."""
        if self._gzip is None:
            return (Part(self._plain.name, self._plain, self._rows, self._size),)
        return self._gzip.finish(self._stem)

    def _append(self, lines: Sequence[bytes]) -> None:
        self._size += sum(map(len, lines))
        if self._size <= self._limit:
            _write(self._plain, *lines)
            return
        if self._gzip is None:
            self._gzip = _GzipParts(self._plain.parent, self._limit)
            with self._plain.open("rb") as written:
                next(written)  # each part has a header
                self._gzip.add(written)
            self._plain.unlink()
        self._gzip.add(lines)


class _GzipParts:
    """Compresses lines into files of at most `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._ended: list[tuple[Path, int, int]] = []
        self._begin()

    def add(self, lines: Iterable[bytes]) -> None:
        """Write these after those before, into as many parts as needed."""
        for block in _blocks(lines, min(_BLOCK, self._limit // 4)):
            self._put(block)

    def finish(self, stem: str) -> tuple[Part, ...]:
        """End the last part and name all, now that their number is known."""
        self._end()
        parts = []
        for number, (path, rows, size) in enumerate(self._ended, start=1):
            which = f"-part-{number}-of-{len(self._ended)}" if len(self._ended) > 1 else ""
            named = path.rename(path.with_name(f"{stem}{which}.csv.gz"))
            parts.append(Part(named.name, named, rows, size))
        return tuple(parts)

    def _begin(self) -> None:
        self._path = self._folder / f"part-{len(self._ended) + 1}"
        self._rows = self._size = 0
        self._compressor = zlib.compressobj(wbits=_GZIP)
        if not self._write_if_room([_HEADER]):
            raise ValueError(f"no CSV with a header fits into {self._limit} bytes")

    def _end(self) -> None:
        rest = self._compressor.flush()
        _write(self._path, rest)
        self._ended.append((self._path, self._rows, self._size + len(rest)))

    def _put(self, block: Sequence[bytes]) -> None:
        """Write as much as there is room for into this part, and the rest into the next."""
        if self._write_if_room(block):
            self._rows += len(block)
        elif len(block) > 1:
            half = len(block) // 2
            self._put(block[:half])
            self._put(block[half:])
        elif self._rows == 0:
            raise ValueError(f"a row of {len(block[0])} bytes does not fit into {self._limit}")
        else:
            self._end()
            self._begin()
            self._put(block)

    def _write_if_room(self, lines: Sequence[bytes]) -> bool:
        """Write the lines; False if there is no room for them.

        The compressed size is known only after compressing, so a copy of the compressor tries it.
        """
        compressor = self._compressor.copy()
        packed = compressor.compress(b"".join(lines)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        if self._size + len(packed) + _TRAILER > self._limit:
            return False
        self._compressor = compressor
        self._size += len(packed)
        _write(self._path, packed)
        return True


def _blocks(lines: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield the lines in groups of at least `size` bytes, except the last."""
    block, length = list[bytes](), 0
    for line in lines:
        block.append(line)
        length += len(line)
        if length >= size:
            yield block
            block, length = [], 0
    if block:
        yield block


def _write(path: Path, *data: bytes) -> None:
    with path.open("ab") as file:
        file.writelines(data)
