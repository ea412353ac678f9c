"""Housekeeping: each part is done, even if others fail."""

import asyncio
import logging
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from db import drafts, servers, songs
from db.database import Database
from db.records import Draft, Reason, Song, State, Status
from services.credits.credits import Credits
from services.operations.housekeeping import (
    INTERVAL,
    LYRICS_OF_FAILED,
    NEARLY_FULL,
    ROOM_AGAIN,
    WAITING_DEADLINE,
    Housekeeping,
)
from services.operations.incidents import Incidents, Kind
from services.operations.servers import Servers, Shard
from services.settings.settings import Member
from services.songs.completion import SongCompletion
from tests.factories import MEMBER, NOON, SERVER, SettableClock, add_held_song, add_song
from tests.unit.services.operations.conftest import FakeOperator


class World:
    """The housekeeping and what it works on."""

    def __init__(
        self, database: Database, credits: Credits, clock: SettableClock, data_dir: Path
    ) -> None:
        self.database = database
        self.credits = credits
        self.clock = clock
        self.songs_dir = data_dir / "songs"
        self.songs_dir.mkdir(parents=True)
        self.free_bytes = 2 * ROOM_AGAIN
        self.changed: list[int] = []
        self.operator = FakeOperator()
        self.incidents = Incidents(database, self.operator, clock=clock)
        self.completion = SongCompletion(database, credits, clock=clock)
        self.servers = Servers(database, self.completion, self.operator, clock=clock)
        self.keeping = Housekeeping(
            database,
            self.completion,
            self.servers,
            self.incidents,
            data_dir=data_dir,
            clock=clock,
            changed=self.changed.append,
        )

    async def song(self, song_id: int = 1) -> Song:
        found = await songs.get(self.database.reader, song_id)
        assert found is not None
        return found

    def folder(self, name: str) -> Path:
        path = self.songs_dir / name
        path.mkdir()
        (path / "source").write_bytes(b"RIFF")
        return path


@pytest.fixture
def world(
    database: Database,
    credits: Credits,
    clock: SettableClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    made = World(database, credits, clock, tmp_path / "data")
    free = {tmp_path / "data": lambda: made.free_bytes}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[path]()))
    return made


async def test_a_song_waits_for_six_hours_and_no_longer(world: World) -> None:
    await add_held_song(world.database, world.credits, 1)
    await add_held_song(world.database, world.credits, 2, requested_at=NOON + timedelta(seconds=1))
    await add_held_song(world.database, world.credits, 3, state=State.SUBMITTED)
    world.clock.now += WAITING_DEADLINE
    await world.keeping.once()
    assert (await world.song()).state is State.WAITING
    world.clock.advance(seconds=1)
    await world.keeping.once()
    await world.keeping.once()
    song = await world.song()
    assert (song.status, song.reason) == (
        Status.FAILED,
        Reason.WAITED_TOO_LONG,
    )
    assert world.changed == [1]
    assert [(await world.song(n)).ended for n in (2, 3)] == [False, False]
    assert await songs.price_of_unfinished(world.database.reader, SERVER, MEMBER) == 4
    assert (await world.credits.balance(Member(SERVER, MEMBER))).free == 6


async def test_a_server_that_could_not_be_left_is_left_in_a_later_round(world: World) -> None:
    """It was left at the next session of the gateway, which may be days away."""
    await world.servers.join(SERVER, "Synths")
    await add_held_song(world.database, world.credits, 1)
    present = {SERVER}
    await world.servers.reconcile(Shard(0, 1), present)
    await world.keeping.once()
    assert (await world.song()).state is State.WAITING
    present.clear()
    await world.keeping.once()
    assert (await world.song()).status is Status.CANCELLED
    assert world.changed == [1]


