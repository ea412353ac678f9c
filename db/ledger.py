"""Credits: lots, and the append-only ledger that explains them. None of these commits.

Every change is an entry, and its parts say which lots it moved: a lot's `remaining` is the sum of
its parts, a member's balance the sum of the entries.
"""

import sqlite3
from datetime import datetime
from typing import Protocol

from db.connection import Connection
from db.records import Entry, Lot, LotSums, from_ms, maybe_from_ms, maybe_to_ms, to_ms

MOST_LOTS = 25
"""Lots of a member that are read at once: they may have thousands, each of a gift of one credit."""


class Account(Protocol):
    """A member in a server: their song has both ids as well."""

    @property
    def server_id(self) -> int: ...
    @property
    def member_id(self) -> int: ...


async def spendable(
    connection: Connection,
    account: Account,
    *,
    at: datetime,
    granted_only: bool = False,
    most: int = MOST_LOTS,
) -> list[Lot]:
    """Return at most `most` lots with something left, those that expire first at the front.

    `granted_only` leaves allowances out. With who granted or gave them and why: a grant's entry
    has its lot's id, a gift's that of its parts without their number.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT lot_id, lots.kind, lots.amount, remaining, revision, expires_at, ledger.reason,
               ledger.actor_id
        FROM lots LEFT JOIN ledger ON ledger.entry_id = CASE lots.kind
            WHEN 'grant' THEN lot_id
            WHEN 'gift' THEN rtrim(lot_id, '0123456789') || 'received' END
        WHERE lots.server_id = ? AND lots.member_id = ? AND remaining > 0 AND usable_until > ?
              AND (lots.kind <> 'allowance' OR NOT ?)
        ORDER BY usable_until, lot_id LIMIT ?
        """,
        (account.server_id, account.member_id, to_ms(at), granted_only, most),
    )
    return list(map(_lot, rows))


async def lasting_longest(
    connection: Connection,
    account: Account,
    *,
    at: datetime,
    granted_only: bool = False,
    most: int = MOST_LOTS,
) -> list[Lot]:
    """Return lots as `spendable` does, in the opposite order, without who gave them and why."""
    rows = await connection.execute_fetchall(
        """
        SELECT *, NULL AS reason, NULL AS actor_id FROM lots
        WHERE server_id = ? AND member_id = ? AND remaining > 0 AND usable_until > ?
              AND (kind <> 'allowance' OR NOT ?)
        ORDER BY usable_until DESC, lot_id DESC LIMIT ?
        """,
        (account.server_id, account.member_id, to_ms(at), granted_only, most),
    )
    return list(map(_lot, rows))


async def sums(connection: Connection, account: Account, *, at: datetime) -> LotSums:
    """Return what all of a member's lots hold that have not expired."""
    rows = await connection.execute_fetchall(
        """
        SELECT count(*) AS lots,
               coalesce(sum(kind <> 'allowance'), 0) AS granted_lots,
               coalesce(sum(remaining) FILTER (WHERE kind = 'allowance'), 0) AS allowance,
               coalesce(sum(remaining) FILTER (WHERE kind <> 'allowance'), 0) AS granted,
               coalesce(sum(amount) FILTER (WHERE kind <> 'allowance'), 0) AS granted_amount
        FROM lots WHERE server_id = ? AND member_id = ? AND remaining > 0 AND usable_until > ?
        """,
        (account.server_id, account.member_id, to_ms(at)),
    )
    return next(LotSums(**dict(row)) for row in rows)


async def free_up_to(connection: Connection, account: Account, *, at: datetime, price: int) -> int:
    """Return what a member has to spend; where that is more than `price`, any figure from it on.

    Each lot has a credit at least, so no more than `price` of them are read.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT coalesce(sum(remaining), 0) AS free FROM (
            SELECT remaining FROM lots
            WHERE server_id = ? AND member_id = ? AND remaining > 0 AND usable_until > ? LIMIT ?
        ) AS some
        """,
        (account.server_id, account.member_id, to_ms(at), price),
    )
    return next(int(row["free"]) for row in rows)


