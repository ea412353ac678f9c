"""What is said of a log that was cut: where its transactions end, and where the damage begins."""

import sqlite3
from pathlib import Path

import pytest

from tests.reliability.wal import HEADER, Wal


@pytest.fixture
def wal(tmp_path: Path) -> Wal:
    """SQLite's own log of two transactions: a table, and a row in it."""
    connection = sqlite3.connect(tmp_path / "songs.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE numbers (number INTEGER)")
    connection.execute("INSERT INTO numbers VALUES (7)")
    log = Wal((tmp_path / "songs.db-wal").read_bytes())
    connection.close()
    return log


def test_its_transactions_end_where_sqlite_says(wal: Wal) -> None:
    (first, _), *_, (last, _) = wal.boundaries()
    assert first == HEADER.size + wal.frame
    assert last == len(wal.content)
    assert len(wal.commits()) == 2
    assert wal.commits()[-1] == last


def test_frames_of_an_earlier_use_are_not_counted(wal: Wal) -> None:
    _, last = wal.commits()
    earlier = bytearray(wal.content[-wal.frame :])
    assert Wal(wal.content + bytes(earlier)).commits()[-1] == last + wal.frame
    earlier[8] ^= 1  # the frame's salt, another one at each use
    assert Wal(wal.content + bytes(earlier)).commits()[-1] == last


def test_what_is_no_log_is_refused() -> None:
    with pytest.raises(ValueError, match="no write-ahead log: it begins with 0x53514c69"):
        Wal(b"SQLite format 3\0")


@pytest.mark.parametrize(
    ("end", "at", "instead", "damaged_from"),
    [
        (b"abcd", 2, b"", 2),
        (b"abcd", 2, b"cx", 3),
        (b"ab\0d", 2, b"\0\0", 3),
        (b"ab\0\0", 2, b"\0\0", 4),
        (b"ab\0\0", 2, b"\0", 3),
        (b"abcd", 4, b"", 4),
    ],
    ids=["lost", "another end", "a zero less", "nothing", "shorter", "nothing lost"],
)
def test_it_is_damaged_from_the_first_byte_that_differs(
    wal: Wal, end: bytes, at: int, instead: bytes, damaged_from: int
) -> None:
    size = len(wal.content)
    assert Wal(wal.content + end).damaged_from(size + at, instead) == size + damaged_from
