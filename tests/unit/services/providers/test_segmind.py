"""The song API's client against servers on loopback: every code, every kind of malformed reply."""

import asyncio
import base64
import contextlib
import gzip
import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from db.records import SongRequest
from services.errors import (
    ApiUnavailable,
    BadOutput,
    GenerationFailed,
    KeyRefused,
    NotReached,
    OutOfCredits,
    OutputMissing,
    RateLimited,
    RequestRejected,
    SongApiError,
    SongGone,
    SubmitForbidden,
    SubmitUncertain,
)
from services.providers import addresses, downloads, segmind
from services.providers.addresses import Network, Resolver, is_own, is_public
from services.providers.base import JobStatus, Output, Workspace
from services.providers.rate_limiter import Call, RateLimiter
from services.providers.segmind import Segmind, payload
from services.providers.segmind_answers import AnswerReader, find_output, retry_after

KEY = "SG_feedfacecafebeef"
ID = "0123456789abcdef"
SONG = SongRequest(
    genres="funk, pop",
    lyrics="[verse]\nla la",
    seconds=30,
    steps=60,
    cfg=5.5,
    shift=3.0,
    lyrics_strength=1.5,
    seed=0,
)
LOOPBACK = [ip_network("127.0.0.0/8")]
AUDIO = b"RIFF" + bytes(range(256)) * 40


NOWHERE = Workspace(Path("nowhere") / "song", 2**25)
"""For answers that hold no song."""


def at(path: Path, limit: int = 2**25) -> Workspace:
    """A song may come to this file, with so many bytes."""
    return Workspace(path, limit)


class RateLimit(RateLimiter):
    """Lets every call through and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(50)
        self.taken: list[Call] = []
        self.refusals: list[float] = []

    async def take(self, call: Call = Call.POLL) -> None:
        self.taken.append(call)

    def refused(self, retry_after: float) -> None:
        self.refusals.append(retry_after)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wire:
    """A server that answers what the test says, and a client pointed at it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.rate_limiter = RateLimit()
        self.seen: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.root = ""
        self.api: Segmind
        self.session: aiohttp.ClientSession

    async def start(self, handler: Handler, **options: Any) -> "Wire":
        self.root = await self.serve(handler)
        self.session = await self._stack.enter_async_context(aiohttp.ClientSession())
        self.api = self.client(**options)
        return self

    def client(self, **options: Any) -> Segmind:
        given: dict[str, Any] = {
            "root": self.root,
            "key": KEY,
            "rate_limiter": self.rate_limiter,
        } | options
        return Segmind(self.session, **given)

    async def serve(self, handler: Handler) -> str:
        """Another server; what it sees is recorded too."""

        async def recorded(request: web.Request) -> web.StreamResponse:
            self.seen.append(request)
            self.bodies.append(await request.read())
            return await handler(request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", recorded)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with AsyncExitStack() as stack:
        yield Wire(stack)


@pytest.fixture(autouse=True)
def the_key_is_never_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in caplog.text


def answering(
    status: int = 200, body: object = b"", headers: dict[str, str] | None = None
) -> Handler:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, body=raw, headers=headers)

    return handler


async def hanging_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def cut_off(status: int, start: bytes, announced: int) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        response.content_length = announced
        await response.prepare(request)
        await response.write(start)
        assert request.transport is not None
        request.transport.close()
        return response

    return handler


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def everything_said(error: BaseException) -> str:
    """All that could reach a log through an exception, its causes and contexts included."""
    said = "".join(traceback.format_exception(error))
    seen: list[BaseException] = []
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is not None and link not in seen:
            seen.append(link)
            said += f"{link!s} {link!r} {link.args!r} {vars(link)!r}"
            chain += [link.__cause__, link.__context__]
    return said


async def failing(
    work: Awaitable[object], expected: type[SongApiError], *secrets: str
) -> SongApiError:
    """Await `work`, which must end in just this error, with no secret in it."""
    with pytest.raises(expected) as caught:
        await work
    assert type(caught.value) is expected
    said = everything_said(caught.value)
    for secret in (KEY, *secrets):
        assert secret not in said
    return caught.value


# The ways that go well


async def test_submit_sends_every_parameter_and_the_key(wire: Wire) -> None:
    await wire.start(answering(202, {"request_id": ID, "status": "QUEUED"}))
    assert await wire.api.submit(SONG) == ID
    request = wire.seen[0]
    assert (request.method, request.path) == ("POST", "/v2/ace-step-music")
    assert request.headers["x-api-key"] == KEY
    assert "Authorization" not in request.headers
    assert json.loads(wire.bodies[0]) == {
        "genres": "funk, pop",
        "lyrics": "[verse]\nla la",
        "output_seconds": 30,
        "steps": 60,
        "cfg": 5.5,
        "shift": 3.0,
        "lyrics_strength": 1.5,
        "seed": 0,
        "base64": False,
    }
    assert wire.rate_limiter.taken == []  # the caller has: see the class


async def test_the_root_may_have_a_path_and_a_slash(wire: Wire) -> None:
    await wire.start(answering(200, {"request_id": "17"}))
    api = wire.client(root=wire.root + "/proxy/")
    assert await api.submit(SONG) == "17"
    assert wire.seen[0].path == "/proxy/v2/ace-step-music"


@pytest.mark.parametrize("request_id", [17, 9007199254740993])
async def test_a_numeric_request_id_is_understood(wire: Wire, request_id: int) -> None:
    await wire.start(answering(200, {"request_id": request_id, "status": "QUEUED"}))
    assert await wire.api.submit(SONG) == str(request_id)


async def test_a_submit_that_is_completed_is_accepted_whatever_the_code(wire: Wire) -> None:
    await wire.start(answering(500, {"request_id": ID, "status": "COMPLETED"}))
    assert await wire.api.submit(SONG) == ID


@pytest.mark.parametrize(
    ("status", "body", "job"),
    [
        (200, {"status": "QUEUED"}, JobStatus("QUEUED")),
        (200, {"status": " processing "}, JobStatus("PROCESSING")),
        (200, {"status": "COMPLETED"}, JobStatus("COMPLETED")),
        (422, {"status": "COMPLETED", "output": None}, JobStatus("COMPLETED")),
        (500, {"status": "COMPLETED", "metrics": []}, JobStatus("COMPLETED")),
        (
            200,
            {"status": "COMPLETED", "output": "https://s/a.wav", "metrics": {"inference_time": 9}},
            JobStatus("COMPLETED", Output(url="https://s/a.wav")),
        ),
    ],
)
async def test_a_look_reads_the_status(
    wire: Wire, status: int, body: dict[str, Any], job: JobStatus
) -> None:
    await wire.start(answering(status, body))
    assert await wire.api.get_status(ID, NOWHERE) == job
    assert wire.seen[0].path == f"/v2/requests/{ID}/status"
    assert wire.seen[0].headers["x-api-key"] == KEY
    assert wire.rate_limiter.taken == [Call.POLL]


