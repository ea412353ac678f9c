"""What holds for each call: the account's balance and limits, codes, lost and malformed answers."""

import asyncio
import socket
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from services.errors import (
    ApiUnavailable,
    KeyRefused,
    NotReached,
    OutOfCredits,
    RateLimited,
    RequestRejected,
    SongApiError,
    SongGone,
    SubmitForbidden,
)
from services.providers import segmind
from services.providers.rate_limiter import Call
from services.providers.segmind import Segmind
from services.providers.segmind_answers import retry_after
from tests.unit.services.providers.song_api_wire import (
    ALL,
    CALLS,
    ID,
    KEY,
    NOWHERE,
    POSTS,
    SONG,
    Handler,
    Names,
    RateLimit,
    Wire,
    answering,
    cut_off,
    failing,
    hanging_up,
    unclear,
)


async def test_balance(wire: Wire) -> None:
    await wire.start(answering(200, {"credits": 12.5}))
    assert await wire.api.get_balance() == 12.5
    assert (wire.seen[0].path, wire.rate_limiter.taken) == ("/v1/get-user-credits", [Call.POLL])


@pytest.mark.parametrize(
    "body",
    [{"credits": None}, {"credits": "9"}, {}, [], b'{"credits": NaN}', {"credits": 10**400}],
)
async def test_malformed_balance_is_transient(wire: Wire, body: object) -> None:
    await wire.start(answering(200, body))
    await failing(wire.api.get_balance(), ApiUnavailable)


BODIES = [
    *({"error": "no"}, {"error": {"message": "no"}}, {"detail": [{"msg": "no"}]}, []),
    *(b"null", b"7", b"", b"plain words", b"<html><body>502 Bad Gateway</body></html>"),
    *(b'{"error": "cut of', b"\xff\xfe\x00", b"[" * 100_000, b'{"error": ' + b"9" * 5000 + b"}"),
]


def rows() -> Iterator[tuple[str, int, type[SongApiError]]]:
    for name in ALL:
        forbidden = SubmitForbidden if name in POSTS else KeyRefused
        missing = SongGone if name in ("status", "result") else forbidden
        meanings: dict[type[SongApiError], tuple[int, ...]] = {
            RequestRejected: (400, 409, 413, 418, 422),
            OutOfCredits: (402, 406),
            RateLimited: (429,),
            unclear(name): (408, 500, 502, 503, 504, 599),
        }
        for error, codes in meanings.items():
            yield from ((name, code, error) for code in codes)
        yield from ((name, 401, KeyRefused), (name, 403, forbidden), (name, 404, missing))
        yield name, 302, KeyRefused if name in POSTS else ApiUnavailable


@pytest.mark.parametrize(("name", "code", "expected"), list(rows()))
async def test_every_code_is_one_error_whatever_the_body(
    wire: Wire, name: str, code: int, expected: type[SongApiError]
) -> None:
    bodies = iter(BODIES)

    async def each(request: web.Request) -> web.StreamResponse:
        return await answering(code, next(bodies))(request)

    await wire.start(each)
    for _ in BODIES:
        error = await failing(wire.call(name), expected)
        if expected is not RateLimited:
            assert str(code) in str(error)
            assert len(str(error)) < 600
            assert "\n" not in str(error)
    assert wire.files == []


MALFORMED = [b"<html>", b"{", b"[]", {"status": "<LOST>"}, {"a": 1}]
# v1's answer may be the file itself, so for it these are audio.
NO_JSON = [b"", b"words", b"null", b"3"]


