"""The playground's song API behaves as the real one's page and facts say."""

import asyncio
import base64
import contextlib
import functools
import io
import signal
import socket
import sys
import threading
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import segmind
from aiohttp import web

from playground import song_api
from playground.song_api import (
    PLAYGROUND_KEY,
    RETENTION,
    SAMPLE_LYRICS,
    SAMPLE_SEED,
    Fault,
    SongApiServer,
    Timing,
    composing_pool,
    main,
    read_parameters,
    serve,
    usual_timing,
)

DEFAULT = {"genres": "funk, pop", "output_seconds": 60}


def tiny_wav(*, seconds: int, seed: int, **_: object) -> bytes:
    """A WAV of one sample for each second, all of the seed's lowest byte."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes([seed % 256]) * seconds)
    return buffer.getvalue()


def broken(**_: object) -> bytes:
    raise RuntimeError("no strings on this guitar")


class Time:
    """A clock that only moves when a test moves it, or when something sleeps by it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Client:
    """Plain calls with a key."""

    def __init__(self, session: aiohttp.ClientSession, server: SongApiServer) -> None:
        self.session = session
        self.server = server
        self.key: str | None = server.key

    async def __call__(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        if self.key is not None:
            headers["x-api-key"] = self.key
        url = path if path.startswith("http") else self.server.root + path
        async with self.session.request(method, url, json=body, headers=headers) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.read()

    async def submit(self, **parameters: object) -> str:
        status, body = await self("POST", "/v2/ace-step-music", DEFAULT | parameters)
        assert status == 200, body
        return str(body["request_id"])

    async def finished(self, time: Time, **parameters: object) -> tuple[int, Any]:
        """The result of a song after its time."""
        request_id = await self.submit(**parameters)
        time.now += 10
        return await self("GET", f"/v2/requests/{request_id}")


@pytest.fixture
def time() -> Time:
    return Time()


Start = Callable[..., Any]


@pytest.fixture
async def start(time: Time) -> AsyncIterator[Start]:
    """Start a server with these options and get a client for it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> Client:
            given: dict[str, Any] = {
                "compose": tiny_wav,
                "clock": time,
                "sleep": time.sleep,
                "timing": lambda _: Timing(1.0, 4.0),
            }
            server = await stack.enter_async_context(serve(SongApiServer(**(given | options))))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Client(session, server)

        yield start


async def test_song_goes_through_its_states(start: Start, time: Time) -> None:
    call = await start()
    status, submitted = await call("POST", "/v2/ace-step-music", DEFAULT | {"seed": 7})
    assert status == 200
    assert submitted["status"] == "QUEUED"
    assert submitted["status_url"] == submitted["response_url"] + "/status"

    code, body = await call("GET", submitted["response_url"])
    assert (code, body["status"], "output" in body) == (200, "QUEUED", False)
    seen = []
    for _ in range(6):
        code, body = await call("GET", submitted["status_url"])
        assert code == 200
        assert "output" not in body
        seen.append(body["status"])
        time.now += 0.99
    assert seen == ["QUEUED", "QUEUED", *["PROCESSING"] * 4]

    time.now += 1
    code, body = await call("GET", submitted["response_url"])
    assert (code, body["status"]) == (200, "COMPLETED")
    assert body["metrics"]["inference_time"] == 4.0
    assert body["output"].startswith(call.server.root)
    assert await call("GET", body["output"]) == (200, tiny_wav(seconds=60, seed=7))


async def test_result_is_available_for_an_hour(start: Start, time: Time) -> None:
    call = await start()
    request_id = await call.submit()
    time.now += 5
    _, body = await call("GET", f"/v2/requests/{request_id}")
    time.now += RETENTION - 1
    assert (await call("GET", f"/v2/requests/{request_id}/status"))[0] == 200
    time.now += 1
    for path in (f"/v2/requests/{request_id}", f"/v2/requests/{request_id}/status"):
        code, answer = await call("GET", path)
        assert (code, answer) == (404, {"error": "Unknown or expired request_id"})
    assert (await call("GET", body["output"]))[0] == 404
    await call.submit()
    assert len(call.server._songs) == 1
    assert [file.stem for file in call.server._folder.iterdir()] == list(call.server._songs)


async def test_files_signature_is_checked_and_no_key_is_needed(start: Start, time: Time) -> None:
    call = await start()
    _, body = await call.finished(time)
    call.key = None
    assert (await call("GET", body["output"]))[0] == 200
    assert (await call("GET", body["output"].split("?")[0]))[0] == 403


@pytest.mark.parametrize(
    "key", [None, "", "SG_short", "sg_0123456789abcdef", "SG_0123456789ABCDEx"]
)
async def test_missing_or_malformed_key_is_401(start: Start, key: str | None) -> None:
    call = await start()
    call.key = key
    code, body = await call("GET", "/v1/get-user-credits", Authorization=f"Bearer {PLAYGROUND_KEY}")
    assert (code, body) == (401, {"error": "Missing or invalid API key"})


async def test_any_key_of_the_form_works_unless_one_is_set(start: Start) -> None:
    call = await start()
    call.key = "SG_aaaabbbbccccdddd"
    assert (await call("GET", "/v1/get-user-credits"))[0] == 200
    call = await start(key="SG_1111222233334444")
    assert (await call("GET", "/v1/get-user-credits"))[0] == 200
    call.key = PLAYGROUND_KEY
    assert (await call("GET", "/v1/get-user-credits"))[0] == 401


@pytest.mark.parametrize(
    "wrong",
    [
        *({"genres": wrong} for wrong in (" ", 7, None)),
        *({"output_seconds": wrong} for wrong in (None, 9, 241, "60", 60.5)),
        *({"steps": 9}, {"steps": True}, {"cfg": 0.5}, {"cfg": 15.5}, {"shift": -1}),
        *({"lyrics_strength": 0}, {"lyrics": ["la"]}, {"base64": "no"}, {"seed": "x"}),
    ],
)
async def test_wrong_parameters_are_400_and_cost_nothing(
    start: Start, wrong: dict[str, object]
) -> None:
    call = await start(credits=3)
    code, body = await call("POST", "/v2/ace-step-music", DEFAULT | wrong)
    assert code == 400
    assert next(iter(wrong)) in body["error"]
    assert await call("GET", "/v1/get-user-credits") == (200, {"credits": 3})


async def test_body_that_is_no_object_is_400(start: Start) -> None:
    call = await start()
    for data in (b"", b"[1]", b"{", b"\xff\xfe{", b"[" * 100_000, b'"' + b"x" * 2**21 + b'"'):
        async with call.session.post(
            call.server.root + "/v2/ace-step-music",
            data=io.BytesIO(data),
            headers={"x-api-key": call.key},
        ) as response:
            assert (response.status, "error" in await response.json()) == (400, True)


def test_missing_parameters_have_the_defaults_of_the_page() -> None:
    parameters = read_parameters({"genres": "jazz", "output_seconds": 30, "mood": "ignored"})
    assert parameters == {
        "genres": "jazz",
        "lyrics": SAMPLE_LYRICS,
        "output_seconds": 30,
        "steps": 50,
        "seed": SAMPLE_SEED,
        "cfg": 4,
        "shift": 4,
        "lyrics_strength": 1,
        "base64": False,
    }
    with pytest.raises(web.HTTPBadRequest, match="JSON object"):
        read_parameters(None)


async def test_each_song_takes_a_credit_and_none_is_406(start: Start) -> None:
    call = await start(credits=2)
    await call.submit()
    await call.submit()
    code, body = await call("POST", "/v2/ace-step-music", DEFAULT)
    assert (code, body) == (406, {"error": "Not enough credits to process request"})
    assert (await call("POST", "/v1/ace-step-music", DEFAULT))[0] == 406


async def test_over_the_limit_is_429_until_the_minute_has_slid(start: Start, time: Time) -> None:
    call = await start(rpm=3)
    await call("GET", "/v1/get-user-credits")
    time.now += 20.5
    request_id = await call.submit()
    assert (await call("GET", f"/v2/requests/{request_id}/status"))[0] == 200
    async with call.session.get(
        call.server.root + "/v1/get-user-credits", headers={"x-api-key": call.key}
    ) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "40")
    time.now += 39.5
    assert (await call("GET", "/v1/get-user-credits"))[0] == 200
    assert (await call("GET", "/v1/get-user-credits"))[0] == 429
    call = await start(rpm=0)  # without a limit
    assert {(await call("GET", "/v1/get-user-credits"))[0] for _ in range(60)} == {200}


async def test_unknown_models_and_paths_are_404(start: Start) -> None:
    call = await start()
    assert (await call("POST", "/v2/other-model", DEFAULT))[1] == {"error": "Model not found"}
    assert (await call("POST", "/v1/other-model", DEFAULT))[0] == 404
    assert (await call("GET", "/v3"))[0] == 404


@pytest.mark.parametrize(("tag", "word"), [("Fail", "failed"), ("blocked", "blocked")])
async def test_magic_genres_fail(start: Start, time: Time, tag: str, word: str) -> None:
    call = await start()
    code, body = await call.finished(time, genres=f"funk, {tag} , pop")
    assert (code, body["status"]) == (422, "FAILED")
    assert word in body["error"]
    code, body = await call("POST", "/v1/ace-step-music", DEFAULT | {"genres": tag})
    assert (code, body["status"]) == (422, "FAILED")


async def test_composer_that_breaks_is_a_failed_song(
    start: Start, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    call = await start(compose=broken)
    code, body = await call.finished(time)
    assert (code, body["error"]) == (422, "The model failed.")
    assert "no strings on this guitar" in caplog.text


@pytest.mark.parametrize(
    ("shape", "unpacked"),
    [("list", lambda o: o[0]), ("object", lambda o: o["audio_url"]), ("url", lambda o: o)],
)
async def test_shapes_with_an_address(
    start: Start, time: Time, shape: str, unpacked: Callable[[Any], str]
) -> None:
    call = await start(output=shape, output_in_status=True)
    request_id = await call.submit()
    time.now += 10
    _, body = await call("GET", f"/v2/requests/{request_id}/status")
    assert (await call("GET", unpacked(body["output"])))[1][:4] == b"RIFF"


async def test_base64_as_requested_or_as_set(start: Start, time: Time) -> None:
    song = tiny_wav(seconds=60, seed=5)
    call = await start()
    _, body = await call.finished(time, seed=5, base64=True)
    assert base64.b64decode(body["output"]) == song
    _, body = await call("POST", "/v1/ace-step-music", DEFAULT | {"seed": 5, "base64": True})
    assert base64.b64decode(body["output"]) == song
    call = await start(output="data")
    _, body = await call.finished(time, seed=5)
    assert body["output"] == "data:audio/wav;base64," + base64.b64encode(song).decode()


async def test_v1_answers_with_the_audio_after_the_songs_time(start: Start, time: Time) -> None:
    call = await start()
    before = time.now
    code, audio = await call("POST", "/v1/ace-step-music", DEFAULT | {"seed": 9})
    assert (code, audio) == (200, tiny_wav(seconds=60, seed=9))
    assert time.now == before + 5


def test_time_grows_with_seconds_and_steps_and_is_the_seeds() -> None:
    parameters = read_parameters(DEFAULT | {"seed": 1})
    longer = usual_timing(parameters | {"output_seconds": 240})
    assert usual_timing(parameters) == usual_timing(parameters)
    assert usual_timing(parameters) != usual_timing(parameters | {"seed": 2})
    assert longer.running > usual_timing(parameters).running
    assert usual_timing(parameters | {"steps": 150}).running > usual_timing(parameters).running
    assert longer.queued == usual_timing(parameters).queued


async def test_calls_are_recorded(start: Start, time: Time) -> None:
    call = await start()
    await call.submit(seed=3)
    await call("GET", "/v1/get-user-credits")
    first, second = call.server.calls
    assert (first.method, first.path) == ("POST", "/v2/ace-step-music")
    assert (first.body, first.at) == (DEFAULT | {"seed": 3}, time.now)
    assert first.headers["x-api-key"] == call.key
    assert (second.method, second.path, second.body) == ("GET", "/v1/get-user-credits", None)
    assert PLAYGROUND_KEY not in repr(first)


async def test_fault_replaces_the_answer(start: Start, time: Time) -> None:
    call = await start()
    call.server.fault = lambda c: Fault(503, "<h1>Down</h1>", {"X-Why": "test"}, delay=2)
    before = time.now
    assert await call("POST", "/v2/ace-step-music", DEFAULT) == (503, b"<h1>Down</h1>")
    assert time.now == before + 2
    assert not call.server._songs
    call.server.fault = lambda c: Fault(502, b"\xff", carried_out=True)
    assert await call("POST", "/v2/ace-step-music", DEFAULT) == (502, b"\xff")
    assert len(call.server._songs) == 1
    call.server.fault = lambda c: Fault(delay=1)
    assert (await call("POST", "/v2/ace-step-music", DEFAULT))[0] == 200


async def test_fault_cuts_the_answer(start: Start) -> None:
    call = await start()
    for carried_out in (False, True):
        fault = Fault(cut="answer", carried_out=carried_out)
        call.server.fault = lambda c, fault=fault: fault
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await call("POST", "/v2/ace-step-music", DEFAULT)
        assert len(call.server._songs) == carried_out


async def test_fault_cuts_the_body(start: Start, time: Time) -> None:
    call = await start()
    _, body = await call.finished(time)
    call.server.fault = lambda c: Fault(cut="body")
    for method, path in (("GET", body["output"]), ("GET", "/v1/get-user-credits")):
        with pytest.raises(aiohttp.ClientPayloadError):
            await call(method, path)


async def test_vendors_own_sdk_gets_songs_and_failures() -> None:
    server = SongApiServer(compose=tiny_wav, timing=lambda _: Timing(0.02, 0.03))

    def use() -> tuple[dict[str, Any], bytes, str]:
        client = segmind.SegmindClient(api_key=server.key, base_url=f"{server.root}/v1")
        try:
            job = client.submit_async("ace-step-music", **DEFAULT, seed=11, base64=False)
            result = job.wait(timeout=20, interval=0.01)
            audio = client._client.get(result["output"]).content
            with pytest.raises(segmind.InferenceFailed) as failed:
                client.run("ace-step-music", genres="fail", output_seconds=10)
            with pytest.raises(segmind.SegmindError) as refused:
                client.run("ace-step-music", genres="jazz", output_seconds=1)
            assert refused.value.status == 400
            return result, audio, str(failed.value.detail)
        finally:
            client._client.close()

    async with serve(server):
        result, audio, failed = await asyncio.to_thread(use)
    assert result["status"] == "COMPLETED"
    assert result["metrics"]["inference_time"] == 0.03
    assert audio == tiny_wav(seconds=60, seed=11)
    assert "fail" in failed


async def test_music_is_made_in_a_separate_process(time: Time) -> None:
    with composing_pool() as pool:
        server = SongApiServer(compose=tiny_wav, executor=pool, clock=time, sleep=time.sleep)
        async with serve(server), aiohttp.ClientSession() as session:
            call = Client(session, server)
            # v1 waits for the composing itself, however long it takes.
            code, audio = await call("POST", "/v1/ace-step-music", DEFAULT | {"seed": 4})
            assert (code, audio) == (200, tiny_wav(seconds=60, seed=4))
            assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN


def hang() -> None:
    threading.Event().wait()


def test_pool_ends_with_its_context_even_while_it_composes() -> None:
    with composing_pool() as pool:
        work = pool.submit(hang)
        waiting = [pool.submit(hang) for _ in range(3)]
    assert work.done()
    assert all(w.done() for w in waiting)


async def test_song_is_processing_until_it_is_composed_or_the_pool_has_ended(
    start: Start, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    with composing_pool() as pool:
        # A composer that never ends, until its process does with the pool.
        call = await start(compose=functools.partial(_never, None), executor=pool)
        requests = [await call.submit() for _ in range(5)]
        time.now += 100
        _, body = await call("GET", f"/v2/requests/{requests[0]}/status")
        assert body["status"] == "PROCESSING"
    for request_id in (requests[0], requests[-1]):
        code, body = await call("GET", f"/v2/requests/{request_id}/status")
        assert (code, body["error"]) == (422, "The model failed.")
    assert "ended before its song" in caplog.text


def _never(_: None, **__: object) -> bytes:
    hang()
    return b""


def test_default_composer_is_the_playgrounds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        @staticmethod
        def compose(**request: Any) -> bytes:
            return repr(request).encode()

    monkeypatch.setitem(sys.modules, "playground.composer", Fake)
    assert song_api.compose(genres="jazz", seed=1) == b"{'genres': 'jazz', 'seed': 1}"


# The command line


async def test_command_serves_until_a_signal() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", "-m", "playground.song_api", "--port", "0"),
            cwd=Path(__file__).parents[3],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        root, key = line.split(" is at ")[1].split(", ")[0], line.split()[-1]
        assert key == PLAYGROUND_KEY
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{root}/v1/get-user-credits", headers={"x-api-key": key}) as response,
        ):
            assert (await response.json())["credits"] > 0
        process.send_signal(number)
        _, errors = await process.communicate()
        assert (process.returncode, errors.decode()) == (0, "")


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore the handlers of the signals."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_port_in_use_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    assert capsys.readouterr().err == f"Port {port} can't be used: Address already in use.\n"


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_malformed_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--port={port}"])
    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize("error", [None, FileNotFoundError(2, "no room for files")])
def test_exit_status_or_an_unforeseen_error(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    async def serve_on(port: int) -> None:
        assert port == 8100
        if error is not None:
            raise error

    monkeypatch.setattr(song_api, "_serve_until_stopped", serve_on)
    with contextlib.nullcontext() if error is None else pytest.raises(FileNotFoundError):
        assert main(["--port", "8100"]) == 0
