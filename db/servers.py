"""Servers and members, and when they last had a turn. None of these commits."""

from datetime import datetime

from db.connection import Connection
from db.records import Server, ServerCount, maybe_from_ms, to_ms


async def ensure_server(connection: Connection, server_id: int) -> None:
    """Insert a server, or mark it as present."""
    await connection.execute(
        """
        INSERT INTO servers (server_id) VALUES (?)
        ON CONFLICT (server_id) DO UPDATE SET left_at = NULL, forgotten_at = NULL
        """,
        (server_id,),
    )


async def ensure_member(connection: Connection, server_id: int, member_id: int) -> None:
    """Insert a member, if absent."""
    await connection.execute(
        """
        INSERT INTO members (server_id, member_id) VALUES (?, ?)
        ON CONFLICT (server_id, member_id) DO NOTHING
        """,
        (server_id, member_id),
    )


async def get_server(connection: Connection, server_id: int) -> Server | None:
    """Return a server."""
    rows = await connection.execute_fetchall(
        "SELECT server_id, name, left_at FROM servers WHERE server_id = ?", (server_id,)
    )
    return next(
        (Server(r["server_id"], r["name"], maybe_from_ms(r["left_at"])) for r in rows), None
    )


async def set_name(connection: Connection, server_id: int, name: str) -> bool:
    """Store a server's name. Return False if nothing changed."""
    cursor = await connection.execute(
        "UPDATE servers SET name = :name WHERE server_id = :server_id AND name IS NOT :name",
        {"server_id": server_id, "name": name},
    )
    return cursor.rowcount == 1


async def take_number(connection: Connection, server_id: int) -> int:
    """Take the next song number of a server."""
    rows = await connection.execute_fetchall(
        """
        UPDATE servers SET last_number = last_number + 1 WHERE server_id = ? RETURNING last_number
        """,
        (server_id,),
    )
    (row,) = rows
    return int(row["last_number"])


async def mark_started(
    connection: Connection, server_id: int, member_id: int, *, at: datetime
) -> None:
    """Move a server and a member whose song starts to the end of the fair order.

    The time is later than every earlier start, even if the clock was set back.
    """
    await connection.execute(
        """
        UPDATE servers SET last_start_at = (
            SELECT max(moment) FROM (
                SELECT :at AS moment
                UNION ALL SELECT 1 + coalesce(max(last_start_at), 0) FROM servers
            ) AS candidates
        ) WHERE server_id = :server_id
        """,
        {"at": to_ms(at), "server_id": server_id},
    )
    await connection.execute(
        """
        UPDATE members SET last_start_at =
            (SELECT last_start_at FROM servers WHERE server_id = :server_id)
        WHERE server_id = :server_id AND member_id = :member_id
        """,
        {"server_id": server_id, "member_id": member_id},
    )


async def mark_greeted(connection: Connection, server_id: int, *, at: datetime) -> bool:
    """Mark a server as greeted. Return False if it was."""
    cursor = await connection.execute(
        "UPDATE servers SET greeted_at = ? WHERE server_id = ? AND greeted_at IS NULL",
        (to_ms(at), server_id),
    )
    return cursor.rowcount == 1


async def mark_joined(connection: Connection, server_id: int, *, at: datetime) -> bool:
    """Mark a server for a message to the operator. Return False if it does not exist."""
    cursor = await connection.execute(
        "UPDATE servers SET notify_since = ? WHERE server_id = ?", (to_ms(at), server_id)
    )
    return cursor.rowcount == 1


async def to_notify(connection: Connection, *, since: datetime) -> list[Server]:
    """Return the servers joined since then that the operator was not notified of, oldest first."""
    rows = await connection.execute_fetchall(
        """
        SELECT server_id, name, left_at FROM servers
        WHERE notify_since >= ? AND left_at IS NULL ORDER BY notify_since, server_id
        """,
        (to_ms(since),),
    )
    return [Server(r["server_id"], r["name"], maybe_from_ms(r["left_at"])) for r in rows]


async def mark_notified(connection: Connection, server_id: int) -> bool:
    """Mark that the operator was notified. Return False if that was marked."""
    cursor = await connection.execute(
        """
        UPDATE servers SET notify_since = NULL WHERE server_id = ? AND notify_since IS NOT NULL
        """,
        (server_id,),
    )
    return cursor.rowcount == 1


async def any_known(connection: Connection) -> bool:
    """Return whether there is any server, also one that was left."""
    rows = await connection.execute_fetchall("SELECT EXISTS (SELECT 1 FROM servers) AS known")
    return any(row["known"] for row in rows)


async def mark_left(connection: Connection, server_id: int, *, at: datetime) -> bool:
    """Mark a server as left. Return False if it was."""
    cursor = await connection.execute(
        "UPDATE servers SET left_at = ? WHERE server_id = ? AND left_at IS NULL",
        (to_ms(at), server_id),
    )
    return cursor.rowcount == 1


async def names_present(connection: Connection) -> dict[int, str | None]:
    """Return the servers that were not left, with their names."""
    rows = await connection.execute_fetchall(
        "SELECT server_id, name FROM servers WHERE left_at IS NULL"
    )
    return {row["server_id"]: row["name"] for row in rows}


async def all_counted(connection: Connection) -> list[ServerCount]:
    """Return every server with its numbers of members and songs."""
    rows = await connection.execute_fetchall(
        """
        SELECT server_id, name, left_at, last_number,
               (SELECT count(*) FROM members WHERE members.server_id = servers.server_id) AS members
        FROM servers ORDER BY server_id
        """
    )
    return [
        ServerCount(
            r["server_id"], r["name"], maybe_from_ms(r["left_at"]), r["members"], r["last_number"]
        )
        for r in rows
    ]


async def servers_left_before(connection: Connection, moment: datetime) -> list[int]:
    """Return the servers left before `moment` whose data is not deleted yet."""
    rows = await connection.execute_fetchall(
        "SELECT server_id FROM servers WHERE left_at < ? AND forgotten_at IS NULL",
        (to_ms(moment),),
    )
    return [row["server_id"] for row in rows]


async def forget(connection: Connection, server_id: int, *, at: datetime) -> bool:
    """Clear a server's row. Return False if the bot is in it again."""
    cursor = await connection.execute(
        """
        UPDATE servers SET name = NULL, greeted_at = NULL, forgotten_at = ?
        WHERE server_id = ? AND left_at IS NOT NULL AND forgotten_at IS NULL
        """,
        (to_ms(at), server_id),
    )
    return cursor.rowcount == 1
