"""The file of a song: its format, its tags and its name. Pure.

The child process that fits a song starts with this: it knows nothing of the bot beside it.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

MAX_STEM = 60
"""Characters of a file's name before the dot; at most 4 bytes each, so under every system's 255."""


class AudioFormat(StrEnum):
    """What is posted. The value is also the file's extension."""

    MP3 = "mp3"
    OGG = "ogg"
    M4A = "m4a"


@dataclass(frozen=True, slots=True)
class Tags:
    """What is written into the file, for whoever meets it outside of Discord."""

    title: str
    artist: str
    genres: str
    lyrics: str
    seed: int
    number: int
    request: str = ""
    """The other parameters in words, like "60 s, 50 steps, cfg 4"; blank leaves them out."""


def file_stem(number: int, title: str) -> str:
    """Name a song's file as people see it, without the extension: `42-midnight-train`.

    At most `MAX_STEM` characters, and only lower-case letters and digits of any script (with
    their vowel signs) and single hyphens: what every file system takes and Discord's Markdown
    leaves alone. The number in front also keeps it off Windows' reserved names.
    """
    words = "".join(_name_characters(title)).split()
    stem = "-".join([str(number), *words])[:MAX_STEM].rstrip("-")
    return unicodedata.normalize("NFC", stem)[:MAX_STEM]


def _name_characters(title: str) -> Iterator[str]:
    """Letters, digits and their marks; a space for all that parts words."""
    kept = False
    for c in unicodedata.normalize("NFKC", title).lower():
        if c in "'\u2019":  # "don't" is one word
            continue
        # A mark belongs to the letter before it. Hangul fillers and variation selectors are
        # letters and marks to Unicode, but nobody sees them.
        invisible = c in "\u115f\u1160\u034f" or "\ufe00" <= c <= "\ufe0f" or c >= "\U000e0000"
        kept = not invisible and (c.isalnum() or (kept and unicodedata.category(c)[0] == "M"))
        yield c if kept else " "