@pytest.mark.parametrize("word", ["SUCCESS", "succeeded", "Done", "FINISHED", "COMPLETE"])
async def test_other_words_for_completed(wire: Wire, word: str) -> None:
    body = {"status": word, "output": "https://s/a.wav"}
    await wire.start(answering(200, body))
    output = Output(url="https://s/a.wav")
    assert await wire.api.get_status(ID, NOWHERE) == JobStatus("COMPLETED", output)
    assert await wire.api.result(ID, NOWHERE) == output
    await wire.start(answering(503, body))  # how an error is wrapped says nothing about the song
    await failing(wire.api.get_status(ID, NOWHERE), ApiUnavailable)


@pytest.mark.parametrize(
    "word",
    [
        *("CANCELLED", "canceled", "ERROR", "FAILURE", "TIMEOUT", "EXPIRED", "ABORTED"),
        *("REJECTED", "timed out", "TERMINATED", "CANCEL", "deleted"),
    ],
)
async def test_other_words_for_failed_end_a_song_at_once(wire: Wire, word: str) -> None:
    shown = word.upper().replace(" ", "_")
    for code, words in ((200, "queue purged"), (422, "")):
        await wire.start(answering(code, {"status": word, "error": words}))
        for call, accepted in (
            (wire.api.get_status(ID, NOWHERE), True),
            (wire.api.result(ID, NOWHERE), True),
            (wire.api.submit(SONG), False),
        ):
            error = await failing(call, GenerationFailed)
            assert str(error) == f"The song service ended it as {shown}. {words}".rstrip()
            assert isinstance(error, GenerationFailed)
            assert error.accepted is accepted
            assert error.by_request is (accepted and word == "REJECTED")
    for code, expected in ((503, ApiUnavailable), (404, SongGone), (429, RateLimited)):
        await wire.start(answering(code, {"status": word}))
        await failing(wire.api.get_status(ID, NOWHERE), expected)


async def test_an_unknown_status_is_polled_on_and_logged_once(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    words = iter(
        [
            "warming-up",
            "IN_PROGRESS",
            "WARMING UP",
            "CANCELLATION_REQUESTED",
            *(f"W{n}" for n in range(99)),
        ]
    )

    async def each(request: web.Request) -> web.StreamResponse:
        return await answering(200, {"status": next(words)})(request)

    await wire.start(each)
    looks = [await wire.api.get_status(ID, NOWHERE) for _ in range(103)]
    assert [job.status for job in looks] == ["QUEUED", "PROCESSING", *["QUEUED"] * 101]
    unknown = [line for line in caplog.messages if "unknown status" in line]
    assert unknown[0] == "unknown status WARMING_UP from the song API, polling on"
    assert len(unknown) == len(set(unknown)) == 20


@pytest.mark.parametrize("status", [7, None, "", "<html>", "a" * 60, "9", ["QUEUED"]])
async def test_a_status_that_is_no_word_is_passing(wire: Wire, status: object) -> None:
    await wire.start(answering(200, {"status": status}))
    await failing(wire.api.get_status(ID, NOWHERE), ApiUnavailable)


async def test_a_wrong_charset_does_not_hide_the_status(wire: Wire) -> None:
    body = '{"status": "FAILED", "error": "Paroles refusées"}'.encode("latin-1")
    await wire.start(answering(422, body))
    error = await failing(wire.api.get_status(ID, NOWHERE), GenerationFailed)
    assert str(error).startswith("Paroles refus")
    await wire.start(answering(200, b"\xef\xbb\xbf" + b'{"status": "QUEUED"}'))
    assert await wire.api.get_status(ID, NOWHERE) == JobStatus("QUEUED")


async def test_a_request_id_cannot_leave_its_place_in_the_path(wire: Wire) -> None:
    await wire.start(answering(200, {"status": "QUEUED"}))
    await wire.api.get_status("a/../../b?c#d%2e", NOWHERE)
    assert wire.seen[0].raw_path == "/v2/requests/a%2F..%2F..%2Fb%3Fc%23d%252e/status"


async def test_a_result_names_the_output(wire: Wire) -> None:
    await wire.start(answering(200, {"status": "COMPLETED", "output": ["https://s/a.wav"]}))
    assert await wire.api.result(ID, NOWHERE) == Output(url="https://s/a.wav")
    assert (wire.seen[0].path, wire.rate_limiter.taken) == (f"/v2/requests/{ID}", [Call.RESULT])
    await wire.start(answering(200, {"output": "https://s/b.wav"}))
    assert await wire.api.result(ID, NOWHERE) == Output(url="https://s/b.wav")


async def test_a_result_without_output_is_not_there_yet_and_one_not_ready_is_passing(
    wire: Wire,
) -> None:
    for missing in ({"status": "COMPLETED", "output": "", "nsfw": False}, {"output": None}):
        await wire.start(answering(200, missing))
        await failing(wire.api.result(ID, NOWHERE), OutputMissing)
    for other in ({"status": "PROCESSING", "output": None}, {"hello": "world"}):
        await wire.start(answering(200, other))
        await failing(wire.api.result(ID, NOWHERE), ApiUnavailable)


async def test_credits(wire: Wire) -> None:
    await wire.start(answering(200, {"credits": 12.5}))
    assert await wire.api.get_balance() == 12.5
    assert (wire.seen[0].path, wire.rate_limiter.taken) == ("/v1/get-user-credits", [Call.POLL])


@pytest.mark.parametrize(
    "body",
    [{"credits": None}, {"credits": "9"}, {}, [], b'{"credits": NaN}', {"credits": 10**400}],
)
async def test_credits_that_make_no_sense_are_passing(wire: Wire, body: object) -> None:
    await wire.start(answering(200, body))
    await failing(wire.api.get_balance(), ApiUnavailable)


# The table of codes

Calls: dict[str, Callable[[Segmind, Workspace], Awaitable[object]]] = {
    "submit": lambda api, _: api.submit(SONG),
    "make": lambda api, workspace: api.make(SONG, workspace),
    "look": lambda api, workspace: api.get_status(ID, workspace),
    "result": lambda api, workspace: api.result(ID, workspace),
    "credits": lambda api, _: api.get_balance(),
}
POSTS, GETS = ("submit", "make"), ("look", "result", "credits")
ALL = POSTS + GETS
BODIES = [
    {"error": "no"},
    {"error": {"message": "no"}},
    {"detail": [{"msg": "no"}]},
    [],
    b"null",
    b"7",
    b"",
    b"plain words",
    b"<html><body>502 Bad Gateway</body></html>",
    b'{"error": "cut of',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"error": ' + b"9" * 5000 + b"}",
]


def rows() -> Iterator[tuple[str, int, type[SongApiError]]]:
    for name in ALL:
        unclear = SubmitUncertain if name in POSTS else ApiUnavailable
        forbidden = SubmitForbidden if name in POSTS else KeyRefused
        missing = SongGone if name in ("look", "result") else forbidden
        yield name, 400, RequestRejected
        yield name, 401, KeyRefused
        yield name, 402, OutOfCredits
        yield name, 403, forbidden
        yield name, 404, missing
        yield name, 406, OutOfCredits
        yield name, 408, unclear
        yield name, 409, RequestRejected
        yield name, 413, RequestRejected
        yield name, 418, RequestRejected
        yield name, 422, RequestRejected
        yield name, 429, RateLimited
        yield name, 302, KeyRefused if name in POSTS else ApiUnavailable
        for code in (500, 502, 503, 504, 599):
            yield name, code, unclear


@pytest.mark.parametrize(("name", "code", "expected"), list(rows()))
async def test_every_code_is_one_error_whatever_the_body(
    wire: Wire, tmp_path: Path, name: str, code: int, expected: type[SongApiError]
) -> None:
    bodies = iter(BODIES)

    async def each(request: web.Request) -> web.StreamResponse:
        return await answering(code, next(bodies))(request)

    await wire.start(each)
    for _ in BODIES:
        error = await failing(Calls[name](wire.api, at(tmp_path / "song")), expected)
        if expected is not RateLimited:
            assert str(code) in str(error)
            assert len(str(error)) < 600
            assert "\n" not in str(error)
    assert files_in(tmp_path) == []


NONSENSE = [b"<html>", b"{", b"[]", {"status": "<LOST>"}, {"a": 1}]
# v1's answer may be the file itself, so these could be one: other tests look at that.
NO_JSON = [b"", b"words", b"null", b"3"]


@pytest.mark.parametrize(
    ("name", "body"),
    [(name, body) for name in ALL for body in NONSENSE + (NO_JSON if name != "make" else [])],
)
async def test_malformed_reply_with_a_good_code(
    wire: Wire, tmp_path: Path, name: str, body: object
) -> None:
    await wire.start(answering(200, body))
    expected = SubmitUncertain if name in POSTS else ApiUnavailable
    await failing(Calls[name](wire.api, at(tmp_path / "song")), expected)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "request_id", [None, "", " ", "..", ".", "a b", "a" * 201, "x\n", [1], True, -1, 1.5, 10**201]
)
async def test_a_submit_without_a_usable_id_is_uncertain(wire: Wire, request_id: object) -> None:
    for body in ({"request_id": request_id}, {"id": ID}):
        await wire.start(answering(200, body))
        await failing(wire.api.submit(SONG), SubmitUncertain)


