"""Poll a song's status."""

from typing import Any

import pytest
from aiohttp import web

from services.errors import (
    ApiUnavailable,
    GenerationFailed,
    RateLimited,
    SongGone,
)
from services.providers.base import JobStatus, Output
from services.providers.rate_limiter import Call
from tests.unit.services.providers.song_api_wire import (
    ID,
    KEY,
    NOWHERE,
    SONG,
    Wire,
    answering,
    failing,
)


@pytest.mark.parametrize(
    ("code", "body", "job"),
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
async def test_poll_reads_the_status(
    wire: Wire, code: int, body: dict[str, Any], job: JobStatus
) -> None:
    await wire.start(answering(code, body))
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
    for code, text in ((200, "queue purged"), (422, "")):
        await wire.start(answering(code, {"status": word, "error": text}))
        for call, accepted in (
            (wire.api.get_status(ID, NOWHERE), True),
            (wire.api.result(ID, NOWHERE), True),
            (wire.api.submit(SONG), False),
        ):
            error = await failing(call, GenerationFailed)
            assert str(error) == f"{shown} {text}".rstrip()
            assert isinstance(error, GenerationFailed)
            assert error.accepted is accepted
            assert error.by_request is (accepted and word == "REJECTED")
    for code, expected in ((503, ApiUnavailable), (404, SongGone), (429, RateLimited)):
        await wire.start(answering(code, {"status": word}))
        await failing(wire.api.get_status(ID, NOWHERE), expected)


@pytest.mark.parametrize("code", [200, 422, 500, 404, 429])
@pytest.mark.parametrize("name", ["status", "result"])
async def test_failed_is_final_whatever_the_code(wire: Wire, code: int, name: str) -> None:
    await wire.start(answering(code, {"status": "FAILED", "error": "too loud"}))
    error = await failing(wire.call(name), GenerationFailed)
    assert isinstance(error, GenerationFailed)
    assert (error.detail, error.by_request) == ("too loud", code < 500)
    assert wire.rate_limiter.refusals == []


async def test_unknown_status_is_polled_on_and_logged_once(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    known = ["warming-up", "IN_PROGRESS", "WARMING UP", "CANCELLATION_REQUESTED"]
    words = iter([*known, *(f"W{n}" for n in range(99))])

    async def each(request: web.Request) -> web.StreamResponse:
        return await answering(200, {"status": next(words)})(request)

    await wire.start(each)
    polls = [await wire.api.get_status(ID, NOWHERE) for _ in range(103)]
    assert [job.status for job in polls] == ["QUEUED", "PROCESSING", *["QUEUED"] * 101]
    unknown = [line for line in caplog.messages if "unknown status" in line]
    assert unknown[0] == "unknown status WARMING_UP from the song API, polling on"
    assert len(unknown) == len(set(unknown)) == 20


@pytest.mark.parametrize("status", [7, None, "", "<html>", "a" * 60, "9", ["QUEUED"]])
async def test_status_that_is_no_word_is_transient(wire: Wire, status: object) -> None:
    await wire.start(answering(200, {"status": status}))
    await failing(wire.api.get_status(ID, NOWHERE), ApiUnavailable)


async def test_wrong_charset_does_not_hide_the_status(wire: Wire) -> None:
    body = '{"status": "FAILED", "error": "Paroles refusées"}'.encode("latin-1")
    await wire.start(answering(422, body))
    error = await failing(wire.api.get_status(ID, NOWHERE), GenerationFailed)
    assert str(error).startswith("Paroles refus")
    await wire.start(answering(200, b"\xef\xbb\xbf" + b'{"status": "QUEUED"}'))
    assert await wire.api.get_status(ID, NOWHERE) == JobStatus("QUEUED")


async def test_request_id_cannot_leave_its_place_in_the_path(wire: Wire) -> None:
    await wire.start(answering(200, {"status": "QUEUED"}))
    await wire.api.get_status("a/../../b?c#d%2e", NOWHERE)
    assert wire.seen[0].raw_path == "/v2/requests/a%2F..%2F..%2Fb%3Fc%23d%252e/status"


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
        ({"error": "at https://s.example/a?sig=SECRET#x, ok"}, "at https://s.example/a ok"),
        ({"error": f"the key {KEY} is bad"}, "the key [key] is bad"),
        ({"error": "x" * 5000}, "x" * 299 + "\u2026"),
        ({}, ""),
        ({"error": 7, "detail": False}, ""),
        (
            {"error": {"message": {"message": {"message": {"message": {"message": "deep"}}}}}},
            "",
        ),
    ],
)
async def test_detail_can_be_shown_to_a_member(
    wire: Wire, body: dict[str, object], detail: str
) -> None:
    await wire.start(answering(422, {"status": "FAILED"} | body))
    error = await failing(wire.api.get_status(ID, NOWHERE), GenerationFailed, "SECRET")
    assert isinstance(error, GenerationFailed)
    assert error.detail == detail