async def expired(
    connection: Connection, account: Account, *, at: datetime, except_id: str
) -> list[Lot]:
    """Return at most `MOST_LOTS` expired lots with something left, oldest first."""
    rows = await connection.execute_fetchall(
        """
        SELECT *, NULL AS reason, NULL AS actor_id FROM lots
        WHERE server_id = ? AND member_id = ? AND remaining > 0 AND usable_until <= ?
              AND lot_id <> ?
        ORDER BY usable_until, lot_id LIMIT ?
        """,
        (account.server_id, account.member_id, to_ms(at), except_id, MOST_LOTS),
    )
    return list(map(_lot, rows))


async def get_lot(connection: Connection, lot_id: str) -> Lot | None:
    """Return one lot."""
    rows = await connection.execute_fetchall(
        "SELECT *, NULL AS reason, NULL AS actor_id FROM lots WHERE lot_id = ?", (lot_id,)
    )
    return next(map(_lot, rows), None)


async def insert_lot(
    connection: Connection,
    lot_id: str,
    account: Account,
    kind: str,
    amount: int,
    *,
    expires_at: datetime | None,
    entry_id: str | None = None,
) -> None:
    """Insert a new lot: empty, or filled by an entry."""
    await connection.execute(
        """
        INSERT INTO lots (lot_id, kind, server_id, member_id, amount, remaining, expires_at)
        VALUES (:lot_id, :kind, :server_id, :member_id, :amount, :amount, :expires_at)
        """,
        {
            "lot_id": lot_id,
            "kind": kind,
            "server_id": account.server_id,
            "member_id": account.member_id,
            "amount": amount,
            "expires_at": maybe_to_ms(expires_at),
        },
    )
    if entry_id is not None:
        await _add_part(connection, entry_id, lot_id, amount=amount)


async def set_end_of_lot(connection: Connection, lot_id: str, *, expires_at: datetime) -> bool:
    """Change when a lot expires. False if there is none."""
    cursor = await connection.execute(
        "UPDATE lots SET expires_at = ? WHERE lot_id = ?", (to_ms(expires_at), lot_id)
    )
    return cursor.rowcount == 1


async def change_lot(
    connection: Connection, entry_id: str, lot: Lot, *, by: int, resize: bool = False
) -> bool:
    """Add `by` credits to what remains of a lot, or take them out; with `resize` also its amount.

    False if the lot has changed since it was read, or can't cover that.
    """
    cursor = await connection.execute(
        """
        UPDATE lots SET amount = amount + :resized, remaining = remaining + :by,
                        revision = revision + 1
        WHERE lot_id = :lot_id AND revision = :revision
              AND remaining + :by BETWEEN 0 AND amount + :resized
        """,
        {
            "lot_id": lot.lot_id,
            "revision": lot.revision,
            "by": by,
            "resized": by if resize else 0,
        },
    )
    if cursor.rowcount != 1:
        return False
    await _add_part(connection, entry_id, lot.lot_id, amount=by)
    return True


async def _add_part(connection: Connection, entry_id: str, lot_id: str, *, amount: int) -> None:
    """Record which lot an entry moved."""
    await connection.execute(
        "INSERT INTO ledger_parts (entry_id, lot_id, amount) VALUES (?, ?, ?)",
        (entry_id, lot_id, amount),
    )


async def parts(connection: Connection, entry_id: str) -> list[tuple[Lot, int]]:
    """Return the lots that an entry moved, and by how much."""
    rows = await connection.execute_fetchall(
        """
        SELECT lots.*, NULL AS reason, NULL AS actor_id, ledger_parts.amount AS moved
        FROM ledger_parts JOIN lots USING (lot_id)
        WHERE entry_id = ? ORDER BY usable_until, lot_id
        """,
        (entry_id,),
    )
    return [(_lot(row), row["moved"]) for row in rows]


