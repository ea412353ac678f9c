"""The audio of a song: what it is, what its file is called, and making it fit for the channel.

The bytes come from outside, so they are decoded in a process of their own, one for each song
(`services/making/audio_encoder.py`): a decoder that crashes, hangs or eats memory takes one song
with it and not the bot, cancelling is a kill, and PyAV is never imported here. Starting it costs
0.13 s, a tenth of what encoding a minute takes; a pool of processes that stay saves that, but
keeps 50 MB for each of them, and killing one breaks all of a `ProcessPoolExecutor`.
"""

import asyncio
import json
import logging
import sys
import unicodedata
from asyncio.subprocess import Process
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from services import child_process
from services.errors import AudioError, DoesNotFit, NotAudio, TooShort

log = logging.getLogger(__name__)

MAX_STEM = 60
"""Characters of a file's name before the dot; at most 4 bytes each, so under every system's 255."""

HEAD = 16 * 1024
"""Bytes `recognise` wants to see, if the file has as many."""

_PROGRAM = (sys.executable, "-m", "services.making.audio_encoder")
_NICENESS = 15

_UNREADABLE = "The song API sent something that can't be played."
_CHILD_ERRORS: dict[str, type[AudioError]] = {
    error.__name__: error for error in (NotAudio, TooShort, DoesNotFit)
}


class AudioFormat(StrEnum):
    """What we can read. The value is also the file's extension."""

    WAV = "wav"
    MP3 = "mp3"
    FLAC = "flac"
    OGG = "ogg"
    M4A = "m4a"


@dataclass(frozen=True, slots=True)
class Tags:
    """What is written into the file, for whoever meets it outside of Discord."""

    title: str
    artist: str
    genres: str
    lyrics: str
    seed: int
    number: int
    request: str = ""
    """The other parameters in words, like "60 s, 50 steps, cfg 4"; blank leaves them out."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A file ready to be posted. `seconds` is measured by decoding, `size` is in bytes."""

    path: Path
    format: AudioFormat
    seconds: float
    size: int


def recognise(head: bytes) -> AudioFormat | None:
    """Say what a file is by its first `HEAD` bytes, or None: nothing we post.

    Video, pictures and playlists are None, as is raw AAC (ADTS), which can't be tagged. An MP3
    whose ID3 tag is longer than `head` is taken at the tag's word; decoding will tell. Never
    raises.
    """
    start = 0
    while length := id3_length(head[start : start + 10]):
        start += length
        if start >= len(head):
            return AudioFormat.MP3
    head = head[start:]
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return AudioFormat.WAV
    if head.startswith(b"fLaC"):
        return AudioFormat.FLAC
    if head.startswith(b"OggS"):
        return AudioFormat.OGG if _is_ogg_audio(head) else None
    if head[4:8] == b"ftyp":
        return AudioFormat.M4A if _is_m4a(head) else None
    # Some taggers leave more zeros behind their tag than they declare.
    return AudioFormat.MP3 if _is_mpeg_layer_3(head.lstrip(b"\0")) else None


def id3_length(head: bytes) -> int:
    """Bytes that the ID3v2 tag at the start of `head` takes, 0 if there is none.

    Source: ID3v2.4 structure, section 3.1: ten bytes, the size in four times seven bits.
    """
    if len(head) < 10 or head[:3] != b"ID3" or 0xFF in head[3:5] or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    footer = 10 if head[5] & 0x10 else 0
    return 10 + size + footer


def _is_ogg_audio(head: bytes) -> bool:
    """Whether the first stream's first packet is of a codec we know (RFC 3533, section 6)."""
    packet = head[27 + head[26] :] if len(head) > 26 else b""
    return packet.startswith((b"\x01vorbis", b"OpusHead", b"\x7fFLAC"))


def _is_m4a(head: bytes) -> bool:
    """Whether the `ftyp` box says audio: an M4V or AVIF may well list M4A as compatible.

    Source: ISO/IEC 14496-12, section 4.3 (major brand, version, compatible brands).
    """
    major = head[8:12]
    brands = head[16 : int.from_bytes(head[:4], "big")]
    listed = {brands[i : i + 4] for i in range(0, min(len(brands), 256), 4)}
    generic = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"dash")
    return major in (b"M4A ", b"M4B ") or (major in generic and b"M4A " in listed)


def _is_mpeg_layer_3(head: bytes) -> bool:
    """Whether two frames follow each other: eleven set bits alone occur in any noise."""
    length = _mpeg_frame_length(head[:4])
    return (
        length > 0
        and _mpeg_frame_length(head[length : length + 4]) > 0
        # Version, layer and sample rate stay the same within a file.
        and (head[1] ^ head[length + 1]) & 0xFE == 0
        and (head[2] ^ head[length + 2]) & 0x0C == 0
    )


