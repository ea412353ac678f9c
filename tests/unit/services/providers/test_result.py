"""Where a song is: what `output` can be, and songs inside of an answer."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest
from aiohttp import web

from services.errors import (
    ApiUnavailable,
    BadOutput,
    GenerationFailed,
    OutputMissing,
    SongApiError,
)
from services.providers import segmind
from services.providers.base import Output, Workspace
from services.providers.rate_limiter import Call
from services.providers.segmind_answers import find_output
from tests.unit.services.providers.song_api_wire import (
    AUDIO,
    CALLS,
    ID,
    NOWHERE,
    SONG,
    Wire,
    answering,
    cut_off,
    failing,
    unclear,
)


@pytest.mark.parametrize(
    "body",
    [{"status": "COMPLETED", "output": ["https://s/a.wav"]}, {"output": "https://s/a.wav"}],
)
async def test_result_names_the_output(wire: Wire, body: object) -> None:
    await wire.start(answering(200, body))
    assert await wire.api.result(ID, NOWHERE) == Output(url="https://s/a.wav")
    assert (wire.seen[0].path, wire.rate_limiter.taken) == (f"/v2/requests/{ID}", [Call.RESULT])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": "COMPLETED", "output": "", "nsfw": False}, OutputMissing),
        ({"output": None}, OutputMissing),
        ({"status": "PROCESSING", "output": None}, ApiUnavailable),
        ({"hello": "world"}, ApiUnavailable),
    ],
)
async def test_result_without_output(
    wire: Wire, body: object, expected: type[SongApiError]
) -> None:
    await wire.start(answering(200, body))
    await failing(wire.api.result(ID, NOWHERE), expected)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://s/a.wav?x=1", "https://s/a.wav?x=1"),
        ("  HTTPS://s/a ", "HTTPS://s/a"),
        (["https://s/a", "https://s/b"], "https://s/a"),
        (["https://s/cover.png", "https://s/b.mp3"], "https://s/b.mp3"),
        (["https://s/a", "https://s/b.mp3"], "https://s/b.mp3"),
        ({"url": "https://s/a"}, "https://s/a"),
        ({"image": {"url": "https://s/a"}, "audio": {"url": "https://s/b"}}, "https://s/b"),
        ({"data": [{"file": {"href": "https://s/a"}}]}, "https://s/a"),
        ({"mime": "audio/wav", "blob": "a" * 99, "url": "https://s/a"}, "https://s/a"),
        ("ftp://s/a.wav", "ftp://s/a.wav"),
        ('{"audio_url": "https://s/a"}', "https://s/a"),
        (["https://s/cover.png", "https://s/a"], "https://s/a"),
        ({"image": "https://s/a", "result": "https://s/b"}, "https://s/b"),
        ({"video_url": "https://s/a", "audio": "https://s/b"}, "https://s/b"),
        ({"video": "https://s/a"}, "https://s/a"),
        (' ["https://s/cover.png", "https://s/b.mp3"]', "https://s/b.mp3"),
        (json.dumps([json.dumps({"url": "https://s/a"})]), "https://s/a"),
        *(("[broken", None), ("[\ud800]", None), ("", None), ("done", None)),
        *((None, None), (7, None), ([], None)),
        ({"sha256": "a" * 64}, None),
        ({"seconds": 60, "mime": "audio/wav"}, None),
        ([[[[[[["https://s/too-deep"]]]]]]], None),
    ],
)
def test_find_output(value: object, url: str | None) -> None:
    assert find_output(value) == (None if url is None else Output(url=url))


def test_output_does_not_show_what_is_signed() -> None:
    shown = repr(Output(url="https://s/a.wav?sig=SECRET"))
    assert "https://s/a.wav" in shown
    assert "SECRET" not in shown


# Large answers


LARGE = AUDIO * 300
"""Over 3 MB."""


def large(audio: bytes = LARGE) -> dict[str, object]:
    """An answer with a song in it, next to other things that resemble one."""
    text = base64.b64encode(audio).decode()
    return {"status": "COMPLETED", "output": {"sha": "a" * 64, "cover": text[:50_000], "a": text}}


async def test_large_base64_answer_is_read(wire: Wire) -> None:
    await wire.start(answering(200, large()))
    job = await wire.api.get_status(ID, wire.at())
    assert job.output is not None
    assert repr(job.output) == "Output(file='song.answer1')"
    assert wire.files == ["song.answer1"]  # the cover's is removed
    assert await wire.api.download(job.output, wire.at()) == len(LARGE)
    assert wire.at().file.read_bytes() == LARGE
    assert wire.files == ["song"]
    assert await wire.api.make(SONG, wire.at()) == job.output


async def test_large_answer_with_an_address_leaves_no_file(wire: Wire) -> None:
    body = large() | {"output": [large()["output"], "https://s/a.wav"]}
    await wire.start(answering(200, body))
    assert await wire.api.result(ID, wire.at()) == Output(url="https://s/a.wav")
    assert wire.files == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (large(LARGE * 2), BadOutput),  # over the limit
        (large() | {"output": base64.b64encode(LARGE).decode() + "!"}, BadOutput),
        (large() | {"status": "FAILED"}, GenerationFailed),
        ({"output": large()["output"], "a": ["a"] * 90_000, "status": "COMPLETED"}, ApiUnavailable),
    ],
)
async def test_large_answer_without_a_song_leaves_no_file(
    wire: Wire, body: object, expected: type[SongApiError]
) -> None:
    await wire.start(answering(200, body))
    await failing(wire.call("status", 4_000_000), expected)
    assert wire.files == []


async def test_song_in_an_answer_that_does_not_count_leaves_no_file(wire: Wire) -> None:
    await wire.start(answering(200, large() | {"status": "QUEUED"}))
    assert (await wire.api.get_status(ID, wire.at())).status == "QUEUED"
    assert wire.files == []
    await wire.start(answering(527, {"output": large()["output"]}))
    for name in ("result", "make"):
        await failing(wire.call(name), unclear(name))
    body = json.dumps(large()).encode()
    await wire.start(cut_off(200, body[:-100_000], len(body)))
    await failing(wire.call("status"), ApiUnavailable)
    assert wire.files == []


@pytest.mark.parametrize("alongside", [b"", b'"lyrics": "%b", ' % (b"la " * 30_000)])
async def test_address_that_is_too_long_is_not_fetched(wire: Wire, alongside: bytes) -> None:
    """Nor is what is left of it in the outline of a larger answer."""
    address = b"https://s.example/" + b"a" * 40_000
    body = b'{"status": "COMPLETED", %b"output": "%b"}' % (alongside, address)
    await wire.start(answering(200, body))
    output = await wire.api.result(ID, wire.at())
    error = await failing(wire.api.download(output, wire.at()), BadOutput)
    assert "an address of" in str(error)


async def test_song_that_cannot_be_written_is_no_error_of_the_api(wire: Wire) -> None:
    wire.at("song.answer0").file.mkdir()
    await wire.start(answering(200, large()))
    with pytest.raises(IsADirectoryError):
        await wire.api.get_status(ID, wire.at())


async def test_large_answers_are_read_one_at_a_time(wire: Wire) -> None:
    now: set[int] = set()
    together: list[int] = []

    def workspace(number: int) -> Workspace:
        @contextlib.asynccontextmanager
        async def exclusive() -> AsyncIterator[None]:
            now.add(number)
            together.append(len(now))
            await asyncio.sleep(0.01)
            yield
            now.discard(number)

        return Workspace(wire.folder / f"{number}", 2**25, exclusive)

    await wire.start(answering(200, large()))
    results = await asyncio.gather(*(wire.api.result(ID, workspace(n)) for n in range(4)))
    assert together == [1] * 4
    for output in results:
        assert output.file is not None
        assert output.file.stat().st_size == len(LARGE)
    await wire.start(answering(200, {"output": "https://s/a.wav"}))
    await wire.api.result(ID, workspace(9))
    assert together == [1] * 4  # a small answer does not count


@pytest.mark.parametrize("name", ["result", "make"])
async def test_time_spent_waiting_for_a_slow_large_answer_does_not_count(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One that trickles delays the others for as long as it may take, and no longer."""
    monkeypatch.setattr(segmind, "_PATIENCE", 0.3)
    body = json.dumps(large()).encode()

    async def handler(request: web.Request) -> web.StreamResponse:
        if len(wire.seen) > 1:
            return web.Response(body=body)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body[: 2**21])
        await asyncio.sleep(5)
        return response

    await wire.start(handler)
    inside = asyncio.Event()

    @contextlib.asynccontextmanager
    async def exclusive() -> AsyncIterator[None]:
        inside.set()
        yield

    slow = Workspace(wire.folder / "1", 2**25, exclusive)
    first = asyncio.ensure_future(CALLS[name](wire.api, slow))
    await inside.wait()
    second = asyncio.create_task(wire.api.result(ID, wire.at("2")))
    error = await failing(first, unclear(name))
    assert "TimeoutError" in str(error)
    assert (await second).file == wire.folder / "2.answer1"


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
    wire: Wire, shape: str, monkeypatch: pytest.MonkeyPatch
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
            await wire.api.get_status(ID, wire.at())
        ticking.cancel()
        if latest[-1] < 0.1:
            return
    raise AssertionError(f"late by {latest} s")
