"""What must agree in the database, and where it does not. None of these commits.

The constraints of the schema hold what one row says against itself; these hold rows against each
other, as the services' transactions keep them. The ledger is the truth: the rest follows from it.
"""

from typing import NamedTuple

from db.connection import Connection
from db.errors import DatabaseFileError


class Sum(NamedTuple):
    """A figure that is kept beside the rows that it is the sum of."""

    name: str
    kept: int
    counted: int


class PeriodSum(NamedTuple):
    """What a server's period counts, and what it should. Times are in milliseconds."""

    server_id: int
    period_at: int
    kept: int
    counted: int


class Unended(NamedTuple):
    """A song whose hold and whose state tell different stories; `entry` is what the ledger has."""

    song_id: int
    state: str
    entry: str | None


class Uncompensated(NamedTuple):
    """A song whose state says that its price was returned after its settle, or not; and the ledger
    does not.
    """

    song_id: int
    state: str
    compensated: bool
    settled: bool


async def damage(connection: Connection) -> list[str]:
    """What SQLite itself finds wrong with the file, at most 100 lines.

    Table by table, where the damage is such that the file can't be checked as a whole.

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
        return [text for (table,) in tables for text in await _damage_of_table(connection, table)]


async def _damage_of_table(connection: Connection, table: str) -> list[str]:
    try:
        rows = await connection.execute_fetchall(
            "SELECT integrity_check FROM pragma_integrity_check(?)", (table,)
        )
        return [text for (text,) in rows if text != "ok"]
    except DatabaseFileError:
        return [f"the table {table} can't be read"]


async def broken_references(connection: Connection) -> list[str]:
    """The tables that refer to rows which are not there, and how often."""
    rows = await connection.execute_fetchall("PRAGMA foreign_key_check")
    return [f"{row[0]} refers to a row of {row[2]} that is not there" for row in rows]


async def lots(connection: Connection) -> list[Sum]:
    """Lots whose `remaining` is not the sum of their parts."""
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
    """Entries whose amount is not the sum of their parts."""
    rows = await connection.execute_fetchall(
        """
        SELECT ledger.entry_id, ledger.amount, coalesce(sum(ledger_parts.amount), 0) AS counted
        FROM ledger LEFT JOIN ledger_parts USING (entry_id)
        GROUP BY ledger.entry_id HAVING counted <> ledger.amount
        """
    )
    return [Sum(*row) for row in rows]


async def periods(connection: Connection) -> list[PeriodSum]:
    """Servers' periods that don't count what was held in them and not given back."""
    rows = await connection.execute_fetchall(
        """
        WITH held AS (
            SELECT server_id, period_at, sum(CASE WHEN EXISTS (
                SELECT 1 FROM ledger AS back WHERE back.entry_id IN
                    ('refund:' || hold.song_id, 'compensate:' || hold.song_id)
            ) THEN 0 ELSE price END) AS counted
            FROM ledger AS hold WHERE kind = 'hold' GROUP BY server_id, period_at
        )
        SELECT server_id, period_at, coalesce(used, 0) AS kept, counted
        FROM held LEFT JOIN server_periods USING (server_id, period_at)
        WHERE coalesce(used, 0) <> counted
        UNION ALL
        SELECT server_id, period_at, used, 0 FROM server_periods
        LEFT JOIN held USING (server_id, period_at) WHERE counted IS NULL AND used <> 0
        """
    )
    return [PeriodSum(*row) for row in rows]


async def unheld(connection: Connection) -> list[int]:
    """Songs whose price was never held."""
    rows = await connection.execute_fetchall(
        """
        SELECT song_id FROM songs WHERE NOT EXISTS (
            SELECT 1 FROM ledger WHERE ledger.entry_id = 'hold:' || songs.song_id)
        """
    )
    return [row["song_id"] for row in rows]


async def unended(connection: Connection) -> list[Unended]:
    """Held songs whose state and whose settle or refund don't belong together."""
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
    """Songs that are refunded without the entry for it, or have the entry and are not refunded."""
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
    return [Uncompensated(r[0], r[1], bool(r[2]), bool(r[3])) for r in map(tuple, rows)]


async def set_remaining(connection: Connection, lot_id: str, remaining: int) -> bool:
    """A lot holds what its parts say. False where that can't be: under 0, or over its amount."""
    cursor = await connection.execute(
        "UPDATE lots SET remaining = :n WHERE lot_id = :lot_id AND :n BETWEEN 0 AND amount",
        {"n": remaining, "lot_id": lot_id},
    )
    return cursor.rowcount == 1


async def set_used(connection: Connection, period: PeriodSum) -> bool:
    """A server's period counts what the ledger says."""
    cursor = await connection.execute(
        """
        INSERT INTO server_periods (server_id, period_at, used) VALUES (?, ?, ?)
        ON CONFLICT (server_id, period_at) DO UPDATE SET used = excluded.used
        """,
        (period.server_id, period.period_at, period.counted),
    )
    return cursor.rowcount == 1
