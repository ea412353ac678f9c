# mypy: allow-untyped-calls
# (mutagen has no annotations)
"""The child process of `services/making/audio.py`: fits one song and ends.

One line of JSON comes in on stdin, one goes out on stdout. Memory does not grow with the song:
it is decoded frame by frame, twice, since only decoding tells a song's true length (headers lie,
and streamed WAV has none), and the bit rate follows from the length.
"""

import errno
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from mutagen import MutagenError
from mutagen.apev2 import delete as delete_apev2
from mutagen.id3 import COMM, ID3, TCON, TIT2, TPE1, USLT
from mutagen.id3 import delete as delete_id3
from mutagen.mp4 import MP4
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from services.errors import AudioError, DoesNotFit, NotAudio, TooShort
from services.making.audio_file import HEAD, AudioFormat, Tags, id3_length, recognise
from services.requests import clean, has_words

BIT_RATES = (192, 160, 128, 112, 96, 80, 64, 56, 48, 40, 32)
"""Kilobits a second, best first: the steps of MPEG-1 layer III from 192 down."""

LONGEST = 600.0
"""Seconds. The longest song that can be asked for is 240: what decodes to more is a bomb."""

MEMORY = 512 * 1024 * 1024
"""Bytes a child may take; a usual song takes a tenth of it."""

CPU_SECONDS = 300
"""Seconds of CPU a child may take; the longest song takes a twentieth of it."""

# Each format opened with its own demuxer and from local files only: left to guess, FFmpeg
# would take a playlist for a song and open the addresses in it.
_DEMUXERS = {
    AudioFormat.WAV: "wav",
    AudioFormat.MP3: "mp3",
    AudioFormat.FLAC: "flac",
    AudioFormat.OGG: "ogg",
    AudioFormat.M4A: "mp4",
}
_AS_IT_IS = {
    AudioFormat.MP3: ("mp3",),
    AudioFormat.OGG: ("vorbis", "opus"),
    AudioFormat.M4A: ("aac",),
}
_MOST_ID3_TAGS = 4
_ENCODER_OVERHEAD = 0.1  # seconds: its delay, its padding and the frame that declares them
_UNPLAYABLE = "The song API sent something that can't be played."


@dataclass(frozen=True, slots=True)
class Job:
    """What to fit. `limit` is in bytes; `part` is where the result goes."""

    source: Path
    part: Path
    limit: int
    asked_seconds: int
    tags: Tags

    @classmethod
    def from_json(cls, line: bytes) -> "Job":
        fields = json.loads(line)
        return cls(
            source=Path(fields["source"]),
            part=Path(fields["part"]),
            limit=fields["limit"],
            asked_seconds=fields["asked_seconds"],
            tags=Tags(**fields["tags"]),
        )


@dataclass(frozen=True, slots=True)
class Sound:
    """What a file holds, as decoded. `codec` is FFmpeg's name of it."""

    seconds: float
    codec: str
    hertz: int
    channels: int


def fit(job: Job) -> tuple[AudioFormat, float]:
    """Write `job.part`; return what it is and its seconds.

    Raises:
        NotAudio, TooShort, DoesNotFit: see `services.making.audio.AudioFitter.fit`.
        OSError: a file can't be read or written.
    """
    kind = recognise_file(job.source)
    if kind is None:
        raise NotAudio(_UNPLAYABLE)
    sound = measure(job.source, kind)
    if sound.seconds < job.asked_seconds / 2:
        raise TooShort(
            f"The song is {sound.seconds:.0f} s long, though {job.asked_seconds} s were asked for."
        )
    if not _kept_as_it_is(job, kind, sound):
        _encode_to_fit(job, kind, sound)
        kind = AudioFormat.MP3
    with job.part.open("rb+") as file:
        os.fsync(file.fileno())  # a power cut after the rename must not leave an empty song
    return kind, sound.seconds


def recognise_file(source: Path) -> AudioFormat | None:
    """`recognise`, looking behind ID3 tags of any length (they may hold pictures)."""
    with source.open("rb") as file:
        start, head = 0, file.read(HEAD)
        for _ in range(_MOST_ID3_TAGS):
            start += id3_length(head)
            file.seek(start)
            head = file.read(HEAD)
    return recognise(head)


