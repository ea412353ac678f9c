"""What managers changed, in each server's own order. None of these commits."""

import dataclasses
import json
import sqlite3
from collections.abc import Collection
from datetime import datetime

from db.connection import Connection
from db.records import Change, from_ms, to_ms


async def insert(connection: Connection, change: Change) -> int:
    """Record a change; return its number, the next one in its server."""
    rows = await connection.execute_fetchall(
        """
        INSERT INTO changes (server_id, number, name, subject_id, before, after, actor_id, reason,
                             at, undoes, log_channel_id)
        SELECT :server_id, 1 + coalesce(max(number), 0), :name, :subject_id, :before, :after,
               :actor_id, :reason, :at, :undoes, :log_channel_id
        FROM changes WHERE server_id = :server_id
        RETURNING number
        """,
        {**dataclasses.asdict(change), "at": to_ms(change.at)},
    )
    (row,) = rows
    return int(row["number"])


async def get(connection: Connection, server_id: int, number: int) -> Change | None:
    """Return one change."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM changes WHERE server_id = ? AND number = ?", (server_id, number)
    )
    return next(map(_change, rows), None)


async def of_server(
    connection: Connection, server_id: int, *, limit: int, offset: int
) -> list[Change]:
    """Return a server's changes, newest first."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM changes WHERE server_id = ? ORDER BY number DESC LIMIT ? OFFSET ?",
        (server_id, limit, offset),
    )
    return list(map(_change, rows))


async def count(connection: Connection, server_id: int) -> int:
    """Count a server's changes."""
    rows = await connection.execute_fetchall(
        "SELECT count(*) AS n FROM changes WHERE server_id = ?", (server_id,)
    )
    return sum(row["n"] for row in rows)


async def undone_by(
    connection: Connection, server_id: int, *, first: int, last: int
) -> dict[int, int]:
    """Return which of the changes from `first` to `last` were undone, and by which one last."""
    rows = await connection.execute_fetchall(
        """
        SELECT undoes, max(number) AS later FROM changes
        WHERE server_id = :server_id AND number > :first AND undoes BETWEEN :first AND :last
        GROUP BY undoes
        """,
        {"server_id": server_id, "first": first, "last": last},
    )
    return {row["undoes"]: row["later"] for row in rows}


async def to_log(
    connection: Connection, *, limit: int, besides: Collection[int] = ()
) -> list[Change]:
    """Return what is to be posted in log channels other than `besides`, oldest first."""
    rows = await connection.execute_fetchall(
        """
        SELECT * FROM changes WHERE log_channel_id IS NOT NULL AND logged_at IS NULL
            AND log_channel_id NOT IN (SELECT value FROM json_each(:besides))
        ORDER BY at, server_id, number LIMIT :limit
        """,
        {"besides": json.dumps(list(besides)), "limit": limit},
    )
    return list(map(_change, rows))


async def mark_logged(connection: Connection, server_id: int, number: int, *, at: datetime) -> bool:
    """Mark that it was posted, or can't be. Return False if it was marked."""
    cursor = await connection.execute(
        """
        UPDATE changes SET logged_at = ?
        WHERE server_id = ? AND number = ? AND log_channel_id IS NOT NULL AND logged_at IS NULL
        """,
        (to_ms(at), server_id, number),
    )
    return cursor.rowcount == 1


async def forget(connection: Connection, server_id: int) -> None:
    """Delete everything that was done in a server."""
    await connection.execute("DELETE FROM changes WHERE server_id = ?", (server_id,))


def _change(row: sqlite3.Row) -> Change:
    values = {name: row[name] for name in row.keys() if name != "logged_at"}  # noqa: SIM118
    return Change(**{**values, "at": from_ms(row["at"])})
