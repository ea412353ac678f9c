"""The song API's client: the only file that knows its words.

Whatever goes wrong on the wire becomes one error of `services.errors` here, by the table of the
API's page and of what its own SDK does. Messages are for the operator's log: method, path, code
and a shortened body; the key and the query strings (they hold signatures) are never in them. The
HTTP library's errors are not chained to ours either: their `repr` shows the request's headers.
"""

import asyncio
import contextlib
import html
import itertools
import logging
import math
import os
import re
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from db.cancellation import run_to_completion
from db.errors import SongwrightError
from db.records import SongRequest
from services.errors import (
    ApiUnavailable,
    BadOutput,
    GenerationFailed,
    KeyRefused,
    NotReached,
    NotThereYet,
    OutOfCredits,
    OutputMissing,
    RateLimited,
    RequestRejected,
    SongApiError,
    SongGone,
    SubmitForbidden,
    SubmitUncertain,
)
from services.providers.addresses import GuardedSockets, Network, Resolver
from services.providers.base import (
    JobStatus,
    Output,
    Parameter,
    Parameters,
    Spent,
    Workspace,
)
from services.providers.json_stream import (
    BASE64,
    DATA,
    Inner,
    Outline,
    Song,
    Spool,
    decoded,
    parse,
    plain_base64,
    texts,
)
from services.providers.pacing import Pacer
from services.providers.rate_limiter import CALLS_A_SONG, WINDOW, Call, RateLimiter
from services.providers.redaction import one_line, without_queries
from services.providers.run_times import Run

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
MAX_DETAIL = 300
"""Characters of a failure's reason shown to a member."""

MAX_REDIRECTS = 5

MAX_ADDRESS = 8_190
"""Characters of an address; HTTP servers take about as many."""

_ROOM = 4 * 2**20  # bytes for headers, tags and a song that came out some seconds longer
_SMALL_BODY = 2**20  # bytes; a larger one holds a song, and is read while no other is
_PIECE = 2**16  # bytes of a body that are parsed at once, or handed over as its next piece
_MOST_TEXTS = 1_000  # that are looked through for a song
_BUFFER = 2**16  # bytes, or a sixteenth of that in chunks, that are taken apart at a time
_FREE_CHUNKS = 10_000
_BYTES_A_CHUNK = 256  # on average, beyond those
_BLOCK = 2**20  # bytes handed to the disk at a time: a thread's price once a mebibyte
_HEADER = 512  # bytes, in which every audio format has shown itself
_MAX_LOGGED = 400
_RETRY_AFTER = (1.0, 300.0)
_RETRY_AFTER_UNKNOWN = 10.0
_REDIRECTS = (301, 302, 303, 307, 308)
# An id goes into paths; the first character keeps "." and ".." out of them.
_REQUEST_ID = re.compile(r"[A-Za-z0-9][\x21-\x7e]{0,199}")

# QUEUED, PROCESSING, COMPLETED and FAILED are documented. The others are what queue APIs use for
# the same (fal-js 153, vibedgames 182); they count only where the answer's code is a good one,
# since `{"status": "error"}` is also how a server words a 503.
_WAITING = {"QUEUED", "IN_QUEUE", "PENDING", "WAITING", "SUBMITTED", "ACCEPTED", "CREATED"}
_RUNNING = {"PROCESSING", "IN_PROGRESS", "RUNNING", "STARTED", "STARTING", "GENERATING"}
_SUCCEEDED = {"COMPLETED", "COMPLETE", "SUCCESS", "SUCCEEDED", "SUCCESSFUL", "DONE", "FINISHED"}
# Of the next ones, those that what was requested may be the reason for.
_BY_REQUEST = {"FAILED", "FAIL", "REJECTED", "REFUSED", "DENIED", "BLOCKED", "INVALID"}
_ENDED_BADLY = {
    *("FAILED", "FAIL", "FAILURE", "ERROR", "ERRORED", "CANCELLED", "CANCELED", "CANCEL"),
    *("TIMEOUT", "TIMED_OUT", "TIMEDOUT", "EXPIRED", "REJECTED", "REFUSED", "DENIED", "BLOCKED"),
    *("ABORTED", "TERMINATED", "KILLED", "STOPPED", "DELETED", "INVALID", "CRASHED"),
}
_STATUS_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_MOST_UNKNOWN = 20  # words that are logged once each

