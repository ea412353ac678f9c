"""Child processes of lower priority.

For work that the bot's process must not do: decoding foreign bytes, importing a large library,
blocking the event loop.
"""

import asyncio
import os
import subprocess
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from db.errors import SongwrightError

ROOT = Path(__file__).resolve().parents[1]
"""Where a child imports the packages from."""
TAIL = 4_000
"""Bytes that `tail` returns."""

# Only what Python needs to start, so no keys. The locale makes file names the same bytes to both.
_PASSED_VARIABLES = (
    *("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "SYSTEMROOT", "TEMP"),
    *("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8"),
)
# Windows takes the priority at the start; for the others see _lower_priority.
_CREATION_FLAGS: int = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0) | getattr(
    subprocess, "CREATE_NO_WINDOW", 0
)


class CannotStartError(SongwrightError, OSError):
    """The system can't start a program.

    Not a FileNotFoundError, which means the program's input. Python itself may be missing for a
    moment while the operator updates the bot's folder.
    """


async def start(
    program: Sequence[str],
    *,
    niceness: int,
    pass_variables: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Process:
    """Start a program in `ROOT`, with pipes for its three standard streams.

    `niceness`: 1 to 19. The environment has the variables that Python needs to start, those named
    in `pass_variables`, and `variables`.

    Raises:
        CannotStartError, OSError: the system can't start it.
    """
    names = (*_PASSED_VARIABLES, *pass_variables)
    passed = {name: os.environ[name] for name in names if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**passed, **(variables or {})},
            creationflags=_CREATION_FLAGS,
        )
    except FileNotFoundError as error:
        raise CannotStartError(error.errno, error.strerror, error.filename) from error
    _lower_priority(process.pid, niceness)
    return process


def _lower_priority(pid: int, niceness: int) -> None:
    """Give the bot precedence over the child at once: its imports alone take 0.1 s."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):  # it has ended, or permission is denied
            os.setpriority(os.PRIO_PROCESS, pid, niceness)


async def tail(stream: asyncio.StreamReader) -> bytes:
    """Read to the end and return the last `TAIL` bytes: a child may write without end."""
    last = b""
    while chunk := await stream.read(TAIL):
        last = (last + chunk)[-TAIL:]
    return last.strip()
