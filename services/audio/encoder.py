# mypy: allow-untyped-calls
# (mutagen has no annotations)
"""The child process of `services/audio/transcoder.py`: transcodes one song and ends.

It reads one line of JSON from stdin and writes one to stdout. Memory does not grow with the song:
it is decoded frame by frame, and twice, since the bit rate depends on the length, which only
decoding shows (headers may be wrong, and streamed WAV has none).
"""

import array
import errno
import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO
from itertools import chain
from typing import Any, BinaryIO, Literal, cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from mutagen import MutagenError
from mutagen.id3 import COMM, ID3, TCON, TIT2, TPE1, USLT
from mutagen.mp4 import MP4
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from services.audio import sandbox
from services.audio.audio_file import AudioFormat, Job, Tags
from services.audio.sandbox import Sandbox
from services.errors import AudioError, DoesNotFit, NotAudio, SilentAudio, TooShort
from services.text import clean, has_words

BIT_RATES = (192, 160, 128, 112, 96, 80, 64, 56, 48, 40, 32)
"""Kilobits per second, best first: the steps of MPEG-1 layer III from 192 down."""

LONGEST = 600.0
"""Seconds. Songs have at most 240: what decodes to more than this is a bomb."""

SILENCE = 10 ** (-70 / 20)
"""Peak amplitude (full scale is 1) up to which a song is silent: -70 dBFS.

Measured: zeros stay zeros in every format; after lossy codecs, dither of one 16-bit step has at
most -82 dBFS, of four steps -74. A tone at -60 is audible.
"""

MEMORY = 512 * 1024 * 1024
"""Bytes a child may take; a usual song takes a tenth of it."""

ADDRESSES = MEMORY + 256 * 1024 * 1024
"""Bytes a child may map, with 150 MiB of libraries: `MEMORY` does not count shared pages."""

CPU_SECONDS = 300
"""Seconds of CPU a child may take; the longest song takes a twentieth of it."""

LARGEST = 16 * 1024 * 1024
"""Bytes a child may write beyond the limit it was given: `LONGEST` at the best bit rate."""

OPEN_FILES = 64
"""Files a child may have open; it needs a dozen."""

FORMATS = ("wav", "w64", "aiff", "flac", "mp3", "aac", "ogg", "mov", "matroska")
"""FFmpeg's names of the accepted containers; `mov` is MP4 and M4A, `aac` is ADTS."""

DECODERS = (
    *("mp3float", "mp3", "mp2float", "mp2", "aac", "vorbis", "opus", "flac", "alac"),
    *("adpcm_ms", "adpcm_ima_wav"),
    *sorted(name for name in av.codecs_available if name.startswith("pcm_")),
)
"""FFmpeg's names of the accepted decoders: nothing else is decoded, also no pictures."""

