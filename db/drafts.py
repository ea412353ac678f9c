"""The options of a `/song` whose lyrics are being typed in a form."""

from datetime import datetime

from db.connection import Connection
from db.records import Draft, to_ms


async def insert(connection: Connection, draft: Draft, *, at: datetime) -> bool:
    """Store a form's other options. Return False if its interaction has a draft."""
    cursor = await connection.execute(
        """
        INSERT INTO drafts (draft_id, server_id, member_id, options, created_at)
        VALUES (?, ?, ?, ?, ?) ON CONFLICT (draft_id) DO NOTHING
        """,
        (draft.draft_id, draft.server_id, draft.member_id, draft.options, to_ms(at)),
    )
    return cursor.rowcount == 1


async def get(connection: Connection, draft_id: int) -> Draft | None:
    """Return a draft."""
    rows = await connection.execute_fetchall(
        "SELECT draft_id, server_id, member_id, options FROM drafts WHERE draft_id = ?", (draft_id,)
    )
    return next((Draft(**row) for row in rows), None)


async def delete_before(connection: Connection, moment: datetime) -> int:
    """Delete the drafts of forms that nobody sent. Return how many."""
    cursor = await connection.execute("DELETE FROM drafts WHERE created_at < ?", (to_ms(moment),))
    return cursor.rowcount
