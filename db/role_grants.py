"""Credits given to a role, or taken from it. None of these commits."""

import sqlite3
from datetime import datetime

from db.connection import Connection
from db.records import RoleGrant, from_ms, maybe_from_ms, to_ms


async def insert(connection: Connection, role_grant: RoleGrant) -> bool:
    """Insert a grant. False if its interaction has inserted it already."""
    cursor = await connection.execute(
        """
        INSERT INTO role_grants (role_grant_id, server_id, role_id, kind, amount, reason, actor_id,
                                 at, ends_at, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (role_grant_id) DO NOTHING
        """,
        (
            *(
                role_grant.role_grant_id,
                role_grant.server_id,
                role_grant.role_id,
                role_grant.kind,
                role_grant.amount,
            ),
            *(
                role_grant.reason,
                role_grant.actor_id,
                to_ms(role_grant.at),
                to_ms(role_grant.ends_at),
            ),
            None if role_grant.expires_at is None else to_ms(role_grant.expires_at),
        ),
    )
    return cursor.rowcount == 1


async def open_at(connection: Connection, server_id: int, moment: datetime) -> list[RoleGrant]:
    """A server's role_grants that still stand, in the order of their interactions."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM role_grants WHERE server_id = ? AND ends_at > ? ORDER BY role_grant_id",
        (server_id, to_ms(moment)),
    )
    return list(map(_role_grant, rows))


async def withdraw(connection: Connection, server_id: int, *, before_id: int, at: datetime) -> int:
    """Drop the role grants that are open and were made before an interaction; how many."""
    cursor = await connection.execute(
        "DELETE FROM role_grants WHERE server_id = ? AND role_grant_id < ? AND ends_at > ?",
        (server_id, before_id, to_ms(at)),
    )
    return cursor.rowcount


async def forget(connection: Connection, server_id: int) -> None:
    """All role_grants of a server."""
    await connection.execute("DELETE FROM role_grants WHERE server_id = ?", (server_id,))


def _role_grant(row: sqlite3.Row) -> RoleGrant:
    return RoleGrant(
        role_grant_id=row["role_grant_id"],
        server_id=row["server_id"],
        role_id=row["role_id"],
        kind=row["kind"],
        amount=row["amount"],
        reason=row["reason"],
        actor_id=row["actor_id"],
        at=from_ms(row["at"]),
        ends_at=from_ms(row["ends_at"]),
        expires_at=maybe_from_ms(row["expires_at"]),
    )
