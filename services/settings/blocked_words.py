"""Blocked words in genres and lyrics: reading a server's list, and finding them.

Pure. Lists and texts are folded alike before they are compared:

- Case, accents and the form of a letter (fullwidth, bold) don't count, nor do invisible characters
  inside a word. A few letters that Unicode does not decompose count as those they look like: the
  dotless i of Turkish as i, a barred o as o.
- Marks that make another letter stay: a vowel sign of Hindi or Thai, the voicing of Japanese kana.
- A word is what stands between spaces and signs. `$` and `@` are letters here, as they are to those
  who write `a$$`. An apostrophe separates words only as `_APART` says.
- Chinese, Japanese, Thai, Lao, Khmer and Burmese put no spaces between words, so where one begins
  can't be known without a dictionary. There each character stands alone, and a blocked word is
  found wherever its characters follow each other, also inside a longer word.
- A phrase is found across any spaces, line breaks and signs.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from services.errors import TooLong
from services.settings.refusals import (
    TooManyWords,
    WordOfSigns,
    WordTooLong,
    WordWithoutLetters,
)
from services.text import clean

MAX_WORDS = 500
MAX_TYPED = 4_000
"""The whole list, in characters as it was typed: what a Discord form can hold."""
MAX_WORD = 60
"""One word or phrase, in characters."""

_COMMAS = re.compile("[,\n\uff0c\u3001\uff64\u060c\u2028\u2029]")  # of other scripts too

_APART = re.compile(
    r"""
      (?<![^\s'])'                      # nothing before it: a quotation mark
    | '(?![^\s']{1,2}(?![^\s']))        # nothing after it, or more than two letters: l'amour
    | '(?=s(?![^\s']))                  # the possessive: the devil's
    """,
    re.VERBOSE,
)
"""Apostrophes between words. Any other is a contraction (can't, he'll), which is a separate word:
without its apostrophe it would be another one."""

_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u3105-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f"
    "\U00020000-\U0003ffff]"
)
"""Characters of the scripts without spaces, as normalisation leaves them."""

_APOSTROPHES = "'`\u2018\u2019\u201b\u02b9\u02bb\u02bc"
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f"  # though not by category
_TATWEEL = "\u0640"  # only lengthens an Arabic word
_IOTA_BELOW = "\u0345"  # an accent whose capital is a letter
_READ_AS: dict[str, str | None] = {
    **dict.fromkeys(_APOSTROPHES, "'"),
    **dict.fromkeys((*_INVISIBLE, _TATWEEL, _IOTA_BELOW), ""),
    **dict.fromkeys("\u0131", "i"),  # dotless
    **dict.fromkeys("\u0141\u0142", "l"),  # barred, as are the next
    **dict.fromkeys("\u00d8\u00f8", "o"),
    **dict.fromkeys("\u0110\u0111", "d"),
    **dict.fromkeys("\u0126\u0127", "h"),
    **dict.fromkeys("\u0166\u0167", "t"),
    **dict.fromkeys("\u00c6\u00e6", "ae"),
    **dict.fromkeys("\u0152\u0153", "oe"),
    **dict.fromkeys("$@\n", None),  # themselves
}
"""Characters that Unicode's categories would read otherwise."""


def parse_words(typed: str) -> tuple[str, ...]:
    """Return the words of a list, tidied, each once, in their order.

    Commas or line breaks stand between them. Joined with line breaks they are at most `MAX_TYPED`
    characters, so that they fit the form again.

    Raises:
        InvalidRequest: the list or a word of it is too long, or a word has no letter or digit, or
            more signs than those.
    """
    if len(typed) <= MAX_TYPED:
        typed = clean(typed)  # can lengthen it: some characters have no composed form
    if len(typed) > MAX_TYPED:
        raise TooLong("blocked words", len(typed), MAX_TYPED)
    pieces = [" ".join(piece.split()) for piece in _COMMAS.split(typed)]
    words = [piece for piece in pieces if piece]
    once: dict[str, str] = {}
    for number, (word, phrase) in enumerate(zip(words, _phrases(words), strict=True), start=1):
        _check(number, word, phrase)
        once.setdefault(phrase, word)
    if len(once) > MAX_WORDS:
        raise TooManyWords(len(once), MAX_WORDS)
    return tuple(once.values())


