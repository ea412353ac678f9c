"""What is made of machines and samples."""

from playground.composer.genres.family import PAD, Family, Layer
from playground.composer.genres.progressions import (
    AMBIENT,
    AMBIENT_MINOR,
    DANCE,
    DANCE_MINOR,
    HIP_HOP,
    HIP_HOP_MINOR,
    LOFI,
    LOFI_MINOR,
    POP,
    POP_MINOR,
    TECHNO,
)

# fmt: off
ELECTRONIC: dict[str, Family] = {
    "hip hop": Family(
        names=("hip hop", "hip-hop", "hiphop", "rap", "trap", "drill", "boom bap", "phonk",
               "grime"),
        tempo=(82, 96), minor=0.85, major_chords=HIP_HOP, minor_chords=HIP_HOP_MINOR,
        drums=(
            "k X.....x..xx..... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            ("k X.....x..xx...x. | s ....X.......X... | c ....x.......x..."
             " | h x.xxx.x.xoxox.xx | o ..............x."),
        ),
        layers=(
            Layer("keys", ("piano", "electric piano", "pizzicato"), "X-....x-..x-....",
                  "X-..x-x-..x-..x-", 55, -2, -0.2),
            Layer("pad", ("synth strings", "strings"), PAD, PAD, 58, -8, 0.25, 0.5),
            Layer("arp", ("bells", "music box"), "4-....3-....2-..", "4---3---2---3-2-", 64, -13,
                  0.5, 0.85),
        ),
        leads=("flute", "square lead", "bells"), bass=("synth bass",),
        bass_lines=("r-----..r-r-....", "r-----r..rr---a-"), kit="808", swing=0.55,
        minor_scale="minor", syncopation=0.7, fills="rolls", loudness=-13.5, lead_notes=(5, 9),
    ),
    "house": Family(
        names=("house", "electronic", "edm", "dance", "electro", "club", "eurodance", "electronica",
               "dubstep", "future bass", "hyperpop", "techno pop", "synth-pop", "synthpop"),
        tempo=(120, 128), minor=0.6, major_chords=DANCE, minor_chords=DANCE_MINOR,
        drums=(
            "k X...X...X...X... | h ..x...x...x...x. | c ....o.......o...",
            ("k X...X...X...X... | c ....X.......X... | o ..x...x...x...x."
             " | h xoxoxoxoxoxoxoxo | a o.oxo.oxo.oxo.ox"),
        ),
        layers=(
            Layer("keys", ("piano", "bright piano"), "X--x--x---x--x--", "X--X--X-.X-X--X-", 57,
                  -3),
            Layer("stabs", ("polysynth", "saw lead"), "..x...x...x...x.", "X..X..X..X..X.X.", 60,
                  -7, 0.35, 0.75),
            Layer("pad", ("synth strings", "sweep pad"), PAD, PAD, 58, -7, -0.3, 0.35),
            Layer("arp", ("square lead",), "0.1.2.3.", "0213241302143125", 66, -14, -0.6, 0.9),
        ),
        leads=("saw lead", "square lead"), bass=("synth bass", "rubber bass"),
        bass_lines=("..r-..r-..r-..r-", "..r-..o-..r-..ra"), kit="electronic", syncopation=0.6,
        fills="build", loudness=-13.5, looseness=0.002, pump=True,
    ),
    "techno": Family(
        names=("techno", "industrial", "ebm"),
        tempo=(126, 136), minor=1.0, major_chords=TECHNO, minor_chords=TECHNO,
        drums=(
            "k X...X...X...X... | h ..x...x...x...x. | a x.x.x.x.x.x.x.x.",
            ("k X...X...X...X... | c ....x.......x..g | o ..X...X...X...X."
             " | h xoxoxoxoxoxoxoxo | l ...g..g....g..g."),
        ),
        layers=(
            Layer("arp", ("saw lead", "square lead"), "0.01.0.20.01.0.3", "0.0102020.01023.", 48,
                  -8, -0.3),
            Layer("stabs", ("polysynth",), "......x.........", "...x..x....x..x.", 57, -7, 0.4,
                  0.6),
            Layer("pad", ("sweep pad", "warm pad"), PAD, PAD, 55, -8, 0.1, 0.4),
        ),
        leads=("square lead", "polysynth"), bass=("rubber bass", "synth bass"),
        bass_lines=("..rr..rr..rr..rr", ".rrr.rro.rrr.rso"), kit="electronic",
        minor_scale="phrygian", syncopation=0.7, fills="build", loudness=-13.5, looseness=0.001,
        lead_notes=(5, 9), pump=True,
    ),
    "trance": Family(
        names=("trance", "psytrance", "goa", "hardstyle", "rave", "eurotrance"),
        tempo=(134, 140), minor=0.9, major_chords=DANCE, minor_chords=DANCE_MINOR,
        drums=(
            "k X...X...X...X... | h ..x...x...x...x.",
            "k X...X...X...X... | c ....X.......X... | o ..X...X...X...X. | h xoxoxoxoxoxoxoxo",
        ),
        layers=(
            Layer("arp", ("saw lead", "square lead"), "0-2-1-2-3-2-1-2-", "0213241302132413", 60,
                  -8, 0.4),
            Layer("stabs", ("polysynth", "saw lead"), "x..x..x..x..x.x.", "X.x.x.X.x.x.X.x.", 60,
                  -7, -0.35, 0.75),
            Layer("pad", ("synth strings", "halo pad"), PAD, PAD, 57, -6, 0.0),
        ),
        leads=("saw lead",), bass=("synth bass",),
        bass_lines=("..r-..r-..r-..r-", ".rrr.rrr.rrr.rrr"), kit="electronic", fills="build",
        loudness=-13.5, looseness=0.001, pump=True, phrase=8,
    ),
    "drum and bass": Family(
        names=("drum and bass", "drum & bass", "dnb", "d&b", "drum n bass", "jungle", "breakbeat",
               "breakcore", "liquid"),
        tempo=(168, 176), minor=0.8, major_chords=DANCE, minor_chords=LOFI_MINOR,
        drums=(
            "k X.........x..... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            ("k X.........x..... | s ....X..g.g..X..g | h xoxoxoxoxoxoxoxo"
             " | d x...x...x...x... | o ..............x."),
        ),
        layers=(
            Layer("keys", ("electric piano", "fm piano"), "X-----------x---", "X-----x-....x---",
                  57, -4, 0.2),
            Layer("pad", ("warm pad", "synth strings"), PAD, PAD, 58, -5, -0.2),
            Layer("stabs", ("polysynth",), "......x.........", "......x...x.....", 62, -9, 0.4,
                  0.8),
        ),
        leads=("saw lead", "flute", "electric piano"), bass=("rubber bass", "synth bass"),
        bass_lines=("r---------r-----", "r-----o..rr--s--"), kit="electronic", syncopation=0.5,
        fills="rolls", loudness=-13.5, looseness=0.002, phrase=8, lead_notes=(4, 8),
    ),
    "synthwave": Family(
        names=("synthwave", "retrowave", "80s", "eighties", "vaporwave", "new wave", "outrun",
               "darkwave", "cyberpunk"),
        tempo=(90, 112), minor=0.75, major_chords=POP, minor_chords=DANCE_MINOR,
        drums=(
            "k X.......X....... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            ("k X.......X.x..... | s ....X.......X... | c ....o.......o..."
             " | h xoxoxoxoxoxoxoxo | o ..............x."),
        ),
        layers=(
            Layer("pad", ("synth strings", "polysynth"), PAD, PAD, 57, -3, -0.25),
            Layer("arp", ("square lead", "saw lead"), "0-1-2-3-2-1-", "0123212301232123", 60, -9,
                  0.45, 0.35),
            Layer("stabs", ("synth brass",), "X---------------", "X--x--x---x-x---", 57, -8, 0.2,
                  0.8),
        ),
        leads=("saw lead", "square lead"), bass=("synth bass",),
        bass_lines=("r.r.r.r.r.r.r.r.", "rrorrrorrrorrroa"), kit="electronic", looseness=0.002,
        loudness=-14.0, pump=True,
    ),
    "chiptune": Family(
        names=("chiptune", "8-bit", "8bit", "chip", "video game", "game", "arcade", "nintendo",
               "16-bit"),
        tempo=(132, 156), minor=0.35, major_chords=POP, minor_chords=POP_MINOR,
        drums=(
            "k X.......X....... | s ....X.......X... | h x.x.x.x.x.x.x.x.",
            "k X..x..x.X..x.... | s ....X.......X.g. | h xoxoxoxoxoxoxoxo",
        ),
        layers=(
            Layer("arp", ("square lead",), "0123012301230123", "0123432101234321", 60, -9, -0.5),
            Layer("stabs", ("polysynth",), "x.......x.......", "x..x..x.x..x..x.", 57, -8, 0.5,
                  0.6),
        ),
        leads=("square lead",), bass=("rubber bass",),
        bass_lines=("r.r.r.r.r.r.r.r.", "r.o.r.o.r.o.f.o."), kit="electronic", fills="snare",
        looseness=0.0, lead_notes=(9, 16), reverb=0.08, loudness=-14.5,
    ),
    "lo-fi": Family(
        names=("lo-fi", "lofi", "lo fi", "chillhop", "study", "downtempo", "trip hop", "trip-hop"),
        tempo=(70, 86), minor=0.4, major_chords=LOFI, minor_chords=LOFI_MINOR,
        drums=(
            "k x......x..x..... | r ....x.......x... | h x.o.x.o.x.o.x.o.",
            "k x......x..x...x. | s ....x.......x... | h x.xox.o.x.xox.oo | a ..o...o...o...o.",
        ),
        layers=(
            Layer("keys", ("electric piano", "fm piano", "piano"), "X-----x-X---....",
                  "X---..x-..x-X---", 54, -1, -0.1, voices=4),
            Layer("guitar", ("jazz guitar", "nylon guitar"), "3-..2-..1-......", "3-2-..1-2-..0-..",
                  59, -6, 0.5, 0.5),
            Layer("pad", ("warm pad", "space voice"), PAD, PAD, 57, -10, 0.2, 0.55),
        ),
        leads=("vibraphone", "electric piano", "kalimba", "jazz guitar"),
        bass=("fretless bass", "finger bass"), bass_lines=("r------r..r-....", "r------r..f-..a-"),
        kit="brush", swing=0.6, major_scale="major pentatonic", minor_scale="minor pentatonic",
        fills="sparse", loudness=-17.0, lead_notes=(4, 8), looseness=0.011, lazy=0.018, dusty=True,
        syncopation=0.5,
    ),
    "ambient": Family(
        names=("ambient", "meditation", "drone", "new age", "relaxing", "sleep", "spa",
               "soundscape", "chillout"),
        tempo=(58, 70), minor=0.4, major_chords=AMBIENT, minor_chords=AMBIENT_MINOR,
        drums=(
            "",
            "a o...o...o...o...",
        ),
        layers=(
            Layer("pad", ("warm pad", "sweep pad"), PAD, PAD, 52, -2, -0.3),
            Layer("pad", ("bowed glass", "halo pad", "space voice"), "....X-----------",
                  "X---------------", 60, -8, 0.35, 0.5),
            Layer("keys", ("fm piano", "electric piano", "harp"), "0---1---2---3---",
                  "0-2-4-3-5-4-3-2-", 57, -6, 0.15),
            Layer("arp", ("crystal", "atmosphere"), "........5-------", "5-----4---3-----", 62, -13,
                  0.6, 0.55),
        ),
        leads=("pan flute", "space voice", "flute", "shakuhachi"),
        bass=("fretless bass", "double bass"), bass_lines=("r---------------", "r---------------"),
        major_scale="major pentatonic", minor_scale="minor pentatonic", syncopation=0.1,
        fills="none", loudness=-19.0, lead_notes=(3, 6), looseness=0.014, ritardando=True,
        reverb=0.8,
    ),
}
