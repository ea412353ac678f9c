"""The ledger as CSV: what is in the cells, how large the files are, and that none is left."""

import asyncio
import csv
import gzip
import logging
import random
import re
import shutil
import string
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from db import servers
from db.database import Database
from db.records import to_ms
from services.reports.export import COLUMNS, LIMIT, DaysReversed, Export, Exported
from tests.databases import database_in_memory
from tests.factories import MEMBER, NOON, SERVER, add_song

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
BOM = b"\xef\xbb\xbf"
HEADER_SIZE = len(BOM) + len(",".join(COLUMNS)) + 2
ACTOR = 1_234_567_890_123_456_789  # digits that a double would lose


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "exports"


@pytest.fixture
def export(database: Database, folder: Path) -> Export:
    return Export(database, folder=folder)


async def add_entries(database: Database, *reasons: str | None, at: datetime = NOON) -> None:
    """A grant for each reason, a second apart."""
    async with database.write() as connection:
        await servers.ensure_server(connection, SERVER)
        await servers.ensure_member(connection, SERVER, MEMBER)
        await connection.executemany(
            """
            INSERT INTO ledger (entry_id, kind, server_id, member_id, amount, actor_id, reason, at)
            VALUES (?, 'grant', ?, ?, 5, ?, ?, ?)
            """,
            [
                (f"grant:{number}", SERVER, MEMBER, ACTOR, reason, to_ms(at) + number * 1_000)
                for number, reason in enumerate(reasons)
            ],
        )


def march(export: Export, limit: int = LIMIT) -> Any:
    return export.write(SERVER, since=MARCH, until=APRIL, limit=limit)


def text(path: Path) -> str:
    """Return the content of a file, compressed or not."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    assert data.startswith(BOM)
    return data.decode("utf-8-sig")


def rows(path: Path, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(text(path).splitlines(keepends=True), delimiter=delimiter, strict=True))


def all_rows(exported: Exported) -> list[list[str]]:
    """Return the rows of all parts; assert their sizes, headers and counts."""
    together = []
    for part in exported.parts:
        header, *below = rows(part.path)
        assert header == list(COLUMNS)
        assert part.size == part.path.stat().st_size
        assert part.rows == len(below)
        together += below
    assert exported.rows == len(together)
    return together


def left(folder: Path) -> list[Path]:
    """List what is left in the folder for exports."""
    return list(folder.rglob("*"))


def random_words(count: int, length: int = 40) -> list[str]:
    """Reasons that can't be compressed by much."""
    chance = random.Random(1)
    return ["".join(chance.choices(string.ascii_letters, k=length)) for _ in range(count)]


# --- What is in it --------------------------------------------------------------------------------


async def test_row_has_all_facts_of_an_entry(database: Database, export: Export) -> None:
    song = 1_300_000_000_000_000_123
    await add_song(database, song, number=42)
    await add_entries(database, "Well done, é", at=NOON + timedelta(milliseconds=7))
    async with database.write() as connection:
        await connection.execute(
            """
            INSERT INTO ledger (entry_id, kind, server_id, member_id, song_id, amount, price,
                                period_at, at)
            VALUES ('hold:' || ?1, 'hold', ?2, ?3, ?1, -2, 2, 0, ?4)
            """,
            (song, SERVER, MEMBER, to_ms(NOON)),
        )
    async with march(export) as exported:
        (part,) = exported.parts
        assert text(part.path) == (
            "time,entry,kind,member_id,song,amount,price,actor_id,reason\r\n"
            f"2026-03-14T12:00:00.000Z,hold:{song},hold,<@{MEMBER}>,42,-2,2,,\r\n"
            f"2026-03-14T12:00:00.007Z,grant:0,grant,<@{MEMBER}>,,5,,<@{ACTOR}>,"
            '"Well done, é"\r\n'
        )
        assert (part.rows, exported.rows) == (2, 2)


async def test_an_empty_span_has_a_header(export: Export) -> None:
    async with march(export) as exported:
        (part,) = exported.parts
        assert rows(part.path) == [list(COLUMNS)]
        assert (part.rows, exported.rows, part.size) == (0, 0, HEADER_SIZE)


