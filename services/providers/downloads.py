"""HTTP as all providers share it: bounded bodies, network errors as our own, and safe downloads."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from db.cancellation import run_to_completion
from db.errors import SongwrightError
from services.errors import ApiUnavailable, BadOutput, NotReached, OutputMissing, SongApiError
from services.providers.addresses import GuardedSockets, Network, Resolver
from services.providers.base import Output, Workspace
from services.providers.redaction import one_line, without_queries

T = TypeVar("T")

CONNECT = 10.0
"""Seconds."""
BUFFER = 2**16
"""Bytes that are read at a time, or a sixteenth of that where they come in chunks."""
LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)
"""The network's errors. Not every OSError: a full disk is no news from the network."""
MAX_REDIRECTS = 5
MAX_ADDRESS = 8_190
"""Characters of an address; HTTP servers take about as many."""

_BLOCK = 2**20  # bytes handed to the disk at a time: a thread's price once a mebibyte
_HEADER = 512  # bytes, in which every audio format has shown itself
_REDIRECTS = (301, 302, 303, 307, 308)
# By progress: a slow line is not a dead one.
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=30)
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
    try:
        return await work
    except (*_NO_ADDRESS, *LOST) as error:
        kind = unclear
        if isinstance(error, _NO_ADDRESS):
            kind = BadOutput
        elif isinstance(error, _NOT_CONNECTED):
            kind = NotReached
        said = redact(f"{type(error).__name__}: {error}")
    raise kind(f"{what}: {said}")  # out here, so that it has no context


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks in a thread. Cancelled, wait for the thread, which holds the file."""
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    return await run_to_completion(work)


class Downloader:
    """Fetches files of one API.

    A host other than the API's own must have a public address that is not this machine's, or be
    one of `allow`. Each redirect is checked like the first address.

    Args:
        session: used for the API's own host.
        root: the API's address.
        headers: sent to the API's own host, and to no other.
        allow: networks and hosts that may be reached besides public addresses.
        resolver: how names of storage hosts become addresses.
        redact: makes an error's text safe for the log.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        root: URL,
        headers: Mapping[str, str],
        allow: Collection[Network | str] = (),
        resolver: AbstractResolver | None = None,
        redact: Callable[[str], str],
    ) -> None:
        self._session = session
        self._root = root
        self._headers = headers
        self._allow = allow
        self._resolver = resolver or Resolver()
        self._redact = redact

    async def download(self, output: Output, workspace: Workspace) -> int:
        """Write a song's audio to the workspace's file: see `Provider.download`."""
        if output.file is not None:
            return await in_thread(_put_in_place, output.file, workspace.file)
        url = _parse_address(output.url or "")
        fetching = self._fetch(url, workspace)
        return await map_network_errors(_shown(url), ApiUnavailable, fetching, self._redact)

    async def _fetch(self, url: URL, workspace: Workspace) -> int:
        for _ in range(MAX_REDIRECTS + 1):
            saved = await self._hop(url, workspace)
            if isinstance(saved, int):
                return saved
            url = saved
        raise BadOutput(f"{_shown(url)}: more than {MAX_REDIRECTS} redirects")

    async def _hop(self, url: URL, workspace: Workspace) -> URL | int:
        """Save the file and return its bytes, or return where it is said to be instead."""
        if _origin(url) == _origin(self._root):
            return await _get(self._session, url, workspace, self._headers)
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
                return await _get(session, url, workspace, {})
        except aiohttp.ClientConnectorError:
            if guard.refused is None:
                raise
        raise BadOutput(f"{_shown(url)}: {guard.refused}")


async def _get(
    session: aiohttp.ClientSession, url: URL, workspace: Workspace, headers: Mapping[str, str]
) -> URL | int:
    async with session.get(
        url,
        headers={"Accept-Encoding": "identity", **headers},
        allow_redirects=False,
        read_bufsize=BUFFER,
        timeout=_TIMEOUT,
    ) as response:
        code = response.status
        if code in _REDIRECTS and "Location" in response.headers:
            return _parse_address(response.headers["Location"], url)
        if code in (408, 429) or code >= 500:
            raise ApiUnavailable(f"{_shown(url)}: {code}")
        if not 200 <= code < 300:
            raise OutputMissing(f"{_shown(url)}: {code}")
        return await save(response, workspace)


