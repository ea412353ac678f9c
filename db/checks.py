"""Queries for inconsistent rows. None of these commits.

The schema's constraints check single rows; these queries check rows against each other. The ledger
is the source of truth.
"""

from typing import NamedTuple

from db.connection import Connection
from db.errors import DatabaseFileError


class Sum(NamedTuple):
    """A stored sum, and the sum of its rows."""

    name: str
    stored: int
    counted: int


class PeriodSum(NamedTuple):
    """The stored and the right sum of a server's period. Times are in milliseconds."""

    server_id: int
    period_at: int
    stored: int
    counted: int


class Unended(NamedTuple):
    """A song whose state disagrees with the end of its hold, `entry`."""

    song_id: int
    state: str
    entry: str | None


class Uncompensated(NamedTuple):
    """A song whose state disagrees with the ledger on whether its settled price was returned."""

    song_id: int
    state: str
    compensated: bool
    settled: bool


async def damage(connection: Connection) -> list[str]:
    """Return what SQLite finds wrong with the file, at most 100 lines.

    Table by table, if the damage prevents a check of the complete file.

    Raises:
        DatabaseFileError: not even the list of tables can be read.
    """
    try:
        rows = await connection.execute_fetchall("PRAGMA integrity_check(100)")
        return [text for (text,) in rows if text != "ok"]
    except DatabaseFileError:
        tables = await connection.execute_fetchall(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        )
    found = list[str]()
    for (table,) in tables:
        try:
            rows = await connection.execute_fetchall(
                "SELECT integrity_check FROM pragma_integrity_check(?)", (table,)
            )
            found += [text for (text,) in rows if text != "ok"]
        except DatabaseFileError:
            found.append(f"the table {table} can't be read")
    return found


async def broken_references(connection: Connection) -> list[str]:
    """Return a line for each reference to a missing row."""
    rows = await connection.execute_fetchall("PRAGMA foreign_key_check")
    return [f"{row[0]} refers to a missing row of {row[2]}" for row in rows]


async def lots(connection: Connection) -> list[Sum]:
    """Return lots whose `remaining` is not the sum of their parts."""
    rows = await connection.execute_fetchall(
        """
        WITH parts AS (
            SELECT lot_id, sum(amount) AS counted FROM ledger_parts GROUP BY lot_id
        )
        SELECT lot_id, remaining, coalesce(counted, 0) AS counted
        FROM lots LEFT JOIN parts USING (lot_id) WHERE remaining <> coalesce(parts.counted, 0)
        """
    )
    return [Sum(*row) for row in rows]


async def entries(connection: Connection) -> list[Sum]:
    """Return entries whose amount is not the sum of their parts."""
    rows = await connection.execute_fetchall(
        """
        SELECT ledger.entry_id, ledger.amount, coalesce(sum(ledger_parts.amount), 0) AS counted
        FROM ledger LEFT JOIN ledger_parts USING (entry_id)
        GROUP BY ledger.entry_id HAVING counted <> ledger.amount
        """
    )
    return [Sum(*row) for row in rows]


async def periods(connection: Connection) -> list[PeriodSum]:
    """Return servers' periods whose sum is not that of their holds without a refund."""
    rows = await connection.execute_fetchall(
        """
        WITH held AS (
            SELECT server_id, period_at, sum(CASE WHEN EXISTS (
                SELECT 1 FROM ledger AS back WHERE back.entry_id IN
                    ('refund:' || hold.song_id, 'compensate:' || hold.song_id)
            ) THEN 0 ELSE price END) AS counted
            FROM ledger AS hold WHERE kind = 'hold' GROUP BY server_id, period_at
        )
        SELECT server_id, period_at, coalesce(used, 0) AS stored, counted
        FROM held LEFT JOIN server_periods USING (server_id, period_at)
        WHERE coalesce(used, 0) <> counted
        UNION ALL
        SELECT server_id, period_at, used, 0 FROM server_periods
        LEFT JOIN held USING (server_id, period_at) WHERE counted IS NULL AND used <> 0
        """
    )
    return [PeriodSum(*row) for row in rows]


async def unheld(connection: Connection) -> list[int]:
    """Return songs without a hold."""
    rows = await connection.execute_fetchall(
        """
        SELECT song_id FROM songs WHERE NOT EXISTS (
            SELECT 1 FROM ledger WHERE ledger.entry_id = 'hold:' || songs.song_id)
        """
    )
    return [row["song_id"] for row in rows]


async def misplaced(connection: Connection) -> list[tuple[int, str, str]]:
    """Return songs that are not in the state of their last event, with both states."""
    rows = await connection.execute_fetchall(
        """
        SELECT songs.song_id, songs.state, song_events.to_state
        FROM (SELECT max(event_id) AS event_id FROM song_events GROUP BY song_id) AS last
        JOIN song_events USING (event_id) JOIN songs USING (song_id)
        WHERE songs.state <> song_events.to_state
        """
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def unended(connection: Connection) -> list[Unended]:
    """Return held songs whose state disagrees with their settle or refund."""
    rows = await connection.execute_fetchall(
        """
        SELECT songs.song_id, songs.state, last.kind AS entry
        FROM songs JOIN ledger AS hold ON hold.entry_id = 'hold:' || songs.song_id
        LEFT JOIN ledger AS last ON last.song_id = songs.song_id
                                    AND last.kind IN ('settle', 'refund')
        WHERE coalesce(last.kind, 'none') <> CASE
            WHEN songs.state IN ('undelivered', 'completed', 'refunded') THEN 'settle'
            WHEN songs.state IN ('failed', 'cancelled') THEN 'refund'
            ELSE 'none' END
        """
    )
    return [Unended(*row) for row in rows]


async def uncompensated(connection: Connection) -> list[Uncompensated]:
    """Return songs that are refunded without a compensate entry, or have one in another state."""
    rows = await connection.execute_fetchall(
        """
        SELECT * FROM (
            SELECT song_id, state, EXISTS (
                       SELECT 1 FROM ledger WHERE entry_id = 'compensate:' || songs.song_id
                   ) AS compensated, EXISTS (
                       SELECT 1 FROM ledger WHERE entry_id = 'settle:' || songs.song_id
                   ) AS settled
            FROM songs
        )
        WHERE compensated <> (state = 'refunded')
        """
    )
    return [Uncompensated(r[0], r[1], bool(r[2]), bool(r[3])) for r in rows]


async def set_remaining(connection: Connection, lot_id: str, remaining: int) -> bool:
    """Correct a lot's `remaining`. Return False if it would be under 0 or over the amount."""
    cursor = await connection.execute(
        "UPDATE lots SET remaining = :n WHERE lot_id = :lot_id AND :n BETWEEN 0 AND amount",
        {"n": remaining, "lot_id": lot_id},
    )
    return cursor.rowcount == 1


async def set_used(connection: Connection, period: PeriodSum) -> bool:
    """Correct the sum of a server's period."""
    cursor = await connection.execute(
        """
        INSERT INTO server_periods (server_id, period_at, used) VALUES (?, ?, ?)
        ON CONFLICT (server_id, period_at) DO UPDATE SET used = excluded.used
        """,
        (period.server_id, period.period_at, period.counted),
    )
    return cursor.rowcount == 1
