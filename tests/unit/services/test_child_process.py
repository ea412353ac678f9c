"""Starting child processes: what they are told, their priority, and what they say."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services import child_process
from services.child_process import ROOT, TAIL, start, tail

TELLS = "import json, os; print(json.dumps({'at': os.getcwd(), 'told': dict(os.environ)}))"


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


async def test_a_child_is_told_what_it_needs_and_no_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "s3cret")
    monkeypatch.setenv("HOME", "/home/of/fonts")
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("LC_ALL", "POSIX")
    child = await start(
        program(TELLS), niceness=5, keep=("HOME", "NOT_THERE"), told={"THREADS": "1"}
    )
    out, _ = await child.communicate()
    answer = json.loads(out)
    assert Path(answer["at"]) == ROOT
    told = answer["told"]
    expected = {"HOME": "/home/of/fonts", "PATH": "/bin", "THREADS": "1", "LC_ALL": "POSIX"}
    assert expected.items() <= told.items()
    assert "DISCORD_TOKEN" not in told
    assert "NOT_THERE" not in told


async def test_what_it_is_told_goes_before_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ours")
    child = await start(program(TELLS), niceness=5, keep=("HOME",), told={"HOME": "/home/theirs"})
    out, _ = await child.communicate()
    assert json.loads(out)["told"]["HOME"] == "/home/theirs"


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="Windows has none")
async def test_a_child_steps_back() -> None:
    child = await start(program("input()"), niceness=19)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
    await child.communicate(b"\n")


def test_a_child_that_is_gone_cannot_step_back() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    child_process._step_back(child.pid, 5)  # no error: its answer tells all


async def test_what_can_not_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        await start((str(tmp_path / "absent"),), niceness=5)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"", b""),
        (b" it broke\n", b"it broke"),
        (b"a" * TAIL + b"b" * (TAIL - 1) + b"c\n", b"b" * (TAIL - 2) + b"c"),
    ],
    ids=["nothing", "little", "much"],
)
async def test_of_what_it_says_the_end_is_kept(said: bytes, kept: bytes) -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(said)
    stream.feed_eof()
    assert await tail(stream) == kept