def _mpeg_frame_length(header: bytes) -> int:
    """Bytes of the layer III frame with this header, 0 if it is none (ISO/IEC 11172-3, 13818-3)."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version = header[1] >> 3 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    bit_rate, sample_rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or sample_rate == 3:
        return 0
    if version == 3:
        kilobits = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[bit_rate - 1]
    else:
        kilobits = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[bit_rate - 1]
    hertz = (44_100, 48_000, 32_000)[sample_rate] >> {3: 0, 2: 1, 0: 2}[version]
    padding = header[2] >> 1 & 1
    return (144 if version == 3 else 72) * kilobits * 1000 // hertz + padding


def file_stem(number: int, title: str) -> str:
    """Name a song's file, without the extension: `42-midnight-train`.

    At most `MAX_STEM` characters, and only lower-case letters and digits of any script (with
    their vowel signs) and single hyphens: what every file system takes and Discord's Markdown
    leaves alone. The number in front also keeps it off Windows' reserved names.
    """
    words = "".join(_name_characters(title)).split()
    stem = "-".join([str(number), *words])[:MAX_STEM].rstrip("-")
    return unicodedata.normalize("NFC", stem)[:MAX_STEM]


def _name_characters(title: str) -> Iterator[str]:
    """Letters, digits and their marks; a space for all that parts words."""
    kept = False
    for c in unicodedata.normalize("NFKC", title).lower():
        if c in "'\u2019":  # "don't" is one word
            continue
        # A mark belongs to the letter before it. Hangul fillers and variation selectors are
        # letters and marks to Unicode, but nobody sees them.
        invisible = c in "\u115f\u1160\u034f" or "\ufe00" <= c <= "\ufe0f" or c >= "\U000e0000"
        kept = not invisible and (c.isalnum() or (kept and unicodedata.category(c)[0] == "M"))
        yield c if kept else " "


class AudioFitter:
    """Makes songs fit for posting, `at_once` at a time; the others wait their turn.

    Each song is a short-lived child process of low priority. It ends with its `fit`, whether
    that is done, cancelled or out of time, and by itself should the bot die.
    """

    def __init__(self, *, at_once: int = 2) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._running: set[asyncio.Task[Fitted]] = set()
        self._closed = False

    async def fit(
        self, source: Path, folder: Path, *, stem: str, limit: int, tags: Tags, asked_seconds: int
    ) -> Fitted:
        """Write `source`, tagged and at most `limit` bytes long, to `folder` as `<stem>.<format>`.

        MP3, Ogg (Vorbis, Opus) and M4A (AAC) that fit stay as they are, but for their tags,
        which are replaced. All else becomes MP3 at the best bit rate that fits. The file appears
        whole or not at all, replacing one of the same name. `source` is left alone.

        Raises:
            NotAudio: not one of our formats, empty, endless, or the decoder crashed or hung.
            TooShort: less than half of `asked_seconds`, as decoded.
            DoesNotFit: over `limit` even at the lowest bit rate.
            OSError: the disk is full, a path can't be used, or no process can be started: not the
                song's fault, so it may be tried again.
        """
        if self._closed:
            raise RuntimeError("the fitter is closed")
        job = _Job(source, folder, stem, limit, asked_seconds, tags)
        task = asyncio.create_task(self._in_turn(job), name=f"fit {stem}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await task

    async def close(self) -> None:
        """Cancel what runs or waits, and return when no child is left."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _in_turn(self, job: "_Job") -> Fitted:
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
        }
        return json.dumps(fields).encode() + b"\n"


def _publish(answer: dict[str, Any], job: _Job) -> Fitted:
    """Turn a child's answer into its error, or into the finished file."""
    if error := _CHILD_ERRORS.get(answer.get("error", "")):
        raise error(answer["message"])
    if "error" in answer:
        raise OSError(answer["errno"], answer["message"])
    kind = AudioFormat(answer["format"])
    path = job.folder / f"{job.stem}.{kind}"
    job.part.replace(path)
    return Fitted(path=path, format=kind, seconds=answer["seconds"], size=answer["size"])


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # the song's own error matters more; the next try writes over it
        log.warning("Could not remove %s.", part, exc_info=True)


async def _run_child(job: _Job) -> dict[str, Any]:
    """Give the job to a new child, and to a second one if this machine stopped the first.

    A busy machine starves it, and one that is short of memory kills it.
    """
    for idle in (True, False):
        try:
            return await _attempt(job, idle=idle)
        except TimeoutError:
            log.warning("The audio encoder was killed after %.0f s.", job.patience)
        except ChildProcessError as error:
            log.warning("%s", error)
    raise NotAudio(_UNREADABLE)


async def _attempt(job: _Job, *, idle: bool) -> dict[str, Any]:
    """One child's answer. It does not outlive this call.

    Raises:
        NotAudio: it ended by itself, without an answer.
        ChildProcessError: it was killed.
        TimeoutError: `job.patience` is over.
    """
    process = await child_process.start(_PROGRAM, niceness=_NICENESS, idle=idle)
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
        answer: dict[str, Any] = json.loads(reply)
    except ValueError:
        if process.returncode is not None and process.returncode < 0:
            raise ChildProcessError(
                f"The audio encoder was killed by signal {-process.returncode}."
            ) from None
        log.warning("The audio encoder ended with %s and no answer.", process.returncode)
        raise NotAudio(_UNREADABLE) from None
    return answer


async def _converse(process: Process, line: bytes) -> tuple[bytes, bytes]:
    """Send the job, and read to the end what comes back."""
    assert process.stdin and process.stdout and process.stderr  # noqa: PT018, S101 - three pipes
    # Not closed and not drained: the child takes the end of its stdin for the end of the bot,
    # and one that died before reading shows by having no answer.
    process.stdin.write(line)
    reply, said = await asyncio.gather(process.stdout.read(), child_process.tail(process.stderr))
    await process.wait()
    return reply, said
