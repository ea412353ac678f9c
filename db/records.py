"""Rows as frozen records. Times are aware and in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from typing import NamedTuple

TOKEN_LIFETIME = timedelta(minutes=15)
"""How long an interaction's token works (Discord, "Receiving and Responding")."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """A song's state as members see it."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class State(StrEnum):
    """Where a song is. `song_transitions` in the schema says which may follow which."""

    WAITING = "waiting"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    DOWNLOADED = "downloaded"
    READY = "ready"
    POSTING = "posting"
    UNDELIVERED = "undelivered"
    """Made and settled, not posted yet: its file waits for its member or the channel."""
    COMPLETED = "completed"
    """Posted, or handed over to its member."""
    REFUNDED = "refunded"
    """Made, and its price was refunded since it could not be delivered."""
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATUS = {
    State.DOWNLOADED: Status.PROCESSING,
    State.READY: Status.PROCESSING,
    State.POSTING: Status.PROCESSING,
    State.UNDELIVERED: Status.COMPLETED,
    State.COMPLETED: Status.COMPLETED,
    State.REFUNDED: Status.COMPLETED,
    State.FAILED: Status.FAILED,
    State.CANCELLED: Status.CANCELLED,
}


def status_in(state: State, *, processing: bool) -> Status:
    """Return the status that members see; `processing`: the API is known to make the song."""
    return _STATUS.get(state, Status.PROCESSING if processing else Status.QUEUED)


class Fault(StrEnum):
    """The cause of a CANCELLED or FAILED song."""

    MEMBER = "member"
    """Its own member cancelled it."""
    SERVER = "server"
    """Cancelled by a manager, by a block, or since the bot left."""
    REQUEST = "request"
    """The song API accepted it and could not, or would not, make that song."""
    SERVICE = "service"
    """The song API failed, or the network on the way there."""
    ACCOUNT = "account"
    """The operator's account or budget."""
    MACHINE = "machine"
    """This bot, or the machine that it runs on."""


class Reason(StrEnum):
    """Why a song failed or could not be posted. `cogs/songs/texts.py` has the sentences."""

    WAITED_TOO_LONG = auto()
    NOT_IN_TIME = auto()
    ACCOUNT_REFUSED = auto()
    BUDGET_SPENT = auto()
    ANSWER_LOST_TWICE = auto()
    REQUEST_REJECTED = auto()
    SONG_GONE = auto()
    NOT_FETCHED = auto()
    MODEL_FAILED = auto()
    SERVICE_FAILED = auto()
    NOT_AUDIO = auto()
    TOO_SHORT = auto()
    SILENT = auto()
    DOES_NOT_FIT = auto()
    AUDIO_LOST = auto()
    NO_ROOM = auto()
    DEFECT = auto()
    # Not posted:
    NO_ANSWER = auto()
    FILE_SIZE = auto()
    BAD_FILE = auto()
    BAD_MESSAGE = auto()
    REFUSED = auto()
    BOT_RESTRICTED = auto()
    CHANNEL_GONE = auto()
    WRONG_KIND = auto()
    NO_ACCESS = auto()
    NO_PERMISSION = auto()
    NO_MESSAGES = auto()
    THREAD_ARCHIVED = auto()
    THREAD_LOCKED = auto()
    TOO_MANY_THREADS = auto()
    NOT_IN_SERVER = auto()
    BANNED = auto()
    VERIFICATION = auto()
    NOT_OFFERED = auto()
    UPLOADS_LIMITED = auto()
    AUTOMOD = auto()
    EXPLICIT = auto()
    HARMFUL_LINK = auto()
    HISTORY_UNREADABLE = auto()
    HISTORY_TOO_LONG = auto()


@dataclass(frozen=True, slots=True)
class SongRequest:
    """The parameters of a song, checked by `services.songs.song_request`."""

    genres: str
    lyrics: str
    seconds: int
    steps: int
    cfg: float
    shift: float
    lyrics_strength: float
    seed: int


@dataclass(frozen=True, slots=True)
class Song(SongRequest):
    """One row of `songs`. `state` says which of the optional fields are there."""

    song_id: int
    server_id: int
    member_id: int
    channel_id: int
    number: int
    provider: str
    price: int
    state_at: datetime
    requested_at: datetime
    application_id: int
    origin_id: int | None = None
    parent_id: int | None = None
    message_id: int | None = None
    token: str | None = None
    token_until: datetime | None = None
    state: State = State.WAITING
    processing: bool = False
    submits: int = 0
    request_id: str | None = None
    reason: Reason | None = None
    reason_detail: str | None = None
    file: str | None = None
    submitted_at: datetime | None = None
    posting_at: datetime | None = None
    ended_at: datetime | None = None
    run_low: int | None = None
    run_high: int | None = None
    post_id: int | None = None
    counted_at: datetime | None = None
    in_doubt: bool = False
    fault: Fault | None = None
    large_reads: int = 0
    attempts: int = 0
    """How often posting it failed while it was undelivered."""
    next_attempt_at: datetime | None = None

    @property
    def status(self) -> Status:
        """The status that members see."""
        return status_in(self.state, processing=self.processing)

    @property
    def ended(self) -> bool:
        """True if it was made, failed or was cancelled; it may still have to be delivered."""
        return self.ended_at is not None

    @property
    def cancellable(self) -> bool:
        """True if it was never submitted, so that the operator pays nothing for it."""
        return self.state is State.WAITING and self.submits == 0


