"""The options of forms that are being filled in."""

from datetime import timedelta

from db import drafts
from db.database import Database
from db.records import Draft
from tests.factories import MEMBER, NOON, SERVER


async def test_a_draft_is_kept_once_and_dies(database: Database) -> None:
    draft = Draft(7, SERVER, MEMBER, '{"genres": "funk"}')
    async with database.write() as connection:
        assert await drafts.insert(connection, draft, at=NOON)
        assert not await drafts.insert(connection, Draft(7, 1, 1, "{}"), at=NOON)
    assert await drafts.get(database.reader, 7) == draft
    assert await drafts.get(database.reader, 8) is None
    async with database.write() as connection:
        assert await drafts.delete_before(connection, NOON) == 0
        assert await drafts.delete_before(connection, NOON + timedelta(seconds=1)) == 1
    assert await drafts.get(database.reader, 7) is None
