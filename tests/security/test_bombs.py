"""A small answer that wants to be a large one: as a body, as a file, as sound."""

import functools
import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from yarl import URL

from services.audio.transcoder import Transcoder
from services.errors import ApiUnavailable
from tests.security import answers
from tests.security.answers import AUDIO
from tests.security.house import house_on_a_line
from tests.security.line import Reply

MIB = 2**20
LARGE = 128 * MIB
"""Bytes that a bomb here becomes."""


@functools.cache
def bomb(start: bytes = b"") -> bytes:
    """Gzip of `LARGE` zeros, a thousandth of it; made a piece at a time."""
    packing = zlib.compressobj(9, wbits=31)
    zeros = bytes(MIB)
    pieces = [packing.compress(start), *(packing.compress(zeros) for _ in range(LARGE // MIB))]
    return b"".join([*pieces, packing.flush()])


def answered(body: bytes, *headers: str) -> Reply:
    """A good answer with these headers."""
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return Reply("\r\n".join(head).encode() + b"\r\n\r\n" + body)


def call_of(method: str, url: URL) -> str:
    """What is asked for, as `answers.WELL` names it."""
    if method == "POST":
        return "make" if "/v1/" in url.path else "submit"
    if url.path.endswith("status"):
        return "look"
    return "file" if "/files/" in url.path else "result"


@pytest.mark.parametrize("kind", ["submit", "look", "result", "file", "make"])
async def test_a_bomb_as_an_answer_costs_its_song_alone(
    tmp_path: Path, kind: str, figure: Callable[[str], None]
) -> None:
    """It is read to where no song is so large, and no further."""
    packed = bomb(b'{"status": "COMPLETED", "output": "')
    sent = answered(packed, "Content-Encoding: gzip", "Content-Type: application/json")

    def answer(method: str, url: URL) -> Reply:
        asked = call_of(method, url)
        return sent if asked == kind and armed else answers.WELL[asked]

    armed = True
    async with house_on_a_line(tmp_path, answer) as house:
        house.sync = kind == "make"
        house.restart()
        tracemalloc.start()
        await house.fails(1)
        most = tracemalloc.get_traced_memory()[1] / MIB
        tracemalloc.stop()
        armed = False
        await house.add(2, member_id=2)
        await house.start(2)
        song = await house.song(2)
        assert (song.status, song.reason) == ("COMPLETED", None)
    assert most < 32
    figure(f"{kind}: {LARGE // MIB} MiB out of {len(packed) // 1024} KiB, {most:.0f} MiB at most")


async def test_a_bomb_as_the_balance_is_no_balance(tmp_path: Path) -> None:
    """It is looked at while songs are paused."""
    packed = answered(bomb(b'{"credits": '), "Content-Encoding: gzip")
    async with house_on_a_line(tmp_path, lambda method, url: packed) as house:
        with pytest.raises(ApiUnavailable):
            await house.api.get_balance()


def endless_wav() -> bytes:
    """A WAV whose header speaks of hours: 13 h of sound at a byte each, of which little comes."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 44_100, 44_100, 1, 8)
    return b"RIFF\xff\xff\xff\xffWAVE" + form + b"data\xff\xff\xff\xff" + bytes(1000)


def long_flac(folder: Path) -> bytes:
    """An hour of silence in a few kilobytes."""
    path = folder / "long.flac"
    with av.open(str(path), "w", format="flac") as file:
        stream = file.add_stream("flac", rate=8_000, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = AudioFrame(format="s16", layout="mono", samples=8_000 * 60)
        frame.planes[0].update(bytes(2 * 8_000 * 60))
        frame.sample_rate = 8_000
        for minute in range(60):
            frame.pts = minute * 8_000 * 60
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path.read_bytes()


WHY_NOT = {
    "hours of silence": "The song API sent more than 600 s of sound.",
    "a header that lies": "The song is 0 s long, but 10 s were requested.",
    "compressed noise": "The song API sent something that can't be played.",
}


@pytest.mark.parametrize("kind", WHY_NOT)
async def test_a_bomb_as_sound_costs_its_song_alone(
    tmp_path: Path, kind: str, figure: Callable[[str], None]
) -> None:
    """Decoded for real, in the separate process that is bounded in memory and time."""
    sounds: dict[str, Callable[[], bytes]] = {
        "hours of silence": lambda: long_flac(tmp_path),
        "a header that lies": endless_wav,
        "compressed noise": lambda: b"fLaC" + gzip.compress(AUDIO, mtime=0) * 20,
    }
    sound = sounds[kind]()
    (tmp_path / "long.flac").unlink(missing_ok=True)

    def answer(method: str, url: URL) -> Reply:
        asked = call_of(method, url)
        return answered(sound) if asked == "file" and armed else answers.WELL[asked]

    armed = True
    async with house_on_a_line(tmp_path, answer) as house:
        transcoder = Transcoder(at_once=1)
        house.transcoder = transcoder
        house.restart()
        reason = await house.fails(1)
        armed = False
        await house.add(2, member_id=2)
        await house.start(2)
        assert (await house.song(2)).status == "COMPLETED"
        await transcoder.close()
    assert reason == WHY_NOT[kind]
    figure(f"{kind}: {len(sound):,} bytes: {reason}")