_CONNECT = 10.0
_SUBMIT = aiohttp.ClientTimeout(total=60, connect=_CONNECT)
_GLANCE = aiohttp.ClientTimeout(total=30, connect=_CONNECT)
# By progress: a slow line is not a dead one, and a look's answer may hold the song as base64.
_LOOK = aiohttp.ClientTimeout(total=None, connect=_CONNECT, sock_read=30)
_LOOK_PATIENCE = 300.0  # seconds for all of it, but for waiting while another song's is read
_FILE = aiohttp.ClientTimeout(total=None, connect=_CONNECT, sock_read=30)
# The vendor's SDK gives a song 600 s; the one call of v1 is silent for all of them.
_MAKE = aiohttp.ClientTimeout(total=None, connect=_CONNECT, sock_read=600)

# Raised only while connecting: nothing of the request has left.
_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,  # refused, no such name, TLS
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
# UnicodeError: a name that cannot be written for the DNS.
_NO_ADDRESS = (aiohttp.InvalidURL, UnicodeError)
# Not every OSError: a full disk is no news from the network.
_LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)

T = TypeVar("T")


def _nobody(_: float) -> None:
    """Nobody needs to know."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where a call goes, and what its failures mean."""

    method: str
    path: str
    timeout: aiohttp.ClientTimeout
    missing: type[SongApiError]  # 404
    unclear: type[SongApiError]  # 408, 5xx, no answer, or one that makes no sense
    workspace: Workspace | None = None  # where the answer may hold a song
    patience: float | None = None  # seconds, see _LOOK_PATIENCE

    @property
    def limit(self) -> int:
        """Bytes of the body that are read."""
        return _SMALL_BODY if self.workspace is None else self.workspace.largest_body

    def __str__(self) -> str:
        return f"{self.method} /{self.path}"


@dataclass(frozen=True, slots=True)
class _Answer:
    """A code with the JSON object of its body, if it was one; `start` is for the log."""

    code: int
    headers: Mapping[str, str]
    start: bytes
    size: int
    data: dict[str, Any]
    spool: Spool

    async def output(self) -> "Output | None":
        """Where the song is, if the answer says so.

        Raises:
            BadOutput: it is in the answer, and broken or over the maximum.
        """
        # In a thread: there may be tens of thousands of values to look through.
        return await _in_thread(_settle_output, self.data.get("output"), self.spool)

    async def aclose(self) -> None:
        """Remove the songs that were decoded from it, but for one that `output` gave."""
        if self.spool.taken:
            await _in_thread(self.spool.discard)

    @property
    def fine(self) -> bool:
        return 200 <= self.code < 300

    @property
    def done(self) -> bool:
        """COMPLETED is final whatever the code."""
        return self.fine or self.word == "COMPLETED"

    @property
    def word(self) -> str:
        """The status as the API spells it, but in capitals; empty if it is no word."""
        status = self.data.get("status")
        word = re.sub(r"[ -]", "_", status[:50].strip().upper()) if isinstance(status, str) else ""
        return word if _STATUS_WORD.fullmatch(word) else ""

    @property
    def completed(self) -> bool:
        return self.word == "COMPLETED" or (self.fine and self.word in _SUCCEEDED)

    @property
    def failed(self) -> bool:
        """FAILED is final whatever the code, and comes as 422."""
        good = self.fine or self.code == 422
        return self.word == "FAILED" or (good and self.word in _ENDED_BADLY)


