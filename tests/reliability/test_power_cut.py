"""The power is cut: a part of the database's log is on the disk, the rest is lost or rubbish.

An honest disk keeps what SQLite has synchronised, and a commit waits for that (`PRAGMA synchronous
= FULL`). A disk that lies loses the end of the log, at any byte; then the database is an earlier
one, while Discord and the song API remember.
"""

import asyncio
import bisect
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reliability.guarantees import broken_guarantees, wrong_balances
from tests.reliability.killable_bot import Nursery, nursery
from tests.reliability.killing import PATIENCE, forget_nonces
from tests.reliability.scenarios import QUICK, WAYS, ask, ask_for_what_fails
from tests.wire import Call, Fault, Hook, Interaction
from tests.wire.rest import MESSAGES
from tests.world.sockets import World, status_of, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="bots are forked")

Tail = Callable[[bytes], bytes]
"""What the disk has instead of the bytes that were lost."""
TAILS: Mapping[str, Tail] = {
    "nothing": lambda lost: b"",
    "zeros": lambda lost: bytes(len(lost)),
    "rubbish": lambda lost: random.Random(len(lost)).randbytes(len(lost)),
    "one bit": lambda lost: bytes([lost[0] ^ 1]) + lost[1:] if lost else b"",
}


EVERY_BYTE = 50_000
"""Bytes of the last transactions, three at most, that are cut at each: 3 ms a cut."""


MAGIC = (0x377F0682, 0x377F0683)
HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoints, two salts, two checksums
FRAME = struct.Struct(">6I")  # page, pages after a commit or 0, two salts, two checksums


@dataclass(frozen=True, slots=True)
class Wal:
    """SQLite's write-ahead log: https://www.sqlite.org/fileformat2.html#walformat"""

    content: bytes

    def __post_init__(self) -> None:
        (magic,) = struct.unpack_from(">I", self.content)
        if magic not in MAGIC:
            raise ValueError(f"no write-ahead log: it begins with {magic:#x}")

    @property
    def frame(self) -> int:
        """Bytes of a frame: a page and its header."""
        return FRAME.size + int(HEADER.unpack_from(self.content)[2])

    def boundaries(self) -> Iterator[tuple[int, bool]]:
        """Return where each frame ends, and whether a transaction does too.

        Frames of an earlier use of the file, which have other salts, are not counted.
        """
        salts = HEADER.unpack_from(self.content)[4:6]
        start = HEADER.size
        while start + self.frame <= len(self.content):
            _, pages, *found = FRAME.unpack_from(self.content, start)
            if tuple(found[:2]) != salts:
                return
            start += self.frame
            yield start, pages > 0

    def commits(self) -> list[int]:
        """Return where each transaction ends."""
        return [end for end, commit in self.boundaries() if commit]

    def damaged_from(self, at: int, instead: bytes) -> int:
        """Return the first byte that differs, with `instead` in place of all from `at` on.

        It may be later than `at`, since zeros may replace zeros.
        """
        pairs = zip(self.content[at:], instead, strict=False)
        differing = (n for n, (was, now) in enumerate(pairs) if was != now)
        return at + next(differing, len(instead))


@dataclass(frozen=True, slots=True)
class Disk:
    """A database and its log as a kill has left them, and a folder for what becomes of them."""

    database: bytes
    wal: Wal
    scratch: Path

    @classmethod
    def of(cls, world: World, scratch: Path) -> "Disk":
        file = world.folder / "data/songs.db"
        log = file.with_name("songs.db-wal")
        scratch.mkdir()
        return cls(file.read_bytes(), Wal(log.read_bytes()), scratch)

    def cut(self, at: int, tail: Tail = TAILS["nothing"]) -> Path:
        """The database as it is when the log was cut there."""
        file = self.scratch / "songs.db"
        for old in self.scratch.glob("songs.db*"):
            old.unlink()  # written over, it would take twice as long
        file.write_bytes(self.database)
        log = self.wal.content
        file.with_name("songs.db-wal").write_bytes(log[:at] + tail(log[at:]))
        return file

    def damaged_from(self, at: int, tail: Tail) -> int:
        """The first byte that is not as it was, when the log was cut there."""
        return self.wal.damaged_from(at, tail(self.wal.content[at:]))


def digest(file: Path) -> str:
    """Of all that is in a database, once SQLite has read its log.

    Read only: written back at its closing, a cut took 8 ms instead of 3.
    """
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        return hashlib.sha256(connection.serialize()).hexdigest()


@contextlib.asynccontextmanager
async def a_busy_hour(world: World, bots: Nursery, scratch: Path) -> AsyncIterator[Disk]:
    """A world with completed, failed and unfinished songs, and its disk."""
    WAYS["sync"].prepare(world)
    async with bots.bot(world, constants=QUICK) as bot:
        for begin in (ask, ask_for_what_fails, ask):
            await begin(world)
            for song in world.requested.values():
                await world.ended(song, PATIENCE)
        world.slow(running=60.0)
        await ask(world)
        last = await ask(world)
        await until(lambda: world.state(last) == "submitting")
        await bot.stop(signal.SIGKILL)
    yield await asyncio.to_thread(Disk.of, world, scratch)


