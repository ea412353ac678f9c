"""The real bot between a stand-in of Discord and the song API: what must hold whatever breaks."""

import asyncio
import errno
import gc
import logging
import os
import re
import signal
import sqlite3
import sys
import time
import types
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import discord
import pytest

import bot
from cogs.client import registration
from commands import run
from commands.database_services import default_settings
from db import process_lock
from db.process_lock import ProcessLock
from playground.song_api import Call as ApiCall
from playground.song_api import Fault as ApiFault
from services import logs
from services.config import load
from services.operations.housekeeping import Housekeeping
from services.retry import Backoff
from services.settings.settings import Defaults, Limits
from services.songs import scheduler
from tests.databases import write_new
from tests.music import is_mp3, music_to_encode, wav
from tests.wire import Fault, Interaction, Message
from tests.wire.state import Version
from tests.world.sockets import (
    SOON,
    SUBMIT,
    BotProcess,
    World,
    configure,
    own_process,
    running,
    set_environment,
    status_of,
    until,
    world_outside,
)

LYRICS = "[verse]\n<@1> Übung bei Nacht 夜"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_outside(tmp_path) as world:
        yield world


# --- as its own process ---------------------------------------------------------------------------


async def test_a_song_end_to_end(world: World) -> None:
    """The default length, over 10 MiB as the API makes it; everything is logged that can be.

    The locale knows ASCII alone, and the title is not.
    """
    world.slow(running=1.5)
    world.api._compose = music_to_encode
    async with own_process(world, LOG_LEVEL="DEBUG", LC_ALL="POSIX", PYTHONUTF8="0") as process:
        song = await world.song(seconds=60, genres="funk, @everyone", lyrics=LYRICS)
        post = await world.post()
        row = await world.ended(song)
        assert await process.stop() == 0
    assert world.posts == [post]
    check_post(world, post, song)
    check_status_message(song)
    assert "the bot is public: anybody can add it" in process.output
    assert (status_of(row), row["post_id"]) == ("COMPLETED", post.id)
    assert world.entries(song) == ["hold", "settle"]
    # No 429 among them. That bodies are as Discord describes them is checked by the wire.
    assert {status for _, _, status in world.wire.answers} == {200}
    (submit,) = [call for call in world.api.calls if call.path == SUBMIT]
    assert submit.body["lyrics"] == LYRICS
    assert f"seed {submit.body['seed']}" in shown(song.messages[0])
    check_secrets_are_nowhere(world, process, song)


def check_post(world: World, post: Message, song: Interaction) -> None:
    (file,) = post.attachments
    assert is_mp3(file.content or b"")
    assert file.filename == "1-1-übung-bei-nacht-夜.mp3"
    assert file.size < 10 * 2**20 < len(wav(60))
    assert post.nonce == str(song.id)
    assert post.pings.users == {world.alice.id}
    assert (post.pings.everyone, post.pings.roles) == (False, frozenset())


def check_status_message(song: Interaction) -> None:
    """Edits are 3 s apart, the last state is shown, and only the member sees it."""
    (status,) = song.messages
    assert status.ephemeral
    assert state(status.edits[0]) == "QUEUED"
    assert state(status.edits[-1]) == "COMPLETED"
    assert all(later.at - edit.at > 2.99 for edit, later in pairwise(status.edits))


def check_secrets_are_nowhere(world: World, process: BotProcess, song: Interaction) -> None:
    """After the end of a song."""
    assert "DEBUG" in process.output
    kept = [path for path in world.folder.rglob("*") if path.is_file()]
    assert world.folder / "data/songs.db" in kept
    ours = [world.folder / "data", *(world.folder / "data").rglob("*")]
    assert [path for path in ours if path.stat().st_mode & 0o077] == []
    for secret in (world.wire.token, world.api.key, song.token):
        assert secret not in process.output
        assert [path for path in kept if secret.encode() in path.read_bytes()] == []


def shown(message: Message) -> str:
    return str(message.embeds)


def state(version: Version) -> str:
    """The state that stands out in a status card."""
    match = re.search(r"\*\*(\w+)\*\*", str(version.embeds))
    return match[1] if match else ""


