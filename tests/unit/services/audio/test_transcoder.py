# mypy: allow-untyped-calls
# (mutagen has no annotations)
"""Transcoding: small sounds are made here and measured; the child processes are real."""

from __future__ import annotations  # array.array[float] exists from Python 3.12 on

import array
import asyncio
import errno
import json
import math
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import unicodedata
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from hypothesis import given
from hypothesis import strategies as st
from mutagen import MutagenError
from mutagen.flac import Picture
from mutagen.id3 import APIC, ID3, TXXX
from mutagen.mp4 import MP4, MP4Cover
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from services import child_process
from services.audio import encoder
from services.audio import transcoder as transcoding
from services.audio.audio_file import MAX_STEM, AudioFormat, Job, Tags, file_stem
from services.audio.encoder import Sound, measure, transcode
from services.audio.sandbox import Sandbox
from services.audio.transcoder import Transcoder
from services.errors import AudioError, DoesNotFit, NotAudio, SilentAudio, TooShort

MIB = 2**20
TAGS = Tags(
    title="Über den Wolken \U0001f3b5",
    artist="Songwright",
    genres="funk, pop",
    lyrics="[verse]\nla la\n夜の海",
    seed=69_822_014,
    number=42,
    request="2 s, 50 steps",
)
COMMENT = "Songwright #42, seed 69822014, 2 s, 50 steps"
BARE = {"id3v2_version": "0", "write_xing": "0"}
"""Makes FFmpeg write MP3 frames and nothing else."""
FTYP = b"\0\0\0\x14ftypM4A \0\0\0\0isom\0\0\0\x08free"
AMPLITUDE = 0.3
LEVEL = AMPLITUDE / math.sqrt(2)


@cache
def samples(seconds: float, hertz: int, channels: int) -> array.array[float]:
    """A tone of 440 Hz, the same in every channel."""
    turn = 2 * math.pi * 440 / hertz
    values = array.array("f")
    for i in range(round(seconds * hertz)):
        values.extend([AMPLITUDE * math.sin(turn * i)] * channels)
    return values


