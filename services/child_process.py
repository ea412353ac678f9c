"""Child processes: programs that work for the bot, at a lower priority than its own.

For what must not happen in the bot's process: decoding bytes from outside, importing a library that
is large, holding the event loop for long.
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
"""Where the rooms are: a child imports them from there."""
TAIL = 4_000
"""Bytes that `tail` keeps."""

# Only what starting Python takes: a child has no business with our keys. The locale is among it,
# so that the name of a file is the same bytes to both.
_KEPT_VARIABLES = (
    *("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "SYSTEMROOT", "TEMP"),
    *("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8"),
)
# Windows wants to be told at the start; for the others see _step_back.
_CREATION_FLAGS: int = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0) | getattr(
    subprocess, "CREATE_NO_WINDOW", 0
)


class CannotStartError(SongwrightError, OSError):
    """The system won't start a program. No FileNotFoundError, which would be of the files it gets.

    Python itself is missing for a moment where the operator renews the bot's folder, say.
    """


async def start(
    program: Sequence[str],
    *,
    niceness: int,
    keep: Sequence[str] = (),
    told: Mapping[str, str] | None = None,
) -> Process:
    """Start a program in `ROOT`, with a pipe for each of its three streams.

    `niceness` is 1 to 19, 19 the nicest. Of the environment it gets what starting Python takes and
    the variables that `keep`
    names, and what it is `told`.

    Raises:
        CannotStartError, OSError: the system won't.
    """
    kept = {name: os.environ[name] for name in (*_KEPT_VARIABLES, *keep) if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**kept, **(told or {})},
            creationflags=_CREATION_FLAGS,
        )
    except FileNotFoundError as error:
        raise CannotStartError(error.errno, error.strerror, error.filename) from error
    _step_back(process.pid, niceness)
    return process


def _step_back(pid: int, niceness: int) -> None:
    """Let the bot go before the child, also on a busy machine.

    Done from here, since the child's imports alone take a tenth of a second.
    """
    if hasattr(os, "setpriority"):
        with suppress(OSError):  # it has ended already, or we are not allowed to
            os.setpriority(os.PRIO_PROCESS, pid, niceness)


async def tail(stream: asyncio.StreamReader) -> bytes:
    """Read to the end, and give the last `TAIL` bytes: a child can complain without end."""
    kept = b""
    while chunk := await stream.read(TAIL):
        kept = (kept + chunk)[-TAIL:]
    return kept.strip()