@pytest.mark.parametrize("name", ALL)
async def test_a_lost_answer(wire: Wire, tmp_path: Path, name: str) -> None:
    await wire.start(hanging_up)
    expected = SubmitUncertain if name in POSTS else ApiUnavailable
    await failing(Calls[name](wire.api, at(tmp_path / "song")), expected)


@pytest.mark.parametrize("name", ALL)
async def test_an_answer_that_breaks_off(wire: Wire, tmp_path: Path, name: str) -> None:
    # Cut off where it would parse: what is missing might have said something else.
    await wire.start(cut_off(200, b'{"request_id": "a", "status": "QUEUED", "credits": 1}', 1000))
    expected = SubmitUncertain if name in POSTS else ApiUnavailable
    await failing(Calls[name](wire.api, at(tmp_path / "song")), expected)
    await wire.start(cut_off(401, b'{"error', 1000))
    await failing(Calls[name](wire.api, at(tmp_path / "song")), KeyRefused)


@pytest.mark.parametrize("name", ALL)
async def test_an_answer_that_never_comes(
    wire: Wire, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    for timeout in ("_SUBMIT", "_BALANCE", "_POLL", "_MAKE"):
        monkeypatch.setattr(segmind, timeout, aiohttp.ClientTimeout(sock_read=0.02))
    await wire.start(silent)
    expected = SubmitUncertain if name in POSTS else ApiUnavailable
    await failing(Calls[name](wire.api, at(tmp_path / "song")), expected)


@pytest.mark.parametrize("name", ALL)
async def test_no_connection_is_not_reached(wire: Wire, tmp_path: Path, name: str) -> None:
    await wire.start(answering())
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for root in (f"http://127.0.0.1:{port}", wire.root.replace("p:", "ps:")):  # refused; no TLS
        await failing(Calls[name](wire.client(root=root), at(tmp_path / "song")), NotReached)
    connector = aiohttp.TCPConnector(resolver=Names({}))
    async with aiohttp.ClientSession(connector=connector) as session:
        api = Segmind(
            session, root="http://song-api.example", key=KEY, rate_limiter=wire.rate_limiter
        )
        await failing(Calls[name](api, at(tmp_path / "song")), NotReached)
    assert wire.seen == []


async def test_a_connection_that_takes_too_long_is_not_reached(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmind, "_SUBMIT", aiohttp.ClientTimeout(connect=0.01))
    await wire.start(answering())
    connector = aiohttp.TCPConnector(resolver=Names({}, silent=True))
    async with aiohttp.ClientSession(connector=connector) as session:
        api = Segmind(session, root="http://slow.example", key=KEY, rate_limiter=wire.rate_limiter)
        await failing(api.submit(SONG), NotReached)


# FAILED


@pytest.mark.parametrize("code", [200, 422, 500, 404, 429])
@pytest.mark.parametrize("name", ["look", "result"])
async def test_failed_is_final_whatever_the_code(wire: Wire, code: int, name: str) -> None:
    await wire.start(answering(code, {"status": "FAILED", "error": "too loud"}))
    error = await failing(Calls[name](wire.api, NOWHERE), GenerationFailed)
    assert isinstance(error, GenerationFailed)
    assert error.detail == "too loud"
    assert error.by_request is (code < 500)
    assert wire.rate_limiter.refusals == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((422, GenerationFailed), (500, GenerationFailed), (401, KeyRefused), (402, OutOfCredits)),
        *((403, SubmitForbidden), (404, SubmitForbidden), (406, OutOfCredits), (429, RateLimited)),
    ],
)
@pytest.mark.parametrize("name", POSTS)
async def test_failed_on_submit_does_not_hide_the_account(
    wire: Wire, tmp_path: Path, code: int, expected: type[SongApiError], name: str
) -> None:
    await wire.start(answering(code, {"status": "FAILED", "error": "no"}))
    await failing(Calls[name](wire.api, at(tmp_path / "song")), expected)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"error": "blocked"}, "blocked"),
        ({"error": {"code": 3, "message": "blocked"}}, "blocked"),
        ({"error": "", "detail": "blocked"}, "blocked"),
        ({"detail": {"message": {"error": "blocked"}}}, "blocked"),
        ({"detail": ["one", {"msg": "two"}, 3, None, {}]}, "one; two"),
        ({"error": "  two\r\n\t lines\x00\u202e "}, "two lines"),
        ({"error": "<p>No &amp; <b class='x'>never</b></p>"}, "No & never"),
        (
            {"error": "see https://s.example/a.wav?sig=SECRET#x, ok"},
            "see https://s.example/a.wav ok",
        ),
        ({"error": f"the key {KEY} is bad"}, "the key [key] is bad"),
        ({"error": "x" * 5000}, "x" * 299 + "\u2026"),
        ({}, "The model failed without saying why."),
        ({"error": 7, "detail": False}, "The model failed without saying why."),
        ({"error": {"message": {"message": {"message": {"message": {"message": "deep"}}}}}},) * 1
        + ("The model failed without saying why.",),
    ],
)
async def test_the_detail_is_fit_for_a_member(
    wire: Wire, body: dict[str, object], detail: str
) -> None:
    await wire.start(answering(422, {"status": "FAILED"} | body))
    error = await failing(wire.api.get_status(ID, NOWHERE), GenerationFailed, "SECRET")
    assert isinstance(error, GenerationFailed)
    assert error.detail == detail


