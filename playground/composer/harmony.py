"""Chords from roman numerals, and voicings that move as little as they can."""

import re
from dataclasses import dataclass
from functools import cache

_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_NUMERAL = re.compile(r"([b#]?)([ivIV]+)(.*)")
_INTERVALS = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "9": (0, 4, 7, 10, 14),
    "m9": (0, 3, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "add9": (0, 4, 7, 14),
    "madd9": (0, 3, 7, 14),
    "sus": (0, 5, 7),
    "7sus": (0, 5, 7, 10),
    "9sus": (0, 5, 7, 10, 14),
    "%": (0, 3, 6, 10),
    "o": (0, 3, 6, 9),
}

MAJOR = (0, 2, 4, 5, 7, 9, 11)
SCALES: dict[str, tuple[int, ...]] = {
    "major": MAJOR,
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}


@dataclass(frozen=True, slots=True)
class Chord:
    """`root` is a pitch class (0 = C); `intervals` are semitones above it."""

    root: int
    intervals: tuple[int, ...]

    @property
    def tones(self) -> frozenset[int]:
        """The pitch classes in it."""
        return frozenset((self.root + i) % 12 for i in self.intervals)

    @property
    def fifth(self) -> int:
        """Semitones from the root to its fifth (6 in a diminished chord)."""
        return self.intervals[1] if len(self.intervals) == 2 else self.intervals[2]


@cache
def chord(numeral: str, tonic: int) -> Chord:
    """`bVII7` and the like over a tonic; the case of the numeral says major or minor."""
    match = _NUMERAL.fullmatch(numeral)
    if match is None:
        raise ValueError(f"not a chord: {numeral!r}")
    accidental, degree, quality = match.groups()
    if degree.islower() and quality not in ("%", "o"):
        quality = "m" + quality
    shift = {"": 0, "b": -1, "#": 1}[accidental]
    return Chord((tonic + _DEGREES[degree.lower()] + shift) % 12, _INTERVALS[quality])


def scale_over(scale: frozenset[int], harmony: Chord) -> frozenset[int]:
    """The scale, bent to the chord: a tone that rubs against a chord tone gives way to it."""
    foreign = harmony.tones - scale
    rubbing = {(tone + step) % 12 for tone in foreign for step in (-1, 1)}
    return (scale - rubbing) | harmony.tones


def voicing(harmony: Chord, low: int, voices: int, before: tuple[int, ...]) -> tuple[int, ...]:
    """Close position above `low` (MIDI pitch), nearest to the voicing before it."""
    intervals = harmony.intervals
    if len(intervals) > voices:  # the bass has the root, the fifth says least
        spare = [intervals[0], harmony.fifth][: len(intervals) - voices]
        intervals = tuple(i for i in intervals if i not in spare)[:voices]
    tones = [(harmony.root + i) % 12 for i in intervals]
    choices = [_stack(tones, low + offset) for offset in range(12)]
    if not before:
        return min(choices, key=lambda pitches: (abs(pitches[0] - low - 4), pitches))
    return min(
        choices,
        key=lambda pitches: (_distance(pitches, before), abs(pitches[0] - low - 4), pitches),
    )


def power_voicing(harmony: Chord, low: int) -> tuple[int, ...]:
    """Root, fifth and octave: thirds turn to mud under distortion."""
    root = above(harmony.root, low)
    return (root, root + harmony.fifth, root + 12)


def above(pitch_class: int, low: int) -> int:
    """The lowest pitch of that class at or above `low`."""
    return low + (pitch_class - low) % 12


def nearest(pitch_classes: frozenset[int], target: float, low: int, high: int) -> int:
    """The pitch of one of the classes that is nearest to `target`, within bounds an octave apart
    or more; the lower one of two equally near."""
    candidates = (p for p in range(low, high + 1) if p % 12 in pitch_classes)
    return min(candidates, key=lambda p: (abs(p - target), p))


def _stack(tones: list[int], start: int) -> tuple[int, ...]:
    return tuple(sorted(above(tone, start) for tone in tones))


def _distance(pitches: tuple[int, ...], before: tuple[int, ...]) -> int:
    return sum(min(abs(p - b) for b in before) for p in pitches) + abs(pitches[-1] - before[-1])
