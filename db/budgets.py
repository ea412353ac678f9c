"""The counts of budgets: a server's own by its periods, the operator's by days in UTC.

None of these commits.
"""

from datetime import datetime

from db.connection import Connection
from db.records import OperatorBudget, Tally, to_ms

ALL = 0
"""All servers together, as a `server_id`."""


async def used(connection: Connection, server_id: int, period_at: datetime) -> int:
    """Return the credits held and settled in a server's period, less refunds."""
    rows = await connection.execute_fetchall(
        "SELECT used FROM server_periods WHERE server_id = ? AND period_at = ?",
        (server_id, to_ms(period_at)),
    )
    return sum(row["used"] for row in rows)


async def use(
    connection: Connection,
    server_id: int,
    period_at: datetime,
    *,
    credits: int,
    budget: int | None,
) -> int | None:
    """Count a hold; return what is used then, None if it would exceed the budget."""
    rows = await connection.execute_fetchall(
        """
        INSERT INTO server_periods (server_id, period_at, used)
        SELECT :server_id, :period_at, :credits WHERE :budget IS NULL OR :credits <= :budget
        ON CONFLICT (server_id, period_at) DO UPDATE SET used = used + :credits
            WHERE :budget IS NULL OR used + :credits <= :budget
        RETURNING used
        """,
        {
            "server_id": server_id,
            "period_at": to_ms(period_at),
            "credits": credits,
            "budget": budget,
        },
    )
    return next((row["used"] for row in rows), None)


async def uncount(connection: Connection, song_id: int) -> bool:
    """Stop counting a song's hold, in the period that counted it. False if there is none."""
    cursor = await connection.execute(
        """
        UPDATE server_periods SET used = used - hold.price
        FROM ledger AS hold
        WHERE hold.entry_id = 'hold:' || ? AND server_periods.server_id = hold.server_id
              AND server_periods.period_at = hold.period_at
        """,
        (song_id,),
    )
    return cursor.rowcount == 1


async def mark_warned(
    connection: Connection, server_id: int, period_at: datetime, *, percent: int
) -> bool:
    """Mark a warning. False if it, or a higher one, was marked in this period."""
    cursor = await connection.execute(
        """
        UPDATE server_periods SET warned = :percent
        WHERE server_id = :server_id AND period_at = :period_at AND warned < :percent
        """,
        {"server_id": server_id, "period_at": to_ms(period_at), "percent": percent},
    )
    return cursor.rowcount == 1


async def count_submit(
    connection: Connection, server_id: int, day: datetime, *, songs: int, credits: int
) -> None:
    """Count a submit that may be accepted, or with negative figures one that was not."""
    counted = [
        {"day": to_ms(day), "server_id": each, "songs": songs, "credits": credits}
        for each in (server_id, ALL)
    ]
    await connection.executemany(
        """
        INSERT INTO submits (day, server_id, songs, credits) VALUES (:day, :server_id, 0, 0)
        ON CONFLICT (day, server_id) DO NOTHING
        """,
        counted,
    )
    await connection.executemany(
        """
        UPDATE submits SET songs = songs + :songs, credits = credits + :credits
        WHERE day = :day AND server_id = :server_id
        """,
        counted,
    )


async def submitted(connection: Connection, server_id: int, day: datetime) -> Tally:
    """Return what was submitted on a day; `ALL` for every server together."""
    rows = await connection.execute_fetchall(
        "SELECT songs, credits FROM submits WHERE day = ? AND server_id = ?",
        (to_ms(day), server_id),
    )
    return next((Tally(row["songs"], row["credits"]) for row in rows), Tally(0, 0))


async def waiting_of_server(connection: Connection, server_id: int) -> Tally:
    """Return what waits to be submitted in one server."""
    rows = await connection.execute_fetchall(
        """
        SELECT count(*) AS songs, coalesce(sum(price), 0) AS credits FROM songs
        WHERE state = 'waiting' AND server_id = ?
        """,
        (server_id,),
    )
    return next(Tally(row["songs"], row["credits"]) for row in rows)


async def operators(connection: Connection, server_id: int | None = None) -> list[OperatorBudget]:
    """Return the budgets that the operator has set: all, or those that limit a server's songs."""
    rows = await connection.execute_fetchall(
        """
        SELECT scope, server_id, credits, songs FROM operator_budgets
        WHERE :server_id IS NULL OR scope IN ('all', 'each') OR server_id = :server_id
        ORDER BY scope, server_id
        """,
        {"server_id": server_id},
    )
    return [OperatorBudget(**dict(row)) for row in rows]


async def set_operators(connection: Connection, budget: OperatorBudget) -> None:
    """Set one of the operator's budgets."""
    await connection.execute(
        """
        INSERT INTO operator_budgets (scope, server_id, credits, songs) VALUES (?, ?, ?, ?)
        ON CONFLICT (scope, server_id)
        DO UPDATE SET credits = excluded.credits, songs = excluded.songs
        """,
        (budget.scope, budget.server_id, budget.credits, budget.songs),
    )


async def drop_operators(connection: Connection, scope: str, server_id: int) -> None:
    """Remove one of the operator's budgets."""
    await connection.execute(
        "DELETE FROM operator_budgets WHERE scope = ? AND server_id = ?", (scope, server_id)
    )
