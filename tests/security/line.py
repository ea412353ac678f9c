"""The other end of every connection of the bot's HTTP client, with no socket between.

What a test says arrives byte for byte: all of aiohttp's reading of it is real, its parsers, its
framing, its decompression.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

PIECE = 2**16
"""Bytes that arrive at a time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes back on a line, before it is closed; `reset` is the rude end of one."""

    content: bytes
    reset: bool = False
    refused: bool = False
    """No connection is made at all."""


REFUSED = Reply(b"", refused=True)


class Line(aiohttp.BaseConnector):
    """Makes connections to whoever answers with what `answer` gives for a method and an address."""

    def __init__(self) -> None:
        super().__init__(force_close=True)
        self.answer: Callable[[str, URL], Reply] = lambda *_: REFUSED

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: Any,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own name
    ) -> ResponseHandler:
        reply = self.answer(req.method, req.url)
        if reply.refused:
            raise aiohttp.ClientConnectorError(
                req.connection_key, ConnectionRefusedError("refused")
            )
        protocol = ResponseHandler(asyncio.get_running_loop())
        protocol.connection_made(_End(protocol, reply))
        return protocol


class _End(asyncio.Transport):
    """Takes a request, and gives the reply when it is whole; it stops where it is told to."""

    def __init__(self, protocol: ResponseHandler, reply: Reply) -> None:
        super().__init__()
        self._protocol = protocol
        self._reply = reply
        self._request = bytearray()
        self._missing: int | None = None
        self._given = 0
        self._paused = False
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._request += data
        head, end, body = bytes(self._request).partition(b"\r\n\r\n")
        if end and self._missing is None:
            length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
            if len(body) >= int(length or b"0"):
                self._missing = 0
                asyncio.get_running_loop().call_soon(self._give)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def _give(self) -> None:
        content = self._reply.content
        while not (self._paused or self._closed) and self._given < len(content):
            piece = content[self._given : self._given + PIECE]
            self._given += len(piece)
            self._protocol.data_received(piece)
        if not (self._paused or self._closed):
            self._lose(ConnectionResetError("reset") if self._reply.reset else None)

    def _lose(self, error: Exception | None) -> None:
        self._closed = True
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