class Segmind:
    """The song API, called with the operator's key: see `Provider`.

    Every method but `download` may raise, besides what it names: `KeyRefused` (401, 403),
    `OutOfCredits` (402, 406), `RequestRejected` (other 4xx), `RateLimited` (429, told to
    `rate_limiter` too), and, while no connection can be made, `NotReached`.

    Args:
        session: used for the API's own host. Redirects of API calls are not followed.
        root: the API's address without `/v1` or `/v2`.
        key: sent as `x-api-key`, and to no other host than the root's.
        rate_limiter: the account's calls, and who hears of a 429.
        runs: the latest songs that ended, in the order of their submits; a hundred are enough.
        waiting: how many songs wait here to be submitted.
        at_once: how many songs may be at the API.
        single_call: use `make` (v1).
        allow: networks and hosts that downloads may reach besides public addresses.
        resolver: how names of storage hosts become addresses.
        clock: seconds that never go back; only differences count.
    """

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
        self._session = session
        self._root = URL(root.rstrip("/"))
        self._key = key
        self._rate_limiter = rate_limiter
        self.name = NAME
        self.parameters = PARAMETERS
        self.polling = Pacer(rate_limiter, runs, waiting=waiting, polled=not single_call)
        self.at_once = at_once
        self.seconds_per_song = CALLS_A_SONG * WINDOW / rate_limiter.per_minute
        self.single_call = single_call
        self._allow = allow
        self._resolver = resolver or Resolver()
        self._clock = clock
        self._unknown_words: set[str] = set()
        self._one_large = asyncio.Lock()

    @staticmethod
    def largest_file(seconds: int) -> int:
        """Return the bytes of the largest audio of that length that the model's writer makes."""
        return seconds * BYTES_A_SECOND + _ROOM

    async def wait_for_submit(self) -> None:
        """Wait until a submit may be sent, and count it."""
        await self._rate_limiter.take(Call.SUBMIT)

    async def submit(self, request: SongRequest) -> str:
        """Hand a song in (v2) and return its request id.

        Raises:
            SubmitUncertain: a 5xx, a lost answer or one without an id: it may be accepted.
            SubmitForbidden: 403 or 404, of the account or of this request alone.
            KeyRefused: also for a redirect: the API is not at this address.
            GenerationFailed: refused at once; it was accepted only if the answer has an id.
        """
        call = _Endpoint("POST", f"v2/{MODEL}", _SUBMIT, SubmitForbidden, SubmitUncertain)
        answer = await self._ask(call, payload(request))
        request_id = _request_id(answer.data.get("request_id"))
        # Without an id nothing was accepted; but a 5xx may hide one.
        accepted = request_id is not None or answer.code >= 500
        self._raise_if_failed(call, answer, accepted=accepted)
        if answer.done and request_id is not None:
            return request_id
        raise self._refusal(call, answer)

    async def get_status(
        self, request_id: str, workspace: Workspace, spent: Spent = _nobody
    ) -> JobStatus:
        """See how far a song is. `spent`: called where it is there, or not there yet.

        Raises:
            GenerationFailed: the model failed or blocked the content.
            BadOutput, OSError: the song is in the answer, and broken, or can't be written.
            SongGone: 404, not known yet, unknown or expired (an hour after its end).
            ApiUnavailable: 408, 5xx, a lost answer, or one that makes no sense: look again.
        """
        path = f"v2/requests/{quote(request_id, safe='')}/status"
        call = _job_status(path, workspace)
        await self._rate_limiter.take(Call.LOOK)
        with self._timed(spent):
            async with contextlib.aclosing(await self._ask(call)) as answer:
                self._raise_if_failed(call, answer)
                if answer.completed:
                    return JobStatus(
                        "COMPLETED", await answer.output(), _inference_seconds(answer.data)
                    )
                if answer.fine and answer.word:
                    return JobStatus(self._unfinished(answer.word))
                raise self._refusal(call, answer)

    async def result(self, request_id: str, workspace: Workspace, spent: Spent = _nobody) -> Output:
        """Ask where a COMPLETED song is. `spent`: as `job`.

        Raises:
            OutputMissing: the answer names no output.
            BadOutput, OSError: as `job`; also where it is over the maximum.
            GenerationFailed, SongGone, ApiUnavailable: as `job`; also when it is not ready.
        """
        path = f"v2/requests/{quote(request_id, safe='')}"
        call = _job_status(path, workspace)
        await self._rate_limiter.take(Call.RESULT)
        with self._timed(spent):
            async with contextlib.aclosing(await self._ask(call)) as answer:
                self._raise_if_failed(call, answer)
                output = await answer.output() if answer.done else None
                if output is not None:
                    return output
                unnamed = answer.fine and not answer.word and "output" in answer.data
                if answer.completed or unnamed:
                    raise OutputMissing(f"no output: {self._account_of(call, answer)}")
                raise self._refusal(call, answer)

    async def get_balance(self) -> float:
        """Return the balance of the operator's account, in the API's own credits.

        Raises:
            ApiUnavailable: 408, 5xx, a lost answer, or one that makes no sense.
            KeyRefused: also for a 404: this is not the API's address.
        """
        call = _Endpoint("GET", "v1/get-user-credits", _GLANCE, KeyRefused, ApiUnavailable)
        await self._rate_limiter.take(Call.LOOK)
        answer = await self._ask(call)
        balance = _number(answer.data.get("credits"))
        if not answer.fine or balance is None:
            raise self._refusal(call, answer)
        return balance

    async def make(self, request: SongRequest, workspace: Workspace) -> Output | None:
        """Make a song in one call (v1). None: its audio is kept. Otherwise download it.

        Raises:
            SubmitUncertain: a 5xx, a lost or cut-off answer: the song may have been made.
            GenerationFailed, KeyRefused, SubmitForbidden: as `submit`.
            OutputMissing, BadOutput, OSError: as `download`.
        """
        call = _Endpoint(
            "POST",
            f"v1/{MODEL}",
            _MAKE,
            SubmitForbidden,
            SubmitUncertain,
            workspace,
            patience=_LOOK_PATIENCE,  # counts from where a large answer is read
        )
        answer = await self._translated(
            call, SubmitUncertain, self._make(call, payload(request), workspace)
        )
        if answer is None:
            return None
        async with contextlib.aclosing(answer):
            self._raise_if_failed(call, answer)
            output = await answer.output() if answer.done else None
            if output is None:
                raise self._refusal(call, answer)
            return output

    async def download(self, output: Output, workspace: Workspace) -> int:
        """Fetch a song's audio; return its bytes.

        Not counted by the budget: a file is no call of the API, even on the API's host. Any
        other host must have a public address that is not this machine's, or be one of `allow`.

        Raises:
            OutputMissing: a 4xx, an empty body, or text (HTML, JSON): not there, or not yet.
            BadOutput: malformed, over the maximum, or at an address we won't fetch.
            ApiUnavailable: cut off, or the storage is down: try again.
            OSError: the file can't be written.
        """
        if output.file is not None:
            return await _in_thread(_put_in_place, output.file, workspace.file)
        if output.url is None:
            return await _in_thread(_write_base64, output.base64 or "", workspace)
        url = _file_address(output.url)
        return await self._translated(_shown(url), ApiUnavailable, self._fetch(url, workspace))

    # The API's calls

    @contextlib.contextmanager
    def _timed(self, spent: Spent) -> Iterator[None]:
        """Hand over what the block took, where it found the song or that it is not there yet."""
        began = self._clock()
        try:
            yield
        except NotThereYet:
            spent(self._clock() - began)
            raise
        spent(self._clock() - began)

    def _request(
        self, call: _Endpoint, body: Mapping[str, object] | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.request(
            call.method,
            URL(f"{self._root}/{call.path}", encoded=True),
            json=body,
            headers={"x-api-key": self._key},
            allow_redirects=False,
            read_bufsize=_BUFFER,
            timeout=call.timeout,
        )

    async def _ask(self, call: _Endpoint, body: Mapping[str, object] | None = None) -> _Answer:
        return await self._translated(call, call.unclear, self._answer(call, body))

    async def _answer(self, call: _Endpoint, body: Mapping[str, object] | None) -> _Answer:
        async with asyncio.timeout(call.patience) as clock, self._request(call, body) as response:
            return await self._read(response, call, clock)

    async def _make(
        self, call: _Endpoint, body: Mapping[str, object], workspace: Workspace
    ) -> _Answer | None:
        """None: the answer was the song, and it is kept."""
        async with asyncio.timeout(None) as clock, self._request(call, body) as response:
            start = await response.content.readany()
            if not 200 <= response.status < 300 or _is_text(start):
                return await self._read(response, call, clock, start)
            await _keep(response, workspace, start)
            return None

    async def _read(
        self,
        response: aiohttp.ClientResponse,
        call: _Endpoint,
        clock: asyncio.Timeout,
        start: bytes = b"",
    ) -> _Answer:
        """The answer, its body up to the limit; its code counts even if the body is cut off."""
        body = _Body(call.workspace)
        value: object = None
        try:
            async with contextlib.AsyncExitStack() as alone:
                await body.add(start)
                async for piece in _pieces(response):
                    if body.is_small and body.size + len(piece) > _SMALL_BODY:
                        await alone.enter_async_context(self._exclusive(call, clock))
                    await body.add(piece)
                    if body.size > call.limit:
                        break
                else:
                    value = await body.value()
        except _LOST:
            pass
        finally:
            if value is None and body.spool.taken:
                await _in_thread(body.spool.discard)
        data = value if isinstance(value, dict) else {}
        return _Answer(response.status, response.headers, body.start, body.size, data, body.spool)

    @contextlib.asynccontextmanager
    async def _exclusive(self, call: _Endpoint, clock: asyncio.Timeout) -> AsyncIterator[None]:
        """While a large body is read, no other is; what waits for that is not the API's fault."""
        if call.workspace is None:
            yield  # its limit is below
            return
        clock.reschedule(None)
        async with self._one_large, call.workspace.exclusive():
            if call.patience is not None:
                clock.reschedule(asyncio.get_running_loop().time() + call.patience)
            yield

    async def _translated(self, what: object, unclear: type[SongApiError], work: Awaitable[T]) -> T:
        """Await `work`; what the network does to it becomes an error of ours."""
        failure: SongApiError
        try:
            return await work
        except _NO_ADDRESS as error:
            failure = BadOutput(f"{what}: {self._plain(f'{type(error).__name__}: {error}')}")
        except _NOT_CONNECTED as error:
            failure = NotReached(f"{what}: {self._plain(f'{type(error).__name__}: {error}')}")
        except _LOST as error:
            failure = unclear(f"{what}: {self._plain(f'{type(error).__name__}: {error}')}")
        raise failure  # out here, so that it has no context: see the module

    def _raise_if_failed(self, call: _Endpoint, answer: _Answer, *, accepted: bool = True) -> None:
        # Where nothing was accepted yet, a code about the account or the load says more.
        about_us = call.method == "POST" and answer.code in (401, 402, 403, 404, 406, 429)
        if answer.failed and not about_us:
            words = _words(answer.data.get("error")) or _words(answer.data.get("detail"))
            if answer.word != "FAILED":  # nobody documented it, so it is named
                words = f"The song service ended it as {answer.word}. {words}"
            raise GenerationFailed(
                _for_member(self._without_key(words)),
                by_request=accepted and answer.word in _BY_REQUEST and answer.code < 500,
                accepted=accepted,
            )

    def _unfinished(self, word: str) -> Literal["QUEUED", "PROCESSING"]:
        """What a status that is not final means. A word that nobody knows is polled on."""
        if word in _RUNNING:
            return "PROCESSING"
        new = word not in _WAITING and word not in self._unknown_words
        if new and len(self._unknown_words) < _MOST_UNKNOWN:
            self._unknown_words.add(word)
            log.warning("unknown status %s from the song API, polling on", word)
        return "QUEUED"

    def _refusal(self, call: _Endpoint, answer: _Answer) -> SongApiError:
        """The error that an answer means which is not what was asked for."""
        says = self._account_of(call, answer)
        match answer.code:
            case 403 if call.method == "POST":
                return SubmitForbidden(says)
            case 401 | 403:
                return KeyRefused(says)
            case 404:
                return call.missing(says)
            case 402 | 406:
                return OutOfCredits(says)
            case 429:
                seconds = retry_after(answer.headers)
                self._rate_limiter.refused(seconds)
                return RateLimited(seconds)
            case 408:
                return call.unclear(says)
            case code if 400 <= code < 500:
                return RequestRejected(says)
            case code if 300 <= code < 400 and call.method == "POST":
                return KeyRefused(f"{says} (a redirect: is the API's address right?)")
        if answer.fine and answer.size > call.limit > _SMALL_BODY:
            return BadOutput(f"{call}: {answer.code}, a body over {call.limit:,} bytes")
        return call.unclear(says)

    def _account_of(self, call: _Endpoint, answer: _Answer) -> str:
        body = answer.start.decode("utf-8", "replace")
        return f"{call}: {answer.code} {self._plain(body)}".rstrip()

    def _plain(self, text: str) -> str:
        """One short line for the log, without the key and without queries."""
        return one_line(without_queries(self._without_key(text)), _MAX_LOGGED)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    # Files

    async def _fetch(self, url: URL, workspace: Workspace) -> int:
        for _ in range(MAX_REDIRECTS + 1):
            kept = await self._hop(url, workspace)
            if isinstance(kept, int):
                return kept
            url = kept
        raise BadOutput(f"{_shown(url)}: more than {MAX_REDIRECTS} redirects")

    async def _hop(self, url: URL, workspace: Workspace) -> URL | int:
        if _origin(url) == _origin(self._root):
            return await self._get(self._session, url, workspace, {"x-api-key": self._key})
        guard = GuardedSockets(url.host or "", self._allow)
        # A session for each file: songs are seconds apart, so there is no connection worth
        # keeping, no cookie either, and nothing for the caller to close.
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, use_dns_cache=False, socket_factory=guard
        )
        try:
            async with aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            ) as session:
                return await self._get(session, url, workspace, {})
        except aiohttp.ClientConnectorError:
            if guard.refused is None:
                raise
        raise BadOutput(f"{_shown(url)}: {guard.refused}")

    async def _get(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        workspace: Workspace,
        headers: Mapping[str, str],
    ) -> URL | int:
        """Keep the file and return its bytes, or return where it is said to be instead."""
        async with session.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            allow_redirects=False,
            read_bufsize=_BUFFER,
            timeout=_FILE,
        ) as response:
            code = response.status
            if code in _REDIRECTS and "Location" in response.headers:
                return _file_address(response.headers["Location"], url)
            if code in (408, 429) or code >= 500:
                raise ApiUnavailable(f"{_shown(url)}: {code}")
            if not 200 <= code < 300:
                raise OutputMissing(f"{_shown(url)}: {code}")
            return await _keep(response, workspace)


