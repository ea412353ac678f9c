"""Transcodes the audio of songs for the channel.

The bytes are foreign, so each song is decoded in a child process (`services/audio/encoder.py`): a
decoder that crashes, hangs or takes all memory ends one song and not the bot, cancelling is a kill,
and PyAV is never imported here. The start costs 0.13 s, a tenth of encoding a minute. A pool of
processes would save that, but use 50 MB for each, and killing one breaks a `ProcessPoolExecutor`.
"""

import asyncio
import errno
import io
import json
import logging
import sys
import tempfile
import wave
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from services import child_process
from services.audio.audio_file import AudioFormat, Job, Tags
from services.errors import AudioError, DoesNotFit, NotAudio, SilentAudio, TooShort

log = logging.getLogger(__name__)

T = TypeVar("T")

_PROGRAM = (sys.executable, "-m", "services.audio.encoder")
_NICENESS = 5
"""With one busy process on each core a child gets a quarter of it: see docs/decisions/0029."""

_ATTEMPTS = 2
_LONGEST_MESSAGE = 300
"""Characters of a child's message to the member; the real ones are shorter."""

LOWEST_LIMIT = 1024 * 1024
_NO_TAGS = Tags(title="", artist="", genres="", lyrics="", seed=0, number=0)
_REFUSED = "SandboxRefused"
_CHILD_ERRORS: dict[str, type[AudioError]] = {
    error.__name__: error for error in (NotAudio, TooShort, SilentAudio, DoesNotFit)
}