@pytest.mark.parametrize(
    ("since", "until", "name"),
    [
        (MARCH, APRIL, "2026-03-01-to-2026-03-31"),
        (MARCH, MARCH + timedelta(days=1), "2026-03-01-to-2026-03-01"),
        (MARCH, MARCH + timedelta(milliseconds=1), "2026-03-01-to-2026-03-01"),
        (
            datetime(2026, 3, 1, tzinfo=ZoneInfo("Asia/Kolkata")),
            datetime(2026, 4, 1, tzinfo=ZoneInfo("Asia/Kolkata")),
            "2026-03-01-to-2026-03-31",
        ),
        (datetime(2016, 3, 1, tzinfo=UTC), MARCH, "2016-03-01-to-2026-02-28"),
    ],
)
async def test_file_name_contains_the_days(
    export: Export, since: datetime, until: datetime, name: str
) -> None:
    async with export.write(SERVER, since=since, until=until) as exported:
        (part,) = exported.parts
        assert part.name == part.path.name == f"songwright-ledger-{name}.csv"


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (APRIL, MARCH),
        (MARCH, MARCH),
        (MARCH, MARCH.astimezone(ZoneInfo("Asia/Kolkata"))),
        # An hour that the clocks show twice: the later one of the two comes second.
        (
            datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2026, 10, 25, 2, 50, fold=0, tzinfo=ZoneInfo("Europe/Berlin")),
        ),
    ],
)
async def test_a_span_that_ends_before_it_begins_is_refused(
    export: Export, folder: Path, since: datetime, until: datetime
) -> None:
    with pytest.raises(DaysReversed):
        async with export.write(SERVER, since=since, until=until):
            pass
    assert not left(folder)


# --- No formulas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("\r=1", "' =1"),
        ("  =1", "'  =1"),
        ("\u00a0\u3000=1", "'\u00a0\u3000=1"),
        ("\u200b\ufeff=1", "'\u200b\ufeff=1"),
        ("\x00=1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20A", "'\uff20A"),
        ("\u22121", "'\u22121"),
        ('"=1', "'\"=1"),
        ("'=1", "''=1"),
        ("\u201c \u2018=1", "'\u201c \u2018=1"),
        ("so;=1", "so;'=1"),
        ('a; "=1;+2', "a;' \"=1;'+2"),
        ("two\r\nlines", "two  lines"),
        ("tab\tand\x00nothing\x85\u2028", "tab and nothing  "),
        # As it was:
        ("well done = thanks", "well done = thanks"),
        ("a, -b", "a, -b"),
        ("'quoted'", "'quoted'"),
        ('say "hi"', 'say "hi"'),
        ("a;b", "a;b"),
        ("", ""),
        (None, ""),
    ],
)
async def test_reason_cannot_begin_a_formula(
    database: Database, export: Export, reason: str | None, cell: str
) -> None:
    await add_entries(database, reason)
    async with march(export) as exported:
        assert [row[-1] for row in all_rows(exported)] == [cell]


BEGINS_A_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20\t\r\n")
SKIPPED = " \u00a0\u3000\u200b\ufeff'\"\u2018\u201c"


def is_run(cell: str) -> bool:
    """Return whether a spreadsheet might run the cell as a formula."""
    if cell.startswith("'") or re.fullmatch(r"-?[0-9]+", cell):
        return False
    return cell.lstrip(SKIPPED).startswith(BEGINS_A_FORMULA) or "\x00" in cell


def as_typed(cell: str) -> str:
    """The way back that the module describes."""
    skipped, begins = re.escape(SKIPPED), re.escape("".join(BEGINS_A_FORMULA))
    return re.sub(rf"(^|;)'(?=[{skipped}]*[{begins}])", r"\1", cell)


REASONS = st.lists(
    st.text(st.one_of(st.sampled_from("=+-@;,'\" \t\r\n\x00\uff1d"), st.characters(codec="utf-8")))
)


