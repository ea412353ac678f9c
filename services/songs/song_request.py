"""What a person may ask for: validated, with its defaults. Bounds: the song API's page."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from services.errors import InvalidRequest
from services.songs.lyrics import normalised

MAX_GENRES = 300
MAX_LYRICS = 4_000  # what a Discord form can hold
MAX_SEED = 2_147_483_647
MAX_TITLE = 80
INSTRUMENTAL = "[instrumental]"
"""What is sent instead of words: left out, the API sings its own sample song."""

SECONDS = (10, 240)
STEPS = (10, 150)
CFG = (1.0, 15.0)
SHIFT = (0.0, 10.0)
LYRICS_STRENGTH = (0.1, 10.0)

_SECTION = re.compile(r"\[([^\[\]\n]*)\]")
_LINE_BREAK = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# What people type between genres where keyboards have other commas, or paste a list.
_OTHER_COMMAS = ";\n\uff0c\uff1b\u3001\u060c\u061b"
_SEPARATORS = re.compile(rf"[,\s]*[{_OTHER_COMMAS}][,\s{_OTHER_COMMAS}]*")
_TITLE_SECTIONS = ("chorus", "verse")


@dataclass(frozen=True, slots=True)
class SongRequest:
    """One valid request. Build it with `parse`, which is the only place that checks."""

    genres: str
    lyrics: str
    seconds: int
    steps: int
    cfg: float
    shift: float
    lyrics_strength: float
    seed: int

    @classmethod
    def parse(
        cls,
        *,
        genres: str,
        lyrics: str | None = None,
        seconds: int = 60,
        steps: int = 50,
        cfg: float = 4.0,
        shift: float = 4.0,
        lyrics_strength: float = 1.0,
        seed: int | None = None,
        instrumental: bool = False,
        random_seed: Callable[[], int],
    ) -> "SongRequest":
        """Check every option.

        `genres` are sent with plain commas between them, the only ones that the API's page names.
        `lyrics` may hold line breaks or typed `\\n`, and headings in any form. They are kept as
        they are sent (`services.songs.lyrics`), so that a song is made again from what made it.
        Without a word outside brackets they mean an instrumental. `random_seed` gives a seed from
        0 to `MAX_SEED` where none was asked for. What was typed within a limit is not refused for
        what it becomes: `[chorus]` is longer than the heading that it stands for.

        Raises:
            InvalidRequest: an option is out of bounds, or `instrumental` came with words.
        """
        typed_genres = clean(genres)
        tidy_genres = " ".join(_SEPARATORS.sub(", ", typed_genres).split()).strip(", ")
        if not any(c.isalnum() for c in tidy_genres):
            raise InvalidRequest("Please name at least one genre, like `funk, pop`.")
        if len(tidy_genres) > MAX_GENRES < len(typed_genres):
            raise InvalidRequest(
                f"The genres are {len(tidy_genres):,} characters long; {MAX_GENRES} is the most."
            )
        typed = clean(lyrics or "").replace("\\n", "\n").strip()
        words = normalised(typed)
        if len(words) > MAX_LYRICS < len(typed):
            raise InvalidRequest(
                f"The lyrics are {len(words):,} characters long; {MAX_LYRICS:,} is the most."
            )
        if not has_words(words):
            words = INSTRUMENTAL
        elif instrumental:
            raise InvalidRequest(
                "An instrumental has no words: leave out either `lyrics` or `instrumental`."
            )
        return cls(
            genres=tidy_genres,
            lyrics=words,
            seconds=_whole("seconds", seconds, SECONDS),
            steps=_whole("steps", steps, STEPS),
            cfg=_within("cfg", cfg, CFG),
            shift=_within("shift", shift, SHIFT),
            lyrics_strength=_within("lyrics_strength", lyrics_strength, LYRICS_STRENGTH),
            seed=random_seed() if seed is None else _whole("seed", seed, (0, MAX_SEED)),
        )

    @property
    def instrumental(self) -> bool:
        """Whether nothing is sung."""
        return not has_words(self.lyrics)

    @property
    def title(self) -> str:
        """The first line of the chorus, else of the verse, else the genres; cut at 80 letters."""
        return title_of(self.genres, self.lyrics)


def clean(text: str) -> str:
    """Without control and format characters (line breaks and tabs stay), in composed form (NFC).

    Every kind of line break becomes `\\n`. Zero-width joiners stay: emoji and several scripts need
    them. Lone surrogates go.
    """
    kept = "".join(
        c
        for c in _LINE_BREAK.sub("\n", text)
        if c in "\n\t\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    return unicodedata.normalize("NFC", kept)


def has_words(lyrics: str) -> bool:
    """Whether there is a letter or a digit outside the section brackets."""
    return any(c.isalnum() for c in _SECTION.sub(" ", lyrics))


def title_of(genres: str, lyrics: str) -> str:
    """See `SongRequest.title`."""
    lines: dict[str, str] = {}
    section = "verse"  # words before any bracket are sung too
    for line in lyrics.splitlines():
        # "[Chorus] You make my mind" is seen on the API's own page: bracket and words in one line.
        for piece in re.split(r"(\[[^\[\]\n]*\])", line):
            if match := _SECTION.fullmatch(piece.strip()):
                section = match[1].strip().lower().rstrip(" 0123456789")
            elif has_words(piece):
                lines.setdefault(section, piece.strip())
    chosen = next((lines[s] for s in _TITLE_SECTIONS if s in lines), None)
    chosen = chosen or next(iter(lines.values()), genres)
    chosen = " ".join(chosen.split()).strip(",;:-\u2013\u2014 ")
    return chosen if len(chosen) <= MAX_TITLE else chosen[: MAX_TITLE - 1].rstrip() + "\u2026"


def _within(name: str, value: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    if isinstance(value, bool) or not low <= value <= high:  # no NaN is within anything
        raise InvalidRequest(f"`{name}` must be between {low:g} and {high:g}.")
    return float(value)


def _whole(name: str, value: float, bounds: tuple[int, int]) -> int:
    low, high = bounds
    if type(value) is not int or not low <= value <= high:
        raise InvalidRequest(f"`{name}` must be between {low:,} and {high:,}.")
    return value
