"""What tests of all parts share. The database is always the real one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.database import Database
from services.quota.credits import Credits
from tests.factories import SettableClock, make_credits


@pytest.fixture
def clock() -> SettableClock:
    """Noon, until a test moves it."""
    return SettableClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A new database in a file."""
    opened = await Database.open(tmp_path / "songs.db")
    yield opened
    await opened.close()


@pytest.fixture
def credits(database: Database, clock: SettableClock) -> Credits:
    """Ten credits a day."""
    return make_credits(database, clock)
