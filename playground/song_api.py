"""The song API on loopback: v1 and v2 as documented, with their errors and one hour of retention.

`python -m playground.song_api --port N` runs the server by itself. It accepts any key of the
documented form. Two tags in `genres` let a song fail at its end: `fail` (the model fails) and
`blocked` (the content is refused).
"""

import argparse
import asyncio
import base64
import contextlib
import errno
import importlib
import json
import logging
import math
import multiprocessing
import os
import random
import re
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

from aiohttp import web
from aiohttp.typedefs import Handler

log = logging.getLogger(__name__)

MODEL = "ace-step-music"
PLAYGROUND_KEY = "SG_0123456789abcdef"
"""An example; any other key of the documented form works too."""

RETENTION = 3600.0
"""Seconds that a result is available."""

SAMPLE_SEED = 69822014
SAMPLE_LYRICS = (
    "[Verse] \n No brush, no pen, just sparks and code \n You lit the path I\u2019ve never known \n"
    " [Chorus] You make my mind \n Where chaos turns to perfect lines \n No hands, no rules \n"
    " Just visions breaking every rule \n [Outro] You\u2019re not a tool, you\u2019re the design \n"
    " You\u2019re the storm \u2014 you\u2019re Segmind"
)
"""The API's default of `lyrics`."""

_KEY = re.compile(r"SG_[0-9a-fA-F]{16}")
_WINDOW = 60.0
_FILE = web.RequestKey("file", Path)

Parameters = Mapping[str, Any]
T = TypeVar("T")
OutputShape = Literal["url", "list", "object", "base64", "data"]


class Composer(Protocol):
    """Makes a WAV; the same arguments give the same bytes."""

    def __call__(
        self,
        *,
        genres: str,
        lyrics: str,
        seconds: int,
        seed: int,
        steps: int,
        cfg: float,
        shift: float,
        lyrics_strength: float,
    ) -> bytes: ...


def compose(**request: object) -> bytes:
    """Compose with `playground.composer`.

    Imported here, so that only the pool's process loads the synthesiser's libraries.
    """
    music: bytes = importlib.import_module("playground.composer").compose(**request)
    return music


class Timing(NamedTuple):
    """Seconds a song waits for a worker and then runs."""

    queued: float
    running: float


def usual_timing(parameters: Parameters) -> Timing:
    """Return about 1 s in the queue and 4 s of work for the default song, so each state is visible.

    The real API takes 11.6 s; more seconds and steps take longer in both. Depends on the seed.
    """
    rng = random.Random(parameters["seed"])
    size = parameters["output_seconds"] / 60 * parameters["steps"] / 50
    return Timing(rng.uniform(0.8, 1.2), (1 + 3 * size) * rng.lognormvariate(0, 0.25))


@dataclass(frozen=True, slots=True)
class Call:
    """A received request: `at` is the server's clock, `body` the parsed JSON or None."""

    method: str
    path: str
    body: Any
    at: float
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """Replaces the response to a call.

    Args:
        status: sent instead, with `body` and `headers`; None sends the real response.
        delay: seconds before anything happens.
        cut: `"answer"` closes the connection before the response, `"body"` after half of the body.
        carried_out: the call takes effect although its response is replaced or cut.
    """

    status: int | None = None
    body: bytes | str = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: Literal["answer", "body"] | None = None
    carried_out: bool = False


@dataclass(frozen=True, slots=True)
class _Song:
    id: str
    parameters: Parameters
    submitted: float
    timing: Timing
    file: Path
    composed: Future[None]
    signature: str

    def ends(self) -> float:
        return self.submitted + self.timing.queued + self.timing.running


