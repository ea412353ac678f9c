"""The playground's music, in numbers: what is written, and what can be heard of it."""

import hashlib
import io
import os
import re
import struct
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playground.composer import compose, performance
from playground.composer.band import Arrangement, harmonise
from playground.composer.form import Section, plan
from playground.composer.genres import FAMILIES
from playground.composer.harmony import SCALES, chord, voicing
from playground.composer.instruments import DRUMS, INSTRUMENTS, KITS
from playground.composer.lyrics import Stanza, read_lyrics, syllables
from playground.composer.mastering import master
from playground.composer.score import Clock, Note, Part
from playground.composer.soloists import soloists
from playground.composer.song import _arrange, _parts
from playground.composer.tags import TEMPO, Style, read_tags

RATE = 44_100
LYRICS = """[verse]
Neon on the water, nobody is home
Counting all the windows, walking on my own
[chorus]
Midnight train, carry me away
Midnight train, carry me away
[verse]
Letters in my pocket, rain upon the glass
Every little station whispers as we pass
[chorus]
Midnight train, carry me away
Midnight train, carry me away
"""

Sound = npt.NDArray[np.float64]


def song(genres: str = "pop", lyrics: str = LYRICS, seconds: int = 12, seed: int = 7) -> bytes:
    return compose(genres=genres, lyrics=lyrics, seconds=seconds, seed=seed)


def samples(wav: bytes) -> Sound:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, RATE, 2)
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return frames.reshape(-1, 2) / 32768


def decibels(sound: Sound) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(sound))) + 1e-9))


def style_of(genres: str, *, seed: int = 7, cfg: float = 4, shift: float = 4) -> Style:
    return read_tags(genres, seed=seed, cfg=cfg, shift=shift)


def arranged(
    genres: str = "pop", lyrics: str = LYRICS, seconds: int = 120, seed: int = 7
) -> tuple[Arrangement, Clock]:
    return _arrange(style_of(genres, seed=seed), lyrics, seconds, seed)


def voice(*, lavish: bool = False, **request: Any) -> tuple[Arrangement, list[Note]]:
    """A song and the notes that are sung in it."""
    arrangement, _ = arranged(**request)
    return arrangement, soloists(arrangement, voice_level=0.0, lavish=lavish)[0].notes


def beats_of(arrangement: Arrangement, section: Section) -> tuple[int, int]:
    """The first beat of a section, and the first after it."""
    first = section.first_bar * arrangement.beats_in_bar
    return first, first + section.bars * arrangement.beats_in_bar


def pulse(sound: Sound) -> float:
    """The tempo that the onsets repeat at, in beats a minute, between 85 and 170."""
    hop = 256
    mono = sound.mean(axis=1)
    mono = mono[: len(mono) // hop * hop].reshape(-1, hop)
    spectrum = np.log1p(100 * np.abs(np.fft.rfft(mono * np.hanning(hop), axis=1)))
    onsets = np.maximum(0, np.diff(spectrum, axis=0)).sum(axis=1)
    onsets -= onsets.mean()
    power = np.abs(np.fft.rfft(onsets, 2 * len(onsets))) ** 2
    repeats = np.fft.irfft(power)[: len(onsets)]
    tempi = np.arange(85, 170, 0.25)
    lags = RATE / hop * 60 / tempi
    strength = sum(np.interp(lags * k, np.arange(len(repeats)), repeats) for k in (1, 2, 4))
    return float(tempi[int(np.argmax(strength))])


# What one gets


@pytest.mark.parametrize("seconds", [10, 13])
def test_song_is_a_wav_of_exactly_the_seconds_requested(seconds: int) -> None:
    wav = song(seconds=seconds)
    assert len(samples(wav)) == seconds * RATE
    assert len(wav) == 44 + seconds * RATE * 4
    assert struct.unpack_from("<I", wav, 4) == (len(wav) - 8,)


def test_song_takes_ten_seconds_at_least() -> None:
    with pytest.raises(ValueError, match="10 s or more, not 9"):
        song(seconds=9)


def test_same_request_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib, sys; from playground.composer import compose;"
        "w = compose(genres='lo-fi, jazz', lyrics=sys.argv[1], seconds=10, seed=3);"
        "print(hashlib.sha256(w).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, LYRICS],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    here = song("lo-fi, jazz", seconds=10, seed=3)
    assert other.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_two_at_once_do_not_disturb_each_other() -> None:
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda genres: song(genres, seconds=10), ["techno", "waltz"]))
    assert together[0] == song("techno", seconds=10)
    assert together[0] != together[1]


