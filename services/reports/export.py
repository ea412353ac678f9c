"""A server's ledger as CSV, for spreadsheets: how a cell is written, and how the files are made.

Files begin with a byte order mark, since Excel takes a CSV without one for the machine's code page.
Ids of members are written as mentions. Spreadsheets keep 15 digits of a number and Discord's ids
have up to 19, so an id must not look like a number: quotes around it don't help, a formula is what
must not be there, an apostrophe before it is shown as a part of it. A mention is text to all of
them, and pasted into Discord it is the member.
"""

import asyncio
import contextlib
import csv
import io
import logging
import re
import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
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
    """One file. `rows` are those below its header, `size` is in bytes."""

    name: str
    path: Path
    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class Exported:
    """The files in the order of their rows, at least one, and all their rows together."""

    parts: Sequence[Part]
    rows: int


class Export:
    """Writes a server's ledger to files, and removes them after their use."""

    def __init__(self, database: Database, *, folder: Path) -> None:
        """`folder` is for exports alone; it is made when one needs it."""
        self._database = database
        self._folder = folder

    async def clear(self) -> None:
        """Remove what a process that was killed has left. For the start: it takes every export."""
        await asyncio.to_thread(_clear, self._folder)

    @contextlib.asynccontextmanager
    async def write(
        self, server_id: int, *, since: datetime, until: datetime, limit: int = LIMIT
    ) -> AsyncIterator[Exported]:
        """The entries from `since` to just before `until`, as files that last as long as the block.

        One CSV; if that is over `limit` bytes, the same with gzip; if that is still over it,
        several with gzip, none over it, each with the header and complete rows. Their names say the
        first and the last day, as the zones of `since` and `until` count them. Entries that are
        made meanwhile may or may not be there; none is there twice.

        The work is done in a separate thread. It stops soon after the task is cancelled, and then
        too the files are removed.

        Raises:
            DaysReversed: `since` is not before `until`.
            ValueError: not even a single row fits into `limit`.
            OSError: the files can't be written.
        """
        first, end = to_ms(since), to_ms(until)
        if first >= end:
            raise DaysReversed(since.date(), until.date())
        last_day = (until - timedelta(milliseconds=1)).date()
        stem = f"songwright-ledger-{since.date()}-to-{last_day}"
        entries = reports.ledger_of_server(self._database.reader, server_id, since=first, until=end)
        async with (
            _own_thread() as thread,
            _own_folder(thread, self._folder) as folder,
            contextlib.aclosing(entries) as pages,
        ):
            files = await _run(thread, partial(_Files, folder, stem, limit))
            async for page in pages:
                await _run(thread, partial(files.add, page))
            parts = await _run(thread, files.finish)
            yield Exported(parts, sum(part.rows for part in parts))


_PREFIX = "tmp"
"""What the names of exports' folders begin with: other folders there are left alone."""

