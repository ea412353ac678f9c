"""The last step: loudness, limiting, fading, the exact length, and the WAV around it."""

import struct
from random import Random

import numpy as np
import numpy.typing as npt

from playground.composer.performance import SAMPLE_RATE

_BUDGET = 10 ** (-1.0 / 20)
_BLOCK = 220  # samples, about 5 ms: the grain of the limiter's gain
_LOOKAHEAD = 3  # blocks
_LOOKBACK = 1
_RELEASE = 0.93  # what is left after a block of the way back to full gain
_CHUNK = 1 << 10  # blocks worked on at once: memory stays flat, whatever the length
_MOST_GAIN = 40.0
_AIR = np.float32(2.5)

Samples = npt.NDArray[np.int16]
Curve = npt.NDArray[np.float64]


def master(
    sound: Samples, *, seconds: int, loudness: float, fade: float, dusty: bool, seed: int
) -> bytes:
    """A 16-bit stereo WAV of exactly `seconds`, peaks at most at -1 dBFS, RMS near `loudness` dBFS.

    The last `fade` seconds fade out. `dusty` is an old record: no treble, a little crackle.
    """
    frames = seconds * SAMPLE_RATE
    blocks = -(-frames // _BLOCK)
    mix = np.zeros((blocks * _BLOCK, 2), np.float32)
    audible = min(frames, len(sound))
    np.multiply(sound[:audible], np.float32(1 / 32768), out=mix[:audible])
    _brighten(mix)
    if dusty:
        _dust(mix[:frames], seed)
    gain = _gain(mix.reshape(blocks, -1), loudness)
    ramp = (np.arange(_BLOCK, dtype=np.float32) / _BLOCK)[:, None]
    body = np.empty((blocks * _BLOCK, 2), "<i2")
    for start in range(0, blocks, _CHUNK):
        here = gain[start : start + _CHUNK + 1].astype(np.float32)
        part = mix[start * _BLOCK : (start + _CHUNK) * _BLOCK].reshape(-1, _BLOCK, 2)
        part *= here[:-1, None, None] + np.diff(here)[:, None, None] * ramp
        np.clip(part, -_BUDGET, _BUDGET, out=part)
        part *= 32767
        body[start * _BLOCK : (start + _CHUNK) * _BLOCK] = np.rint(part, out=part).reshape(-1, 2)
    fade_from = max(0, frames - int(fade * SAMPLE_RATE))
    left = np.linspace(1.0, 0.0, frames - fade_from)[:, None]
    body[fade_from:frames] = np.rint(body[fade_from:frames] * np.sin(left * np.pi / 2) ** 2)
    return b"".join((_header(frames * 4), body[:frames].data))


def _brighten(mix: npt.NDArray[np.float32]) -> None:
    """A gentle shelf, +2 dB at 5 kHz and +6 dB at 10 kHz: the sound font is an old, dull one."""
    before = np.zeros(2, np.float32)
    for start in range(0, len(mix) - 1, _CHUNK * _BLOCK):
        part = mix[start : start + _CHUNK * _BLOCK + 1]
        last = part[-2].copy()
        neighbours = np.vstack((before, part[:-2])) + part[1:]
        part[:-1] += _AIR * (0.5 * part[:-1] - 0.25 * neighbours)
        before = last


def _gain(blocks: npt.NDArray[np.float32], loudness: float) -> Curve:
    """The gain at the edges of the blocks: up to the loudness, and down before a peak arrives.

    The limiter makes the mix quieter than requested: so the gain is found twice.
    """
    peaks = np.maximum(blocks.max(axis=1), -blocks.min(axis=1)).astype(np.float64)
    powers = np.einsum("ij,ij->i", blocks, blocks).astype(np.float64) / blocks.shape[1]
    wanted = 10 ** (loudness / 20)
    makeup, gain = 1.0, np.ones(len(peaks) + 1)
    for _ in range(2):
        heard = float(np.mean(powers * gain[:-1] ** 2)) ** 0.5
        makeup = min(_MOST_GAIN, makeup * wanted / max(heard, 1e-6))
        gain = makeup * _limiter(peaks * makeup)
    return gain


def _limiter(peaks: Curve) -> Curve:
    needed = np.minimum(1.0, _BUDGET / np.maximum(peaks, 1e-9))
    padded = np.pad(needed, (_LOOKBACK, _LOOKAHEAD), mode="edge")
    width = _LOOKBACK + _LOOKAHEAD
    lowest = np.lib.stride_tricks.sliding_window_view(padded, width).min(axis=1)
    gain = np.empty(len(lowest))
    now = 1.0
    for index, limit in enumerate(lowest.tolist()):
        now = min(limit, 1.0 - (1.0 - now) * _RELEASE)
        gain[index] = now
    return gain


def _dust(mix: npt.NDArray[np.float32], seed: int) -> None:
    """Treble away by a short smoothing window, and the crackle of a worn record."""
    window = np.hanning(13)[1:-1]
    window = (window / window.sum()).astype(np.float32)
    for side in (0, 1):
        mix[:, side] = np.convolve(mix[:, side], window, mode="same")
    level = float(np.sqrt(np.mean(np.square(mix), dtype=np.float64)))
    rng = np.random.Generator(np.random.PCG64(Random(f"{seed}:dust").getrandbits(64)))
    count = len(mix) // 3000
    clicks = rng.integers(0, len(mix), count)
    mix[clicks, rng.integers(0, 2, count)] += (
        rng.standard_exponential(count) * rng.choice((-1, 1), count) * level * 0.5
    ).astype(np.float32)


def _header(size: int) -> bytes:
    """A canonical RIFF header for 16-bit stereo PCM."""
    rate = SAMPLE_RATE
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, rate, rate * 4, 4, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
        + form
        + struct.pack("<4sI", b"data", size)
    )