@pytest.mark.parametrize("hours", [7, 24 * 365, -7])
async def test_a_clock_that_is_set_ends_and_forgets_nothing(world: World, hours: float) -> None:
    """Waiting songs, tokens, drafts, lyrics of what failed, and what a server has left behind."""
    until = NOON + timedelta(minutes=15)
    await add_held_song(world.database, world.credits, 1, token="secret", token_until=until)
    failed = {"state": State.FAILED, "ended_at": NOON}
    await add_song(world.database, 2, **failed)
    async with world.database.write() as connection:
        await drafts.insert(connection, Draft(7, SERVER, MEMBER, "{}"), at=NOON)
        await servers.ensure_server(connection, SERVER + 1)
        await servers.mark_left(connection, SERVER + 1, at=NOON)
        await songs.forget_token(connection, 2, token="secret")
    world.clock.advance(seconds=7)
    world.clock.jump(hours=hours)
    await world.keeping.once()
    song = await world.song()
    assert (song.state, song.token) == (State.WAITING, "secret")
    assert (await world.song(2)).lyrics
    assert await drafts.get(world.database.reader, 7) is not None
    left = await servers.servers_left_before(world.database.reader, NOON + timedelta(days=9_999))
    assert left == [SERVER + 1]

    # A clock that was set back delays it, but not without end.
    world.clock.advance(days=31)
    await world.keeping.once()
    song = await world.song()
    assert (song.status, song.token) == (Status.FAILED, None)
    assert not (await world.song(2)).lyrics
    assert await drafts.get(world.database.reader, 7) is None


async def test_events_are_deleted_thirty_days_after_the_last_of_their_song(world: World) -> None:
    """Never some of them: the last one has to agree with the song, also if a clock was set back."""
    await add_song(world.database, 1)
    async with world.database.write() as connection:
        await songs.mark_submitting(connection, 1, at=NOON)
        await songs.mark_submitted(connection, 1, request_id="r", at=NOON + timedelta(days=1))
    for days, seconds, left in ((30, 0, 2), (0, 1, 2), (1, 0, 0)):
        world.clock.advance(days=days, seconds=seconds)
        await world.keeping.once()
        assert len(await songs.events(world.database.reader, 1)) == left


async def test_a_song_that_is_started_meanwhile_is_not_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_held_song(world.database, world.credits, 1)
    overdue = songs.waiting_since_before

    async def and_then(*arguments: object) -> list[Song]:
        found = await overdue(*arguments)  # type: ignore[arg-type]
        async with world.database.write() as connection:
            await songs.mark_submitting(connection, 1, at=NOON)
        return found

    monkeypatch.setattr(songs, "waiting_since_before", and_then)
    world.clock.advance(hours=7)
    await world.keeping.once()
    assert (await world.song()).state is State.SUBMITTING
    assert world.changed == []


async def test_lyrics_of_failed_songs_are_deleted_after_a_day(world: World) -> None:
    ended = {"state": State.FAILED, "ended_at": NOON}
    await add_song(world.database, 1, **ended)
    await add_song(world.database, 2, **ended | {"ended_at": NOON + timedelta(seconds=1)})
    await add_song(world.database, 3, state=State.COMPLETED)
    world.clock.now += LYRICS_OF_FAILED
    await world.keeping.once()
    assert (await world.song(1)).lyrics
    world.clock.advance(seconds=1)
    await world.keeping.once()
    assert [bool((await world.song(n)).lyrics) for n in (1, 2, 3)] == [False, True, True]
    assert (await world.song(1)).genres


async def test_tokens_and_drafts_expire(world: World) -> None:
    until = NOON + timedelta(minutes=15)
    await add_song(world.database, 1, token="a", token_until=until)
    async with world.database.write() as connection:
        await drafts.insert(connection, Draft(7, SERVER, MEMBER, "{}"), at=NOON)
    world.clock.advance(minutes=14, seconds=59)
    await world.keeping.once()
    assert (await world.song()).token == "a"
    world.clock.advance(seconds=1)
    await world.keeping.once()
    song = await world.song()
    assert (song.token, song.token_until) == (None, None)
    world.clock.now = NOON + timedelta(hours=1)
    await world.keeping.once()
    assert await drafts.get(world.database.reader, 7) is not None
    world.clock.advance(seconds=1)
    await world.keeping.once()
    assert await drafts.get(world.database.reader, 7) is None


