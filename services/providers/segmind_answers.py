"""Read Segmind's answers: the status, where the song is, and which error it is.

Whatever goes wrong becomes one error of `services.errors`, by the table of the API's page and of
what its own SDK does. Messages are for the operator's log: method, path, code and a shortened body,
without the key and without query strings, which hold signatures.
"""

import asyncio
import contextlib
import html
import itertools
import math
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from services.errors import (
    BadOutput,
    GenerationFailed,
    KeyRefused,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    SongApiError,
    SubmitForbidden,
)
from services.providers.base import BASE64_OVERHEAD, Output, Workspace
from services.providers.downloads import LOST, MAX_ADDRESS, in_thread, read_pieces
from services.providers.json_stream import DATA, LONG, Inner, Outline, Song, Spool, parse, texts
from services.providers.redaction import (
    MAX_LOGGED,
    one_line,
    redact,
    without_queries,
    without_secret,
)

MAX_DETAIL = 300
"""Characters of a failure's reason shown to a member."""

SMALL_BODY = BASE64_OVERHEAD
"""Bytes. A larger body holds a song, and is read while no other is."""

_PIECE = LONG  # bytes of a body that are parsed at once, or handed over as its next piece
_MOST_TEXTS = 1_000  # that are searched for a song
_RETRY_AFTER = (1.0, 300.0)
_RETRY_AFTER_UNKNOWN = 10.0
# An id goes into paths; the first character keeps "." and ".." out of them.
_REQUEST_ID = re.compile(r"[A-Za-z0-9][\x21-\x7e]{0,199}")

# QUEUED, PROCESSING, COMPLETED and FAILED are documented. The others are what queue APIs use for
# the same (fal-js 153, vibedgames 182); they count only where the answer's code is a good one,
# since `{"status": "error"}` is also how a server words a 503.
WAITING = {"QUEUED", "IN_QUEUE", "PENDING", "WAITING", "SUBMITTED", "ACCEPTED", "CREATED"}
RUNNING = {"PROCESSING", "IN_PROGRESS", "RUNNING", "STARTED", "STARTING", "GENERATING"}
_SUCCEEDED = {"COMPLETED", "COMPLETE", "SUCCESS", "SUCCEEDED", "SUCCESSFUL", "DONE", "FINISHED"}
# Of the next ones, those that what was requested may be the reason for.
_BY_REQUEST = {"FAILED", "FAIL", "REJECTED", "REFUSED", "DENIED", "BLOCKED", "INVALID"}
_ENDED_BADLY = {
    *("FAILED", "FAIL", "FAILURE", "ERROR", "ERRORED", "CANCELLED", "CANCELED", "CANCEL"),
    *("TIMEOUT", "TIMED_OUT", "TIMEDOUT", "EXPIRED", "REJECTED", "REFUSED", "DENIED", "BLOCKED"),
    *("ABORTED", "TERMINATED", "KILLED", "STOPPED", "DELETED", "INVALID", "CRASHED"),
}
_STATUS_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a call goes, and what its failures mean."""

    method: str
    path: str
    timeout: aiohttp.ClientTimeout
    missing: type[SongApiError]  # 404
    unclear: type[SongApiError]  # 408, 5xx, no answer, or one that can't be read
    workspace: Workspace | None = None  # where the answer may hold a song
    patience: float | None = None
    """Seconds for all of the answer, but for waiting while another song's is read."""

    @property
    def limit(self) -> int:
        """Bytes of the body that are read."""
        return SMALL_BODY if self.workspace is None else self.workspace.largest_body

    def __str__(self) -> str:
        return f"{self.method} /{self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A code with the JSON object of its body, if it was one; `start` is for the log."""

    code: int
    headers: Mapping[str, str]
    start: bytes
    size: int
    data: dict[str, Any]
    spool: Spool

    async def output(self) -> Output | None:
        """Return where the song is, if the answer says so.

        Raises:
            BadOutput: it is in the answer, and broken or over the limit.
        """

        def find() -> Output | None:
            """Find the song, and remove all files but its own."""
            output: Output | None = None
            try:
                output = find_output(self.data.get("output"), self.spool.taken)
            finally:
                self.spool.discard(but=None if output is None else output.file)
                self.spool.taken.clear()
            return output

        return await in_thread(find)  # there may be tens of thousands of values to search

    async def aclose(self) -> None:
        """Remove the songs that were decoded from it, but for one that `output` gave."""
        if self.spool.taken:
            await in_thread(self.spool.discard)

    @property
    def ok(self) -> bool:
        """Return whether the code is a good one."""
        return 200 <= self.code < 300

    @property
    def valid(self) -> bool:
        """Return whether what it says counts: COMPLETED is final whatever the code."""
        return self.ok or self.word == "COMPLETED"

    @property
    def word(self) -> str:
        """The status as the API spells it, but in capitals; empty if it is no word."""
        status = self.data.get("status")
        word = re.sub(r"[ -]", "_", status[:50].strip().upper()) if isinstance(status, str) else ""
        return word if _STATUS_WORD.fullmatch(word) else ""

    @property
    def completed(self) -> bool:
        """Return whether the song was made."""
        return self.word == "COMPLETED" or (self.ok and self.word in _SUCCEEDED)

    @property
    def failed(self) -> bool:
        """Return whether it will not be made: FAILED is final whatever the code."""
        good = self.ok or self.code == 422
        return self.word == "FAILED" or (good and self.word in _ENDED_BADLY)

    @property
    def request_id(self) -> str | None:
        """An id that can stand in a path; some queues number their jobs."""
        value = self.data.get("request_id")
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        return text if _REQUEST_ID.fullmatch(text) else None


