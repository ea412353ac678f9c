"""Making the audio of a song fit for the channel.

The bytes come from outside, so they are decoded in a process of their own, one for each song
(`services/audio/encoder.py`): a decoder that crashes, hangs or eats memory takes one song
with it and not the bot, cancelling is a kill, and PyAV is never imported here. Starting it costs
0.13 s, a tenth of what encoding a minute takes; a pool of processes that stay saves that, but
keeps 50 MB for each of them, and killing one breaks all of a `ProcessPoolExecutor`.
"""

import asyncio
import errno
import io
import json
import logging
import sys
import tempfile
import wave
from asyncio.subprocess import Process
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from services import child_process
from services.audio.audio_file import AudioFormat, Tags
from services.errors import AudioError, DoesNotFit, NotAudio, SilentAudio, TooShort

log = logging.getLogger(__name__)

T = TypeVar("T")

_PROGRAM = (sys.executable, "-m", "services.audio.encoder")
_NICENESS = 5
"""Beside one busy process on each core a child gets a quarter of it: see docs/decisions/0029."""

_ATTEMPTS = 2
_LONGEST_MESSAGE = 300
"""Characters of what a child says to the song's member; ours are shorter."""

LOWEST_LIMIT = 1024 * 1024
_NO_TAGS = Tags(title="", artist="", genres="", lyrics="", seed=0, number=0)
_REFUSED = "SandboxRefused"
_UNREADABLE = "The song API sent something that can't be played."
_CHILD_ERRORS: dict[str, type[AudioError]] = {
    error.__name__: error for error in (NotAudio, TooShort, SilentAudio, DoesNotFit)
}


@dataclass(frozen=True, slots=True)
class Transcoded:
    """A file ready to be posted. `seconds` is measured by decoding, `size` is in bytes."""

    path: Path
    format: AudioFormat
    seconds: float
    size: int


