"""Text that people type: lyrics, genres, names, reasons."""

import re
import unicodedata

SECTION = re.compile(r"\[([^\[\]\n]*)\]")
_LINE_BREAK = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")


def clean(text: str) -> str:
    """Drop control and format characters except line breaks and tabs; compose the rest (NFC).

    Every kind of line break becomes `\\n`. Zero-width joiners stay: emoji and several scripts need
    them. Lone surrogates are dropped.
    """
    cleaned = "".join(
        c
        for c in _LINE_BREAK.sub("\n", text)
        if c in "\n\t\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    return unicodedata.normalize("NFC", cleaned)


def has_words(lyrics: str) -> bool:
    """Return whether there is a letter or a digit outside the section brackets."""
    return any(c.isalnum() for c in SECTION.sub(" ", lyrics))
