"""What needs no loudspeaker: the concert hall, the club, the fireside."""

from playground.composer.genres.family import PAD, PAD_3, Family, Layer
from playground.composer.genres.progressions import (
    BOSSA,
    CINEMATIC,
    CINEMATIC_MINOR,
    CLASSICAL,
    CLASSICAL_MINOR,
    FOLK,
    FOLK_MINOR,
    JAZZ,
    JAZZ_MINOR,
    LATIN,
    LATIN_MINOR,
    POP,
    POP_MINOR,
)

# fmt: off
ACOUSTIC: dict[str, Family] = {
    "jazz": Family(
        names=("jazz", "swing", "bebop", "big band", "dixieland", "ragtime", "lounge", "crooner"),
        tempo=(112, 150), minor=0.35, major_chords=JAZZ, minor_chords=JAZZ_MINOR,
        drums=(
            "k o...o...o...o... | d x...x.x.x...x.x. | p ....x.......x...",
            ("k o...o...o...o.o. | d X...X.x.X...X.x. | p ....x.......x..."
             " | s ......g.....g..g | r ....o..........."),
        ),
        layers=(
            Layer("keys", ("piano",), "..........x.....x-....x.........",
                  "....x-....x-....x-....x...x-....", 53, -2, -0.25, voices=4),
            Layer("guitar", ("jazz guitar",), "x-..x-..x-..x-..", "x-..x-..x-..x-..", 52, -11, 0.45,
                  0.55),
            Layer("brass", ("brass",), "..............x.", "x.....x-......x.", 58, -7, 0.5, 0.88,
                  4),
        ),
        leads=("tenor sax", "alto sax", "muted trumpet", "vibraphone", "clarinet"),
        bass=("double bass",), bass_lines=("walk", "walk"), kit="jazz", swing=0.64, swing_unit=1.0,
        major_scale="major", minor_scale="dorian", syncopation=0.65, fills="jazz", phrase=8,
        loudness=-17.0, lead_notes=(9, 15), looseness=0.009, ritardando=True,
    ),
    "classical": Family(
        names=("classical", "orchestral", "orchestra", "symphony", "symphonic", "baroque",
               "romantic", "string quartet", "chamber", "opera", "renaissance", "medieval",
               "musical", "choral"),
        tempo=(84, 108), minor=0.4, major_chords=CLASSICAL, minor_chords=CLASSICAL_MINOR,
        drums=(
            "",
            "",
        ),
        layers=(
            Layer("strings", ("strings",), "X-------X-------", "X---x---X---x-x-", 55, -2, -0.35),
            Layer("keys", ("harp", "pizzicato", "harpsichord"), "0-1-2-3-2-3-2-1-",
                  "0-2-3-4-5-4-3-2-", 50, -6, 0.4),
            Layer("brass", ("horns",), PAD, "X-------X-------", 52, -7, 0.25, 0.75, 2),
            Layer("woodwind", ("clarinet", "oboe"), "3-------2-------", "3---2---1---2---", 60, -10,
                  0.15, 0.6),
        ),
        leads=("violin", "flute", "oboe", "clarinet"), bass=("cello",),
        bass_lines=("r-------f-------", "r---f---o---f---"), syncopation=0.1, fills="none",
        phrase=8, loudness=-18.0, lead_notes=(7, 12), looseness=0.01, ritardando=True, reverb=0.6,
    ),
    "piano": Family(
        names=("solo piano", "piano ballad", "nocturne", "new classical", "neoclassical"),
        tempo=(68, 88), minor=0.5, major_chords=POP, minor_chords=POP_MINOR,
        drums=(
            "",
            "",
        ),
        layers=(
            Layer("keys", ("piano",), "0-1-2-3-2-3-2-1-", "0-2-3-4-5-4-3-2-", 48, -1, -0.15,
                  voices=3),
            Layer("pad", ("slow strings",), PAD, PAD, 57, -12, 0.2, 0.7),
        ),
        leads=("piano",), bass=("piano",), bass_lines=("r-------f-------", "r-------o---f---"),
        syncopation=0.25, fills="none", loudness=-18.0, lead_notes=(6, 10), looseness=0.01,
        ritardando=True, reverb=0.45,
    ),
    "folk": Family(
        names=("folk", "acoustic", "celtic", "irish", "shanty", "ukulele", "campfire", "americana",
               "medieval folk", "world"),
        tempo=(92, 112), minor=0.3, major_chords=FOLK, minor_chords=FOLK_MINOR,
        drums=(
            "k x.......x....... | a x.o.x.o.x.o.x.o.",
            "k x.......x....... | r ....x.......x... | a x.oox.oox.oox.oo | t ....x.......x...",
        ),
        layers=(
            Layer("guitar", ("steel guitar", "nylon guitar"), "0-2-1-3-0-2-1-3-",
                  "X---x-u-..u-x-u-", 48, -1, -0.3, voices=4),
            Layer("guitar", ("nylon guitar",), "....3-2-....3-2-", "3-2-1-2-3-2-1-2-", 60, -8, 0.5,
                  0.6),
            Layer("pad", ("accordion", "slow strings"), PAD, PAD, 57, -12, 0.25, 0.75),
        ),
        leads=("fiddle", "flute", "whistle", "harmonica"), bass=("double bass", "finger bass"),
        bass_lines=("r-------f-------", "r-----r-f-----a-"), major_scale="major",
        minor_scale="dorian", syncopation=0.2, fills="sparse", loudness=-17.0, looseness=0.008,
    ),
    "latin": Family(
        names=("latin", "salsa", "mambo", "cumbia", "merengue", "tango", "flamenco", "cha cha",
               "rumba", "afro", "afrobeat", "samba", "mariachi", "tropical"),
        tempo=(96, 112), minor=0.55, major_chords=LATIN, minor_chords=LATIN_MINOR,
        drums=(
            "v x..x..x...x.x... | g ..........x.x... | q ....x........... | a x.o.x.o.x.o.x.o.",
            ("v x..x..x...x.x... | w x...x.x.x...x.x. | g ......x...x.x..."
             " | b x............... | q ....x.......x... | k x.....x.x.....x."
             " | a xoxoxoxoxoxoxoxo"),
        ),
        layers=(
            Layer("keys", ("piano", "bright piano"), "X.x.x..x.x.x.x..", "X.xx.x.xx.xx.x.x", 60, -2,
                  -0.25),
            Layer("guitar", ("nylon guitar",), "x-..x-u-x-..x-u-", "x-u-x-u-x-u-x-u-", 52, -5,
                  0.45),
            Layer("brass", ("brass",), "x-..............", "X-.x..x-......xx", 62, -4, 0.3, 0.8),
        ),
        leads=("trumpet", "nylon guitar", "flute"), bass=("finger bass", "double bass"),
        bass_lines=("r-----f-....o---", "r-----f-..o-..a-"), syncopation=0.7, minor_scale="minor",
        fills="rolls",
    ),
    "bossa nova": Family(
        names=("bossa", "bossa nova", "brazilian", "mpb"),
        tempo=(116, 136), minor=0.25, major_chords=BOSSA, minor_chords=JAZZ_MINOR,
        drums=(
            "k x..ox..ox..ox..o | r x..x..x...x..x.. | h x.x.x.x.x.x.x.x.",
            "k x..ox..ox..ox..o | r x..x..x...x..x.. | a xoxoxoxoxoxoxoxo | h ....x.......x...",
        ),
        layers=(
            Layer("guitar", ("nylon guitar",), "x-.x-.x-..x-.x-.", "x-.x-.x-..x-.x-u", 52, -1,
                  -0.25, voices=4),
            Layer("keys", ("electric piano", "piano"), "X-----------....", "..x-......x-..x-", 58,
                  -6, 0.35, 0.5),
            Layer("pad", ("slow strings",), PAD, PAD, 60, -11, 0.1, 0.75),
        ),
        leads=("flute", "tenor sax", "vibraphone"), bass=("double bass",),
        bass_lines=("r-----ff------rr", "r-----ff------fa"), syncopation=0.65, fills="sparse",
        phrase=8, loudness=-17.0, ritardando=True,
    ),
    "waltz": Family(
        names=("waltz", "3/4", "lullaby", "carousel", "musette", "minuet"),
        tempo=(100, 150), minor=0.35, major_chords=CLASSICAL, minor_chords=CLASSICAL_MINOR,
        drums=(
            "r ....o...o...",
            "k x........... | r ....x...x...",
        ),
        layers=(
            Layer("keys", ("piano", "accordion"), "....x-..x-..", "....X-..X-..", 55, -2, -0.3),
            Layer("strings", ("strings",), PAD_3, PAD_3, 57, -5, 0.3, 0.55),
            Layer("arp", ("harp", "music box"), "........3-..", "0-2-3-4-3-2-", 60, -9, 0.5, 0.8),
        ),
        leads=("violin", "accordion", "clarinet", "flute"), bass=("double bass", "cello"),
        bass_lines=("r-----------", "r---....f---"), kit="brush", beats_in_bar=3, syncopation=0.1,
        fills="none", phrase=8, loudness=-17.0, lead_notes=(4, 7), looseness=0.009, ritardando=True,
        reverb=0.45,
    ),
    "cinematic": Family(
        names=("cinematic", "epic", "trailer", "film", "soundtrack", "score", "heroic", "fantasy",
               "movie", "battle", "post-rock"),
        tempo=(88, 112), minor=0.75, major_chords=CINEMATIC, minor_chords=CINEMATIC_MINOR,
        drums=(
            "f x.......x..x....",
            "f X..x..x.X..x..xx | k X.......X....... | l ....x.......x...",
        ),
        layers=(
            Layer("strings", ("strings",), "x...x...x...x.x.", "X.x.X.x.X.x.X.xx", 50, -3, -0.35),
            Layer("pad", ("slow strings", "choir"), PAD, PAD, 57, -6, 0.3),
            Layer("brass", ("horns", "trombone"), PAD, "X-------X---x-x-", 50, -4, 0.2, 0.7, 2),
            Layer("choir", ("choir",), PAD, PAD, 60, -5, 0.0, 0.88),
        ),
        leads=("horns", "violin", "trumpet", "flute"), bass=("cello",),
        bass_lines=("r-------r-------", "r---r---r---r-r-"), kit="power", syncopation=0.15,
        fills="toms", loudness=-15.0, lead_notes=(4, 8), ritardando=True, reverb=0.6,
    ),
}
