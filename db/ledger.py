"""Credits: lots, and the append-only ledger that explains them. None of these commits.

Every change is an entry, and its parts say which lots it moved: a lot's `remaining` is the sum of
its parts, a member's balance the sum of the entries.
"""

import sqlite3
from datetime import datetime

from db.connection import Connection
from db.records import Entry, Lot, LotSums, from_ms, maybe_from_ms, to_ms

MOST_LOTS = 25
"""Lots of a member that are read at once: they may have thousands, each of a gift of one credit."""


async def spendable(
    connection: Connection,
    server_id: int,
    member_id: int,
    *,
    at: datetime,
    granted_only: bool = False,
    most: int = MOST_LOTS,
) -> list[Lot]:
    """Lots with something left that have not expired; what expires first stands first.

    `most` of them. `granted_only` leaves allowances out. With who granted or gave them and
    why: a grant's entry has its lot's id, a gift's that of its parts without their number.
    """
    rows = await connection.execute_fetchall(
        """
        WITH expiring AS (
            SELECT lot_id FROM lots
            WHERE server_id = :server_id AND member_id = :member_id AND remaining > 0
                  AND expires_at > :at AND (kind <> 'allowance' OR NOT :granted_only)
            ORDER BY expires_at, lot_id LIMIT :most
        ), lasting AS (
            SELECT lot_id FROM lots
            WHERE server_id = :server_id AND member_id = :member_id AND remaining > 0
                  AND expires_at IS NULL AND (kind <> 'allowance' OR NOT :granted_only)
            ORDER BY lot_id LIMIT :most
        ), first AS (
            SELECT lot_id FROM expiring UNION ALL SELECT lot_id FROM lasting
        )
        SELECT lot_id, lots.kind, lots.amount, remaining, revision, expires_at, ledger.reason,
               ledger.actor_id
        FROM first JOIN lots USING (lot_id) LEFT JOIN ledger ON ledger.entry_id = CASE lots.kind
            WHEN 'grant' THEN lot_id
            WHEN 'gift' THEN rtrim(lot_id, '0123456789') || 'received' END
        ORDER BY expires_at IS NULL, expires_at, lot_id LIMIT :most
        """,
        {
            "server_id": server_id,
            "member_id": member_id,
            "at": to_ms(at),
            "granted_only": granted_only,
            "most": most,
        },
    )
    return list(map(_lot, rows))


async def lasting_longest(
    connection: Connection,
    server_id: int,
    member_id: int,
    *,
    at: datetime,
    granted_only: bool = False,
    most: int = MOST_LOTS,
) -> list[Lot]:
    """Lots as `spendable`, what expires last first, and without who gave them and why."""
    rows = await connection.execute_fetchall(
        """
        WITH lasting AS (
            SELECT lot_id FROM lots
            WHERE server_id = :server_id AND member_id = :member_id AND remaining > 0
                  AND expires_at IS NULL AND (kind <> 'allowance' OR NOT :granted_only)
            ORDER BY lot_id DESC LIMIT :most
        ), expiring AS (
            SELECT lot_id FROM lots
            WHERE server_id = :server_id AND member_id = :member_id AND remaining > 0
                  AND expires_at > :at AND (kind <> 'allowance' OR NOT :granted_only)
            ORDER BY expires_at DESC, lot_id DESC LIMIT :most
        ), last AS (
            SELECT lot_id FROM lasting UNION ALL SELECT lot_id FROM expiring
        )
        SELECT lot_id, kind, amount, remaining, revision, expires_at, NULL AS reason,
               NULL AS actor_id
        FROM last JOIN lots USING (lot_id)
        ORDER BY expires_at IS NOT NULL, expires_at DESC, lot_id DESC LIMIT :most
        """,
        {
            "server_id": server_id,
            "member_id": member_id,
            "at": to_ms(at),
            "granted_only": granted_only,
            "most": most,
        },
    )
    return list(map(_lot, rows))


async def sums(connection: Connection, server_id: int, member_id: int, *, at: datetime) -> LotSums:
    """What all of a member's lots hold that have not expired."""
    rows = await connection.execute_fetchall(
        """
        SELECT count(*) AS lots,
               coalesce(sum(kind <> 'allowance'), 0) AS granted_lots,
               coalesce(sum(remaining) FILTER (WHERE kind = 'allowance'), 0) AS allowance,
               coalesce(sum(remaining) FILTER (WHERE kind <> 'allowance'), 0) AS granted,
               coalesce(sum(amount) FILTER (WHERE kind <> 'allowance'), 0) AS granted_amount
        FROM lots WHERE server_id = ? AND member_id = ? AND remaining > 0
              AND (expires_at IS NULL OR expires_at > ?)
        """,
        (server_id, member_id, to_ms(at)),
    )
    return next(LotSums(**dict(row)) for row in rows)


