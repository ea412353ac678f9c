"""What a hostile file can't do from the process that decodes it, once it has taken it over."""

import asyncio
import ctypes
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from services.audio import transcoder
from services.audio.audio_file import Tags
from services.audio.transcoder import Transcoder
from services.errors import NotAudio
from tests.music import mp3
from tests.security import sandbox_probe

LANDLOCK: int = ctypes.CDLL(None).syscall(444, None, 0, 1) if sys.platform == "linux" else 0
"""Its version in this kernel; under 1 without it."""
needs_landlock = pytest.mark.skipif(LANDLOCK < 4, reason="this kernel has no Landlock with TCP")
needs_seccomp = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="this system has no seccomp"
)
TRIES = tuple(sandbox_probe.tries(0))
ALLOWED = ("import what decoding may need", "signal itself")
OF_FILES = (
    "read the parent's environment",
    "read the project's folder",
    "read the system's settings",
    "read the song's folder",
    "write next to the song",
    "write elsewhere",
    "remove the source",
)
BY_BOTH = ("connect by TCP", "listen", "become a program", "start a program", "trace the parent")
BY_SECCOMP = (
    "open a UDP socket",
    "open a Unix socket",
    "fork",
    "change a file's mode",
    "bound the parent",
    "slow down the parent",
    "signal the parent by a file",
    "reserve the disk",
    "keep a file in memory",
    "lift its bounds",
)
BY_BOUNDS = {
    "grow": "MemoryError",
    "grow by what could be shared": "OSError",
    "start a thread": "RuntimeError",
}
TAGS = Tags("", "", "", "", 1, 1)


def probed(folder: Path, layers: str) -> dict[str, str]:
    """What became of each try in the child that a song gets."""
    (folder / "source").write_bytes(mp3(1))
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        port = str(server.getsockname()[1])
        program = (sys.executable, "-m", sandbox_probe.__name__, layers, port)
        patch.setattr(transcoder, "_PROGRAM", program)
        patch.setattr(transcoder, "_LONGEST_MESSAGE", 4_000)
        patch.setenv("DISCORD_TOKEN", "s3cret")
        transcoding = Transcoder().transcode(
            folder / "source", folder, stem="song", limit=2**20, tags=TAGS, requested_seconds=1
        )
        with pytest.raises(NotAudio) as refused:
            asyncio.run(transcoding)
    outcomes: dict[str, str] = json.loads(refused.value.detail)
    return outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return probed(tmp_path_factory.mktemp("song"), "landlock+seccomp")


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("what", TRIES)
def test_hostile_file_is_confined(outcomes: dict[str, str], what: str) -> None:
    if what == "start a thread" and os.geteuid() == 0:
        pytest.skip("the kernel counts no threads of root's")
    expected = "done" if what in ALLOWED else BY_BOUNDS.get(what, "PermissionError")
    assert outcomes[what] == expected


@needs_landlock
def test_landlock_alone(tmp_path: Path) -> None:
    """Where seccomp is missing: everything but sockets that are no TCP, and other processes."""
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    outcomes = probed(tmp_path, "landlock")
    assert os.getpriority(os.PRIO_PROCESS, 0) == priority
    bounded = {} if os.geteuid() == 0 else {"start a program": "BlockingIOError"}
    for what in (*OF_FILES, *BY_BOTH):
        assert outcomes[what] == bounded.get(what, "PermissionError"), what
    # These are said to be open in docs/security.md.
    assert outcomes["open a UDP socket"] == "done"
    assert outcomes["fork"] == ("done" if os.geteuid() == 0 else "BlockingIOError")


@needs_seccomp
def test_seccomp_alone(tmp_path: Path) -> None:
    """Where Landlock is missing: files that this user can read are said to be open."""
    outcomes = probed(tmp_path, "seccomp")
    for what in (*BY_BOTH, *BY_SECCOMP):
        assert outcomes[what] == "PermissionError", what
    assert outcomes["read the system's settings"] == "done"