_INPUT = {
    "format_whitelist": ",".join(FORMATS),
    "codec_whitelist": ",".join(DECODERS),
    # Only this file is opened, nothing that it names: no addresses of playlists, no other files.
    "protocol_whitelist": "none",
}
_COPIED = {
    "mp3": AudioFormat.MP3,
    "vorbis": AudioFormat.OGG,
    "opus": AudioFormat.OGG,
    "aac": AudioFormat.M4A,
}
"""The format of each codec that is copied, by FFmpeg's name."""
_MUXERS = {AudioFormat.MP3: "mp3", AudioFormat.OGG: "ogg", AudioFormat.M4A: "ipod"}
_MP4_KEYS = {
    "title": "\xa9nam",
    "artist": "\xa9ART",
    "genre": "\xa9gen",
    "comment": "\xa9cmt",
    "lyrics": "\xa9lyr",
}
_APPENDED = (b"ID3", b"TAG", b"APETAGEX", b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8")
"""How tags and pictures begin that programs append to a WAV outside of its chunks."""
_ENCODER_OVERHEAD = 0.1  # seconds: its delay, its padding and the frame that declares them


@dataclass(frozen=True, slots=True)
class Sound:
    """The decoded content of a file. `codec` is FFmpeg's name.

    `peak` is a lower bound (full scale is 1): the search ends above `SILENCE`. `broken` has the
    numbers of the packets that can't be decoded.
    """

    seconds: float
    codec: str
    hertz: int
    channels: int
    peak: float
    broken: frozenset[int]


def transcode(job: Job, opened: Callable[[], None] = lambda: None) -> AudioFormat:
    """Write `job.part`; return its format.

    `opened` is called when all files are open.

    Raises:
        NotAudio, TooShort, SilentAudio, DoesNotFit: see `Transcoder.transcode`.
        OSError: a file can't be read or written.
    """
    with job.source.open("rb") as source, job.part.open("wb+") as part:
        opened()
        sound = measure(source)
        if sound.seconds < job.requested_seconds / 2:
            raise TooShort(f"{sound.seconds:.0f} s")
        if sound.peak <= SILENCE:
            raise SilentAudio
        kind = _remux(job, source, part, sound) or _encode_to_fit(job, source, part, sound)
        part.flush()
        os.fsync(part.fileno())  # a power cut after the rename must not leave an empty song
    return kind


def measure(source: BinaryIO) -> Sound:
    """Decode the complete file.

    Raises:
        NotAudio: nothing can be decoded, it is longer than `LONGEST`, or it has video.
    """
    seconds, hertz, channels, peak = Fraction(0), 0, 0, 0.0
    broken = set[int]()
    try:
        with _opened(source) as container:
            stream = _audio_stream(container)
            for frame in _frames(container, stream, broken):
                seconds += Fraction(frame.samples, frame.sample_rate)
                if not hertz:
                    hertz, channels = frame.sample_rate, frame.layout.nb_channels
                if peak <= SILENCE:
                    peak = max(peak, _peak(frame))
                if seconds > LONGEST:
                    raise NotAudio(f"more than {LONGEST:.0f} s of sound")
            codec = stream.codec_context.codec.canonical_name
    except av.FFmpegError as error:
        raise NotAudio from error
    if not seconds:
        raise NotAudio
    return Sound(float(seconds), codec, hertz, channels, peak, frozenset(broken))


def _opened(source: BinaryIO) -> InputContainer:
    """Open it from the start, as the one of `FORMATS` that FFmpeg detects."""
    options = dict(_INPUT)
    if wav_understates_its_length(source):
        options["ignore_length"] = "1"
    source.seek(0)
    return av.open(source, "r", options=options, metadata_errors="ignore")


def wav_understates_its_length(source: BinaryIO) -> bool:
    """Return whether a WAV has more sound than its `data` chunk says: its header is incomplete.

    That is so if the bytes after the declared end are neither complete chunks nor an appended tag
    or picture. FFmpeg reads to the end if the size is 0 or too large, but trusts a small one.
    """
    end = source.seek(0, os.SEEK_END)
    source.seek(0)
    head = source.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return False
    at = 12
    while chunk := _chunk(source, at, end):
        name, size = chunk
        at += 8 + size
        if name == b"data":
            ends = (at, at + size % 2)
            return size > 0 and not any(_is_known_end(source, start, end) for start in ends)
        at += size % 2
    return False


def _is_known_end(source: BinaryIO, at: int, end: int) -> bool:
    """Return whether a tag, a picture or complete chunks follow; the last may lack its padding."""
    source.seek(at)
    if source.read(len(max(_APPENDED, key=len))).startswith(_APPENDED):
        return True
    while chunk := _chunk(source, at, end):
        at += 8 + chunk[1] + chunk[1] % 2
    return end <= at <= end + 1


def _chunk(source: BinaryIO, at: int, end: int) -> tuple[bytes, int] | None:
    """Return a chunk's name and its size in bytes; None without one, or if the file is shorter.

    Source: "Multimedia Programming Interface and Data Specifications 1.0", RIFF: four printable
    characters, a size without these eight bytes, and a byte of padding where it is odd.
    """
    source.seek(at)
    head = source.read(8)
    name, size = head[:4], int.from_bytes(head[4:], "little")
    is_one = len(head) == 8 and all(0x20 <= byte < 0x7F for byte in name) and at + 8 + size <= end
    return (name, size) if is_one else None


def _audio_stream(container: InputContainer) -> AudioStream:
    """Return the first audio stream of a file without video; a cover picture is no video."""
    if any(Disposition.attached_pic not in s.disposition for s in container.streams.video):
        raise NotAudio("a video")
    if not container.streams.audio:
        raise NotAudio
    stream = container.streams.audio[0]
    if stream.codec_context.codec.name not in DECODERS:
        raise NotAudio
    return stream


def _frames(
    container: InputContainer, stream: AudioStream, broken: set[int]
) -> Iterator[AudioFrame]:
    """Yield the decodable frames without bad samples; a damaged packet costs only itself.

    The numbers of damaged packets are added to `broken`.
    """
    stream.codec_context.thread_count = 1  # threads cost an audio decoder memory and bring no speed
    for number, packet in enumerate(container.demux(stream)):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            broken.add(number)
            continue
        for frame in frames:
            _silence_bad_samples(frame)
            yield frame


_FLOATS: dict[str, Literal["f", "d"]] = {"flt": "f", "fltp": "f", "dbl": "d", "dblp": "d"}


def _silence_bad_samples(frame: AudioFrame) -> None:
    """Replace NaN and infinity by 0: as integers they would be at full scale."""
    code = _FLOATS.get(frame.format.name)
    if code is None:
        return
    width = array.array(code).itemsize
    count = frame.samples * (1 if frame.format.is_planar else frame.layout.nb_channels)
    top = width - 1 if sys.byteorder == "little" else 0
    for plane in frame.planes:
        values = memoryview(plane)[: count * width]
        # Their exponent is all ones; the byte with most of it shows cheaply that there are none.
        exponents = bytes(values[top::width])
        if b"\x7f" in exponents or b"\xff" in exponents:
            numbers = values.cast("B").cast(code)
            for i, number in enumerate(numbers):
                if not math.isfinite(number):
                    numbers[i] = 0.0


def _peak(frame: AudioFrame) -> float:
    """Return the largest amplitude; full scale is 1."""
    peak = 0.0
    for piece in AudioResampler("fltp", frame.layout, frame.sample_rate).resample(frame):
        for plane in piece.planes:
            values = array.array("f", bytes(plane)[: piece.samples * 4])
            peak = max(peak, *map(abs, (max(values), min(values))))
    return peak


def _remux(job: Job, source: BinaryIO, part: BinaryIO, sound: Sound) -> AudioFormat | None:
    """Copy the sound with our tags, packet by packet; return None if it has to be encoded.

    Anything else in the file is left out.
    """
    kind = _COPIED.get(sound.codec)
    if kind is None or job.source.stat().st_size > job.limit:
        return None
    try:
        with _opened(source) as container, _output(part, kind) as output:
            stream = _audio_stream(container)
            copy = output.add_stream_from_template(stream)
            for number, packet in enumerate(container.demux(stream)):
                if packet.size and number not in sound.broken:
                    packet.stream = copy
                    output.mux(packet)
        _tag(part, sound.codec, job.tags)
    except (av.FFmpegError, MutagenError) as error:
        if _system_error(error):
            raise
        return None  # it can be decoded, so it can be encoded
    return kind if _size(part) <= job.limit else None


def _system_error(error: Exception) -> OSError | None:
    """Return the system's error in a library's error, if any; mutagen wraps it."""
    return next((part for part in (error, *error.args) if isinstance(part, OSError)), None)


def _output(part: BinaryIO, kind: AudioFormat) -> OutputContainer:
    """Empty the file and open it for writing."""
    if _size(part):
        part.truncate(0)
    part.seek(0)
    options = {"id3v2_version": "0"} if kind is AudioFormat.MP3 else {}  # we write our own
    return av.open(part, "w", format=_MUXERS[kind], options=options)


def _size(part: BinaryIO) -> int:
    return part.seek(0, os.SEEK_END)


def _encode_to_fit(job: Job, source: BinaryIO, part: BinaryIO, sound: Sound) -> AudioFormat:
    """Encode at the best bit rate that should fit; go lower while it does not."""
    tag = BytesIO()
    _tag(tag, "mp3", job.tags)
    room = job.limit - len(tag.getvalue())
    for kilobits in BIT_RATES:
        if kilobits * 125 * (sound.seconds + _ENCODER_OVERHEAD) <= room:
            _encode(source, sound, part, kilobits)
            _tag(part, "mp3", job.tags)
            if _size(part) <= job.limit:
                return AudioFormat.MP3
    raise DoesNotFit(f"{job.limit / 2**20:.1f} MiB")


def _encode(source: BinaryIO, sound: Sound, part: BinaryIO, kilobits: int) -> None:
    """Encode MP3 at a constant bit rate, mono or stereo, at 44.1 or 48 kHz: the simpler ratio."""
    hertz = 44_100 if 44_100 % sound.hertz == 0 or sound.hertz % 44_100 == 0 else 48_000
    layout = "mono" if sound.channels == 1 else "stereo"
    with _opened(source) as container, _output(part, AudioFormat.MP3) as output:
        # Compression level 7: a third faster than LAME's default 5, no audible loss at these rates.
        options = {"compression_level": "7"}
        stream = output.add_stream("libmp3lame", rate=hertz, layout=layout, options=options)
        encoder = cast("AudioStream", stream)
        encoder.bit_rate = kilobits * 1000
        encoder.format = "s16p"
        frames = _frames(container, _audio_stream(container), set())
        for frame in _converted(frames, layout, hertz):
            output.mux(encoder.encode(frame))
        output.mux(encoder.encode(None))


def _converted(frames: Iterator[AudioFrame], layout: str, hertz: int) -> Iterator[AudioFrame]:
    """Yield the frames resampled, with new times: those of a damaged file have gaps."""
    samples = 0
    shape: tuple[str, str, int] | None = None
    resampler = AudioResampler("s16p", layout, hertz)
    for frame in chain(frames, (None,)):
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


def _tag(file: BinaryIO, codec: str, tags: Tags) -> None:
    """Write the tags and no others. ID3 as 2.3: every player and Windows' Explorer read that."""
    made = f"Songwright #{tags.number}", f"seed {tags.seed}", clean(tags.request)
    fields = {
        "title": clean(tags.title),
        "artist": clean(tags.artist),
        "genre": clean(tags.genres),
        "comment": ", ".join(part for part in made if part),
    }
    if has_words(tags.lyrics):
        fields["lyrics"] = clean(tags.lyrics)
    file.seek(0)
    if codec == "mp3":
        id3 = ID3()
        for frame, name in (TIT2, "title"), (TPE1, "artist"), (TCON, "genre"):
            id3.add(frame(text=fields[name]))
        id3.add(COMM(lang="XXX", desc="", text=fields["comment"]))
        if "lyrics" in fields:
            id3.add(USLT(lang="XXX", desc="", text=fields["lyrics"]))
        id3.save(file, v2_version=3, padding=_no_padding)
        return
    opened = {"vorbis": OggVorbis, "opus": OggOpus, "aac": MP4}[codec](file)
    file.seek(0)
    opened.delete(file)
    for name, value in fields.items():
        opened[_MP4_KEYS[name] if codec == "aac" else name] = value
    file.seek(0)
    opened.save(file, padding=_no_padding)


def _no_padding(_: Any) -> int:  # noqa: ANN401 - mutagen's PaddingInfo, which has no types
    return 0


def _answer(job: Job, enter: Callable[[], Sandbox | None] = lambda: None) -> dict[str, Any]:
    """Return the line for stdout: the result, or an error by its class name.

    A denied access in the sandbox is a defect, since all files are open.
    """
    entered: Sandbox | None = None
    answer: dict[str, Any]

    def opened() -> None:
        nonlocal entered
        entered = enter()

    try:
        answer = {"format": transcode(job, opened).value}
    except AudioError as error:
        answer = {"error": type(error).__name__, "message": error.detail}
    except (OSError, MutagenError) as error:
        cause = _system_error(error)
        number = getattr(cause, "errno", None) or errno.EIO
        if entered and number in (errno.EACCES, errno.EPERM):
            answer = {"error": "SandboxRefused", "message": str(error)}
        elif number == errno.EFBIG:
            answer = {"error": NotAudio.__name__, "message": ""}
        else:
            message = getattr(cause, "strerror", None) or str(error)
            answer = {"error": "OSError", "errno": number, "message": message}
    return answer | {"sandbox": entered and asdict(entered)}


def _end_with_parent() -> None:
    """End when stdin ends: the parent is done with this process, or dead."""
    # Not sys.stdin: a waiting thread holds its lock, which breaks the interpreter's shutdown.
    while os.read(0, 1):
        pass
    os._exit(1)


def _limit_resources(limit: int) -> None:
    """Limit what a hostile file can use, as far as the system supports it. `limit` is in bytes.

    Hard limits too: code that takes this process over could raise the soft ones.
    """
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - Windows has none

        for what, bound in (
            (resource.RLIMIT_DATA, MEMORY),
            (resource.RLIMIT_AS, ADDRESSES),
            (resource.RLIMIT_CPU, CPU_SECONDS),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, limit + LARGEST),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
        ):
            _, hard = resource.getrlimit(what)
            lowest = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            with suppress(ValueError, OSError):  # the system knows the limit but not the value
                resource.setrlimit(what, (lowest, lowest))


def _enter_sandbox(*, sandboxed: bool) -> Sandbox | None:
    """Enter the sandbox before the first thread, which it would not restrict; allow only one.

    Root may start more (Linux, setrlimit(2)).
    """
    entered = sandbox.enter() if sandboxed else None
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - Windows has none

        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    return entered


def main() -> None:
    """Read one job, run it, and write the answer."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        job = Job.from_line(stdin.readline())
    _limit_resources(job.limit)
    with suppress(OSError):  # opening its files gives a better error
        os.chdir(job.part.parent)
    print(json.dumps(_answer(job, partial(_enter_sandbox, sandboxed=job.sandboxed))), flush=True)


if __name__ == "__main__":
    main()
