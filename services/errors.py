"""Errors by subject. A foreign error is mapped to one of these once, where it enters."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from db.errors import SongwrightError
from db.records import Reason


class ConfigurationError(SongwrightError):
    """Configuration is missing or invalid. `str()` has one line for each variable at fault."""


class AlreadyRunning(SongwrightError):
    """Another process uses the database or the data folder. `str()` says which, and what to do."""


class Refusal(SongwrightError):
    """Say that a request won't be done. Its fields are the facts; `cogs` writes the sentence.

    A service adds a dataclass next to the code that raises it; the subject's `texts` module in
    `cogs` registers its sentence (`cogs.client.texts.refusal_text`). What only `cogs` can refuse
    is raised there with its sentence: `NotPossible("...")`.
    """


class InvalidRequest(Refusal):
    """An option is wrong."""


@dataclass(eq=False)
class OutOfRange(InvalidRequest):
    """An option is not a number from `low` to `high`."""

    name: str
    low: float
    high: float


@dataclass(eq=False)
class TooLong(InvalidRequest):
    """A text has more characters than `limit`."""

    name: str
    length: int
    limit: int


@dataclass(eq=False)
class NotEnoughCredits(Refusal):
    """The price is more than what is free. Nothing was spent."""

    price: int
    free: int
    allowance: int | None
    """Credits of each period; None or 0 where nothing refills."""
    every: str
    """`day`, `week` or `month`."""
    refills_at: datetime


class TooManySongs(Refusal):
    """The member's songs waiting or running are at their limit. Nothing was spent."""


class TooManyUndelivered(Refusal):
    """Undelivered songs of the server or of the member are at their limit. Nothing was spent."""


class BudgetExceeded(Refusal):
    """The budget of a server, or of the operator, is used up. Nothing was spent."""


class DeniedBySettings(Refusal):
    """The server's settings don't allow it. Nothing was spent."""


@dataclass(eq=False)
class ServerNotAllowed(Refusal):
    """The operator's ALLOWED_SERVERS does not list the server. Nothing was spent."""

    server_id: int


class SongsPaused(Refusal):
    """The operator's account at the song API needs the operator first. Nothing was spent."""


class NotPermitted(Refusal):
    """The person, or the bot in that channel, lacks a permission."""


class NotPossible(Refusal):
    """What was requested does not exist, is over or can't be done now."""


class SongApiError(SongwrightError):
    """A call to the song API failed.

    `str()` is for the operator's log; it never holds the key.
    """

    reason = Reason.SERVICE_FAILED


class RequestRejected(SongApiError):
    """400, or another 4xx without a specific class: our parameters are invalid."""

    reason = Reason.REQUEST_REJECTED


class RequestForbidden(RequestRejected):
    """403 or 404 to one submit while the key works: a firewall refuses its text."""


class AccountProblem(SongApiError):
    """The operator's account has a problem: songs pause until the operator fixes it."""

    reason = Reason.ACCOUNT_REFUSED


class KeyRefused(AccountProblem):
    """401, 403 on a GET, or a redirect on submit: the key or the API's address."""


class SubmitForbidden(KeyRefused):
    """403 or 404 on submit: the account, or a firewall that refuses this one request."""


class OutOfCredits(AccountProblem):
    """402 or 406: the operator's account has no credits left."""


class NotThereYet(SongApiError):
    """The song was not found, which also happens for a moment right after success."""


class SongGone(NotThereYet):
    """404 on status or result: the request id is unknown or has expired (one hour)."""

    reason = Reason.SONG_GONE


class OutputMissing(NotThereYet):
    """The result names no output, or its address has no audio (a 4xx, text, or an empty body)."""

    reason = Reason.NOT_FETCHED


class GenerationFailed(SongApiError):
    """422 or FAILED: the model failed, or blocked the content. `detail` may be shown to the member.

    `by_request`: the request is the cause, not the service. `accepted`: the API accepted the song
    before, or may have.
    """

    reason = Reason.MODEL_FAILED

    def __init__(self, detail: str, *, by_request: bool = True, accepted: bool = True) -> None:
        super().__init__(detail or "the model failed without saying why")
        self.detail = detail
        self.by_request = by_request
        self.accepted = accepted


class RateLimited(SongApiError):
    """429. `retry_after` is in seconds, at least 0."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"rate limited for {retry_after:.1f} s")
        self.retry_after = retry_after


class ApiUnavailable(SongApiError):
    """Transient: 408, 5xx on a GET, a cut connection, a malformed body."""


class NotReached(ApiUnavailable):
    """No connection could be made, so nothing was accepted."""


class SubmitUncertain(SongApiError):
    """The answer to a submit was lost or a 5xx: it may have been accepted."""


class BadOutput(SongApiError):
    """The result is malformed, too large, or at an address that is not allowed."""

    reason = Reason.NOT_FETCHED


class AudioError(SongwrightError):
    """The file is no song that can be posted. The member may see `detail`."""

    reason = Reason.NOT_AUDIO

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.reason}, {detail}" if detail else self.reason)
        self.detail = detail


class NotAudio(AudioError):
    """Empty, of another type, or impossible to decode."""


class TooShort(AudioError):
    """Less than half of the requested seconds."""

    reason = Reason.TOO_SHORT


class SilentAudio(AudioError):
    """Nothing but silence."""

    reason = Reason.SILENT


class DoesNotFit(AudioError):
    """Even the lowest bit rate is over the limit."""

    reason = Reason.DOES_NOT_FIT


class DeliveryError(SongwrightError):
    """The song could not be posted."""


class Scope(StrEnum):
    """What else the reason for a refused post applies to. A thread is a channel."""

    MESSAGE = "message"
    CHANNEL = "channel"
    SERVER = "server"
    EVERYBODY = "everybody"


class CannotPost(DeliveryError):
    """Permanent: permission or channel gone, upload refused. The member may see `detail`."""

    def __init__(
        self, reason: Reason, *, detail: str | None = None, scope: Scope = Scope.CHANNEL
    ) -> None:
        super().__init__(f"{reason}, {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.scope = scope


class TooLargeToPost(DeliveryError):
    """The file is over Discord's limit in that channel: transcode it again."""


class PostUncertain(DeliveryError):
    """No answer, or a transient one: reconcile before sending again."""