@pytest.mark.parametrize(
    ("name", "body"),
    [(name, body) for name in ALL for body in MALFORMED + (NO_JSON if name != "make" else [])],
)
async def test_malformed_reply_with_a_good_code(wire: Wire, name: str, body: object) -> None:
    await wire.start(answering(200, body))
    await failing(wire.call(name), unclear(name))
    assert wire.files == []


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "handler",
    [
        hanging_up,
        silent,
        # Cut off where it would parse: what is missing might have said something different.
        cut_off(200, b'{"request_id": "a", "status": "QUEUED", "credits": 1}', 1000),
    ],
)
async def test_lost_answer(
    wire: Wire, name: str, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    if handler is silent:
        for timeout in ("_SUBMIT", "_BALANCE", "_POLL", "_MAKE"):
            monkeypatch.setattr(segmind, timeout, aiohttp.ClientTimeout(sock_read=0.02))
    await wire.start(handler)
    await failing(wire.call(name), unclear(name))


@pytest.mark.parametrize("name", ALL)
async def test_code_of_an_answer_that_breaks_off_counts(wire: Wire, name: str) -> None:
    await wire.start(cut_off(401, b'{"error', 1000))
    await failing(wire.call(name), KeyRefused)


@pytest.mark.parametrize("name", ALL)
async def test_no_connection_is_not_reached(wire: Wire, name: str) -> None:
    await wire.start(answering())
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for root in (f"http://127.0.0.1:{port}", wire.root.replace("p:", "ps:")):  # refused; no TLS
        await failing(CALLS[name](wire.client(root=root), wire.at()), NotReached)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Names())) as session:
        api = Segmind(session, root="http://a.example", key=KEY, rate_limiter=wire.rate_limiter)
        await failing(CALLS[name](api, wire.at()), NotReached)
    assert wire.seen == []


async def test_connection_that_takes_too_long_is_not_reached(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmind, "_SUBMIT", aiohttp.ClientTimeout(connect=0.01))
    connector = aiohttp.TCPConnector(resolver=Names(silent=True))
    async with aiohttp.ClientSession(connector=connector) as session:
        api = Segmind(session, root="http://slow.example", key=KEY, rate_limiter=wire.rate_limiter)
        await failing(api.submit(SONG), NotReached)


@pytest.mark.parametrize("name", ALL)
async def test_redirect_of_a_call_is_not_followed(wire: Wire, name: str) -> None:
    other = await wire.serve(answering(200, {"credits": 1, "request_id": ID, "status": "QUEUED"}))
    await wire.start(answering(307, b"", {"Location": other}))
    await failing(wire.call(name), KeyRefused if name in POSTS else ApiUnavailable)
    assert len(wire.seen) == 1


async def test_log_line_has_method_path_code_and_a_short_body(wire: Wire) -> None:
    await wire.start(
        answering(400, f'{{"error": "{KEY} https://s/x?sig=SECRET"}}'.encode() + b"\n" * 3000)
    )
    error = await failing(wire.api.get_status(ID, NOWHERE), RequestRejected, "SECRET")
    assert str(error) == f'GET /v2/requests/{ID}/status: 400 {{"error": "[key] https://s/x"}}'


@pytest.mark.parametrize(
    "address",
    [
        *("//s.example/a.wav?sig=SECRET", "/files/a?sig=SECRET", "files/a#SECRET", "/?SECRET"),
        *("s3://b/a?SECRET", "https:\\/\\/s.example\\/a?sig=SECRET"),
        "https://s.example/a\\u003fsig=SECRET",
    ],
)
async def test_signed_address_is_not_logged_however_it_is_written(wire: Wire, address: str) -> None:
    await wire.start(answering(200, f'{{"output": "{address}", "why": "who knows?"}}'.encode()))
    error = await failing(wire.api.get_status(ID, NOWHERE), ApiUnavailable, "SECRET")
    assert str(error).endswith('", "why": "who knows?"}')


DAY = "Tue, 24 Nov 2026 "


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        *(("7", None, 7), (" 2.5 ", None, 2.5), ("0", None, 1), ("9" * 400, None, 300)),
        *(("-5", None, 10), ("soon", None, 10), ("nan", None, 10), ("\u0667", None, 10)),
        (None, None, 10),
        (DAY + "10:00:42 GMT", DAY + "10:00:00 GMT", 42),
        (DAY + "09:00:00 GMT", DAY + "10:00:00 GMT", 1),
        (DAY + "10:00:42 GMT", None, 10),
        (DAY + "10:00:42 -0000", DAY + "10:00:00 GMT", 10),
    ],
)
def test_retry_after(text: str | None, date: str | None, seconds: float) -> None:
    headers = {"Retry-After": text, "Date": date}
    assert retry_after({k: v for k, v in headers.items() if v is not None}) == seconds


async def test_rate_limiter_is_notified_of_a_429(wire: Wire) -> None:
    await wire.start(answering(429, {"error": "slow"}, {"Retry-After": "17"}))
    error = await failing(wire.api.submit(SONG), RateLimited)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 17
    assert wire.rate_limiter.refusals == [17]


async def test_call_waits_for_the_rate_limiter(wire: Wire) -> None:
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