async def test_the_log_is_cut_at_any_byte(
    world: World, tmp_path: Path, long: bool, figure: Callable[[str], None]
) -> None:
    """What is left ends with the last complete transaction: not one more, not one less."""
    async with nursery() as bots, a_busy_hour(world, bots, tmp_path / "scratch") as disk:
        commits = disk.wal.commits()
        assert len(commits) > 25
        states = [digest(disk.cut(end)) for end in commits]
        assert states[-1] != states[-2] != states[-3]
        cuts = every_cut(disk.wal) if long else sampled_cuts(disk.wal)
        wrong = []
        for at, name in cuts:
            complete = bisect.bisect_right(commits, disk.damaged_from(at, TAILS[name])) - 1
            if complete >= 0 and digest(disk.cut(at, TAILS[name])) != states[complete]:
                wrong.append((at, name))
        assert wrong == []
        figure(f"{len(cuts):,} cuts of {len(commits)} transactions")


def sampled_cuts(wal: Wal, seed: int = 7) -> list[tuple[int, str]]:
    """Some bytes of each of the last transactions, with each kind of tail."""
    choose = random.Random(seed)
    commits = wal.commits()
    return [
        (choose.randrange(begin, end), name)
        for begin, end in zip(commits[-21:], commits[-20:], strict=False)
        for name in TAILS
    ]


def every_cut(wal: Wal) -> list[tuple[int, str]]:
    """Every byte of the last transactions, and about the end of each frame of all."""
    *begins, end = wal.commits()[-4:]
    begin = next((at for at in begins if end - at <= EVERY_BYTE), begins[-1])
    ends = [end for end, _ in wal.boundaries()]
    some = {at + by for at in [HEADER.size, *ends] for by in (-1, 0, 1)} | set(ends[:1])
    about = [(at, name) for at in sorted(some) for name in TAILS if at <= end]
    return [(at, "nothing") for at in range(begin, end + 1)] + about


async def test_each_transaction_leaves_the_books_right(
    world: World, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """As the product itself opens and checks it: no credit is lost or counted twice."""
    async with nursery() as bots, a_busy_hour(world, bots, tmp_path / "scratch") as disk:
        commits = disk.wal.commits()
        for end in commits:
            found = await wrong_balances(disk.cut(end).parent)
            # Only the database is there, and no song's file.
            assert [text for text in found if not text.endswith("it is gone.")] == [], end
        figure(f"{len(commits)} states")


# --- the bot goes on from there -------------------------------------------------------------------


@pytest.mark.parametrize(
    "way", ["plain", "posted late", pytest.param("sync", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("files", ["with its files", "without its files"])
async def test_the_bot_goes_on_from_a_cut_log(
    files: str, way: str, world: World, tmp_path: Path, long: bool, figure: Callable[[str], None]
) -> None:
    """A song is posted and paid for; the power takes the last of that from the database.

    Its folder was removed meanwhile, or that was lost too. Discord has forgotten the nonce.
    """
    scenario = WAYS[way]
    scenario.prepare(world)
    constants = {**QUICK, **scenario.constants}
    data, kept = world.folder / "data", tmp_path / "kept"
    world.wire.faults.hook = keeping(data / "songs", kept, world.wire.faults.hook)
    forgotten: list[Interaction] = []

    async def one_cut(lost: int) -> bool:
        """A song loses its last `lost` transactions, and goes on; False if those were all."""
        async with bots.bot(world, constants=constants) as bot:
            song = await ask(world)
            await posted(world, song)
            await bot.stop(signal.SIGKILL)
        cut_log(data / "songs.db", lost)
        if world.row(song) is None:
            forgotten.append(world.requested.popitem()[1])
            return False
        if files == "with its files":
            shutil.copytree(kept, data / "songs", dirs_exist_ok=True)
        forget_nonces(world)
        async with bots.bot(world, constants=constants) as bot:
            await posted(world, song)
            assert await bot.stop() == 0
        return True

    async with nursery() as bots:
        lost = 1
        while await one_cut(lost):
            lost += 1 if long else 3
        # What the kills left behind is the housekeeping's.
        async with bots.bot(world, constants=constants) as bot:
            await until(lambda: not world.song_folders())
            assert await bot.stop() == 0
    assert lost > 6
    # The one whose request was lost is in the channel, and nothing was spent for it.
    (song,) = forgotten
    expected = [f"1 posts of {song.id}, nobody's song"]
    assert await broken_guarantees(world, most_submits=2) == expected
    assert {status_of(row) for row in world.rows("SELECT * FROM songs")} == {"COMPLETED"}
    figure(f"{len(world.requested)} songs, up to {lost - 1} of their transactions lost")


async def posted(world: World, song: Interaction) -> None:
    """Its row says that it is in its channel, and nothing more is to be shown."""

    def over() -> bool:
        row = world.row(song)
        return row is not None and row["post_id"] is not None and row["token"] is None

    await until(over, PATIENCE)


def keeping(songs: Path, kept: Path, then: Hook | None) -> Hook:
    """Copies what is in a song's folder as it is posted; `then` is what happens to the call."""

    async def keep(call: Call) -> Fault | None:
        if (call.method, call.route) == ("POST", MESSAGES):
            shutil.copytree(songs, kept, dirs_exist_ok=True)
        return await then(call) if then else None

    return keep


def cut_log(database: Path, lost: int) -> None:
    log = database.with_name("songs.db-wal")
    wal = Wal(log.read_bytes())
    ends = [0, *wal.commits()]
    log.write_bytes(wal.content[: ends[max(0, len(ends) - 1 - lost)]])
    database.with_name("songs.db-shm").unlink()  # it is no file of the disk's