async def test_the_log_holds_method_path_code_and_a_short_body(wire: Wire) -> None:
    await wire.start(
        answering(400, f'{{"error": "{KEY} https://s/x?sig=SECRET"}}'.encode() + b"\n" * 3000)
    )
    error = await failing(wire.api.get_status(ID, NOWHERE), RequestRejected, "SECRET")
    assert str(error) == f'GET /v2/requests/{ID}/status: 400 {{"error": "[key] https://s/x"}}'


@pytest.mark.parametrize(
    "address",
    [
        *(
            "//s.example/a.wav?sig=SECRET",
            "/files/a?sig=SECRET",
            "files/a#SECRET",
            "s3://b/a?SECRET",
        ),
        *(
            "https:\\/\\/s.example\\/a?sig=SECRET",
            "https://s.example/a\\u003fsig=SECRET",
            "/?SECRET",
        ),
    ],
)
async def test_what_is_signed_is_not_logged_however_it_is_written(wire: Wire, address: str) -> None:
    await wire.start(answering(200, f'{{"output": "{address}", "why": "who knows?"}}'.encode()))
    error = await failing(wire.api.get_status(ID, NOWHERE), ApiUnavailable, "SECRET")
    assert str(error).endswith('", "why": "who knows?"}')


# 429


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "9" * 400}, 300),
        ({"Retry-After": "-5"}, 10),
        ({"Retry-After": "soon"}, 10),
        ({"Retry-After": "nan"}, 10),
        ({"Retry-After": "\u0667"}, 10),
        ({}, 10),
        (
            {
                "Retry-After": "Tue, 24 Nov 2026 10:00:42 GMT",
                "Date": "Tue, 24 Nov 2026 10:00:00 GMT",
            },
            42,
        ),
        (
            {
                "Retry-After": "Tue, 24 Nov 2026 09:00:00 GMT",
                "Date": "Tue, 24 Nov 2026 10:00:00 GMT",
            },
            1,
        ),
        ({"Retry-After": "Tue, 24 Nov 2026 10:00:42 GMT"}, 10),
        (
            {
                "Retry-After": "Tue, 24 Nov 2026 10:00:42 -0000",
                "Date": "Tue, 24 Nov 2026 10:00:00 GMT",
            },
            10,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds


async def test_a_429_is_told_to_the_budget(wire: Wire) -> None:
    await wire.start(answering(429, {"error": "slow"}, {"Retry-After": "17"}))
    error = await failing(wire.api.submit(SONG), RateLimited)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 17
    assert wire.rate_limiter.refusals == [17]


async def test_a_call_waits_for_the_budget(wire: Wire) -> None:
    await wire.start(answering(200, {"credits": 1}))
    may = asyncio.Event()

    class Waiting(RateLimit):
        async def take(self, call: Call = Call.POLL) -> None:
            await may.wait()

    call = asyncio.create_task(wire.client(rate_limiter=Waiting()).get_balance())
    for _ in range(20):
        await asyncio.sleep(0)
    assert wire.seen == []
    may.set()
    assert await call == 1


# Bodies that are too large


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("submit", SubmitUncertain),
        ("credits", ApiUnavailable),
        ("look", BadOutput),
        ("result", BadOutput),
        ("make", BadOutput),
    ],
)
async def test_a_bomb_is_read_no_further_than_the_limit(
    wire: Wire,
    tmp_path: Path,
    name: str,
    expected: type[SongApiError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = []
    read = AnswerReader.read

    async def watched(*args: Any) -> Any:
        answer = await read(*args)
        kept.append(answer.size)
        return answer

    monkeypatch.setattr(AnswerReader, "read", watched)
    bomb = gzip.compress(b'{"status": "COMPLETED", "output": "' + b"A" * 2**25 + b'"}')
    assert len(bomb) < 2**16
    await wire.start(answering(200, bomb, {"Content-Encoding": "gzip"}))
    await failing(Calls[name](wire.api, at(tmp_path / "song", 1000)), expected)
    await wire.start(answering(401, bomb, {"Content-Encoding": "gzip"}))
    await failing(Calls[name](wire.api, at(tmp_path / "song", 1000)), KeyRefused)
    assert all(2**20 < size < 2**21 for size in kept)
    await wire.start(answering(200, b"not gzip", {"Content-Encoding": "gzip"}))
    unclear = SubmitUncertain if name in POSTS else ApiUnavailable
    await failing(Calls[name](wire.api, at(tmp_path / "song", 1000)), unclear)


LARGE = AUDIO * 300
"""Over 3 MB."""


def large(audio: bytes = LARGE) -> dict[str, object]:
    """An answer with a song in it, beside other things that look like one."""
    text = base64.b64encode(audio).decode()
    return {"status": "COMPLETED", "output": {"sha": "a" * 64, "cover": text[:50_000], "a": text}}


async def test_a_large_base64_answer_is_read(wire: Wire, tmp_path: Path) -> None:
    await wire.start(answering(200, large()))
    workspace = at(tmp_path / "1" / "song")
    job = await wire.api.get_status(ID, workspace)
    assert job.output is not None
    assert repr(job.output) == "Output(file='song.answer1')"
    assert files_in(tmp_path / "1") == ["song.answer1"]  # the cover's is removed
    assert await wire.api.download(job.output, workspace) == len(LARGE)
    assert (tmp_path / "1" / "song").read_bytes() == LARGE
    assert files_in(tmp_path / "1") == ["song"]
    assert await wire.api.make(SONG, workspace) == job.output


async def test_a_large_answer_with_an_address_leaves_no_file(wire: Wire, tmp_path: Path) -> None:
    body = large() | {"output": [large()["output"], "https://s/a.wav"]}
    await wire.start(answering(200, body))
    assert await wire.api.result(ID, at(tmp_path / "song")) == Output(url="https://s/a.wav")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (large(LARGE * 2), BadOutput),  # over the limit
        (large() | {"output": base64.b64encode(LARGE).decode() + "!"}, BadOutput),
        (large() | {"status": "FAILED"}, GenerationFailed),
        ({"output": large()["output"], "a": ["a"] * 90_000, "status": "COMPLETED"}, ApiUnavailable),
    ],
)
async def test_a_large_answer_without_a_song_leaves_no_file(
    wire: Wire, tmp_path: Path, body: object, expected: type[SongApiError]
) -> None:
    await wire.start(answering(200, body))
    await failing(wire.api.get_status(ID, at(tmp_path / "song", 4_000_000)), expected)
    assert files_in(tmp_path) == []