async def insert(
    connection: Connection,
    entry_id: str,
    account: Account,
    kind: str,
    amount: int,
    *,
    at: datetime,
    song_id: int | None = None,
    after_id: str | None = None,
    price: int | None = None,
    period_at: datetime | None = None,
    actor_id: int | None = None,
    reason: str | None = None,
) -> bool:
    """Enter a fact. False if it has been entered before."""
    cursor = await connection.execute(
        """
        INSERT INTO ledger (entry_id, kind, server_id, member_id, song_id, after_id, amount, price,
                            period_at, actor_id, reason, at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (entry_id) DO NOTHING
        """,
        (
            *(entry_id, kind, account.server_id, account.member_id, song_id, after_id, amount),
            *(price, maybe_to_ms(period_at), actor_id, reason, to_ms(at)),
        ),
    )
    return cursor.rowcount == 1


async def amount(connection: Connection, entry_id: str) -> int | None:
    """Return how an entry changed its member's balance; None if there is no such entry."""
    rows = await connection.execute_fetchall(
        "SELECT amount FROM ledger WHERE entry_id = ?", (entry_id,)
    )
    return next((row["amount"] for row in rows), None)


async def latest(connection: Connection, account: Account, *, limit: int) -> list[Entry]:
    """Return a member's newest entries that moved credits or have a price, newest first."""
    rows = await connection.execute_fetchall(
        """
        SELECT entry_id, kind, ledger.amount, ledger.price, number, actor_id, ledger.reason, at,
               channel_id, post_id
        FROM ledger LEFT JOIN songs USING (song_id)
        WHERE ledger.server_id = ? AND ledger.member_id = ?
              AND (ledger.amount <> 0 OR kind IN ('hold', 'take'))
        ORDER BY at DESC, entry_id DESC LIMIT ?
        """,
        (account.server_id, account.member_id, limit),
    )
    return [Entry(**dict(row) | {"at": from_ms(row["at"])}) for row in rows]


async def members_with_grants(
    connection: Connection, server_id: int, *, at: datetime, after_id: int, limit: int
) -> list[int]:
    """Return members who have granted, given or returned credits left, by ascending id."""
    rows = await connection.execute_fetchall(
        """
        SELECT DISTINCT member_id FROM lots
        WHERE server_id = ? AND member_id > ? AND remaining > 0 AND kind <> 'allowance'
              AND usable_until > ?
        ORDER BY member_id LIMIT ?
        """,
        (server_id, after_id, to_ms(at), limit),
    )
    return [row["member_id"] for row in rows]


async def granted_left(connection: Connection, server_id: int, *, at: datetime) -> tuple[int, int]:
    """Return how many members have granted, given or returned credits left, and how many."""
    rows = await connection.execute_fetchall(
        """
        SELECT count(DISTINCT member_id) AS members, coalesce(sum(remaining), 0) AS credits
        FROM lots
        WHERE server_id = ? AND remaining > 0 AND kind <> 'allowance' AND usable_until > ?
        """,
        (server_id, to_ms(at)),
    )
    return next((row["members"], row["credits"]) for row in rows)


async def forget_reasons_of_server(connection: Connection, server_id: int) -> int:
    """Delete the reasons of grants and gifts; return how many. The amounts stay."""
    cursor = await connection.execute(
        "UPDATE ledger SET reason = NULL WHERE server_id = ? AND reason IS NOT NULL", (server_id,)
    )
    return cursor.rowcount


def _lot(row: sqlite3.Row) -> Lot:
    return Lot(
        lot_id=row["lot_id"],
        kind=row["kind"],
        amount=row["amount"],
        remaining=row["remaining"],
        revision=row["revision"],
        expires_at=maybe_from_ms(row["expires_at"]),
        reason=row["reason"],
        actor_id=row["actor_id"],
    )
