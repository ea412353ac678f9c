"""Who accompanies: drums, bass and chords, from a family's patterns and a section's energy."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from playground.composer.form import Section
from playground.composer.genres.family import Family, Layer
from playground.composer.harmony import Chord, above, chord, power_voicing, voicing
from playground.composer.instruments import DRUMS, INSTRUMENTS, KITS
from playground.composer.score import Note, Part
from playground.composer.tags import Style

_FULL = 0.7  # from this energy on, the full patterns are played
_STROKES = {"X": 1.0, "x": 0.84, "o": 0.62, "g": 0.38, "u": 0.62}
# The standard kit's cymbals are 10 dB and more under its drums: so the drums are held back.
_TAMED = {
    "k": 0.78,
    "s": 0.74,
    "c": 0.66,
    "r": 0.75,
    "y": 0.62,
    "t": 0.6,
    "w": 0.55,
} | dict.fromkeys("filmgqbv", 0.66)
_BASS_LOW = 28  # E1
_BASS_LEVEL, _LAYER_LEVEL = -1.0, 3.0  # dB

# The last bar of a section, by the sixteenths before its end. Longer fills come before refrains.
_FILLS: dict[str, tuple[str, ...]] = {
    "toms": ("s x.xx | k x...", "s xx.. | i ..x. | l ...x",
             "s xx...... | i ..xx.... | m ....xx.. | f ......xX"),
    "snare": ("s g.xX", "s .gxx | k x...", "s g.gxg.xX", "s x..x..xX | k .x..x..."),
    "jazz": ("s ..ox", "s g.o..gox | k .......x", "i ..x...x. | s x.......", "r x..x..x."),
    "rolls": ("s ..xx", "s x.xxgxxX", "h xxxxxxxx | s ......xX", "k x.x."),
    "sparse": ("s ..ox", "r x..x", "o ..x. | k ..x."),
    "build": ("s ggggoooooxxxxxXX", "c x...x...x.x.xxxx", "s o...o...o.o.xxxx"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The plan all players read: the style, the sections, the chord at each beat."""

    style: Style
    sections: tuple[Section, ...]
    changes: tuple[float, ...]
    chords: tuple[Chord, ...]
    seed: int
    last_beat: float
    hold: float

    @property
    def beats_in_bar(self) -> int:
        """Quarter notes in a bar."""
        return self.style.family.beats_in_bar

    def harmony_at(self, beat: float) -> Chord:
        """The chord that sounds then."""
        return self.chords[max(0, bisect_right(self.changes, beat + 1e-6) - 1)]

    def energy(self, section: Section) -> float:
        """The section's energy in this style's mood, 0.25-1.1."""
        return max(0.25, min(1.1, section.energy + self.style.energy))

    def force(self, section: Section, bar: int) -> float:
        """How hard to play in a bar of a section: by its energy, growing towards a refrain."""
        energy = self.energy(section)
        growth = bar / section.bars if section.kind == "pre-chorus" else 0.0
        return 0.5 + 0.42 * energy + 0.1 * growth

    def bars(self) -> Iterator[tuple[Section, int, float]]:
        """Each bar as section, number within it, and first beat."""
        for section in self.sections:
            for bar in range(section.bars):
                yield section, bar, float((section.first_bar + bar) * self.beats_in_bar)


def harmonise(
    style: Style, sections: Sequence[Section], seed: int
) -> tuple[tuple[float, ...], tuple[Chord, ...]]:
    """When the chords change, in beats, and what they are; the last one is home."""
    family, beats_in_bar = style.family, style.family.beats_in_bar
    changes: list[float] = []
    chords: list[Chord] = []
    bars = sum(section.bars for section in sections)
    for section in sections:
        progression = _progression(style, section.kind, seed)
        for bar in range(section.bars):
            names = progression[bar % len(progression)].split("+")
            cut_short = bar == section.bars - 1 and section.bars % len(progression)
            if cut_short or section.first_bar + bar == bars - 1:
                names = ["bVII" if style.minor and family.pump else _dominant(style)]
            for index, name in enumerate(names):
                beat = section.first_bar + bar + index / len(names)
                changes.append(beat * beats_in_bar)
                chords.append(chord(name, style.tonic))
    changes.append(float(bars * beats_in_bar))
    chords.append(chord(_home(style), style.tonic))
    return tuple(changes), tuple(chords)


def _progression(style: Style, kind: str, seed: int) -> list[str]:
    like = {"intro": "verse", "pre-chorus": "bridge", "instrumental": "chorus", "outro": "chorus"}
    kind = like.get(kind, kind)
    choices = {
        "verse": style.progressions.verse,
        "chorus": style.progressions.chorus,
        "bridge": style.progressions.bridge,
    }[kind]
    return Random(f"{seed}:chords:{kind}").choice(choices).split()


