"""Genres as people write them -> a Style: family, tempo, key, mood, instruments, voice."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from playground.composer.genres import FAMILIES
from playground.composer.genres.family import PAD, PAD_3, Family, Layer, Progressions
from playground.composer.harmony import SCALES

TEMPO = (50.0, 200.0)
"""Beats a minute; what is requested beyond it is brought within."""

_BPM = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*bpm|bpm\s*[:=]?\s*(\d{1,9})", re.ASCII)
_KEY = re.compile(
    r"(?<!\w)([a-g])(?:(#|♯|\s?sharp)|(b|♭|\s?flat))?[\s-]*(major|minor|maj|min)(?!\w)"
)
_PITCHES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


@dataclass(frozen=True, slots=True)
class Mood:
    """How a word bends a style: towards minor (or, below 0, major), its tempo, its energy."""

    minor: float = 0.0
    tempo: float = 1.0
    energy: float = 0.0


@dataclass(frozen=True, slots=True)
class Singer:
    """A voice: its instrument, the middle of its range (MIDI pitch), how thick it is."""

    instrument: str
    middle: float
    choir: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """All that the genres, the seed and the numbers decide before a note is written."""

    family: Family
    tempo: float
    tempo_is_requested: bool
    minor: bool
    tonic: int
    energy: float
    progressions: Progressions
    layers: tuple[Layer, ...]
    lead: str
    bass: str | None
    kit: str | None
    singer: Singer

    @property
    def scale(self) -> frozenset[int]:
        """The melody's pitch classes."""
        name = self.family.minor_scale if self.minor else self.family.major_scale
        return frozenset((self.tonic + step) % 12 for step in SCALES[name])


_MOODS: tuple[tuple[str, Mood], ...] = (
    ("sad melancholic melancholy melancholia heartbreak mournful sorrow lonely blue crying tragic",
     Mood(1.0, 0.9, -0.1)),
    ("dark gothic sinister haunting eerie spooky ominous horror mysterious tense noir",
     Mood(1.0, 0.97, 0.0)),
    ("angry aggressive brutal violent rage furious intense", Mood(0.7, 1.06, 0.15)),
    ("happy joyful cheerful sunny bright fun playful uplifting feel-good hopeful optimistic sweet",
     Mood(-1.0, 1.04, 0.05)),
    ("energetic powerful driving upbeat party hype anthem anthemic explosive wild festival workout",
     Mood(0.0, 1.07, 0.13)),
    ("epic heroic triumphant majestic", Mood(0.0, 1.0, 0.1)),
    ("groovy catchy", Mood(0.0, 1.0, 0.04)),
    ("calm soft gentle quiet peaceful mellow relaxed relaxing soothing tender delicate chill",
     Mood(0.0, 0.92, -0.16)),
    ("dreamy ethereal floating hazy atmospheric", Mood(0.0, 0.95, -0.08)),
    ("romantic intimate warm nostalgic emotional sentimental wistful", Mood(0.1, 0.95, -0.06)),
    ("fast uptempo rapid frantic speed", Mood(0.0, 1.16, 0.06)),
    ("slow downtempo sluggish", Mood(0.0, 0.82, -0.05)),
    ("minor", Mood(3.0)),
    ("major", Mood(-3.0)),
)  # fmt: skip

_PLAYERS: tuple[tuple[str, str, str], ...] = (
    # what people write, the role it plays, the instrument it means
    ("electric piano|rhodes|wurlitzer", "keys", "electric piano"),
    ("grand piano|piano|keys|keyboard", "keys", "piano"),
    ("hammond|organ", "keys", "rock organ"),
    ("harpsichord", "keys", "harpsichord"),
    ("clavinet", "keys", "clavinet"),
    ("marimba", "keys", "marimba"),
    ("music box", "arp", "music box"),
    ("glockenspiel|bells|chimes", "arp", "glockenspiel"),
    ("celesta", "arp", "celesta"),
    ("harp", "arp", "harp"),
    ("kalimba", "arp", "kalimba"),
    ("acoustic guitar", "guitar", "steel guitar"),
    ("nylon guitar|spanish guitar|classical guitar|ukulele", "guitar", "nylon guitar"),
    ("jazz guitar", "guitar", "jazz guitar"),
    ("distorted guitar|distortion|heavy guitar|heavy guitars", "rhythm guitar", "distorted guitar"),
    ("electric guitar|electric guitars", "guitar", "clean guitar"),
    ("guitar|guitars", "guitar", "steel guitar"),
    ("banjo", "banjo", "banjo"),
    ("sitar", "arp", "sitar"),
    ("koto", "arp", "koto"),
    ("strings|string section|violins", "pad", "strings"),
    ("synth|synths|synthesizer|synthesiser", "pad", "synth strings"),
    ("pad|pads", "pad", "warm pad"),
    ("brass|horns|horn section", "brass", "brass"),
    ("accordion", "pad", "accordion"),
    ("steel drums|steelpan", "keys", "steel drums"),
    ("guitar solo", "lead", "overdriven guitar"),
    ("violin", "lead", "violin"),
    ("fiddle", "lead", "fiddle"),
    ("cello", "lead", "cello"),
    ("trumpet", "lead", "trumpet"),
    ("trombone", "lead", "trombone"),
    ("tenor saxophone|tenor sax", "lead", "tenor sax"),
    ("saxophone|sax|alto sax", "lead", "alto sax"),
    ("clarinet", "lead", "clarinet"),
    ("oboe", "lead", "oboe"),
    ("flute", "lead", "flute"),
    ("recorder", "lead", "recorder"),
    ("pan flute|panpipes", "lead", "pan flute"),
    ("shakuhachi", "lead", "shakuhachi"),
    ("whistle|whistling", "lead", "whistle"),
    ("ocarina", "lead", "ocarina"),
    ("harmonica", "lead", "harmonica"),
    ("bagpipe|bagpipes", "lead", "bagpipe"),
    ("vibraphone|vibes", "lead", "vibraphone"),
    ("saw lead|lead synth|synth lead", "lead", "saw lead"),
    ("upright bass|double bass|contrabass", "bass", "double bass"),
    ("slap bass", "bass", "slap bass"),
    ("synth bass|808 bass|sub bass", "bass", "synth bass"),
    ("fretless bass", "bass", "fretless bass"),
    ("808|trap drums", "kit", "808"),
    ("drum machine", "kit", "electronic"),
    ("brushes", "kit", "brush"),
)