def find_blocked(words: Sequence[str], *texts: str) -> str | None:
    """Return the first of the words that is in one of the texts, as it was typed; None if none is.

    `words` come from `parse_words`.
    """
    if not words:
        return None
    parts = [_fold(text).split() for text in texts]
    begun: set[str] = set()
    for text in parts:
        begun.update(text)
    wanted = _by_beginning(tuple(words))
    # The sets answer for nearly every word; only what begins in a text is searched for.
    maybe = [each for first in wanted.keys() & begun for each in wanted[first]]
    if not maybe:
        return None
    spoken = "\n".join(f" {' '.join(text)} " for text in parts)
    return min(((n, word) for n, word, phrase in maybe if phrase in spoken), default=(0, None))[1]


@lru_cache(maxsize=64)
def _by_beginning(words: tuple[str, ...]) -> dict[str, list[tuple[int, str, str]]]:
    """Return, by its first word, each one's place in the list, itself, and its phrase.

    A server's list is the same for song after song; a full one takes up to 0.25 MB.
    """
    found: dict[str, list[tuple[int, str, str]]] = {}
    for place, (word, phrase) in enumerate(zip(words, _phrases(words), strict=True)):
        found.setdefault(phrase.split()[0], []).append((place, word, f" {phrase} "))
    return found


def _check(number: int, word: str, phrase: str) -> None:
    if len(word) > MAX_WORD:
        raise WordTooLong(number, len(word), MAX_WORD)
    if not any(c.isalnum() for c in phrase):
        raise WordWithoutLetters(number)
    signs = sum(_FOLDED[ord(c)] == " " for c in word if not c.isspace())
    if signs > len(phrase.replace(" ", "")):
        # Signs are not searched: "a**" would refuse every song with an "a".
        raise WordOfSigns(number)


def _phrases(words: Sequence[str]) -> list[str]:
    """Fold each word, with single spaces. All at once is several times quicker than each."""
    lines = _fold("\n".join(words)).split("\n") if words else []  # no text is one empty line
    return [" ".join(line.split()) for line in lines]


def _fold(text: str) -> str:
    """Keep only what counts of a text, and spaces between its words. Line breaks stay."""
    folded = unicodedata.normalize("NFKC", text).translate(_FOLDED)
    return _APART.sub(" ", folded) if "'" in folded else folded


class _Folded(dict[int, str]):
    """What each character becomes, for `str.translate`: worked out at its first use."""

    most = 16_384  # more than any living script's; cleared, rather than to grow with each language

    def __missing__(self, code: int) -> str:
        if len(self) >= self.most:
            self.clear()
        letters = "".join(map(_read, unicodedata.normalize("NFKD", chr(code))))
        folded = unicodedata.normalize("NFC", letters.casefold())
        self[code] = _SPACELESS.sub(r" \g<0> ", folded)
        return self[code]


_FOLDED = _Folded()


def _read(char: str) -> str:
    """Return a letter or digit itself, nothing for an accent, a space for a sign."""
    if char in _READ_AS:
        known = _READ_AS[char]
        return char if known is None else known
    category = unicodedata.category(char)
    if category == "Cf" or _is_accent(char):
        return ""
    return char if category[0] in "LMN" else " "


def _is_accent(char: str) -> bool:
    """Return whether a combining mark leaves its letter the same letter.

    By Unicode's combining classes: 1 is drawn across a letter, 10 to 36 are the points of Hebrew,
    Arabic and Syriac, from 200 on are accents. The others (kana's voicing, the nuktas, viramas and
    vowels of India and South-East Asia) make another letter. Enclosing marks and variation
    selectors, which have no class, only change how a letter looks.
    """
    order = unicodedata.combining(char)
    return (
        order == 1
        or 10 <= order <= 36
        or order >= 200
        or unicodedata.category(char) == "Me"
        or "\ufe00" <= char <= "\ufe0f"
        or "\U000e0100" <= char <= "\U000e01ef"
    )
