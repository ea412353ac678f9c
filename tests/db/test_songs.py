"""Songs: their moves and their fair order."""

import pytest

from db import songs
from db.database import Database
from db.records import Status, Step
from tests.factories import add_song


@pytest.mark.parametrize("step", Step)
async def test_a_song_is_read_as_it_was_written(database: Database, step: Step) -> None:
    song = await add_song(database, step=step)
    assert await songs.get(database.reader, song.song_id) == song


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
async def test_an_unhappy_end_is_read_as_it_was_written(database: Database, status: Status) -> None:
    song = await add_song(database, step=Step.ENDED, status=status)
    assert await songs.get(database.reader, song.song_id) == song