# --- The thread and the folder --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _own_thread() -> AsyncIterator[Executor]:
    """A thread that does one thing after the other, so that what removes files comes last."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="export")
    try:
        yield thread
    finally:
        thread.shutdown(wait=False)  # what it has been given is done nevertheless


@contextlib.asynccontextmanager
async def _own_folder(thread: Executor, parent: Path) -> AsyncIterator[Path]:
    made: list[Path] = []

    def make() -> Path:
        parent.mkdir(parents=True, exist_ok=True)
        made.append(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)))
        return made[0]

    def remove() -> None:
        for folder in made:  # none, if it could not be made
            _remove(folder)

    try:
        yield await _run(thread, make)
    finally:
        await _run(thread, remove)


async def _run(thread: Executor, work: Callable[[], T]) -> T:
    """Shielded: work that has been handed over is done, however often the task is cancelled."""
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(thread, work))


def _clear(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        _remove(folder)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass  # there was nothing to remove
    except OSError as error:
        log.warning("the exported files in %s could not be removed: %s", folder, error)


# --- Cells ----------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SKIPPED = (
    r"\s'\"`\u00ab\u00bb\u2018-\u201f\uff02\uff07"  # spaces and quotes
    r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # what is not seen
)
_STARTS = (
    r"=+\-@"
    r"\uff1d\uff0b\uff0d\uff20"  # full-width
    r"\ufe66\ufe62\ufe63\ufe6b\u2212"  # small forms, and the minus sign
)
_FORMULA = re.compile(rf"(?:^|(?<=;))(?=[{_SKIPPED}]*[{_STARTS}])")


def _cells(entry: LedgerLine) -> tuple[Cell, ...]:
    """One row, in the order of `COLUMNS`."""
    return (
        from_ms(entry.at).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        _text(entry.entry_id),
        entry.kind,
        _mention(entry.member_id),
        entry.number,
        entry.amount,
        entry.price,
        _mention(entry.actor_id),
        _text(entry.reason),
    )


def _text(text: str | None) -> str | None:
    """On one line, and nothing that a spreadsheet would run.

    An apostrophe goes before what could begin a formula, as OWASP's "CSV Injection" and CWE-1236
    have it; and before what could after a semicolon too, since that parts the cells where a comma
    is the decimal sign, whatever quotes there are. Whoever reads the file with a program takes one
    apostrophe away before such a beginning, and has the text again, but for its control characters.
    """
    if text is None:
        return None
    return _FORMULA.sub("'", _CONTROL.sub(" ", text))


def _mention(user_id: int | None) -> str | None:
    return None if user_id is None else f"<@{user_id}>"


def _lines(rows: Iterable[Iterable[Cell]]) -> list[bytes]:
    """Each row as one line of CSV (RFC 4180)."""
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    return written.getvalue().encode().splitlines(keepends=True)


def _header() -> bytes:
    return b"\xef\xbb\xbf" + b"".join(_lines([COLUMNS]))


# --- Files ----------------------------------------------------------------------------------------

_GZIP = 31
"""zlib's `wbits` for data between gzip's header and trailer."""
_TRAILER = 16
"""Bytes, at most, that end a gzip file: an empty block, the checksum, the length."""
_BLOCK = 2**16
"""Bytes of CSV, about, that are compressed at a time."""


class _Files:
    """Entries in, files out. Everything here blocks: it is work for a thread.

    Nothing is kept open between two calls, so that it may end after any of them.
    """

    def __init__(self, folder: Path, stem: str, limit: int) -> None:
        self._folder = folder
        self._stem = stem
        self._limit = limit
        self._plain = folder / f"{stem}.csv"
        self._packed: _GzipParts | None = None
        self._rows = 0
        self._size = 0  # of what is plain
        self._append([_header()])

    def add(self, entries: Sequence[LedgerLine]) -> None:
        """Write these after those before."""
        self._rows += len(entries)
        self._append(_lines(map(_cells, entries)))

    def finish(self) -> tuple[Part, ...]:
        """That was all: the files as they are to be handed out."""
        if self._packed is None:
            return (Part(self._plain.name, self._plain, self._rows, self._size),)
        return self._packed.finish(self._stem)

    def _append(self, lines: Sequence[bytes]) -> None:
        self._size += sum(map(len, lines))
        if self._size <= self._limit:
            _write(self._plain, *lines)
            return
        if self._packed is None:
            self._packed = self._compressed()
        self._packed.add(lines)

    def _compressed(self) -> "_GzipParts":
        """What is there so far, which is no longer needed as it was."""
        packed = _GzipParts(self._folder, self._limit)
        with self._plain.open("rb") as lines:
            next(lines)  # each part has a header
            packed.add(lines)
        self._plain.unlink()
        return packed


class _GzipParts:
    """Lines, compressed as they come, into files of at most `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._ended: list[Part] = []
        self._begin()

    def add(self, lines: Iterable[bytes]) -> None:
        """Write these after those before, into as many parts as it takes."""
        for block in _blocks(lines, min(_BLOCK, self._limit // 4)):
            self._put(block)

    def finish(self, stem: str) -> tuple[Part, ...]:
        """End the last part, and give them all their names, now that their number is known."""
        self._end()
        return tuple(
            _named(part, f"{stem}{_which(number, len(self._ended))}.csv.gz")
            for number, part in enumerate(self._ended, start=1)
        )

    def _begin(self) -> None:
        self._path = self._folder / f"part-{len(self._ended) + 1}"
        self._rows = self._size = 0
        self._compressor = zlib.compressobj(wbits=_GZIP)
        if not self._fits([_header()]):
            raise ValueError(f"no CSV with a header fits into {self._limit} bytes")

    def _put(self, block: Sequence[bytes]) -> None:
        """Write into this part what fits, and the rest into the next."""
        if self._fits(block):
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

    def _fits(self, lines: Sequence[bytes]) -> bool:
        """Whether there was room for them; then they are written.

        How small they become is only known when they are compressed: so that is tried on a copy.
        """
        compressor = self._compressor.copy()
        packed = compressor.compress(b"".join(lines)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        if self._size + len(packed) + _TRAILER > self._limit:
            return False
        self._compressor = compressor
        self._size += len(packed)
        _write(self._path, packed)
        return True

    def _end(self) -> None:
        rest = self._compressor.flush()
        _write(self._path, rest)
        self._ended.append(Part("", self._path, self._rows, self._size + len(rest)))


def _blocks(lines: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """The lines in groups of about `size` bytes: at least one, and one more than would be over."""
    block, length = list[bytes](), 0
    for line in lines:
        block.append(line)
        length += len(line)
        if length >= size:
            yield block
            block, length = [], 0
    if block:
        yield block


def _which(number: int, parts: int) -> str:
    return f"-part-{number}-of-{parts}" if parts > 1 else ""


def _named(part: Part, name: str) -> Part:
    return replace(part, name=name, path=part.path.rename(part.path.with_name(name)))


def _write(path: Path, *data: bytes) -> None:
    with path.open("ab") as file:
        file.writelines(data)
