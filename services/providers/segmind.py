"""Segmind's API for ACE-Step: a `Provider`. The only file that makes its calls."""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from db.records import SongRequest
from services.config import Config
from services.errors import (
    ApiUnavailable,
    KeyRefused,
    NotThereYet,
    OutputMissing,
    RateLimited,
    SongApiError,
    SongGone,
    SubmitForbidden,
    SubmitUncertain,
)
from services.providers.addresses import Network
from services.providers.base import JobStatus, Output, Parameter, Parameters, Spent, Workspace
from services.providers.downloads import (
    BUFFER,
    CONNECT,
    Downloader,
    map_network_errors,
    save,
    starts_as_markup,
)
from services.providers.pacing import Pacer
from services.providers.rate_limiter import CALLS_A_SONG, WINDOW, Call, RateLimiter
from services.providers.redaction import redact
from services.providers.run_times import Run
from services.providers.segmind_answers import (
    RUNNING,
    WAITING,
    Answer,
    AnswerReader,
    Endpoint,
    describe,
    error_of,
    number,
    raise_if_failed,
)

log = logging.getLogger(__name__)

NAME = "segmind"
MODEL = "ace-step-music"
PARAMETERS = Parameters(
    seconds=Parameter(10, 240, 60),
    steps=Parameter(10, 150, 50),
    cfg=Parameter(1.0, 15.0, 4.0),
    shift=Parameter(0.0, 10.0, 4.0),
    lyrics_strength=Parameter(0.1, 10.0, 1.0),
    seed=Parameter(0, 2_147_483_647),
)
"""Bounds and defaults of the API's page (https://www.segmind.com/models/ace-step-music)."""
BYTES_A_SECOND = 48_000 * 8
"""Of audio, at most: the model's own writer makes 48 kHz stereo WAV of 32-bit floats
(ACE-Step 232)."""

_MARGIN = 4 * 2**20  # bytes for headers, tags and a song that came out some seconds longer
_MOST_UNKNOWN = 20  # status words that are logged once each

_SUBMIT = aiohttp.ClientTimeout(total=60, connect=CONNECT)
_BALANCE = aiohttp.ClientTimeout(total=30, connect=CONNECT)
# By progress: a slow line is not a dead one, and a status may hold the song as base64.
_POLL = aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=30)
_PATIENCE = 300.0  # seconds, see `Endpoint`
# The vendor's SDK gives a song 600 s; the one call of v1 is silent for all of them.
_MAKE = aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=600)


def connect(
    config: Config,
    session: aiohttp.ClientSession,
    resolver: AbstractResolver,
    *,
    runs: Iterable[Run],
    called: bool,
    waiting: Callable[[], int],
) -> "Segmind":
    """Compose the provider as the environment says. `called`: an earlier process made calls.

    After a restart the last minute counts as full, unless no call was ever made.
    """
    return Segmind(
        session,
        root=config.segmind_api_url,
        key=config.segmind_api_key.get_secret_value(),
        rate_limiter=RateLimiter(config.segmind_rpm, full=called),
        runs=runs,
        waiting=waiting,
        at_once=config.segmind_concurrency,
        single_call=config.segmind_mode == "sync",
        allow=config.download_allow,
        resolver=resolver,
    )


def _ignore(_: float) -> None:
    """Do nothing with what a call took."""