def measure(source: Path, kind: AudioFormat) -> Sound:
    """Decode all of it.

    Raises:
        NotAudio: nothing can be decoded, it is longer than `LONGEST`, or there is video in it.
    """
    seconds, hertz, channels = Fraction(0), 0, 0
    try:
        with _opened(source, kind) as container:
            stream = _audio_stream(container)
            for frame in _frames(container, stream):
                seconds += Fraction(frame.samples, frame.sample_rate)
                if not hertz:
                    hertz, channels = frame.sample_rate, frame.layout.nb_channels
                if seconds > LONGEST:
                    raise NotAudio(f"The song API sent more than {LONGEST:.0f} s of sound.")
            codec = stream.codec_context.codec.canonical_name
    except av.FFmpegError as error:
        raise NotAudio(_UNPLAYABLE) from error
    if not seconds:
        raise NotAudio(_UNPLAYABLE)
    return Sound(seconds=float(seconds), codec=codec, hertz=hertz, channels=channels)


def _opened(source: Path, kind: AudioFormat) -> InputContainer:
    options = {"protocol_whitelist": "file"}
    if kind is AudioFormat.WAV and _understates_its_length(source):
        options["ignore_length"] = "1"
    return av.open(
        str(source), "r", format=_DEMUXERS[kind], options=options, metadata_errors="ignore"
    )


def _understates_its_length(source: Path) -> bool:
    """Whether a WAV declares less than half of what follows: its header was never completed.

    FFmpeg reads to the end where the size is 0 or too large, but would believe a small one.
    """
    with source.open("rb") as file:
        head = file.read(HEAD)
        size = os.fstat(file.fileno()).st_size
    at = head.find(b"data", 12)
    declared = int.from_bytes(head[at + 4 : at + 8], "little")
    return at > 0 and 0 < declared < (size - at - 8) / 2


def _audio_stream(container: InputContainer) -> AudioStream:
    """The first audio stream of a file without video; a cover picture is no video."""
    if any(Disposition.attached_pic not in s.disposition for s in container.streams.video):
        raise NotAudio("The song API sent a video.")
    if not container.streams.audio:
        raise NotAudio(_UNPLAYABLE)
    return container.streams.audio[0]


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """What can be decoded; a damaged packet costs its few milliseconds, not the song."""
    stream.codec_context.thread_count = 1  # threads bring an audio decoder memory, not speed
    for packet in container.demux(stream):
        with suppress(av.InvalidDataError):
            yield from stream.decode(packet)


def _kept_as_it_is(job: Job, kind: AudioFormat, sound: Sound) -> bool:
    """Copy and tag what may stay; False if it has to be encoded."""
    if sound.codec not in _AS_IT_IS.get(kind, ()) or job.source.stat().st_size > job.limit:
        return False
    shutil.copyfile(job.source, job.part)
    try:
        _TAGGERS[sound.codec](job.part, job.tags)
    except MutagenError:  # FFmpeg could read it, so it will be encoded
        return False
    return job.part.stat().st_size <= job.limit


def _encode_to_fit(job: Job, kind: AudioFormat, sound: Sound) -> None:
    """Encode at the best bit rate that fits by computation; look, and go lower if it does not."""
    tag = BytesIO()
    _id3(job.tags).save(tag, v2_version=3, padding=_no_padding)
    room = job.limit - len(tag.getvalue())
    for kilobits in BIT_RATES:
        if kilobits * 125 * (sound.seconds + _ENCODER_OVERHEAD) <= room:
            _encode(job.source, kind, sound, job.part, kilobits)
            _tag_mp3(job.part, job.tags)
            if job.part.stat().st_size <= job.limit:
                return
    raise DoesNotFit(f"The song does not fit into {job.limit / 2**20:.1f} MiB, the limit here.")


def _encode(source: Path, kind: AudioFormat, sound: Sound, part: Path, kilobits: int) -> None:
    """MP3 at a constant bit rate, mono or stereo, at 44.1 or 48 kHz: the simpler ratio."""
    hertz = 44_100 if 44_100 % sound.hertz == 0 or sound.hertz % 44_100 == 0 else 48_000
    layout = "mono" if sound.channels == 1 else "stereo"
    with (
        _opened(source, kind) as container,
        av.open(str(part), "w", format="mp3", options={"id3v2_version": "0"}) as output,
    ):
        # Compression level 7: a third faster than LAME's usual 5, to no ear's loss at these rates.
        # 16 bits rather than float, for models emit NaN at times and LAME takes it for a sound.
        options = {"compression_level": "7"}
        stream = output.add_stream("libmp3lame", rate=hertz, layout=layout, options=options)
        encoder = cast("AudioStream", stream)
        encoder.bit_rate = kilobits * 1000
        encoder.format = "s16p"
        for frame in _converted(_frames(container, _audio_stream(container)), layout, hertz):
            output.mux(encoder.encode(frame))
        output.mux(encoder.encode(None))