async def free_up_to(
    connection: Connection, server_id: int, member_id: int, *, at: datetime, price: int
) -> int:
    """What a member has to spend; where that is more than `price`, any figure from it on.

    Each lot has a credit at least, so no more than `price` of them are read.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT coalesce(sum(remaining), 0) AS free FROM (
            SELECT remaining FROM lots WHERE server_id = ? AND member_id = ? AND remaining > 0
                   AND (expires_at IS NULL OR expires_at > ?) LIMIT ?
        ) AS some
        """,
        (server_id, member_id, to_ms(at), price),
    )
    return next(int(row["free"]) for row in rows)


async def expired(
    connection: Connection, server_id: int, member_id: int, *, at: datetime, besides: str
) -> list[Lot]:
    """Lots with something left whose time is over, oldest first; not `besides`, which is running.

    `MOST_LOTS` at most: what is left over is closed another time, and nothing of it can be spent.
    """
    rows = await connection.execute_fetchall(
        """
        SELECT lot_id, kind, amount, remaining, revision, expires_at, NULL AS reason,
               NULL AS actor_id
        FROM lots WHERE server_id = ? AND member_id = ? AND remaining > 0 AND expires_at <= ?
              AND lot_id <> ?
        ORDER BY expires_at, lot_id LIMIT ?
        """,
        (server_id, member_id, to_ms(at), besides, MOST_LOTS),
    )
    return list(map(_lot, rows))


async def get_lot(connection: Connection, lot_id: str) -> Lot | None:
    """One lot."""
    rows = await connection.execute_fetchall(
        """
        SELECT lot_id, kind, amount, remaining, revision, expires_at, NULL AS reason,
               NULL AS actor_id
        FROM lots WHERE lot_id = ?
        """,
        (lot_id,),
    )
    return next(map(_lot, rows), None)


async def insert_lot(
    connection: Connection,
    lot_id: str,
    *,
    kind: str,
    server_id: int,
    member_id: int,
    expires_at: datetime | None,
) -> bool:
    """An empty lot, which an entry then fills. False if it is there already."""
    cursor = await connection.execute(
        """
        INSERT INTO lots (lot_id, kind, server_id, member_id, amount, remaining, expires_at)
        VALUES (?, ?, ?, ?, 0, 0, ?) ON CONFLICT (lot_id) DO NOTHING
        """,
        (lot_id, kind, server_id, member_id, None if expires_at is None else to_ms(expires_at)),
    )
    return cursor.rowcount == 1


async def resize_lot(connection: Connection, lot_id: str, *, by: int, revision: int) -> bool:
    """Put in `by` credits, or take out what remains of them. False if `revision` has passed."""
    cursor = await connection.execute(
        """
        UPDATE lots SET amount = amount + :by, remaining = remaining + :by, revision = revision + 1
        WHERE lot_id = :lot_id AND revision = :revision AND remaining + :by >= 0
        """,
        {"lot_id": lot_id, "by": by, "revision": revision},
    )
    return cursor.rowcount == 1


async def set_end_of_lot(connection: Connection, lot_id: str, *, expires_at: datetime) -> bool:
    """Let a lot end at another time. False if there is none."""
    cursor = await connection.execute(
        "UPDATE lots SET expires_at = ? WHERE lot_id = ?", (to_ms(expires_at), lot_id)
    )
    return cursor.rowcount == 1


async def close_lot(connection: Connection, entry_id: str, lot: Lot) -> bool:
    """Take out all that remains, as read. False if the lot has changed since.

    Counted as a change of the allowance, so that a lot which a clock set back brought to life again
    can be closed again.
    """
    cursor = await connection.execute(
        """
        UPDATE lots SET remaining = 0, revision = revision + 1
        WHERE lot_id = ? AND revision = ? AND remaining = ?
        """,
        (lot.lot_id, lot.revision, lot.remaining),
    )
    if cursor.rowcount != 1:
        return False
    await add_part(connection, entry_id, lot.lot_id, amount=-lot.remaining)
    return True


async def move(connection: Connection, entry_id: str, lot_id: str, *, amount: int) -> bool:
    """Take from a lot (a negative `amount`) or return to it. False if that can't be."""
    cursor = await connection.execute(
        """
        UPDATE lots SET remaining = remaining + :by
        WHERE lot_id = :lot_id AND remaining + :by BETWEEN 0 AND amount
        """,
        {"lot_id": lot_id, "by": amount},
    )
    if cursor.rowcount != 1:
        return False
    await add_part(connection, entry_id, lot_id, amount=amount)
    return True


