"""Credits given to a role, or taken from it. None of these commits."""

from dataclasses import asdict
from datetime import datetime

from db.connection import Connection
from db.records import RoleGrant, from_ms, maybe_from_ms, to_ms


async def insert(connection: Connection, role_grant: RoleGrant) -> bool:
    """Insert a grant. False if its interaction has inserted it already."""
    cursor = await connection.execute(
        """
        INSERT INTO role_grants (role_grant_id, server_id, role_id, kind, amount, reason, actor_id,
                                 at, ends_at, expires_at)
        VALUES (:role_grant_id, :server_id, :role_id, :kind, :amount, :reason, :actor_id,
                :at, :ends_at, :expires_at) ON CONFLICT (role_grant_id) DO NOTHING
        """,
        {
            name: to_ms(value) if isinstance(value, datetime) else value
            for name, value in asdict(role_grant).items()
        },
    )
    return cursor.rowcount == 1


async def open_at(connection: Connection, server_id: int, moment: datetime) -> list[RoleGrant]:
    """Return a server's role grants that have not ended, in the order of their interactions."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM role_grants WHERE server_id = ? AND ends_at > ? ORDER BY role_grant_id",
        (server_id, to_ms(moment)),
    )
    return [
        RoleGrant(
            **dict(row)
            | {
                "at": from_ms(row["at"]),
                "ends_at": from_ms(row["ends_at"]),
                "expires_at": maybe_from_ms(row["expires_at"]),
            }
        )
        for row in rows
    ]


async def withdraw(connection: Connection, server_id: int, *, before_id: int, at: datetime) -> int:
    """Delete the open role grants made before an interaction; return how many."""
    cursor = await connection.execute(
        "DELETE FROM role_grants WHERE server_id = ? AND role_grant_id < ? AND ends_at > ?",
        (server_id, before_id, to_ms(at)),
    )
    return cursor.rowcount


async def forget(connection: Connection, server_id: int) -> None:
    """Delete all role grants of a server."""
    await connection.execute("DELETE FROM role_grants WHERE server_id = ?", (server_id,))