# Where a layer that was requested has no like in the family, it plays this.
_GUESTS: dict[str, Layer] = {
    "keys": Layer("keys", (), "X-------X-----x-", "X--x--X---X-x---", 55, -4.0, -0.2),
    "guitar": Layer("guitar", (), "0-2-1-2-3-2-1-2-", "X---x-u-..u-x-u-", 52, -4.0, -0.4),
    "rhythm guitar": Layer("rhythm guitar", (), PAD, "X-x-x-x-X-x-x-x-", 40, -6.0, 0.6, 0.5,
                           power=True),
    "banjo": Layer("banjo", (), "0.2.1.2.3.2.1.2.", "0213021302130213", 57, -8.0, 0.5),
    "arp": Layer("arp", (), "3-..2-..4-..2-..", "0-2-4-2-3-2-4-1-", 62, -8.0, 0.5),
    "pad": Layer("pad", (), PAD, PAD, 57, -6.0, 0.3),
    "brass": Layer("brass", (), "............x-..", "X-..x-....x-..x-", 60, -6.0, 0.3, 0.6),
}  # fmt: skip

_FALLBACKS: tuple[tuple[str, str], ...] = (
    ("piano", "piano"),
    ("808", "hip hop"),
    ("sax|saxophone|trumpet|double bass|upright bass", "jazz"),
    ("guitar|ukulele|banjo|harmonica|fiddle", "folk"),
    ("strings|violin|cello|flute|harp|organ", "classical"),
    ("synth|synths|drum machine", "synthwave"),
    ("choir", "gospel"),
    ("pad|pads|ethereal|floating|atmospheric|space|sleepy", "ambient"),
    ("chill|mellow|relaxed|calm|soft", "lo-fi"),
)
_UNHEARD_OF = ("pop", "soul", "folk", "house", "synthwave")


def read_tags(genres: str, *, seed: int, cfg: float, shift: float) -> Style:
    """The style of any text. `cfg` under 7 lets a second genre in; `shift` 4 is the seed's own
    key, every step from it a semitone up or down."""
    text = " ".join(genres.casefold().split())
    rng = Random(f"{seed}:style")
    names = _families(text, rng)
    mood = _mood(text)
    minor, tonic = _key(text, rng, FAMILIES[names[0]].minor + mood.minor)
    if minor is None:
        minor = rng.random() < FAMILIES[names[0]].minor + mood.minor
    family = _blend(names, minor=minor, freedom=max(0.0, min(1.0, (7 - cfg) / 6)), rng=rng)
    tempo, requested = _tempo(text, family, mood, rng)
    style = Style(
        family=family,
        tempo=tempo,
        tempo_is_requested=requested,
        minor=minor,
        tonic=(tonic + round(shift - 4)) % 12,
        energy=max(-0.2, min(0.2, mood.energy)),
        progressions=family.minor_chords if minor else family.major_chords,
        layers=tuple(replace(a, instruments=(rng.choice(a.instruments),)) for a in family.layers),
        lead=rng.choice(family.leads),
        bass=rng.choice(family.bass),
        kit=family.kit,
        singer=_singer(text, rng),
    )
    return _with_players(style, text)


def _families(text: str, rng: Random) -> list[str]:
    """The names of the genres in the order in which they stand, at least one."""
    found: list[tuple[int, int, str]] = []
    for name, family in FAMILIES.items():
        for word in family.names:
            found.extend((at, -len(word), name) for at in _places(word, text))
    names = list(dict.fromkeys(name for _, _, name in sorted(found)))
    if not names:
        names = [name for words, name in _FALLBACKS if _says(words, text)][:1]
    return names or [rng.choice(_UNHEARD_OF)]