async def test_only_unneeded_files_are_removed(world: World) -> None:
    for song_id, state in enumerate(
        (State.WAITING, State.SUBMITTED, State.POSTING, State.COMPLETED), 1
    ):
        await add_song(world.database, song_id, state=state)
    await add_song(
        world.database, 5, state=State.UNDELIVERED, reason=Reason.CHANNEL_GONE, file="5.mp3"
    )
    for name in ("1", "2", "3", "4", "5", "404"):
        world.folder(name)
    # Not ours: a file system's own folder, a digit that is none, somebody's note.
    world.folder("lost+found")
    world.folder("\N{SUPERSCRIPT TWO}")
    (world.songs_dir / "6").write_text("a file")
    await world.keeping.once()
    assert {path.name for path in world.songs_dir.iterdir()} == {
        *("1", "2", "3", "5"),
        *("lost+found", "\N{SUPERSCRIPT TWO}", "6"),
    }


async def test_folder_that_cannot_be_removed_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [world.folder(str(song_id)) for song_id in range(7, 12)]
    remove = shutil.rmtree

    def stubborn(path: Path) -> None:
        if path.name == "9":
            raise PermissionError(path)
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", stubborn)
    await world.keeping.once()
    assert [folder.name for folder in folders if folder.exists()] == ["9"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_without_a_songs_folder_there_is_nothing_to_remove(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.songs_dir.rmdir()
    await world.keeping.once()
    assert caplog.records == []


async def test_nearly_full_disk_is_an_incident_until_there_is_room(world: World) -> None:
    for free, messages in (
        (NEARLY_FULL, 0),
        (NEARLY_FULL - 1, 1),
        (NEARLY_FULL - 2, 1),
        (ROOM_AGAIN, 1),  # between the two nothing changes, so that it does not flutter
        (ROOM_AGAIN + 1, 2),
        (ROOM_AGAIN, 2),
    ):
        world.free_bytes = free
        await world.keeping.once()
        assert len(world.operator.received) == messages
    assert "511 MiB are free" in world.operator.received[0]


async def test_unreachable_operator_is_notified_later(world: World) -> None:
    world.operator.reachable = False
    await world.incidents.begin(Kind.KEY_REFUSED, "401")
    await world.keeping.once()
    assert world.operator.received == []
    world.operator.reachable = True
    await world.keeping.once()
    await world.keeping.once()
    assert len(world.operator.received) == 1


PARTS = (
    "_end_overdue",
    "_forget",
    "_remove_files",
    "_watch_disk",
)


@pytest.mark.parametrize("failing", PARTS)
async def test_a_part_that_fails_stops_no_other(
    world: World,
    failing: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> None:
        raise OSError("no more")

    fails.__name__ = failing
    monkeypatch.setattr(world.keeping, failing, fails)
    database, credits = world.database, world.credits
    await add_held_song(database, credits, 1)
    await add_song(database, 3, state=State.SUBMITTED, token="t", token_until=NOON)
    orphan = world.folder("404")
    world.free_bytes = 0
    world.clock.advance(days=2)
    await world.keeping.once()
    # That part's work alone is undone.
    assert ((await world.song(1)).state is State.WAITING) is (failing == "_end_overdue")
    assert ((await world.song(3)).token is not None) is (failing == "_forget")
    assert orphan.exists() is (failing == "_remove_files")
    assert (world.incidents._open == set()) is (failing == "_watch_disk")
    assert f"housekeeping: {failing} failed" in caplog.text


async def test_runs_every_minute_until_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []

    async def pause(seconds: float) -> None:
        rounds.append(seconds)
        world.clock.advance(hours=6, seconds=1)
        if len(rounds) == 2:
            raise asyncio.CancelledError

    await add_held_song(world.database, world.credits, 1)
    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await world.keeping.run()
    assert rounds == [INTERVAL, INTERVAL]
    assert (await world.song()).status is Status.FAILED
