"""What has to be done from time to time, each part whatever becomes of the others."""

import asyncio
import logging
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from db import drafts, servers, songs
from db.database import Database
from db.records import Draft, Song, State, Status
from services.credits.credits import Credits
from services.operations import housekeeping
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


class Letters:
    """An operator, in reach or not."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.reachable = True

    async def notify(self, text: str, *, detail: str = "") -> bool:
        if self.reachable:
            self.received.append(f"{text} {detail}".strip())
        return self.reachable


class House:
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
        self.operator = Letters()
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
            free_bytes=lambda path: self.free_bytes if path == data_dir else 0,
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
def house(database: Database, credits: Credits, clock: SettableClock, tmp_path: Path) -> House:
    return House(database, credits, clock, tmp_path / "data")


async def test_a_song_waits_for_six_hours_and_no_longer(house: House) -> None:
    await add_held_song(house.database, house.credits, 1)
    await add_held_song(house.database, house.credits, 2, requested_at=NOON + timedelta(seconds=1))
    await add_held_song(house.database, house.credits, 3, state=State.SUBMITTED)
    house.clock.now += WAITING_DEADLINE
    await house.keeping.once()
    assert (await house.song()).state is State.WAITING
    house.clock.advance(seconds=1)
    await house.keeping.once()
    await house.keeping.once()
    song = await house.song()
    assert (song.status, song.reason) == (
        Status.FAILED,
        "It waited for 6 hours without being started.",
    )
    assert house.changed == [1]
    assert [(await house.song(n)).ended for n in (2, 3)] == [False, False]
    assert await songs.price_of_unfinished(house.database.reader, SERVER, MEMBER) == 4
    assert (await house.credits.balance(Member(SERVER, MEMBER))).free == 6


async def test_a_server_that_could_not_be_left_is_left_in_a_later_round(house: House) -> None:
    """It was left at the next session of the gateway, which may be days away."""
    await house.servers.join(SERVER, "Synths")
    await add_held_song(house.database, house.credits, 1)
    present = {SERVER}
    await house.servers.reconcile(Shard(0, 1), present)
    await house.keeping.once()
    assert (await house.song()).state is State.WAITING
    present.clear()
    await house.keeping.once()
    assert (await house.song()).status is Status.CANCELLED
    assert house.changed == [1]


@pytest.mark.parametrize("hours", [7, 24 * 365, -7])
async def test_a_clock_that_is_set_ends_and_forgets_nothing(house: House, hours: float) -> None:
    """Waiting songs, tokens, drafts, lyrics of what failed, and what a server has left behind."""
    until = NOON + timedelta(minutes=15)
    await add_held_song(house.database, house.credits, 1, token="secret", token_until=until)
    failed = {"state": State.FAILED, "ended_at": NOON}
    await add_song(house.database, 2, **failed)
    async with house.database.write() as connection:
        await drafts.insert(connection, Draft(7, SERVER, MEMBER, "{}"), at=NOON)
        await servers.ensure_server(connection, SERVER + 1)
        await servers.mark_left(connection, SERVER + 1, at=NOON)
        await songs.forget_token(connection, 2, token="secret")
    house.clock.advance(seconds=7)
    house.clock.jump(hours=hours)
    await house.keeping.once()
    song = await house.song()
    assert (song.state, song.token) == (State.WAITING, "secret")
    assert (await house.song(2)).lyrics
    assert await drafts.get(house.database.reader, 7) is not None
    left = await servers.servers_left_before(house.database.reader, NOON + timedelta(days=9_999))
    assert left == [SERVER + 1]

    # A clock that was set back may make it later, but not for ever.
    house.clock.advance(days=31)
    await house.keeping.once()
    song = await house.song()
    assert (song.status, song.token) == (Status.FAILED, None)
    assert not (await house.song(2)).lyrics
    assert await drafts.get(house.database.reader, 7) is None


async def test_events_are_deleted_after_thirty_days(house: House) -> None:
    await add_song(house.database, 1)
    async with house.database.write() as connection:
        await songs.mark_submitting(connection, 1, at=NOON)
        await songs.mark_submitted(connection, 1, request_id="r", at=NOON + timedelta(days=1))
    for days, seconds, left in ((30, 0, 2), (0, 1, 1), (1, 0, 0)):
        house.clock.advance(days=days, seconds=seconds)
        await house.keeping.once()
        assert len(await songs.events(house.database.reader, 1)) == left


async def test_a_song_that_is_started_meanwhile_is_not_ended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_held_song(house.database, house.credits, 1)
    overdue = songs.waiting_since_before

    async def and_then(*arguments: object) -> list[Song]:
        found = await overdue(*arguments)  # type: ignore[arg-type]
        async with house.database.write() as connection:
            await songs.mark_submitting(connection, 1, at=NOON)
        return found

    monkeypatch.setattr(songs, "waiting_since_before", and_then)
    house.clock.advance(hours=7)
    await house.keeping.once()
    assert (await house.song()).state is State.SUBMITTING
    assert house.changed == []


async def test_lyrics_of_what_failed_go_after_a_day(house: House) -> None:
    ended = {"state": State.FAILED, "ended_at": NOON}
    await add_song(house.database, 1, **ended)
    await add_song(house.database, 2, **ended | {"ended_at": NOON + timedelta(seconds=1)})
    await add_song(house.database, 3, state=State.COMPLETED)
    house.clock.now += LYRICS_OF_FAILED
    await house.keeping.once()
    assert (await house.song(1)).lyrics
    house.clock.advance(seconds=1)
    await house.keeping.once()
    assert [bool((await house.song(n)).lyrics) for n in (1, 2, 3)] == [False, True, True]
    assert (await house.song(1)).genres


async def test_tokens_and_drafts_die(house: House) -> None:
    until = NOON + timedelta(minutes=15)
    await add_song(house.database, 1, token="a", token_until=until)
    async with house.database.write() as connection:
        await drafts.insert(connection, Draft(7, SERVER, MEMBER, "{}"), at=NOON)
    house.clock.advance(minutes=14, seconds=59)
    await house.keeping.once()
    assert (await house.song()).token == "a"
    house.clock.advance(seconds=1)
    await house.keeping.once()
    song = await house.song()
    assert (song.token, song.token_until) == (None, None)
    house.clock.now = NOON + timedelta(hours=1)
    await house.keeping.once()
    assert await drafts.get(house.database.reader, 7) is not None
    house.clock.advance(seconds=1)
    await house.keeping.once()
    assert await drafts.get(house.database.reader, 7) is None


async def test_servers_left_long_ago_are_forgotten(house: House) -> None:
    await house.servers.join(SERVER, "Synths")
    await house.servers.leave(SERVER)
    house.clock.advance(days=31)
    await house.keeping.once()
    server = await servers.get_server(house.database.reader, SERVER)
    assert server is not None
    assert server.name is None


async def test_only_files_that_nobody_needs_are_removed(house: House) -> None:
    for song_id, state in enumerate(
        (State.WAITING, State.SUBMITTED, State.POSTING, State.COMPLETED), 1
    ):
        await add_song(house.database, song_id, state=state)
    await add_song(house.database, 5, state=State.UNDELIVERED, reason="No.", file="5.mp3")
    for name in ("1", "2", "3", "4", "5", "404"):
        house.folder(name)
    # Not ours: a file system's own folder, a digit that is none, somebody's note.
    house.folder("lost+found")
    house.folder("\N{SUPERSCRIPT TWO}")
    (house.songs_dir / "6").write_text("a file")
    await house.keeping.once()
    assert {path.name for path in house.songs_dir.iterdir()} == {
        *("1", "2", "3", "5"),
        *("lost+found", "\N{SUPERSCRIPT TWO}", "6"),
    }


async def test_a_folder_that_can_not_be_removed_keeps_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [house.folder(str(song_id)) for song_id in range(7, 12)]
    remove = shutil.rmtree

    def stubborn(path: Path) -> None:
        if path.name == "9":
            raise PermissionError(path)
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", stubborn)
    await house.keeping.once()
    assert [folder.name for folder in folders if folder.exists()] == ["9"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_without_a_songs_folder_there_is_nothing_to_remove(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.songs_dir.rmdir()
    await house.keeping.once()
    assert caplog.records == []


async def test_a_disk_that_is_nearly_full_is_told_until_there_is_room_again(house: House) -> None:
    for free, told in (
        (NEARLY_FULL, 0),
        (NEARLY_FULL - 1, 1),
        (NEARLY_FULL - 2, 1),
        (ROOM_AGAIN, 1),  # between the two nothing changes, so that it does not flutter
        (ROOM_AGAIN + 1, 2),
        (ROOM_AGAIN, 2),
    ):
        house.free_bytes = free
        await house.keeping.once()
        assert len(house.operator.received) == told
    assert "511 MiB are free" in house.operator.received[0]


async def test_the_real_disk_is_asked_unless_told_otherwise(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = Housekeeping(
        house.database,
        house.completion,
        house.servers,
        house.incidents,
        data_dir=tmp_path,
        clock=house.clock,
        changed=house.changed.append,
    )
    monkeypatch.setattr(housekeeping, "NEARLY_FULL", 2**80)
    await keeping.once()
    assert len(house.operator.received) == 1


async def test_an_operator_out_of_reach_is_told_in_a_later_round(house: House) -> None:
    house.operator.reachable = False
    await house.incidents.begin(Kind.KEY_REFUSED, "401")
    await house.keeping.once()
    assert house.operator.received == []
    house.operator.reachable = True
    await house.keeping.once()
    await house.keeping.once()
    assert len(house.operator.received) == 1


PARTS = (
    "_end_overdue",
    "_forget",
    "_remove_files",
    "_watch_disk",
)


@pytest.mark.parametrize("failing", PARTS)
async def test_a_part_that_fails_stops_no_other(
    house: House,
    failing: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> None:
        raise OSError("no more")

    fails.__name__ = failing
    monkeypatch.setattr(house.keeping, failing, fails)
    database, credits = house.database, house.credits
    await add_held_song(database, credits, 1)
    await add_song(database, 3, state=State.SUBMITTED, token="t", token_until=NOON)
    orphan = house.folder("404")
    house.free_bytes = 0
    house.clock.advance(days=2)
    await house.keeping.once()
    # That part's work alone is undone.
    assert ((await house.song(1)).state is State.WAITING) is (failing == "_end_overdue")
    assert ((await house.song(3)).token is not None) is (failing == "_forget")
    assert orphan.exists() is (failing == "_remove_files")
    assert (house.incidents._open == set()) is (failing == "_watch_disk")
    assert f"housekeeping: {failing} failed" in caplog.text


async def test_it_goes_round_until_it_is_cancelled(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []

    async def pause(seconds: float) -> None:
        rounds.append(seconds)
        house.clock.advance(hours=6, seconds=1)
        if len(rounds) == 2:
            raise asyncio.CancelledError

    await add_held_song(house.database, house.credits, 1)
    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await house.keeping.run()
    assert rounds == [INTERVAL, INTERVAL]
    assert (await house.song()).status is Status.FAILED


async def test_a_cancelled_round_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a part catches, its cancellation is not a separate error."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(house.keeping, "_forget", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await house.keeping.once()
