"""The audio encoder as it is, but that it tries what a hostile file would once it decodes.

`python -m tests.security.sandbox_probe LAYERS PORT`. The error's text says what each attempt did.
"""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from services.audio import encoder, sandbox
from services.errors import NotAudio

PARENT = os.getppid()
LIBC = ctypes.CDLL(None, use_errno=True)


def tries(port: int) -> dict[str, Callable[[], object]]:
    """By what it would be to a reader of the docs."""
    here, root = Path.cwd(), Path(__file__).parents[2]

    def connect() -> None:
        with socket.socket() as opened:
            opened.connect(("127.0.0.1", port))

    def bind() -> None:
        with socket.socket() as opened:
            opened.bind(("127.0.0.1", 0))

    return {
        "read the parent's environment": Path(f"/proc/{PARENT}/environ").read_bytes,
        "read the project's folder": (root / "README.md").read_bytes,
        "read the system's settings": Path("/etc/passwd").read_bytes,
        "read the song's folder": lambda: list(here.iterdir()),
        "write next to the song": lambda: (here / "av.py").write_text("import this"),
        "write elsewhere": lambda: (here.parent / "escaped").write_text("x"),
        "remove the source": (here / "source").unlink,
        "connect by TCP": connect,
        "listen": bind,
        "open a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "open a Unix socket": lambda: socket.socket(socket.AF_UNIX),
        "become a program": lambda: os.execv(sys.executable, ["python"]),
        "start a program": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "fork": fork,
        "signal the parent": lambda: os.kill(PARENT, 0),
        "trace the parent": lambda: called(LIBC.ptrace(16, PARENT, None, None)),
        "change a file's mode": lambda: (here / "source").chmod(0o600),
        "bound the parent": lambda: resource.prlimit(PARENT, resource.RLIMIT_CORE),
        # As fast as it is: where this is open, the tests that come later would run at its pace.
        "slow down the parent": lambda: os.setpriority(
            os.PRIO_PROCESS, PARENT, os.getpriority(os.PRIO_PROCESS, PARENT)
        ),
        "signal the parent by a file": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, PARENT),
        "reserve the disk": lambda: called(LIBC.fallocate(0, 1, 0, 1)),
        "keep a file in memory": lambda: os.memfd_create("x"),
        "lift its bounds": lift,
        "grow": lambda: bytearray(2 * encoder.MEMORY),
        "grow by what could be shared": lambda: mmap.mmap(-1, 2 * encoder.MEMORY),
        "import what decoding may need": lambda: __import__("encodings.cp037"),
        "start a thread": start_thread,
        "signal itself": lambda: os.kill(os.getpid(), 0),
    }


def lift() -> None:
    for what in (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        with contextlib.suppress(ValueError):  # Python's word for EPERM here
            resource.setrlimit(what, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return
    raise PermissionError


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def start_thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except (OSError, MemoryError, RuntimeError) as error:
        return type(error).__name__
    return "done"


def main() -> None:
    layers, port = sys.argv[1].split("+"), int(sys.argv[2])
    if "landlock" not in layers:
        sandbox._landlock = lambda libc: 0
    if "seccomp" not in layers:
        sandbox._seccomp = lambda libc: False

    def probe(source: BinaryIO) -> NoReturn:
        outcomes: dict[str, Any] = {name: outcome(one) for name, one in tries(port).items()}
        raise NotAudio(json.dumps(outcomes))

    encoder.measure = probe
    encoder.main()


if __name__ == "__main__":
    main()
