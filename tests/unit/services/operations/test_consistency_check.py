"""The check finds and fixes what others changed in the database and the data folder."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.records import Reason, State
from services.credits.credits import Credits
from services.operations.consistency_check import ConsistencyCheck, Finding
from services.operations.data_folder import MARKER, claim
from services.settings.catalogue import BUDGET
from services.settings.server_settings import Manager
from services.settings.settings import Member
from services.songs.completion import SongCompletion
from tests.factories import (
    MEMBER,
    SERVER,
    SettableClock,
    add_held_song,
    make_giving,
    make_server_settings,
)
from tests.unit.db.test_errors import damage

ENDS = {State.COMPLETED: "settle", State.FAILED: "refund", State.CANCELLED: "refund"}


@pytest.fixture
async def checking(
    database: Database, credits: Credits, clock: SettableClock, tmp_path: Path
) -> AsyncIterator[ConsistencyCheck]:
    """A server in use: songs at all ends, a grant, a taking, a budget; and nothing wrong."""
    completion = SongCompletion(database, credits, clock=clock)
    await make_server_settings(database, credits).set(Manager(SERVER, 1), BUDGET, 100)
    transfers = make_giving(database, credits)
    whom = Member(SERVER, MEMBER)
    await transfers.grant(whom, grant_id=900, actor_id=1, amount=20, reason="hello")
    await transfers.take(whom, take_id=901, actor_id=1, amount=1, reason="sorry")
    await completion.complete(await add_held_song(database, credits, 1, state=State.POSTING), 5)
    await completion.fail(await add_held_song(database, credits, 2), Reason.MODEL_FAILED)
    await completion.cancel(await add_held_song(database, credits, 3))
    await add_held_song(database, credits, 4)
    undelivered, handed_over, refunded = [
        await add_held_song(database, credits, song_id, state=State.POSTING, file="song.mp3")
        for song_id in (5, 6, 7)
    ]
    for song in (undelivered, handed_over, refunded):
        await completion.mark_undelivered(song, Reason.CHANNEL_GONE)
    claim(tmp_path / "data", known=True)
    (tmp_path / "data/songs/5").mkdir(parents=True)
    (tmp_path / "data/songs/5/song.mp3").write_bytes(b"audio")
    assert await completion.hand_over(handed_over)
    assert await completion.compensate(refunded)
    checking = ConsistencyCheck(database, credits, data_dir=tmp_path / "data")
    assert await checking.run(fix=False) == []
    yield checking
    # Whatever was broken: what is called fixed is.
    fixed = {finding.text for finding in await checking.run(fix=True) if finding.fixed}
    assert fixed.isdisjoint({finding.text for finding in await checking.run(fix=False)})


async def break_it(database: Database, *statements: str) -> None:
    """Change the database without its constraints."""
    await database._writer.execute("PRAGMA foreign_keys = OFF")
    await database._writer.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        await database._writer.execute(statement)
    await database._writer.execute("PRAGMA ignore_check_constraints = OFF")
    await database._writer.execute("PRAGMA foreign_keys = ON")


async def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await database.reader.execute_fetchall(statement)]


async def assert_fixed(checking: ConsistencyCheck, *texts: str) -> None:
    """Assert that these are found, then fixed, then gone."""
    assert [f.text for f in await checking.run(fix=False)] == list(texts)
    assert await checking.run(fix=True) == [Finding(text, fixed=True) for text in texts]
    assert await checking.run(fix=False) == []


async def test_wrong_lot_is_fixed(checking: ConsistencyCheck, database: Database) -> None:
    await break_it(database, "UPDATE lots SET remaining = 7 WHERE lot_id = 'grant:900'")
    await assert_fixed(checking, "Lot grant:900 has 7 left, and by its parts 19.")
    await break_it(database, "UPDATE lots SET remaining = 20 WHERE lot_id = 'grant:900'")
    await assert_fixed(checking, "Lot grant:900 has 20 left, and by its parts 19.")


async def test_wrong_period_is_fixed(checking: ConsistencyCheck, database: Database) -> None:
    assert await rows(database, "SELECT used FROM server_periods") == [(8,)]
    began = f"The period of server {SERVER} that began at 2026-03-14 00:00 UTC"
    await break_it(database, "UPDATE server_periods SET used = 1")
    await assert_fixed(checking, f"{began} counts 1, and by the ledger 8 are used.")
    await break_it(database, "DELETE FROM server_periods")
    await assert_fixed(checking, f"{began} counts 0, and by the ledger 8 are used.")
    await break_it(database, f"INSERT INTO server_periods VALUES ({SERVER}, 0, 9, 0)")
    other = f"The period of server {SERVER} that began at 1970-01-01 00:00 UTC"
    await assert_fixed(checking, f"{other} counts 9, and by the ledger 0 are used.")


@pytest.mark.parametrize("song_id", [1, 2, 3])
async def test_a_missing_end_is_entered(
    checking: ConsistencyCheck, database: Database, song_id: int
) -> None:
    ((state, entry, amount),) = await rows(
        database,
        "SELECT state, kind, amount FROM ledger JOIN songs USING (song_id) "
        f"WHERE song_id = {song_id} AND kind IN ('settle', 'refund')",
    )
    assert entry == ENDS[state]
    parts = f"SELECT lot_id FROM ledger_parts WHERE entry_id = '{entry}:{song_id}'"
    await break_it(
        database,
        f"UPDATE lots SET remaining = remaining - {amount} WHERE lot_id IN ({parts})",
        f"UPDATE server_periods SET used = used + {amount}",
        f"DELETE FROM ledger_parts WHERE entry_id = '{entry}:{song_id}'",
        f"DELETE FROM ledger WHERE entry_id = '{entry}:{song_id}'",
    )
    await assert_fixed(checking, f"Song {song_id} is {state}, and its hold was ended by nothing.")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            "UPDATE lots SET amount = 3, remaining = 3 WHERE kind = 'grant'",
            "Lot grant:900 has 3 left, and by its parts 19.",
        ),
        (
            "UPDATE ledger SET amount = 21 WHERE entry_id = 'grant:900'",
            "Entry grant:900 is +21, and its parts are +20.",
        ),
        (
            "UPDATE songs SET state = 'failed', reason = 'model_failed' WHERE song_id = 1",
            "Song 1 is failed, and its hold was ended by settle.",
        ),
        (
            "UPDATE songs SET state = 'undelivered', file = 'song.mp3' WHERE song_id = 7",
            (
                "Song 7 is undelivered, and its price was returned as that of one that was not "
                "delivered."
            ),
        ),
        (
            "DELETE FROM ledger WHERE song_id = 4",
            "Song 4 was never paid for: the ledger has no hold of it.",
        ),
        (
            "DELETE FROM ledger WHERE song_id = 4",
            "The table ledger_parts refers to a missing row of ledger.",
        ),
    ],
)
async def test_problems_without_a_safe_fix_are_only_reported(
    checking: ConsistencyCheck, database: Database, change: str, text: str
) -> None:
    await break_it(database, change)
    assert Finding(text) in await checking.run(fix=True)


NOT_RETURNED = "Song 5 is refunded, and the ledger has no return of its price."
REFUNDED_5 = (
    "UPDATE songs SET state = 'refunded', file = NULL, next_attempt_at = NULL WHERE song_id = 5"
)


async def test_a_price_that_was_not_returned_is(
    checking: ConsistencyCheck, database: Database
) -> None:
    (used,) = await rows(database, "SELECT used FROM server_periods")
    await break_it(database, REFUNDED_5)
    shutil.rmtree(checking._songs_dir / "5")
    await assert_fixed(checking, NOT_RETURNED)
    assert await rows(database, "SELECT used FROM server_periods") == [(used[0] - 2,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET entry_id = 'refund:5', kind = 'refund' WHERE entry_id = 'settle:5'",
        "DELETE FROM ledger WHERE song_id = 5",
    ],
)
async def test_unsettled_price_is_not_compensated(
    checking: ConsistencyCheck, database: Database, change: str
) -> None:
    await break_it(database, REFUNDED_5, change)
    shutil.rmtree(checking._songs_dir / "5")
    assert Finding(NOT_RETURNED) in await checking.run(fix=True)


async def test_a_state_that_differs_from_the_last_event_is_found(
    checking: ConsistencyCheck, database: Database
) -> None:
    await break_it(database, "UPDATE song_events SET to_state = 'failed' WHERE song_id = 1")
    texts = [finding.text for finding in await checking.run(fix=False)]
    assert texts == ["Song 1 is completed, and its last event says failed."]


async def test_files_are_checked_against_rows(
    checking: ConsistencyCheck, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "songs"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "source").write_bytes(b"audio")
    (folder / "4").mkdir()
    (folder / "mine").mkdir()
    await assert_fixed(checking, "Song 1 has ended, and its files are still there.")
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["4", "5", "mine"]
    await break_it(
        database,
        "UPDATE songs SET state = 'ready', submitted_at = 1, file = '4.mp3' WHERE song_id = 4",
        "DELETE FROM song_events WHERE song_id = 4",
    )
    (finding,) = await checking.run(fix=True)
    assert finding == Finding("Song 4 should have the file 4.mp3: it is gone.")
    (folder / "4" / "4.mp3").write_bytes(b"audio")
    assert await checking.run(fix=False) == []


async def test_nothing_is_deleted_from_a_folder_without_a_marker(
    checking: ConsistencyCheck, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "songs"
    (folder / "1").mkdir(parents=True)
    (folder / MARKER).unlink()
    (finding,) = await checking.run(fix=True)
    assert finding == Finding("Song 1 has ended, and its files are still there.")
    assert (folder / "1").is_dir()
    (folder / "1").rmdir()


async def test_readable_parts_of_a_damaged_file_are_checked_and_not_fixed(
    checking: ConsistencyCheck, database: Database, tmp_path: Path
) -> None:
    """The check failed at the damage, and its fixes would have written into the damaged file."""
    await break_it(database, "UPDATE lots SET remaining = 1 WHERE kind = 'grant'")
    (tmp_path / "data/songs/1").mkdir()
    await database._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    for table in ("server_periods", "songs"):
        damage(tmp_path / "songs.db", table)
    await database._writer.execute_fetchall("PRAGMA shrink_memory")
    found = await checking.run(fix=True)
    assert not any(finding.fixed for finding in found)
    texts = [finding.text for finding in found]
    assert "The file is damaged: the table songs can't be read" in texts
    assert any(text.startswith("Lot grant:900 has 1 left") for text in texts)
    assert "The ledger could not be checked completely: the file is damaged." in texts
    assert texts[-1] == "The files of songs were not checked."
    assert (tmp_path / "data/songs/1").is_dir()
