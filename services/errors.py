"""The one tree of errors. A foreign error becomes one of these once, where it enters.

SongwrightError
|-- ConfigurationError      a setting is missing or wrong: the process can't start
|-- AlreadyRunning          another process uses the database or the data folder
|-- Refusal                 the person asked for something we won't do; str() is for them
|   |-- InvalidRequest      an option is out of bounds
|   |-- NotEnoughCredits
|   |-- TooManySongs
|   |-- TooManyUndelivered  of the server's songs wait to be delivered
|   |-- BudgetExceeded      of the server, or of the operator
|   |-- SongsPaused         the operator's account at the song API needs them first
|   |-- AgainstTheRules     the server's managers decided otherwise
|   |-- ServerNotAllowed    the operator's ALLOWED_SERVERS does not list the server
|   |-- NotPermitted        the person, or the bot in that channel, lacks a permission
|   `-- NotPossible         the thing asked for does not exist (any more) or can't be done now
|-- SongApiError            the song API, as services/providers/segmind.py wrap_parse_errors it
|   |-- RequestRejected     400 and other 4xx: our parameters
|   |   `-- RequestForbidden  403 or 404 to one submit's words, while the key works
|   |-- AccountProblem      the operator's to mend; songs pause meanwhile
|   |   |-- KeyRefused      401, or 403 on a GET
|   |   |   `-- SubmitForbidden  403 or 404 on submit: perhaps this request alone
|   |   `-- OutOfCredits    402, 406
|   |-- NotThereYet         what was made is not found: for now, perhaps
|   |   |-- SongGone        404 on status or result: unknown or expired
|   |   `-- OutputMissing   no output in the result, or no audio at its address
|   |-- GenerationFailed    422 or FAILED: the model failed or blocked the content
|   |-- RateLimited         429: wait, then go on
|   |-- ApiUnavailable      408, 5xx on a GET, cut connections, nonsense bodies: try again
|   |   `-- NotReached      no connection was made: surely nothing was accepted
|   |-- SubmitUncertain     5xx or a lost answer on submit: it may have been accepted
|   `-- BadOutput           the result is too large, malformed, or at an address we won't fetch
|-- AudioError              the bytes are no song we can post
|   |-- NotAudio            empty, another type, or it can't be decoded
|   |-- TooShort            less than half of what was asked
|   |-- SilentAudio         nothing but silence
|   `-- DoesNotFit          no bit rate brings it under the limit
`-- DeliveryError           the song could not be posted
    |-- CannotPost          for good: permission or channel gone, upload refused
    |-- TooLargeToPost      the limit is lower than we thought: fit it again
    `-- PostUncertain       no answer, or a passing one: look before sending again
"""

from enum import StrEnum


class SongwrightError(Exception):
    """The root: everything this project raises on purpose."""


class ConfigurationError(SongwrightError):
    """A setting is missing or wrong. `str()` has one line for each, naming the variable."""


class AlreadyRunning(SongwrightError):
    """Another process uses the database or the data folder. `str()` says which, and what to do."""


class Refusal(SongwrightError):
    """The person asked for something we won't do. `str()` is one plain sentence for them."""


class InvalidRequest(Refusal):
    """An option is out of its bounds."""


class NotEnoughCredits(Refusal):
    """The price is more than what is free. Nothing was spent."""


class TooManySongs(Refusal):
    """The member's songs waiting or running are at their limit. Nothing was spent."""


class TooManyUndelivered(Refusal):
    """Songs of the server or of the member that could not be posted are at their limit."""


class BudgetExceeded(Refusal):
    """What a server, or all of them, may spend in a while is spent. Nothing was spent now."""


class AgainstTheRules(Refusal):
    """Those who manage the server have decided otherwise. Nothing was spent."""


class ServerNotAllowed(Refusal):
    """The operator has not allowed this server. Nothing was spent."""


class SongsPaused(Refusal):
    """No song can be made until the operator has mended their account. Nothing was spent."""


class NotPermitted(Refusal):
    """The person, or the bot in that channel, lacks a permission."""


class NotPossible(Refusal):
    """What was asked for does not exist, or is over."""


class SongApiError(SongwrightError):
    """The song API answered with something else than what was asked for.

    `str()` is for the operator's log; it never holds the key.
    """


class RequestRejected(SongApiError):
    """400 and every other 4xx without a meaning of its own: the parameters are at fault, ours."""


class RequestForbidden(RequestRejected):
    """403 or 404 to one submit while the key works: a firewall refuses its words."""


class AccountProblem(SongApiError):
    """The operator's account: songs pause until it is mended."""


class KeyRefused(AccountProblem):
    """401, 403 on a GET, or a redirect on submit: the key or the API's address."""


class SubmitForbidden(KeyRefused):
    """403 or 404 on submit: the account, or a firewall that refuses this one request."""


class OutOfCredits(AccountProblem):
    """402 or 406: the operator's account has no credits left."""


class NotThereYet(SongApiError):
    """What was made is not found. Queues and storage say so right after success, too."""


class SongGone(NotThereYet):
    """404 on status or result: the request id is unknown or has expired (one hour)."""


class OutputMissing(NotThereYet):
    """The result names no output, or its address has no audio (a 4xx, text, or an empty body)."""


class GenerationFailed(SongApiError):
    """The model failed, or its content was blocked. `detail` is fit for the member.

    `by_request`: what was requested is at fault, not the service. `accepted`: the API had, or may
    have, accepted the song before.
    """

    def __init__(self, detail: str, *, by_request: bool = True, accepted: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.by_request = by_request
        self.accepted = accepted


class RateLimited(SongApiError):
    """429. `retry_after` is in seconds, at least 0."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"rate limited for {retry_after:.1f} s")
        self.retry_after = retry_after


class ApiUnavailable(SongApiError):
    """Passing: 408, 5xx on a GET, a cut connection, a body that makes no sense."""


class NotReached(ApiUnavailable):
    """No connection could be made, so nothing was accepted either."""


class SubmitUncertain(SongApiError):
    """A submit whose answer was lost or was a 5xx: it may or may not have been accepted."""


class BadOutput(SongApiError):
    """The result can't be had: malformed, over the maximum, or at an address we won't fetch."""


class AudioError(SongwrightError):
    """The bytes are no song we can post. `str()` is fit for the member."""


class NotAudio(AudioError):
    """Empty, of another type, or impossible to decode."""


class TooShort(AudioError):
    """Less than half of the seconds that were asked for."""


class SilentAudio(AudioError):
    """Nothing can be heard in it, from its beginning to its end."""


class DoesNotFit(AudioError):
    """Even the lowest bit rate is over the limit."""


class DeliveryError(SongwrightError):
    """The song could not be posted."""


class Scope(StrEnum):
    """How far the reason for a refused post reaches. A thread is a channel."""

    MESSAGE = "message"
    CHANNEL = "channel"
    SERVER = "server"
    EVERYBODY = "everybody"


class CannotPost(DeliveryError):
    """It won't be posted. `str()` is fit for the member; `scope`: whose posts fail alike."""

    def __init__(self, reason: str, *, scope: Scope = Scope.CHANNEL) -> None:
        super().__init__(reason)
        self.scope = scope


class TooLargeToPost(DeliveryError):
    """Discord's limit in that channel is lower than the file's size."""


class PostUncertain(DeliveryError):
    """The post may or may not be there."""
