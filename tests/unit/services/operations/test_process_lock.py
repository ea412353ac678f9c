"""Two bots on one database or data folder: the second waits, and then says so."""

import asyncio
import contextlib
import errno
import logging
import os
from pathlib import Path

import pytest

from db import process_lock
from db.process_lock import ProcessLock
from services.errors import AlreadyRunning
from services.operations import process_lock as module
from services.operations.process_lock import exclusive_process


@pytest.mark.parametrize(
    ("database", "data_dir", "named"),
    [
        ("a/songs.db", "a", "songs.db"),
        ("a/songs.db", "b", "songs.db"),
        ("b/songs.db", "a", "a"),
    ],
    ids=["both", "one database", "one data folder"],
)
async def test_second_process_waits_and_then_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    database: str,
    data_dir: str,
    named: str,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.02)
    async with exclusive_process(tmp_path / "a/songs.db", tmp_path / "a"):
        with pytest.raises(AlreadyRunning, match=rf"still using .*{named}\. Stop it") as caught:
            await contextlib.AsyncExitStack().enter_async_context(
                exclusive_process(tmp_path / database, tmp_path / data_dir)
            )
    assert len(str(caught.value).splitlines()) == 1
    (line,) = caplog.messages
    assert line.startswith("another process is using")
    # Nothing of it is kept by who had to go.
    async with exclusive_process(tmp_path / database, tmp_path / data_dir):
        pass


async def test_the_second_goes_on_when_the_first_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    entered = asyncio.Event()

    async def second() -> None:
        async with exclusive_process(tmp_path / "songs.db", tmp_path):
            entered.set()

    async with exclusive_process(tmp_path / "songs.db", tmp_path):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.01)
        assert not entered.is_set()
    await asyncio.wait_for(waiting, 5)
    assert entered.is_set()


async def test_a_lock_that_never_comes_is_named_by_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On NFS without a lock manager the call does not return, and the process can't be killed."""

    class Hung(BaseException): ...

    def never(descriptor: int) -> None:
        raise Hung

    monkeypatch.setattr(process_lock, "_lock", never)
    with caplog.at_level(logging.INFO), pytest.raises(Hung):
        async with exclusive_process(tmp_path / "songs.db", tmp_path):
            pass
    assert caplog.messages == [f"locking {ProcessLock.for_file(tmp_path / 'songs.db').path}"]


async def test_without_locks_there_is_a_warning_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    async with exclusive_process(tmp_path / "songs.db", tmp_path) as locked:
        assert locked
    monkeypatch.setattr(process_lock, "_lock", refuse)
    async with exclusive_process(tmp_path / "songs.db", tmp_path) as locked:
        assert not locked
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "songs.db can't be locked (No locks available)" in caplog.messages[0]