async def test_a_song_in_an_answer_that_is_not_taken_leaves_no_file(
    wire: Wire, tmp_path: Path
) -> None:
    await wire.start(answering(200, large() | {"status": "QUEUED"}))
    assert (await wire.api.get_status(ID, at(tmp_path / "song"))).status == "QUEUED"
    assert files_in(tmp_path) == []
    await wire.start(answering(527, {"output": large()["output"]}))
    await failing(wire.api.result(ID, at(tmp_path / "song")), ApiUnavailable)
    await failing(wire.api.make(SONG, at(tmp_path / "song")), SubmitUncertain)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("beside", [b"", b'"lyrics": "%b", ' % (b"la " * 30_000)])
async def test_an_address_that_is_too_long_is_not_fetched(
    wire: Wire, tmp_path: Path, beside: bytes
) -> None:
    """Neither what is left of it in the outline of a larger answer."""
    address = b"https://s.example/" + b"a" * 40_000
    body = b'{"status": "COMPLETED", %b"output": "%b"}' % (beside, address)
    await wire.start(answering(200, body))
    output = await wire.api.result(ID, at(tmp_path / "song"))
    error = await failing(wire.api.download(output, at(tmp_path / "song")), BadOutput)
    assert "an address of" in str(error)


async def test_a_large_answer_that_breaks_off_leaves_no_file(wire: Wire, tmp_path: Path) -> None:
    body = json.dumps(large()).encode()
    await wire.start(cut_off(200, body[:-100_000], len(body)))
    await failing(wire.api.get_status(ID, at(tmp_path / "song")), ApiUnavailable)
    assert files_in(tmp_path) == []


async def test_a_song_in_an_answer_that_cannot_be_written_is_no_error_of_the_api(
    wire: Wire, tmp_path: Path
) -> None:
    (tmp_path / "song.answer0").mkdir()
    await wire.start(answering(200, large()))
    with pytest.raises(IsADirectoryError):
        await wire.api.get_status(ID, at(tmp_path / "song"))


async def test_large_answers_are_read_one_at_a_time(wire: Wire, tmp_path: Path) -> None:
    now: set[int] = set()
    together: list[int] = []

    def workspace(number: int) -> Workspace:
        @contextlib.asynccontextmanager
        async def alone() -> AsyncIterator[None]:
            now.add(number)
            together.append(len(now))
            await asyncio.sleep(0.01)
            yield
            now.discard(number)

        return Workspace(tmp_path / f"{number}", 2**25, alone)

    await wire.start(answering(200, large()))
    results = await asyncio.gather(*(wire.api.result(ID, workspace(n)) for n in range(4)))
    assert together == [1] * 4
    for output in results:
        assert output.file is not None
        assert output.file.stat().st_size == len(LARGE)
    await wire.start(answering(200, {"output": "https://s/a.wav"}))
    await wire.api.result(ID, workspace(9))
    assert together == [1] * 4  # a small answer is none of them


@pytest.mark.parametrize(("call", "means"), [("result", ApiUnavailable), ("make", SubmitUncertain)])
async def test_who_waits_for_a_slow_large_answer_is_not_out_of_time(
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    means: type[SongApiError],
) -> None:
    """One that trickles holds the others up for as long as it may take, and no longer."""
    monkeypatch.setattr(segmind, "_PATIENCE", 0.3)
    body = json.dumps(large()).encode()
    slow = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if slow.is_set():
            return web.Response(body=body)
        slow.set()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body[: 2**21])
        await asyncio.sleep(5)
        return response

    await wire.start(handler)
    api = wire.client()
    inside = asyncio.Event()

    @contextlib.asynccontextmanager
    async def alone() -> AsyncIterator[None]:
        inside.set()
        yield

    first = asyncio.ensure_future(Calls[call](api, Workspace(tmp_path / "1", 2**25, alone)))
    await inside.wait()
    second = asyncio.create_task(api.result(ID, at(tmp_path / "2")))
    error = await failing(first, means)
    assert "TimeoutError" in str(error)
    assert (await second).file == tmp_path / "2.answer1"


SHAPES: dict[str, Callable[[], object]] = {
    "a long name above many texts": lambda: {"k" * 150_000: ["a:"] * 25_000},
    "names in names": lambda: {"k" * 100_000: {"k" * 100_000: {"k" * 100_000: ["a:"] * 90_000}}},
    "many numbers": lambda: [1] * 120_000,
    "many lists": lambda: [[]] * 80_000,
    "many texts": lambda: [""] * 60_000,
    "many names": lambda: {f"{n}": {} for n in range(15_000)},
    "json in texts": lambda: ["[[]]"] * 30_000,
    "a long text": lambda: "<" * 900_000,
    "escapes": lambda: "\u1234" * 150_000,
    "backslashes": lambda: "\\" * 400_000,
    "a song": lambda: "A" * 16_000_000,
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_no_shape_of_an_answer_holds_the_loop(
    wire: Wire, tmp_path: Path, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """302 kB of the first one held it for 87 s."""
    body = json.dumps({"status": "COMPLETED", "output": SHAPES[shape]()}).encode()
    latest: list[float] = []

    class Content:
        """An answer's body that nobody has to send."""

        async def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
            for start in range(0, len(body), 2**16):
                await asyncio.sleep(0)
                yield body[start : start + 2**16], False

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            latest[-1] = max(latest[-1], time.perf_counter() - before)

    await wire.start(answering())
    answered = SimpleNamespace(status=200, headers={}, content=Content())
    monkeypatch.setattr(wire.api, "_request", lambda *_: contextlib.nullcontext(answered))
    for _ in range(3):  # a machine that is busy with something else is no failure
        latest.append(0.0)
        ticking = asyncio.create_task(tick())
        with contextlib.suppress(SongApiError):
            await wire.api.get_status(ID, at(tmp_path / "song"))
        ticking.cancel()
        if latest[-1] < 0.1:
            return
    raise AssertionError(f"late by {latest} s")


# What `output` can be


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("https://s/a.wav?x=1", Output(url="https://s/a.wav?x=1")),
        ("  HTTPS://s/a ", Output(url="HTTPS://s/a")),
        (["https://s/a", "https://s/b"], Output(url="https://s/a")),
        (["https://s/cover.png", "https://s/b.mp3"], Output(url="https://s/b.mp3")),
        (["https://s/a", "https://s/b.mp3"], Output(url="https://s/b.mp3")),
        ({"url": "https://s/a"}, Output(url="https://s/a")),
        (
            {"image": {"url": "https://s/a"}, "audio": {"url": "https://s/b"}},
            Output(url="https://s/b"),
        ),
        ({"data": [{"file": {"href": "https://s/a"}}]}, Output(url="https://s/a")),
        ({"mime": "audio/wav", "blob": "a" * 99, "url": "https://s/a"}, Output(url="https://s/a")),
        ("ftp://s/a.wav", Output(url="ftp://s/a.wav")),
        ('{"audio_url": "https://s/a"}', Output(url="https://s/a")),
        (["https://s/cover.png", "https://s/a"], Output(url="https://s/a")),
        ({"image": "https://s/a", "result": "https://s/b"}, Output(url="https://s/b")),
        ({"video_url": "https://s/a", "audio": "https://s/b"}, Output(url="https://s/b")),
        ({"video": "https://s/a"}, Output(url="https://s/a")),
        (' ["https://s/cover.png", "https://s/b.mp3"]', Output(url="https://s/b.mp3")),
        (json.dumps([json.dumps({"url": "https://s/a"})]), Output(url="https://s/a")),
        ("[broken", None),
        ("[\ud800]", None),
        (None, None),
        ("", None),
        ("done", None),
        ({"sha256": "a" * 64}, None),
        (7, None),
        ([], None),
        ({"seconds": 60, "mime": "audio/wav"}, None),
        ([[[[[[["https://s/too-deep"]]]]]]], None),
    ],
)
def test_find_output(value: object, output: Output | None) -> None:
    assert find_output(value) == output


