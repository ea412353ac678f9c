"""Why something about one song is refused."""

from dataclasses import dataclass

from db.records import Reason, Status
from services.errors import NotPermitted, NotPossible


@dataclass(eq=False)
class UnknownSong(NotPossible):
    """The server has no such song; `number` is what the person typed, if they did."""

    number: int | None = None


class NotYourSong(NotPermitted):
    """Only the song's requester may do this."""


@dataclass(eq=False)
class TooLateToCancel(NotPossible):
    """The song has been submitted, or has ended with `status`."""

    number: int
    status: Status


class FormExpired(NotPossible):
    """The options of a form were deleted, or are somebody else's."""


class SongFileLost(NotPossible):
    """The song's file is gone; its price has been refunded."""


@dataclass(eq=False)
class AudioUnusable(NotPossible):
    """The song's audio can't be transcoded for the channel."""

    reason: Reason
    detail: str
