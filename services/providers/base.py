"""What the pipeline needs of a service that makes songs: the port that each provider implements.

A provider is one file next to this one. It speaks its API's language, keeps the account's rate
limit and decides when to poll; the pipeline knows none of that. Whatever goes wrong becomes one of
the `SongApiError`s of `services.errors`.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from db.records import SongRequest
from services.providers.pacing import Pacer
from services.providers.redaction import without_queries

N = TypeVar("N", bound=float)

Spent = Callable[[float], object]
"""Gets the seconds that a call took, without its wait for the rate limit."""

BASE64_OVERHEAD = 2**20
"""Bytes of an answer besides the song in it."""


@dataclass(frozen=True, slots=True)
class Parameter(Generic[N]):
    """A number that a song is made with: its bounds, both allowed, and what it is by default.

    `default` is None where it is drawn at random. Integers have integer bounds.
    """

    low: N
    high: N
    default: N | None = None

    @property
    def bounds(self) -> tuple[N, N]:
        """Return the lowest and the highest number."""
        return self.low, self.high

    def allows(self, value: float) -> bool:
        """Return whether it is a number of this kind within the bounds."""
        kinds = (int,) if type(self.low) is int else (int, float)
        return type(value) in kinds and self.low <= value <= self.high  # no NaN is


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a provider's songs are made with. The names are those of `SongRequest` and `/song`."""

    seconds: Parameter[int]
    steps: Parameter[int]
    cfg: Parameter[float]
    shift: Parameter[float]
    lyrics_strength: Parameter[float]
    seed: Parameter[int]

    def defaults(self) -> dict[str, float]:
        """Return the numbers that have a default, by name."""
        parameters = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: p.default for name, p in parameters.items() if p.default is not None}


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where the audio of one song goes, and what it may take.

    `file` is there complete or not at all. `limit` is in bytes of audio: a larger song is a
    `BadOutput`. `exclusive` is entered while an answer of over a mebibyte is read: no other is
    then.
    """

    file: Path
    limit: int
    exclusive: Callable[[], AbstractAsyncContextManager[object]] = contextlib.nullcontext

    @property
    def largest_body(self) -> int:
        """Bytes of an answer that holds the song as base64, with its line breaks or escapes."""
        return self.limit * 3 // 2 + BASE64_OVERHEAD


@dataclass(frozen=True, slots=True, repr=False)
class Output:
    """Where a song is: at an address, or on the disk already, since the answer held it.

    Callers only pass it on.
    """

    url: str | None = None
    file: Path | None = None

    def __repr__(self) -> str:
        # The query of a signed address opens the file to whoever reads the log.
        if self.file is not None:
            return f"Output(file={self.file.name!r})"
        return f"Output(url={without_queries(self.url or '')!r})"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far a job is.

    `output` may be there already when it is COMPLETED: then no `result` call is needed.
    """

    status: Literal["QUEUED", "PROCESSING", "COMPLETED"]
    output: Output | None = None


class Provider(Protocol):
    """A service that makes songs, spoken to with the operator's account.

    Every call may raise, besides what it names: `KeyRefused`, `OutOfCredits`, `RequestRejected`,
    `RateLimited`, and, while no connection can be made, `NotReached`. Calls wait for the rate limit
    themselves, but for `submit` and `make`: which song goes is decided, and written down, only when
    there is room for it (`wait_for_submit`).
    """

    name: str
    """What the songs' rows call it. It never changes."""
    parameters: Parameters
    pacer: Pacer
    """Decides when to poll."""
    at_once: int
    """How many songs may be at the API at the same time."""
    seconds_per_song: float
    """The least time between two songs in a crowd, by the rate limit."""
    single_call: bool
    """Whether `make` does all in one call, in place of `submit`, `get_status` and `result`."""

    def largest_file(self, seconds: int) -> int:
        """Return the most bytes of audio that so many requested seconds may be."""
        ...

    async def wait_for_submit(self) -> None:
        """Wait until a submit may be sent, and count it: it has to be sent at once."""
        ...

    async def submit(self, request: SongRequest) -> str:
        """Submit a song and return its job's id.

        Raises:
            SubmitUncertain: it may have been accepted.
            SubmitForbidden: the account's refusal, or of this request alone.
            GenerationFailed: refused at once; its `accepted` says whether it was accepted.
        """
        ...

    async def make(self, request: SongRequest, workspace: Workspace) -> Output | None:
        """Make a song in a single call. None: its audio is in the workspace's file.

        Raises:
            SubmitUncertain, SubmitForbidden, GenerationFailed: see `submit`.
            OutputMissing, BadOutput, OSError: see `download`.
        """
        ...

    async def get_status(self, job_id: str, workspace: Workspace, spent: Spent = ...) -> JobStatus:
        """See how far a job is. `spent` is called where it is there, or not there yet.

        A provider whose API knows a status of many jobs may answer several of these by one call.

        Raises:
            GenerationFailed: the model failed or blocked the content.
            BadOutput, OSError: the song is in the answer, and broken, or can't be written.
            SongGone: not known yet, unknown or expired.
            ApiUnavailable: no answer, or one that can't be read: poll again.
        """
        ...

    async def result(self, job_id: str, workspace: Workspace, spent: Spent = ...) -> Output:
        """See where a COMPLETED song is. `spent`: as in `get_status`.

        Raises:
            OutputMissing: the answer names no output.
            GenerationFailed, BadOutput, OSError, SongGone, ApiUnavailable: see `get_status`.
        """
        ...

    async def download(self, output: Output, workspace: Workspace) -> int:
        """Write a song's audio to the workspace's file; return its bytes.

        Raises:
            OutputMissing: it is not there, or not yet.
            BadOutput: malformed, over the limit, or at an address that is not fetched.
            ApiUnavailable: cut off, or the storage is down: try again.
            OSError: the file can't be written.
        """
        ...

    async def get_balance(self) -> float:
        """Return what is left in the operator's account, in the provider's own credits.

        Raises:
            ApiUnavailable: no answer, or one that can't be read.
        """
        ...