def test_an_output_does_not_show_what_is_signed() -> None:
    shown = repr(Output(url="https://s/a.wav?sig=SECRET"))
    assert "https://s/a.wav" in shown
    assert "SECRET" not in shown


# Downloads


async def test_a_download_from_the_apis_own_host(wire: Wire, tmp_path: Path) -> None:
    await wire.start(answering(200, AUDIO))
    target = tmp_path / "song"
    target.write_bytes(b"an older one")
    (tmp_path / "song.part").write_bytes(b"left by a killed process" * 5000)
    url = f"{wire.root}/a%2Fb.wav?sig=a%2Fb%20+c"
    assert await wire.api.download(Output(url=url), at(target)) == len(AUDIO)
    assert target.read_bytes() == AUDIO
    assert files_in(tmp_path) == ["song"]
    assert wire.seen[0].raw_path == "/a%2Fb.wav?sig=a%2Fb%20+c"  # not encoded again
    assert wire.seen[0].headers["Accept-Encoding"] == "identity"
    assert wire.rate_limiter.taken == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, OutputMissing),
        (401, OutputMissing),
        (403, OutputMissing),
        (404, OutputMissing),
        (410, OutputMissing),
        (304, OutputMissing),
        (302, OutputMissing),  # without a Location
        (408, ApiUnavailable),
        (429, ApiUnavailable),
        (500, ApiUnavailable),
        (503, ApiUnavailable),
    ],
)
async def test_the_codes_of_a_storage(
    wire: Wire, tmp_path: Path, code: int, expected: type[SongApiError]
) -> None:
    await wire.start(answering(code, b"<Error>"))
    url = f"{wire.root}/a.wav?sig=SECRET"
    error = await failing(
        wire.api.download(Output(url=url), at(tmp_path / "song")), expected, "SECRET"
    )
    assert str(code) in str(error)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!DOCTYPE html><html>",
        b"\xef\xbb\xbf\r\n  <Error><Code>NoSuchKey</Code></Error>",
        '{"message": "\u672a\u627e\u5230"}'.encode(),
        b"Not Found\n",
        b"<html>" + b" " * 2**21,
    ],
)
async def test_storage_that_answers_200_without_audio(
    wire: Wire, tmp_path: Path, body: bytes
) -> None:
    await wire.start(answering(200, body, {"Content-Type": "audio/wav"}))
    await failing(
        wire.api.download(Output(url=wire.root + "/a.wav"), at(tmp_path / "song")), OutputMissing
    )
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("start", [b"RIFF$   WAVEfmt \x10\0\0\0", b"\xff\xfbP<html>", b"OggS\0"])
async def test_audio_whose_header_has_letters_is_kept(
    wire: Wire, tmp_path: Path, start: bytes
) -> None:
    audio = start + b"a" * 2**20 + b"{}"
    await wire.start(answering(200, audio, {"Content-Type": "text/plain"}))
    assert await wire.api.download(Output(url=wire.root + "/a"), at(tmp_path / "s")) == len(audio)


async def test_a_cut_off_download_is_passing_and_leaves_nothing(wire: Wire, tmp_path: Path) -> None:
    url = "/a.wav?sig=SECRET"
    for handler in (
        cut_off(200, AUDIO, len(AUDIO) + 1),
        cut_off(200, AUDIO * 200, len(AUDIO) * 400),  # after blocks have been written
        hanging_up,
    ):
        await wire.start(handler)
        output = Output(url=wire.root + url)
        await failing(wire.api.download(output, at(tmp_path / "song")), ApiUnavailable, "SECRET")
        assert files_in(tmp_path) == []


async def test_240_seconds_of_float_wav_are_not_too_large(wire: Wire, tmp_path: Path) -> None:
    await wire.start(cut_off(200, AUDIO, 92_160_044))  # what was announced would have been taken
    workspace = at(tmp_path / "song", Segmind.largest_file(240))
    await failing(wire.api.download(Output(url=wire.root + "/a"), workspace), ApiUnavailable)


