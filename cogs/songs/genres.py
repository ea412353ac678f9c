"""Autocomplete for the last term in a list of genres."""

from collections.abc import Iterable

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
    seen = {term.strip().casefold() for term in before.split(",")}
    wanted = last.strip().casefold()
    found = []
    for term in (term.strip() for text in (*used, *CURATED) for term in text.split(",")):
        if term and term.casefold() not in seen and wanted in term.casefold():
            seen.add(term.casefold())
            found.append(term)
    found.sort(key=lambda term: not term.casefold().startswith(wanted))
    lists = [prefix.lstrip() + term for term in found]
    return [text for text in lists if len(text) <= LONGEST][:MOST]
