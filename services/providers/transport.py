"""What all providers' HTTP calls share: bounded bodies, and network errors as our own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import aiohttp

from db.cancellation import run_to_completion
from db.errors import SongwrightError
from services.errors import BadOutput, NotReached, SongApiError

T = TypeVar("T")

CONNECT = 10.0
"""Seconds."""
BUFFER = 2**16
"""Bytes that are read at a time, or a sixteenth of that where they come in chunks."""
LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)
"""The network's errors. Not every OSError: a full disk is no news from the network."""

_FREE_CHUNKS = 10_000
_BYTES_A_CHUNK = 256  # on average, beyond those
# Raised only while connecting: nothing of the request has left.
_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,  # refused, no such name, TLS
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
# UnicodeError: a name that cannot be written for the DNS.
_NO_ADDRESS = (aiohttp.InvalidURL, UnicodeError)


class TooManyChunks(SongwrightError, aiohttp.ClientPayloadError):
    """A body in pieces so small that taking them apart would keep the loop busy."""


async def read_pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Read the body as it comes.

    Raises:
        TooManyChunks: its chunks (RFC 9112, 7.1) are too many for its bytes. Each costs as much as
            a kilobyte does otherwise, and 64 MB in chunks of one byte held the loop for a minute.
    """
    chunks = size = 0
    async for data, chunk_ended in response.content.iter_chunks():
        chunks += chunk_ended
        size += len(data)
        if chunks > _FREE_CHUNKS + size // _BYTES_A_CHUNK:
            raise TooManyChunks(f"{chunks:,} chunks for {size:,} bytes")
        yield data


async def map_network_errors(
    what: object,
    unclear: type[SongApiError],
    work: Awaitable[T],
    redact: Callable[[str], str],
) -> T:
    """Await `work`; an error of the network's becomes one of ours, with `what` and its text.

    It is not chained to ours: its `repr` shows the request's headers.

    Raises:
        BadOutput: there is no such address.
        NotReached: no connection could be made.
        SongApiError: `unclear`, where the connection was lost.
    """
    failure: SongApiError
    try:
        return await work
    except _NO_ADDRESS as error:
        failure = BadOutput(f"{what}: {_text(error, redact)}")
    except _NOT_CONNECTED as error:
        failure = NotReached(f"{what}: {_text(error, redact)}")
    except LOST as error:
        failure = unclear(f"{what}: {_text(error, redact)}")
    raise failure  # out here, so that it has no context


def _text(error: BaseException, redact: Callable[[str], str]) -> str:
    return redact(f"{type(error).__name__}: {error}")


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks in a thread. Cancelled, wait for the thread, which holds the file."""
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    return await run_to_completion(work)