async def test_sigterm_ends_in_time_and_loses_nothing(world: World) -> None:
    """One song is being submitted, its answer slow; another waits; the gateway has gone silent."""
    begun = asyncio.Event()

    def slow(call: ApiCall) -> ApiFault | None:
        if call.path != SUBMIT:
            return None
        begun.set()
        return ApiFault(delay=1.0)

    world.api.fault = slow
    async with own_process(world, SEGMIND_CONCURRENCY="1") as process:
        first = await world.song()
        await asyncio.wait_for(begun.wait(), SOON)
        second = await world.song()
        await second.wait_message(lambda m: "**QUEUED**" in shown(m))
        assert await process.stop(signal.SIGTERM, within=10.0) == 0
    assert (world.state(first), world.submits()) == ("submitted", 1)
    assert world.state(second) == "waiting"
    world.api.fault = None
    async with own_process(world, SEGMIND_MODE="sync") as process:
        for song in (first, second):
            assert status_of(await world.over(song)) == "COMPLETED"
        assert await process.stop(signal.SIGINT) == 0
    assert (len(world.posts), world.submits()) == (2, 2)


# --- in this process ------------------------------------------------------------------------------


@pytest.fixture
def quick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Get songs in one call, and edit messages without pauses."""
    world.settings["SEGMIND_MODE"] = "sync"
    world.wire.limits.edit_interval = None
    monkeypatch.setattr("cogs.songs.announcer.BETWEEN_EDITS", 0.01)


async def test_the_same_interaction_twice_is_one_song(
    world: World, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(world, monkeypatch):
        song = await world.song()
        await world.wire.deliver_again(song)
        await world.ended(song)
        await world.wire.deliver_again(song)  # and once more, long after
        await world.wire.until(lambda: answered(world, 400) == 2)
    assert len(world.posts) == world.submits() == 1
    assert world.entries(song) == ["hold", "settle"]
    assert len(world.rows("SELECT * FROM songs")) == 1


def answered(world: World, status: int) -> int:
    return sum(n for (_, _, s), n in world.wire.answers.items() if s == status)


async def test_a_refused_token_says_how_to_get_one(world: World) -> None:
    process = BotProcess(world.folder, world.settings | {"DISCORD_TOKEN": "a.wrong.token"})
    await process.start()
    assert await process.ended() == 2
    assert "DISCORD_TOKEN" in process.output
    assert "Reset Token" in process.output
    for unwanted in ("a.wrong.token", "Unclosed", "Traceback"):
        assert unwanted not in process.output


# --- two bots on one data folder ------------------------------------------------------------------


async def test_a_second_bot_waits_for_the_first_and_continues_its_songs(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a rolling deployment: the new one is started before the old one is stopped."""
    monkeypatch.setattr("services.operations.process_lock.POLL_INTERVAL", 0.01)
    world.slow(running=1.5)
    async with running(world, monkeypatch):
        songs = [await world.song() for _ in range(2)]
        await until(lambda: {world.state(song) for song in songs} == {"submitted"})
        second = asyncio.create_task(run_here(world, monkeypatch))
        await until(lambda: "songs.db: waiting up to 60 s for it to stop" in caplog.text)
        assert world.wire.gateway.identifies == 1
    try:
        for song in songs:
            assert status_of(await world.ended(song)) == "COMPLETED"
    finally:
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    assert (len(world.posts), world.submits()) == (2, 2)


