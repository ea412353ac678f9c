"""What a person may request: checked, with the defaults and bounds of the song's provider."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.records import TOKEN_LIFETIME, SongRequest
from services.errors import InvalidRequest, OutOfRange, TooLong
from services.providers.base import Parameter, Parameters
from services.settings.settings import Member
from services.songs.lyrics import normalise
from services.text import SECTION, clean, has_words

MAX_GENRES = 300
MAX_LYRICS = 4_000  # what a Discord form can hold
MAX_TITLE = 80
INSTRUMENTAL = "[instrumental]"
"""The lyrics of an instrumental: without any, the API sings its own sample song."""

# What people type between genres where keyboards have other commas, or paste a list.
_OTHER_COMMAS = ";\n\uff0c\uff1b\u3001\u060c\u061b"
_SEPARATORS = re.compile(rf"[,\s]*[{_OTHER_COMMAS}][,\s{_OTHER_COMMAS}]*")
_TITLE_SECTIONS = ("chorus", "verse")


class NoGenres(InvalidRequest):
    """The genres have no letter or digit."""


class InstrumentalWithLyrics(InvalidRequest):
    """An instrumental was requested with lyrics."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """Who requests a song, and where, as Discord sent it."""

    interaction_id: int
    application_id: int
    server_id: int
    channel_id: int
    member_id: int
    token: str
    received_at: datetime
    message_id: int | None = None
    parent_id: int | None = None
    """The channel of a thread."""
    roles: frozenset[int] = frozenset()
    """The member's, as they came with the interaction."""
    may_post_in: Callable[[int], bool] = lambda _: False
    """Return whether the song may be posted in another channel than it is requested in.

    Raises NotPermitted where that channel lacks a permission for the bot.
    """

    @property
    def member(self) -> Member:
        """The member whose credits are spent."""
        return Member(self.server_id, self.member_id, self.roles)

    @property
    def token_until(self) -> datetime:
        """When the token stops working, counted from its receipt by our own clock."""
        return self.received_at + TOKEN_LIFETIME


def parse_request(
    parameters: Parameters,
    *,
    genres: str,
    lyrics: str | None = None,
    instrumental: bool = False,
    random_seed: Callable[[], int],
    **numbers: float | None,
) -> SongRequest:
    """Check every option against the bounds of the song's provider.

    `genres` are sent with plain commas between them, the only ones that the API's page names.
    `lyrics` may hold line breaks or typed `\\n`, and headings in any form. They are kept as they
    are sent (`services.songs.lyrics`), so that a song is made again from what made it. Without a
    word outside brackets they mean an instrumental. What was typed within a limit is not refused
    for what it becomes: `[chorus]` is longer than the heading that it stands for.

    Args:
        numbers: by their names in `Parameters`. None, or left out, is the default.
        random_seed: gives a seed within its bounds, where none was requested.

    Raises:
        OutOfRange, TooLong, NoGenres, InstrumentalWithLyrics
    """
    chosen: dict[str, Any] = parameters.defaults()
    chosen |= {name: value for name, value in numbers.items() if value is not None}
    if "seed" not in chosen:
        chosen["seed"] = random_seed()
    for name, value in chosen.items():
        parameter: Parameter[Any] = getattr(parameters, name)
        if not parameter.allows(value):
            raise OutOfRange(name, *parameter.bounds)
        if isinstance(parameter.low, float):
            chosen[name] = float(value)
    lyrics = _parse_lyrics(lyrics or "", instrumental=instrumental)
    return SongRequest(genres=_parse_genres(genres), lyrics=lyrics, **chosen)


def _parse_genres(typed: str) -> str:
    typed = clean(typed)
    genres = " ".join(_SEPARATORS.sub(", ", typed).split()).strip(", ")
    if not any(c.isalnum() for c in genres):
        raise NoGenres
    if len(genres) > MAX_GENRES < len(typed):
        raise TooLong("genres", len(genres), MAX_GENRES)
    return genres


def _parse_lyrics(typed: str, *, instrumental: bool) -> str:
    typed = clean(typed).replace("\\n", "\n").strip()
    lyrics = normalise(typed)
    if len(lyrics) > MAX_LYRICS < len(typed):
        raise TooLong("lyrics", len(lyrics), MAX_LYRICS)
    if not has_words(lyrics):
        return INSTRUMENTAL
    if instrumental:
        raise InstrumentalWithLyrics
    return lyrics


def title_of(genres: str, lyrics: str) -> str:
    """Return the first line of the chorus, of the verse, or the genres, cut at `MAX_TITLE`."""
    lines: dict[str, str] = {}
    section = "verse"  # lines before any bracket are sung too
    for line in lyrics.splitlines():
        # A bracket may share its line: the API's own page has "[Chorus] You make my mind".
        for number, piece in enumerate(SECTION.split(line)):
            if number % 2:  # the name in brackets
                section = piece.strip().lower().rstrip(" 0123456789")
            elif has_words(piece):
                lines.setdefault(section, piece.strip())
    chosen = next((lines[s] for s in _TITLE_SECTIONS if s in lines), None)
    chosen = chosen or next(iter(lines.values()), genres)
    chosen = " ".join(chosen.split()).strip(",;:-\u2013\u2014 ")
    return chosen if len(chosen) <= MAX_TITLE else chosen[: MAX_TITLE - 1].rstrip() + "\u2026"
