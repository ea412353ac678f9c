"""Who has the tune: the singer, those who sing along, and the lead instrument."""

from collections.abc import Iterator
from random import Random

from playground.composer.band import Arrangement
from playground.composer.form import Section
from playground.composer.harmony import nearest, scale_over
from playground.composer.instruments import INSTRUMENTS
from playground.composer.melody import Slot, Voice, tune
from playground.composer.score import Note, Part

_LIFT = {"chorus": 3.0, "pre-chorus": 1.5, "bridge": 2.0}  # semitones over the verse
_SYLLABLES_A_SECOND = 3.2
_DOUBLE = -9.0  # dB under the voice: gives the syllables an edge that a choir's sound lacks
_PLUCKED = (
    "piano",
    "electric piano",
    "kalimba",
    "vibraphone",
    "clean guitar",
    "music box",
    "bells",
)


def soloists(plan: Arrangement, *, voice_level: float, lavish: bool) -> list[Part]:
    """The parts with the tune. `voice_level` in dB; `lavish` adds harmonies and answers."""
    sung: list[Note] = []
    second: list[Note] = []
    led: list[Note] = []
    rng = Random(f"{plan.seed}:answers")
    for section in plan.sections:
        if not section.lines:
            led += _led(plan, section)
            continue
        slots = list(_slots(plan, section))
        voice = _singing(plan, section)
        notes = _tune(plan, section, slots, voice)
        sung += notes
        if lavish and (section.kind == "chorus" or plan.style.singer.choir):
            second += _thirds(plan, notes, voice)
        if lavish:
            led += _answers(plan, notes, section, rng)
    completion = _completion(plan, sung or led)
    (sung or led).append(completion)
    return [part for part in _parts(plan, sung, second, led, voice_level) if part.notes]


def _parts(
    plan: Arrangement, sung: list[Note], second: list[Note], led: list[Note], voice_level: float
) -> Iterator[Part]:
    style, loose = plan.style, plan.style.family.looseness
    voice = INSTRUMENTS[style.singer.instrument]
    lead = INSTRUMENTS[style.lead]
    pad = INSTRUMENTS["electric piano" if not any(style.family.drums) else "fm piano"]
    reverb = max(0.45, style.family.reverb)
    yield Part(voice.program, 3.5 + voice_level - voice.loudness, 0.0, reverb, loose,
               delay=-0.02, vibrato=True, notes=sung)  # fmt: skip
    yield Part(pad.program, 3.5 + _DOUBLE + voice_level - pad.loudness, 0.05, reverb, loose,
               notes=list(sung))  # fmt: skip
    yield Part(voice.program, -3.0 + voice_level - voice.loudness, 0.35, reverb, loose * 1.5,
               vibrato=True, notes=second)  # fmt: skip
    yield Part(lead.program, 1.0 - lead.loudness, -0.15, reverb, loose,
               vibrato=style.lead not in _PLUCKED, notes=led)  # fmt: skip


