"""The file whose age says that the bot is alive."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from services.operations import heartbeat


def aged(data_dir: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(heartbeat.path(data_dir), (then, then))


def test_without_a_beat_nobody_is_alive(tmp_path: Path) -> None:
    assert not heartbeat.alive(tmp_path)
    assert not heartbeat.alive(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("seconds", "alive"), [(0, True), (45, True), (61, False), (-30, True), (-7_200, False)]
)
def test_a_beat_counts_for_a_minute(tmp_path: Path, seconds: float, alive: bool) -> None:
    heartbeat.path(tmp_path).touch()
    aged(tmp_path, seconds)
    assert heartbeat.alive(tmp_path) is alive


async def test_a_beat_that_fails_does_not_end_the_bot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await heartbeat.beat(tmp_path / "gone")
    assert caplog.text.count("no heartbeat") == 2


async def test_it_beats_until_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    ages: list[bool] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        ages.append(heartbeat.alive(tmp_path))
        aged(tmp_path, 100)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await heartbeat.beat(tmp_path)
    assert pauses == [heartbeat.INTERVAL] * 3
    assert ages == [True] * 3
    assert heartbeat.INTERVAL * 2 < heartbeat.MAX_AGE