@settings(max_examples=30)
@given(reasons=REASONS)
@example(reasons=['";"=1', ';\t"+', "'';=", "\n;\n=", '=";"'])
def test_generated_reasons_stay_text_in_one_cell(
    reasons: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def check() -> None:
        folder = tmp_path_factory.mktemp("exports")
        async with database_in_memory() as database:
            await add_entries(database, *reasons)
            async with march(Export(database, folder=folder)) as exported:
                (part,) = exported.parts
                lines = part.path.read_bytes().split(b"\r\n")
                read = [row[-1] for row in all_rows(exported)]
                cells = [cell for mark in ",;\t" for cell in split(part.path, mark)]
        assert len(lines) == len(reasons) + 2
        assert not any(map(is_run, cells))
        if not any(re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", reason) for reason in reasons):
            assert list(map(as_typed, read)) == reasons

    asyncio.run(check())


def split(path: Path, mark: str) -> list[str]:
    """The cells of a file that is read with another mark between them than it was written with."""
    lines = text(path).split("\r\n")
    return [cell for row in csv.reader(lines, delimiter=mark) for cell in row]


# --- How large ------------------------------------------------------------------------------------


async def test_a_file_may_be_as_large_as_the_limit(database: Database, export: Export) -> None:
    await add_entries(database, *random_words(40))
    async with march(export) as exported:
        (part,) = exported.parts
        whole, size = all_rows(exported), part.size
    async with march(export, limit=size) as exported:
        assert [part.name for part in exported.parts] == [part.name]
        assert all_rows(exported) == whole
    async with march(export, limit=size - 1) as exported:
        assert [part.name for part in exported.parts] == [f"{part.name}.gz"]
        assert all_rows(exported) == whole
        assert exported.parts[0].size < size / 2


@pytest.mark.parametrize("limit", [400, 600, 1_000, 4_000])
async def test_each_part_has_complete_rows_and_a_header(
    database: Database, export: Export, limit: int
) -> None:
    reasons = random_words(300)
    await add_entries(database, *reasons)
    async with march(export, limit=limit) as exported:
        assert [row[-1] for row in all_rows(exported)] == reasons
        count = len(exported.parts)
        assert [part.name for part in exported.parts] == [
            f"songwright-ledger-2026-03-01-to-2026-03-31-part-{number}-of-{count}.csv.gz"
            for number in range(1, count + 1)
        ]
        assert all(part.path.name == part.name for part in exported.parts)
        *full, _ = [part.size for part in exported.parts]
        assert max(full) <= limit
        assert min(full) > limit - 200  # as full as whole rows can make it


@pytest.mark.parametrize(
    ("limit", "message"),
    [(1_000, "does not fit into 1000"), (50, "no CSV with a header fits into 50 bytes")],
)
async def test_a_row_longer_than_the_limit_is_an_error(
    database: Database, export: Export, folder: Path, limit: int, message: str
) -> None:
    await add_entries(database, "short", *random_words(1, 2_000), "short")
    with pytest.raises(ValueError, match=message):
        async with march(export, limit=limit):
            pass
    assert not left(folder)


# --- Many -----------------------------------------------------------------------------------------


async def test_rows_are_not_all_in_memory(database: Database, export: Export) -> None:
    reasons = random_words(20_000)
    await add_entries(database, *reasons)
    async with march(export, limit=300_000):
        pass  # the coverage tool replaces code that runs for the first time: up to 1.5 MiB
    tracemalloc.start()
    try:
        async with march(export, limit=300_000) as exported:
            _, peak = tracemalloc.get_traced_memory()
            assert all(part.size <= 300_000 for part in exported.parts)
            tracemalloc.stop()
            assert [row[-1] for row in all_rows(exported)] == reasons
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2**20  # the rows alone are 2 MB of CSV


# --- Nothing is left ------------------------------------------------------------------------------


async def test_the_files_are_gone_after_their_use(
    database: Database, export: Export, folder: Path
) -> None:
    await add_entries(database, *random_words(100))
    async with march(export, limit=1_000) as exported:
        assert all(part.path.is_file() for part in exported.parts)
    assert not left(folder)
    with pytest.raises(ZeroDivisionError):
        async with march(export):
            raise ZeroDivisionError
    assert not left(folder)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("turns", [1, 3, 10, 40])
async def test_cancelled_export_leaves_no_files(
    database: Database, export: Export, folder: Path, turns: int, times: int
) -> None:
    await add_entries(database, *random_words(2_000))

    async def use() -> None:
        async with march(export, limit=20_000):
            await asyncio.sleep(3_600)

    task = asyncio.create_task(use())
    for _ in range(turns):
        await asyncio.sleep(0.001)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    if times > 1:  # the task may be over before its thread
        for thread in threading.enumerate():
            if thread.name.startswith("export"):
                await asyncio.to_thread(thread.join)
    assert not left(folder)


async def test_unwritable_folder_is_an_error(export: Export, folder: Path) -> None:
    await asyncio.to_thread(folder.write_text, "not a folder")
    with pytest.raises(NotADirectoryError):
        async with march(export):
            pass


async def test_files_that_cannot_be_removed_are_logged(
    export: Export, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(f"not {path.name}")

    monkeypatch.setattr(shutil, "rmtree", refused)
    with caplog.at_level(logging.WARNING):
        async with march(export):
            pass
    assert "could not be removed: not " in caplog.text


async def test_files_of_a_killed_process_are_cleared(export: Export, folder: Path) -> None:
    await export.clear()
    (folder / "tmp1").mkdir(parents=True)
    (folder / "tmp1" / "part-1").write_text("half")
    (folder / "notes.txt").write_text("not an export")
    await export.clear()
    assert left(folder) == [folder / "notes.txt"]
    (folder / "notes.txt").unlink()
    async with march(export) as exported:
        assert exported.rows == 0
