"""Credits given to a role, or taken from it. None of these commits."""

import sqlite3
from datetime import datetime

from db.connection import Connection
from db.records import Offer, from_ms, maybe_from_ms, to_ms


async def insert(connection: Connection, offer: Offer) -> bool:
    """Make an offer. False if its interaction has made it already."""
    cursor = await connection.execute(
        """
        INSERT INTO offers (offer_id, server_id, role_id, kind, amount, reason, actor_id, at,
                            ends_at, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (offer_id) DO NOTHING
        """,
        (
            *(offer.offer_id, offer.server_id, offer.role_id, offer.kind, offer.amount),
            *(offer.reason, offer.actor_id, to_ms(offer.at), to_ms(offer.ends_at)),
            None if offer.expires_at is None else to_ms(offer.expires_at),
        ),
    )
    return cursor.rowcount == 1


async def open_at(connection: Connection, server_id: int, moment: datetime) -> list[Offer]:
    """A server's offers that still stand, in the order of their interactions."""
    rows = await connection.execute_fetchall(
        "SELECT * FROM offers WHERE server_id = ? AND ends_at > ? ORDER BY offer_id",
        (server_id, to_ms(moment)),
    )
    return list(map(_offer, rows))


async def withdraw(connection: Connection, server_id: int, *, before_id: int, at: datetime) -> int:
    """Drop the offers that still stand and were made before an interaction; how many it were."""
    cursor = await connection.execute(
        "DELETE FROM offers WHERE server_id = ? AND offer_id < ? AND ends_at > ?",
        (server_id, before_id, to_ms(at)),
    )
    return cursor.rowcount


async def forget(connection: Connection, server_id: int) -> None:
    """All offers of a server."""
    await connection.execute("DELETE FROM offers WHERE server_id = ?", (server_id,))


def _offer(row: sqlite3.Row) -> Offer:
    return Offer(
        offer_id=row["offer_id"],
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
