"""A tune for given syllables: rhythms and contours that come back, notes that fit the chords."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from playground.composer.harmony import Chord, nearest, scale_over
from playground.composer.score import Note

HarmonyAt = Callable[[float], Chord]
"""The chord that sounds at a beat of the song."""

_FORMS = ("ABAC", "ABAC", "AABC", "ABAB")
_STEP = 0.25  # beats; onsets lie on sixteenths
_LONGEST = 3.0  # beats


@dataclass(frozen=True, slots=True)
class Voice:
    """Who sings or plays: the range in MIDI pitches, its middle, its scale's pitch classes.

    `syncopation` 0-1 moves weight from the beats to the eighths and sixteenths between them;
    `repeats` is how often a pitch may come in a row.
    """

    low: int
    high: int
    middle: float
    scale: frozenset[int]
    syncopation: float
    repeats: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one line goes: from `start`, `length` beats long, with that many syllables."""

    start: float
    length: float
    syllables: int


def tune(
    slots: Sequence[Slot],
    voice: Voice,
    harmony_at: HarmonyAt,
    *,
    beats_in_bar: int,
    home: int,
    motifs: str,
) -> list[Note]:
    """The melody of a section. `motifs` seeds it: the same string makes the same tune.

    `home` is the pitch class its last note should reach if the chord allows it.
    """
    form = Random(f"{motifs}:form").choice(_FORMS)
    notes: list[Note] = []
    for index, slot in enumerate(slots):
        letter = form[index % len(form)]
        onsets = _rhythm(slot, voice.syncopation, beats_in_bar, f"{motifs}:{letter}")
        notes += _sing(slot, onsets, voice, harmony_at, beats_in_bar, f"{motifs}:{letter}")
    if notes and home in harmony_at(notes[-1].start).tones:
        last = notes[-1]
        pitch = nearest(frozenset((home,)), last.pitch, voice.low, voice.high)
        notes[-1] = Note(last.start, last.length, pitch, last.force)
    return notes


def _rhythm(slot: Slot, syncopation: float, beats_in_bar: int, motif: str) -> list[float]:
    """Onsets in beats from the slot's start: the heaviest places, with the motif's own taste."""
    steps = round(slot.length / _STEP)
    sung = max(1, steps - max(2, min(steps // 4, beats_in_bar * 3)))  # then the singer breathes
    count = max(1, min(slot.syllables, sung))
    crowd = count / sung
    taste = Random(f"{motif}:rhythm")
    rest = taste.choice((0, 0, 2, 4)) if crowd < 0.5 else 0
    weighed = []
    for step in range(steps):
        weight = _weight(step, syncopation, beats_in_bar) + taste.uniform(0, 0.34)
        # Few syllables gather at the front of a long slot, so that words keep together.
        late = step / sung
        early = 2.0 * (step < rest)
        weighed.append((weight - early - max(0.0, late - crowd * 2.2) * 1.5, -step, step))
    chosen = sorted(weighed[:sung], reverse=True)[:count]
    return sorted(step * _STEP for _, _, step in chosen)


def _weight(step: int, syncopation: float, beats_in_bar: int) -> float:
    in_bar = step % (beats_in_bar * 4)
    if in_bar == 0:
        return 1.0
    if in_bar % 4 == 0:
        return 0.85 - 0.35 * syncopation
    if in_bar % 2 == 0:
        return 0.5 + 0.15 * syncopation
    return 0.05 + 0.3 * syncopation


def _sing(
    slot: Slot,
    onsets: list[float],
    voice: Voice,
    harmony_at: HarmonyAt,
    beats_in_bar: int,
    motif: str,
) -> list[Note]:
    taste = Random(f"{motif}:contour")
    contour = _contour(taste)
    notes: list[Note] = []
    before = voice.middle + contour(0.0)
    in_a_row = 0
    for index, onset in enumerate(onsets):
        start = slot.start + onset
        last = index == len(onsets) - 1
        until = slot.length if last else onsets[index + 1]
        length = min(_LONGEST, (until - onset) * (0.8 if last else 0.94))
        target = voice.middle + contour(onset / slot.length)
        harmony = harmony_at(start)
        strong = last or length >= 0.9 or onset % beats_in_bar in (0, beats_in_bar / 2)
        ornament = taste.random()  # drawn for every note, so that lines of one motif stay alike
        if strong:
            tones, aim = harmony.tones, 0.65 * target + 0.35 * before
        else:
            tones = scale_over(voice.scale, harmony)
            aim = before + max(-2.0, min(2.0, target - before)) + (ornament - 0.5) * 2.4
        pitch = nearest(tones, aim, voice.low, voice.high)
        in_a_row = in_a_row + 1 if pitch == before else 1
        if in_a_row > voice.repeats:
            others = tones - {pitch % 12}
            pitch = nearest(others, pitch + (2 if target >= pitch else -2), voice.low, voice.high)
            in_a_row = 1
        force = 0.74 + 0.12 * (onset % beats_in_bar == 0) + 0.06 * strong
        notes.append(Note(start, length, pitch, force))
        before = pitch
    return notes


def _contour(taste: Random) -> Callable[[float], float]:
    """An arch, a fall or a rise in semitones around the middle: five points, joined by lines."""
    shape = taste.choice(
        (
            (-3, 1, 4, 2, -2),
            (4, 3, 0, -2, -4),
            (-4, -1, 1, 4, 2),
            (0, 4, 1, 3, -1),
            (2, -2, 3, 0, 0),
        )
    )
    points = [point * taste.uniform(0.8, 1.5) for point in shape]

    def at(progress: float) -> float:
        place = min(progress, 0.999) * (len(points) - 1)
        index = int(place)
        return points[index] + (points[index + 1] - points[index]) * (place - index)

    return at
