"""The options of a `/song` whose lyrics are being typed in a form."""

from datetime import datetime

from db.connection import Connection
from db.records import Draft, to_ms


async def insert(connection: Connection, draft: Draft, *, at: datetime) -> bool:
    """Keep a form's other options. False if its interaction has kept some already."""
    cursor = await connection.execute(
        """
        INSERT INTO drafts (draft_id, server_id, member_id, options, created_at)
        VALUES (?, ?, ?, ?, ?) ON CONFLICT (draft_id) DO NOTHING
        """,
        (draft.draft_id, draft.server_id, draft.member_id, draft.options, to_ms(at)),
    )
    return cursor.rowcount == 1


async def get(connection: Connection, draft_id: int) -> Draft | None:
    """One form's options."""
    rows = await connection.execute_fetchall(
        "SELECT draft_id, server_id, member_id, options FROM drafts WHERE draft_id = ?", (draft_id,)
    )
    return next((Draft(**row) for row in rows), None)


async def delete_before(connection: Connection, moment: datetime) -> int:
    """Drop the forms nobody sent; how many there were."""
    cursor = await connection.execute("DELETE FROM drafts WHERE created_at < ?", (to_ms(moment),))
    return cursor.rowcount