class Transcoder:
    """Transcodes songs for posting, `at_once` at a time; the others wait.

    Each song is a short-lived child process of low priority. It ends with its `transcode`, whether
    that is done, cancelled or timed out, and by itself if the bot dies.
    """

    def __init__(self, *, at_once: int = 2) -> None:
        self._sandboxed = True
        self._places = asyncio.Semaphore(at_once)
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def transcode(
        self,
        source: Path,
        folder: Path,
        *,
        stem: str,
        limit: int,
        tags: Tags,
        requested_seconds: int,
    ) -> Path:
        """Write `source`, tagged and at most `limit` bytes long, to `<folder>/<stem>.<format>`.

        MP3, Vorbis, Opus and AAC under the limit are copied, packet by packet, to MP3, Ogg or M4A
        with our tags and nothing else. Everything else becomes MP3 at the best bit rate that fits.
        The decoder decides what is audio; NaN and infinity are silence. The file appears
        atomically, replacing one of the same name. `source` is not changed.

        Raises:
            NotAudio: an unsupported format, empty, endless, or the decoder crashed or hung.
            TooShort: less than half of `requested_seconds`, as decoded.
            SilentAudio: its peak is at most -70 dBFS.
            DoesNotFit: over `limit` even at the lowest bit rate.
            OSError: the disk is full, a path can't be used, or no process can be started: it may
                be retried.
        """
        if self._closed:
            raise RuntimeError("the transcoder is closed")
        part = folder / f".{stem}.part"  # on the result's file system, for the rename
        job = Job(source, part, limit, requested_seconds, tags, sandboxed=self._sandboxed)
        return await self._owned(self._in_turn(job, stem), name=f"transcode {stem}")

    async def check_sandbox(self) -> None:
        """Transcode a short sound; disable the sandbox if that works only without it.

        For the start, so that a defect shows before a song fails. Parts of the sandbox that this
        system lacks are logged. A full disk or an overloaded machine changes nothing.
        """
        await self._owned(self._check_sandbox(), name="check the sandbox")

    async def _owned(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Return its result; `close` cancels it."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await task

    async def _check_sandbox(self) -> None:
        answer = await _transcode_tone(sandboxed=True)
        if answer.get("error") not in (None, OSError.__name__):
            without = await _transcode_tone(sandboxed=False)
            self._sandboxed = "error" in without
            if self._sandboxed:
                answer["error"] = OSError.__name__
        in_force = answer.get("sandbox") or {}
        missing = [name for name in ("landlock", "seccomp") if not in_force.get(name)]
        if answer.get("error") == OSError.__name__:
            log.warning("The audio encoder's sandbox could not be tested: %s", answer["message"])
        elif "error" in answer:
            log.warning(
                "The audio encoder fails in its sandbox, so songs are decoded without it. A "
                "hostile file could read what this user can. Please report this: %s: %s",
                answer["error"],
                answer["message"],
            )
        elif missing:
            log.warning(
                "This system has no %s: the audio encoder's sandbox is incomplete (see "
                "docs/security.md, the sandbox).",
                " and no ".join(missing),
            )

    async def close(self) -> None:
        """Cancel all songs, and return when no child is left."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _in_turn(self, job: Job, stem: str) -> Path:
        async with self._places:
            try:
                answer = await _run_child(job)
                # No await from here on, so a cancelled song leaves no file.
                if error := _CHILD_ERRORS.get(answer.get("error", "")):
                    raise error(answer["message"])
                if answer.get("error") == _REFUSED:
                    message = "A defect: the sandbox refused the audio encoder a file: %s"
                    log.error(message, answer["message"])
                    raise NotAudio
                if "error" in answer:
                    raise OSError(answer["errno"], answer["message"])
                return job.part.replace(job.part.with_name(f"{stem}.{answer['format']}"))
            finally:
                try:
                    job.part.unlink(missing_ok=True)
                except OSError:  # the song's own error matters more; the next try overwrites it
                    log.warning("Could not remove %s.", job.part, exc_info=True)


async def _transcode_tone(*, sandboxed: bool) -> dict[str, Any]:
    """Return a child's answer to a short sound, or why there is none."""
    try:
        with tempfile.TemporaryDirectory(prefix="songwright-") as name:
            folder = Path(name)
            part = folder / "tone.part"
            job = Job(folder / "source", part, LOWEST_LIMIT, 0, _NO_TAGS, sandboxed=sandboxed)
            job.source.write_bytes(_tone())
            return await _attempt(job)
    except (NotAudio, ChildProcessError) as error:
        return {"error": type(error).__name__, "message": str(error)}
    except (TimeoutError, OSError) as error:
        return {"error": OSError.__name__, "message": repr(error)}


def _tone() -> bytes:
    """Return half a second as WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes((b"\0\x20" * 9 + b"\0\xe0" * 9) * 222)
    return buffer.getvalue()


async def _run_child(job: Job) -> dict[str, Any]:
    """Run the job in a child, and in a second one if the first timed out or was killed.

    An overloaded machine starves it; one that is short of memory kills it.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await _attempt(job)
        except TimeoutError:
            log.warning("The audio encoder was killed after %.0f s.", job.timeout)
        except ChildProcessError as error:
            log.warning("%s", error)
    raise NotAudio


async def _attempt(job: Job) -> dict[str, Any]:
    """Return the answer of one child, which does not outlive this call.

    Raises:
        NotAudio: it ended without an answer.
        ChildProcessError: it was killed.
        TimeoutError: it took longer than `job.timeout`.
    """
    process = await child_process.start(_PROGRAM, niceness=_NICENESS)
    assert process.stdin and process.stdout and process.stderr  # noqa: PT018, S101 - three pipes
    try:
        async with asyncio.timeout(job.timeout):
            # Not closed: the child ends with its stdin. Not drained: a child that died before
            # reading it gives no answer.
            process.stdin.write(job.to_line())
            # Bounded: a child that a hostile file controls could write without end.
            streams = (process.stdout, process.stderr)
            reply, output = await asyncio.gather(*map(child_process.tail, streams))
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    if output:
        log.warning("The audio encoder wrote: %s", output.decode(errors="replace"))
    try:
        return _checked(json.loads(reply))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        if process.returncode is not None and process.returncode < 0:
            raise ChildProcessError(
                f"The audio encoder was killed by signal {-process.returncode}."
            ) from None
        log.warning("The audio encoder ended with %s and no answer.", process.returncode)
        raise NotAudio from None


def _checked(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON holds
    """Validate an answer: a hostile file may control the child.

    Raises:
        ValueError, TypeError, LookupError, OverflowError: it is malformed.
    """
    common = {"sandbox": answer.get("sandbox") if isinstance(answer, dict) else None}
    if "error" in answer:
        return common | {
            "error": str(answer["error"]),
            "errno": int(answer.get("errno", errno.EIO)),
            "message": str(answer["message"])[:_LONGEST_MESSAGE],
        }
    return common | {"format": AudioFormat(answer["format"])}
