"""Autocomplete for the last term in a list of genres."""

from collections.abc import Iterable, Iterator

LONGEST = 100
MOST = 25
"""Discord, "Application Command Option Choice": 25 names of up to 100 characters."""

CURATED = (
    *("pop", "rock", "funk", "soul", "jazz", "blues", "hip hop", "lo-fi", "electronic", "house"),
    *("techno", "trance", "drum and bass", "ambient", "synthwave", "chiptune", "folk", "country"),
    *("acoustic", "indie", "metal", "punk", "reggae", "ska", "latin", "bossa nova", "salsa"),
    *("classical", "orchestral", "cinematic", "gospel", "r&b", "disco", "waltz", "celtic"),
    *("piano", "acoustic guitar", "electric guitar", "strings", "saxophone", "trumpet", "violin"),
    *("flute", "synthesizer", "808 bass", "choir"),
    *("female vocals", "male vocals", "rap"),
    *("energetic", "calm", "happy", "sad", "dark", "dreamy", "epic", "romantic", "groovy"),
    *("nostalgic", "uplifting", "melancholic", "aggressive", "playful"),
    *("70 BPM", "90 BPM", "105 BPM", "120 BPM", "140 BPM", "174 BPM"),
)


def complete(typed: str, used: Iterable[str]) -> list[str]:
    """Suggest lists of genres whose last term contains the typed one.

    Terms of the lists in `used` come before the curated ones.
    """
    before, comma, last = typed.rpartition(",")
    prefix = f"{before}{comma} " if comma else ""
    chosen = {term.strip().casefold() for term in before.split(",")}
    wanted = last.strip().casefold()
    terms = [
        term for term in _known(used) if term.casefold() not in chosen and wanted in term.casefold()
    ]
    terms.sort(key=lambda term: not term.casefold().startswith(wanted))
    lists = [prefix.lstrip() + term for term in terms]
    return [text for text in lists if len(text) <= LONGEST][:MOST]


def _known(used: Iterable[str]) -> Iterator[str]:
    seen = set()
    for source in (*used, *CURATED):
        for term in map(str.strip, source.split(",")):
            if term and term.casefold() not in seen:
                seen.add(term.casefold())
                yield term