class Segmind:
    """The API, called with the operator's key. See `Provider` for what is not said here.

    Args:
        session: used for the API's own host. Redirects of API calls are not followed.
        root: the API's address without `/v1` or `/v2`.
        key: sent as `x-api-key`, and to no other host than the root's.
        rate_limiter: the account's calls. Downloads are none, even from the API's host.
        runs: the latest songs that ended, in the order of their submits; a hundred are enough.
        waiting: how many songs wait here to be submitted.
        at_once: how many songs may be at the API.
        single_call: use `make` (v1).
        allow, resolver: see `Downloader`.
        clock: seconds that never go back; only differences count.
    """

    name = NAME
    parameters = PARAMETERS

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        root: str,
        key: str,
        rate_limiter: RateLimiter,
        runs: Iterable[Run] = (),
        waiting: Callable[[], int] = lambda: 0,
        at_once: int = 8,
        single_call: bool = False,
        allow: Collection[Network | str] = (),
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pacer = Pacer(rate_limiter, runs, waiting=waiting, polled=not single_call)
        self.at_once = at_once
        self.seconds_per_song = CALLS_A_SONG * WINDOW / rate_limiter.per_minute
        self.single_call = single_call
        self._session = session
        self._root = URL(root.rstrip("/"))
        self._key = key
        self._headers = {"x-api-key": key}
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._redact = functools.partial(redact, secret=key)
        self._downloader = Downloader(
            session,
            root=self._root,
            headers=self._headers,
            allow=allow,
            resolver=resolver,
            redact=self._redact,
        )
        self._reader = AnswerReader()
        self._unknown_words: set[str] = set()

    @staticmethod
    def largest_file(seconds: int) -> int:
        """Return the bytes of the largest audio of that length that the model's writer makes."""
        return seconds * BYTES_A_SECOND + _MARGIN

    async def wait_for_submit(self) -> None:
        """Wait until a submit may be sent, and count it."""
        await self._rate_limiter.take(Call.SUBMIT)

    async def submit(self, request: SongRequest) -> str:
        """Submit a song (v2) and return its request id. A redirect is a `KeyRefused`."""
        call = Endpoint("POST", f"v2/{MODEL}", _SUBMIT, SubmitForbidden, SubmitUncertain)
        answer = await self._call(call, payload(request))
        # Without an id nothing was accepted; but a 5xx may hide one.
        accepted = answer.request_id is not None or answer.code >= 500
        raise_if_failed(call, answer, self._key, accepted=accepted)
        if answer.valid and answer.request_id is not None:
            return answer.request_id
        raise self._error(call, answer)

    async def get_status(
        self, job_id: str, workspace: Workspace, spent: Spent = _ignore
    ) -> JobStatus:
        """See how far a song is. The API forgets it an hour after its end."""
        call = _poll(f"v2/requests/{quote(job_id, safe='')}/status", workspace)
        async with self._polled(call, Call.POLL, spent) as answer:
            if answer.completed:
                return JobStatus("COMPLETED", await answer.output())
            if answer.ok and answer.word:
                return JobStatus(self._unfinished(answer.word))
            raise self._error(call, answer)

    async def result(self, job_id: str, workspace: Workspace, spent: Spent = _ignore) -> Output:
        """See where a COMPLETED song is. One that is not ready is an `ApiUnavailable`."""
        call = _poll(f"v2/requests/{quote(job_id, safe='')}", workspace)
        async with self._polled(call, Call.RESULT, spent) as answer:
            output = await answer.output() if answer.valid else None
            if output is not None:
                return output
            unnamed = answer.ok and not answer.word and "output" in answer.data
            if answer.completed or unnamed:
                raise OutputMissing(f"no output: {describe(call, answer, self._key)}")
            raise self._error(call, answer)

    async def get_balance(self) -> float:
        """Return the balance of the operator's account. A 404 is a `KeyRefused`."""
        call = Endpoint("GET", "v1/get-user-credits", _BALANCE, KeyRefused, ApiUnavailable)
        await self._rate_limiter.take(Call.POLL)
        answer = await self._call(call)
        balance = number(answer.data.get("credits"))
        if not answer.ok or balance is None:
            raise self._error(call, answer)
        return balance

    async def make(self, request: SongRequest, workspace: Workspace) -> Output | None:
        """Make a song in one call (v1). A cut-off answer is a `SubmitUncertain`."""
        path = f"v1/{MODEL}"
        # The patience counts from where a large answer is read.
        call = Endpoint(
            "POST", path, _MAKE, SubmitForbidden, SubmitUncertain, workspace, patience=_PATIENCE
        )
        work = self._make(call, payload(request), workspace)
        answer = await map_network_errors(call, call.unclear, work, self._redact)
        if answer is None:
            return None
        async with contextlib.aclosing(answer):
            raise_if_failed(call, answer, self._key)
            output = await answer.output() if answer.valid else None
            if output is None:
                raise self._error(call, answer)
            return output

    async def download(self, output: Output, workspace: Workspace) -> int:
        """Fetch a song's audio; return its bytes: see `Provider.download`."""
        return await self._downloader.download(output, workspace)

    @contextlib.asynccontextmanager
    async def _polled(self, call: Endpoint, kind: Call, spent: Spent) -> AsyncIterator[Answer]:
        """Get an answer, which is removed at the end of the block.

        `spent` gets what all of it took, where it found the song or that it is not there yet.
        """
        await self._rate_limiter.take(kind)
        began = self._clock()
        try:
            async with contextlib.aclosing(await self._call(call)) as answer:
                raise_if_failed(call, answer, self._key)
                yield answer
        except NotThereYet:
            spent(self._clock() - began)
            raise
        spent(self._clock() - began)

    def _request(
        self, call: Endpoint, body: Mapping[str, object] | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.request(
            call.method,
            URL(f"{self._root}/{call.path}", encoded=True),
            json=body,
            headers=self._headers,
            allow_redirects=False,
            read_bufsize=BUFFER,
            timeout=call.timeout,
        )

    async def _call(self, call: Endpoint, body: Mapping[str, object] | None = None) -> Answer:
        async def read() -> Answer:
            async with asyncio.timeout(call.patience) as clock:
                async with self._request(call, body) as response:
                    return await self._reader.read(response, call, clock)

        return await map_network_errors(call, call.unclear, read(), self._redact)

    async def _make(
        self, call: Endpoint, body: Mapping[str, object], workspace: Workspace
    ) -> Answer | None:
        """Return the answer; None if it was the song, which is saved."""
        async with asyncio.timeout(None) as clock, self._request(call, body) as response:
            start = await response.content.readany()
            if not 200 <= response.status < 300 or starts_as_markup(start):
                return await self._reader.read(response, call, clock, start)
            await save(response, workspace, start)
            return None

    def _unfinished(self, word: str) -> Literal["QUEUED", "PROCESSING"]:
        """Translate a status that is not final. A word that nobody knows is polled on."""
        if word in RUNNING:
            return "PROCESSING"
        new = word not in WAITING and word not in self._unknown_words
        if new and len(self._unknown_words) < _MOST_UNKNOWN:
            self._unknown_words.add(word)
            log.warning("unknown status %s from the song API, polling on", word)
        return "QUEUED"

    def _error(self, call: Endpoint, answer: Answer) -> SongApiError:
        error = error_of(call, answer, self._key)
        if isinstance(error, RateLimited):
            self._rate_limiter.refused(error.retry_after)
        return error


def _poll(path: str, workspace: Workspace) -> Endpoint:
    return Endpoint("GET", path, _POLL, SongGone, ApiUnavailable, workspace, patience=_PATIENCE)


def payload(request: SongRequest) -> dict[str, object]:
    """Return every parameter: left out, `lyrics` and `seed` are the API's own samples."""
    return {
        "genres": request.genres,
        "lyrics": request.lyrics,
        "output_seconds": request.seconds,
        "steps": request.steps,
        "cfg": request.cfg,
        "shift": request.shift,
        "lyrics_strength": request.lyrics_strength,
        "seed": request.seed,
        "base64": False,
    }
