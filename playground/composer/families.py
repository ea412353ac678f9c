"""The genres: what makes each one itself, as data.

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


_POP = Progressions(
    ("I V vi IV", "I vi IV V", "vi IV I V", "I iii IV V", "Iadd9 V IVadd9 IVadd9"),
    ("IV V iii vi IV V I I", "I V vi IV", "IV I V vi", "vi IV I V"),
    ("vi iii IV I vi iii IV V", "ii IV vi V", "IV iv I V"),
)
_POP_MINOR = Progressions(
    ("i bVI bIII bVII", "i bVII bVI bVII", "i iv bVI V", "i bIII bVII iv"),
    ("bVI bVII i bIII", "bVI bIII bVII i", "i bVI bIII bVII"),
    ("iv i bVI V", "bVI bVII i i iv bVI V V"),
)
_SOUL = Progressions(
    ("Imaj9 vi9 ii9 V9sus", "Imaj7 iii7 IVmaj7 V9sus", "ii9 V9sus Imaj9 vi9"),
    ("IVmaj7 iii7 ii7 Imaj7", "IVmaj7 V7 iii7 vi7 ii7 V9sus Imaj9 I7", "Imaj9 I7 IVmaj7 iv6"),
    ("vi7 II9 ii7 V9sus", "IVmaj7 iv6 iii7 VI7 ii7 ii7 V9sus V7"),
)
_SOUL_MINOR = Progressions(
    ("i9 iv9 i9 v7", "i9 bVImaj7 iv9 v7", "i9 IV9 i9 IV9"),
    ("bVImaj7 bVII i9 i9", "iv9 bVII9 bIIImaj7 bVImaj7 ii% V7 i9 i9"),
    ("iv9 v7 bVImaj7 V7", "bVImaj7 v7 iv9 V7"),
)
_FUNK = Progressions(
    ("I9 I9 IV9 I9", "ii9 V9 ii9 V9", "I9 IV9 I9 V9sus"),
    ("IV9 V9sus iii7 vi7", "I9 bVII9 IV9 I9", "vi7 ii9 V9sus I9"),
    ("bVII9 bVII9 IV9 V9sus", "ii7 iii7 IV9 V9sus"),
)
_FUNK_MINOR = Progressions(
    ("i9 i9 iv9 i9", "i9 IV9 i9 IV9"),
    ("iv9 bVII9 i9 i9", "bVImaj7 bVII9 i9 i9", "bVImaj7 v7 iv9 i9"),
    ("iv9 iv9 bVII9 V7", "bVImaj7 bVImaj7 bVII9 V7"),
)
_ROCK = Progressions(
    ("I bVII IV I", "I IV V IV", "vi IV I V", "I V IV IV"),
    ("I V vi IV", "IV I V vi", "I IV bVII IV", "IV V I vi"),
    ("vi V IV V", "bVI bVII I I", "ii IV bVII V"),
)
_ROCK_MINOR = Progressions(
    ("i bVII bVI bVII", "i bIII bVII IV", "i i bVI bVII"),
    ("bVI bIII bVII i", "i bVI bIII bVII", "bVI bVII i i"),
    ("iv bVI bVII V", "bVI bVI bVII bVII"),
)
_METAL = Progressions(
    ("i i bVI bVII", "i bII i bVII", "i i bIII bII"),
    ("bVI bVII i i", "i bVI bIII bVII", "i bVI iv V"),
    ("iv iv bVI V", "bII bII i i bVI bVI V V"),
)
_JAZZ = Progressions(
    (
        "Imaj9 vi7 ii9 V9",
        "ii9 V9 Imaj9 VI7",
        "Imaj7+vi7 ii9+V9 iii7+VI7 ii9+V9",
        "Imaj7 IVmaj7 iii7+VI7 ii9+V9",
    ),
    ("IVmaj7 iv7+bVII9 iii7 VI7 ii9 V9 Imaj9 ii9+V9", "ii9 V9 iii7 VI7 ii9 V9sus Imaj9 Imaj9"),
    ("III7 III7 VI7 VI7 II9 II9 ii9 V9", "v7 I9 IVmaj7 IVmaj7 vi7 II9 ii9 V9"),
)
_JAZZ_MINOR = Progressions(
    ("i9 iv9 ii% V7", "i9 bVImaj7 ii% V7", "i9+i9 ii%+V7 i9 ii%+V7"),
    ("iv9 bVII9 bIIImaj7 bVImaj7 ii% V7 i9 i9", "bVImaj7 V7 i9 iv9 ii% V7 i9 V7"),
    ("iv9 iv9 i9 i9 II9 II9 ii% V7", "bIIImaj7 bVImaj7 ii% V7"),
)
_BLUES_BARS = ("I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 I7 I7 I7 IV7 IV7 I7 I7 V9 IV9 I7 V7")
_BLUES = Progressions(_BLUES_BARS, _BLUES_BARS, ("IV7 IV7 I7 I7 IV7 IV7 II7 V7",))
_BLUES_MINOR_BARS = (
    "i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 V7",
    "i7 iv7 i7 i7 iv7 iv7 i7 i7 v7 iv7 i7 V7",
)
_BLUES_MINOR = Progressions(
    _BLUES_MINOR_BARS, _BLUES_MINOR_BARS, ("iv7 iv7 i7 i7 iv7 iv7 bVI7 V7",)
)
_LOFI = Progressions(
    ("ii9 V9 Imaj9 vi9", "IVmaj9 iii7 vi9 Imaj9", "Imaj9 iii7 IVmaj9 iv6"),
    ("IVmaj9 V9sus iii7 vi9", "IVmaj9 iv6 Imaj9 VI7"),
    ("vi9 ii9 IVmaj9 V9sus", "IVmaj9 IVmaj9 iii7 VI7"),
)
_LOFI_MINOR = Progressions(
    ("i9 bVImaj7 iv9 v7", "iv9 bVII9 bIIImaj9 bVImaj7"),
    ("bVImaj9 v7 i9 i9", "iv9 v7 bVImaj9 bVII9"),
    ("bVImaj9 bVImaj9 v7 V7", "iv9 iv9 bVImaj9 V7"),
)
_HIP_HOP = Progressions(
    ("vi IV iii7 vi", "Imaj7 iii7 vi7 IVmaj7"), ("IV V vi vi", "vi IV I V"), ("ii7 iii7 IV V",)
)
_HIP_HOP_MINOR = Progressions(
    ("i i bVI V", "i bVI iv v", "i iv i bVII"),
    ("bVI bVII i i", "i bVI bIII bVII", "iv bVI i V"),
    ("bVI bVI iv V", "iv v bVI bVII"),
)
_DANCE = Progressions(
    ("I V vi IV", "vi IV I V", "IVmaj7 V vi7 iii7"),
    ("vi IV I V", "IV V vi I", "IV I V vi"),
    ("ii vi IV V", "IV IV V V"),
)
_DANCE_MINOR = Progressions(
    ("i bVI bIII bVII", "i7 bVImaj7 bVII v7", "i iv bVI bVII"),
    ("bVI bVII i bIII", "bVI bIII bVII i", "i bVI iv bVII"),
    ("iv bVI bVII bVII", "bVI bVI bVII V"),
)
_TECHNO = Progressions(
    ("i i i i", "i7 i7 bVII bVII", "i i iv7 i"),
    ("i i bVI bVI", "i i bII i", "i7 bIII iv7 bVII"),
    ("bVI bVI bVII bVII", "iv7 iv7 i i"),
)
_AMBIENT = Progressions(
    ("Iadd9 Iadd9 IVmaj9 IVmaj9", "Imaj9 vi9 IVmaj9 Vsus", "Iadd9 iii7 IVmaj9 IVmaj9"),
    ("IVmaj9 Imaj9 vi9 Vsus", "IVmaj9 IVmaj9 vi9 Iadd9"),
    ("vi9 iii7 IVmaj9 Vsus", "ii9 IVmaj9 vi9 Vsus"),
)
_AMBIENT_MINOR = Progressions(
    ("iadd9 iadd9 bVImaj7 bVImaj7", "iadd9 bIIImaj7 bVImaj7 bVII", "i9 iv9 bVImaj7 v7"),
    ("bVImaj7 bVII iadd9 bIIImaj7", "iv9 bVImaj7 iadd9 v7"),
    ("iv9 iv9 bVImaj7 v7", "bIIImaj7 bVII iv9 v7"),
)
_CLASSICAL = Progressions(
    ("I V vi iii IV I IV V", "I IV V I vi ii V7 I", "I V7 I vi ii V7 I V"),
    ("IV I V7 I IV I ii+V7 I", "I vi IV V7 iii vi ii V7", "I IV ii V7 vi IV ii+V7 I"),
    ("vi III7 vi IV ii II7 V V7", "vi ii V I IV viio III7 V7"),
)
_CLASSICAL_MINOR = Progressions(
    ("i iv V7 i bVI ii% V7 i", "i V7 i iv bVI iv V V7", "i bVII bVI V7 i iv V7 i"),
    ("iv bVII bIII bVI ii% V7 i i", "bVI bIII iv i ii% V7 i V7"),
    ("bIII bVII iv bVI ii% ii% V V7", "bVI bIII iv V7"),
)
_FOLK = Progressions(
    ("I IV I V", "I V vi IV", "I iii IV I", "I IV V I"),
    ("IV I V vi", "IV V I vi IV V I I", "I IV I V I IV V I"),
    ("vi iii IV I ii IV V V", "ii IV I V"),
)
_FOLK_MINOR = Progressions(
    ("i bVII i bVII", "i bIII bVII i", "i iv i V"),
    ("bIII bVII i i", "bVI bVII i bVII", "bVI bIII bVII i"),
    ("iv i iv V", "bVI bIII iv V"),
)
_REGGAE = Progressions(
    ("I IV I V", "I V vi IV", "I ii I ii", "I IV V IV"),
    ("IV I V I", "I iii IV V", "vi IV I V"),
    ("vi ii vi V", "ii IV ii V"),
)
_REGGAE_MINOR = Progressions(
    ("i iv i iv", "i bVII i bVII", "i7 iv7 i7 v7"),
    ("bVI bVII i i", "iv bVII bIII bVI", "bVI v7 i i"),
    ("iv iv i V", "bVI bVI bVII V"),
)
_LATIN = Progressions(
    ("I IV V IV", "ii7 V7 Imaj7 VI7", "I vi ii7 V7"),
    ("ii7 V7 I I", "IV V I VI7 ii7 V7 I I", "I I V7 V7 V7 V7 I I"),
    ("vi II7 ii7 V7", "IV iv6 iii7+VI7 ii7+V7"),
)
_LATIN_MINOR = Progressions(
    ("i iv V7 i", "i bVII bVI V7", "i7 i7 iv7 V7"),
    ("iv7 bVII7 bIII bVI ii% V7 i i", "i iv bVII bIII bVI ii% V7 i"),
    ("iv i V7 i", "bVI bVI V7 V7"),
)
_BOSSA = Progressions(
    ("Imaj9 II9 ii9 V9", "Imaj9 Imaj9 II9 II9 ii9 V9 Imaj9 V9", "Imaj7 VI7 ii9 V9"),
    ("IVmaj7 iv6 iii7 VI7 ii9 V9 Imaj9 Imaj9", "ii9 V9 iii7 VI7"),
    ("bVIImaj7 bVIImaj7 III7 III7 VI7 II9 ii9 V9", "vi9 II9 ii9 V9"),
)
_GOSPEL = Progressions(
    ("I I7 IV iv6", "I III7 vi I7 IV V9sus I V7", "I IV I V9sus"),
    ("IV V9sus iii7 vi7 ii7 V9sus I I7", "IV I III7 vi II7 V9sus I I7"),
    ("vi III7 vi II7 IV IV V9sus V7", "IV iv6 I VI7 II7 II7 V9sus V7"),
)
_KIDS = Progressions(
    ("I I IV I", "I V7 I V7", "I IV I V7"),
    ("IV I V7 I", "I IV V7 I"),
    ("vi ii V7 V7", "IV I II7 V7"),
)
_CINEMATIC = Progressions(
    ("I V vi IV", "I bVI bVII I", "vi IV I V"),
    ("vi IV I V", "IV V vi I", "I bVI IV I"),
    ("ii vi IV V", "bVI bVII I V"),
)
_CINEMATIC_MINOR = Progressions(
    ("i bVI bIII bVII", "i bVII bVI bVI", "i iv bVI V"),
    ("bVI bVII i i", "i bVI bIII bVII", "bVI bIII bVII i"),
    ("iv bVI i V", "bVI bVI bVII V"),
)

_ROCK_BEAT = "k x.......x.x..... | s ....X.......X... | h x.x.x.x.x.x.x.x."
_ROCK_LOUD = "k x.....x.x.x..... | s ....X.......X... | d X.x.X.x.X.x.X.x. | o X..............."
_FOUR = "k X...X...X...X..."

FAMILIES: dict[str, Family] = {
    "pop": Family(
        names=("pop", "k-pop", "j-pop", "teen pop", "singer", "ballad", "schlager", "eurovision"),
        tempo=(96, 118),
        minor=0.2,
        major_chords=_POP,
        minor_chords=_POP_MINOR,
        drums=(
            "k x.....x.x....... | s ....x.......x... | h x.x.x.x.x.x.x.x.",
            (
                "k x.....x.x.x..... | s ....X.......X... | c ....o.......o... | h x.xox.x.x.xox.x."
                " | t ..o...o...o...o."
            ),
        ),
        layers=(
            Layer(
                "keys", ("piano", "bright piano"), "X-------X-----x-", "X--x--X---X-x---", 55, -2
            ),
            Layer(
                "guitar",
                ("clean guitar", "steel guitar"),
                "0-1-2-1-3-1-2-1-",
                "X-..x-u-..u-x-u-",
                52,
                -5,
                -0.45,
                0.5,
            ),
            Layer("pad", ("warm pad", "synth strings"), PAD, PAD, 57, -6, 0.3, 0.4),
            Layer(
                "arp",
                ("polysynth", "glockenspiel"),
                "3-..2-..",
                "0-2-4-2-3-2-4-1-",
                64,
                -12,
                0.6,
                0.9,
            ),
        ),
        leads=("square lead", "clean guitar", "electric piano"),
        bass_lines=("r-----r-r-----a-", "r-r-r-r-r-r-r-a-"),
    ),
    "funk": Family(
        names=("funk", "funky", "disco", "groove", "boogie", "motown"),
        tempo=(100, 114),
        minor=0.45,
        major_chords=_FUNK,
        minor_chords=_FUNK_MINOR,
        drums=(
            "k X..x..x...x..x.. | s ....X..g.g..X..g | h x.x.x.x.x.x.x.xo",
            (
                "k X..x..x...x.x... | s ....X..g.g..X.gg | h xoxoxoxoxoxoxox. | o ..............x."
                " | t ....x.......x..."
            ),
        ),
        layers=(
            Layer(
                "guitar",
                ("muted guitar", "clean guitar"),
                "..x...x...x.x...",
                "x.ux.uX.u.x.uX.u",
                60,
                -4,
                -0.5,
                0.3,
            ),
            Layer(
                "keys",
                ("clavinet", "electric piano"),
                "X-....x.....x-..",
                "X-.x..x-.x..x-.x",
                57,
                -5,
                0.4,
            ),
            Layer("brass", ("brass",), "............x-..", "X-....x-......xX", 62, -4, 0.2, 0.8),
            Layer("pad", ("organ",), PAD, PAD, 60, -13, -0.15, 0.55),
        ),
        leads=("alto sax", "trumpet", "clavinet"),
        bass=("slap bass", "finger bass"),
        bass_lines=("r--r..o.g.r..s.o", "r-.or.o.g.r.fso."),
        swing=0.54,
        swing_unit=0.5,
        major_scale="mixolydian",
        minor_scale="dorian",
        syncopation=0.75,
        fills="snare",
        loudness=-14.5,
    ),
    "soul": Family(
        names=("soul", "r&b", "rnb", "r and b", "neo-soul", "neo soul"),
        tempo=(72, 92),
        minor=0.35,
        major_chords=_SOUL,
        minor_chords=_SOUL_MINOR,
        drums=(
            "k x......xx....... | r ....x.......x... | h x.x.x.x.x.x.x.x.",
            "k x..x...x.xx..... | s ....x..g....x..g | h x.xox.x.x.xox.x. | o ..............x.",
        ),
        layers=(
            Layer(
                "keys",
                ("electric piano", "fm piano"),
                "X-----x---x-....",
                "X--x--u-x-..u-x-",
                54,
                -2,
                0.2,
            ),
            Layer(
                "guitar",
                ("jazz guitar", "clean guitar"),
                "....x.......u...",
                "..u.x..u..u.x.u.",
                60,
                -5,
                -0.5,
                0.5,
            ),
            Layer("pad", ("organ", "strings"), PAD, PAD, 60, -10, -0.2, 0.6),
            Layer("brass", ("brass",), "X-..............", "X---..x-......x-", 60, -6, 0.4, 0.9),
        ),
        leads=("tenor sax", "electric piano", "muted trumpet"),
        bass_lines=("r------f..o-..a-", "r--r..o-..f-r.a-"),
        swing=0.57,
        major_scale="major",
        minor_scale="dorian",
        syncopation=0.6,
        lazy=0.012,
    ),
    "rock": Family(
        names=(
            "rock",
            "punk",
            "grunge",
            "indie",
            "alternative",
            "garage",
            "emo",
            "britpop",
            "surf",
        ),
        tempo=(112, 138),
        minor=0.35,
        major_chords=_ROCK,
        minor_chords=_ROCK_MINOR,
        drums=(_ROCK_BEAT, _ROCK_LOUD),
        layers=(
            Layer(
                "rhythm guitar",
                ("overdriven guitar",),
                "X-x-x-x-x-x-x-x-",
                "X---x-x-X-x-x-x-",
                40,
                -4,
                -0.7,
                0.5,
                power=True,
            ),
            Layer(
                "guitar",
                ("distorted guitar",),
                PAD,
                "X-------X---x-x-",
                40,
                -6,
                0.7,
                0.75,
                power=True,
            ),
            Layer(
                "keys",
                ("clean guitar", "steel guitar"),
                "0-2-1-2-3-2-1-2-",
                "X---x-u-x-u-x-u-",
                52,
                -4,
                0.35,
            ),
            Layer("pad", ("rock organ",), PAD, PAD, 57, -11, 0.0, 0.85),
        ),
        leads=("overdriven guitar", "distorted guitar"),
        bass=("picked bass",),
        bass_lines=("r-r-r-r-r-r-r-r-", "r-r-r-r-r-r-f-a-"),
        kit="room",
        major_scale="major",
        minor_scale="minor pentatonic",
        loudness=-13.5,
    ),
    "metal": Family(
        names=("metal", "hardcore", "djent", "thrash", "screamo", "metalcore"),
        tempo=(132, 168),
        minor=1.0,
        major_chords=_METAL,
        minor_chords=_METAL,
        drums=(
            "k X.x.x.x.X.x.x.x. | s ....X.......X... | h X...X...X...X...",
            "k XxxxXxxxXxxxXxxx | s ....X.......X... | d X.x.X.x.X.x.X.x.",
        ),
        layers=(
            Layer(
                "rhythm guitar",
                ("distorted guitar",),
                "X.xxX.xxX.xxX-x-",
                "XxxxX-xxXxxxX-X-",
                38,
                1,
                -0.8,
                power=True,
            ),
            Layer(
                "guitar",
                ("distorted guitar",),
                "X.xxX.xxX.xxX-x-",
                "XxxxX-xxXxxxX-X-",
                38,
                1,
                0.8,
                power=True,
            ),
            Layer("pad", ("choir", "strings"), PAD, PAD, 57, -9, 0.0, 0.8),
        ),
        leads=("distorted guitar", "overdriven guitar"),
        bass=("picked bass",),
        bass_lines=("r.rrr.rrr.rrr-r-", "rrrrr-rrrrrrr-r-"),
        kit="power",
        minor_scale="minor",
        syncopation=0.3,
        loudness=-13.0,
        looseness=0.003,
        lead_notes=(10, 18),
    ),
    "jazz": Family(
        names=("jazz", "swing", "bebop", "big band", "dixieland", "ragtime", "lounge", "crooner"),
        tempo=(112, 150),
        minor=0.35,
        major_chords=_JAZZ,
        minor_chords=_JAZZ_MINOR,
        drums=(
            "k o...o...o...o... | d x...x.x.x...x.x. | p ....x.......x...",
            (
                "k o...o...o...o.o. | d X...X.x.X...X.x. | p ....x.......x... | s ......g.....g..g"
                " | r ....o..........."
            ),
        ),
        layers=(
            Layer(
                "keys",
                ("piano",),
                "..........x.....x-....x.........",
                "....x-....x-....x-....x...x-....",
                53,
                -2,
                -0.25,
                voices=4,
            ),
            Layer(
                "guitar",
                ("jazz guitar",),
                "x-..x-..x-..x-..",
                "x-..x-..x-..x-..",
                52,
                -11,
                0.45,
                0.55,
            ),
            Layer(
                "brass", ("brass",), "..............x.", "x.....x-......x.", 58, -7, 0.5, 0.88, 4
            ),
        ),
        leads=("tenor sax", "alto sax", "muted trumpet", "vibraphone", "clarinet"),
        bass=("double bass",),
        bass_lines=("walk", "walk"),
        kit="jazz",
        swing=0.64,
        swing_unit=1.0,
        major_scale="major",
        minor_scale="dorian",
        syncopation=0.65,
        fills="jazz",
        phrase=8,
        loudness=-17.0,
        lead_notes=(9, 15),
        looseness=0.009,
        ritardando=True,
    ),
    "blues": Family(
        names=("blues", "bluesy", "boogie-woogie", "rock and roll", "rock'n'roll", "rockabilly"),
        tempo=(88, 116),
        minor=0.25,
        major_chords=_BLUES,
        minor_chords=_BLUES_MINOR,
        drums=(
            "k x.......x....... | s ....x.......x... | h x.x.x.x.x.x.x.x.",
            "k x.....x.x.x..... | s ....X.......X... | d x.x.x.x.x.x.x.x.",
        ),
        layers=(
            Layer(
                "guitar",
                ("clean guitar", "overdriven guitar"),
                "x.x.x.x.x.x.x.x.",
                "X.x.X.x.X.x.X.x.",
                45,
                -6,
                -0.5,
                power=True,
            ),
            Layer(
                "keys", ("piano", "honky-tonk"), "....x.......x...", "x...x.u.x..xx.u.", 55, -3, 0.3
            ),
            Layer("pad", ("rock organ",), PAD, PAD, 58, -10, 0.1, 0.6),
        ),
        leads=("overdriven guitar", "harmonica", "tenor sax"),
        bass_lines=("r-r-t-t-f-f-s-s-", "r-r-t-t-f-s-o-s-"),
        swing=0.65,
        swing_unit=1.0,
        major_scale="blues",
        minor_scale="blues",
        phrase=12,
        syncopation=0.5,
        lead_notes=(6, 12),
        looseness=0.008,
    ),
    "lo-fi": Family(
        names=("lo-fi", "lofi", "lo fi", "chillhop", "study", "downtempo", "trip hop", "trip-hop"),
        tempo=(70, 86),
        minor=0.4,
        major_chords=_LOFI,
        minor_chords=_LOFI_MINOR,
        drums=(
            "k x......x..x..... | r ....x.......x... | h x.o.x.o.x.o.x.o.",
            "k x......x..x...x. | s ....x.......x... | h x.xox.o.x.xox.oo | a ..o...o...o...o.",
        ),
        layers=(
            Layer(
                "keys",
                ("electric piano", "fm piano", "piano"),
                "X-----x-X---....",
                "X---..x-..x-X---",
                54,
                -1,
                -0.1,
                voices=4,
            ),
            Layer(
                "guitar",
                ("jazz guitar", "nylon guitar"),
                "3-..2-..1-......",
                "3-2-..1-2-..0-..",
                59,
                -6,
                0.5,
                0.5,
            ),
            Layer("pad", ("warm pad", "space voice"), PAD, PAD, 57, -10, 0.2, 0.55),
        ),
        leads=("vibraphone", "electric piano", "kalimba", "jazz guitar"),
        bass=("fretless bass", "finger bass"),
        bass_lines=("r------r..r-....", "r------r..f-..a-"),
        kit="brush",
        swing=0.6,
        major_scale="major pentatonic",
        minor_scale="minor pentatonic",
        fills="sparse",
        loudness=-17.0,
        lead_notes=(4, 8),
        looseness=0.011,
        lazy=0.018,
        dusty=True,
        syncopation=0.5,
    ),
    "hip hop": Family(
        names=(
            "hip hop",
            "hip-hop",
            "hiphop",
            "rap",
            "trap",
            "drill",
            "boom bap",
            "phonk",
            "grime",
        ),
        tempo=(82, 96),
        minor=0.85,
        major_chords=_HIP_HOP,
        minor_chords=_HIP_HOP_MINOR,
        drums=(
            "k X.....x..xx..... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            (
                "k X.....x..xx...x. | s ....X.......X... | c ....x.......x... | h x.xxx.x.xoxox.xx"
                " | o ..............x."
            ),
        ),
        layers=(
            Layer(
                "keys",
                ("piano", "electric piano", "pizzicato"),
                "X-....x-..x-....",
                "X-..x-x-..x-..x-",
                55,
                -2,
                -0.2,
            ),
            Layer("pad", ("synth strings", "strings"), PAD, PAD, 58, -8, 0.25, 0.5),
            Layer(
                "arp",
                ("bells", "music box"),
                "4-....3-....",
                "4---3---2---3-2-",
                64,
                -13,
                0.5,
                0.85,
            ),
        ),
        leads=("flute", "square lead", "bells"),
        bass=("synth bass",),
        bass_lines=("r-----..r-r-....", "r-----r..rr---a-"),
        kit="808",
        swing=0.55,
        minor_scale="minor",
        syncopation=0.7,
        fills="rolls",
        loudness=-13.5,
        lead_notes=(5, 9),
    ),
    "house": Family(
        names=(
            "house",
            "electronic",
            "edm",
            "dance",
            "electro",
            "club",
            "eurodance",
            "electronica",
            "dubstep",
            "future bass",
            "hyperpop",
            "techno pop",
            "synth-pop",
            "synthpop",
        ),
        tempo=(120, 128),
        minor=0.6,
        major_chords=_DANCE,
        minor_chords=_DANCE_MINOR,
        drums=(
            f"{_FOUR} | h ..x...x...x...x. | c ....o.......o...",
            (
                f"{_FOUR} | c ....X.......X... | o ..x...x...x...x. | h xoxoxoxoxoxoxoxo"
                " | a o.oxo.oxo.oxo.ox"
            ),
        ),
        layers=(
            Layer(
                "keys", ("piano", "bright piano"), "X--x--x---x--x--", "X--X--X-.X-X--X-", 57, -3
            ),
            Layer(
                "stabs",
                ("polysynth", "saw lead"),
                "..x...x...x...x.",
                "X..X..X..X..X.X.",
                60,
                -7,
                0.35,
                0.75,
            ),
            Layer("pad", ("synth strings", "sweep pad"), PAD, PAD, 58, -7, -0.3, 0.35),
            Layer("arp", ("square lead",), "0.1.2.3.", "0213241302143125", 66, -14, -0.6, 0.9),
        ),
        leads=("saw lead", "square lead"),
        bass=("synth bass", "rubber bass"),
        bass_lines=("..r-..r-..r-..r-", "..r-..o-..r-..ra"),
        kit="electronic",
        syncopation=0.6,
        fills="build",
        loudness=-13.5,
        looseness=0.002,
        pump=True,
    ),
    "techno": Family(
        names=("techno", "industrial", "ebm"),
        tempo=(126, 136),
        minor=1.0,
        major_chords=_TECHNO,
        minor_chords=_TECHNO,
        drums=(
            f"{_FOUR} | h ..x...x...x...x. | a x.x.x.x.x.x.x.x.",
            (
                f"{_FOUR} | c ....x.......x..g | o ..X...X...X...X. | h xoxoxoxoxoxoxoxo"
                " | l ...g..g....g..g."
            ),
        ),
        layers=(
            Layer(
                "arp",
                ("saw lead", "square lead"),
                "0.01.0.20.01.0.3",
                "0.0102020.01023.",
                48,
                -8,
                -0.3,
            ),
            Layer(
                "stabs", ("polysynth",), "......x.........", "...x..x....x..x.", 57, -7, 0.4, 0.6
            ),
            Layer("pad", ("sweep pad", "warm pad"), PAD, PAD, 55, -8, 0.1, 0.4),
        ),
        leads=("square lead", "polysynth"),
        bass=("rubber bass", "synth bass"),
        bass_lines=("..rr..rr..rr..rr", ".rrr.rro.rrr.rso"),
        kit="electronic",
        minor_scale="phrygian",
        syncopation=0.7,
        fills="build",
        loudness=-13.5,
        looseness=0.001,
        lead_notes=(5, 9),
        pump=True,
    ),
    "trance": Family(
        names=("trance", "psytrance", "goa", "hardstyle", "rave", "eurotrance"),
        tempo=(134, 140),
        minor=0.9,
        major_chords=_DANCE,
        minor_chords=_DANCE_MINOR,
        drums=(
            f"{_FOUR} | h ..x...x...x...x.",
            f"{_FOUR} | c ....X.......X... | o ..X...X...X...X. | h xoxoxoxoxoxoxoxo",
        ),
        layers=(
            Layer(
                "arp",
                ("saw lead", "square lead"),
                "0-2-1-2-3-2-1-2-",
                "0213241302132413",
                60,
                -8,
                0.4,
            ),
            Layer(
                "stabs",
                ("polysynth", "saw lead"),
                "x..x..x..x..x.x.",
                "X.x.x.X.x.x.X.x.",
                60,
                -7,
                -0.35,
                0.75,
            ),
            Layer("pad", ("synth strings", "halo pad"), PAD, PAD, 57, -6, 0.0),
        ),
        leads=("saw lead",),
        bass=("synth bass",),
        bass_lines=("..r-..r-..r-..r-", ".rrr.rrr.rrr.rrr"),
        kit="electronic",
        fills="build",
        loudness=-13.5,
        looseness=0.001,
        pump=True,
        phrase=8,
    ),
    "drum and bass": Family(
        names=(
            "drum and bass",
            "drum & bass",
            "dnb",
            "d&b",
            "drum n bass",
            "jungle",
            "breakbeat",
            "breakcore",
            "liquid",
        ),
        tempo=(168, 176),
        minor=0.8,
        major_chords=_DANCE,
        minor_chords=_LOFI_MINOR,
        drums=(
            "k X.........x..... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            (
                "k X.........x..... | s ....X..g.g..X..g | h xoxoxoxoxoxoxoxo | d x...x...x...x..."
                " | o ..............x."
            ),
        ),
        layers=(
            Layer(
                "keys",
                ("electric piano", "fm piano"),
                "X-----------x---",
                "X-----x-....x---",
                57,
                -4,
                0.2,
            ),
            Layer("pad", ("warm pad", "synth strings"), PAD, PAD, 58, -5, -0.2),
            Layer(
                "stabs", ("polysynth",), "......x.........", "......x...x.....", 62, -9, 0.4, 0.8
            ),
        ),
        leads=("saw lead", "flute", "electric piano"),
        bass=("rubber bass", "synth bass"),
        bass_lines=("r---------r-----", "r-----o..rr--s--"),
        kit="electronic",
        syncopation=0.5,
        fills="rolls",
        loudness=-13.5,
        looseness=0.002,
        phrase=8,
        lead_notes=(4, 8),
    ),
    "ambient": Family(
        names=(
            "ambient",
            "meditation",
            "drone",
            "new age",
            "relaxing",
            "sleep",
            "spa",
            "soundscape",
            "chillout",
        ),
        tempo=(58, 70),
        minor=0.4,
        major_chords=_AMBIENT,
        minor_chords=_AMBIENT_MINOR,
        drums=("", "a o...o...o...o..."),
        layers=(
            Layer("pad", ("warm pad", "sweep pad"), PAD, PAD, 52, -2, -0.3),
            Layer(
                "pad",
                ("bowed glass", "halo pad", "space voice"),
                "....X-----------",
                "X---------------",
                60,
                -8,
                0.35,
                0.5,
            ),
            Layer(
                "keys",
                ("fm piano", "electric piano", "harp"),
                "0---1---2---3---",
                "0-2-4-3-5-4-3-2-",
                57,
                -6,
                0.15,
            ),
            Layer(
                "arp",
                ("crystal", "atmosphere"),
                "........5-------",
                "5-----4---3-----",
                62,
                -13,
                0.6,
                0.55,
            ),
        ),
        leads=("pan flute", "space voice", "flute", "shakuhachi"),
        bass=("fretless bass", "double bass"),
        bass_lines=("r---------------", "r---------------"),
        major_scale="major pentatonic",
        minor_scale="minor pentatonic",
        syncopation=0.1,
        fills="none",
        loudness=-19.0,
        lead_notes=(3, 6),
        looseness=0.014,
        ritardando=True,
        reverb=0.8,
    ),
    "classical": Family(
        names=(
            "classical",
            "orchestral",
            "orchestra",
            "symphony",
            "symphonic",
            "baroque",
            "romantic",
            "string quartet",
            "chamber",
            "opera",
            "renaissance",
            "medieval",
            "musical",
            "choral",
        ),
        tempo=(84, 108),
        minor=0.4,
        major_chords=_CLASSICAL,
        minor_chords=_CLASSICAL_MINOR,
        drums=("", "y X..............."),
        layers=(
            Layer("strings", ("strings",), "X-------X-------", "X-x-X-x-X-x-X-x-", 55, -2, -0.35),
            Layer(
                "keys",
                ("harp", "pizzicato", "harpsichord"),
                "0-1-2-3-2-3-2-1-",
                "0-2-3-4-5-4-3-2-",
                50,
                -6,
                0.4,
            ),
            Layer("brass", ("horns",), PAD, "X-------X-------", 52, -7, 0.25, 0.75),
            Layer(
                "woodwind",
                ("clarinet", "oboe"),
                "3-------2-------",
                "3---2---1---2---",
                60,
                -10,
                0.15,
                0.6,
            ),
        ),
        leads=("violin", "flute", "oboe", "clarinet"),
        bass=("cello",),
        bass_lines=("r-------f-------", "r---f---o---f---"),
        syncopation=0.1,
        fills="none",
        phrase=8,
        loudness=-18.0,
        lead_notes=(7, 12),
        looseness=0.010,
        ritardando=True,
        reverb=0.6,
    ),
    "piano": Family(
        names=("solo piano", "piano ballad", "nocturne", "new classical", "neoclassical"),
        tempo=(68, 88),
        minor=0.5,
        major_chords=_POP,
        minor_chords=_POP_MINOR,
        drums=("", ""),
        layers=(
            Layer(
                "keys", ("piano",), "0-1-2-3-2-3-2-1-", "0-2-3-4-5-4-3-2-", 48, -1, -0.15, voices=3
            ),
            Layer("pad", ("slow strings",), PAD, PAD, 57, -12, 0.2, 0.7),
        ),
        leads=("piano",),
        bass=("piano",),
        bass_lines=("r-------f-------", "r-------o---f---"),
        syncopation=0.25,
        fills="none",
        loudness=-18.0,
        lead_notes=(6, 10),
        looseness=0.010,
        ritardando=True,
        reverb=0.45,
    ),
    "folk": Family(
        names=(
            "folk",
            "acoustic",
            "celtic",
            "irish",
            "shanty",
            "ukulele",
            "campfire",
            "americana",
            "medieval folk",
            "world",
        ),
        tempo=(92, 112),
        minor=0.3,
        major_chords=_FOLK,
        minor_chords=_FOLK_MINOR,
        drums=(
            "k x.......x....... | a x.o.x.o.x.o.x.o.",
            "k x.......x....... | r ....x.......x... | a x.oox.oox.oox.oo | t ....x.......x...",
        ),
        layers=(
            Layer(
                "guitar",
                ("steel guitar", "nylon guitar"),
                "0-2-1-3-0-2-1-3-",
                "X---x-u-..u-x-u-",
                48,
                -1,
                -0.3,
                voices=4,
            ),
            Layer(
                "guitar",
                ("nylon guitar",),
                "....3-2-....3-2-",
                "3-2-1-2-3-2-1-2-",
                60,
                -8,
                0.5,
                0.6,
            ),
            Layer("pad", ("accordion", "slow strings"), PAD, PAD, 57, -12, 0.25, 0.75),
        ),
        leads=("fiddle", "flute", "whistle", "harmonica"),
        bass=("double bass", "finger bass"),
        bass_lines=("r-------f-------", "r-----r-f-----a-"),
        major_scale="major",
        minor_scale="dorian",
        syncopation=0.2,
        fills="sparse",
        loudness=-17.0,
        looseness=0.008,
    ),
    "country": Family(
        names=("country", "bluegrass", "western", "honky tonk", "hillbilly", "nashville"),
        tempo=(104, 128),
        minor=0.05,
        major_chords=_FOLK,
        minor_chords=_FOLK_MINOR,
        drums=(
            "k x.......x....... | r ....x.......x... | h x.x.x.x.x.x.x.x.",
            "k x.......x.x..... | s o.gox.goo.gox.go | t ....x.......x...",
        ),
        layers=(
            Layer(
                "guitar", ("steel guitar",), "....x-u-....x-u-", "....x-u-..u-x-u-", 52, -1, -0.35
            ),
            Layer("banjo", ("banjo",), "0.2.1.2.3.2.1.2.", "0213021302130213", 57, -8, 0.5, 0.55),
            Layer(
                "keys",
                ("honky-tonk", "piano"),
                "X---------------",
                "....x.......x-..",
                57,
                -7,
                0.2,
                0.6,
            ),
        ),
        leads=("fiddle", "clean guitar", "harmonica"),
        bass=("double bass", "finger bass"),
        bass_lines=("r-------l-------", "r-------l---a---"),
        major_scale="major pentatonic",
        minor_scale="minor pentatonic",
        syncopation=0.25,
        loudness=-15.5,
    ),
    "reggae": Family(
        names=("reggae", "ska", "dub", "dancehall", "rocksteady", "reggaeton"),
        tempo=(72, 84),
        minor=0.35,
        major_chords=_REGGAE,
        minor_chords=_REGGAE_MINOR,
        drums=(
            "k ........X....... | r ........X....... | h x.x.x.x.x.x.x.x.",
            "k ........X....... | s ........X......g | h x.xox.xox.xox.xo | r ...x..x....x..x.",
        ),
        layers=(
            Layer(
                "guitar",
                ("muted guitar", "clean guitar"),
                "....x.......x...",
                "....X.......X...",
                60,
                -1,
                -0.4,
            ),
            Layer("keys", ("organ",), "..x...x...x...x.", "..x.x.x...x.x.x.", 57, -6, 0.4),
            Layer("keys", ("piano",), "....x.......x...", "....x.......x...", 60, -6, 0.1, 0.5),
            Layer("brass", ("brass",), "x-..............", "x-x-......x-....", 60, -6, 0.25, 0.85),
        ),
        leads=("trombone", "organ", "alto sax"),
        bass_lines=("r--r..f.o-..f-..", "r--r..t.f-.fo-a-"),
        swing=0.56,
        syncopation=0.5,
        fills="rolls",
        lazy=0.006,
    ),
    "latin": Family(
        names=(
            "latin",
            "salsa",
            "mambo",
            "cumbia",
            "merengue",
            "tango",
            "flamenco",
            "cha cha",
            "rumba",
            "afro",
            "afrobeat",
            "samba",
            "mariachi",
            "tropical",
        ),
        tempo=(96, 112),
        minor=0.55,
        major_chords=_LATIN,
        minor_chords=_LATIN_MINOR,
        drums=(
            "v x..x..x...x.x... | g ..........x.x... | q ....x........... | a x.o.x.o.x.o.x.o.",
            (
                "v x..x..x...x.x... | w x...x.x.x...x.x. | g ......x...x.x... | b x..............."
                " | q ....x.......x... | k x.....x.x.....x. | a xoxoxoxoxoxoxoxo"
            ),
        ),
        layers=(
            Layer(
                "keys",
                ("piano", "bright piano"),
                "X.x.x..x.x.x.x..",
                "X.xx.x.xx.xx.x.x",
                60,
                -2,
                -0.25,
            ),
            Layer(
                "guitar", ("nylon guitar",), "x-..x-u-x-..x-u-", "x-u-x-u-x-u-x-u-", 52, -5, 0.45
            ),
            Layer("brass", ("brass",), "x-..............", "X-.x..x-......xx", 62, -4, 0.3, 0.8),
        ),
        leads=("trumpet", "nylon guitar", "flute"),
        bass=("finger bass", "double bass"),
        bass_lines=("r-----f-....o---", "r-----f-..o-..a-"),
        syncopation=0.7,
        minor_scale="minor",
        fills="rolls",
    ),
    "bossa nova": Family(
        names=("bossa", "bossa nova", "brazilian", "mpb"),
        tempo=(116, 136),
        minor=0.25,
        major_chords=_BOSSA,
        minor_chords=_JAZZ_MINOR,
        drums=(
            "k x..ox..ox..ox..o | r x..x..x...x..x.. | h x.x.x.x.x.x.x.x.",
            "k x..ox..ox..ox..o | r x..x..x...x..x.. | a xoxoxoxoxoxoxoxo | h ....x.......x...",
        ),
        layers=(
            Layer(
                "guitar",
                ("nylon guitar",),
                "x-.x-.x-..x-.x-.",
                "x-.x-.x-..x-.x-u",
                52,
                -1,
                -0.25,
                voices=4,
            ),
            Layer(
                "keys",
                ("electric piano", "piano"),
                "X-----------....",
                "..x-......x-..x-",
                58,
                -6,
                0.35,
                0.5,
            ),
            Layer("pad", ("slow strings",), PAD, PAD, 60, -11, 0.1, 0.75),
        ),
        leads=("flute", "tenor sax", "vibraphone"),
        bass=("double bass",),
        bass_lines=("r-----ff------rr", "r-----ff------fa"),
        syncopation=0.65,
        fills="sparse",
        phrase=8,
        loudness=-17.0,
        ritardando=True,
    ),
    "synthwave": Family(
        names=(
            "synthwave",
            "retrowave",
            "80s",
            "eighties",
            "vaporwave",
            "new wave",
            "outrun",
            "darkwave",
            "cyberpunk",
        ),
        tempo=(90, 112),
        minor=0.75,
        major_chords=_POP,
        minor_chords=_DANCE_MINOR,
        drums=(
            "k X.......X....... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            (
                "k X.......X.x..... | s ....X.......X... | c ....o.......o... | h xoxoxoxoxoxoxoxo"
                " | o ..............x."
            ),
        ),
        layers=(
            Layer("pad", ("synth strings", "polysynth"), PAD, PAD, 57, -3, -0.25),
            Layer(
                "arp",
                ("square lead", "saw lead"),
                "0-1-2-3-2-1-",
                "0123212301232123",
                60,
                -9,
                0.45,
                0.35,
            ),
            Layer(
                "stabs", ("synth brass",), "X---------------", "X--x--x---x-x---", 57, -8, 0.2, 0.8
            ),
        ),
        leads=("saw lead", "square lead"),
        bass=("synth bass",),
        bass_lines=("r.r.r.r.r.r.r.r.", "rrorrrorrrorrroa"),
        kit="electronic",
        looseness=0.002,
        loudness=-14.0,
        pump=True,
    ),
    "chiptune": Family(
        names=(
            "chiptune",
            "8-bit",
            "8bit",
            "chip",
            "video game",
            "game",
            "arcade",
            "nintendo",
            "16-bit",
        ),
        tempo=(132, 156),
        minor=0.35,
        major_chords=_POP,
        minor_chords=_POP_MINOR,
        drums=(
            "k X.......X....... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            "k X..x..x.X..x.... | s ....X.......X.g. | h xoxoxoxoxoxoxoxo",
        ),
        layers=(
            Layer("arp", ("square lead",), "0123012301230123", "0123432101234321", 60, -9, -0.5),
            Layer(
                "stabs", ("polysynth",), "x.......x.......", "x..x..x.x..x..x.", 57, -8, 0.5, 0.6
            ),
        ),
        leads=("square lead",),
        bass=("rubber bass",),
        bass_lines=("r.r.r.r.r.r.r.r.", "r.o.r.o.r.o.f.o."),
        kit="electronic",
        fills="snare",
        looseness=0.0,
        lead_notes=(9, 16),
        reverb=0.08,
        loudness=-14.5,
    ),
    "gospel": Family(
        names=(
            "gospel",
            "worship",
            "spiritual",
            "hymn",
            "christian",
            "praise",
            "a cappella",
            "acappella",
        ),
        tempo=(76, 96),
        minor=0.1,
        major_chords=_GOSPEL,
        minor_chords=_SOUL_MINOR,
        drums=(
            "k x.......x.x..... | r ....x.......x... | t ....x.......x...",
            "k x.....x.x.x..... | s ....X.......X... | c ....x.......x... | t x.oox.oox.oox.oo",
        ),
        layers=(
            Layer("keys", ("piano",), "X-----x-x---x---", "X--x--x-X-x-x-x-", 53, -2, -0.25),
            Layer("organ", ("rock organ",), PAD, "X-------X-------", 57, -8, 0.3),
            Layer("choir", ("choir",), PAD, "X---x---X---x---", 57, -5, 0.0, 0.75),
        ),
        leads=("rock organ", "choir"),
        bass_lines=("r-----r-f---..a-", "r--r..o-f---r.a-"),
        swing=0.6,
        syncopation=0.5,
        reverb=0.5,
    ),
    "waltz": Family(
        names=("waltz", "3/4", "lullaby", "carousel", "musette", "minuet"),
        tempo=(100, 150),
        minor=0.35,
        major_chords=_CLASSICAL,
        minor_chords=_CLASSICAL_MINOR,
        drums=("r ....o...o...", "k x........... | r ....x...x..."),
        layers=(
            Layer("keys", ("piano", "accordion"), "....x-..x-..", "....X-..X-..", 55, -2, -0.3),
            Layer("strings", ("strings",), PAD_3, PAD_3, 57, -5, 0.3, 0.55),
            Layer("arp", ("harp", "music box"), "........3-..", "0-2-3-4-3-2-", 60, -9, 0.5, 0.8),
        ),
        leads=("violin", "accordion", "clarinet", "flute"),
        bass=("double bass", "cello"),
        bass_lines=("r-----------", "r---....f---"),
        kit="brush",
        beats_in_bar=3,
        syncopation=0.1,
        fills="none",
        phrase=8,
        loudness=-17.0,
        lead_notes=(4, 7),
        looseness=0.009,
        ritardando=True,
        reverb=0.45,
    ),
    "kids": Family(
        names=("kids", "children", "nursery", "toddler", "cartoon", "christmas", "comedy", "silly"),
        tempo=(108, 126),
        minor=0.0,
        major_chords=_KIDS,
        minor_chords=_FOLK_MINOR,
        drums=(
            "k x.......x....... | c ....x.......x... | a x.o.x.o.x.o.x.o.",
            "k x.......x....... | c ....X.......X... | t x.oox.oox.oox.oo | v ..x...x...x...x.",
        ),
        layers=(
            Layer(
                "keys", ("piano", "marimba"), "....x.......x...", "..x.x.x...x.x.x.", 57, -2, -0.25
            ),
            Layer(
                "guitar",
                ("nylon guitar",),
                "x-..x-u-x-..x-u-",
                "x-u-x-u-x-u-x-u-",
                55,
                -5,
                0.4,
                0.5,
            ),
            Layer(
                "arp",
                ("glockenspiel", "xylophone"),
                "3-..4-..",
                "0.2.3.2.4.3.2.1.",
                66,
                -10,
                0.5,
                0.75,
            ),
        ),
        leads=("recorder", "whistle", "xylophone", "ocarina"),
        bass=("tuba", "finger bass"),
        bass_lines=("r-..f-..r-..f-..", "r-..f-..r-..f-a-"),
        syncopation=0.05,
        fills="sparse",
        major_scale="major",
        lead_notes=(6, 9),
    ),
    "cinematic": Family(
        names=(
            "cinematic",
            "epic",
            "trailer",
            "film",
            "soundtrack",
            "score",
            "heroic",
            "fantasy",
            "movie",
            "battle",
            "post-rock",
        ),
        tempo=(88, 112),
        minor=0.75,
        major_chords=_CINEMATIC,
        minor_chords=_CINEMATIC_MINOR,
        drums=(
            "f x.......x..x....",
            "f X..x..x.X..x..xx | k X.......X....... | l ....x.......x... | y X...............",
        ),
        layers=(
            Layer("strings", ("strings",), "x...x...x...x.x.", "X.x.X.x.X.x.X.xx", 50, -3, -0.35),
            Layer("pad", ("slow strings", "choir"), PAD, PAD, 57, -6, 0.3),
            Layer("brass", ("horns", "trombone"), PAD, "X-------X---x-x-", 50, -4, 0.2, 0.7),
            Layer("choir", ("choir",), PAD, PAD, 60, -5, 0.0, 0.88),
        ),
        leads=("horns", "violin", "trumpet", "flute"),
        bass=("cello",),
        bass_lines=("r-------r-------", "r---r---r---r-r-"),
        kit="power",
        syncopation=0.15,
        fills="toms",
        loudness=-15.0,
        lead_notes=(4, 8),
        ritardando=True,
        reverb=0.6,
    ),
}
