"""What was decided by whom, in each server's own order. None of these commits."""

import json
import sqlite3
from collections.abc import Collection
from datetime import datetime

from db.connection import Connection
from db.records import Change, from_ms, to_ms


async def insert(
    connection: Connection,
    server_id: int,
    *,
    name: str,
    subject_id: int,
    before: str | None,
    after: str | None,
    actor_id: int | None,
    reason: str | None,
    at: datetime,
    undoes: int | None,
    log_channel_id: int | None,
) -> int:
    """Write down what was done; its number in its server."""
    rows = await connection.execute_fetchall(
        """
        INSERT INTO changes (server_id, number, name, subject_id, before, after, actor_id, reason,
                             at, undoes, log_channel_id)
        SELECT :server_id, 1 + coalesce(max(number), 0), :name, :subject_id, :before, :after,
               :actor_id, :reason, :at, :undoes, :log_channel_id
        FROM changes WHERE server_id = :server_id
        RETURNING number
        """,
        {
            "server_id": server_id,
            "name": name,
            "subject_id": subject_id,
            "before": before,
            "after": after,
            "actor_id": actor_id,
            "reason": reason,
            "at": to_ms(at),
            "undoes": undoes,
            "log_channel_id": log_channel_id,
        },
    )
    (row,) = rows
    return int(row["number"])


async def get(connection: Connection, server_id: int, number: int) -> Change | None:
    """One change."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM changes WHERE server_id = ? AND number = ?", (server_id, number)
    )
    return next(map(_change, rows), None)


async def of_server(
    connection: Connection, server_id: int, *, limit: int, offset: int
) -> list[Change]:
    """A server's changes, newest first."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM changes WHERE server_id = ? ORDER BY number DESC LIMIT ? OFFSET ?",
        (server_id, limit, offset),
    )
    return list(map(_change, rows))


async def count(connection: Connection, server_id: int) -> int:
    """How many changes a server has seen."""
    rows = await connection.execute_fetchall(
        "SELECT count(*) AS n FROM changes WHERE server_id = ?", (server_id,)
    )
    return sum(row["n"] for row in rows)


async def undone_by(
    connection: Connection, server_id: int, *, first: int, last: int
) -> dict[int, int]:
    """Those of the changes from `first` to `last` that a later one took back: which one, last."""
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
    """What is to be posted in log channels other than `besides`, oldest first."""
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
    """It was posted, or can't be. False if that was known."""
    cursor = await connection.execute(
        """
        UPDATE changes SET logged_at = ?
        WHERE server_id = ? AND number = ? AND log_channel_id IS NOT NULL AND logged_at IS NULL
        """,
        (to_ms(at), server_id, number),
    )
    return cursor.rowcount == 1


async def forget(connection: Connection, server_id: int) -> None:
    """Everything that was done in a server."""
    await connection.execute("DELETE FROM changes WHERE server_id = ?", (server_id,))


def _change(row: sqlite3.Row) -> Change:
    return Change(
        server_id=row["server_id"],
        number=row["number"],
        name=row["name"],
        subject_id=row["subject_id"],
        before=row["before"],
        after=row["after"],
        actor_id=row["actor_id"],
        reason=row["reason"],
        at=from_ms(row["at"]),
        undoes=row["undoes"],
        log_channel_id=row["log_channel_id"],
    )