def make(
    path: Path,
    container: str,
    codec: str,
    *,
    seconds: float = 2,
    hertz: int = 48_000,
    channels: int = 2,
    values: array.array[float] | None = None,
    bit_rate: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    values = samples(seconds, hertz, channels) if values is None else values
    frame = av.AudioFrame(format="flt", layout=layout, samples=len(values) // channels)
    frame.planes[0].update(values.tobytes())
    frame.sample_rate = hertz
    frame.pts, frame.time_base = 0, Fraction(1, hertz)
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=hertz, layout=layout)
        assert isinstance(stream, AudioStream)
        if bit_rate:
            stream.bit_rate = bit_rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def decoded(path: Path) -> tuple[float, array.array[float], int]:
    """Seconds, the first channel's samples, and hertz."""
    left = array.array("f")
    hertz = 0
    with av.open(str(path)) as container:
        resampler: AudioResampler | None = None
        for frame in container.decode(audio=0):
            hertz = frame.sample_rate
            resampler = resampler or AudioResampler("fltp", frame.layout, hertz)
            for piece in resampler.resample(frame):
                left.frombytes(bytes(piece.planes[0])[: piece.samples * 4])
    return len(left) / hertz, left, hertz


def level(values: array.array[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


def pitch(values: array.array[float], hertz: int) -> float:
    """Upward zero crossings a second, in the middle of the sound."""
    middle = values[len(values) // 4 : len(values) * 3 // 4]
    crossings = sum(1 for a, b in pairwise(middle) if a < 0 <= b)
    return crossings * hertz / len(middle)


def check_tone(
    path: Path, *, seconds: float, within: float = 0.05
) -> tuple[array.array[float], int]:
    """Check the length and pitch of a sound; return the first channel's samples, and hertz."""
    length, left, rate = decoded(path)
    assert length == pytest.approx(seconds, abs=within)
    assert pitch(left, rate) == pytest.approx(440, abs=5)
    return left, rate


def job(
    source: Path, *, limit: int = 10 * MIB, requested_seconds: int = 2, tags: Tags = TAGS
) -> Job:
    return Job(source, source.with_suffix(".part"), limit, requested_seconds, tags)


def measured(path: Path) -> Sound:
    with path.open("rb") as file:
        return measure(file)


@cache
def content_of(container: str, codec: str, bit_rate: int | None = None) -> bytes:
    """The bytes of two seconds of the tone."""
    with tempfile.TemporaryDirectory() as folder:
        return make(Path(folder) / "a", container, codec, bit_rate=bit_rate).read_bytes()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    path.write_bytes(content_of("wav", "pcm_s16le"))
    return path


@pytest.fixture
def mp3(tmp_path: Path) -> Path:
    path = tmp_path / "song.mp3"
    path.write_bytes(content_of("mp3", "libmp3lame", 128_000))
    return path


# ----------------------------------------------------------------------- formats

READ = [
    ("wav", "pcm_s16le", {}, AudioFormat.MP3),
    ("wav", "pcm_f32le", {"rf64": "always"}, AudioFormat.MP3),
    ("w64", "pcm_s16le", {}, AudioFormat.MP3),
    ("aiff", "pcm_s16be", {}, AudioFormat.MP3),
    ("flac", "flac", {}, AudioFormat.MP3),
    ("ogg", "flac", {}, AudioFormat.MP3),
    ("ipod", "alac", {}, AudioFormat.MP3),
    ("mp2", "mp2", {}, AudioFormat.MP3),
    ("mp3", "libmp3lame", {}, AudioFormat.MP3),
    ("mp3", "libmp3lame", BARE, AudioFormat.MP3),
    ("ogg", "libvorbis", {}, AudioFormat.OGG),
    ("ogg", "libopus", {}, AudioFormat.OGG),
    ("webm", "libopus", {}, AudioFormat.OGG),
    ("ipod", "aac", {}, AudioFormat.M4A),
    ("mp4", "aac", {}, AudioFormat.M4A),
    ("mp4", "aac", {"movflags": "dash+frag_keyframe"}, AudioFormat.M4A),
    ("mp4", "aac", {"movflags": "frag_keyframe", "brand": "isom"}, AudioFormat.M4A),
    ("mov", "aac", {}, AudioFormat.M4A),
    ("adts", "aac", {}, AudioFormat.M4A),
    ("ac3", "ac3", {}, None),
    ("au", "pcm_s16be", {}, None),
    ("nut", "pcm_s16le", {}, None),
    ("matroska", "ac3", {}, None),
]


@pytest.mark.parametrize(("container", "codec", "options", "expected"), READ)
def test_decoder_decides_what_is_audio(
    tmp_path: Path,
    container: str,
    codec: str,
    options: dict[str, str],
    expected: AudioFormat | None,
) -> None:
    source = make(tmp_path / "a", container, codec, seconds=0.5, options=options)
    task = job(source, requested_seconds=0)
    if expected is None:
        with pytest.raises(NotAudio):
            transcode(task)
        return
    assert transcode(task) is expected is format_of(task.part)
    check_tone(task.part, seconds=0.5, within=0.07)


def format_of(path: Path) -> AudioFormat:
    starts = {b"ID3": AudioFormat.MP3, b"Ogg": AudioFormat.OGG, b"\0\0\0": AudioFormat.M4A}
    return starts[path.read_bytes()[:3]]


@pytest.mark.parametrize(
    ("before", "container", "codec"),
    [
        (b"ID3\x04\0\0\0\x04\0\0" + bytes(65_536), "flac", "flac"),
        (b"ID3\x04\0\0\0\x04\0\0" + bytes(65_536), "mp3", "libmp3lame"),
        (b"ID3\x04\0\0\x02\0\0\0" + bytes(2 * 2**21), "mp3", "libmp3lame"),
        (b"ID3\x04\0\0\0\0\0\0ID3\x03\0\0\0\0\0\x01x", "mp3", "libmp3lame"),
        (bytes(700), "mp3", "libmp3lame"),
    ],
)
def test_reads_behind_tags_of_any_length(
    tmp_path: Path, before: bytes, container: str, codec: str
) -> None:
    source = make(tmp_path / "a", container, codec)
    source.write_bytes(before + source.read_bytes())
    assert measured(source).seconds == pytest.approx(2, abs=0.1)


# ----------------------------------------------------------------------- file names


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Midnight Train", "42-midnight-train"),
        ("Don't stop -- me\u2019s now!", "42-dont-stop-mes-now"),
        ("  ", "42"),
        ("\U0001f3b5\U0001f3b5", "42"),
        ("Поїзд опівночі", "42-поїзд-опівночі"),
        ("真夜中の列車", "42-真夜中の列車"),
        ("आधी रात", "42-आधी-रात"),
        ("\uff26\uff55\uff4c\uff4c width \u00b2", "42-full-width-2"),
        ("@everyone <@123> **bold** `x` ~~y~~ ||z|| [a](b)", "42-everyone-123-bold-x-y-z-a-b"),
        ("../../etc/passwd\0", "42-etc-passwd"),
        ("a\u3164b\u202ec\ufe0fd", "42-a-b-c-d"),
        ("CON", "42-con"),
        ("x" * 100, "42-" + "x" * 57),
        ("a" * 56 + " bc", "42-" + "a" * 56),
    ],
)
def test_file_stem(title: str, expected: str) -> None:
    assert file_stem(42, title) == expected


@given(st.integers(1, 10**9), st.text(max_size=200))
def test_file_stem_is_safe_whatever_the_title(number: int, title: str) -> None:
    stem = file_stem(number, title)
    assert stem.startswith(str(number))
    assert len(stem) <= MAX_STEM
    assert len(f".{stem}.part".encode()) <= 255
    assert not stem.endswith("-")
    assert all(c == "-" or unicodedata.category(c)[0] in "LMN" for c in stem)


# ----------------------------------------------------------------------- encoding


@pytest.mark.parametrize(
    ("container", "codec", "hertz", "channels", "expected_hertz"),
    [
        ("wav", "pcm_s16le", 44_100, 2, 44_100),
        ("wav", "pcm_s16le", 48_000, 1, 48_000),
        ("wav", "pcm_u8", 8_000, 1, 48_000),
        ("wav", "pcm_s24le", 96_000, 2, 48_000),
        ("wav", "pcm_f32le", 22_050, 2, 44_100),
        ("wav", "pcm_s16le", 32_000, 2, 48_000),
        ("wav", "pcm_s16le", 44_100, 6, 44_100),
        ("flac", "flac", 88_200, 2, 44_100),
        ("ogg", "flac", 48_000, 2, 48_000),
    ],
)
def test_encodes_every_lossless_format(
    tmp_path: Path, container: str, codec: str, hertz: int, channels: int, expected_hertz: int
) -> None:
    source = make(tmp_path / "song", container, codec, hertz=hertz, channels=channels)
    task = job(source)
    assert transcode(task) is AudioFormat.MP3 is format_of(task.part)
    assert measured(source).seconds == pytest.approx(2, abs=0.001)
    left, rate = check_tone(task.part, seconds=2)
    assert rate == expected_hertz
    assert abs(20 * math.log10(level(left) / LEVEL)) < 1
    assert task.part.stat().st_size == pytest.approx(2 * 192_000 / 8, rel=0.06)


BAD_SAMPLES = [math.nan, -math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le", "pcm_f32be"])
@pytest.mark.parametrize("channels", [1, 2])
def test_bad_samples_are_silence(tmp_path: Path, codec: str, channels: int) -> None:
    """They came out at full scale; the tone around them goes on."""
    values = samples(2, 48_000, channels)[:]
    bad = slice(len(values) // 4, len(values) // 2)
    values[bad] = array.array("f", BAD_SAMPLES * ((bad.stop - bad.start) // 4))
    container = "aiff" if codec.endswith("be") else "wav"
    task = job(make(tmp_path / "song", container, codec, channels=channels, values=values))
    transcode(task)
    length, left, rate = decoded(task.part)
    assert length == pytest.approx(2, abs=0.05)
    assert level(left[round(0.55 * rate) : round(0.95 * rate)]) < 0.001
    assert max(map(abs, left)) < 2 * AMPLITUDE
    assert pitch(left[rate * 5 // 4 :], rate) == pytest.approx(440, abs=2)


def test_huge_samples_are_no_bad_samples(tmp_path: Path) -> None:
    values = array.array("f", [3e38, -3e38] * 48_000)
    assert measured(make(tmp_path / "song", "wav", "pcm_f32le", values=values)).peak > 1


def dither(steps: float) -> array.array[float]:
    """Noise of so many 16-bit steps, as silence often is."""
    noise = random.Random(1)
    both = (noise.random() - noise.random() for _ in range(2 * 2 * 48_000))
    return array.array("f", (steps * value / 32_768 for value in both))


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("mp3", "libmp3lame"), ("ogg", "libopus")],
)
@pytest.mark.parametrize(
    "values", [array.array("f", bytes(768_000)), dither(4)], ids=["zeros", "dither"]
)
def test_nothing_but_silence_is_refused(
    tmp_path: Path, container: str, codec: str, values: array.array[float]
) -> None:
    with pytest.raises(SilentAudio):
        transcode(job(make(tmp_path / "song", container, codec, values=values)))


def test_nothing_but_bad_samples_is_silence(tmp_path: Path) -> None:
    values = array.array("f", BAD_SAMPLES * 48_000)
    with pytest.raises(SilentAudio):
        transcode(job(make(tmp_path / "song", "wav", "pcm_f32le", values=values)))


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "pcm_f32le"])
def test_a_song_may_begin_with_silence_and_be_soft(tmp_path: Path, codec: str) -> None:
    values = array.array("f", bytes(384_000))
    values.extend(value * 0.001 / AMPLITUDE for value in samples(1, 48_000, 2))
    transcode(job(make(tmp_path / "song", "wav", codec, values=values)))


# ----------------------------------------------------------------------- chunks of a WAV


@pytest.mark.parametrize("declared", [0, 1_000, 1_001, 0x7FFF_FFD0, 0xFFFF_FFFF])
def test_a_wav_header_may_lie_about_its_length(wav: Path, declared: int) -> None:
    lying = bytearray(wav.read_bytes())
    at = lying.index(b"data") + 4
    struct.pack_into("<I", lying, at, declared)
    struct.pack_into("<I", lying, 4, min(declared + 36, 0xFFFF_FFFF))
    assert measure(BytesIO(lying)).seconds == pytest.approx(2, abs=0.01)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def riff(*chunks: bytes) -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


NOISE = random.Random(2).randbytes(200_001)
FORM = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8_000, 16_000, 2, 16))
TONE = chunk(b"data", b"".join(struct.pack("<h", 9_000 * (i // 9 % 2)) for i in range(16_000)))


@pytest.mark.parametrize(
    "content",
    [
        riff(FORM, TONE, chunk(b"id3 ", NOISE)),
        riff(FORM, TONE, chunk(b"odd ", b"o"), chunk(b"PICT", NOISE)),
        riff(FORM, TONE, chunk(b"PICT", NOISE))[:-1],
        riff(chunk(b"JUNK", bytes(28)), FORM, TONE),
        riff(chunk(b"JUNK", chunk(b"data", bytes(100)) + bytes(20)), FORM, TONE),
        riff(chunk(b"JUNK", bytes(20_000)), FORM, TONE, chunk(b"PICT", NOISE)),
        riff(chunk(b"JUNK", bytes(20_000)), FORM, b"data" + struct.pack("<I", 1_000) + TONE[8:]),
        riff(chunk(b"odd ", b"o"), FORM, chunk(b"LIST", b"INFOdata"), TONE),
        riff(FORM, TONE) + b"ID3\3" + NOISE,
        riff(FORM, TONE) + b"\xff\xd8\xff\xe0" + NOISE,
        riff(FORM, TONE) + b"TAG" + NOISE[:125],
    ],
    ids=[
        *("tag", "picture", "no padding", "junk", "data in junk", "large junk", "too small", "odd"),
        *("ID3", "JPEG", "ID3v1"),
    ],
)
def test_chunks_are_walked(content: bytes) -> None:
    """A picture behind the sound was noise; `data` within another chunk was taken for the sound."""
    assert measure(BytesIO(content)).seconds == 2


@pytest.mark.parametrize("kilobits", [192, 160, 128, 96, 64, 32])
def test_takes_the_best_bit_rate_that_fits(wav: Path, kilobits: int) -> None:
    task = job(wav)
    transcode(task)
    limit = math.ceil(kilobits * 125 * 2.1) + ID3(task.part).size
    transcode(replace(task, limit=limit))
    assert task.part.stat().st_size <= limit
    with av.open(str(task.part)) as container:
        rates = [packet.size for packet in container.demux(audio=0) if packet.size]
    # A frame of MPEG-1 layer III at 48 kHz lasts 24 ms.
    assert rates[len(rates) // 2] == pytest.approx(kilobits * 3, abs=2)


def test_encodes_again_at_a_lower_bit_rate_if_the_file_is_still_too_large(
    wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "_ENCODER_OVERHEAD", -0.5)
    limit = 192 * 125 * 2
    transcode(job(wav, limit=limit))
    assert 0.6 * limit < job(wav).part.stat().st_size <= limit


def test_a_song_of_240_s_fits_10_mib() -> None:
    best = encoder.BIT_RATES[0]
    assert best == 192
    assert best * 125 * 240.1 + 20_000 < 10 * MIB


def test_a_stream_that_changes_its_channels_and_rate_is_encoded_completely(
    tmp_path: Path,
) -> None:
    source = tmp_path / "song"
    shapes: list[dict[str, Any]] = [
        {"hertz": 44_100, "channels": 1},
        {"hertz": 48_000, "channels": 2},
    ]
    with source.open("wb") as file:
        for shape in shapes:
            part = make(tmp_path / "part", "mp3", "libmp3lame", options=BARE, **shape)
            file.write(part.read_bytes())
    task = job(source, limit=source.stat().st_size - 1)
    transcode(task)
    length, left, rate = decoded(task.part)
    assert length == pytest.approx(measured(source).seconds, abs=0.05)
    assert length == pytest.approx(4, abs=0.2)
    for half in (left[: 2 * rate], left[2 * rate :]):
        assert pitch(half, rate) == pytest.approx(440, abs=2)


def test_damage_costs_only_the_damaged_moment(mp3: Path) -> None:
    damaged = bytearray(mp3.read_bytes())
    damaged[15_000:16_000] = os.urandom(1_000)
    mp3.write_bytes(damaged)
    assert measured(mp3).seconds == pytest.approx(2, abs=0.3)


# ----------------------------------------------------------------------- copying


def ogg_tags(path: Path) -> OggOpus | OggVorbis:
    return (OggOpus if b"OpusHead" in path.read_bytes()[:200] else OggVorbis)(path)


def add_vendor_tags(path: Path) -> None:
    """A cover and a comment, as a vendor would."""
    cover = b"\xff\xd8\xff\xe0" + bytes(30_000)
    kind = format_of(path)
    if kind is AudioFormat.MP3:
        id3 = ID3()
        id3.add(APIC(mime="image/jpeg", data=cover))
        id3.add(TXXX(desc="vendor", text="secret"))
        id3.save(path)
    elif kind is AudioFormat.M4A:
        m4a = MP4(path)
        m4a["covr"] = [MP4Cover(cover)]
        m4a["\xa9too"] = "vendor"
        m4a.save()
    else:
        ogg = ogg_tags(path)
        picture = Picture()
        picture.data = cover
        ogg["metadata_block_picture"] = picture.write().hex()
        ogg["vendor"] = "secret"
        ogg.save()


def read_tags(path: Path) -> dict[str, str]:
    kind = format_of(path)
    if kind is AudioFormat.MP3:
        id3 = ID3(path)
        assert id3.version == (2, 3, 0)
        return {key: str(frame) for key, frame in id3.items()}
    tags = MP4(path) if kind is AudioFormat.M4A else ogg_tags(path)
    return {key: value[0] for key, value in tags.items()}


def tags_named(title: str, artist: str, genre: str, lyrics: str, comment: str) -> dict[str, str]:
    """`TAGS` by a format's names for them."""
    values = (TAGS.title, TAGS.artist, TAGS.genres, TAGS.lyrics, COMMENT)
    return dict(zip((title, artist, genre, lyrics, comment), values, strict=True))


ID3_TAGS = tags_named("TIT2", "TPE1", "TCON", "USLT::XXX", "COMM::XXX")
VORBIS_TAGS = tags_named("title", "artist", "genre", "lyrics", "comment")
MP4_TAGS = tags_named("\xa9nam", "\xa9ART", "\xa9gen", "\xa9lyr", "\xa9cmt")


@pytest.mark.parametrize(
    ("container", "codec", "kind", "expected"),
    [
        ("mp3", "libmp3lame", AudioFormat.MP3, ID3_TAGS),
        ("ogg", "libvorbis", AudioFormat.OGG, VORBIS_TAGS),
        ("ogg", "libopus", AudioFormat.OGG, VORBIS_TAGS),
        ("ipod", "aac", AudioFormat.M4A, MP4_TAGS),
    ],
)
def test_sound_under_the_limit_is_copied_and_only_tags_change(
    tmp_path: Path, container: str, codec: str, kind: AudioFormat, expected: dict[str, str]
) -> None:
    source = make(tmp_path / "song", container, codec)
    add_vendor_tags(source)
    before = source.read_bytes()
    task = job(source)

    assert transcode(task) is kind

    assert source.read_bytes() == before
    assert decoded(task.part)[1] == decoded(source)[1]
    assert read_tags(task.part) == expected
    assert task.part.stat().st_size < source.stat().st_size - 25_000  # the cover is gone


PAYLOAD = b"PK\x03\x04 not a song " * 3_000


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp3", "libmp3lame"), ("ogg", "libvorbis"), ("ogg", "libopus"), ("ipod", "aac"),
     ("adts", "aac")],
)  # fmt: skip
def test_data_that_is_no_sound_is_left_out(tmp_path: Path, container: str, codec: str) -> None:
    """A file behind the song was posted with it; one between its frames too."""
    source = make(tmp_path / "song", container, codec)
    before = decoded(source)[1]
    content = source.read_bytes()
    source.write_bytes(content + PAYLOAD)
    if container == "mp3":
        source.write_bytes(content[:16_000] + PAYLOAD + content[16_000:] + PAYLOAD)
    task = job(source)
    transcode(task)
    assert b"not a song" not in task.part.read_bytes()
    assert len(decoded(task.part)[1]) == pytest.approx(len(before), rel=0.04)


def grown(content: bytes, path: list[bytes], old: bytes, new: bytes) -> bytes:
    """MP4 boxes with `old` within them replaced, and the sizes of those in `path` corrected."""
    by = len(new) - len(old)
    assert content.count(old) == 1
    for name in path:
        at = content.index(name) - 4
        size = struct.pack(">I", struct.unpack(">I", content[at : at + 4])[0] + by)
        content = content[:at] + size + content[at + 4 :]
    return content.replace(old, new)


def alias(path: Path) -> bytes:
    """A data reference of QuickTime to a file elsewhere on this machine."""
    name = str(path).encode()
    padded = name + bytes(len(name) % 2)
    head = bytes(10) + b"\6volume".ljust(28, b"\0") + bytes(12) + b"\6secret".ljust(64, b"\0")
    absolute = struct.pack(">hH", 2, len(name)) + padded
    body = head + bytes(16) + struct.pack(">hh", -1, -1) + bytes(16) + absolute + b"\xff\xff\0\0"
    return struct.pack(">I", len(body) + 12) + b"alis" + bytes(4) + body


def test_sound_that_is_in_another_file_is_not_posted(tmp_path: Path) -> None:
    """An answer could name a file of this machine, or an address, as where its sound is."""
    secret = make(tmp_path / "secret", "mov", "aac")
    content = secret.read_bytes()
    here = struct.pack(">I", 12) + b"url " + struct.pack(">I", 1)
    elsewhere = content.index(b"mdat") + 4
    sound = slice(elsewhere, content.index(b"moov") - 4)
    content = content[: sound.start] + bytes(sound.stop - sound.start) + content[sound.stop :]
    boxes = [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"]
    source = tmp_path / "song"
    source.write_bytes(grown(content, boxes, here, alias(secret)))
    with av.open(str(source), options={"enable_drefs": "1", "use_absolute_path": "1"}) as opened:
        assert any(packet.size for packet in opened.demux(audio=0))  # so it would be read
    with pytest.raises(AudioError):
        transcode(job(source))


def test_an_instrumental_has_no_lyrics_and_odd_characters_are_dropped(mp3: Path) -> None:
    task = job(mp3, tags=Tags("a\0b\ud800c", "", "x", "[instrumental]", 5, 7))
    transcode(task)
    tags = read_tags(task.part)
    assert tags["TIT2"] == "abc"
    assert tags["COMM::XXX"] == "Songwright #7, seed 5"
    assert not [key for key in tags if key.startswith("USLT")]


def test_tags_count_as_part_of_the_size(mp3: Path) -> None:
    bare = mp3.read_bytes()[ID3(mp3).size :]
    mp3.write_bytes(bare)
    task = job(mp3)
    transcode(task)
    tagged = task.part.stat().st_size
    assert tagged > len(bare)
    for limit, copied in ((tagged, True), (tagged - 1, False)):
        assert transcode(replace(task, limit=limit)) is AudioFormat.MP3
        assert task.part.stat().st_size <= limit
        assert task.part.read_bytes().endswith(bare[-1_000:]) is copied


def fail_to_tag(monkeypatch: pytest.MonkeyPatch, error: Exception, *, times: int) -> None:
    real, left = encoder._tag, [error] * times

    def tag(file: Any, codec: str, tags: Tags) -> None:
        if left and not isinstance(file, BytesIO):
            raise left.pop()
        real(file, codec, tags)

    monkeypatch.setattr(encoder, "_tag", tag)


def test_sound_that_cannot_be_tagged_is_encoded(mp3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_tag(monkeypatch, MutagenError("no"), times=1)
    transcode(job(mp3))
    assert read_tags(job(mp3).part) == ID3_TAGS


# ----------------------------------------------------------------------- refused


def test_refuses_a_song_shorter_than_half_of_what_was_requested(wav: Path) -> None:
    transcode(job(wav, requested_seconds=4))
    with pytest.raises(TooShort, match="too_short, 2 s"):
        transcode(job(wav, requested_seconds=5))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF\x24\0\0\0WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 2, 44_100, 176_400, 4, 16)
        + b"data\0\0\0\0",
        b"RIFF\x24\0\0\0WAVE" + bytes(5_000),
        b"fLaC" + bytes(5_000),
        b"OggS\0\x02" + bytes(20) + b"\x01\x1e\x01vorbis" + bytes(5_000),
        FTYP + bytes(5_000),
        b"ID3\x04\0\0\0\0\0\x05xxxxx" + (b"\xff\xfb\x90\x00" + b"\x55" * 413) * 3,
        b"#EXTM3U\n#EXTINF:10,\nsong.mp3\n",
        b"ffconcat version 1.0\nfile song.mp3\n",
        b'<?xml version="1.0"?><MPD></MPD>',
    ],
)
def test_refuses_what_is_no_audio(tmp_path: Path, mp3: Path, content: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    with pytest.raises(NotAudio):
        transcode(job(source, requested_seconds=0))


def test_refuses_a_video_even_if_it_calls_itself_audio(tmp_path: Path) -> None:
    source = tmp_path / "song"
    with av.open(str(source), "w", format="ipod") as output:
        stream = output.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(stream.encode(None))
    source.write_bytes(source.read_bytes().replace(b"ftypM4V ", b"ftypM4A "))
    with pytest.raises(NotAudio, match="video"):
        measured(source)


def test_refuses_a_container_with_no_stream() -> None:
    empty: Any = SimpleNamespace(streams=SimpleNamespace(video=(), audio=()))
    with pytest.raises(NotAudio):
        encoder._audio_stream(empty)


def test_a_bomb_is_refused_when_it_has_lasted_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "song"
    make(source, "flac", "flac", seconds=8, hertz=8_000, values=array.array("f", bytes(8 * 64_000)))
    assert source.stat().st_size < 12_000
    monkeypatch.setattr(encoder, "LONGEST", 5.0)
    with pytest.raises(NotAudio, match="more than 5 s"):
        measured(source)


HEADS = [
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0",
    b"RIFF\x24\0\0\0WAVEdata",
    b"FORM\x24\0\0\0AIFFCOMM",
    b"fLaC\0\0\0\x22",
    b"OggS\0\x02" + bytes(20) + b"\x01\x1e\x01vorbis",
    FTYP,
    b"\xff\xfb\x90\x00",
    b"\xff\xf1\x4c\x80",
    b"\x1a\x45\xdf\xa3",
]


@given(head=st.sampled_from(HEADS), content=st.binary(max_size=2_000))
def test_bad_bytes_are_measured_or_refused(head: bytes, content: bytes) -> None:
    with suppress(NotAudio):
        assert isinstance(measure(BytesIO(head + content)), Sound)


# ----------------------------------------------------------------------- the child's answers


def test_answers_with_errors_by_name(tmp_path: Path, wav: Path) -> None:
    assert encoder._answer(job(wav, requested_seconds=9)) == {
        "error": "TooShort",
        "message": "2 s",
        "sandbox": None,
    }
    assert encoder._answer(job(tmp_path / "absent"))["errno"] == errno.ENOENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error_of_the_system(wav: Path, mp3: Path) -> None:
    for source in (wav, mp3):
        answer = encoder._answer(Job(source, Path("/dev/full"), 10 * MIB, 2, TAGS))
        assert (answer["error"], answer["errno"]) == ("OSError", errno.ENOSPC)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("container", ["wav", "mp3"])
def test_a_disk_that_fills_up_while_tagging_is_an_error_of_the_system(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, container: str, number: int
) -> None:
    fail_to_tag(monkeypatch, MutagenError(OSError(number, "full")), times=2)
    answer = encoder._answer(job(request.getfixturevalue(container)))
    assert (answer["error"], answer["errno"], answer["message"]) == ("OSError", number, "full")


def test_the_child_limits_its_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[int, int] = {}

    def refuse_cores(what: int, bounds: tuple[int, int]) -> None:
        if what == resource.RLIMIT_CORE:
            raise ValueError("not here")
        assert bounds[0] == bounds[1], "it could be lifted again"
        limits[what] = bounds[0]

    hard = {resource.RLIMIT_NOFILE: 9}
    monkeypatch.setattr(resource, "getrlimit", lambda what: (0, hard.get(what, -1)))
    monkeypatch.setattr(resource, "setrlimit", refuse_cores)
    encoder._limit_resources(10 * MIB)
    assert limits == {
        resource.RLIMIT_DATA: encoder.MEMORY,
        resource.RLIMIT_AS: encoder.ADDRESSES,
        resource.RLIMIT_CPU: encoder.CPU_SECONDS,
        resource.RLIMIT_FSIZE: 10 * MIB + encoder.LARGEST,
        resource.RLIMIT_NOFILE: 9,  # what it had is less
    }


# ----------------------------------------------------------------------- the transcoder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "songs").mkdir()
    return tmp_path / "songs"


def start(
    transcoder: Transcoder, source: Path, folder: Path, *, stem: str = "42-song", **changes: Any
) -> asyncio.Task[Path]:
    options = {"limit": 10 * MIB, "tags": TAGS, "requested_seconds": 2, **changes}
    return asyncio.create_task(transcoder.transcode(source, folder, stem=stem, **options))


async def test_transcodes_from_any_working_directory(
    folder: Path, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "services.py").write_text("raise SystemExit('the wrong services')")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "song").symlink_to(wav)
    (folder / "42-song.mp3").write_bytes(b"old")
    (folder / ".42-song.part").write_bytes(b"left by a crash")
    path = await start(Transcoder(), Path("song"), Path("../songs"))

    assert path == Path("../songs/42-song.mp3")
    assert names(folder) == ["42-song.mp3"]
    check_tone(path, seconds=2)
    assert read_tags(path) == ID3_TAGS


async def test_the_bots_process_never_loads_a_decoder() -> None:
    code = (
        "import sys, services.audio.transcoder; "
        "print([m for m in ('av', 'mutagen') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=subprocess.PIPE, cwd=Path(__file__).parents[4]
    )
    out, _ = await process.communicate()
    assert out.strip() == b"[]"


async def test_the_childs_errors_arrive(folder: Path, tmp_path: Path, wav: Path) -> None:
    with pytest.raises(TooShort):
        await start(Transcoder(), wav, folder, requested_seconds=5)
    with pytest.raises(DoesNotFit):
        await start(Transcoder(), wav, folder, limit=1_000)
    with pytest.raises(FileNotFoundError):
        await start(Transcoder(), tmp_path / "absent", folder)
    with pytest.raises(FileNotFoundError):
        await start(Transcoder(), wav, folder / "absent")
    assert names(folder) == []


def run_instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Children run this code instead of the encoder's."""
    monkeypatch.setattr(transcoding, "_PROGRAM", (sys.executable, "-c", code))


@pytest.mark.parametrize(
    ("program", "logged"),
    [
        ("import os; os.abort()", "killed by signal 6"),
        ("raise SystemExit(3)", "ended with 3"),
        ("import sys; sys.stderr.write('x' * 100_000 + 'the end')", "the end"),
        ("print('{')", "no answer"),
        ("print('[' * 1_000_000)", "no answer"),
        ("print('[' * 2_000)", "no answer"),
        ("print('[]')", "no answer"),
        ("print('1')", "no answer"),
        ("print('{}')", "no answer"),
        ("""print('{"error": []}')""", "no answer"),
        ("""print('{"error": "OSError", "errno": Infinity, "message": ""}')""", "no answer"),
        ("""print('{"format": "exe"}')""", "no answer"),
        ("raise MemoryError", "MemoryError"),
    ],
)
async def test_a_child_that_crashes_is_an_error_of_ours(
    folder: Path,
    wav: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    program: str,
    logged: str,
) -> None:
    preface = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    run_instead(monkeypatch, preface + program)
    with pytest.raises(NotAudio):
        await start(Transcoder(), wav, folder)
    assert logged in caplog.text
    assert len(caplog.text) < 10_000


async def test_a_child_that_never_stops_talking_takes_no_memory(
    folder: Path, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that takes it over could fill the bot's: 600 MB took 1.2 GB."""
    run_instead(monkeypatch, "import os\nfor _ in range(64): os.write(1, b'x' * 2**20)")
    tracemalloc.start()
    try:
        with pytest.raises(NotAudio):
            await start(Transcoder(), wav, folder)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("error", "message", "raised", "logged"),
    [
        ("NotAudio", "x" * 3_000, "x" * transcoding._LONGEST_MESSAGE, ""),
        # It counted as an error of the disk, after which a song is retried for half an hour.
        ("SandboxRefused", "/a/file", "", "/a/file"),
    ],
)
async def test_a_childs_message_is_cut_or_logged(
    folder: Path,
    wav: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: str,
    message: str,
    raised: str,
    logged: str,
) -> None:
    run_instead(monkeypatch, f"print({json.dumps({'error': error, 'message': message})!r})")
    with pytest.raises(NotAudio) as refused:
        await start(Transcoder(), wav, folder)
    assert refused.value.detail == raised
    assert logged in caplog.text


async def test_no_process_can_be_started(
    folder: Path, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcoding, "_PROGRAM", (str(folder / "absent"),))
    with pytest.raises(child_process.CannotStartError, match="absent") as raised:
        await start(Transcoder(), wav, folder)
    assert not isinstance(raised.value, FileNotFoundError), "it would be taken for lost audio"


READS_ON = (
    "from services.audio import encoder;"
    "encoder.measure = lambda source: source.read();"
    "encoder.main()"
)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Sources that hang a child that reads them: pipes that nobody writes to."""

    def make_pipe(name: str) -> Path:
        run_instead(monkeypatch, READS_ON)
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return make_pipe


def opened_by_child(pipe: Path) -> int:
    """Wait until a reader has opened the pipe; give the other end of it."""
    return os.open(pipe, os.O_WRONLY)


def assert_nobody_reads(end: int) -> None:
    with pytest.raises(BrokenPipeError):
        os.write(end, b"anybody?")
    os.close(end)


async def test_cancelling_kills_the_child(folder: Path, hanging: Callable[[str], Path]) -> None:
    pipe = hanging("a")
    task = start(Transcoder(), pipe, folder)
    end = await asyncio.to_thread(opened_by_child, pipe)
    (folder / ".42-song.part").write_bytes(b"half a song")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_nobody_reads(end)
    assert names(folder) == []


async def test_a_child_that_times_out_is_killed(
    folder: Path,
    hanging: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Job, "timeout", 0.05)
    pipe = hanging("a")
    end = os.open(pipe, os.O_RDWR)  # whether or not the child has started
    with pytest.raises(NotAudio):
        await start(Transcoder(), pipe, folder)
    os.close(end)
    assert caplog.text.count("killed after") == 2
    with pytest.raises(OSError, match="No such device"):
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize("killed", [1, 2])
async def test_a_child_that_the_system_kills_gets_a_second_chance(
    folder: Path,
    mp3: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    killed: int,
) -> None:
    """As one does that is short of memory."""
    started: list[Process] = []

    async def start_and_kill(*args: Any, **kwargs: Any) -> Process:
        process = await begin(*args, **kwargs)
        started.append(process)
        if len(started) <= killed:
            process.kill()
        return process

    begin = child_process.start
    monkeypatch.setattr(child_process, "start", start_and_kill)
    task = start(Transcoder(), mp3, folder)
    if killed == 1:
        assert (await task).suffix == ".mp3"
    else:
        with pytest.raises(NotAudio):
            await task
    assert len(started) == 2
    assert caplog.text.count("killed by signal 9") == killed


async def test_close_cancels_what_runs_and_what_waits(
    folder: Path, hanging: Callable[[str], Path]
) -> None:
    transcoder = Transcoder(at_once=1)
    pipe = hanging("a")
    running = start(transcoder, pipe, folder, stem="1")
    end = await asyncio.to_thread(opened_by_child, pipe)
    waiting = start(transcoder, pipe, folder, stem="2")
    await asyncio.sleep(0)
    await transcoder.close()
    assert_nobody_reads(end)
    for task in (running, waiting):
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(RuntimeError, match="closed"):
        await start(transcoder, pipe, folder)
    await transcoder.close()


async def test_a_child_ends_with_the_bot(hanging: Callable[[str], Path], folder: Path) -> None:
    """The bot's death closes its end of stdin, whoever killed it."""
    pipe = hanging("a")
    child = await asyncio.create_subprocess_exec(
        *transcoding._PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=child_process.ROOT
    )
    assert child.stdin is not None
    child.stdin.write(Job(pipe, folder / "part", 1, 2, TAGS).to_line())
    end = await asyncio.to_thread(opened_by_child, pipe)
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 10) == 1
    assert_nobody_reads(end)


async def test_the_child_has_low_priority_limits_and_no_secrets(
    folder: Path, hanging: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "s3cret")
    children: list[asyncio.subprocess.Process] = []
    spawn = asyncio.create_subprocess_exec

    async def remember(*program: str, **options: Any) -> asyncio.subprocess.Process:
        assert "s3cret" not in options["env"].values()
        children.append(await spawn(*program, **options))
        return children[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    transcoder = Transcoder()
    pipe = hanging("a")
    task = start(transcoder, pipe, folder)
    end = await asyncio.to_thread(opened_by_child, pipe)
    pid = children[0].pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == transcoding._NICENESS
    if sys.platform == "linux":
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER, "SCHED_IDLE starves next to others"
        assert resource.prlimit(pid, resource.RLIMIT_DATA)[0] == encoder.MEMORY
    await transcoder.close()
    os.close(end)
    assert task.cancelled()


async def test_transcodes_no_more_than_the_limit_at_once(
    folder: Path, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: set[str] = set()
    most = 0
    go_on = asyncio.Event()

    async def pretend(job: Job) -> dict[str, Any]:
        nonlocal most
        running.add(job.part.name)
        most = max(most, len(running))
        await go_on.wait()
        await asyncio.sleep(0)
        running.remove(job.part.name)
        return {"error": "NotAudio", "message": "no"}

    monkeypatch.setattr(transcoding, "_run_child", pretend)
    transcoder = Transcoder(at_once=3)
    tasks = [start(transcoder, wav, folder, stem=str(i)) for i in range(10)]
    for _ in range(100):  # turns of the loop: enough to start all ten
        await asyncio.sleep(0)
    assert len(running) == 3
    go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    assert [type(result) for result in results] == [NotAudio] * 10


async def test_a_part_that_cannot_be_removed_is_logged(
    folder: Path, wav: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".42-song.part").mkdir()
    with pytest.raises(IsADirectoryError):
        await start(Transcoder(), wav, folder)
    assert "Could not remove" in caplog.text


# ----------------------------------------------------------------------- the sandbox


async def sandboxed_jobs(transcoder: Transcoder, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether the next song's child will enter it."""
    jobs: list[Job] = []

    async def note(job: Job) -> dict[str, Any]:
        jobs.append(job)
        return {"error": "NotAudio", "message": "no"}

    monkeypatch.setattr(transcoding, "_run_child", note)
    with suppress(NotAudio):
        await start(transcoder, Path("source"), Path())
    return jobs[0].sandboxed


async def test_a_sound_is_transcoded_in_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    transcoder = Transcoder()
    await transcoder.check_sandbox()
    assert "fails in its sandbox" not in caplog.text
    assert names(tmp_path) == []
    assert await sandboxed_jobs(transcoder, monkeypatch)


WORKS: dict[str, Any] = {"format": "mp3"}
KILLED = ChildProcessError("killed by signal 9")


@pytest.mark.parametrize(
    ("inside", "outside", "stays_on", "logged"),
    [
        ({"error": "SandboxRefused", "message": "/usr/lib"}, WORKS, False, "/usr/lib"),
        ({"error": "NotAudio", "message": "no"}, WORKS, False, "Please report"),
        (NotAudio("no answer"), WORKS, False, "no answer"),
        (ChildProcessError("signal 31"), WORKS, False, "signal 31"),
        (TimeoutError(), WORKS, True, "could not be tested"),
        (OSError(errno.ENOSPC, "full"), WORKS, True, "could not be tested"),
        ({"error": "OSError", "errno": 28, "message": "full"}, WORKS, True, "tested: full"),
        # A machine short of memory at the start.
        (KILLED, KILLED, True, "could not be tested: killed by signal 9"),
        (KILLED, NotAudio("no answer"), True, "could not be tested: killed by signal 9"),
        (WORKS | {"sandbox": {"landlock": 0, "seccomp": True}}, WORKS, True, "no landlock: "),
        (WORKS | {"sandbox": {}}, WORKS, True, "no landlock and no seccomp: "),
        (WORKS | {"sandbox": {"landlock": 7, "seccomp": True}}, WORKS, True, ""),
    ],
)
async def test_the_sandbox_is_left_out_only_if_transcoding_works_without_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    inside: dict[str, Any] | Exception,
    outside: dict[str, Any] | Exception,
    stays_on: bool,
    logged: str,
) -> None:
    async def attempt(job: Job) -> dict[str, Any]:
        assert job.source.read_bytes().startswith(b"RIFF")
        result = inside if job.sandboxed else outside
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(transcoding, "_attempt", attempt)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    transcoder = Transcoder()
    await transcoder.check_sandbox()
    assert logged in caplog.text
    assert bool(logged) is bool(caplog.text)
    assert names(tmp_path) == []
    assert await sandboxed_jobs(transcoder, monkeypatch) is stays_on


@pytest.mark.parametrize(
    ("number", "sandboxed", "error"),
    [
        (errno.EACCES, True, "SandboxRefused"),
        (errno.EPERM, True, "SandboxRefused"),
        (errno.EACCES, False, "OSError"),
        (errno.ENOSPC, True, "OSError"),
        (errno.EFBIG, True, "NotAudio"),
    ],
)
def test_the_child_classifies_a_system_error(
    wav: Path, monkeypatch: pytest.MonkeyPatch, number: int, sandboxed: bool, error: str
) -> None:
    def fail(source: Any) -> Sound:
        raise OSError(number, "words")

    monkeypatch.setattr(encoder, "measure", fail)
    state = Sandbox(7, seccomp=True) if sandboxed else None
    assert encoder._answer(job(wav), lambda: state)["error"] == error


def test_enters_no_sandbox_if_the_job_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(encoder, "_end_with_parent", lambda: None)
    monkeypatch.setattr(resource, "setrlimit", lambda *bound: bounds.append(bound))
    assert encoder._enter_sandbox(sandboxed=False) is None
    assert bounds == [(resource.RLIMIT_NPROC, (0, 0))]
