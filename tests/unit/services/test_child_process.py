"""Starting child processes: their environment, their priority, their output."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services import child_process
from services.child_process import ROOT, TAIL, start, tail

PRINT_ENVIRONMENT = (
    "import json, os; print(json.dumps({'cwd': os.getcwd(), 'env': dict(os.environ)}))"
)


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


async def test_environment_has_what_the_child_needs_and_no_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "s3cret")
    monkeypatch.setenv("HOME", "/home/ours")
    monkeypatch.setenv("LC_ALL", "POSIX")
    child = await start(
        program(PRINT_ENVIRONMENT),
        niceness=5,
        pass_variables=("HOME", "PATH", "NOT_SET"),
        variables={"THREADS": "1", "PATH": "/bin"},
    )
    out, _ = await child.communicate()
    answer = json.loads(out)
    assert Path(answer["cwd"]) == ROOT
    expected = {"HOME": "/home/ours", "PATH": "/bin", "THREADS": "1", "LC_ALL": "POSIX"}
    assert expected.items() <= answer["env"].items()
    assert not answer["env"].keys() & {"DISCORD_TOKEN", "NOT_SET"}


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="Windows has none")
async def test_priority_of_a_child_is_lower() -> None:
    child = await start(program("input()"), niceness=19)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
    await child.communicate(b"\n")


def test_priority_of_an_ended_child_is_no_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    child_process._lower_priority(child.pid, 5)


async def test_program_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(child_process.CannotStartError, match="absent"):
        await start((str(tmp_path / "absent"),), niceness=5)


@pytest.mark.parametrize(
    ("output", "end"),
    [
        (b"", b""),
        (b" it broke\n", b"it broke"),
        (b"a" * TAIL + b"b" * (TAIL - 1) + b"c\n", b"b" * (TAIL - 2) + b"c"),
    ],
    ids=["nothing", "little", "much"],
)
async def test_tail_returns_the_end_of_the_output(output: bytes, end: bytes) -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(output)
    stream.feed_eof()
    assert await tail(stream) == end