def payload(request: SongRequest) -> dict[str, object]:
    """Every parameter, always: left out, `lyrics` and `seed` are the API's own samples."""
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


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait after a 429, from 1 to 300; 10 when the API does not say (RFC 9110, 10.2.3).

    A date is held against the answer's own `Date`: our clock may be wrong.
    """
    text = headers.get("Retry-After", "").strip()
    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            seconds = float(text)
        else:
            wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
            seconds = wait.total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: one date with a zone, one without
        seconds = _RETRY_AFTER_UNKNOWN
    shortest, longest = _RETRY_AFTER
    return min(max(seconds, shortest), longest)


class _TooManyChunks(SongwrightError, aiohttp.ClientPayloadError):
    """A body in pieces so small that taking them apart would keep the loop busy."""


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        _TooManyChunks: its chunks (RFC 9112, 7.1) are too many for its bytes. Each costs as much as
            a kilobyte does otherwise, and 64 MB in chunks of one byte held the loop for a minute.
    """
    chunks = size = 0
    async for data, whole_chunk in response.content.iter_chunks():
        chunks += whole_chunk
        size += len(data)
        if chunks > _FREE_CHUNKS + size // _BYTES_A_CHUNK:
            raise _TooManyChunks(f"{chunks:,} chunks for {size:,} bytes")
        yield data


