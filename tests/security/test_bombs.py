"""Small answers that become large ones: as a body, as a file, as audio."""

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

from db.records import Reason
from services.audio.transcoder import Transcoder
from services.errors import ApiUnavailable
from tests.security import answers
from tests.security.answers import AUDIO, kind_of
from tests.world.answered import Reply, answered_world

MIB = 2**20
LARGE = 128 * MIB
"""Bytes that a bomb here becomes."""
MINUTES = 11
"""Of silence: one more than are decoded."""


@functools.cache
def bomb(start: bytes = b"") -> bytes:
    """Gzip of `LARGE` zeros, a thousandth of it; made a piece at a time."""
    packing = zlib.compressobj(9, wbits=31)
    zeros = bytes(MIB)
    pieces = [packing.compress(start), *(packing.compress(zeros) for _ in range(LARGE // MIB))]
    return b"".join([*pieces, packing.flush()])


def replied(body: bytes, *headers: str) -> Reply:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return Reply("\r\n".join(head).encode() + b"\r\n\r\n" + body)


class BombedApi:
    """Answers calls of one kind with a bomb, as long as it is armed, and all others well."""

    def __init__(self, kind: str, bomb: Reply) -> None:
        self.armed = True
        self._kind, self._bomb = kind, bomb

    def __call__(self, method: str, url: URL) -> Reply:
        kind = kind_of(method, url)
        return self._bomb if self.armed and kind == self._kind else answers.WELL[kind]


@pytest.mark.parametrize("kind", ["submit", "poll", "result", "file", "make"])
async def test_bomb_as_an_answer_fails_its_song_only(
    tmp_path: Path, kind: str, figure: Callable[[str], None]
) -> None:
    """It is read to where no song is so large, and no further."""
    packed = bomb(b'{"status": "COMPLETED", "output": "')
    sent = replied(packed, "Content-Encoding: gzip", "Content-Type: application/json")
    api = BombedApi(kind, sent)
    async with answered_world(tmp_path, api) as world:
        world.sync = kind == "make"
        world.restart()
        tracemalloc.start()
        await world.fails(1)
        most = tracemalloc.get_traced_memory()[1] / MIB
        tracemalloc.stop()
        api.armed = False
        await world.completes(2)
    assert most < 32
    figure(f"{kind}: {LARGE // MIB} MiB out of {len(packed) // 1024} KiB, {most:.0f} MiB at most")


async def test_bomb_as_the_balance(tmp_path: Path) -> None:
    """The balance is polled while songs are paused."""
    packed = replied(bomb(b'{"credits": '), "Content-Encoding: gzip")
    async with answered_world(tmp_path, lambda *_: packed) as world:
        with pytest.raises(ApiUnavailable):
            await world.api.get_balance()


def endless_wav() -> bytes:
    """A WAV whose header claims 13 h of sound at a byte each, of which little comes."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 44_100, 44_100, 1, 8)
    return b"RIFF\xff\xff\xff\xffWAVE" + form + b"data\xff\xff\xff\xff" + bytes(1000)


def long_flac(folder: Path) -> bytes:
    """Minutes of silence in a few kilobytes."""
    path = folder / "long.flac"
    with av.open(str(path), "w", format="flac") as file:
        stream = file.add_stream("flac", rate=8_000, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = AudioFrame(format="s16", layout="mono", samples=8_000 * 60)
        frame.planes[0].update(bytes(2 * 8_000 * 60))
        frame.sample_rate = 8_000
        for minute in range(MINUTES):
            frame.pts = minute * 8_000 * 60
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path.read_bytes()


AUDIO_BOMBS: dict[str, tuple[Callable[[Path], bytes], Reason]] = {
    "minutes of silence": (long_flac, Reason.NOT_AUDIO),
    "a header that lies": (
        lambda _: endless_wav(),
        Reason.TOO_SHORT,
    ),
    "compressed noise": (
        lambda _: b"fLaC" + gzip.compress(AUDIO, mtime=0) * 20,
        Reason.NOT_AUDIO,
    ),
}


@pytest.mark.parametrize("kind", AUDIO_BOMBS)
async def test_bomb_as_audio_fails_its_song_only(
    tmp_path: Path, kind: str, figure: Callable[[str], None]
) -> None:
    """Decoded for real, in the separate process that is limited in memory and time."""
    make, reason = AUDIO_BOMBS[kind]
    sound = make(tmp_path)
    (tmp_path / "long.flac").unlink(missing_ok=True)
    api = BombedApi("file", replied(sound))
    async with answered_world(tmp_path, api) as world:
        world.transcoder = Transcoder(at_once=1)
        world.restart()
        assert await world.fails(1) == reason
        api.armed = False
        await world.completes(2)
        await world.transcoder.close()
    figure(f"{kind}: {len(sound):,} bytes: {reason}")