def _slots(plan: Arrangement, section: Section) -> Iterator[Slot]:
    """Where the section's lines go: spread over its bars, starting on half bars if they can."""
    beats, lines = section.bars * plan.beats_in_bar, len(section.lines)
    grid = plan.beats_in_bar / 2 if lines <= section.bars * 2 else 0.25
    starts = [index * beats / lines // grid * grid for index in range(lines + 1)]
    first = section.first_bar * plan.beats_in_bar
    for start, after, syllables in zip(starts, starts[1:], section.lines, strict=False):
        needed = syllables / _SYLLABLES_A_SECOND / 60 * plan.style.tempo * 1.5
        bars = -(-needed // plan.beats_in_bar)
        yield Slot(
            first + start, max(0.25, min(after - start, bars * plan.beats_in_bar)), syllables
        )


def _singing(plan: Arrangement, section: Section) -> Voice:
    middle = plan.style.singer.middle + _LIFT.get(section.kind, 0.0)
    return Voice(
        round(middle) - 9,
        round(middle) + 9,
        middle,
        plan.style.scale,
        plan.style.family.syncopation,
        repeats=2,
    )


def _tune(plan: Arrangement, section: Section, slots: list[Slot], voice: Voice) -> list[Note]:
    notes = tune(
        slots,
        voice,
        plan.harmony_at,
        beats_in_bar=plan.beats_in_bar,
        home=plan.style.tonic,
        motifs=f"{plan.seed}:{section.kind}",
    )
    force = 0.7 + 0.3 * plan.energy(section)
    return [Note(n.start, n.length, n.pitch, n.force * force) for n in notes]


def _led(plan: Arrangement, section: Section) -> list[Note]:
    """The lead instrument's tune in a section without words; an intro quotes the refrain."""
    low, high = plan.style.family.lead_notes
    kind = "chorus" if section.kind in ("intro", "outro") else section.kind
    bars = 2 if section.bars > 1 else 1
    first = 2 if section.kind == "intro" and section.bars >= 4 else 0
    last = section.bars - (2 if section.kind == "outro" and section.bars >= 4 else 0)
    counts = Random(f"{plan.seed}:lead:{kind}")
    pair = (counts.randint(low, high), counts.randint(low, high))
    slots = [
        Slot(
            float((section.first_bar + bar) * plan.beats_in_bar),
            float(min(bars, last - bar) * plan.beats_in_bar),
            max(1, pair[bar // 2 % 2] * min(bars, last - bar) // 2),
        )
        for bar in range(first, last, bars)
    ]
    middle = 72.0 + _LIFT.get(section.kind, 0.0)
    syncopation = plan.style.family.syncopation
    voice = Voice(
        round(middle) - 10, round(middle) + 11, middle, plan.style.scale, syncopation, repeats=1
    )
    return _tune(plan, section, slots, voice)


def _thirds(plan: Arrangement, notes: list[Note], voice: Voice) -> list[Note]:
    """A second voice under the first: the next chord tone or scale tone at least a third below."""
    found = []
    for note in notes:
        harmony = plan.harmony_at(note.start)
        tones = harmony.tones if note.length >= 0.9 else scale_over(voice.scale, harmony)
        pitch = nearest(tones, note.pitch - 3.6, note.pitch - 9, note.pitch - 3)
        found.append(Note(note.start, note.length, pitch, note.force * 0.9))
    return found


def _answers(plan: Arrangement, notes: list[Note], section: Section, rng: Random) -> Iterator[Note]:
    """Where the singer rests for two beats or more, the lead may answer with a short run."""
    end = float((section.first_bar + section.bars) * plan.beats_in_bar)
    ends = [*(n.start for n in notes[1:]), end]
    for note, until in zip(notes, ends, strict=True):
        start = -(-(note.start + note.length) * 2 // 1) / 2
        if until - start < 2.0 or rng.random() < 0.4:
            continue
        count = min(int((until - start) * 2) - 1, rng.randint(3, 5))
        pitch, step = 72 + rng.randint(-4, 4), rng.choice((-2, 2, 3))
        for index in range(count):
            beat = start + index / 2
            harmony = plan.harmony_at(beat)
            last = index == count - 1
            tones = harmony.tones if last else scale_over(plan.style.scale, harmony)
            pitch = nearest(tones, pitch + step, 60, 86)
            yield Note(beat, 1.0 if last else 0.45, pitch, 0.62 + 0.1 * plan.energy(section))


def _completion(plan: Arrangement, before: list[Note]) -> Note:
    """The tonic on the last chord, nearest to where the tune was."""
    from_pitch = before[-1].pitch if before else 67
    pitch = nearest(frozenset((plan.style.tonic,)), from_pitch, from_pitch - 7, from_pitch + 7)
    return Note(plan.last_beat, plan.hold * 0.9, pitch, 0.78)
