"""The services with the real database and HTTP client, for which a test plays the song API.

There is no socket: what a test answers arrives byte for byte, and all of aiohttp's reading of it is
real, its parsers, its framing, its decompression.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from playground.song_api import PLAYGROUND_KEY
from services.providers.addresses import Network
from services.providers.segmind import Segmind
from tests.databases import new_database
from tests.world.services import Channel, SongWorld

ROOT = "http://songs.example/api"
KEY = PLAYGROUND_KEY
CHUNK = 2**16
"""Bytes that arrive at a time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes back on a connection before it is closed, or `reset`; or none is made at all."""

    content: bytes
    reset: bool = False
    refused: bool = False


REFUSED = Reply(b"", refused=True)
Answer = Callable[[str, URL], Reply]
"""The reply to a method and an address."""


class Connector(aiohttp.BaseConnector):
    """Connects to whoever answers with what `answer` returns."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(force_close=True)
        self._answer = answer

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: Any,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own name
    ) -> ResponseHandler:
        reply = self._answer(req.method, req.url)
        if reply.refused:
            raise aiohttp.ClientConnectorError(
                req.connection_key, ConnectionRefusedError("refused")
            )
        protocol = ResponseHandler(asyncio.get_running_loop())
        protocol.connection_made(_Transport(protocol, reply))
        return protocol


class _Transport(asyncio.Transport):
    """Takes a complete request, then gives the reply; it pauses if a test wants that."""

    def __init__(self, protocol: ResponseHandler, reply: Reply) -> None:
        super().__init__()
        self._protocol = protocol
        self._reply = reply
        self._request = bytearray()
        self._answering = False
        self._given = 0
        self._paused = False
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._request += data
        head, end, body = bytes(self._request).partition(b"\r\n\r\n")
        length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        if end and not self._answering and len(body) >= int(length or b"0"):
            self._answering = True
            asyncio.get_running_loop().call_soon(self._give)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def _give(self) -> None:
        content = self._reply.content
        while not (self._paused or self._closed) and self._given < len(content):
            chunk = content[self._given : self._given + CHUNK]
            self._given += len(chunk)
            self._protocol.data_received(chunk)
        if not (self._paused or self._closed):
            self._closed = True
            error = ConnectionResetError("reset") if self._reply.reset else None
            self._protocol.connection_lost(error)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._give)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Names(AbstractResolver):
    """A DNS that resolves every name to these addresses, one after the other; the last stays."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)
        self.resolved: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.resolved.append(host)
        address = self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        about = {"hostname": host, "host": address, "port": port, "family": kind, "proto": 0}
        return [cast("ResolveResult", {**about, "flags": socket.AI_NUMERICHOST})]

    async def close(self) -> None:
        """Nothing is open."""


class _Channel(Channel):
    """Takes every post."""

    def changed(self, song_id: int) -> None:
        """Note nothing: there may be thousands of changes."""


class AnsweredWorld(SongWorld):
    """Songs are made one after the other."""

    resolver: AbstractResolver | None = None
    allow: Collection[Network] = ()

    def make_api(self, **_: Any) -> Segmind:
        """Make the client with the test's own DNS."""
        return super().make_api(root=ROOT, key=KEY, allow=self.allow, resolver=self.resolver)

    async def fails(self, song_id: int) -> str:
        """Make a new song, which fails: refunded, not posted, nothing left. Return the reason."""
        await self.add(song_id, member_id=song_id, requested_at=self.time())
        await self.start(song_id)
        song = await self.song(song_id)
        assert (song.status, self.channel.posts) == ("FAILED", {})
        assert await self.entries(song_id) == ["hold", "refund"]
        assert self.files() == []
        assert song.reason
        return song.reason

    async def completes(self, song_id: int) -> None:
        """Make a new song, which is posted."""
        await self.add(song_id, member_id=song_id)
        await self.start(song_id)
        song = await self.song(song_id)
        assert (song.status, song.reason) == ("COMPLETED", None)


@contextlib.asynccontextmanager
async def answered_world(
    folder: Path,
    answer: Answer,
    *,
    resolver: AbstractResolver | None = None,
    allow: Collection[Network] = (),
) -> AsyncIterator[AnsweredWorld]:
    """The world; `answer` is the API. Addresses in `allow` may be connected to."""
    database = await new_database(folder / "songs.db")
    await database._writer.execute("PRAGMA synchronous = OFF")  # no power is cut here
    try:
        async with aiohttp.ClientSession(connector=Connector(answer)) as session:
            world = AnsweredWorld(database, session, folder)
            world.resolver, world.allow = resolver, allow
            world.channel = _Channel(folder / "songs.db")
            world.restart()
            yield world
    finally:
        await database.close()