def _converted(frames: Iterator[AudioFrame], layout: str, hertz: int) -> Iterator[AudioFrame]:
    """All frames in one shape, with times counted anew: a damaged file's own have gaps."""
    samples = 0
    shape: tuple[str, str, int] | None = None
    resampler = AudioResampler("s16p", layout, hertz)
    for frame in _with_end(frames):
        pieces = []
        if frame is None:
            pieces = resampler.resample(None)
        else:
            frame.pts = None
            new_shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            if shape not in (None, new_shape):  # an MP3 may change between mono and stereo
                pieces = resampler.resample(None)
                resampler = AudioResampler("s16p", layout, hertz)
            shape = new_shape
            pieces += resampler.resample(frame)
        for piece in pieces:
            piece.pts, piece.time_base = samples, Fraction(1, hertz)
            samples += piece.samples
            yield piece


def _with_end(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame | None]:
    yield from frames
    yield None


def _tag_mp3(path: Path, tags: Tags) -> None:
    delete_id3(path)
    delete_apev2(path)
    _id3(tags).save(path, v2_version=3, padding=_no_padding)


def _id3(tags: Tags) -> ID3:
    """ID3, saved as 2.3, the version that every player and Windows' Explorer reads."""
    id3 = ID3()
    id3.add(TIT2(text=clean(tags.title)))
    id3.add(TPE1(text=clean(tags.artist)))
    id3.add(TCON(text=clean(tags.genres)))
    id3.add(COMM(lang="XXX", desc="", text=_comment(tags)))
    if has_words(tags.lyrics):
        id3.add(USLT(lang="XXX", desc="", text=clean(tags.lyrics)))
    return id3


def _tag_vorbis(path: Path, tags: Tags) -> None:
    _tag_ogg(OggVorbis(path), tags)


def _tag_opus(path: Path, tags: Tags) -> None:
    _tag_ogg(OggOpus(path), tags)


def _tag_ogg(file: OggVorbis | OggOpus, tags: Tags) -> None:
    file.delete()
    file["title"] = clean(tags.title)
    file["artist"] = clean(tags.artist)
    file["genre"] = clean(tags.genres)
    file["comment"] = _comment(tags)
    if has_words(tags.lyrics):
        file["lyrics"] = clean(tags.lyrics)
    file.save(padding=_no_padding)


def _tag_m4a(path: Path, tags: Tags) -> None:
    file = MP4(path)
    file.delete()
    file["\xa9nam"] = clean(tags.title)
    file["\xa9ART"] = clean(tags.artist)
    file["\xa9gen"] = clean(tags.genres)
    file["\xa9cmt"] = _comment(tags)
    if has_words(tags.lyrics):
        file["\xa9lyr"] = clean(tags.lyrics)
    file.save(padding=_no_padding)


_TAGGERS = {"mp3": _tag_mp3, "vorbis": _tag_vorbis, "opus": _tag_opus, "aac": _tag_m4a}


def _comment(tags: Tags) -> str:
    """What it takes to make the song again."""
    parts = (f"Songwright #{tags.number}", f"seed {tags.seed}", clean(tags.request))
    return ", ".join(part for part in parts if part)


def _no_padding(_: Any) -> int:  # noqa: ANN401 - mutagen's PaddingInfo, which has no types
    return 0


def _answer(job: Job) -> dict[str, Any]:
    """What goes out on stdout: the result, or an error of ours by its name."""
    try:
        kind, seconds = fit(job)
    except AudioError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except (OSError, MutagenError) as error:
        # What mutagen can't tag as it is was encoded, so here it can only be the disk's fault.
        number = getattr(error, "errno", None) or errno.EIO
        message = getattr(error, "strerror", None) or str(error)
        return {"error": "OSError", "errno": number, "message": message}
    return {"format": kind.value, "seconds": seconds, "size": job.part.stat().st_size}


def _end_with_parent() -> None:
    """The parent holds the other end of stdin open until it is done with us, or dead."""
    # Not sys.stdin: its lock, held by a waiting thread, would break the interpreter's own end.
    while os.read(0, 1):
        pass
    os._exit(1)


def _bound_ourselves() -> None:
    """Bound what a hostile file can take, where the system knows how."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - Windows has none

        for what, bound in (
            (resource.RLIMIT_DATA, MEMORY),
            (resource.RLIMIT_CPU, CPU_SECONDS),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.getrlimit(what)
            with suppress(ValueError, OSError):  # a system that knows the limit but not the number
                resource.setrlimit(what, (bound, hard))


def main() -> None:
    """Read one job, do it, answer."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        job = Job.from_json(stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _bound_ourselves()
    print(json.dumps(_answer(job)), flush=True)


if __name__ == "__main__":
    main()
