"""A score becomes sound: played with a human touch, written as MIDI, rendered.

The renderer knows one rate, 48,000 Hz; a song has 44,100. Instead of resampling, everything is
played by 160/147 faster and higher, and the samples are then taken as 44,100 Hz ones: pitch and
tempo come out right, it costs nothing, and no filter touches the sound.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from math import log2
from pathlib import Path
from random import Random

import midirenderer
import numpy as np
import numpy.typing as npt

from playground.composer.score import Clock, Part

SAMPLE_RATE = 44_100  # Hz
_RENDERED_RATE = 48_000  # Hz
_SPEED = _RENDERED_RATE / SAMPLE_RATE
_DRUM_CHANNEL = 9
_CHANNELS = [channel for channel in range(16) if channel != _DRUM_CHANNEL]
_TICKS = 2_000  # a second
_TEMPO = 500_000  # microseconds a quarter note of _TICKS / 2 ticks
_FULL_SCALE = -47.0  # dB on the scale of Part.level: keeps sixteen loud parts from clipping
_VOLUME, _PAN, _EXPRESSION, _REVERB, _CHORUS, _VIBRATO = 7, 10, 11, 91, 93, 1

_RELEASE_GENERATOR = 38  # in timecents
_LONGEST_RELEASE = 0.4  # seconds to fall by 100 dB

Event = tuple[float, int, bytes]
"""Seconds, order among events of one time, the message."""


def perform(
    parts: Iterable[Part], clock: Clock, seconds: float, seed: int
) -> npt.NDArray[np.int16]:
    """The sound as (samples, 2) at `SAMPLE_RATE`, about `seconds` long.

    Raises:
        ValueError: there are more parts than the 15 channels MIDI has besides the drums'.
    """
    events: list[Event] = [(seconds, 9, b"\xff\x2f\x00")]
    channels = iter(_CHANNELS)
    for number, part in enumerate(parts):
        channel = _DRUM_CHANNEL if part.drums else next(channels, None)
        if channel is None:
            raise ValueError("a score has at most 15 parts besides the drums")
        rng = Random(f"{seed}:hands:{number}")
        events += _settings(part, channel)
        events += _strokes(part, channel, clock, seconds, rng)
        if part.pumped:
            events += _pumping(channel, clock, seconds)
    wave = midirenderer.render_wave_from(_sound_font(), _midi_file(events))
    return _samples(wave)


def _settings(part: Part, channel: int) -> Iterator[Event]:
    decibels = part.level + _FULL_SCALE if not part.drums else part.level
    controls = [
        (_VOLUME, round(127 * 10 ** (decibels / 40))),  # the sound font squares it
        (_PAN, round(64 + 63 * part.pan)),
        (_REVERB, round(127 * part.reverb)),
        (_CHORUS, 0 if part.drums else 12),
        (_VIBRATO, 14 if part.vibrato else 0),
        *_tuning(),
    ]
    for order, (control, value) in enumerate(controls):
        yield 0.0, -20 + order, bytes((0xB0 | channel, control, max(0, min(127, value))))
    yield 0.0, -1, bytes((0xC0 | channel, part.program))


def _tuning() -> Iterator[tuple[int, int]]:
    """Registered parameters 2 (semitones) and 1 (a 14-bit share of one) of MIDI 1.0."""
    semitones, share = divmod(12 * log2(_SPEED), 1)
    fine = 0x2000 + round(share * 0x2000)
    yield from ((101, 0), (100, 2), (6, 64 + int(semitones)))
    yield from ((101, 0), (100, 1), (6, fine >> 7), (38, fine & 0x7F))


def _strokes(
    part: Part, channel: int, clock: Clock, seconds: float, rng: Random
) -> Iterator[Event]:
    free: dict[int, float] = {}  # until when each pitch is sounding
    for note in sorted(part.notes, key=lambda n: (n.start, n.pitch)):
        loose = max(-2.5, min(2.5, rng.gauss(0, 1))) * part.looseness
        start = max(0.0, clock.seconds(note.start) + part.delay + loose)
        end = min(clock.seconds(note.start + note.length), seconds)
        if end - start < 0.03:
            end = start + 0.03
        start = max(start, free.get(note.pitch, 0.0))
        if start >= end:
            continue
        free[note.pitch] = end
        velocity = round(127 * note.force + rng.uniform(-4, 4))
        yield start, 2, bytes((0x90 | channel, note.pitch, max(1, min(127, velocity))))
        yield end, 1, bytes((0x80 | channel, note.pitch, 0))


def _pumping(channel: int, clock: Clock, seconds: float) -> Iterator[Event]:
    """The ducking under each kick that dance music breathes with."""
    beat = 0
    while (start := clock.seconds(beat)) < seconds - 1.0:
        for share, value in ((0.0, 74), (0.2, 92), (0.4, 112), (0.6, 127)):
            time = start + share * clock.beat
            yield time, 0, bytes((0xB0 | channel, _EXPRESSION, value))
        beat += 1


def _midi_file(events: list[Event]) -> bytes:
    track = bytearray(b"\x00\xff\x51\x03" + _TEMPO.to_bytes(3, "big"))
    before = 0
    for time, _, message in sorted(events):
        tick = round(time / _SPEED * _TICKS)
        track += _variable_length(tick - before) + message
        before = tick
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS * _TEMPO // 1_000_000)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + bytes(track)


def _variable_length(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


def _samples(wave: bytes) -> npt.NDArray[np.int16]:
    channels, rate, bits = struct.unpack_from("<HI6xH", wave, 22)
    if (channels, rate, bits) != (2, _RENDERED_RATE, 16):
        raise ValueError(f"midirenderer gave {channels} channels, {rate} Hz, {bits} bits")
    return np.frombuffer(wave, np.int16, offset=wave.index(b"data") + 8).reshape(-1, 2)


@cache
def _sound_font() -> bytes:
    """TimGM6mb, found without importing pretty_midi, which takes longer than reading it.

    Its voices ring on for up to 100 s after a note ends, unheard in a full band but paid for:
    capped, four minutes of pop take 3.4 s of CPU instead of 4.9, and fast strings are clearer.
    """
    spec = find_spec("pretty_midi")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("pretty_midi, which brings the sound font, is not installed")
    font = bytearray((Path(spec.origin).parent / "TimGM6mb.sf2").read_bytes())
    start = font.index(b"igen")  # SoundFont 2.01, 7.9: pairs of generator and amount
    (size,) = struct.unpack_from("<I", font, start + 4)
    generators = np.frombuffer(
        font, [("kind", "<u2"), ("amount", "<i2")], count=size // 4, offset=start + 8
    )
    releases = generators["kind"] == _RELEASE_GENERATOR
    amounts = generators["amount"]
    amounts[releases] = np.minimum(amounts[releases], round(1200 * log2(_LONGEST_RELEASE)))
    return bytes(font)