def number(value: object) -> float | None:
    """Return a finite number of JSON; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # JSON's integers have any number of digits
        return None
    return found if math.isfinite(found) else None


# Bodies


class AnswerReader:
    """Reads answers; of those over a mebibyte, one at a time."""

    def __init__(self) -> None:
        self._one_large = asyncio.Lock()

    async def read(
        self,
        response: aiohttp.ClientResponse,
        call: Endpoint,
        clock: asyncio.Timeout,
        start: bytes = b"",
    ) -> Answer:
        """Read the body up to the limit; its code counts even if the body is cut off.

        `start` was read of it before. `clock` stands still while another large body is read.
        """
        body = _Body(call.workspace)
        value: object = None
        try:
            async with contextlib.AsyncExitStack() as exclusive:
                await body.add(start)
                async for piece in read_pieces(response):
                    if body.is_small and body.size + len(piece) > SMALL_BODY:
                        await exclusive.enter_async_context(self._exclusive(call, clock))
                    await body.add(piece)
                    if body.size > call.limit:
                        break
                else:
                    value = await body.value()
        except LOST:
            pass
        finally:
            if value is None and body.spool.taken:
                await in_thread(body.spool.discard)
        data = value if isinstance(value, dict) else {}
        return Answer(response.status, response.headers, body.start, body.size, data, body.spool)

    @contextlib.asynccontextmanager
    async def _exclusive(self, call: Endpoint, clock: asyncio.Timeout) -> AsyncIterator[None]:
        """While a large body is read, no other is; waiting for that is not the API's fault."""
        if call.workspace is None:
            yield  # its limit is below
            return
        clock.reschedule(None)
        async with self._one_large, call.workspace.exclusive():
            if call.patience is not None:
                clock.reschedule(asyncio.get_running_loop().time() + call.patience)
            yield


class _Body:
    """An answer's body while it is read: a small one in memory, of a larger one an outline."""

    def __init__(self, workspace: Workspace | None) -> None:
        self.spool = Spool() if workspace is None else Spool(workspace.file, workspace.limit)
        self.start = b""
        self.size = 0
        self._outline = Outline(self.spool)
        self._piece = bytearray()
        self._in_outline = False

    @property
    def is_small(self) -> bool:
        return self.size <= SMALL_BODY

    async def add(self, piece: bytes) -> None:
        """Add the next bytes.

        Raises:
            OSError: a song in them can't be written.
        """
        self._piece += piece
        self.size += len(piece)
        self.start = self.start or bytes(self._piece)[: 4 * MAX_LOGGED]
        if len(self._piece) > _PIECE:
            self._in_outline = True
            await self._hand_over()

    async def value(self) -> object:
        """Return what the body says, when it is over; None if that can't be read."""
        if not self._in_outline:
            return parse(bytes(self._piece))
        await self._hand_over()
        return await in_thread(self._outline.value)

    async def _hand_over(self) -> None:
        piece = bytes(self._piece)
        self._piece.clear()
        await in_thread(self._outline.feed, piece)


# Where the song is

