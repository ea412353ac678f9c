"""Terminal commands, while the bot runs or not."""

import asyncio
import errno
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

import bot
from db import servers
from db.database import Database
from db.errors import SchemaTooOldError
from db.migrate import migrations
from db.records import Reason, State
from services.clock import utc_now
from services.operations.process_lock import exclusive_process
from services.settings.settings import Member
from tests.databases import write_new
from tests.factories import SERVER, add_song, make_credits
from tests.small_disk import small_disk
from tests.unit.db.test_errors import damage

ROOT = Path(bot.__file__).parent


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with its settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    monkeypatch.setenv("SEGMIND_API_KEY", "key")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///songs.db")
    return tmp_path


@pytest.fixture
async def running_bot(here: Path) -> AsyncIterator[Database]:
    """A database that a running bot has open."""
    database = await Database.open(here / "songs.db")
    async with database.write() as connection:
        await servers.ensure_server(connection, SERVER)
        await servers.set_name(connection, SERVER, "One")
    yield database
    await database.close()


def call(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the operator does, in a separate process."""
    return subprocess.run(
        [sys.executable, str(ROOT / "bot.py"), *arguments],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


Main = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def main(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """`bot.main` in this process, since starting one takes 1 s: its status, output and errors."""
    monkeypatch.setattr("services.logs.set_up", lambda *_: None)

    async def call(*arguments: str) -> tuple[int, str, str]:
        try:
            status = await asyncio.to_thread(bot.main, list(arguments))
        except SystemExit as end:  # raised by argparse
            status = cast("int", end.code)
        return (status, *capsys.readouterr())

    return call


async def test_a_grant_while_the_bot_runs(here: Path, running_bot: Database) -> None:
    done = call(here, "grant", str(SERVER), "7", "5", "--reason", "for the contest")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Member 7 got 5 credits and has 5 now.\n"
    credits = make_credits(running_bot, utc_now)
    standing = await credits.statement(Member(SERVER, 7), entries=5)
    assert standing.balance.free == 15
    assert "for the contest" in [entry.reason for entry in standing.entries]
    listed = call(here, "servers")
    assert listed.returncode == 0
    assert f"{SERVER}    One" in listed.stdout
    assert "Could not be posted" not in listed.stdout


async def test_a_closed_pipe_is_no_error(here: Path, running_bot: Database) -> None:
    """As in `bot.py servers | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        command = [sys.executable, str(ROOT / "bot.py"), "servers"]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=here, stdout=closed, stderr=subprocess.PIPE
        )
        _, said = await process.communicate()
    assert (process.returncode, said) == (1, b"")


async def test_servers_lists_undelivered_songs(
    here: Path, running_bot: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a locale that knows ASCII alone; the server's name is more than that."""
    monkeypatch.setenv("LC_ALL", "POSIX")
    monkeypatch.setenv("PYTHONUTF8", "0")
    async with running_bot.write() as connection:
        await servers.set_name(connection, SERVER, "Über")
    await add_song(
        running_bot, state=State.UNDELIVERED, reason=Reason.CHANNEL_GONE, file="1-song.mp3"
    )
    listed = call(here, "servers")
    assert "\\xdcber" in listed.stdout
    assert listed.stdout.endswith(
        "Could not be posted yet: 1\n  1 since 2026-03-14 12:00 UTC: channel_gone\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("99", "7", "5", "--reason", "x"), "There is no server 99"),
        ((str(SERVER), "7", "0", "--reason", "x"), "between 1 and 1,000,000"),
        ((str(SERVER), "7", "-5", "--reason", "x"), "between 1 and 1,000,000"),
        ((str(SERVER), "7", "5", "--reason", " "), "Please give a reason"),
        ((str(SERVER), "alice", "5", "--reason", "x"), "'alice' is no id"),
        ((str(SERVER), "9" * 19, "5", "--reason", "x"), "is no id"),
        ((str(SERVER), "7", "5"), "--reason"),
    ],
)
async def test_an_invalid_grant_is_refused(
    here: Path, running_bot: Database, arguments: tuple[str, ...], sentence: str, main: Main
) -> None:
    status, _, errors = await main("grant", *arguments)
    assert status == 2
    assert sentence in errors
    rows = await running_bot.reader.execute_fetchall("SELECT count(*) AS n FROM ledger")
    assert [row["n"] for row in rows] == [0]


async def test_a_grant_in_a_left_server_is_refused(
    here: Path, running_bot: Database, main: Main
) -> None:
    async with running_bot.write() as connection:
        await servers.mark_left(connection, SERVER, at=utc_now())
    status, _, errors = await main("grant", str(SERVER), "7", "5", "--reason", "x")
    assert status == 2
    assert "The bot has left server" in errors
    server = await servers.get_server(running_bot.reader, SERVER)
    assert server is not None
    assert server.left_at is not None


async def test_a_check_while_the_bot_runs(here: Path, running_bot: Database) -> None:
    assert call(here, "grant", str(SERVER), "7", "5", "--reason", "x").returncode == 0
    async with running_bot.write() as connection:
        await connection.execute("UPDATE lots SET remaining = 1 WHERE kind = 'grant'")
    done = call(here, "check")
    assert done.returncode == 1
    assert done.stdout.startswith("problem  Lot grant:operator:")
    assert done.stdout.endswith("1 problem, 0 fixed.\n")
    done = call(here, "check", "--fix")
    assert (done.returncode, done.stdout[:6]) == (0, "fixed ")
    assert call(here, "check").stdout == "No problems found.\n"


COMMANDS = [("servers",), ("check",), ("grant", str(SERVER), "7", "5", "--reason", "x")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_a_command_without_a_database_makes_none(
    here: Path, command: tuple[str, ...], main: Main
) -> None:
    status, _, errors = await main(*command)
    assert status == 2
    assert errors.startswith("There is no database at songs.db. Run this where the bot runs, or")
    assert not (here / "songs.db").exists()


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make this code a version that has one more migration."""

    def switch() -> None:
        ours = list(migrations())
        more = [*ours, (ours[-1][0] + 1, "CREATE TABLE later (a);")]
        monkeypatch.setattr("db.migrate.migrations", lambda: iter(more))

    return switch


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_no_command_changes_the_schema_under_a_running_bot(
    here: Path,
    running_bot: Database,
    command: tuple[str, ...],
    newer: Callable[[], None],
    main: Main,
    caplog: pytest.LogCaptureFixture,
) -> None:
    newer()
    async with exclusive_process(here / "songs.db", here / "data"):
        assert (await main(*command))[0] == 1
        (row,) = await running_bot.reader.execute_fetchall("SELECT max(number) FROM migrations")
        assert row[0] == list(migrations())[-1][0]
    assert caplog.messages == [
        (
            "can't run: songs.db was written by an earlier version, and a running bot may be using "
            "it. Start the bot with this version first: it brings the database up to date."
        )
    ]
    # No process uses it now.
    assert (await main(*command))[0] == 0
    (row,) = await running_bot.reader.execute_fetchall("SELECT max(number) FROM migrations")
    assert row[0] == list(migrations())[-1][0] + 1
    assert (await main(*command))[0] == 0


async def test_without_locks_no_command_changes_the_schema(
    here: Path,
    running_bot: Database,
    newer: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a file system without locks."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    newer()
    monkeypatch.setattr("db.process_lock._lock", refuse)
    with pytest.raises(SchemaTooOldError):
        await Database.open(here / "songs.db", while_bot_runs=True)


def test_a_start_on_a_full_disk(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.logs.set_up", lambda *_: None)
    with small_disk(here / "data", mebibytes=1) as disk:
        disk.fill()
        assert bot.main(["run"]) == 1
    (line,) = caplog.messages
    assert re.fullmatch(
        r"can't run: data/songs/\.songwright can't be written: No space left on device\. "
        r"Make room on that disk, then run this again\.",
        line,
    )


async def test_a_command_on_a_full_disk(
    here: Path, monkeypatch: pytest.MonkeyPatch, main: Main, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(here / "disk", mebibytes=2) as disk:
        monkeypatch.setenv("DATABASE_URL", "sqlite:///disk/songs.db")
        await write_new(disk.folder / "songs.db")
        disk.fill()
        assert (await main("servers"))[0] == 1
    (line,) = caplog.messages
    assert line.startswith("can't run: disk/songs.db can't be written: the disk is full, over its")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_a_database_that_can_not_be_opened(
    here: Path, command: tuple[str, ...], main: Main, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is named, and no thread logs a trace."""
    (here / "songs.db").mkdir()
    assert (await main(*command))[0] == 1
    (line,) = caplog.messages
    assert line.startswith(
        "can't run: songs.db can't be used (unable to open database file: Is a directory)"
    )


@pytest.mark.parametrize("table", ["servers", "migrations"])
async def test_a_check_of_a_damaged_file(here: Path, table: str, main: Main) -> None:
    """Also where the damage keeps the database from being opened."""
    await write_new(here / "songs.db")
    await asyncio.to_thread(damage, here / "songs.db", table)
    for arguments in (["check"], ["check", "--fix"]):
        status, output, _ = await main(*arguments)
        assert status == 1
        assert f"problem  The file is damaged: the table {table} can't be read" in output
        assert output.endswith(" problems, 0 fixed.\n")