# What an answer holds


class _Body:
    """An answer's body as it comes: a small one in memory, of a larger one an outline."""

    def __init__(self, workspace: Workspace | None) -> None:
        self.spool = Spool() if workspace is None else Spool(workspace.file, workspace.limit)
        self.start = b""
        self.size = 0
        self._outline = Outline(self.spool)
        self._piece = bytearray()
        self._in_outline = False

    @property
    def is_small(self) -> bool:
        return self.size <= _SMALL_BODY

    async def add(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            OSError: a song in them can't be written.
        """
        self._piece += piece
        self.size += len(piece)
        self.start = self.start or bytes(self._piece)[: 4 * _MAX_LOGGED]
        if len(self._piece) > _PIECE:
            self._in_outline = True
            await self._hand_over()

    async def value(self) -> object:
        """What the body says, when it is over; None if nothing that is understood."""
        if not self._in_outline:
            return parse(bytes(self._piece))
        await self._hand_over()
        return await _in_thread(self._outline.value)

    async def _hand_over(self) -> None:
        piece = bytes(self._piece)
        self._piece.clear()
        await _in_thread(self._outline.feed, piece)


def _job_status(path: str, workspace: Workspace) -> _Endpoint:
    return _Endpoint(
        "GET", path, _LOOK, SongGone, ApiUnavailable, workspace, patience=_LOOK_PATIENCE
    )


def _is_text(start: bytes) -> bool:
    """JSON or HTML: no audio format begins with these."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b'"', b"<")


def _request_id(value: object) -> str | None:
    """An id that fits into a path; some queues number their jobs."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if _REQUEST_ID.fullmatch(text) else None


def _is_prose(start: bytes) -> bool:
    """Text of any kind: the header of every audio format has bytes that no text has."""
    return _is_text(start) or re.fullmatch(rb"[\t\n\r\x20-\x7e]+", start) is not None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON's whole numbers have any number of digits
        return None
    return number if math.isfinite(number) else None


def _inference_seconds(data: Mapping[str, Any]) -> float | None:
    metrics = data.get("metrics")
    seconds = _number(metrics.get("inference_time")) if isinstance(metrics, dict) else None
    return seconds if seconds is not None and seconds >= 0 else None


def find_output(value: object, taken: Mapping[str, Song | Inner] = {}) -> Output | None:
    """The song in what the API calls `output`: an address, base64, or a list or object of them.

    An address that looks like audio goes before any other, one that looks like the song's cover or
    video comes last; any address goes before base64, and long base64 before short (what stands
    beside it may be a checksum). `taken`: see `outline.Spool`.

    Raises:
        BadOutput: it was decoded already, and is broken or over the maximum.
    """
    found = list(itertools.islice(texts(value, taken), _MOST_TEXTS))
    written = [(name, text) for name, text in found if isinstance(text, str)]
    addresses = [(f"{n} {t[:MAX_ADDRESS]}", t) for n, t in written if _is_address(t)]
    if addresses:
        return Output(url=min(addresses, key=lambda address: _unlike_audio(address[0]))[1].strip())
    in_base64 = [text for _, text in written if DATA.match(text) or BASE64.match(text)]
    songs = [text for _, text in found if isinstance(text, Song)]
    if songs:
        return _decoded_output(max(songs, key=lambda song: song.length))
    longest = max(in_base64, key=len, default=None)
    data = None if longest is None else DATA.match(longest)
    return None if longest is None else Output(base64=longest[data.end() if data else 0 :])


# No character of base64 is a colon, so what has a scheme is an address (or a data: one); an MP3's
# base64 does begin with "//", so what has none is never taken for an address.
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:")
_AUDIO = re.compile(r"audio|\.(?:wav|mp3|flac|ogg|opus|m4a)\b", re.IGNORECASE)
_PICTURE = re.compile(
    r"image|cover|picture|thumbnail|video|\.(?:png|jpe?g|webp|gif|mp4|webm)\b", re.IGNORECASE
)


def _unlike_audio(described: str) -> int:
    """How little an address, with its name in the answer, looks like a song's; 0 is the most."""
    if _AUDIO.search(described):
        return 0
    return 2 if _PICTURE.search(described) else 1


def _is_address(text: str) -> bool:
    return _SCHEME.match(text) is not None and DATA.match(text) is None


def _settle_output(value: object, spool: Spool) -> Output | None:
    """The song, and no files but its own."""
    output: Output | None = None
    try:
        output = find_output(value, spool.taken)
    finally:
        spool.discard(but=None if output is None else output.file)
        spool.taken.clear()
    return output


def _decoded_output(song: Song) -> Output:
    if song.error is not None:
        raise BadOutput(song.error)
    return Output(file=song.file)


def _words(value: object, depth: int = 0) -> str:
    """What an error says: a string, an object with a message, or a list of either."""
    if isinstance(value, str):
        return value.strip()
    if depth < 4 and isinstance(value, dict):
        names = ("message", "detail", "error", "msg")
        return next((w for n in names if (w := _words(value.get(n), depth + 1))), "")
    if depth < 4 and isinstance(value, list):
        return "; ".join(w for inner in value[:5] if (w := _words(inner, depth + 1)))
    return ""


def _for_member(words: str) -> str:
    """One line without markup and without what a signed address hides; at most `MAX_DETAIL`."""
    words = re.sub(r"<[^<>]*>", " ", words[:4000])
    words = one_line(without_queries(html.unescape(words)), MAX_DETAIL)
    return words or "The model failed without saying why."


# Where a file may be


def _shown(url: URL) -> str:
    return f"GET {without_queries(str(url))}"


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, (url.host or "").lower(), url.port


def _file_address(text: str, base: URL | None = None) -> URL:
    """Read an address, relative to `base` if given.

    Raises:
        BadOutput: it is not http(s), has no host, is too long, or brings a user name of its own.
    """
    if len(text) > MAX_ADDRESS:
        raise BadOutput(f"an address of {len(text):,} characters")
    try:
        # As it stands: another spelling of the same query can break its signature.
        url = URL(text, encoded=re.fullmatch(r"[\x21-\x7e]+", text) is not None)
        url = url if base is None else base.join(url)
        fits = url.scheme in ("http", "https") and url.host and url.user is url.password is None
    except ValueError:
        fits = False
    if not fits:
        raise BadOutput(f"not an address to fetch: {one_line(without_queries(text), 200)}")
    return url


# Onto the disk


async def _keep(response: aiohttp.ClientResponse, workspace: Workspace, start: bytes = b"") -> int:
    """Stream a body to its file. Bytes count as decoded, so that compression hides none.

    The HTTP library holds the body against its announced length and fails if it is cut off.
    """
    name, limit = _shown(response.url), workspace.limit
    if (response.content_length or 0) > limit:
        raise BadOutput(f"{name}: {response.content_length:,} bytes, over {limit:,}")
    part = _PartFile(workspace.file)
    block = bytearray(start)
    size = len(start)
    try:
        await _in_thread(part.open)
        async for chunk in _pieces(response):
            block += chunk
            size += len(chunk)
            if size > limit:
                raise BadOutput(f"{name}: over {limit:,} bytes")
            if len(block) >= _BLOCK:
                _check_is_no_text(name, block, size)
                await _in_thread(part.write, bytes(block))
                block.clear()
        _check_is_no_text(name, block, size)
        await _in_thread(part.write, bytes(block))
        await _in_thread(part.commit)
    except _TooManyChunks as error:
        raise BadOutput(f"{name}: {error}") from None
    finally:
        await _in_thread(part.discard)
    return size


def _check_is_no_text(name: str, block: bytearray, size: int) -> None:
    """Refuse a body that is empty or begins as text: storage that has no such file yet says so.

    `size` is that of the body so far: what comes after its first block may be anything.
    """
    if size == 0:
        raise OutputMissing(f"{name}: empty")
    if size == len(block) and _is_prose(bytes(block[:_HEADER])):
        raise OutputMissing(f"{name}: text instead of audio")


def _write_base64(text: str, workspace: Workspace) -> int:
    """What was in a small answer: all at once."""
    try:
        data = decoded(plain_base64(text))
    except ValueError as error:
        raise BadOutput(f"base64: {error}") from error
    if not 0 < len(data) <= workspace.limit:
        raise BadOutput(f"base64: {len(data):,} bytes, of at most {workspace.limit:,}")
    part = _PartFile(workspace.file)
    try:
        part.open()
        part.write(data)
        part.commit()
    finally:
        part.discard()
    return len(data)


def _put_in_place(file: Path, target: Path) -> int:
    """Give a song that was in an answer its name, its bytes surely on the disk."""
    with file.open("rb+") as written:  # Windows syncs no file that is open for reading alone
        os.fsync(written.fileno())
    file.replace(target)
    return target.stat().st_size


class _PartFile:
    """A file under a name of its own until it is whole. Its methods block.

    The name is always the same, so what a killed process left behind is overwritten by the next.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._file: BinaryIO | None = None

    def open(self) -> None:
        self._file = self._part.open("wb")

    def write(self, data: bytes) -> None:
        self._opened.write(data)

    def commit(self) -> None:
        """Give the file its name, its bytes surely on the disk: the API forgets in an hour."""
        self._opened.flush()
        os.fsync(self._opened.fileno())
        self._opened.close()
        self._part.replace(self._target)

    def discard(self) -> None:
        """Leave nothing behind; after `commit` there is nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # closing writes what is buffered: the disk is full
                self._file.close()
            self._part.unlink(missing_ok=True)

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("not open")
        return self._file


async def _in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks in a thread. Cancelled, it waits for the thread, which holds the file."""
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    return await run_to_completion(work)