# No character of base64 is a colon, so what has a scheme is an address (or a data: one); an MP3's
# base64 does begin with "//", so what has none is never taken for an address.
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:")
_AUDIO = re.compile(r"audio|\.(?:wav|mp3|flac|ogg|opus|m4a)\b", re.IGNORECASE)
_PICTURE = re.compile(
    r"image|cover|picture|thumbnail|video|\.(?:png|jpe?g|webp|gif|mp4|webm)\b", re.IGNORECASE
)


def find_output(value: object, taken: Mapping[str, Song | Inner] = {}) -> Output | None:
    """Find the song in what the API calls `output`: an address, base64, or several of them.

    An address that resembles audio goes before any other, one that resembles the song's cover or
    video comes last; any address goes before base64, and long base64 before short. Base64 that was
    not `taken` out of the answer (see `json_stream.Spool`) is too short for a song.

    Raises:
        BadOutput: it was decoded already, and is broken or over the limit.
    """
    found = list(itertools.islice(texts(value, taken), _MOST_TEXTS))
    addresses = [
        (f"{name} {text[:MAX_ADDRESS]}", text)
        for name, text in found
        if isinstance(text, str) and _SCHEME.match(text) and not DATA.match(text)
    ]
    if addresses:
        return Output(url=min(addresses, key=_unlike_audio)[1].strip())
    songs = [text for _, text in found if isinstance(text, Song)]
    if not songs:
        return None
    song = max(songs, key=lambda song: song.length)
    if song.error is not None:
        raise BadOutput(song.error)
    return Output(file=song.file)


def _unlike_audio(address: tuple[str, str]) -> int:
    """Return how little it resembles a song's, with its name in the answer; 0 is the most."""
    if _AUDIO.search(address[0]):
        return 0
    return 2 if _PICTURE.search(address[0]) else 1


# Errors


def error_of(call: Endpoint, answer: Answer, key: str) -> SongApiError:
    """Return the error that an answer means which is not what was expected."""
    says = describe(call, answer, key)
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
            return RateLimited(retry_after(answer.headers))
        case 408:
            return call.unclear(says)
        case code if 400 <= code < 500:
            return RequestRejected(says)
        case code if 300 <= code < 400 and call.method == "POST":
            return KeyRefused(f"{says} (a redirect: is the API's address right?)")
    if answer.ok and answer.size > call.limit > SMALL_BODY:
        return BadOutput(f"{call}: {answer.code}, a body over {call.limit:,} bytes")
    return call.unclear(says)


def raise_if_failed(call: Endpoint, answer: Answer, key: str, *, accepted: bool = True) -> None:
    """Raise GenerationFailed where the model has failed or blocked the content.

    `accepted`: whether the API had, or may have, accepted the song.
    """
    # Where nothing was accepted yet, a code about the account or the load says more.
    about_us = call.method == "POST" and answer.code in (401, 402, 403, 404, 406, 429)
    if answer.failed and not about_us:
        detail = _message(answer.data.get("error")) or _message(answer.data.get("detail"))
        if answer.word != "FAILED":  # nobody documented it, so it is named
            detail = f"{answer.word} {detail}"
        # One line without markup and without what a signed address hides.
        text = re.sub(r"<[^<>]*>", " ", without_secret(detail, key)[:4000])
        text = one_line(without_queries(html.unescape(text)), MAX_DETAIL)
        raise GenerationFailed(
            text,
            by_request=accepted and answer.word in _BY_REQUEST and answer.code < 500,
            accepted=accepted,
        )


def describe(call: Endpoint, answer: Answer, key: str) -> str:
    """Return a line for the log: method, path, code and the beginning of the body."""
    body = answer.start.decode("utf-8", "replace")
    return f"{call}: {answer.code} {redact(body, key)}".rstrip()


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait after a 429, from 1 to 300; 10 when the API does not say (RFC 9110, 10.2.3).

    A date is compared with the answer's own `Date`: our clock may be wrong.
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


def _message(value: object, depth: int = 0) -> str:
    """Return the message of an error: a string, an object with one, or a list of either."""
    if isinstance(value, str):
        return value.strip()
    if depth < 4 and isinstance(value, dict):
        names = ("message", "detail", "error", "msg")
        return next((text for n in names if (text := _message(value.get(n), depth + 1))), "")
    if depth < 4 and isinstance(value, list):
        return "; ".join(text for inner in value[:5] if (text := _message(inner, depth + 1)))
    return ""
