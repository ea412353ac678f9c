"""The picture of a server's usage, drawn by a child process that stays for some minutes.

Matplotlib is never imported here: it would stay in the bot's memory, and drawing would block the
event loop. The child (`services/reports/usage_plot.py`) starts for the first picture, draws the
next ones without that delay, and ends when it is idle. Measurements: docs/decisions/0013.
"""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import Process
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self, TypeVar

from db.errors import SongwrightError
from services import child_process

log = logging.getLogger(__name__)

T = TypeVar("T")

_PROGRAM = (sys.executable, "-m", "services.reports.usage_plot")
_FONT_VARIABLES = ("HOME", "USERPROFILE", "LOCALAPPDATA", "WINDIR")
"""They name the folders of the system's fonts."""
# Before the encoders of audio (`services/audio/transcoder.py`): here a person waits.
_NICENESS = 3
_LONGEST_LABEL = 100  # characters; a name on Discord has 32 at most, and some 15 are drawn
_LARGEST_PNG = 2 * 1024 * 1024


class CannotDraw(SongwrightError):
    """There is no picture: the child could not be started, died or took too long.

    `str()` is for the operator's log. The next picture is drawn by a new child.
    """


@dataclass(frozen=True, slots=True)
class UsagePicture:
    """The data of a picture. All figures are credits, at least 0.

    `days` come oldest first, `members` and `genres` highest first, as in a `UsageReport`: ten bars
    fit into a picture that Discord shows 350 px high. Labels may contain anything: characters that
    no font here can draw are left out.
    """

    title: str
    days: Sequence[tuple[date, int]]
    members: Sequence[tuple[str, int]]
    genres: Sequence[tuple[str, int]]

    def to_line(self) -> bytes:
        """Return one line of JSON, for the child."""
        fields = {
            "title": self.title[:_LONGEST_LABEL],
            "days": [(day.isoformat(), amount) for day, amount in self.days],
            "members": [(label[:_LONGEST_LABEL], amount) for label, amount in self.members],
            "genres": [(label[:_LONGEST_LABEL], amount) for label, amount in self.genres],
        }
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the picture that `to_line` wrote."""
        fields = json.loads(line)
        return cls(
            title=fields["title"],
            days=[(date.fromisoformat(day), amount) for day, amount in fields["days"]],
            members=[(label, amount) for label, amount in fields["members"]],
            genres=[(label, amount) for label, amount in fields["genres"]],
        )


class UsageArtist:
    """Draws pictures, one at a time; the others wait their turn.

    `cache` is a folder for Matplotlib's list of the system's fonts, created if absent; if it can't
    be written, each child scans the fonts again. `patience`: seconds that a caller waits at most.
    `linger`: seconds until an idle child ends.
    """

    def __init__(self, cache: Path, *, patience: float = 30.0, linger: float = 300.0) -> None:
        self._cache = cache.absolute()  # the child has another working directory
        self._patience = patience
        self._linger = linger
        self._turn = asyncio.Lock()
        self._child: _Child | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._closed = False

    async def draw(self, picture: UsagePicture) -> bytes:
        """Return the picture as a PNG, 1,100 px wide, under 150 KB.

        A cancellation ends the child that was drawing.

        Raises:
            CannotDraw: no child can be started, it died, `patience` is over, or this is closed.
        """
        line = picture.to_line()
        try:
            async with asyncio.timeout(self._patience), self._turn:
                return await self._draw_in_turn(line)
        except TimeoutError:
            raise CannotDraw(f"no picture within {self._patience:.0f} s") from None

    async def close(self) -> None:
        """End the child. Pending pictures fail with `CannotDraw`. May be called twice."""
        self._closed = True
        if self._child:
            self._child.kill()
        async with self._turn:
            if self._retiring:
                self._retiring.cancel()
            await self._end_child()

    async def _draw_in_turn(self, line: bytes) -> bytes:
        if self._retiring:
            self._retiring.cancel()
        if self._child and self._child.has_ended:
            await self._end_child()
        if self._child is None and not self._closed:
            self._child = await _Child.start(self._cache)
        if self._child is None or self._closed:
            raise CannotDraw("closed")
        drawn = False
        try:
            png = await self._child.draw(line)
            drawn = True
        finally:
            # A late answer would be taken for the next picture's.
            if not drawn:
                await self._end_child()
        self._retiring = _outliving(self._retire(), "retire the usage plotter")
        return png

    async def _retire(self) -> None:
        await asyncio.sleep(self._linger)
        async with self._turn:
            await self._end_child()

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child:
            await child.end()


class _Child:
    """A running `services.reports.usage_plot`: a line of JSON in, a length and a PNG out."""

    def __init__(self, process: Process) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018, S101 - three pipes
        self._process = process
        self._killed = False
        self._stdin, self._stdout = process.stdin, process.stdout
        self._stderr = _outliving(child_process.tail(process.stderr), "read stderr of the plotter")

    @classmethod
    async def start(cls, cache: Path) -> Self:
        """Start one. It ends with the bot, which closes its stdin.

        Raises:
            CannotDraw: the system can't start it.
        """
        try:
            process = await child_process.start(
                _PROGRAM,
                niceness=_NICENESS,
                pass_variables=_FONT_VARIABLES,
                # One thread: NumPy's own would take memory for nothing that is done here.
                variables={"MPLCONFIGDIR": str(cache), "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise CannotDraw(f"the child process can't be started: {error}") from error
        return cls(process)

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def draw(self, line: bytes) -> bytes:
        """Return the answer to one picture.

        Raises:
            CannotDraw: the child ended, or answered something malformed. It can't be used again.
        """
        # Not drained: the line is short, and a dead child is noticed by its missing answer.
        self._stdin.write(line)
        try:
            size = int(await self._stdout.readline())
            if not 0 < size <= _LARGEST_PNG:
                raise ValueError(f"{size} bytes")
            return await self._stdout.readexactly(size)
        except (ValueError, EOFError, ConnectionError) as error:
            raise CannotDraw("the child process ended, or answered something malformed") from error

    def kill(self) -> None:
        """Stop it at once, if it has not ended by itself."""
        # Only once: the second time Popen would see it dead and reap it, and asyncio's own watcher
        # would complain that it can't find it (Python 3.11).
        if not self._killed:
            self._killed = True
            with suppress(ProcessLookupError):
                self._process.kill()

    async def end(self) -> None:
        """Kill it, wait for its end and log what it wrote to stderr."""
        self.kill()
        await asyncio.shield(self._process.wait())
        if text := await asyncio.shield(self._stderr):
            log.warning("the usage plotter wrote: %s", text.decode(errors="replace"))


def _outliving(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a task without the context of the request that needed the picture."""
    return Context().run(asyncio.create_task, work, name=name)
