"""Refusals of values and of undoing, with their facts."""

from dataclasses import dataclass

from services.errors import InvalidRequest, NotPossible


@dataclass(eq=False)
class TooManyChannels(InvalidRequest):
    """More channels than one setting can name."""

    count: int
    limit: int


@dataclass(eq=False)
class TooManySet(InvalidRequest):
    """So many roles or members of the server have this setting that no other can."""

    limit: int


@dataclass(eq=False)
class TooManyWords(InvalidRequest):
    """The list of blocked words has more than `limit`."""

    count: int
    limit: int


@dataclass(eq=False)
class WordTooLong(InvalidRequest):
    """A word of the list, counted from 1, has more characters than `limit`."""

    number: int
    length: int
    limit: int


@dataclass(eq=False)
class WordWithoutLetters(InvalidRequest):
    """A word of the list has no letter or digit."""

    number: int


@dataclass(eq=False)
class WordOfSigns(InvalidRequest):
    """A word of the list has more signs than letters and digits, and signs are not compared."""

    number: int


@dataclass(eq=False)
class NoSuchChange(NotPossible):
    """The server has no change with this number."""

    number: int


@dataclass(eq=False)
class NotASetting(NotPossible):
    """The change is a grant, say, and can't be undone."""

    number: int


@dataclass(eq=False)
class ChangedSince(NotPossible):
    """What the change set was changed again."""

    number: int
