"""Audio that the song API makes in tests."""

import io
import math
import random
import sys
import wave
from array import array
from functools import lru_cache
from typing import Any

import av
import numpy as np

HERTZ = 44_100
COPYING_ENCODER = (
    *(sys.executable, "-I", "-S", "-c"),
    """
import json, shutil, sys
job = json.loads(sys.stdin.readline())
shutil.copyfile(job["source"], job["part"])
print(json.dumps({"format": "mp3"}))
""",
)
"""A program that leaves a song as it is, where a test is about what comes before and after it."""


def short(**_: Any) -> bytes:
    """Ten seconds, whatever was requested."""
    return mp3(10)


def music(*, seconds: int, **_: Any) -> bytes:
    """As long as requested, and soon transcoded: it only gets its tags."""
    return mp3(seconds)


def music_to_encode(*, seconds: int, **_: Any) -> bytes:
    """As the API's songs are: of each second the encoder takes 20 ms."""
    return wav(seconds)


def is_mp3(content: bytes) -> bool:
    """Whether it begins as one does: with a tag, or with a frame."""
    return content.startswith(b"ID3") or (content[:1] == b"\xff" and content[1:2] > b"\xe0")


@lru_cache(maxsize=8)
def mp3(seconds: int, *, kilobits: int = 64) -> bytes:
    """One second of noise in 32 kHz mono, repeated."""
    second = io.BytesIO()
    plain = {"write_xing": "0", "id3v2_version": "0"}
    with av.open(second, "w", format="mp3", options=plain) as out:
        stream = out.add_stream("mp3", rate=32_000, layout="mono")
        stream.bit_rate = kilobits * 1000
        samples = np.random.default_rng(1).integers(-9_000, 9_000, (1, 32_000), dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(samples, "s16p", "mono")
        frame.sample_rate = 32_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return second.getvalue() * seconds


@lru_cache(maxsize=4)
def wav(seconds: int) -> bytes:
    """Two tones and some noise in 44.1 kHz stereo."""
    noise = random.Random(1)  # the same in each run
    second = array("h")
    for i in range(HERTZ):
        tone = 8_000 * math.sin(i * 0.0627) + 1_600 * noise.uniform(-1, 1)
        second.extend([int(tone), int(tone * 0.9)])
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, HERTZ, 0, "NONE", ""))
        out.writeframes(second.tobytes() * seconds)
    return file.getvalue()
