"""The instruments of the sound font: General MIDI programs, and how loud each one really is.

The loudness (dB, half A-weighted) was measured on TimGM6mb.sf2 through midirenderer: seven notes
at velocity 100 from C3 to E5, E1 to A2 for basses. The programs lie up to 15 dB apart, so a mix
that ignores it buries the piano under the horns.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instrument:
    """A General MIDI program (0-127) and its loudness in dB at full volume."""

    program: int
    loudness: float


INSTRUMENTS: dict[str, Instrument] = {
    "piano": Instrument(0, -38.0),
    "bright piano": Instrument(1, -37.8),
    "honky-tonk": Instrument(3, -36.5),
    "electric piano": Instrument(4, -32.6),
    "fm piano": Instrument(5, -36.0),
    "harpsichord": Instrument(6, -36.3),
    "clavinet": Instrument(7, -33.6),
    "celesta": Instrument(8, -36.4),
    "glockenspiel": Instrument(9, -36.1),
    "music box": Instrument(10, -33.2),
    "vibraphone": Instrument(11, -30.2),
    "marimba": Instrument(12, -38.8),
    "xylophone": Instrument(13, -41.2),
    "bells": Instrument(14, -29.9),
    "organ": Instrument(16, -34.1),
    "rock organ": Instrument(18, -35.2),
    "church organ": Instrument(19, -34.2),
    "accordion": Instrument(21, -32.7),
    "harmonica": Instrument(22, -31.2),
    "nylon guitar": Instrument(24, -33.2),
    "steel guitar": Instrument(25, -36.4),
    "jazz guitar": Instrument(26, -32.7),
    "clean guitar": Instrument(27, -38.7),
    "muted guitar": Instrument(28, -35.9),
    "overdriven guitar": Instrument(29, -33.1),
    "distorted guitar": Instrument(30, -30.6),
    "double bass": Instrument(32, -39.9),
    "finger bass": Instrument(33, -35.3),
    "picked bass": Instrument(34, -36.6),
    "fretless bass": Instrument(35, -36.7),
    "slap bass": Instrument(36, -38.5),
    "synth bass": Instrument(38, -37.4),
    "rubber bass": Instrument(39, -37.2),
    "violin": Instrument(40, -30.6),
    "cello": Instrument(42, -29.7),
    "pizzicato": Instrument(45, -37.6),
    "harp": Instrument(46, -29.9),
    "strings": Instrument(48, -35.3),
    "slow strings": Instrument(49, -37.7),
    "synth strings": Instrument(50, -38.3),
    "choir": Instrument(52, -32.9),
    "voice": Instrument(53, -34.2),
    "synth voice": Instrument(54, -34.1),
    "trumpet": Instrument(56, -33.0),
    "trombone": Instrument(57, -33.0),
    "tuba": Instrument(58, -33.1),
    "muted trumpet": Instrument(59, -38.5),
    "horns": Instrument(60, -26.2),
    "brass": Instrument(61, -36.7),
    "synth brass": Instrument(62, -32.3),
    "soprano sax": Instrument(64, -31.7),
    "alto sax": Instrument(65, -32.3),
    "tenor sax": Instrument(66, -32.2),
    "oboe": Instrument(68, -30.5),
    "clarinet": Instrument(71, -31.6),
    "flute": Instrument(73, -31.8),
    "recorder": Instrument(74, -32.3),
    "pan flute": Instrument(75, -33.4),
    "shakuhachi": Instrument(77, -32.8),
    "whistle": Instrument(78, -30.9),
    "ocarina": Instrument(79, -29.0),
    "square lead": Instrument(80, -30.4),
    "saw lead": Instrument(81, -31.7),
    "warm pad": Instrument(89, -39.6),
    "polysynth": Instrument(90, -35.0),
    "space voice": Instrument(91, -31.1),
    "bowed glass": Instrument(92, -35.3),
    "halo pad": Instrument(94, -34.8),
    "sweep pad": Instrument(95, -37.8),
    "crystal": Instrument(98, -31.7),
    "atmosphere": Instrument(99, -31.4),
    "sitar": Instrument(104, -35.8),
    "banjo": Instrument(105, -32.9),
    "koto": Instrument(107, -32.7),
    "kalimba": Instrument(108, -35.2),
    "bagpipe": Instrument(109, -30.8),
    "fiddle": Instrument(110, -31.6),
    "steel drums": Instrument(114, -35.9),
}

KITS: dict[str, tuple[int, float]] = {
    # the drum channel's program, and dB that bring the kits to one loudness
    "standard": (0, 0.0),
    "room": (8, -2.0),
    "power": (16, -3.0),
    "electronic": (24, -3.0),
    "808": (25, -3.0),
    "jazz": (32, -1.0),
    "brush": (40, 0.0),
}

DRUMS: dict[str, int] = {
    "k": 36,  # kick
    "r": 37,  # side stick
    "s": 38,  # snare
    "c": 39,  # clap
    "f": 43,  # floor tom
    "h": 42,  # closed hi-hat
    "p": 44,  # hi-hat by the foot
    "l": 45,  # low tom
    "o": 46,  # open hi-hat
    "m": 47,  # middle tom
    "y": 49,  # crash
    "i": 50,  # high tom
    "d": 51,  # ride
    "t": 54,  # tambourine
    "w": 56,  # cowbell
    "q": 62,  # conga, muted
    "g": 63,  # conga, open
    "b": 64,  # conga, low
    "a": 70,  # shaker
    "v": 75,  # claves
}