class Transcoder:
    """Makes songs fit for posting, `at_once` at a time; the others wait their turn.

    Each song is a short-lived child process of low priority. It ends with its `fit`, whether
    that is done, cancelled or out of time, and by itself should the bot die.
    """

    def __init__(self, *, at_once: int = 2) -> None:
        self._sandboxed = True
        self._places = asyncio.Semaphore(at_once)
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def fit(
        self, source: Path, folder: Path, *, stem: str, limit: int, tags: Tags, asked_seconds: int
    ) -> Transcoded:
        """Write `source`, tagged and at most `limit` bytes long, to `folder` as `<stem>.<format>`.

        MP3, Vorbis, Opus and AAC that fit are copied, packet by packet, to MP3, Ogg or M4A with
        our tags and nothing else. All else becomes MP3 at the best bit rate that fits. The decoder
        decides what is audio; NaN and infinity are silence. The file appears whole or not at all,
        replacing one of the same name. `source` is left alone.

        Raises:
            NotAudio: not one of our formats, empty, endless, or the decoder crashed or hung.
            TooShort: less than half of `asked_seconds`, as decoded.
            SilentAudio: it peaks at -70 dBFS at most.
            DoesNotFit: over `limit` even at the lowest bit rate.
            OSError: the disk is full, a path can't be used, or no process can be started: not the
                song's fault, so it may be tried again.
        """
        if self._closed:
            raise RuntimeError("the fitter is closed")
        job = _Job(source, folder, stem, limit, asked_seconds, tags, sandboxed=self._sandboxed)
        return await self._owned(self._in_turn(job), name=f"fit {stem}")

    async def check_sandbox(self) -> None:
        """Fit a short sound: songs go without the sandbox where it alone refuses that.

        For the start, so that a defect of it shows before a song fails. What is missing of it on
        this system is logged. A disk that is full, or a machine too busy or too short of memory to
        tell, changes nothing.
        """
        await self._owned(self._check_sandbox(), name="check the sandbox")

    async def _owned(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Its result; `close` cancels it."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await task

    async def _check_sandbox(self) -> None:
        answer = await _fit_tone(sandboxed=True)
        if answer.get("error") not in (None, OSError.__name__):
            without = await _fit_tone(sandboxed=False)
            self._sandboxed = "error" in without
            if self._sandboxed:
                answer["error"] = OSError.__name__
        _log_sandbox(answer)

    async def close(self) -> None:
        """Cancel what runs or waits, and return when no child is left."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _in_turn(self, job: "_Job") -> Transcoded:
        async with self._places:
            try:
                answer = await _run_child(job)
                # No await from here on: a cancelled song leaves no file behind.
                return _publish(answer, job)
            finally:
                _discard(job.part)


@dataclass(frozen=True, slots=True)
class _Job:
    source: Path
    folder: Path
    stem: str
    limit: int
    asked_seconds: int
    tags: Tags
    sandboxed: bool = True

    @property
    def part(self) -> Path:
        """Where the child writes; on the result's own file system, for the rename."""
        return self.folder / f".{self.stem}.part"

    @property
    def patience(self) -> float:
        """Seconds to wait for a child: encoding as fast as the song plays is in time."""
        return 30.0 + self.asked_seconds

    def to_line(self) -> bytes:
        """One line of JSON. The child has its own working directory, so paths are absolute."""
        fields = {
            "source": str(self.source.absolute()),
            "part": str(self.part.absolute()),
            "limit": self.limit,
            "asked_seconds": self.asked_seconds,
            "tags": asdict(self.tags),
            "sandboxed": self.sandboxed,
        }
        return json.dumps(fields).encode() + b"\n"


def _publish(answer: dict[str, Any], job: _Job) -> Transcoded:
    """Turn a child's answer into its error, or into the finished file."""
    if error := _CHILD_ERRORS.get(answer.get("error", "")):
        raise error(answer["message"])
    if answer.get("error") == _REFUSED:
        log.error("A defect: the sandbox refused the audio encoder a file: %s", answer["message"])
        raise NotAudio("The song could not be prepared for the channel.")
    if "error" in answer:
        raise OSError(answer["errno"], answer["message"])
    kind = AudioFormat(answer["format"])
    path = job.folder / f"{job.stem}.{kind}"
    job.part.replace(path)
    return Transcoded(path=path, format=kind, seconds=answer["seconds"], size=answer["size"])


async def _fit_tone(*, sandboxed: bool) -> dict[str, Any]:
    """A child's answer to a short sound, or why there is none."""
    try:
        with tempfile.TemporaryDirectory(prefix="songwright-") as name:
            folder = Path(name)
            job = _Job(folder / "source", folder, "tone", LOWEST_LIMIT, 0, _NO_TAGS, sandboxed)
            job.source.write_bytes(_tone())
            return await _attempt(job)
    except (NotAudio, ChildProcessError) as error:
        return {"error": type(error).__name__, "message": str(error)}
    except (TimeoutError, OSError) as error:
        return {"error": OSError.__name__, "message": repr(error)}


def _tone() -> bytes:
    """Half a second as a WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes((b"\0\x20" * 9 + b"\0\xe0" * 9) * 222)
    return buffer.getvalue()


def _log_sandbox(answer: dict[str, Any]) -> None:
    """Tell the operator what stands between a hostile file and the machine, and what does not."""
    if answer.get("error") == OSError.__name__:
        log.warning("The audio encoder's sandbox could not be tested: %s", answer["message"])
        return
    if "error" in answer:
        log.warning(
            "The audio encoder did not get through its sandbox, so songs are decoded without it. "
            "A hostile file could read what this user can. Please report this: %s: %s",
            answer["error"],
            answer["message"],
        )
        return
    in_force = answer.get("sandbox") or {}
    missing = [name for name in ("landlock", "seccomp") if not in_force.get(name)]
    if missing:
        log.warning(
            "This system has no %s: the audio encoder's sandbox is incomplete (see "
            "docs/security.md, the sandbox).",
            " and no ".join(missing),
        )


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # the song's own error matters more; the next try writes over it
        log.warning("Could not remove %s.", part, exc_info=True)


async def _run_child(job: _Job) -> dict[str, Any]:
    """Give the job to a new child, and to a second one if this machine stopped the first.

    One that is busier than anybody foresaw starves it; one that is short of memory kills it.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await _attempt(job)
        except TimeoutError:
            log.warning("The audio encoder was killed after %.0f s.", job.patience)
        except ChildProcessError as error:
            log.warning("%s", error)
    raise NotAudio(_UNREADABLE)


async def _attempt(job: _Job) -> dict[str, Any]:
    """One child's answer. It does not outlive this call.

    Raises:
        NotAudio: it ended by itself, without an answer.
        ChildProcessError: it was killed.
        TimeoutError: `job.patience` is over.
    """
    process = await child_process.start(_PROGRAM, niceness=_NICENESS)
    try:
        async with asyncio.timeout(job.patience):
            reply, said = await _converse(process, job.to_line())
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    if said:
        log.warning("The audio encoder said: %s", said.decode(errors="replace"))
    try:
        return _checked(json.loads(reply))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        if process.returncode is not None and process.returncode < 0:
            raise ChildProcessError(
                f"The audio encoder was killed by signal {-process.returncode}."
            ) from None
        log.warning("The audio encoder ended with %s and no answer.", process.returncode)
        raise NotAudio(_UNREADABLE) from None


def _checked(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON holds
    """An answer, its parts of the right kind: the child may do what a hostile file says.

    Raises:
        ValueError, TypeError, LookupError, OverflowError: it is none.
    """
    common = {"sandbox": answer.get("sandbox") if isinstance(answer, dict) else None}
    if "error" in answer:
        return common | {
            "error": str(answer["error"]),
            "errno": int(answer.get("errno", errno.EIO)),
            "message": str(answer["message"])[:_LONGEST_MESSAGE],
        }
    return common | {
        "format": AudioFormat(answer["format"]),
        "seconds": float(answer["seconds"]),
        "size": int(answer["size"]),
    }


async def _converse(process: Process, line: bytes) -> tuple[bytes, bytes]:
    """Send the job, and read to the end what comes back: of each stream the last 4,000 bytes."""
    assert process.stdin and process.stdout and process.stderr  # noqa: PT018, S101 - three pipes
    # Not closed and not drained: the child takes the end of its stdin for the end of the bot,
    # and one that died before reading shows by having no answer.
    process.stdin.write(line)
    # Each bounded: a child that a hostile file has taken over could write until we are killed.
    reply, said = await asyncio.gather(*map(child_process.tail, (process.stdout, process.stderr)))
    await process.wait()
    return reply, said
