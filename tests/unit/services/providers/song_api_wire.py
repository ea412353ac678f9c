"""Servers on loopback that answer what a test says, and the song API's client pointed at them."""

import asyncio
import json
import socket
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from db.records import SongRequest
from services.errors import ApiUnavailable, SongApiError, SubmitUncertain
from services.providers.base import Output, Workspace
from services.providers.rate_limiter import Call, RateLimiter
from services.providers.segmind import Segmind

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


CALLS: dict[str, Callable[[Segmind, Workspace], Awaitable[object]]] = {
    "submit": lambda api, _: api.submit(SONG),
    "make": lambda api, workspace: api.make(SONG, workspace),
    "status": lambda api, workspace: api.get_status(ID, workspace),
    "result": lambda api, workspace: api.result(ID, workspace),
    "balance": lambda api, _: api.get_balance(),
}
POSTS, GETS = ("submit", "make"), ("status", "result", "balance")
ALL = POSTS + GETS


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

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder
        self.rate_limiter = RateLimit()
        self.seen: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.root = ""
        self.api: Segmind
        self.session: aiohttp.ClientSession

    async def start(self, handler: Handler, **options: Any) -> None:
        self.root = await self.serve(handler)
        self.session = await self._stack.enter_async_context(aiohttp.ClientSession())
        self.api = self.client(**options)

    def client(self, **options: Any) -> Segmind:
        given: dict[str, Any] = {
            "root": self.root,
            "key": KEY,
            "rate_limiter": self.rate_limiter,
        } | options
        return Segmind(self.session, **given)

    def at(self, name: str = "song", limit: int = 2**25) -> Workspace:
        """A song may come to this file, with so many bytes."""
        return Workspace(self.folder / name, limit)

    def call(self, name: str, limit: int = 2**25) -> Awaitable[object]:
        return CALLS[name](self.api, self.at(limit=limit))

    def download(self, url: str = "/a", limit: int = 2**25) -> Awaitable[int]:
        """Fetch an address, or a path of the API's own host."""
        url = self.root + url if url.startswith("/") else url
        return self.api.download(Output(url=url), self.at(limit=limit))

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    async def serve(self, handler: Handler) -> str:
        """Start another server; what it sees is recorded too."""

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


def unclear(name: str) -> type[SongApiError]:
    """The error of a call whose outcome is unknown."""
    return SubmitUncertain if name in POSTS else ApiUnavailable


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


class Names(AbstractResolver):
    """Every name has this address; none has any, or the DNS is silent."""

    def __init__(self, address: str | None = None, *, silent: bool = False) -> None:
        self._address = address
        self._silent = silent

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self._silent:
            await asyncio.sleep(30)
        if self._address is None:
            raise OSError("no such name")
        return [
            ResolveResult(
                hostname=host,
                host=self._address,
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""
