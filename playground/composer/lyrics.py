"""Lyrics as a singer sees them: stanzas, their lines, and how many syllables each line has."""

import re
import unicodedata
from dataclasses import dataclass

_BRACKET = re.compile(r"(\[[^\[\]\n]*\])")
_ALIASES = (
    ("pre", "pre-chorus"),
    ("build", "pre-chorus"),
    ("post", "chorus"),
    ("chorus", "chorus"),
    ("refrain", "chorus"),
    ("hook", "chorus"),
    ("drop", "chorus"),
    ("intro", "intro"),
    ("verse", "verse"),
    ("bridge", "bridge"),
    ("inst", "instrumental"),
    ("solo", "instrumental"),
    ("break", "instrumental"),
    ("interlude", "instrumental"),
    ("outro", "outro"),
    ("ending", "outro"),
    ("coda", "outro"),
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_VOWELS = re.compile(r"[aeiouyæœøıаеиоуыэюяёіїєαεηιουω]+")  # noqa: RUF001 - Latin, Cyrillic, Greek
_ONE_EACH = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
_LONGEST_LINE = 14  # syllables a singer takes on one breath


@dataclass(frozen=True, slots=True)
class Stanza:
    """A section of the lyrics. `lines` holds the syllables of each sung line; none: no words."""

    kind: str
    lines: tuple[int, ...]


def read_lyrics(text: str) -> list[Stanza]:
    """The stanzas in order. Words outside any section are a verse; any text will do."""
    found: list[tuple[str, list[int]]] = []
    for line in text.replace("\\n", "\n").splitlines():
        for piece in _BRACKET.split(line):
            if _BRACKET.fullmatch(piece):
                found.append((_kind(piece), []))
            elif words := _WORD.findall(piece):
                if not found:
                    found.append(("verse", []))
                found[-1][1].extend(_breaths(words))
    return [Stanza(kind, tuple(lines)) for kind, lines in found]


def syllables(word: str) -> int:
    """How many notes a word takes: exact for few words, near for most, at least 1."""
    if _written_by_syllable(word[0]):
        return sum(map(_written_by_syllable, word))
    letters = unicodedata.normalize("NFD", word.casefold())
    letters = "".join(c for c in letters if not unicodedata.combining(c))
    if letters.isdigit():
        return len(letters)
    groups = len(_VOWELS.findall(letters))
    if groups == 0:  # a script whose vowels are not known here: about two letters to a syllable
        return 1 if letters.isascii() else max(1, len(letters) // 2)
    silent_e = letters.endswith("e") and not letters.endswith(("le", "ee")) and groups > 1
    return groups - silent_e


def _kind(bracket: str) -> str:
    name = bracket[1:-1].casefold()
    return next((kind for key, kind in _ALIASES if key in name), "verse")


def _breaths(words: list[str]) -> list[int]:
    """The line's syllables, cut into lines of even length where one breath is too short."""
    counts: list[int] = []
    for word in words:
        count = syllables(word)
        counts.extend([_LONGEST_LINE] * (count // _LONGEST_LINE))  # text without spaces
        counts.extend([count % _LONGEST_LINE] * (count % _LONGEST_LINE > 0))
    total = sum(counts)
    wanted = total / max(1, round(total / (_LONGEST_LINE * 0.75)))
    lines = [0]
    for count in counts:
        if lines[-1] and lines[-1] + count / 2 > wanted:
            lines.append(0)
        lines[-1] += count
    return lines


def _written_by_syllable(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_ONE_EACH)
