"""Servers' settings, and the calendars of their periods. None of these commits."""

from collections.abc import Iterable
from datetime import datetime

from db.connection import Connection
from db.records import CalendarRow, SettingRow, from_ms, maybe_to_ms, to_ms


async def in_force(connection: Connection, server_id: int, member_id: int) -> list[SettingRow]:
    """Return a server's settings, except those about other members."""
    rows = await connection.execute_fetchall(
        """
        SELECT name, subject_id, value FROM settings
        WHERE server_id = :server_id AND about IN ('server', 'role')
        UNION ALL
        SELECT name, subject_id, value FROM settings
        WHERE server_id = :server_id AND about = 'member' AND subject_id = :member_id
        """,
        {"server_id": server_id, "member_id": member_id},
    )
    return list(map(SettingRow._make, rows))


async def named(connection: Connection, server_id: int, name: str) -> list[SettingRow]:
    """Return a server's settings of one name, by the role or member that each is about."""
    rows = await connection.execute_fetchall(
        """
        SELECT name, subject_id, value FROM settings WHERE server_id = ? AND name = ?
        ORDER BY subject_id
        """,
        (server_id, name),
    )
    return list(map(SettingRow._make, rows))


async def names(connection: Connection, server_id: int) -> list[tuple[str, int]]:
    """Return the name of each setting of a server, and the role or member it is about."""
    rows = await connection.execute_fetchall(
        "SELECT name, subject_id FROM settings WHERE server_id = ? ORDER BY name, subject_id",
        (server_id,),
    )
    return [(row["name"], row["subject_id"]) for row in rows]


async def count(
    connection: Connection, server_id: int, name: str, *, at: datetime | None = None
) -> int:
    """Count a server's settings of one name; with `at`, those that have not ended by then."""
    rows = await connection.execute_fetchall(
        """
        SELECT count(*) AS n FROM settings
        WHERE server_id = :server_id AND name = :name
            AND (:at IS NULL OR coalesce(json_extract(value, '$.until') > :at, TRUE))
        """,
        {"server_id": server_id, "name": name, "at": maybe_to_ms(at)},
    )
    return sum(row["n"] for row in rows)


async def get(connection: Connection, server_id: int, name: str, subject_id: int) -> str | None:
    """One setting's value; None where the default is in force."""
    rows = await connection.execute_fetchall(
        """
        SELECT value FROM settings
        WHERE server_id = ? AND about IN ('server', 'role', 'member') AND subject_id = ?
            AND name = ?
        """,
        (server_id, subject_id, name),
    )
    return next((row["value"] for row in rows), None)


async def put(connection: Connection, server_id: int, about: str, row: SettingRow) -> None:
    """Set a setting, whatever it was. `about`: `server`, `role` or `member`."""
    await connection.execute(
        """
        INSERT INTO settings (server_id, about, subject_id, name, value) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (server_id, about, subject_id, name) DO UPDATE SET value = excluded.value
        """,
        (server_id, about, row.subject_id, row.name, row.value),
    )


async def drop(connection: Connection, server_id: int, name: str, subject_id: int) -> None:
    """Return to the default."""
    await connection.execute(
        "DELETE FROM settings WHERE server_id = ? AND name = ? AND subject_id = ?",
        (server_id, name, subject_id),
    )


async def calendars(connection: Connection, server_id: int) -> list[CalendarRow]:
    """Return how a server counts its periods, oldest first."""
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
    """Replace how a server counts its periods."""
    await connection.execute("DELETE FROM calendars WHERE server_id = ?", (server_id,))
    await connection.executemany(
        "INSERT INTO calendars (server_id, from_at, every, hour, zone) VALUES (?, ?, ?, ?, ?)",
        [(server_id, to_ms(row.from_at), row.every, row.hour, row.zone) for row in rows],
    )


async def forget(connection: Connection, server_id: int) -> None:
    """Delete all settings of a server."""
    await connection.execute("DELETE FROM settings WHERE server_id = ?", (server_id,))
    await connection.execute("DELETE FROM calendars WHERE server_id = ?", (server_id,))
