"""From a request to a WAV."""

from math import log10

from playground.composer.band import Arrangement, bass, drums, harmonise, layer
from playground.composer.form import plan
from playground.composer.lyrics import read_lyrics
from playground.composer.mastering import master
from playground.composer.performance import perform
from playground.composer.score import Clock, Part
from playground.composer.soloists import soloists
from playground.composer.tags import Style, read_tags

_RITARDANDO = 1.15  # how much longer the last bar takes, where a style slows down
_SHORTEST = 10  # seconds
_SHORTEST_RING = 1.5  # seconds of the last chord
_LAVISH_STEPS = 30


def compose(
    *,
    genres: str,
    lyrics: str,
    seconds: int,
    seed: int,
    steps: int = 50,
    cfg: float = 4,
    shift: float = 4,
    lyrics_strength: float = 1,
) -> bytes:
    """A song as a stereo 44.1 kHz 16-bit WAV of exactly `seconds` s, at least 10.

    The same arguments give the same bytes, on any day and in any process. Any text will do.
    `steps` from 30 on add second voices and answers; the lower `cfg` (1-15), the more a second
    genre colours the first; `shift` (0-10) transposes, a semitone a step from 4;
    `lyrics_strength` (0.1-10) is how far in front the voice stands.

    Raises:
        ValueError: `seconds` is under 10, the least the song API takes.
    """
    if seconds < _SHORTEST:
        raise ValueError(f"a song takes {_SHORTEST} s or more, not {seconds}")
    style = read_tags(genres, seed=seed, cfg=cfg, shift=shift)
    arrangement, clock = _arrange(style, lyrics, seconds, seed)
    voice_level = 4 * log10(max(0.1, min(10.0, lyrics_strength)))
    parts = _parts(arrangement, voice_level, lavish=steps >= _LAVISH_STEPS)
    sound = perform(parts, clock, float(seconds), seed)
    return master(
        sound,
        seconds=seconds,
        loudness=style.family.loudness + 8 * style.energy,
        fade=(seconds - clock.seconds(arrangement.last_beat)) * 0.75,
        dusty=style.family.dusty,
        seed=seed,
    )


def _arrange(style: Style, lyrics: str, seconds: int, seed: int) -> tuple[Arrangement, Clock]:
    """Bars and a tempo that leave the last chord time to ring; then what happens in them."""
    family = style.family
    slower = _RITARDANDO - 1 if family.ritardando else 0.0
    bar = 60 / style.tempo * family.beats_in_bar
    ring = max(1.8, min(bar, 3.2))
    leeway = 0.015 if style.tempo_is_requested else 0.05
    most = int((seconds - _SHORTEST_RING) / (bar * (1 - leeway)) - slower)
    bars = max(1, min(most, round((seconds - ring) / bar - slower)))
    stretch = (seconds - ring) / ((bars + slower) * bar)
    bar *= max(1 - leeway, min(1 + leeway, stretch))
    sections = plan(read_lyrics(lyrics), bars, bar_seconds=bar, phrase=family.phrase)
    changes, chords = harmonise(style, sections, seed)
    last_beat = float(bars * family.beats_in_bar)
    beat = bar / family.beats_in_bar
    clock = Clock(
        beat, family.swing, family.swing_unit, last_beat - family.beats_in_bar, 1 + slower
    )
    hold = (seconds - clock.seconds(last_beat)) / beat
    arrangement = Arrangement(style, tuple(sections), changes, chords, seed, last_beat, hold)
    return arrangement, clock


def _parts(arrangement: Arrangement, voice_level: float, *, lavish: bool) -> list[Part]:
    style = arrangement.style
    parts = soloists(arrangement, voice_level=voice_level, lavish=lavish)
    if style.kit:
        parts.append(drums(arrangement))
    if style.bass:
        parts.append(bass(arrangement, style.bass))
    parts += [layer(arrangement, what, seat) for seat, what in enumerate(style.layers)]
    return [part for part in parts if part.notes][:15]