@dataclass(frozen=True, slots=True)
class SongEvent:
    """One transition of a song. `detail`: the job's id at the API, the post's id, or a reason."""

    at: datetime
    from_state: State
    to_state: State
    detail: str | None


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The number of undelivered songs with one reason, and the time of the oldest."""

    reason: Reason
    songs: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Server:
    """One row of `servers`. `name` is the last known one."""

    server_id: int
    name: str | None
    left_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServerCount:
    """A server with the number of its members and songs so far."""

    server_id: int
    name: str | None
    left_at: datetime | None
    members: int
    songs: int


class SettingRow(NamedTuple):
    """A setting that a server has set. `value` is JSON; `subject_id` a role, a member or 0.

    A plain tuple, since all of a server's are read, and compared, with each song.
    """

    name: str
    subject_id: int
    value: str


@dataclass(frozen=True, slots=True)
class CalendarRow:
    """The calendar of a server's periods from `from_at` on."""

    from_at: datetime
    every: str
    hour: int
    zone: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a server's settings. `before` and `after` are JSON; None is the default.

    `actor_id` is None if the bot or its operator did it; `undoes` is the number of the change that
    it reverts.
    """

    server_id: int
    number: int
    name: str
    subject_id: int
    before: str | None
    after: str | None
    actor_id: int | None
    reason: str | None
    at: datetime
    undoes: int | None
    log_channel_id: int | None


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """Credits granted to, or taken from, each member with a role, once, until `ends_at`.

    `kind` is `grant` or `take`. The credits expire at `expires_at`; None: never.
    """

    role_grant_id: int
    server_id: int
    role_id: int
    kind: str
    amount: int
    reason: str | None
    actor_id: int
    at: datetime
    ends_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tally:
    """A number of songs and the sum of their prices."""

    songs: int
    credits: int


@dataclass(frozen=True, slots=True)
class OperatorBudget:
    """The budget per day (UTC) of `all` servers together, of `each`, or of one `server`.

    None: no limit.
    """

    scope: str
    server_id: int
    credits: int | None
    songs: int | None


@dataclass(frozen=True, slots=True)
class Lot:
    """Credits that came together and expire together."""

    lot_id: str
    kind: str
    amount: int
    remaining: int
    revision: int
    expires_at: datetime | None
    reason: str | None = None
    """Why it was granted; None if the query does not read it."""
    actor_id: int | None = None
    """Who granted or gave it; None if the query does not read it, or for the operator."""


@dataclass(frozen=True, slots=True)
class LotSums:
    """Sums over all of a member's lots with something left that have not expired.

    `allowance`: what is left of the period's. The others are grants, gifts and late refunds:
    `granted` is what is left of them, `granted_amount` how much they were.
    """

    lots: int = 0
    granted_lots: int = 0
    allowance: int = 0
    granted: int = 0
    granted_amount: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger, with the number of its song and its post where it has them."""

    entry_id: str
    kind: str
    amount: int
    price: int | None
    number: int | None
    actor_id: int | None
    reason: str | None
    at: datetime
    channel_id: int | None = None
    post_id: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """The options of a `/song` whose lyrics are being typed in a form."""

    draft_id: int
    server_id: int
    member_id: int
    options: str


@dataclass(frozen=True, slots=True)
class Incident:
    """A problem that the operator is notified of."""

    kind: str
    detail: str
    opened_at: datetime
    notified_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunTime:
    """The time that one song took at the API: between `low_ms` and `high_ms` after its submit."""

    seconds: int
    steps: int
    low_ms: int
    high_ms: int


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970 in UTC, as times are stored.

    Rounded down: something that ends at a stored time must not end half a millisecond before it.
    """
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """Return the aware time that `to_ms` stored."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def maybe_to_ms(moment: datetime | None) -> int | None:
    """Return `to_ms`, or None for NULL."""
    return None if moment is None else to_ms(moment)


def maybe_from_ms(milliseconds: int | None) -> datetime | None:
    """Return `from_ms`, or None if the column is NULL."""
    return None if milliseconds is None else from_ms(milliseconds)
