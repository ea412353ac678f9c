"""Submit a song (v2), or make it in one call (v1)."""

import json
from typing import Any

import pytest

from services.errors import (
    BadOutput,
    GenerationFailed,
    KeyRefused,
    OutOfCredits,
    OutputMissing,
    RateLimited,
    SongApiError,
    SubmitForbidden,
    SubmitUncertain,
)
from services.providers.base import Output
from services.providers.segmind import payload
from tests.unit.services.providers.song_api_wire import (
    AUDIO,
    ID,
    POSTS,
    SONG,
    Wire,
    answering,
    cut_off,
    failing,
)


async def test_submit_sends_every_parameter_and_the_key(wire: Wire) -> None:
    await wire.start(answering(202, {"request_id": ID, "status": "QUEUED"}))
    assert await wire.api.submit(SONG) == ID
    request = wire.seen[0]
    assert (request.method, request.path) == ("POST", "/v2/ace-step-music")
    assert request.headers["x-api-key"] == wire.api._key
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
    assert wire.rate_limiter.taken == []  # the caller has: see `Provider`


async def test_root_may_have_a_path_and_a_slash(wire: Wire) -> None:
    await wire.start(answering(200, {"request_id": "17"}))
    assert await wire.client(root=wire.root + "/proxy/").submit(SONG) == "17"
    assert wire.seen[0].path == "/proxy/v2/ace-step-music"


@pytest.mark.parametrize(
    ("code", "body", "request_id"),
    [
        (200, {"request_id": 9007199254740993, "status": "QUEUED"}, "9007199254740993"),
        (500, {"request_id": ID, "status": "COMPLETED"}, ID),
    ],
)
async def test_submit_is_accepted(
    wire: Wire, code: int, body: dict[str, Any], request_id: str
) -> None:
    await wire.start(answering(code, body))
    assert await wire.api.submit(SONG) == request_id


@pytest.mark.parametrize(
    "request_id", [None, "", " ", "..", ".", "a b", "a" * 201, "x\n", [1], True, -1, 1.5, 10**201]
)
async def test_submit_without_a_usable_id_is_uncertain(wire: Wire, request_id: object) -> None:
    for body in ({"request_id": request_id}, {"id": ID}):
        await wire.start(answering(200, body))
        await failing(wire.api.submit(SONG), SubmitUncertain)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((422, GenerationFailed), (500, GenerationFailed), (401, KeyRefused), (402, OutOfCredits)),
        *((403, SubmitForbidden), (404, SubmitForbidden), (406, OutOfCredits), (429, RateLimited)),
    ],
)
@pytest.mark.parametrize("name", POSTS)
async def test_failed_status_does_not_hide_an_account_problem(
    wire: Wire, code: int, expected: type[SongApiError], name: str
) -> None:
    await wire.start(answering(code, {"status": "FAILED", "error": "no"}))
    await failing(wire.call(name), expected)


async def test_make_saves_the_audio_of_one_call(wire: Wire) -> None:
    await wire.start(answering(200, AUDIO, {"Content-Type": "text/html"}))  # bytes, not text
    await wire.api.make(SONG, wire.at())
    assert wire.at().file.read_bytes() == AUDIO
    assert wire.files == ["song"]
    assert wire.seen[0].path == "/v1/ace-step-music"
    assert json.loads(wire.bodies[0]) == payload(SONG)
    assert wire.rate_limiter.taken == []


async def test_make_returns_the_address_of_an_output(wire: Wire) -> None:
    body = {"status": "COMPLETED", "output": "https://storage/a.wav"}
    await wire.start(answering(500, body))
    assert await wire.api.make(SONG, wire.at()) == Output(url=body["output"])
    assert wire.files == []


async def test_make_without_complete_audio_leaves_no_file(wire: Wire) -> None:
    for handler, limit, expected in (
        (cut_off(200, AUDIO, len(AUDIO) * 2), 2**25, SubmitUncertain),
        (answering(200, b""), 2**25, OutputMissing),
        (answering(200, AUDIO), 100, BadOutput),
    ):
        await wire.start(handler)
        await failing(wire.call("make", limit), expected)
        assert wire.files == []
