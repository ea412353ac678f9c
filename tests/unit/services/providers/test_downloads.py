"""Fetch a song's audio from wherever it is said to be."""

import asyncio
import gzip
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from services.errors import (
    ApiUnavailable,
    BadOutput,
    NotReached,
    OutputMissing,
    SongApiError,
    SubmitUncertain,
)
from services.providers import downloads
from services.providers.base import Output, Workspace
from services.providers.segmind import Segmind
from tests.unit.services.providers.song_api_wire import (
    AUDIO,
    KEY,
    LOOPBACK,
    SONG,
    Handler,
    Names,
    Wire,
    answering,
    cut_off,
    failing,
    hanging_up,
)


async def test_download_from_the_apis_own_host(wire: Wire) -> None:
    await wire.start(answering(200, AUDIO))
    wire.at().file.write_bytes(b"an older one")
    wire.at("song.part").file.write_bytes(b"left by a killed process" * 5000)
    path = "/a%2Fb.wav?sig=a%2Fb%20+c"
    assert await wire.download(path) == len(AUDIO)
    assert wire.at().file.read_bytes() == AUDIO
    assert wire.files == ["song"]
    assert wire.seen[0].raw_path == path  # not encoded again
    assert wire.seen[0].headers["Accept-Encoding"] == "identity"
    assert wire.rate_limiter.taken == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, OutputMissing) for code in (400, 401, 403, 404, 410, 304)),
        (302, OutputMissing),  # without a Location
        *((code, ApiUnavailable) for code in (408, 429, 500, 503)),
    ],
)
async def test_codes_of_a_storage(wire: Wire, code: int, expected: type[SongApiError]) -> None:
    await wire.start(answering(code, b"<Error>"))
    error = await failing(wire.download("/a.wav?sig=SECRET"), expected, "SECRET")
    assert str(code) in str(error)
    assert wire.files == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<!DOCTYPE html><html>", b"Not Found\n", b"<html>" + b" " * 2**21),
        b"\xef\xbb\xbf\r\n  <Error><Code>NoSuchKey</Code></Error>",
        '{"message": "\u672a\u627e\u5230"}'.encode(),
    ],
)
async def test_storage_that_answers_200_without_audio(wire: Wire, body: bytes) -> None:
    await wire.start(answering(200, body, {"Content-Type": "audio/wav"}))
    await failing(wire.download(), OutputMissing)
    assert wire.files == []


@pytest.mark.parametrize("start", [b"RIFF$   WAVEfmt \x10\0\0\0", b"\xff\xfbP<html>", b"OggS\0"])
async def test_audio_whose_header_has_letters_is_saved(wire: Wire, start: bytes) -> None:
    audio = start + b"a" * 2**20 + b"{}"
    await wire.start(answering(200, audio, {"Content-Type": "text/plain"}))
    assert await wire.download() == len(audio)


