"""What makes a genre itself, as data.

Patterns are read in sixteenths, a bar of 4/4 is 16 of them (3/4 is 12); longer ones span bars.
- drums: lanes of `instruments.DRUMS` as `k x...x...`, with `X` accent, `x` stroke, `o` light,
  `g` ghost, joined by `|`.
- bass: `r` root, `f` fifth, `o` octave, `t` third, `s` seventh or sixth, `l` fifth below,
  `a` a step before the next root, `g` ghost; `-` holds; `walk` is improvised.
- layers: `X` `x` the chord, `u` its upper voices lightly, `0`-`7` one of its voices (going on
  above the top in octaves), `-` holds, `.` rests.
"""

from dataclasses import dataclass

PAD = "X---------------"
PAD_3 = "X-----------"


@dataclass(frozen=True, slots=True)
class Layer:
    """One accompanying part. It plays `calm` or `full` by the section's energy, from `above` on.

    `low` is the lowest MIDI pitch of its voicings, `level` dB in the mix, `pan` -1 to 1.
    """

    role: str
    instruments: tuple[str, ...]
    calm: str
    full: str
    low: int = 55
    level: float = -3.0
    pan: float = 0.0
    above: float = 0.0
    voices: int = 3
    power: bool = False


@dataclass(frozen=True, slots=True)
class Progressions:
    """One chord a bar; `+` joins two in a bar."""

    verse: tuple[str, ...]
    chorus: tuple[str, ...]
    bridge: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A genre. `tempo` in beats a minute; `minor` is how often it is in minor, 0-1.

    `loudness` is the RMS to aim at in dBFS; `lead_notes` how many notes two bars of solo have.
    """

    names: tuple[str, ...]
    tempo: tuple[int, int]
    minor: float
    major_chords: Progressions
    minor_chords: Progressions
    drums: tuple[str, str]
    layers: tuple[Layer, ...]
    leads: tuple[str, ...]
    bass: tuple[str, ...] = ("finger bass",)
    bass_lines: tuple[str, str] = ("r-------r-----a-", "r-r-r-r-r-r-f-a-")
    kit: str = "standard"
    beats_in_bar: int = 4
    swing: float = 0.5
    swing_unit: float = 0.5
    major_scale: str = "major"
    minor_scale: str = "minor"
    syncopation: float = 0.4
    fills: str = "toms"
    phrase: int = 4
    loudness: float = -15.0
    lead_notes: tuple[int, int] = (7, 11)
    looseness: float = 0.006
    lazy: float = 0.0
    pump: bool = False
    ritardando: bool = False
    dusty: bool = False
    reverb: float = 0.3