def _mood(text: str) -> Mood:
    minor, tempo, energy = 0.0, 1.0, 0.0
    for words, mood in _MOODS:
        if _says(words.replace(" ", "|"), text):
            minor, tempo, energy = minor + mood.minor, tempo * mood.tempo, energy + mood.energy
    return Mood(minor, tempo, energy)


def _key(text: str, rng: Random, leaning: float) -> tuple[bool | None, int]:
    """Whether it is minor (None: not said) and the tonic's pitch class."""
    drawn = rng.choice((0, 2, 4, 5, 7, 9, 10))
    if match := _KEY.search(text):
        letter, sharp, flat, mode = match.groups()
        return mode.startswith("min"), (_PITCHES[letter] + bool(sharp) - bool(flat)) % 12
    if leaning >= 1 or leaning <= 0:
        return leaning >= 1, drawn
    return None, drawn


def _blend(names: list[str], *, minor: bool, freedom: float, rng: Random) -> Family:
    """The first genre, coloured by the second: its chords in the chorus, or one of its players."""
    family = FAMILIES[names[0]]
    if len(names) == 1 or rng.random() >= freedom:
        return family
    other = FAMILIES[rng.choice(names[1:4])]
    if other.beats_in_bar != family.beats_in_bar:
        return family
    if rng.random() < 0.5 and other.phrase == family.phrase:
        own = family.minor_chords if minor else family.major_chords
        theirs = other.minor_chords if minor else other.major_chords
        mixed = replace(own, chorus=theirs.chorus, bridge=theirs.bridge)
        family = replace(family, major_chords=mixed, minor_chords=mixed)
    roles = {layer.role for layer in family.layers}
    guests = [layer for layer in other.layers if layer.role not in roles]
    if guests:
        guest = rng.choice(guests)
        guest = replace(guest, level=guest.level - 2, above=max(guest.above, 0.7))
        family = replace(family, layers=(*family.layers, guest))
    return family


def _tempo(text: str, family: Family, mood: Mood, rng: Random) -> tuple[float, bool]:
    """Beats a minute, and whether they were requested."""
    low, high = family.tempo
    drawn = rng.uniform(low, high) * mood.tempo
    if match := _BPM.search(text):
        requested = float(match[1] or match[2])
        return max(TEMPO[0], min(TEMPO[1], requested)), True
    return max(TEMPO[0], min(TEMPO[1], drawn)), False


def _singer(text: str, rng: Random) -> Singer:
    if _says("choir|choral|choirs|gospel choir|a cappella", text):
        return Singer("choir", 65.0, choir=True)
    if _says("robot|vocoder|autotune|auto-tune|robotic", text):
        return Singer("synth voice", 64.0)
    if _says("female|woman|women|girl|soprano|alto|diva|female vocals", text):
        return Singer("voice", 69.0)
    if _says("male|man|men|boy|baritone|tenor|bass voice|rap", text):
        return Singer("choir", 60.0)
    return rng.choice((Singer("voice", 68.0), Singer("choir", 61.0)))


def _with_players(style: Style, text: str) -> Style:
    """The instruments that were requested, in place of the family's own, or as guests."""
    layers = list(style.layers)
    requested: set[str] = set()
    for words, role, instrument in _PLAYERS:
        if not _says(words, text) or role in requested:
            continue
        requested.add(role)
        if role == "lead":
            style = replace(style, lead=instrument)
        elif role == "bass":
            style = replace(style, bass=instrument)
        elif role == "kit":
            style = replace(style, kit=instrument)
        else:
            layers = _seat(layers, role, instrument, style.family.beats_in_bar)
    if _says("no drums|drumless|beatless|without drums|no percussion", text):
        style = replace(style, kit=None)
    if _says("no bass", text):
        style = replace(style, bass=None)
    return replace(style, layers=tuple(layers))


def _seat(layers: list[Layer], role: str, instrument: str, beats_in_bar: int) -> list[Layer]:
    for index, layer in enumerate(layers):
        if layer.role == role:
            # Who was requested is heard from the first verse on.
            seated = replace(layer, instruments=(instrument,), above=min(layer.above, 0.4))
            return [*layers[:index], seated, *layers[index + 1 :]]
    guest = replace(_GUESTS[role], instruments=(instrument,))
    if beats_in_bar == 3:
        guest = replace(guest, calm=PAD_3, full="x---x---x---")
    return [*layers, guest]


def _says(words: str, text: str) -> bool:
    return any(True for word in words.split("|") for _ in _places(word, text))


def _places(word: str, text: str) -> Iterator[int]:
    """Find a word in the text, where it is not part of a longer one."""
    at = text.find(word)
    while at >= 0:
        after = at + len(word)
        if not (text[at - 1 : at].isalnum() or text[after : after + 1].isalnum()):
            yield at
        at = text.find(word, at + 1)