@pytest.mark.parametrize("locks", [True, False])
async def test_the_scheduler_knows_whether_the_lock_is_exclusive(
    world: World, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    exclusive: list[bool] = []
    began = scheduler.Scheduler.__init__

    def begin(new: scheduler.Scheduler, *given: Any, **named: Any) -> None:
        exclusive.append(named["exclusive"])
        began(new, *given, **named)

    monkeypatch.setattr(scheduler.Scheduler, "__init__", begin)
    if not locks:
        monkeypatch.setattr(process_lock, "_lock", refuse)
    async with running(world, monkeypatch):
        pass
    assert exclusive == [locks]


async def test_a_second_bot_can_be_stopped_while_it_waits(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stops: list[Callable[[], None]] = []
    async with running(world, monkeypatch):
        monkeypatch.setattr(run, "_on_signals", stops.append)
        second = asyncio.create_task(run_here(world, monkeypatch))
        await until(lambda: "waiting up to" in caplog.text)
        stops[0]()
        assert await asyncio.wait_for(second, SOON) == 0


# --- the data folder ------------------------------------------------------------------------------


async def test_a_data_folder_of_an_earlier_version_goes_on(
    world: World, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = world.folder / "data"
    (data / "songs/7").mkdir(parents=True)
    (data / "lost+found").mkdir()
    await write_new(data / "songs.db")
    (data / "songs.db").chmod(0o644)
    async with running(world, monkeypatch):
        await until(lambda: not (data / "songs/7").exists())  # no song of ours needs it
        assert (data / "songs.db").stat().st_mode & 0o777 == 0o600
    assert (data / "lost+found").is_dir()


# --- the end of the bot ---------------------------------------------------------------------------


async def test_the_bot_ends_with_the_error_of_a_background_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(_: Housekeeping) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(Housekeeping, "run", die)
    with pytest.raises(RuntimeError, match="on fire"):
        await asyncio.wait_for(run_here(world, monkeypatch), SOON)


async def test_a_signal_stops_a_bot_that_waits_for_the_login(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def silent(_: Any) -> Fault | None:
        await until(lambda: bot.main(["health"]) == 0)  # it waits, and is well
        stops[0]()
        await asyncio.sleep(1.0)
        return None

    stops: list[Callable[[], None]] = []
    monkeypatch.setattr(run, "_on_signals", stops.append)
    world.wire.faults.hook = silent
    assert await asyncio.wait_for(run_here(world, monkeypatch), SOON) == 0
    assert world.wire.gateway.identifies == 0
    gc.collect()  # asyncio logs an unretrieved error when it is collected
    assert "never retrieved" not in caplog.text


async def test_refused_commands_do_not_stop_the_bot(
    world: World, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "BACKOFF", Backoff(first=0.01, longest=0.01))
    route = "/applications/{application_id}/commands"
    refused = Fault(status=400, body={"message": "no", "code": 30034})
    world.wire.faults.plan(refused, method="PUT", route=route, times=3)
    async with running(world, monkeypatch):
        await world.wire.until(lambda: world.wire.state.command_puts == 1)
        assert "song" in {command["name"] for command in world.wire.state.commands}


async def test_a_silent_gateway_does_not_delay_the_end(
    world: World, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(run, "GOODBYE", 0.05)
    async with running(world, monkeypatch) as client:
        monkeypatch.setattr(client._connection, "close", never)
    assert "did not answer the end" in caplog.text


@pytest.mark.parametrize(
    ("public", "allowed", "level", "says"),
    [
        (True, frozenset(), logging.WARNING, "public: anybody can add it to a server"),
        (True, frozenset({1}), logging.INFO, "ALLOWED_SERVERS lets only the listed servers"),
        (False, frozenset(), logging.INFO, "private: only its owner"),
    ],
)
def test_the_log_says_who_can_add_the_bot(
    public: bool,
    allowed: frozenset[int],
    level: int,
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    client: Any = types.SimpleNamespace(application=types.SimpleNamespace(bot_public=public))
    settings: Any = types.SimpleNamespace(allowed_servers=allowed)
    run._log_who_can_add_it(client, settings)
    (record,) = caplog.records
    assert record.levelno == level
    assert says in record.getMessage()


def test_the_configuration_gives_the_default_settings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"DISCORD_TOKEN": "x", "SEGMIND_API_KEY": "y"}
    set_environment(monkeypatch, world.folder, secrets)
    assert default_settings(load()) == Defaults(limits=Limits(cooldown=5), hourly_refunds=10)


async def test_every_button_and_menu_outlives_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(world, monkeypatch)
    async with bot.composed(load()) as application:
        await application.add_cogs()
    known = set(application.client._connection._view_store._dynamic_items.values())
    ours = {
        kind for kind in concrete(discord.ui.DynamicItem) if kind.__module__.startswith("cogs.")
    }
    assert ours
    assert known == ours


def concrete(kind: type) -> list[type]:
    """Every subclass that has none itself."""
    below: list[type] = kind.__subclasses__()
    return [each for child in below for each in concrete(child)] if below else [kind]


async def run_here(world: World, monkeypatch: pytest.MonkeyPatch) -> int:
    configure(world, monkeypatch)
    return await run.run(load(), bot.composed)


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        (4004, 2, "DISCORD_TOKEN is refused by Discord: it was reset"),
        (4011, 1, "more shards for this bot's servers (gateway close code 4011). Start it again"),
        (4014, 2, "the way this bot connects (gateway close code 4014)"),
    ],
)
async def test_a_connection_that_discord_refuses_permanently_ends_the_bot(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    code: int,
    status: int,
    says: str,
) -> None:
    """Connecting again would be refused again (Discord.Net 1600, Discord4J 656)."""
    async with running(world, monkeypatch, status=status):
        await until(lambda: world.rows("SELECT 1 FROM servers WHERE name IS NOT NULL"))
        world.wire.gateway.close(code)
    assert says in capsys.readouterr().err + caplog.text
    assert "Traceback" not in caplog.text


EXAMPLE = {"DISCORD_TOKEN": "a.bot.token", "SEGMIND_API_KEY": "SG_0123456789abcdef"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, with valid configuration; the log stays with pytest."""
    set_environment(monkeypatch, tmp_path, EXAMPLE)
    monkeypatch.setattr(logs, "set_up", lambda *_: None)
    return tmp_path


def test_a_running_neighbour_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.operations.process_lock.TIMEOUT", 0.0)
    lock = ProcessLock(here / "data/songwright.lock")
    lock.path.parent.mkdir()
    assert lock.acquire()
    assert bot.main(["run"]) == 1
    lock.release()
    (line,) = caplog.messages
    assert line.startswith("can't run: Another Songwright process is still using data. Stop it, or")
    assert not (here / "data/songs.db").exists()


@pytest.mark.parametrize("folder", ["songs", "exports"])
def test_a_data_folder_with_other_peoples_files_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    """The folder of a music collection, say: its numbered albums were taken for songs."""
    album = here / "data" / folder / "1999"
    album.mkdir(parents=True)
    for _ in range(2):  # the first start must not make a database, which the second would trust
        assert bot.main(["run"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"data/{folder} has files that may not be Songwright's")
    assert album.is_dir()


@pytest.mark.parametrize(
    ("error", "text", "traced"),
    [
        (RuntimeError("a slip"), "a slip", True),
        (sqlite3.OperationalError("no such disk"), "can't run: OperationalError: no such", False),
        (PermissionError(13, "denied", "x.lock"), "x.lock can't be used: denied. Let the", False),
        (FileExistsError(17, "exists", "x"), "x can't be used: it is a file, but a folder", False),
    ],
)
def test_an_error_that_ends_the_bot_is_logged(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    text: str,
    traced: bool,
) -> None:
    async def failing(*_: Any) -> int:
        raise error

    monkeypatch.setattr(bot, "run", failing)
    assert bot.main(["run"]) == bot.main([]) == 1
    assert text in caplog.text
    assert ("Traceback" in caplog.text) is traced


def test_a_missing_variable_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY")
    for command in ([], ["run"], ["health"]):
        assert bot.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("SEGMIND_API_KEY is missing")


def test_health(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bot.main(["health"]) == 1
    assert capsys.readouterr().err.startswith("No heartbeat in data for 60 s: the bot is not")
    beat = here / "data/heartbeat"
    beat.parent.mkdir()
    beat.touch()
    assert bot.main(["health"]) == 0
    old = time.time() - 61
    os.utime(beat, (old, old))
    assert bot.main(["health"]) == 1


def test_play_is_the_playground(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[bool] = []

    def play(compose: object, *, once: bool) -> int:
        assert compose == bot.composed
        played.append(once)
        return 7

    playground = types.SimpleNamespace(play=play)
    monkeypatch.setitem(sys.modules, "playground.discord", playground)
    assert bot.main(["play", "--once"]) == 7
    assert bot.main(["play"]) == 7
    assert played == [True, False]


def test_play_without_its_parts_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "playground.discord", None)
    assert bot.main(["play"]) == 2
    assert "make play" in capsys.readouterr().err


async def test_signals_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError

    handlers: dict[int, Callable[..., None]] = {}
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    stopped = asyncio.Event()
    run._on_signals(stopped.set)
    assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    await asyncio.wait_for(stopped.wait(), SOON)