def streaming(then: str) -> Handler:
    """Send some audio without a length, then break off, fall silent or go on."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(AUDIO)
        while then == "go on":
            await response.write(AUDIO)
        if then == "fall silent":
            await asyncio.sleep(30)
        assert request.transport is not None
        request.transport.close()
        return response

    return handler


@pytest.mark.parametrize(
    "handler",
    [
        cut_off(200, AUDIO, len(AUDIO) + 1),
        cut_off(200, AUDIO * 200, len(AUDIO) * 400),  # after blocks have been written
        hanging_up,
        streaming("break off"),
        streaming("fall silent"),
    ],
)
async def test_download_that_breaks_off_is_transient_and_leaves_nothing(
    wire: Wire, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_TIMEOUT", aiohttp.ClientTimeout(sock_read=0.1))
    await wire.start(handler)
    await failing(wire.download("/a.wav?sig=SECRET"), ApiUnavailable, "SECRET")
    assert wire.files == []


@pytest.mark.parametrize(
    ("handler", "limit", "expected"),
    [
        (answering(200, AUDIO), len(AUDIO), None),
        (answering(200, AUDIO), len(AUDIO) - 1, BadOutput),  # its Content-Length says so
        (streaming("go on"), len(AUDIO) - 1, BadOutput),  # it has none
        (  # its Content-Length is small
            answering(200, gzip.compress(b"\0" * 2**24), {"Content-Encoding": "gzip"}),
            *(len(AUDIO) - 1, BadOutput),
        ),
        # What is announced would be allowed.
        (cut_off(200, AUDIO, 92_160_044), Segmind.largest_file(240), ApiUnavailable),
    ],
)
async def test_limit_of_a_download(
    wire: Wire, handler: Handler, limit: int, expected: type[SongApiError] | None
) -> None:
    await wire.start(handler)
    if expected is None:
        assert await wire.download(limit=limit) == len(AUDIO)
    else:
        await failing(wire.download(limit=limit), expected)
        assert wire.files == []


@pytest.mark.parametrize(("seconds", "kilohertz"), [(240, 48), (10, 48), (240, 44.1)])
def test_largest_song_is_what_the_model_writes(seconds: int, kilohertz: float) -> None:
    """Stereo WAV of 32-bit floats, headers and a second more than was requested."""
    made = 44 + round((seconds + 1) * kilohertz * 1000 * 2 * 4)
    workspace = Workspace(Path("song"), Segmind.largest_file(seconds))
    assert made <= workspace.limit < made * 1.1 + 4 * 2**20
    # As base64 with line breaks that JSON escapes.
    assert made * 4 / 3 * 80 / 76 < workspace.largest_body


async def test_file_that_cannot_be_written_is_no_error_of_the_api(wire: Wire) -> None:
    await wire.start(answering(200, AUDIO))
    nowhere = wire.at("nowhere/song")
    with pytest.raises(FileNotFoundError):
        await wire.api.download(Output(url=wire.root + "/a"), nowhere)
    with pytest.raises(FileNotFoundError):
        await wire.api.make(SONG, nowhere)
    wire.at().file.mkdir()
    with pytest.raises(IsADirectoryError):
        await wire.download()
    assert wire.files == ["song"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_full_disk_leaves_nothing(wire: Wire) -> None:
    wire.at("song.part").file.symlink_to("/dev/full")
    await wire.start(answering(200, AUDIO * 300))
    with pytest.raises(OSError, match="No space left"):
        await wire.download()
    assert wire.files == []


async def test_cancelled_download_waits_for_its_thread_and_leaves_nothing(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
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
    download = asyncio.ensure_future(wire.download())
    await writing.wait()
    download.cancel()
    await asyncio.sleep(0)
    download.cancel()  # impatient
    with pytest.raises(asyncio.CancelledError):
        await download
    assert ended == [len(AUDIO)]
    assert wire.files == []


@pytest.mark.parametrize(("size", "expected"), [(1, BadOutput), (2_000, None)])
async def test_body_in_tiny_chunks_is_refused(
    wire: Wire, size: int, expected: type[SongApiError] | None
) -> None:
    """Each costs as much as a kilobyte: 3 MB in chunks of one byte took the loop 2.7 s."""
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
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
    if expected is None:
        assert await wire.download() == sent
    else:
        assert "chunks for" in str(await failing(wire.download(), expected))
        await failing(wire.api.submit(SONG), SubmitUncertain)


# Other hosts: loopback plays the open internet here; `test_addresses.py` has the rule itself


async def test_public_storage_is_fetched_without_the_key(wire: Wire) -> None:
    await wire.start(answering(), resolver=Names("127.0.0.1"), allow=LOOPBACK)
    storage = await wire.serve(answering(200, AUDIO, {"Set-Cookie": "a=b"}))
    port = storage.rsplit(":", 1)[1]
    for url in (f"http://storage.example:{port}/a.wav?s=1", f"{storage}/b.wav"):
        assert await wire.download(url) == len(AUDIO)
    for request in wire.seen:
        assert not {"x-api-key", "Cookie", "Authorization"} & set(request.headers)
    assert wire.seen[0].headers["Host"] == f"storage.example:{port}"


async def test_storage_that_cannot_be_reached_is_transient(wire: Wire) -> None:
    await wire.start(answering(), resolver=Names(), allow=LOOPBACK)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for host in (f"127.0.0.1:{port}", "storage.example"):
        error = await failing(wire.download(f"http://{host}/a?sig=SECRET"), NotReached, "SECRET")
        assert isinstance(error, ApiUnavailable)


def redirecting(*hops: str) -> Handler:
    """Each path `/n` leads to the n-th hop."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/song":
            return web.Response(body=AUDIO)
        location = hops[int(request.path.strip("/"))]
        return web.Response(status=302, headers={"Location": location})

    return handler


async def test_five_redirects_are_followed(wire: Wire) -> None:
    await wire.start(redirecting("/1", "2", "3", "./4", "/song"))
    assert await wire.download("/0") == len(AUDIO)
    await wire.start(redirecting("/1", "/2", "/3", "/4", "/5", "/song"))
    assert "redirects" in str(await failing(wire.download("/0"), BadOutput))


async def test_key_does_not_follow_a_redirect_to_another_host(wire: Wire) -> None:
    storage = await wire.serve(answering(200, AUDIO))
    await wire.start(redirecting(f"{storage}/song"), allow=LOOPBACK)
    assert await wire.download("/0") == len(AUDIO)
    own, other = wire.seen
    assert own.headers["x-api-key"] == KEY
    assert "x-api-key" not in other.headers


@pytest.mark.parametrize(
    "url",
    [
        *("", "http:///a", "http://h:99999/a", "http://[::1/a", "data:text/plain,a"),
        *("file:///etc/passwd", "http://user@s/a", "http://:word@s/a", "http://s/" + "a" * 9_000),
    ],
)
async def test_malformed_addresses_are_not_fetched(wire: Wire, url: str) -> None:
    await wire.start(answering())
    await failing(wire.download(url), BadOutput)


async def test_name_that_the_dns_cannot_write_is_no_address(wire: Wire) -> None:
    class Strict(Names):
        async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
            raise UnicodeError("label empty or too long")

    await wire.start(answering(), resolver=Strict())
    await failing(wire.download("http://a..b/a?sig=SECRET"), BadOutput, "SECRET")