class SongApiServer:
    """The API's state and its routes; `serve` puts it on a port.

    Args:
        compose: composes in `executor`; must be picklable for a pool of processes.
        executor: where to compose; None composes in the event loop, for composers that take no
            time.
        clock: monotonic seconds, for states, expiry and the rate limit.
        sleep: waits by that clock (v1's response, `Fault.delay`).
        timing: how long a song takes.
        key: the only key accepted; None accepts any of the documented form.
        credits: of the account; each accepted song costs one.
        rpm: calls in a sliding minute before 429, 0 for no limit. Files are not counted.
        output: the shape of `output` if the request does not set base64.
        output_in_status: whether the status of a finished song has `output` too.
        fault: returns the fault of each call, or None.
    """

    def __init__(
        self,
        compose: Composer = compose,
        *,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        timing: Callable[[Parameters], Timing] = usual_timing,
        key: str | None = None,
        credits: float = 1_000.0,
        rpm: int = 50,
        output: OutputShape = "url",
        output_in_status: bool = False,
        fault: Callable[[Call], Fault | None] | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.credits = credits
        self.fault = fault
        self.root = ""  # known once it is served
        self.key = key or PLAYGROUND_KEY
        self._any_key = key is None
        self._compose = compose
        self._executor = executor or _InlineExecutor()
        self._clock = clock
        self._sleep = sleep
        self._timing = timing
        self._rpm = rpm
        self._output = output
        self._output_in_status = output_in_status
        self._recent: deque[float] = deque()
        self._songs: dict[str, _Song] = {}
        self._folder = Path()  # the files', while it is served

    def application(self, folder: Path) -> web.Application:
        """Return the application, which stores files in `folder`."""
        self._folder = folder
        app = web.Application(middlewares=[self._scripted, _errors_as_json, self._account])
        app.router.add_get("/v1/get-user-credits", self._get_credits)
        app.router.add_post("/v1/{model}", self._make)
        app.router.add_post("/v2/{model}", self._submit)
        app.router.add_get("/v2/requests/{id}/status", self._status)
        app.router.add_get("/v2/requests/{id}", self._result)
        app.router.add_get("/files/{id}.wav", self._file)
        return app

    # What comes before every call

    @web.middleware
    async def _scripted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        call = Call(
            request.method, request.path, await _json(request), self._clock(), request.headers
        )
        self.calls.append(call)
        fault = self.fault(call) if self.fault is not None else None
        if fault is None:
            return await handler(request)
        await self._sleep(fault.delay)
        answer: web.StreamResponse = web.Response(status=503)
        if fault.carried_out or (fault.status is None and fault.cut != "answer"):
            answer = await handler(request)
        if fault.status is not None:
            body = fault.body.encode() if isinstance(fault.body, str) else fault.body
            answer = web.Response(status=fault.status, body=body, headers=fault.headers)
        if fault.cut == "answer":
            _cut(request)
        elif fault.cut == "body":
            answer = await _half(request, answer)
        return answer

    @web.middleware
    async def _account(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check key and rate limit, except for files, which are in a separate storage."""
        if request.path.startswith("/files/"):
            return await handler(request)
        key = request.headers.get("x-api-key", "")
        if not (_KEY.fullmatch(key) if self._any_key else key == self.key):
            return _error(401, "Missing or invalid API key")
        if (wait := self._over_the_limit()) is not None:
            return _error(429, "Too many requests", {"Retry-After": str(wait)})
        return await handler(request)

    def _over_the_limit(self) -> int | None:
        """Count a call. Return the seconds until the next is allowed if it is over the limit."""
        now = self._clock()
        while self._recent and self._recent[0] <= now - _WINDOW:
            self._recent.popleft()
        if self._rpm and len(self._recent) >= self._rpm:
            return max(1, math.ceil(self._recent[0] + _WINDOW - now))
        self._recent.append(now)
        return None

    # The calls

    async def _get_credits(self, _: web.Request) -> web.Response:
        return web.json_response({"credits": self.credits})

    async def _submit(self, request: web.Request) -> web.Response:
        song = await self._accept(request)
        address = f"{request.url.origin()}/v2/requests/{song.id}"
        return web.json_response(
            {
                "request_id": song.id,
                "status": "QUEUED",
                "status_url": f"{address}/status",
                "response_url": address,
            }
        )

    async def _status(self, request: web.Request) -> web.Response:
        song = self._find(request)
        return await self._describe(request, song, with_output=self._output_in_status)

    async def _result(self, request: web.Request) -> web.Response:
        return await self._describe(request, self._find(request), with_output=True)

    async def _make(self, request: web.Request) -> web.StreamResponse:
        """Handle v1: one call that takes as long as the song; the response is the audio."""
        song = await self._accept(request)
        await self._sleep(sum(song.timing))
        # Errors are reported by `_problem`.
        await asyncio.gather(asyncio.wrap_future(song.composed), return_exceptions=True)
        if problem := _problem(song):
            return web.json_response({"status": "FAILED", "error": problem}, status=422)
        if song.parameters["base64"]:
            audio = await asyncio.to_thread(song.file.read_bytes)
            return web.json_response({"output": base64.b64encode(audio).decode()})
        return _audio(request, song)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        song = self._find(request)
        if request.query.get("signature") != song.signature:
            return _error(403, "The signature does not match")
        return _audio(request, song)

    # Songs

    async def _accept(self, request: web.Request) -> _Song:
        if request.match_info["model"] != MODEL:
            raise web.HTTPNotFound(reason="Model not found")
        parameters = read_parameters(await _json(request))
        if self.credits < 1:
            raise web.HTTPNotAcceptable(reason="Not enough credits to process request")
        self.credits -= 1
        self._delete_expired()
        song_id = secrets.token_hex(16)
        file = self._folder / f"{song_id}.wav"
        song = _Song(
            id=song_id,
            parameters=parameters,
            submitted=self._clock(),
            timing=self._timing(parameters),
            file=file,
            composed=self._start_composing(parameters, file),
            signature=secrets.token_hex(16),
        )
        self._songs[song_id] = song
        return song

    def _start_composing(self, parameters: Parameters, file: Path) -> Future[None]:
        if _requested_failure(parameters):
            return _InlineExecutor().submit(lambda: None)
        work = self._executor.submit(_compose_to, file, self._compose, _arguments(parameters))
        work.add_done_callback(_log_failure)
        return work

    def _delete_expired(self) -> None:
        for song in list(self._songs.values()):
            if self._expired(song):
                song.file.unlink(missing_ok=True)
                del self._songs[song.id]

    def _expired(self, song: _Song) -> bool:
        return self._clock() >= song.ends() + RETENTION

    def _find(self, request: web.Request) -> _Song:
        song = self._songs.get(request.match_info["id"])
        if song is None or self._expired(song):
            raise web.HTTPNotFound(reason="Unknown or expired request_id")
        return song

    async def _describe(
        self, request: web.Request, song: _Song, *, with_output: bool
    ) -> web.Response:
        body: dict[str, Any] = {"request_id": song.id}
        now = self._clock()
        if now < song.submitted + song.timing.queued:
            return web.json_response(body | {"status": "QUEUED"})
        if now < song.ends() or not song.composed.done():
            return web.json_response(body | {"status": "PROCESSING"})
        body["metrics"] = {"inference_time": round(song.timing.running, 3)}
        if problem := _problem(song):
            return web.json_response(body | {"status": "FAILED", "error": problem}, status=422)
        if with_output:
            body["output"] = await self._output_of(request, song)
        return web.json_response(body | {"status": "COMPLETED"})

    async def _output_of(self, request: web.Request, song: _Song) -> object:
        shape = "base64" if song.parameters["base64"] else self._output
        url = f"{request.url.origin()}/files/{song.id}.wav?signature={song.signature}"
        match shape:
            case "url":
                return url
            case "list":
                return [url]
            case "object":
                return {"audio_url": url, "content_type": "audio/wav"}
        audio = base64.b64encode(await asyncio.to_thread(song.file.read_bytes)).decode()
        return f"data:audio/wav;base64,{audio}" if shape == "data" else audio


def read_parameters(body: object) -> dict[str, Any]:
    """Return the documented parameters with their defaults; unknown ones are ignored.

    Raises:
        web.HTTPBadRequest: one is missing, of the wrong type or out of bounds.
    """
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="The body must be a JSON object")
    genres = body.get("genres")
    if not isinstance(genres, str) or not genres.strip():
        raise web.HTTPBadRequest(reason="genres is required: a string")
    lyrics = body.get("lyrics", SAMPLE_LYRICS)
    if not isinstance(lyrics, str):
        raise web.HTTPBadRequest(reason="lyrics must be a string")
    in_base64 = body.get("base64", False)
    if not isinstance(in_base64, bool):
        raise web.HTTPBadRequest(reason="base64 must be true or false")
    return {
        "genres": genres,
        "lyrics": lyrics,
        "output_seconds": _integer(body, "output_seconds", None, 10, 240),
        "steps": _integer(body, "steps", 50, 10, 150),
        "seed": _integer(body, "seed", SAMPLE_SEED, -(2**63), 2**63 - 1),
        "cfg": _number(body, "cfg", 4, 1, 15),
        "shift": _number(body, "shift", 4, 0, 10),
        "lyrics_strength": _number(body, "lyrics_strength", 1, 0.1, 10),
        "base64": in_base64,
    }


def _number(
    body: Mapping[str, Any], name: str, default: float | None, low: float, high: float
) -> float:
    value = body.get(name, default)
    if value is None:
        raise web.HTTPBadRequest(reason=f"{name} is required")
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise web.HTTPBadRequest(reason=f"{name} must be a number from {low} to {high}")
    return value


def _integer(body: Mapping[str, Any], name: str, default: int | None, low: int, high: int) -> int:
    value = _number(body, name, default, low, high)
    if value != int(value):
        raise web.HTTPBadRequest(reason=f"{name} must be an integer")
    return int(value)


def _arguments(parameters: Parameters) -> dict[str, Any]:
    """Map the API's parameters to the composer's arguments."""
    renamed = {k: v for k, v in parameters.items() if k not in ("output_seconds", "base64")}
    return renamed | {"seconds": parameters["output_seconds"]}


def _requested_failure(parameters: Parameters) -> str | None:
    tags = {tag.strip().lower() for tag in parameters["genres"].split(",")}
    if "fail" in tags:
        return "The model failed, because the genres ask for it (`fail`)."
    if "blocked" in tags:
        return "The content was blocked, because the genres ask for it (`blocked`)."
    return None


def _problem(song: _Song) -> str | None:
    """Return why a composed song is FAILED; None if it is not."""
    if song.composed.cancelled() or song.composed.exception() is not None:
        return "The model failed."
    return _requested_failure(song.parameters)


# Answers


def _error(code: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=code, headers=headers)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPClientError as error:
        return _error(error.status, error.reason)


async def _json(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.HTTPRequestEntityTooLarge):
        return None


def _audio(request: web.Request, song: _Song) -> web.FileResponse:
    request[_FILE] = song.file  # for a Fault that sends half of it
    return web.FileResponse(song.file)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def _half(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Send the headers and half of the body, then close the connection."""
    if isinstance(answer, web.FileResponse):
        body = await asyncio.to_thread(request[_FILE].read_bytes)
    else:
        body = cast("bytes", cast("web.Response", answer).body)
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    _cut(request)
    return half


# Composing


class _InlineExecutor(Executor):
    """Runs work immediately in the caller's thread."""

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future has it
            future.set_exception(error)
        return future


def _compose_to(file: Path, composer: Composer, arguments: Mapping[str, Any]) -> None:
    """Compose into a file, in the pool's process, so that no audio crosses the pipe."""
    file.write_bytes(composer(**arguments))


def _log_failure(work: Future[None]) -> None:
    if work.cancelled():
        return
    error = work.exception()
    if isinstance(error, BrokenExecutor):
        log.warning("the composer's process ended before its song")
    elif error is not None:
        log.error("composing failed", exc_info=error)


@contextlib.contextmanager
def composing_pool() -> Iterator[Executor]:
    """Run one composing process of low priority, so that the server stays responsive.

    It ends with the context, and with this process even if that is killed.
    """
    context = multiprocessing.get_context("spawn")
    lifeline, hold = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, context, _set_up_worker, (lifeline,))
    try:
        yield pool
    finally:
        hold.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def _set_up_worker(lifeline: Connection) -> None:  # pragma: no cover - runs in the pool's process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C
    if hasattr(os, "nice"):
        os.nice(10)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()


def _end_with_parent(lifeline: Connection) -> None:  # pragma: no cover - runs in the pool's process
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()  # nothing is sent: it returns when the other end is closed
    os._exit(0)


# Serving


@contextlib.asynccontextmanager
async def serve(server: SongApiServer, port: int = 0) -> AsyncIterator[SongApiServer]:
    """Serve on 127.0.0.1; `server.root` is the address. Port 0: any free port.

    Raises:
        OSError: the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="song-api-", ignore_cleanup_errors=True) as folder:
        runner = web.AppRunner(
            server.application(Path(folder)), access_log=None, shutdown_timeout=0.5
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            server.root = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield server
        finally:
            await runner.cleanup()


async def _serve_until_stopped(port: int) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
    with composing_pool() as pool:
        async with serve(SongApiServer(executor=pool), port) as server:
            print(f"The song API is at {server.root}, for example with the key {server.key}")
            print("Ctrl-C ends it.", flush=True)
            await stopped.wait()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status: 2 if the port can't be used."""
    parser = argparse.ArgumentParser(
        prog="python -m playground.song_api", description="The song API on this machine."
    )
    parser.add_argument("--port", type=_port, default=0, help="default: any free port")
    port = parser.parse_args(arguments).port
    try:
        asyncio.run(_serve_until_stopped(port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        print(f"Port {port} can't be used: {os.strerror(error.errno)}.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
