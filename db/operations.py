"""Incidents, and the commands registered with Discord. None of these commits."""

from datetime import datetime

from db.connection import Connection
from db.records import Incident, from_ms, maybe_from_ms, to_ms


async def open_incident(connection: Connection, kind: str, *, detail: str, at: datetime) -> bool:
    """Insert an incident. Return False if one of its kind is open."""
    cursor = await connection.execute(
        """
        INSERT INTO incidents (kind, detail, opened_at) VALUES (?, ?, ?)
        ON CONFLICT (kind) DO NOTHING
        """,
        (kind, detail, to_ms(at)),
    )
    return cursor.rowcount == 1


async def mark_notified(connection: Connection, kind: str, *, at: datetime) -> bool:
    """Mark that the operator was notified. Return False if that was marked."""
    cursor = await connection.execute(
        "UPDATE incidents SET notified_at = ? WHERE kind = ? AND notified_at IS NULL",
        (to_ms(at), kind),
    )
    return cursor.rowcount == 1


async def close_incident(connection: Connection, kind: str) -> bool:
    """Delete an incident. Return False if there is none."""
    cursor = await connection.execute("DELETE FROM incidents WHERE kind = ?", (kind,))
    return cursor.rowcount == 1


async def incidents(connection: Connection) -> list[Incident]:
    """Return the open incidents, oldest first."""
    rows = await connection.execute_fetchall(
        "SELECT kind, detail, opened_at, notified_at FROM incidents ORDER BY opened_at, kind"
    )
    return [
        Incident(r["kind"], r["detail"], from_ms(r["opened_at"]), maybe_from_ms(r["notified_at"]))
        for r in rows
    ]


async def command_digest(connection: Connection, application_id: int) -> str | None:
    """Return the digest of the commands last registered."""
    rows = await connection.execute_fetchall(
        "SELECT digest FROM command_sets WHERE application_id = ?", (application_id,)
    )
    return next((row["digest"] for row in rows), None)


async def set_command_digest(connection: Connection, application_id: int, digest: str) -> None:
    """Store the digest of the registered commands."""
    await connection.execute(
        """
        INSERT INTO command_sets (application_id, digest) VALUES (?, ?)
        ON CONFLICT (application_id) DO UPDATE SET digest = excluded.digest
        """,
        (application_id, digest),
    )
