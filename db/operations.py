"""What the operator was told, and what Discord was given. None of these commits."""

from datetime import datetime

from db.connection import Connection
from db.records import Incident, from_ms, maybe_from_ms, to_ms


async def open_incident(connection: Connection, kind: str, *, detail: str, at: datetime) -> bool:
    """Something is wrong. False if that is known already."""
    cursor = await connection.execute(
        """
        INSERT INTO incidents (kind, detail, opened_at) VALUES (?, ?, ?)
        ON CONFLICT (kind) DO NOTHING
        """,
        (kind, detail, to_ms(at)),
    )
    return cursor.rowcount == 1


async def mark_notified(connection: Connection, kind: str, *, at: datetime) -> bool:
    """The operator has heard of it."""
    cursor = await connection.execute(
        "UPDATE incidents SET notified_at = ? WHERE kind = ? AND notified_at IS NULL",
        (to_ms(at), kind),
    )
    return cursor.rowcount == 1


async def close_incident(connection: Connection, kind: str) -> bool:
    """It is well again. False if nothing was wrong."""
    cursor = await connection.execute("DELETE FROM incidents WHERE kind = ?", (kind,))
    return cursor.rowcount == 1


async def incidents(connection: Connection) -> list[Incident]:
    """What is wrong now, oldest first."""
    rows = await connection.execute_fetchall(
        "SELECT kind, detail, opened_at, notified_at FROM incidents ORDER BY opened_at, kind"
    )
    return [
        Incident(r["kind"], r["detail"], from_ms(r["opened_at"]), maybe_from_ms(r["notified_at"]))
        for r in rows
    ]


async def command_digest(connection: Connection, application_id: int) -> str | None:
    """The digest of the commands that Discord was last given."""
    rows = await connection.execute_fetchall(
        "SELECT digest FROM command_sets WHERE application_id = ?", (application_id,)
    )
    return next((row["digest"] for row in rows), None)


async def set_command_digest(connection: Connection, application_id: int, digest: str) -> None:
    """Discord has these commands now."""
    await connection.execute(
        """
        INSERT INTO command_sets (application_id, digest) VALUES (?, ?)
        ON CONFLICT (application_id) DO UPDATE SET digest = excluded.digest
        """,
        (application_id, digest),
    )