async def add_part(connection: Connection, entry_id: str, lot_id: str, *, amount: int) -> None:
    """Record which lot an entry moved."""
    await connection.execute(
        "INSERT INTO ledger_parts (entry_id, lot_id, amount) VALUES (?, ?, ?)",
        (entry_id, lot_id, amount),
    )


async def parts(connection: Connection, entry_id: str) -> list[tuple[Lot, int]]:
    """The lots that an entry moved, and by how much."""
    rows = await connection.execute_fetchall(
        """
        SELECT lots.lot_id, kind, lots.amount, remaining, revision, expires_at, NULL AS reason,
               NULL AS actor_id, ledger_parts.amount AS moved
        FROM ledger_parts JOIN lots USING (lot_id)
        WHERE entry_id = ? ORDER BY expires_at IS NULL, expires_at, lots.lot_id
        """,
        (entry_id,),
    )
    return [(_lot(row), row["moved"]) for row in rows]


async def insert(
    connection: Connection,
    entry_id: str,
    *,
    kind: str,
    server_id: int,
    member_id: int,
    amount: int,
    at: datetime,
    song_id: int | None = None,
    after_id: str | None = None,
    price: int | None = None,
    period_at: datetime | None = None,
    actor_id: int | None = None,
    reason: str | None = None,
) -> bool:
    """Write a fact. False if it is in the ledger already."""
    cursor = await connection.execute(
        """
        INSERT INTO ledger (entry_id, kind, server_id, member_id, song_id, after_id, amount, price,
                            period_at, actor_id, reason, at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (entry_id) DO NOTHING
        """,
        (
            *(entry_id, kind, server_id, member_id, song_id, after_id, amount, price),
            *(None if period_at is None else to_ms(period_at), actor_id, reason, to_ms(at)),
        ),
    )
    return cursor.rowcount == 1


async def amount(connection: Connection, entry_id: str) -> int | None:
    """How an entry changed its member's balance; None where the fact is not in the ledger."""
    rows = await connection.execute_fetchall(
        "SELECT amount FROM ledger WHERE entry_id = ?", (entry_id,)
    )
    return next((row["amount"] for row in rows), None)


async def latest(
    connection: Connection, server_id: int, member_id: int, *, limit: int
) -> list[Entry]:
    """A member's newest entries that moved credits or have a price, newest first."""
    rows = await connection.execute_fetchall(
        """
        SELECT entry_id, kind, ledger.amount, ledger.price, number, actor_id, ledger.reason, at,
               channel_id, post_id
        FROM ledger LEFT JOIN songs USING (song_id)
        WHERE ledger.server_id = ? AND ledger.member_id = ?
              AND (ledger.amount <> 0 OR kind IN ('hold', 'take'))
        ORDER BY at DESC, entry_id DESC LIMIT ?
        """,
        (server_id, member_id, limit),
    )
    return [Entry(**dict(row) | {"at": from_ms(row["at"])}) for row in rows]


async def members_with_grants(
    connection: Connection, server_id: int, *, at: datetime, after_id: int, limit: int
) -> list[tuple[int, int]]:
    """Members who have granted, given or returned credits left, and how many; by their ids."""
    rows = await connection.execute_fetchall(
        """
        SELECT member_id, sum(remaining) AS left_over FROM lots
        WHERE server_id = ? AND member_id > ? AND remaining > 0 AND kind <> 'allowance'
              AND (expires_at IS NULL OR expires_at > ?)
        GROUP BY member_id ORDER BY member_id LIMIT ?
        """,
        (server_id, after_id, to_ms(at), limit),
    )
    return [(row["member_id"], row["left_over"]) for row in rows]


async def granted_left(connection: Connection, server_id: int, *, at: datetime) -> tuple[int, int]:
    """How many members have granted, given or returned credits left, and how many those are."""
    rows = await connection.execute_fetchall(
        """
        SELECT count(DISTINCT member_id) AS members, coalesce(sum(remaining), 0) AS left_over
        FROM lots WHERE server_id = ? AND remaining > 0 AND kind <> 'allowance'
              AND (expires_at IS NULL OR expires_at > ?)
        """,
        (server_id, to_ms(at)),
    )
    return next((row["members"], row["left_over"]) for row in rows)


async def forget_words_of_server(connection: Connection, server_id: int) -> int:
    """Drop the reasons of grants and gifts; how many. The amounts stay."""
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