def test_each_parameter_changes_the_song() -> None:
    base = {"genres": "pop, jazz", "lyrics": LYRICS, "seconds": 10, "seed": 7}
    changes: list[dict[str, object]] = [
        {},
        {"seed": 8},
        {"genres": "rock"},
        {"lyrics": "[instrumental]"},
        {"shift": 6.0},
        {"lyrics_strength": 5.0},
        {"steps": 20},
    ]
    songs = {compose(**(base | change)) for change in changes}  # type: ignore[arg-type]
    # Ten seconds have no room for what fewer steps leave out: that alone may sound the same.
    assert len(songs) >= len(changes) - 1


# What one hears


@pytest.mark.parametrize(
    "genres", ["pop", "metal", "ambient", "solo piano", "jazz", "lo-fi", "techno", "waltz"]
)
def test_mix_is_loud_enough_never_clips_and_never_stops(genres: str) -> None:
    sound = samples(song(genres, seconds=10))
    peak = 20 * np.log10(np.abs(sound).max())
    assert -4.0 < peak <= -0.99
    assert -21.0 < decibels(sound) < -11.5
    tenths = sound.mean(axis=1).reshape(-1, RATE // 10)
    quiet = "".join("q" if decibels(tenth) < -50 else "." for tenth in tenths)
    assert max(map(len, re.findall("q+", quiet)), default=0) <= 10
    side = decibels(sound[:, 0] - sound[:, 1]) - decibels(sound.sum(axis=1))
    assert -20.0 < side < -2.0  # neither mono nor two songs


def test_song_ends_in_a_fade() -> None:
    sound = samples(song(seconds=15))
    ends = [decibels(sound[RATE * 15 - RATE * k // 2 :][: RATE // 2]) for k in (4, 3, 2, 1)]
    assert ends == sorted(ends, reverse=True)
    assert ends[-1] < ends[0] - 12
    assert np.abs(sound[-100:]).max() < 1e-3


@pytest.mark.parametrize("tempo", [96, 132])
def test_requested_tempo_is_played(tempo: int) -> None:
    sound = samples(song(f"techno, {tempo} bpm", "[instrumental]", seconds=15))
    assert pulse(sound) == pytest.approx(tempo, rel=0.025)


def test_genres_differ_in_colour() -> None:
    def share(genres: str, low: float, high: float) -> float:
        sound = samples(song(genres, "[instrumental]", seconds=10)).mean(axis=1)
        power = np.abs(np.fft.rfft(sound)) ** 2
        pitch = np.fft.rfftfreq(len(sound), 1 / RATE)
        return float(power[(pitch >= low) & (pitch < high)].sum() / power.sum())

    assert share("techno", 20, 150) > 2 * share("solo piano", 20, 150)
    assert share("funk", 4000, 20_000) > 3 * share("lo-fi", 4000, 20_000)


@pytest.mark.parametrize("genres", ["pop", "classical"])
def test_chorus_is_louder_and_denser_than_the_verse(genres: str) -> None:
    arrangement, clock = arranged(genres, seconds=32)
    sound = samples(song(genres, seconds=32))
    parts = _parts(arrangement, 0.0, lavish=True)

    def heard(kind: str) -> tuple[float, float]:
        section = next(s for s in arrangement.sections if s.kind == kind)
        first, last = beats_of(arrangement, section)
        cut = sound[int(clock.seconds(first) * RATE) : int(clock.seconds(last) * RATE)]
        notes = sum(first <= note.start < last for part in parts for note in part.notes)
        return decibels(cut), notes / section.bars

    (verse, few), (chorus, many) = heard("verse"), heard("chorus")
    assert chorus > verse + 1.0
    assert many > few * 1.15


def test_pitch_is_concert_pitch() -> None:
    part = Part(80, 34.0, notes=[Note(0.0, 8.0, 69, 0.8)], looseness=0.0, reverb=0.0)
    sound = performance.perform([part], Clock(0.5, 0.5, 1.0, 100.0, 1.0), 4.0, 1)
    assert len(sound) == pytest.approx(4 * RATE, abs=RATE // 10)
    cut = sound[RATE : 3 * RATE, 0] * np.hanning(2 * RATE)
    assert np.argmax(np.abs(np.fft.rfft(cut))) / 2 == pytest.approx(440, abs=1)


# What is written


def test_repeated_chorus_has_the_same_tune() -> None:
    arrangement, sung = voice()
    choruses = [beats_of(arrangement, s) for s in arrangement.sections if s.kind == "chorus"]
    tunes = [
        [(n.start - first, n.length, n.pitch) for n in sung if first <= n.start < last]
        for first, last in choruses
    ]
    assert len(tunes) >= 2
    assert tunes[0]
    assert all(tune == tunes[0] for tune in tunes)


def test_each_syllable_has_a_note_when_there_is_time() -> None:
    lyrics = "[verse]\nOne two three four\nFive six seven eight"
    arrangement, sung = voice(genres="pop, 100 bpm", lyrics=lyrics, seconds=40)
    verse = next(s for s in arrangement.sections if s.kind == "verse")
    _, end = beats_of(arrangement, verse)
    assert sum(note.start < end for note in sung) == 9


@pytest.mark.parametrize("genres", ["pop", "jazz", "blues", "trance", "waltz"])
def test_long_notes_are_in_the_chord_and_the_last_is_the_tonic(genres: str) -> None:
    arrangement, sung = voice(genres=genres, lavish=True)
    for note in sung[:-1]:
        if note.length >= 0.9:
            assert note.pitch % 12 in arrangement.harmony_at(note.start).tones
    assert sung[-1].pitch % 12 == arrangement.style.tonic
    assert sung[-1].start == arrangement.last_beat
    assert arrangement.chords[-1].root == arrangement.style.tonic
    assert max(n.pitch for n in sung) - min(n.pitch for n in sung) <= 24


def test_instrumental_is_led_by_an_instrument() -> None:
    arrangement, _ = arranged("jazz, clarinet", "[instrumental]")
    programs = {p.program for p in _parts(arrangement, 0.0, lavish=True) if not p.drums}
    assert INSTRUMENTS["clarinet"].program in programs
    assert not programs & {INSTRUMENTS["voice"].program, INSTRUMENTS["choir"].program}


def test_lyrics_strength_sets_the_level_of_the_voice() -> None:
    arrangement, _ = arranged()
    near = soloists(arrangement, voice_level=4.0, lavish=False)[0]
    far = soloists(arrangement, voice_level=-4.0, lavish=False)[0]
    assert near.level - far.level == 8.0


def test_steps_add_second_voices() -> None:
    arrangement, _ = arranged()
    plain, lavish = (_parts(arrangement, 0.0, lavish=each) for each in (False, True))
    assert sum(len(p.notes) for p in lavish) > sum(len(p.notes) for p in plain)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_complete(name: str) -> None:
    family = FAMILIES[name]
    steps = family.beats_in_bar * 4
    assert family.kit in KITS
    assert {family.major_scale, family.minor_scale} <= SCALES.keys()
    instruments = {i for each in family.layers for i in each.instruments}
    assert (instruments | {*family.leads, *family.bass}) <= INSTRUMENTS.keys()
    for groove in filter(None, family.drums):
        for lane in groove.split("|"):
            sign, pattern = lane.split()
            assert sign in DRUMS
            assert re.fullmatch("[Xxog.]+", pattern)
            assert len(pattern) % steps == 0
    for line in family.bass_lines:
        assert line == "walk" or (re.fullmatch("[rfotslag.-]+", line) and len(line) == steps)
    for each in family.layers:
        for pattern in (each.calm, each.full):
            assert re.fullmatch(r"[Xxu0-7.-]+", pattern)
            assert len(pattern) % 4 == 0
    for chords in (family.major_chords, family.minor_chords):
        for progression in (*chords.verse, *chords.chorus, *chords.bridge):
            for numeral in progression.replace("+", " ").split():
                assert chord(numeral, 0).tones
    style = style_of(family.names[0])
    assert style.family.names == family.names or style.family.layers[: len(family.layers)]
    assert _parts(arranged(family.names[0], seconds=30)[0], 0.0, lavish=True)


def test_chords_are_read_as_they_are_written() -> None:
    assert chord("bVII7", 2).tones == {0, 4, 7, 10}
    assert chord("ii%", 0).tones == {2, 5, 8, 0}
    with pytest.raises(ValueError, match="not a chord: 'H'"):
        chord("H", 0)


def test_voicings_move_little() -> None:
    before = voicing(chord("I", 0), 55, 3, ())
    for numeral in ["V", "vi", "IV", "ii", "V7", "I", "bVII", "IV", "I"]:
        after = voicing(chord(numeral, 0), 55, 3, before)
        assert {p % 12 for p in after} <= chord(numeral, 0).tones
        assert max(abs(a - b) for a, b in zip(after, before, strict=True)) <= 5
        before = after


def test_harmony_ends_on_the_tonic_after_a_dominant() -> None:
    style = style_of("pop, c major")
    sections = plan(read_lyrics(LYRICS), 24, bar_seconds=2.0, phrase=4)
    changes, chords = harmonise(style, sections, 1)
    assert changes[-1] == 24 * 4
    assert [c.root for c in chords[-2:]] == [7, 0]


# What the genres say


def test_tags_are_understood() -> None:
    style = style_of("smooth jazz, saxophone, female vocals, A minor, 92 BPM, brushes")
    assert (style.family.names[0], style.lead, style.kit) == ("jazz", "alto sax", "brush")
    assert (style.minor, style.tonic, style.tempo) == (True, 9, 92.0)
    assert style.singer.instrument == "voice"
    assert style_of("pop, male vocals").singer.middle < style.singer.middle
    assert style_of("gospel choir").singer.choir
    assert style_of("synthwave, vocoder").singer.instrument == "synth voice"
    assert style_of("Eb major waltz").tonic == 3
    assert style_of("techno, upright bass, no drums").kit is None
    assert style_of("techno, upright bass").bass == "double bass"
    assert style_of("ambient, no bass").bass is None


@pytest.mark.parametrize(
    ("genres", "family"),
    [
        ("lo-fi hip hop, rainy", "lo-fi"),
        ("liquid drum & bass", "drum and bass"),
        ("synth-pop", "electronic"),
        ("3/4 lullaby", "waltz"),
        ("piano", "piano"),
        ("calm saxophone", "jazz"),
        ("Deep House", "house"),
        ("popcorn rocket, house", "house"),
    ],
)
def test_family_is_found(genres: str, family: str) -> None:
    assert family in style_of(genres, cfg=15).family.names or FAMILIES[family].layers == (
        style_of(genres, cfg=15).family.layers
    )


def test_requested_instrument_replaces_a_layer_or_adds_one() -> None:
    def played(genres: str) -> set[str]:
        return {each.instruments[0] for each in style_of(genres, cfg=15).layers}

    assert "harpsichord" in played("pop, harpsichord")
    assert "banjo" in played("techno, banjo")
    assert "banjo" in played("waltz, banjo")
    assert len(style_of("techno, banjo", cfg=15).layers) == len(FAMILIES["techno"].layers) + 1


def test_moods_change_key_tempo_and_energy() -> None:
    sad, happy, fast = (
        [style_of(f"pop, {mood}", seed=seed) for seed in range(12)]
        for mood in ("sad", "happy", "energetic")
    )
    assert all(style.minor for style in sad)
    assert not any(style.minor for style in happy)
    assert all(s.tempo < f.tempo and s.energy < f.energy for s, f in zip(sad, fast, strict=True))


def test_second_genre_counts_more_with_a_lower_cfg() -> None:
    def coloured(cfg: float) -> int:
        own = FAMILIES["funk"]
        return sum(style_of("funk, jazz, rock", seed=s, cfg=cfg).family != own for s in range(40))

    assert coloured(15) == coloured(7) == 0
    assert 0 < coloured(5) < coloured(1)
    assert style_of("waltz, rock", cfg=1).family == FAMILIES["waltz"]  # 3/4 takes no 4/4 player


def test_shift_transposes_by_semitones() -> None:
    keys = [style_of("pop", shift=shift).tonic for shift in (0, 4, 5, 10)]
    assert [(key - keys[1]) % 12 for key in keys] == [8, 0, 1, 6]


@pytest.mark.parametrize(
    ("genres", "tempo"), [("rock 0 bpm", TEMPO[0]), ("rock, 999999999 BPM", TEMPO[1])]
)
def test_extreme_tempi_are_limited(genres: str, tempo: float) -> None:
    assert style_of(genres).tempo == tempo
    assert len(samples(song(genres, seconds=10))) == 10 * RATE


# What the lyrics say


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("cat", 1), ("water", 2), ("make", 1), ("little", 2), ("away", 2), ("beautiful", 3),
        ("the", 1), ("hmm", 1), ("42", 2), ("élan", 2), ("Himmel", 2), ("привет", 2),
        ("愛してる", 4), ("사랑해", 3), ("भारत", 2), ("สวัสดี", 3), ("don't", 1),
    ],
)  # fmt: skip
def test_syllables(word: str, count: int) -> None:
    assert syllables(word) == count


def test_sections_are_read_as_they_are_written() -> None:
    read = read_lyrics(
        "la la\n[Pre-Chorus] oh\\n[CHORUS 2]\nhey you\n\n[guitar solo]\n[Whatever] x\n[]"
    )
    assert read == [
        Stanza("verse", (2,)),
        Stanza("pre-chorus", (1,)),
        Stanza("chorus", (2,)),
        Stanza("instrumental", ()),
        Stanza("verse", (1,)),
        Stanza("verse", ()),
    ]
    assert read_lyrics(" \n ,.! 🎵") == []


def test_long_lines_are_split_into_phrases() -> None:
    (stanza,) = read_lyrics("la " * 40)
    assert sum(stanza.lines) == 40
    assert max(stanza.lines) <= 14
    assert max(stanza.lines) - min(stanza.lines) <= 4
    assert max(read_lyrics("あ" * 200)[0].lines) <= 28


stanzas = st.lists(
    st.builds(
        Stanza,
        st.sampled_from(
            ["intro", "verse", "pre-chorus", "chorus", "bridge", "instrumental", "outro"]
        ),
        st.lists(st.integers(1, 28), max_size=9).map(tuple),
    ),
    max_size=14,
)


@settings(max_examples=80)
@given(stanzas, st.integers(1, 200), st.floats(1.2, 4.8), st.sampled_from([4, 8, 12]))
def test_form_fills_the_time_exactly(
    given_stanzas: list[Stanza], bars: int, bar_seconds: float, phrase: int
) -> None:
    sections = plan(given_stanzas, bars, bar_seconds=bar_seconds, phrase=phrase)
    first = 0
    for section in sections:
        assert section.bars >= 1
        assert section.first_bar == first
        assert 0.4 <= section.energy <= 1.0
        first += section.bars
    assert first == bars


def test_song_has_the_form_of_a_song() -> None:
    def kinds(lyrics: str, seconds: int) -> list[str]:
        return [s.kind for s in arranged("pop, 100 bpm", lyrics, seconds)[0].sections]

    full, instrumental = kinds(LYRICS, 75), kinds("", 120)
    for each in (full, instrumental):
        assert (each[0], each[-1]) == ("intro", "outro")
    assert full[1:5] == ["verse", "chorus", "verse", "chorus"]
    assert "chorus" in instrumental
    assert "verse" not in kinds("[intro]\n[chorus]\n[outro]", 60)
    assert "chorus" not in kinds("just some words\nand some more", 90)


@pytest.mark.parametrize(
    "lyrics",
    [
        "🎸🔥 ‍\u200b\ud800 \x00",
        "ﷺ " * 30 + "[chorus\n[[x]]",
        "supercalifragilistic " * 190,
        "word\n" * 800,
        "あ" * 4000,
    ],
    ids=["odd characters", "brackets", "long words", "short lines", "no spaces"],
)
def test_any_text_makes_a_song(lyrics: str) -> None:
    wav = compose(genres="🤘 ?!, xyzzy \u202e", lyrics=lyrics, seconds=10, seed=2_147_483_647)
    assert decibels(samples(wav)) > -22


def test_more_lines_than_half_bars_are_rushed_but_sung_in_order() -> None:
    arrangement, sung = voice(genres="folk, 50 bpm", lyrics="oh\n" * 400, seconds=240, lavish=True)
    starts = [note.start for note in sung]
    assert starts == sorted(starts)
    assert len(sung) > 2 * sum(section.bars for section in arrangement.sections)


def test_short_notes_are_lengthened_and_none_cuts_off_another() -> None:
    notes = [Note(0.0, 0.01, 60, 0.8), Note(0.0, 4.0, 62, 0.8), Note(0.1, 0.1, 62, 0.8)]
    part = Part(0, 0.0, looseness=0.0, notes=notes)
    clock = Clock(0.5, 0.5, 1.0, 100.0, 1.0)
    events = performance._strokes(part, 0, clock, 4.0, Random(1))
    struck = [(round(time, 2), message[0], message[1]) for time, _, message in events]
    assert struck == [(0.0, 0x90, 60), (0.03, 0x80, 60), (0.0, 0x90, 62), (2.0, 0x80, 62)]


def test_no_drums_and_no_bass() -> None:
    arrangement, _ = arranged("techno, no drums, no bass", "[instrumental]", 30)
    parts = _parts(arrangement, 0.0, lavish=True)
    assert parts
    assert not any(part.drums for part in parts)


# What cannot be played


def test_more_than_15_parts_are_refused() -> None:
    parts = [Part(0, 0.0) for _ in range(16)]
    with pytest.raises(ValueError, match="15 parts"):
        performance.perform(parts, Clock(0.5, 0.5, 1.0, 8.0, 1.0), 1.0, 1)


def test_renderer_of_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="2 channels, 44100 Hz, 16 bits"):
        performance._samples(song(seconds=10))


def test_missing_sound_font_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="pretty_midi"):
        performance._sound_font.__wrapped__()


def test_silence_stays_silence() -> None:
    wav = master(
        np.zeros((100, 2), np.int16), seconds=1, loudness=-15.0, fade=0.0, dusty=False, seed=1
    )
    assert len(wav) == 44 + RATE * 4
    assert not any(wav[44:])


def test_swing_and_ritardando() -> None:
    swung = Clock(0.5, 0.66, 1.0, 8.0, 1.2)
    assert swung.seconds(1.0) == 0.5
    assert swung.seconds(1.5) == pytest.approx(0.83)
    assert swung.seconds(1.25) == pytest.approx(0.665)
    assert swung.seconds(10.0) == pytest.approx(5.2)