def _dominant(style: Style) -> str:
    return "V7" if any("7" in p or "9" in p for p in style.progressions.chorus) else "V"


def _home(style: Style) -> str:
    """The tonic chord in the family's own colour: a blues ends on I7, a ballad on I."""
    names = " ".join(style.progressions.verse).replace("+", " ").split()
    tonic = "i" if style.minor else "I"
    own = (n for n in names if n[0] == tonic and n[1:2] not in ("i", "I", "v", "V"))
    return next(own, tonic)


def drums(plan: Arrangement) -> Part:
    """The drum kit: grooves, fills where sections end, a cymbal where they begin."""
    family = plan.style.family
    kit, level = KITS[plan.style.kit or family.kit]
    part = Part(kit, level, looseness=family.looseness, drums=True, reverb=family.reverb * 0.5)
    rng = Random(f"{plan.seed}:drums")
    if not any(family.drums):
        return part
    after_fill = False
    for section, bar, start in plan.bars():
        force = plan.force(section, bar)
        full = plan.energy(section) >= _FULL
        groove = family.drums[full]
        last = bar == section.bars - 1
        fill = _fill(plan, section, rng) if last and section.bars > 1 else ""
        fill_steps = _steps_of(fill)
        until = plan.beats_in_bar * 4 - fill_steps
        quiet = section.kind == "intro" and bar < section.bars / 2
        for lane, step, stroke in _hits(groove, bar, plan.beats_in_bar * 4):
            if step < until and not (quiet and lane in "sc"):
                part.notes.append(_hit(lane, start + step / 4, _STROKES[stroke] * force))
        for lane, step, stroke in _hits(fill, 0, fill_steps):
            beat = start + (until + step) / 4
            part.notes.append(_hit(lane, beat, _STROKES[stroke] * (force + 0.05)))
        if bar == 0 and family.fills != "none" and (full or after_fill) and section.first_bar:
            part.notes.append(_hit("y", start, 0.9 * force if full else 0.6 * force))
        after_fill = bool(fill)
    for lane in "ky" if family.fills != "none" else "":
        part.notes.append(_hit(lane, plan.last_beat, 0.85))
    return part


def _fill(plan: Arrangement, section: Section, rng: Random) -> str:
    kind = plan.style.family.fills
    if kind == "none" or plan.energy(section) < 0.4:
        return ""
    if kind == "build" and section.kind not in ("pre-chorus", "bridge", "verse", "intro"):
        kind = "rolls"
    return rng.choice(_FILLS[kind])


def _steps_of(groove: str) -> int:
    return max((len(pattern) for _, pattern in _lanes(groove)), default=0)


@cache
def _lanes(groove: str) -> tuple[tuple[str, str], ...]:
    lanes = (lane.strip() for lane in groove.split("|"))
    return tuple((lane[0], lane[1:].replace(" ", "")) for lane in lanes if lane)


def _hits(groove: str, bar: int, steps: int) -> Iterator[tuple[str, int, str]]:
    for lane, pattern in _lanes(groove):
        for step in range(steps):
            stroke = pattern[(bar * steps + step) % len(pattern)]
            if stroke != ".":
                yield lane, step, stroke


def _hit(lane: str, beat: float, force: float) -> Note:
    return Note(
        beat, {"y": 6.0, "d": 2.0}.get(lane, 1.0), DRUMS[lane], force * _TAMED.get(lane, 1.0)
    )


def bass(plan: Arrangement, instrument: str) -> Part:
    """The bass line."""
    family = plan.style.family
    part = _part(instrument, _BASS_LEVEL, 0.0, family, pumped=family.pump)
    rng = Random(f"{plan.seed}:bass")
    before = _BASS_LOW + 8
    for section, bar, start in plan.bars():
        if section.kind == "intro" and plan.energy(section) < 0.5 and bar < section.bars / 2:
            continue
        pattern = family.bass_lines[plan.energy(section) >= _FULL]
        if pattern == "walk":
            pattern = rng.choice(
                ("r---t---f---a---", "r---f---s---a---", "r---t---f--ra---", "o---f---t---a---")
            )
        for step, sign, steps in _strokes(pattern, bar, plan.beats_in_bar * 4):
            beat = start + step / 4
            here = plan.harmony_at(beat)
            after = plan.harmony_at(start + plan.beats_in_bar)
            pitch = _bass_pitch(sign, here, after, before)
            accent = 0.5 if sign == "g" else 1.0 if step == 0 else 0.9
            force = accent * (plan.force(section, bar) + 0.02)
            part.notes.append(Note(beat, steps / 4 * 0.95, pitch, force))
            before = pitch
    root = _root(plan.chords[-1], before)
    part.notes.append(Note(plan.last_beat, plan.hold, root, 0.8))
    return part