async def test_a_chunked_download_that_breaks_off_is_passing(wire: Wire, tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(AUDIO)
        assert request.transport is not None
        request.transport.close()
        return response

    await wire.start(handler)
    await failing(
        wire.api.download(Output(url=wire.root + "/a"), at(tmp_path / "song")), ApiUnavailable
    )
    assert files_in(tmp_path) == []


async def test_a_storage_that_falls_silent_is_passing(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(AUDIO)
        await asyncio.sleep(30)
        return response

    monkeypatch.setattr(downloads, "_TIMEOUT", aiohttp.ClientTimeout(sock_read=0.02))
    await wire.start(silent)
    await failing(
        wire.api.download(Output(url=wire.root + "/a"), at(tmp_path / "song")), ApiUnavailable
    )
    assert files_in(tmp_path) == []


async def test_a_download_over_the_maximum(wire: Wire, tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(AUDIO)

    bomb = gzip.compress(b"\0" * 2**24)
    for handler in (
        answering(200, AUDIO),  # said in Content-Length
        endless,  # not said at all
        answering(200, bomb, {"Content-Encoding": "gzip"}),  # its Content-Length is small
    ):
        await wire.start(handler)
        output = Output(url=wire.root + "/a")
        workspace = at(tmp_path / "song", len(AUDIO) - 1)
        await failing(wire.api.download(output, workspace), BadOutput)
        assert files_in(tmp_path) == []
    await wire.start(answering(200, AUDIO))
    workspace = at(tmp_path / "song", len(AUDIO))
    assert await wire.api.download(Output(url=wire.root + "/a"), workspace) == len(AUDIO)


@pytest.mark.parametrize(("seconds", "kilohertz"), [(240, 48), (10, 48), (240, 44.1)])
def test_the_largest_song_is_what_the_model_writes(seconds: int, kilohertz: float) -> None:
    """Stereo WAV of 32-bit floats, headers and a second more than was requested."""
    made = 44 + round((seconds + 1) * kilohertz * 1000 * 2 * 4)
    workspace = at(Path("song"), Segmind.largest_file(seconds))
    assert made <= workspace.limit < made * 1.1 + 4 * 2**20
    # As base64 with line breaks that JSON escapes.
    assert made * 4 / 3 * 80 / 76 < workspace.largest_body


async def test_a_file_that_cannot_be_written_is_no_error_of_the_api(
    wire: Wire, tmp_path: Path
) -> None:
    await wire.start(answering(200, AUDIO))
    with pytest.raises(FileNotFoundError):
        await wire.api.download(Output(url=wire.root + "/a"), at(tmp_path / "nowhere" / "song"))
    with pytest.raises(FileNotFoundError):
        await wire.api.make(SONG, at(tmp_path / "nowhere" / "song"))
    (tmp_path / "song").mkdir()
    with pytest.raises(IsADirectoryError):
        await wire.api.download(Output(url=wire.root + "/a"), at(tmp_path / "song"))
    assert files_in(tmp_path) == ["song"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_disk_leaves_nothing(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "song.part").symlink_to("/dev/full")
    await wire.start(answering(200, AUDIO * 300))
    with pytest.raises(OSError, match="No space left"):
        await wire.api.download(Output(url=wire.root + "/a"), at(tmp_path / "song"))
    assert files_in(tmp_path) == []


async def test_a_cancelled_download_waits_for_its_thread_and_leaves_nothing(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, ended = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    append = downloads._append

    def slow(part: Path, block: bytes, size: int) -> None:
        loop.call_soon_threadsafe(writing.set)
        time.sleep(0.05)
        append(part, block, size)
        ended.append(size)

    monkeypatch.setattr(downloads, "_append", slow)
    await wire.start(answering(200, AUDIO))
    output = Output(url=wire.root + "/a")
    download = asyncio.create_task(wire.api.download(output, at(tmp_path / "song")))
    await writing.wait()
    download.cancel()
    await asyncio.sleep(0)
    download.cancel()  # impatient
    with pytest.raises(asyncio.CancelledError):
        await download
    assert ended == [len(AUDIO)]
    assert files_in(tmp_path) == []


# Addresses


class Names(AbstractResolver):
    """Names and the addresses they have; asked again, the next ones. `*` stands for any name."""

    def __init__(self, names: dict[str, list[list[str]]], *, silent: bool = False) -> None:
        self._names = names
        self._silent = silent
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if self._silent:
            await asyncio.sleep(30)
        answers = self._names.get(host, self._names.get("*"))
        if not answers:
            raise OSError("no such name")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1"),
        *("2606:4700::1111", "2a00:1450:4001::200e", "64:ff9b::808:808"),
    ],
)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.2.1", "198.18.0.1"),
        *("203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("168.63.129.16", "192.0.0.1", "192.0.0.192", "192.0.0.255", "192.88.99.1", "3fff::1"),
        *("::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
        *("2001:db8::1", "2001::1", "2002:7f00:1::", "2002:808:808::", "100::1", "4000::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("", "http:///a", "http://h:99999/a", "http://[::1/a", "data:text/plain,a"),
        *("file:///etc/passwd", "http://user@s/a", "http://:word@s/a", "http://s/" + "a" * 9_000),
    ],
)
async def test_malformed_addresses_are_not_fetched(wire: Wire, tmp_path: Path, url: str) -> None:
    await wire.start(answering())
    await failing(wire.api.download(Output(url=url), at(tmp_path / "song")), BadOutput)


async def test_a_name_that_the_dns_cannot_write_is_no_address(wire: Wire, tmp_path: Path) -> None:
    class Strict(Names):
        async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
            raise UnicodeError("label empty or too long")

    await wire.start(answering(), resolver=Strict({}))
    output = Output(url="http://a..b/a?sig=SECRET")
    await failing(wire.api.download(output, at(tmp_path / "song")), BadOutput, "SECRET")


@pytest.mark.parametrize(
    ("family", "address", "own"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), True),
        (socket.AF_INET, ("8.8.8.8", 80), False),
        (socket.AF_INET, ("192.0.2.1", 80), False),
    ],
)
@pytest.mark.parametrize("binds_anything", [False, True])
def test_the_kernel_knows_this_machines_addresses(
    monkeypatch: pytest.MonkeyPatch,
    family: int,
    address: tuple[str, int],
    *,
    own: bool,
    binds_anything: bool,
) -> None:
    if binds_anything:  # as where `ip_nonlocal_bind` is set
        monkeypatch.setattr(addresses, "_can_bind", lambda *_: True)
    assert is_own(family, address) is own


def test_an_address_without_a_way_to_it_is_not_this_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "_can_bind", lambda *_: True)
    assert not is_own(socket.AF_INET, ("255.255.255.255", 80))


@pytest.mark.parametrize(
    ("allow", "reached"),
    [
        ([ip_network("198.18.0.0/15")], False),
        ([ip_network("127.0.0.0/8")], True),
        (["storage.example"], True),
        (["example"], False),
        ([ip_network("::/0"), "other.example"], False),
    ],
)
async def test_what_the_operator_allows_is_reached(
    wire: Wire, tmp_path: Path, allow: list[Network | str], *, reached: bool
) -> None:
    names = Names({"*": [["127.0.0.1"]]})
    await wire.start(answering(), resolver=names, allow=allow)
    storage = await wire.serve(answering(200, AUDIO))
    port = storage.rsplit(":", 1)[1]
    download = wire.api.download(
        Output(url=f"http://Storage.Example.:{port}/a?sig=SECRET"), at(tmp_path / "song")
    )
    if reached:
        assert await download == len(AUDIO)
    else:
        error = await failing(download, BadOutput, "SECRET")
        reason = "127.0.0.1 is not a public address (DOWNLOAD_ALLOW can allow it)"
        assert str(error).endswith(reason)


# How names are looked up


class Dns:
    """The system's resolver: `dead.example` and its like are never answered for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answer = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        self.asked.append(host)
        if "dead" in host:
            assert self.answer.wait(30)
        if "none" in host:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dns]:
    dns = Dns(monkeypatch)
    yield dns
    dns.answer.set()


async def test_names_without_an_answer_keep_no_file_work_waiting(
    wire: Wire, tmp_path: Path, dns: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_TIMEOUT", aiohttp.ClientTimeout(connect=0.05))
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await wire.start(answering(200, AUDIO))

    async def fetch(name: str) -> None:
        output = Output(url=f"http://{name}.example/a?sig=SECRET")
        await failing(wire.api.download(output, at(tmp_path / name)), NotReached, "SECRET")

    async with asyncio.timeout(5):
        await asyncio.gather(*(fetch(f"dead{n % 8}") for n in range(16)))
        # In the thread for files, which none of them has.
        workspace = at(tmp_path / "song")
        assert await wire.api.download(Output(url=wire.root + "/a"), workspace) == len(AUDIO)
    assert sorted(dns.asked) == [f"dead{n}.example" for n in range(8)]  # one thread for each


async def test_a_lookup_ends_as_the_systems_does(dns: Dns) -> None:
    resolver = Resolver()
    (found,) = await resolver.resolve("storage.example", 80)
    assert (found["hostname"], found["host"], found["port"]) == ("storage.example", "192.0.2.7", 80)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.resolve("none.example", 80)
    waiting = asyncio.create_task(resolver.resolve("dead.example", 80))
    await asyncio.sleep(0.01)
    waiting.cancel()
    assert dns.asked == ["storage.example", "none.example", "none.example", "dead.example"]
    again = asyncio.create_task(resolver.resolve("dead.example", 80))
    await asyncio.sleep(0)
    dns.answer.set()
    assert await again == [found | {"hostname": "dead.example"}]
    assert len(dns.asked) == 4


async def test_lookups_that_nobody_waits_for_end_with_the_resolver(dns: Dns) -> None:
    resolver = Resolver()
    waiting = asyncio.create_task(resolver.resolve("dead.example", 80))
    await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# Chunks


@pytest.mark.parametrize(("size", "expected"), [(1, BadOutput), (2_000, None)])
async def test_a_body_in_tiny_chunks_is_not_taken_apart(
    wire: Wire, tmp_path: Path, size: int, expected: type[SongApiError] | None
) -> None:
    """Each costs as much as a kilobyte: 3 MB in chunks of one byte took the loop 2.7 s."""
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        assert request.transport is not None
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        request.transport.write(head)
        for _ in range(40):  # a million bytes on the wire each
            rows = 1_000_000 // (size + 6)
            request.transport.write(b"%x\r\n%b\r\n" % (size, b"\0" * size) * rows)
            sent += rows * size
            await asyncio.sleep(0)
            if request.transport.is_closing() or expected is None:
                break
        request.transport.write(b"0\r\n\r\n")
        return web.Response()

    await wire.start(handler)
    download = wire.api.download(Output(url=wire.root + "/a"), at(tmp_path / "song"))
    if expected is None:
        assert await download == sent
    else:
        assert "chunks for" in str(await failing(download, expected))
    if size == 1:
        await failing(wire.api.submit(SONG), SubmitUncertain)


async def test_a_public_storage_is_fetched_without_the_key(wire: Wire, tmp_path: Path) -> None:
    # Loopback plays the open internet here; the rule itself is tested above.
    names = Names({"storage.example": [["127.0.0.1"]]})
    await wire.start(answering(), resolver=names, allow=LOOPBACK)
    storage = await wire.serve(answering(200, AUDIO, {"Set-Cookie": "a=b"}))
    port = storage.rsplit(":", 1)[1]
    for url in (f"http://storage.example:{port}/a.wav?s=1", f"{storage}/b.wav"):
        assert await wire.api.download(Output(url=url), at(tmp_path / "song")) == len(AUDIO)
    for request in wire.seen:
        assert "x-api-key" not in request.headers
        assert "Cookie" not in request.headers
        assert "Authorization" not in request.headers
    assert wire.seen[0].headers["Host"] == f"storage.example:{port}"


async def test_a_storage_that_cannot_be_reached_is_passing(wire: Wire, tmp_path: Path) -> None:
    await wire.start(answering(), resolver=Names({}), allow=LOOPBACK)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for host in (f"127.0.0.1:{port}", "storage.example"):
        output = Output(url=f"http://{host}/a?sig=SECRET")
        error = await failing(wire.api.download(output, at(tmp_path / "s")), NotReached, "SECRET")
        assert isinstance(error, ApiUnavailable)


# Redirects


def redirecting(*hops: str) -> Handler:
    """Each path `/n` leads to the n-th hop."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/song":
            return web.Response(body=AUDIO)
        location = hops[int(request.path.strip("/"))]
        return web.Response(status=302, headers={"Location": location})

    return handler


async def test_redirects_are_followed_and_each_is_looked_at(wire: Wire, tmp_path: Path) -> None:
    await wire.start(redirecting("/1", "2", "3", "./4", "/song"))
    assert await wire.api.download(Output(url=wire.root + "/0"), at(tmp_path / "song")) == len(
        AUDIO
    )
    await wire.start(redirecting("/1", "/2", "/3", "/4", "/5", "/song"))
    error = await failing(
        wire.api.download(Output(url=wire.root + "/0"), at(tmp_path / "song2")), BadOutput
    )
    assert "redirects" in str(error)


async def test_the_key_does_not_follow_a_redirect_to_another_host(
    wire: Wire, tmp_path: Path
) -> None:
    storage = await wire.serve(answering(200, AUDIO))
    await wire.start(redirecting(f"{storage}/song"), allow=LOOPBACK)
    assert await wire.api.download(Output(url=wire.root + "/0"), at(tmp_path / "song")) == len(
        AUDIO
    )
    own, other = wire.seen
    assert own.headers["x-api-key"] == KEY
    assert "x-api-key" not in other.headers


@pytest.mark.parametrize("name", ALL)
async def test_a_redirect_of_a_call_is_not_followed(wire: Wire, tmp_path: Path, name: str) -> None:
    other = await wire.serve(answering(200, {"credits": 1, "request_id": ID, "status": "QUEUED"}))
    await wire.start(answering(307, b"", {"Location": other}))
    expected = KeyRefused if name in POSTS else ApiUnavailable
    await failing(Calls[name](wire.api, at(tmp_path / "song")), expected)
    assert len(wire.seen) == 1


# v1


async def test_make_keeps_the_audio_of_one_call(wire: Wire, tmp_path: Path) -> None:
    await wire.start(answering(200, AUDIO, {"Content-Type": "text/html"}))  # bytes, not words
    await wire.api.make(SONG, at(tmp_path / "song"))
    assert (tmp_path / "song").read_bytes() == AUDIO
    assert files_in(tmp_path) == ["song"]
    assert wire.seen[0].path == "/v1/ace-step-music"
    assert json.loads(wire.bodies[0]) == payload(SONG)
    assert wire.rate_limiter.taken == []


async def test_make_says_where_an_output_is(wire: Wire, tmp_path: Path) -> None:
    there = {"status": "COMPLETED", "output": "https://storage/a.wav"}
    await wire.start(answering(500, there))
    assert await wire.api.make(SONG, at(tmp_path / "song")) == Output(url=there["output"])
    assert files_in(tmp_path) == []


async def test_make_with_audio_that_breaks_off_is_uncertain(wire: Wire, tmp_path: Path) -> None:
    await wire.start(cut_off(200, AUDIO, len(AUDIO) * 2))
    await failing(wire.api.make(SONG, at(tmp_path / "song")), SubmitUncertain)
    await wire.start(answering(200, b""))
    await failing(wire.api.make(SONG, at(tmp_path / "song")), OutputMissing)
    await wire.start(answering(200, AUDIO))
    await failing(wire.api.make(SONG, at(tmp_path / "song", 100)), BadOutput)
    assert files_in(tmp_path) == []