def _shown(url: URL) -> str:
    return f"GET {without_queries(str(url))}"


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, (url.host or "").lower(), url.port


def _parse_address(text: str, base: URL | None = None) -> URL:
    """Read an address, relative to `base` if given.

    Raises:
        BadOutput: it is not http(s), has no host, is too long, or brings a user name.
    """
    if len(text) > MAX_ADDRESS:
        raise BadOutput(f"an address of {len(text):,} characters")
    try:
        # As it stands: another spelling of the same query can break its signature.
        url = URL(text, encoded=re.fullmatch(r"[\x21-\x7e]+", text) is not None)
        url = url if base is None else base.join(url)
        valid = url.scheme in ("http", "https") and url.host and url.user is url.password is None
    except ValueError:
        valid = False
    if not valid:
        raise BadOutput(f"not an address to fetch: {one_line(without_queries(text), 200)}")
    return url


# Onto the disk


async def save(response: aiohttp.ClientResponse, workspace: Workspace, start: bytes = b"") -> int:
    """Stream a body, `start` before it, to the workspace's file; return its bytes.

    Bytes count as decoded, so that compression hides none. The HTTP library checks the body against
    its announced length and fails if it is cut off.

    Raises:
        OutputMissing: it is empty, or text.
        BadOutput: it is over the limit, or in too many chunks.
    """
    name, limit = _shown(response.url), workspace.limit
    if (response.content_length or 0) > limit:
        raise BadOutput(f"{name}: {response.content_length:,} bytes, over {limit:,}")
    # The same name each time: what a killed process has left is overwritten.
    part = workspace.file.with_name(workspace.file.name + ".part")
    block = bytearray(start)
    size = len(start)
    try:
        async for piece in read_pieces(response):
            block += piece
            size += len(piece)
            if size > limit:
                raise BadOutput(f"{name}: over {limit:,} bytes")
            if len(block) >= _BLOCK:
                _check_not_text(name, block, size)
                await in_thread(_append, part, bytes(block), size)
                block.clear()
        _check_not_text(name, block, size)
        await in_thread(_append, part, bytes(block), size)
        await in_thread(_put_in_place, part, workspace.file)
    except TooManyChunks as error:
        raise BadOutput(f"{name}: {error}") from None
    finally:
        await in_thread(part.unlink, True)  # noqa: FBT003 - missing_ok
    return size


def starts_as_markup(start: bytes) -> bool:
    """Return whether it is JSON or HTML: no audio format begins with these."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b'"', b"<")


def _check_not_text(name: str, block: bytearray, size: int) -> None:
    """Refuse a body that is empty or begins as text: storage that has no such file yet says so.

    `size` is that of the body so far: what comes after its first block may be anything. The header
    of every audio format has bytes that no text has.
    """
    if size == 0:
        raise OutputMissing(f"{name}: empty")
    start = bytes(block[:_HEADER])
    is_first = size == len(block)
    if is_first and (starts_as_markup(start) or re.fullmatch(rb"[\t\n\r\x20-\x7e]+", start)):
        raise OutputMissing(f"{name}: text instead of audio")


def _append(part: Path, block: bytes, size: int) -> None:
    """Write a block to a file that has `size` bytes with it."""
    with part.open("wb" if size == len(block) else "ab") as file:
        file.write(block)


def _put_in_place(part: Path, target: Path) -> int:
    """Give a file its name, once its bytes are on the disk: the API forgets in an hour."""
    with part.open("rb+") as written:  # Windows syncs no file that is open for reading alone
        os.fsync(written.fileno())
    part.replace(target)
    return target.stat().st_size
