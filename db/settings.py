"""What a server has decided, and from when on it counts its periods how. None of these commits."""

from collections.abc import Iterable
from datetime import datetime

from db.connection import Connection
from db.records import CalendarRow, Rule, from_ms, to_ms


async def in_force(connection: Connection, server_id: int, member_id: int) -> list[Rule]:
    """A server's rules, less those about other members."""
    rows = await connection.execute_fetchall(
        """
        SELECT name, subject_id, value FROM settings
        WHERE server_id = :server_id
              AND name IN ('allowance', 'role', 'limits', 'channels', 'words', 'pause', 'budget',
                           'log', 'gifts', 'leaderboard')
        UNION ALL
        SELECT name, subject_id, value FROM settings
        WHERE server_id = :server_id AND name IN ('member', 'block') AND subject_id = :member_id
        """,
        {"server_id": server_id, "member_id": member_id},
    )
    return list(map(Rule._make, rows))


async def named(
    connection: Connection, server_id: int, name: str, *, limit: int, offset: int = 0
) -> list[Rule]:
    """A server's rules of one name, by whom they are about."""
    rows = await connection.execute_fetchall(
        """
        SELECT name, subject_id, value FROM settings WHERE server_id = ? AND name = ?
        ORDER BY subject_id LIMIT ? OFFSET ?
        """,
        (server_id, name, limit, offset),
    )
    return list(map(Rule._make, rows))


async def names(connection: Connection, server_id: int) -> list[tuple[str, int]]:
    """Every rule that a server has: its name and whom it is about."""
    rows = await connection.execute_fetchall(
        "SELECT name, subject_id FROM settings WHERE server_id = ? ORDER BY name, subject_id",
        (server_id,),
    )
    return [(row["name"], row["subject_id"]) for row in rows]


async def count(connection: Connection, server_id: int, name: str) -> int:
    """How many rules of one name a server has."""
    rows = await connection.execute_fetchall(
        "SELECT count(*) AS n FROM settings WHERE server_id = ? AND name = ?", (server_id, name)
    )
    return sum(row["n"] for row in rows)


async def count_standing(connection: Connection, server_id: int, name: str, *, at: datetime) -> int:
    """How many rules of one name, whose values say until when they hold, hold at that moment."""
    rows = await connection.execute_fetchall(
        """
        SELECT count(*) AS n FROM settings
        WHERE server_id = :server_id AND name = :name
            AND coalesce(json_extract(value, '$.until') > :at, TRUE)
        """,
        {"server_id": server_id, "name": name, "at": to_ms(at)},
    )
    return sum(row["n"] for row in rows)


async def get(connection: Connection, server_id: int, name: str, subject_id: int) -> str | None:
    """One rule's value; None where the default holds."""
    rows = await connection.execute_fetchall(
        "SELECT value FROM settings WHERE server_id = ? AND name = ? AND subject_id = ?",
        (server_id, name, subject_id),
    )
    return next((row["value"] for row in rows), None)


async def put(
    connection: Connection, server_id: int, name: str, subject_id: int, value: str
) -> None:
    """Set a rule, whatever it was."""
    await connection.execute(
        """
        INSERT INTO settings (server_id, name, subject_id, value) VALUES (?, ?, ?, ?)
        ON CONFLICT (server_id, name, subject_id) DO UPDATE SET value = excluded.value
        """,
        (server_id, name, subject_id, value),
    )


async def drop(connection: Connection, server_id: int, name: str, subject_id: int) -> None:
    """Back to the default."""
    await connection.execute(
        "DELETE FROM settings WHERE server_id = ? AND name = ? AND subject_id = ?",
        (server_id, name, subject_id),
    )


async def calendars(connection: Connection, server_id: int) -> list[CalendarRow]:
    """How a server counts its periods, oldest first."""
    rows = await connection.execute_fetchall(
        "SELECT from_at, every, hour, zone FROM calendars WHERE server_id = ? ORDER BY from_at",
        (server_id,),
    )
    return [
        CalendarRow(from_ms(row["from_at"]), row["every"], row["hour"], row["zone"]) for row in rows
    ]


async def set_calendars(
    connection: Connection, server_id: int, rows: Iterable[CalendarRow]
) -> None:
    """How a server counts its periods, from now on as ever."""
    await connection.execute("DELETE FROM calendars WHERE server_id = ?", (server_id,))
    await connection.executemany(
        "INSERT INTO calendars (server_id, from_at, every, hour, zone) VALUES (?, ?, ?, ?, ?)",
        [(server_id, to_ms(row.from_at), row.every, row.hour, row.zone) for row in rows],
    )


async def forget(connection: Connection, server_id: int) -> None:
    """Everything that a server had decided."""
    await connection.execute("DELETE FROM settings WHERE server_id = ?", (server_id,))
    await connection.execute("DELETE FROM calendars WHERE server_id = ?", (server_id,))