def _root(harmony: Chord, before: int) -> int:
    low = above(harmony.root, _BASS_LOW)
    return low if low >= 36 or abs(low - before) <= abs(low + 12 - before) else low + 12


def _bass_pitch(sign: str, here: Chord, after: Chord, before: int) -> int:
    root = _root(here, before)
    root -= 12 * (root > 40)
    root += 12 * (root < _BASS_LOW)
    if sign == "a":  # from a half or a full step away, on the side one comes from
        target = _root(after, root)
        return target + (1 if root > target else -1)
    third = here.intervals[1] if len(here.intervals) > 2 else 12
    seventh = next((i for i in here.intervals if i in (9, 10, 11)), 9)
    return root + {"f": here.fifth, "o": 12, "t": third, "s": seventh, "l": here.fifth - 12}.get(
        sign, 0
    )


def layer(plan: Arrangement, what: Layer, seat: int) -> Part:
    """One accompanying part: its pattern over the chords, each voicing near the one before."""
    family = plan.style.family
    part = _part(
        what.instruments[0], what.level + _LAYER_LEVEL, what.pan, family, pumped=family.pump
    )
    before: tuple[int, ...] = ()
    rng = Random(f"{plan.seed}:layer:{seat}")
    steps_in_bar = plan.beats_in_bar * 4
    for section, bar, start in plan.bars():
        energy = plan.energy(section)
        if energy < what.above:
            continue
        pattern = what.full if energy >= _FULL else what.calm
        for step, sign, steps in _strokes(pattern, bar, steps_in_bar):
            for beat, length in _between_changes(plan, start + step / 4, steps / 4):
                before = _voices(plan.harmony_at(beat), what, before)
                force = plan.force(section, bar) * rng.uniform(0.94, 1.02)
                part.notes += _stroke(
                    sign, beat, length, before, force, strums=what.role == "guitar"
                )
    if plan.energy(plan.sections[-1]) >= what.above:
        before = _voices(plan.chords[-1], what, before)
        part.notes += _stroke("X", plan.last_beat, plan.hold, before, 0.8, strums=True)
    return part


def _between_changes(
    plan: Arrangement, beat: float, length: float
) -> Iterator[tuple[float, float]]:
    """A held chord is struck again where the harmony moves under it."""
    end = beat + length
    while True:
        index = bisect_right(plan.changes, beat + 1e-6)
        change = plan.changes[index] if index < len(plan.changes) else end
        if change >= end - 1e-6:
            yield beat, end - beat
            return
        yield beat, change - beat
        beat = change


def _voices(harmony: Chord, what: Layer, before: tuple[int, ...]) -> tuple[int, ...]:
    if what.power:
        return power_voicing(harmony, what.low)
    return voicing(harmony, what.low, what.voices, before)


def _stroke(
    sign: str, beat: float, length: float, voices: tuple[int, ...], force: float, *, strums: bool
) -> Iterator[Note]:
    if sign.isdigit():
        octave, index = divmod(int(sign), len(voices))
        yield Note(beat, max(length, 0.2) * 0.98, voices[index] + 12 * octave, force * 0.85)
        return
    struck = voices[1:] if sign == "u" else voices
    order = struck[::-1] if sign == "u" else struck
    for place, pitch in enumerate(order):
        late = place * 0.022 if strums else 0.0  # a pick crosses one string after another
        yield Note(beat + late, max(length * 0.94 - late, 0.1), pitch, force * _STROKES[sign])


def _strokes(pattern: str, bar: int, steps: int) -> Iterator[tuple[int, str, int]]:
    """The pattern's strokes in this bar as step, sign and length in sixteenths."""
    text = "".join(pattern[(bar * steps + step) % len(pattern)] for step in range(steps))
    step = 0
    while step < steps:
        length = 1
        while step + length < steps and text[step + length] == "-":
            length += 1
        if text[step] not in ".-":
            yield step, text[step], length
        step += length


def _part(instrument: str, level: float, pan: float, family: Family, *, pumped: bool) -> Part:
    sound = INSTRUMENTS[instrument]
    return Part(
        sound.program,
        level - sound.loudness,
        pan,
        reverb=family.reverb,
        looseness=family.looseness,
        delay=family.lazy,
        pumped=pumped,
    )
