"""One song's life: every answer of the API and of the channel, and a crash at every step."""

import asyncio
import base64
import contextlib
import errno
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db import budgets, songs
from db.errors import DiskFullError, SongwrightError
from db.records import OperatorBudget, Song, SongRequest, Tally
from playground.song_api import Call, Fault, Timing
from services.audio import transcoder
from services.audio.transcoder import Transcoder
from services.credits.budgets import utc_day
from services.errors import (
    CannotPost,
    DoesNotFit,
    GenerationFailed,
    NotAudio,
    NotReached,
    OutOfCredits,
    PostUncertain,
    RequestForbidden,
    RequestRejected,
    Scope,
    SilentAudio,
    SongApiError,
    TooLargeToPost,
    TooShort,
)
from services.operations.incidents import Kind
from services.operations.servers import Servers
from services.providers import segmind_answers
from services.providers.base import Workspace
from services.settings.catalogue import BLOCK
from services.settings.server_settings import Manager
from services.settings.settings import Block
from services.songs.pipeline import ACCOUNT_REFUSED, _fault_of
from services.songs.poster import DEFAULT_UPLOAD_LIMIT
from tests.factories import MEMBER, NOON, SERVER, make_server_settings
from tests.world.services import (
    FREE,
    Crash,
    House,
    always,
    kind_of,
    open_house,
    quiet,
    script,
)

REFUSED = "The song service did not accept this request."
NOBODY = "http://127.0.0.1:9"
"""Discard's port: nobody listens."""
HTML = Fault(200, "<html>Down for maintenance</html>")
MINUTES_30 = timedelta(minutes=30)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


def no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


# --- the whole way ------------------------------------------------------------------------------


async def test_from_waiting_to_the_channel(house: House) -> None:
    await house.add()
    assert await house.free() == FREE - 1
    await house.start()
    await house.has_completed()
    assert house.channel.posts == {1: [house.audio]}
    assert house.channel.names == ["song.mp3"]
    assert house.submits == 1
    assert house.files() == []
    assert await house.free() == FREE - 1
    assert house.channel.shown == [
        ("QUEUED", "submitted"),
        ("PROCESSING", "submitted"),
        ("PROCESSING", "downloaded"),
        ("PROCESSING", "ready"),
        ("PROCESSING", "posting"),
        ("COMPLETED", "ended"),
    ]


async def test_request_is_submitted_and_tagged(house: House) -> None:
    await house.run(genres="jazz", lyrics="[verse]\nla", steps=60, cfg=5.5, shift=3.0, seed=11)
    assert house.server.calls[0].body == {
        "genres": "jazz",
        "lyrics": "[verse]\nla",
        "output_seconds": 10,
        "steps": 60,
        "cfg": 5.5,
        "shift": 3.0,
        "lyrics_strength": 1.0,
        "seed": 11,
        "base64": False,
    }
    (tags,) = house.fitter.tags
    assert (tags.title, tags.genres, tags.seed, tags.number) == ("la", "jazz", 11, 1)
    assert tags.request == "10 s, 60 steps, cfg 5.5, shift 3, lyrics strength 1"


async def test_single_call(house: House) -> None:
    house.restart(sync=True)
    await house.run()
    await house.has_completed()
    assert [call.path for call in house.server.calls] == ["/v1/ace-step-music"]
    assert house.channel.shown[0] == ("PROCESSING", "submitting")
    song = await house.song()
    assert (song.run_low, song.run_high) == (10_000, 10_000)


async def test_real_transcoder(house: House) -> None:
    house.transcoder = Transcoder()
    house.restart()
    await house.run()
    await house.has_completed()
    (audio,) = house.channel.posts[1]
    assert audio.startswith(b"ID3")
    assert len(audio) < DEFAULT_UPLOAD_LIMIT


@pytest.mark.parametrize("audio", [b"I am no music. " * 100, quiet(4)])
async def test_real_transcoder_refuses(house: House, audio: bytes) -> None:
    house.transcoder = Transcoder()
    house.audio = audio
    house.restart()
    await house.run()
    await house.has_failed()


async def test_run_time_is_stored_and_learnt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[str, dict[str, float]]] = []
    for name in ("unfinished", "ended"):
        monkeypatch.setattr(
            house.pacer, name, lambda _, name=name, **ages: reported.append((name, ages))
        )
    house.timing = Timing(2.0, 20.0)
    await house.run()
    song = await house.song()
    assert song.run_low is not None
    assert song.run_high is not None
    assert 0 < song.run_low < 22_000 <= song.run_high
    *polls, (name, run) = reported
    assert name == "ended"
    assert [round(run[age] * 1000) for age in ("low", "high")] == [song.run_low, song.run_high]
    assert polls[-1] == ("unfinished", {"age": run["low"]})


# --- what the API answers to a submit -----------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "fault"),
    [
        *((code, REFUSED, "service") for code in (400, 413, 418)),
        *((code, REFUSED, "request") for code in (403, 404)),
        *((code, ACCOUNT_REFUSED, "account") for code in (401, 402, 406)),
    ],
)
async def test_refused_submit(house: House, code: int, reason: str, fault: str) -> None:
    house.server.fault = always(submit=Fault(code, '{"error": "the operator only"}'))
    await house.run()
    assert await house.has_failed() == reason
    assert (await house.song()).fault == fault
    assert house.submits == 1
    assert await house.free() == FREE


@pytest.mark.parametrize(
    ("sync", "body", "fault"),
    [
        (False, '{"status": "FAILED"}', "service"),  # nothing was accepted
        (False, '{"status": "FAILED", "request_id": "a1"}', "request"),
        (True, '{"status": "FAILED"}', "request"),  # the one call is the making, too
    ],
)
async def test_failure_before_acceptance_is_not_the_members_fault(
    house: House, sync: bool, body: str, fault: str
) -> None:
    house.restart(sync=sync)
    house.server.fault = always(submit=Fault(422, body))
    await house.run()
    await house.has_failed()
    assert (await house.song()).fault == fault
    counts = 1 if fault == "request" else 0
    assert await counted(house) == twice(counts, counts)


@pytest.mark.parametrize(
    "answer",
    [
        Fault(500, "oops"),
        Fault(502, "<html>Bad gateway</html>"),
        Fault(504),
        Fault(408),
        Fault(cut="answer"),
        Fault(cut="answer", carried_out=True),
        Fault(cut="body"),
        HTML,
    ],
)
async def test_lost_answer_is_submitted_once_more(house: House, answer: Fault) -> None:
    house.server.fault = script(submit=[answer])
    await house.run()
    await house.has_completed()
    assert house.submits == 2
    assert (await house.song()).submits == 2
    assert house.time.slept[0] > 0


async def test_two_lost_answers_fail_the_song(house: House) -> None:
    house.server.fault = always(submit=Fault(503))
    await house.run()
    assert await house.has_failed() == "The song service's answer was lost twice."
    assert house.submits == 2
    assert await house.free() == FREE


@pytest.mark.parametrize("sync", [False, True])
async def test_rate_limited_submit_waits_again_and_does_not_count(house: House, sync: bool) -> None:
    house.restart(sync=sync)
    house.server.fault = script(submit=[Fault(429, headers={"Retry-After": "7"})])
    await house.run()
    await house.waits_again()
    assert await counted(house) == twice(0, 0)
    assert house.channel.shown[-1] == ("QUEUED", "waiting")
    assert house.rate_limiter.fill == 1.0
    await house.rate_limiter.take()
    assert house.rate_limiter.waited == [pytest.approx(7)]
    await house.start()
    await house.has_completed()
    assert (await house.song()).submits == 1


async def test_submit_without_a_connection_waits_again(house: House) -> None:
    house.root = NOBODY
    house.restart()
    await house.add()
    with pytest.raises(NotReached):
        await house.start()
    await house.waits_again()
    house.root = house.server.root
    house.restart()
    await house.start()
    await house.has_completed()
    assert (await house.song()).submits == 1


async def test_song_that_waits_again_is_not_changed(house: House) -> None:
    """From that commit on it may be in other hands."""
    house.server.fault = script(submit=[Fault(429)])
    await house.add()
    async with house.database.write() as connection:
        await house.budgets.mark_submitting(connection, await house.song())
    assert not await house.pipeline.make(1, fresh=True)
    assert house.time.slept == []


async def test_rate_limit_after_a_lost_answer(house: House) -> None:
    """It can't wait with those that may be cancelled: it may have been accepted."""
    house.server.fault = script(submit=[Fault(503), Fault(429, headers={"Retry-After": "5"})])
    await house.run()
    await house.has_completed()
    assert house.submits == 3
    assert (await house.song()).submits == 2


async def test_refused_account_after_a_lost_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another song has met the refusal first: this one sits the pause out."""
    house.server.fault = script(submit=[Fault(503), Fault(401)])
    real, sent = house.api.submit, []

    async def submit(request: SongRequest) -> str:
        sent.append(request)
        if len(sent) == 2:
            await house.incidents.begin(Kind.KEY_REFUSED, "another song's")
        return await real(request)

    async def sleep(seconds: float) -> None:
        await house.time.sleep(seconds)
        if house.incidents.paused and house.time.elapsed > 300:
            await house.incidents.account_works(refusals=house.incidents.refusals)

    monkeypatch.setattr(house.api, "submit", submit)
    monkeypatch.setattr(house.pipeline, "_sleep", sleep)
    await house.run()
    await house.has_completed()
    assert house.time.elapsed > 300
    assert house.submits == 3
    assert (await house.song()).submits == 2


async def test_no_connection_after_a_lost_answer(house: House) -> None:
    await house.add(state="submitting")
    house.root = NOBODY
    house.restart()
    await house.carry()
    assert await house.has_failed() == "The song service did not finish it within 30 minutes."
    assert house.time.elapsed >= MINUTES_30.total_seconds()
    assert await open_incidents(house) == [Kind.API_DOWN]


async def test_nothing_is_submitted_again_while_songs_are_paused(house: House) -> None:
    await house.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await house.add(state="submitting")
    await house.carry()
    assert await house.has_failed() == ACCOUNT_REFUSED
    assert house.submits == 0


async def open_incidents(house: House) -> list[str]:
    rows = await house.database.reader.execute_fetchall("SELECT kind FROM incidents")
    return [row["kind"] for row in rows]


# --- the operator's account ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, Kind.KEY_REFUSED),
        (403, Kind.KEY_REFUSED),
        (404, Kind.KEY_REFUSED),
        (402, Kind.OUT_OF_CREDITS),
        (406, Kind.OUT_OF_CREDITS),
    ],
)
async def test_first_song_fails_and_the_others_wait(house: House, code: int, kind: Kind) -> None:
    house.server.fault = always(submit=Fault(code), credits=Fault(401))
    for song_id in (1, 2, 3):
        await house.add(song_id)
    await asyncio.gather(*(house.start(song_id) for song_id in (1, 2, 3)))
    found = sorted([(await house.song(song_id)).status for song_id in (1, 2, 3)])
    assert found == ["FAILED", "QUEUED", "QUEUED"]
    for song_id in (1, 2, 3):
        if (await house.song(song_id)).status == "FAILED":
            await house.has_failed(song_id)
        else:
            await house.waits_again(song_id)
    assert house.incidents.paused is kind
    assert len(house.owner.told) == 1


async def test_accepted_song_ends_the_pause(house: House) -> None:
    await house.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await house.run()
    assert house.incidents.paused is None
    assert len(house.owner.told) == 2


@pytest.mark.parametrize("sync", [False, True])
async def test_song_sent_before_a_refusal_ends_no_pause(
    house: House, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    """Of the credits that were left, it had the last: a third song would pay for it too."""
    house.restart(sync=sync)
    call = "make" if sync else "submit"
    real = getattr(house.api, call)

    async def answered_late(*sent: Any) -> Any:
        answer = await real(*sent)
        await house.incidents.begin(Kind.OUT_OF_CREDITS, "another song's 406")
        return answer

    monkeypatch.setattr(house.api, call, answered_late)
    await house.run()
    await house.has_completed()
    assert house.incidents.paused is Kind.OUT_OF_CREDITS
    assert len(house.owner.told) == 1


# --- no longer wanted while it was submitted ----------------------------------------------------


async def block(house: House, *, until: datetime | None = None, member_id: int = MEMBER) -> None:
    server_settings = make_server_settings(house.database, house.credits)
    await server_settings.set(Manager(SERVER, 9), BLOCK, Block("Spam.", until), member_id)


async def leave(house: House) -> None:
    servers = Servers(house.database, house.completion, house.owner, clock=house.clock)
    assert await servers.leave(SERVER) == []


async def submitting(house: House) -> None:
    await house.add()
    async with house.database.write() as connection:
        assert await house.budgets.mark_submitting(connection, await house.song())


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("answer", ["429", "no connection", "a known refusal"])
@pytest.mark.parametrize("unwanted", [block, leave])
async def test_unwanted_song_that_was_not_accepted_is_cancelled(
    house: House, unwanted: Callable[[House], Awaitable[None]], answer: str, sync: bool
) -> None:
    """Its member was blocked, or the bot left its server, while it was submitted."""
    house.sync = sync
    house.root = NOBODY if answer == "no connection" else house.root
    house.restart()
    house.server.fault = always(submit=Fault(429 if answer == "429" else 401))
    if answer == "a known refusal":
        await house.incidents.begin(Kind.KEY_REFUSED, "401")
    await submitting(house)
    await unwanted(house)
    with contextlib.suppress(NotReached):
        await house.carry(fresh=True)
    song = await house.song()
    assert (song.status, song.state, song.fault) == ("CANCELLED", "cancelled", "server")
    assert await house.entries() == ["hold", "refund"]
    assert await counted(house) == twice(0, 0)
    assert house.channel.shown[-1] == ("CANCELLED", "ended")
    assert not house.poster.folder(1).exists()


async def test_crash_during_the_cancellation_undoes_both_changes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: Any, **__: Any) -> None:
        raise Crash

    house.server.fault = always(submit=Fault(429))
    await submitting(house)
    await block(house)
    monkeypatch.setattr(house.credits, "refund", crash)
    with pytest.raises(Crash):
        await house.carry(fresh=True)
    song = await house.song()
    assert (song.status, song.state, song.submits) == ("QUEUED", "submitting", 1)
    assert await house.entries() == ["hold"]


async def test_accepted_song_of_a_blocked_member_is_made(house: House) -> None:
    await submitting(house)
    await block(house)
    await house.carry(fresh=True)
    await house.has_completed()


@pytest.mark.parametrize(
    "blocked", [{"until": NOON + timedelta(hours=1)}, {"member_id": MEMBER + 1}]
)
async def test_ended_block_or_one_of_another_member_cancels_nothing(
    house: House, blocked: dict[str, Any]
) -> None:
    house.server.fault = always(submit=Fault(429, delay=3_600.0))
    await submitting(house)
    await block(house, **blocked)
    await house.carry(fresh=True)
    await house.waits_again()


# --- one request's refusal ----------------------------------------------------------------------

POISON = "bomb"


def refusing_words(*, code: int = 403) -> Callable[[Call], Fault | None]:
    """A firewall before the API that dislikes the genres of some songs."""

    def fault(call: Call) -> Fault | None:
        poisoned = kind_of(call) == "submit" and call.body["genres"] == POISON
        return Fault(code, "<html>Request blocked</html>") if poisoned else None

    return fault


async def start_as(house: House, song_id: int, member_id: int, genres: str = POISON) -> None:
    await house.add(song_id, member_id=member_id, genres=genres)
    await house.start(song_id)


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("code", [403, 404])
async def test_firewall_that_refuses_one_song_pauses_nothing(
    house: House, code: int, sync: bool
) -> None:
    house.restart(sync=sync)
    house.server.fault = refusing_words(code=code)
    await start_as(house, 1, member_id=1)
    assert await house.has_failed(1) == REFUSED
    assert house.incidents.paused is None
    assert house.owner.told == []
    assert await counted(house) == twice(0, 0)
    await start_as(house, 2, member_id=2, genres="funk")
    await house.has_completed(2)


async def test_refusals_of_one_member_affect_nobody_else(house: House) -> None:
    """And the account is checked once a minute at most."""
    house.server.fault = refusing_words()
    for song_id in range(1, 7):
        await start_as(house, song_id, member_id=1)
        assert await house.has_failed(song_id) == REFUSED
        house.time.elapsed += 25.0
    assert calls_of(house, "credits") == 2
    assert house.incidents.paused is None


async def test_refusals_of_two_members_pause_songs(house: House) -> None:
    """A key may read the balance and not submit."""
    house.server.fault = refusing_words()
    await start_as(house, 1, member_id=1)
    house.time.elapsed += 599.0
    await start_as(house, 2, member_id=2)
    assert await house.has_failed(2) == ACCOUNT_REFUSED
    assert house.incidents.paused is Kind.KEY_REFUSED
    assert len(house.owner.told) == 1
    await start_as(house, 3, member_id=3)
    await house.waits_again(3)


async def test_two_members_can_pause_songs_only_once(house: House) -> None:
    """Else one refusal of theirs would do for each pause of the next ten minutes."""
    house.server.fault = refusing_words()
    await start_as(house, 1, member_id=1)
    await start_as(house, 2, member_id=2)
    assert await house.incidents.end(Kind.KEY_REFUSED)
    house.time.elapsed += 61.0
    for song_id in (3, 4):
        await start_as(house, song_id, member_id=2)
        assert await house.has_failed(song_id) == REFUSED
        assert (await house.song(song_id)).fault == "request"
    assert house.incidents.paused is None


@pytest.mark.parametrize("between", ["ten minutes", "an accepted song"])
async def test_unrelated_refusals_pause_nothing(house: House, between: str) -> None:
    house.server.fault = refusing_words()
    await start_as(house, 1, member_id=1)
    if between == "ten minutes":
        house.time.elapsed += 601.0
    else:
        await start_as(house, 2, member_id=3, genres="funk")
    await start_as(house, 3, member_id=2)
    assert await house.has_failed(3) == REFUSED
    assert house.incidents.paused is None


async def test_simultaneous_refusals_fail_two_songs(house: House) -> None:
    house.server.fault = refusing_words()
    for song_id in (1, 2, 3, 4):
        await house.add(song_id, member_id=song_id, genres=POISON)
    await asyncio.gather(*(house.start(song_id) for song_id in (1, 2, 3, 4)))
    ends = Counter([(await house.song(song_id)).status for song_id in (1, 2, 3, 4)])
    assert ends == {"FAILED": 2, "QUEUED": 2}
    assert calls_of(house, "credits") == 1
    assert house.incidents.paused is Kind.KEY_REFUSED


@pytest.mark.parametrize("code", [401, 402, 403, 404, 406])
async def test_refused_account_check_blames_the_account(house: House, code: int) -> None:
    house.server.fault = always(submit=Fault(403), credits=Fault(code))
    await house.run()
    assert await house.has_failed() == ACCOUNT_REFUSED
    assert house.incidents.paused is Kind.KEY_REFUSED


@pytest.mark.parametrize(
    "answer",
    [Fault(429), Fault(503), Fault(408), Fault(400), Fault(cut="answer"), Fault(200, "<html>")],
    ids=["429", "503", "408", "400", "lost", "HTML"],
)
async def test_inconclusive_account_check_blames_the_request(house: House, answer: Fault) -> None:
    """It says nothing of the key; so the second member's refusal decides."""
    house.server.fault = always(submit=Fault(403), credits=answer)
    for song_id in (1, 2):
        await start_as(house, song_id, member_id=1)
        assert await house.has_failed(song_id) == REFUSED
    assert house.incidents.paused is None
    await start_as(house, 3, member_id=2)
    assert await house.has_failed(3) == ACCOUNT_REFUSED
    assert house.incidents.paused is Kind.KEY_REFUSED


@pytest.mark.parametrize("code", [401, 402, 406, 302])
async def test_account_errors_need_no_account_check(house: House, code: int) -> None:
    house.server.fault = always(submit=Fault(code))
    await house.run()
    assert await house.has_failed() == ACCOUNT_REFUSED
    assert calls_of(house, "credits") == 0
    assert house.incidents.paused is not None


@pytest.mark.parametrize("path", ["poll", "result"])
async def test_refusal_while_polling_fails_one_song(house: House, path: str) -> None:
    for song_id in (1, 2, 3):
        await house.add_submitted(song_id)
    mended_at, refused = house.time.monotonic() + 600.0, always(**{path: Fault(401)})
    house.server.fault = lambda call: refused(call) if house.time.monotonic() < mended_at else None
    await asyncio.gather(*(house.carry(song_id) for song_id in (1, 2, 3)))
    ends = Counter([(await house.song(song_id)).status for song_id in (1, 2, 3)])
    assert ends == {"FAILED": 1, "COMPLETED": 2}


async def test_lasting_refusal_fails_songs_at_their_deadline(house: House) -> None:
    for song_id in (1, 2):
        await house.add_submitted(song_id)
    house.server.fault = always(poll=Fault(403))
    await asyncio.gather(*(house.carry(song_id) for song_id in (1, 2)))
    for song_id in (1, 2):
        assert await house.has_failed(song_id) == ACCOUNT_REFUSED
    assert house.incidents.paused is Kind.KEY_REFUSED
    assert house.time.elapsed >= MINUTES_30.total_seconds()
    assert await house.free() == FREE


# --- what the API answers to a look -------------------------------------------------------------


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("genres", ["fail", "blocked"])
async def test_failed_song_says_why(house: House, genres: str, sync: bool) -> None:
    house.restart(sync=sync)
    await house.run(genres=genres)
    assert "because the genres ask for it" in await house.has_failed()
    assert (await house.song()).fault == "request"
    assert await counted(house) == twice(1, 1)


TRANSIENT = {
    "408": Fault(408),
    "500": Fault(500),
    "503": Fault(503, "<html>Unavailable</html>"),
    "429": Fault(429, headers={"Retry-After": "7"}),
    "cut": Fault(cut="answer"),
    "half": Fault(cut="body"),
    "HTML": HTML,
    "malformed": Fault(200, '{"status": "DANCING"}'),
    "array": Fault(200, "[1, 2"),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *itertools.product(["poll", "result"], TRANSIENT),
        *itertools.product(["file"], ["408", "500", "429", "cut", "half"]),
    ],
)
async def test_transient_errors_are_retried(house: House, kind: str, name: str) -> None:
    house.server.fault = script(**{kind: [TRANSIENT[name]] * 3})
    await house.run()
    await house.has_completed()
    assert house.submits == 1
    assert house.incidents.paused is None


async def test_rate_limited_poll_waits_as_long_as_requested(house: House) -> None:
    house.server.fault = script(poll=[Fault(429, headers={"Retry-After": "100"})])
    await house.run()
    await house.has_completed()
    (waited,) = house.rate_limiter.waited
    assert 0 < waited < 100


async def test_pauses_grow_while_the_api_fails(house: House) -> None:
    house.server.fault = script(poll=[Fault(503)] * 8)
    await house.run()
    await house.has_completed()
    first, *_, last = house.time.slept[1:9]
    assert last >= 30 > first


@pytest.mark.parametrize(
    ("audio", "fault"),
    [
        (b"", "service"),
        (b"I am no music.", "service"),
        (b"\0\1\2 I am no music.", "service"),
        (quiet(1), "request"),
    ],
)
async def test_result_that_is_no_song(house: House, audio: bytes, fault: str) -> None:
    house.audio = audio
    await house.run()
    await house.has_failed()
    assert (await house.song()).fault == fault
    assert await house.free() == FREE


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (GenerationFailed("Blocked."), "request"),
        (GenerationFailed("TIMEOUT", by_request=False), "service"),
        (TooShort("Too short."), "request"),
        (SilentAudio("Silence."), "request"),
        (NotAudio("A web page."), "service"),
        (OutOfCredits("402"), "account"),
        (RequestRejected("400"), "service"),
        (RequestForbidden("403"), "request"),
    ],
)
def test_fault_of_an_error(error: SongwrightError, fault: str) -> None:
    assert _fault_of(error) == fault


async def test_unknown_kind_of_refusal_fails_the_song(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind of error that comes later must not hang a song."""

    async def refuse(*args: Any) -> Any:
        raise SongApiError("something new")

    monkeypatch.setattr(house.api, "get_status", refuse)
    await house.add_submitted()
    await house.carry()
    assert await house.has_failed() == "The song service could not make this song."


# --- not there yet ------------------------------------------------------------------------------

NO_OUTPUT = Fault(200, '{"status": "COMPLETED", "output": null}')
NOT_THERE_YET = {
    "storage 403": ("file", Fault(403, "<Error><Code>AccessDenied</Code></Error>")),
    "storage 404": ("file", Fault(404)),
    "storage 410": ("file", Fault(410)),
    "storage HTML": ("file", Fault(200, "<html>Please wait</html>")),
    "storage JSON": ("file", Fault(200, '{"error": "no such key"}')),
    "storage empty": ("file", Fault(200)),
    "result 404": ("result", Fault(404, '{"error": "unknown"}')),
    "result null": ("result", NO_OUTPUT),
    "status 404": ("poll", Fault(404, '{"error": "unknown"}')),
}
MOST_WAITED = 150.0
"""Seconds from the first answer that it is not there to the song's end."""


def calls_of(house: House, kind: str) -> int:
    return sum(kind_of(call) == kind for call in house.server.calls)


@pytest.mark.parametrize("name", NOT_THERE_YET)
async def test_missing_result_is_requested_again(house: House, name: str) -> None:
    kind, answer = NOT_THERE_YET[name]
    house.server.fault = script(**{kind: [answer] * 3})
    await house.run()
    await house.has_completed()
    assert house.channel.posts[1] == [house.audio]
    assert house.submits == 1


@pytest.mark.parametrize("name", NOT_THERE_YET)
async def test_result_that_stays_missing_fails_within_150_seconds(house: House, name: str) -> None:
    kind, answer = NOT_THERE_YET[name]
    first: list[float] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) == kind:
            first.append(house.time.elapsed)
            return answer
        return None

    house.server.fault = fault
    await house.run()
    lost = "lost this song" if name in ("result 404", "status 404") else "could not be fetched"
    assert lost in await house.has_failed()
    assert 119.0 < house.time.elapsed - first[0] <= MOST_WAITED
    assert len(first) > 4
    assert calls_of(house, "result") == (0 if kind == "poll" else 5)
    assert house.submits == 1
    assert await house.free() == FREE


async def test_fresh_address_replaces_a_wrong_one(house: House) -> None:
    """Its signature was wrong, say: the same one is refused however often."""
    wrong: list[str] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) == "file":
            wrong.append(call.path)
            return Fault(403) if calls_of(house, "result") < 2 else None
        return None

    house.server.fault = fault
    await house.run()
    await house.has_completed()
    assert len(wrong) == 2


async def test_rate_limited_time_is_not_counted(house: House) -> None:
    """Of 429s and full minutes: they say nothing about the song."""
    late = Fault(429, headers={"Retry-After": "200"})
    house.server.fault = script(file=[Fault(404)] * 4, result=[None, late])
    await house.run()
    await house.has_completed()
    assert sum(house.rate_limiter.waited) > MOST_WAITED


@pytest.mark.parametrize("delay", [10.0, 25.0])
@pytest.mark.parametrize(
    ("kind", "slow"),
    [("file", "file"), ("poll", "poll"), ("result", "result"), ("file", "result")],
)
async def test_slow_answers_are_counted(house: House, kind: str, slow: str, delay: float) -> None:
    """Also a result that says where the song is, where nothing is there."""
    first: list[float] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) == kind:
            first.append(house.time.elapsed)
            return Fault(404, delay=delay if slow == kind else 0.0)
        return Fault(delay=delay) if kind_of(call) == slow else None

    house.server.fault = fault
    await house.run()
    await house.has_failed()
    answered = first[0] + (delay if slow == kind else 0.0)
    assert house.time.elapsed - answered <= MOST_WAITED


async def test_storage_outage_is_not_counted(house: House) -> None:
    house.server.fault = script(file=[Fault(404), *[Fault(503)] * 12, Fault(404)])
    await house.run()
    await house.has_completed()
    assert house.time.elapsed > MOST_WAITED


async def test_full_disk_is_not_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real, errors = house.api.download, [no_space() for _ in range(12)]

    async def download(*args: Any) -> int:
        if errors and calls_of(house, "file"):
            raise errors.pop()
        return await real(*args)

    house.server.fault = script(file=[Fault(404)] * 2)
    monkeypatch.setattr(house.api, "download", download)
    await house.run()
    await house.has_completed()
    assert house.time.elapsed > MOST_WAITED


async def test_answered_status_restarts_the_wait(house: House) -> None:
    """Replicas of the API's own database may disagree for a while."""
    house.timing = Timing(2.0, 1_500.0)

    def fault(call: Call) -> Fault | None:
        missing = kind_of(call) == "poll" and calls_of(house, "poll") % 7 != 0
        return Fault(404) if missing else None

    house.server.fault = fault
    await house.run()
    await house.has_completed()
    assert calls_of(house, "poll") > 4 * 7  # each time 31 s or more were waited


@pytest.mark.parametrize("name", ["storage 404", "result null"])
async def test_missing_result_of_an_inherited_song_is_requested_again(
    house: House, name: str
) -> None:
    kind, answer = NOT_THERE_YET[name]
    house.server.fault = script(**{kind: [answer] * 3})
    await house.add_submitted()
    await house.carry()
    await house.has_completed()


async def test_missing_result_after_the_deadline_fails_at_once(house: House) -> None:
    await house.add_submitted()
    house.server.fault = always(file=Fault(404))
    house.time.elapsed = 3_000.0
    await house.carry()
    await house.has_failed()
    assert house.time.slept == []


@pytest.mark.parametrize(
    ("answers", "ended"), [([Fault(404)] * 3, "posted"), ([Fault(404)] * 99, "failed")]
)
async def test_missing_result_of_a_single_call(
    house: House, answers: list[Fault], ended: str
) -> None:
    """There is no result to request again, and to make it again is a second submit."""
    house.restart(sync=True)
    url = f"{house.root}/files/{await finished_file(house)}"
    made = Fault(200, f'{{"status": "COMPLETED", "output": "{url}"}}')
    house.server.fault = script(submit=[made], file=answers)
    await house.run()
    if ended == "posted":
        await house.has_completed()
    else:
        assert "could not be fetched" in await house.has_failed()
        assert house.time.elapsed < 100 + MOST_WAITED
    assert house.submits == 1


async def test_storage_outage_after_a_single_call_is_a_lost_answer(house: House) -> None:
    house.restart(sync=True)
    url = f"{house.root}/files/{await finished_file(house)}"
    made = Fault(200, f'{{"status": "COMPLETED", "output": "{url}"}}')
    house.server.fault = script(submit=[made], file=[Fault(503)])
    await house.run()
    await house.has_completed()
    assert house.submits == 2


async def finished_file(house: House) -> str:
    """The name of a file that the API has made for another song."""
    request_id = await house.submit()
    house.time.elapsed += 100.0
    output = await house.api.result(request_id, Workspace(house.folder / "unused", 0))
    house.server.calls.clear()
    return str(output.url).rsplit("/files/", 1)[1]


# --- results that are lost ----------------------------------------------------------------------


async def test_three_lost_results_in_a_row_are_an_incident(house: House) -> None:
    """Of whatever kind; the operator hears why, and when it is over. Songs are not paused."""
    house.server.fault = script(file=[Fault(404)] * 99)
    await house.run(1)
    house.audio = b"\0\1\2 no music"
    house.server.fault = None
    await house.run(2)
    assert await open_incidents(house) == []
    house.server.fault = always(result=Fault(200, '{"output": "https://10.0.0.1/a.wav"}'))
    await house.run(3)
    for song_id in (1, 2, 3):
        await house.has_failed(song_id)
    assert await open_incidents(house) == [Kind.RESULTS_LOST]
    rows = await house.database.reader.execute_fetchall("SELECT detail FROM incidents")
    assert "10.0.0.1 is not a public address" in next(iter(rows))["detail"]
    assert house.incidents.paused is None
    assert len(house.owner.told) == 1

    house.server.fault, house.audio = None, quiet()
    await house.run(4)
    await house.has_completed(4)
    assert await open_incidents(house) == []
    assert len(house.owner.told) == 2


async def test_lost_results_around_a_playable_one_are_no_incident(house: House) -> None:
    for song_id in range(1, 6):
        lost = song_id != 3
        house.audio = b"\0\1\2 no music" if lost else quiet()
        await house.run(song_id)
        assert (await house.song(song_id)).status == ("FAILED" if lost else "COMPLETED")
    assert house.owner.told == []


@pytest.mark.parametrize("seconds", [1, 10])
async def test_short_song_counts_as_playable(house: House, seconds: int) -> None:
    await house.incidents.begin(Kind.RESULTS_LOST, "song 7")
    house.audio = quiet(seconds)
    await house.run()
    assert await open_incidents(house) == []


async def test_unreachable_storage_is_an_incident_after_two_minutes(
    house: House,
) -> None:
    """Not only when the songs' half hours are over."""
    opened: list[float] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) != "file":
            return None
        if house.owner.told and not opened:
            opened.append(house.time.elapsed)
        return Fault(503)

    house.server.fault = fault
    began = 0.0
    for song_id in (1, 2, 3):
        began = house.time.elapsed
        await house.run(song_id)
    assert await open_incidents(house) == [Kind.RESULTS_LOST]
    assert 120.0 <= opened[0] - began < 600.0


async def test_deadline_after_one_failure_counts_as_a_lost_result(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that stood still, say: nobody would have been notified."""
    house.server.fault = always(file=Fault(503))
    transient = house.pipeline._transient

    async def stand_still(error: Exception) -> None:
        await transient(error)
        house.time.elapsed += 3_000.0

    monkeypatch.setattr(house.pipeline, "_transient", stand_still)
    for song_id in (1, 2, 3):
        await house.run(song_id)
        await house.has_failed(song_id)
    assert Kind.RESULTS_LOST in await open_incidents(house)


async def test_unreachable_storage_after_a_single_call_is_an_incident(house: House) -> None:
    house.restart(sync=True)
    url = f"{house.root}/files/{await finished_file(house)}"
    made = Fault(200, f'{{"status": "COMPLETED", "output": "{url}"}}')
    house.server.fault = always(submit=made, file=Fault(503))
    for song_id in (1, 2, 3):
        await house.run(song_id)
        await house.has_failed(song_id)
    assert Kind.RESULTS_LOST in await open_incidents(house)


async def test_unreachable_storage_after_an_absence_is_an_incident(
    house: House,
) -> None:
    for song_id in (1, 2, 3):
        await house.add_submitted(song_id)
    house.time.elapsed += 3_000.0
    house.restart()
    house.server.fault = always(file=Fault(503))
    for song_id in (1, 2, 3):
        await house.carry(song_id)
        await house.has_failed(song_id)
    assert await open_incidents(house) == [Kind.RESULTS_LOST]


async def test_songs_that_the_api_has_forgotten_are_polled_once_and_no_incident(
    house: House,
) -> None:
    """Thousands that a start finds forgotten would take the minute of all others."""
    for song_id in (1, 2, 3):
        await house.add(song_id, state="submitted", request_id="unknown")
        await house.carry(song_id)
        assert await house.has_failed(song_id) == "The song service has lost this song."
    assert calls_of(house, "poll") == 3
    assert house.owner.told == []


# --- deadlines and clocks -----------------------------------------------------------------------


async def test_song_fails_half_an_hour_after_its_submit(house: House) -> None:
    house.timing = Timing(10.0, 1e6)
    await house.run()
    assert await house.has_failed() == "The song service did not finish it within 30 minutes."
    song = await house.song()
    assert song.ended_at is not None
    assert song.submitted_at is not None
    assert MINUTES_30 <= song.ended_at - song.submitted_at < MINUTES_30 + timedelta(minutes=2)


async def test_silent_api_is_an_incident(house: House) -> None:
    house.server.fault = always(poll=Fault(503))
    await house.run()
    await house.has_failed()
    assert await open_incidents(house) == [Kind.API_DOWN]


@pytest.mark.parametrize("ready", [True, False])
async def test_overdue_song_is_polled_once(house: House, ready: bool) -> None:
    """The bot was away for long."""
    house.timing = Timing(2.0, 8.0 if ready else 1e6)
    await house.add_submitted()
    house.time.elapsed = 3_000.0
    house.restart()
    await house.carry()
    await (house.has_completed() if ready else house.has_failed())
    assert house.time.slept == []
    assert house.calls("GET") == 1 + ready


async def test_clock_set_back_before_the_poll(house: House) -> None:
    before = house.pacer.expected(seconds=60, steps=50)
    await house.add_submitted()
    house.time.setback = timedelta(hours=1)
    await house.carry()
    await house.has_completed()
    assert house.pacer.expected(seconds=60, steps=50) == before
    song = await house.song()
    assert (song.run_low, song.run_high) == (None, None)


async def test_clock_set_back_while_a_song_is_made(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The looks then make an interval that never was."""

    async def sleep(seconds: float) -> None:
        await house.time.run(seconds)
        if house.time.elapsed > 6:
            house.time.setback = timedelta(hours=1)

    monkeypatch.setattr(house.pipeline, "_sleep", sleep)
    await house.run()
    await house.has_completed()
    song = await house.song()
    assert (song.run_low, song.run_high) == (None, None)


JUMPS = [timedelta(hours=2), timedelta(hours=26), timedelta(hours=-2), timedelta(seconds=-10)]


def jumping(
    house: House, monkeypatch: pytest.MonkeyPatch, jump: timedelta, *, after: float
) -> None:
    """Somebody sets the clock after so many seconds."""

    async def sleep(seconds: float) -> None:
        await house.time.run(seconds)
        house.clock()
        if house.time.elapsed >= after:
            house.time.setback = -jump

    monkeypatch.setattr(house.pipeline, "_sleep", sleep)


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("jump", JUMPS)
async def test_changed_clock_fails_no_song(
    house: House, monkeypatch: pytest.MonkeyPatch, jump: timedelta, sync: bool
) -> None:
    """One was 7 s old when the clock was set by 2 h."""
    house.restart(sync=sync)
    house.timing = Timing(2.0, 100.0)
    jumping(house, monkeypatch, jump, after=7.0)
    house.server.fault = script(submit=[Fault(503)], poll=[Fault(404)] * 4, file=[Fault(404)] * 2)
    house.channel.before_post.extend([PostUncertain("503")] * 3)
    await house.run()
    await house.has_completed()
    assert await open_incidents(house) == []


@pytest.mark.parametrize("jump", JUMPS)
async def test_changed_clock_moves_no_deadline(
    house: House, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    house.timing = Timing(10.0, 1e6)
    jumping(house, monkeypatch, jump, after=600.0)
    await house.run()
    assert await house.has_failed() == "The song service did not finish it within 30 minutes."
    assert 1_799 <= house.time.elapsed < 1_920


async def test_clock_set_back_during_an_absence_moves_no_deadline(
    house: House,
) -> None:
    house.timing = Timing(10.0, 1e6)
    await house.add_submitted()
    house.time.setback = timedelta(hours=3)
    house.restart()
    await house.carry()
    await house.has_failed()
    assert 1_799 <= house.time.elapsed < 1_920


@pytest.mark.parametrize("jump", JUMPS)
async def test_changed_clock_while_posting(
    house: House, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    jumping(house, monkeypatch, jump, after=3.5)
    house.channel.before_find.extend([PostUncertain("the server is not known yet")] * 2)
    house.channel.before_post.extend([PostUncertain("503")] * 3)
    house.put(1, "1.mp3")
    await house.add(state="ready")
    await house.poster.load()
    await house.pipeline.deliver(1)
    await house.has_completed()


# --- a full disk --------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [2, 999])
async def test_no_room_for_the_download(
    house: House, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    real, errors = house.api.download, [no_space()] * times

    async def download(*args: Any) -> int:
        if errors:
            raise errors.pop()
        return await real(*args)

    monkeypatch.setattr(house.api, "download", download)
    await house.run()
    assert await open_incidents(house) == [Kind.DISK_NEARLY_FULL]
    assert len(house.owner.told) == 1
    if times == 2:
        await house.has_completed()
    else:
        await house.has_failed()
        assert house.time.elapsed >= MINUTES_30.total_seconds()


async def test_no_room_in_a_single_call(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made and is lost: the same as a lost answer."""
    house.restart(sync=True)
    real, errors = house.api.make, [no_space()]

    async def make(*args: Any) -> None:
        if errors:
            raise errors.pop()
        await real(*args)

    monkeypatch.setattr(house.api, "make", make)
    await house.run()
    await house.has_completed()
    assert (await house.song()).submits == 2
    assert await open_incidents(house) == [Kind.DISK_NEARLY_FULL]


@pytest.mark.parametrize(
    ("numbers", "incidents"),
    [([errno.ENOSPC, errno.EDQUOT], [Kind.DISK_NEARLY_FULL]), ([errno.EAGAIN], [])],
    ids=["no room", "no process"],
)
async def test_transcoding_is_retried(
    house: House, numbers: list[int], incidents: list[str]
) -> None:
    house.fitter.errors.extend(OSError(number, "No.") for number in numbers)
    await house.run()
    await house.has_completed()
    assert await open_incidents(house) == incidents


async def test_never_room_for_transcoding(house: House) -> None:
    house.fitter.errors.extend(no_space() for _ in range(200))
    await house.run()
    assert await house.has_failed() == "There was no room here to prepare it for the channel."
    assert house.time.elapsed >= MINUTES_30.total_seconds()


# --- to the channel -----------------------------------------------------------------------------


async def test_too_large_file_is_transcoded_to_the_default_limit(house: House) -> None:
    house.channel.limit = 100 * 2**20
    house.channel.before_post.append(TooLargeToPost("413"))
    large = quiet(700)
    assert len(large) > DEFAULT_UPLOAD_LIMIT
    house.audio = large
    await house.run(seconds=60)
    await house.has_completed()
    assert house.fitter.limits == [100 * 2**20, DEFAULT_UPLOAD_LIMIT]


async def test_refused_size_below_the_default_limit(house: House) -> None:
    house.channel.before_post.append(TooLargeToPost("413"))
    await house.run()
    song = await house.is_undelivered()
    assert song.reason == "Discord refused the file's size."


async def test_too_large_at_every_bit_rate(house: House) -> None:
    house.channel.limit = 100 * 2**20
    house.channel.before_post.append(TooLargeToPost("413"))
    house.audio = quiet(700)
    await house.add(state="posting")
    house.put(1, "source")
    house.put(1, "1.mp3")
    house.fitter.errors.append(DoesNotFit("It does not fit."))
    await house.carry()
    assert await house.has_failed() == "It does not fit."


@pytest.mark.parametrize("scope", Scope)
async def test_refused_post_leaves_the_song_undelivered(house: House, scope: Scope) -> None:
    house.channel.before_post.append(CannotPost("No permission.", scope=scope))
    await house.run()
    song = await house.is_undelivered()
    assert song.reason == "No permission."
    assert song.file == "song.mp3"
    assert house.channel.shown[-1] == ("COMPLETED", "ended")
    assert len(house.owner.told) == (scope is Scope.EVERYBODY)


async def test_refusal_after_a_search_leaves_no_doubt(house: House) -> None:
    house.channel.before_post.extend([PostUncertain("503"), CannotPost("No permission.")])
    await house.run()
    assert house.channel.looked_for == [1]
    await house.is_undelivered(in_doubt=False)


async def test_post_ends_the_incident(house: House) -> None:
    await house.incidents.begin(Kind.UNDELIVERED, "song 7")
    await house.run()
    assert await open_incidents(house) == []


@pytest.mark.parametrize("there", [True, False])
async def test_post_that_may_be_there_is_searched_for(house: House, there: bool) -> None:
    errors = house.channel.after_post if there else house.channel.before_post
    errors.append(PostUncertain("the connection was cut"))
    await house.run()
    await house.has_completed()
    assert house.channel.looked_for == [1]


async def test_posting_ends_after_half_an_hour_without_an_answer(house: House) -> None:
    house.channel.before_post.extend([PostUncertain("503")] * 200)
    await house.run()
    song = await house.is_undelivered(in_doubt=True)
    assert song.reason == "Discord did not answer for 30 minutes."
    assert song.ended_at is not None
    assert song.posting_at is not None
    assert song.ended_at - song.posting_at >= MINUTES_30
    assert await open_incidents(house) == [Kind.UNDELIVERED]


async def test_absence_does_not_count_as_posting_time(house: House) -> None:
    """The servers are not known yet in a bot's first seconds: that is no half hour of silence."""
    house.put(1, "1.mp3")
    await house.add(state="posting")
    house.time.elapsed = 5_000.0
    house.restart()
    house.channel.before_find.append(PostUncertain("the server is not known yet"))
    await house.carry()
    await house.has_completed()


async def test_missing_file_fails_the_song(house: House) -> None:
    await house.add(state="posting")
    await house.carry()
    assert await house.has_failed() == "The song's audio was lost before it could be posted."
    assert (await house.song()).fault == "machine"


async def test_missing_source_fails_the_song(house: House) -> None:
    await house.add(state="downloaded")
    await house.carry()
    reason = await house.has_failed()
    assert reason == "The song's audio was lost before it could be posted."


@pytest.mark.parametrize("error", [None, CannotPost("gone")])
async def test_song_that_ended_elsewhere_while_it_was_posted(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    house.put(1, "1.mp3")
    song = await house.add(state="posting")

    async def post(*_: Any) -> int:
        assert await house.completion.fail(song, "elsewhere")
        if error:
            raise error
        return 5

    monkeypatch.setattr(house.channel, "post", post)
    await house.carry()
    assert await house.entries() == ["hold", "refund"]
    assert (await house.song()).reason == "elsewhere"


@pytest.mark.parametrize("sync", [False, True])
async def test_download_limit_follows_the_seconds(
    house: House, monkeypatch: pytest.MonkeyPatch, *, sync: bool
) -> None:
    """240 s of the model's own WAV are 92,160,044 bytes."""
    house.restart(sync=sync)
    limits: list[int] = []
    name = "make" if sync else "download"
    real = getattr(house.api, name)

    async def watched(what: object, workspace: Workspace) -> object:
        limits.append(workspace.limit)
        return await real(what, workspace)

    monkeypatch.setattr(house.api, name, watched)
    for number, seconds in enumerate((10, 240), start=1):
        await house.add(number, member_id=number, seconds=seconds)
        await house.start(number)
    assert limits == [house.api.largest_file(10), house.api.largest_file(240)]
    assert limits[1] > 92_160_044


# --- a large answer -----------------------------------------------------------------------------


class Reading:
    """What happens while the large answer of a song is read."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counted: list[int] = []
        """What the row said meanwhile."""
        self.then: Callable[[], Any] = lambda: None
        self._house = house
        value = segmind_answers._Body.value

        async def watched(body: segmind_answers._Body) -> object:
            if not body.is_small:
                self.counted.append((await house.song()).large_reads)
                self.then()
            return await value(body)

        monkeypatch.setattr(segmind_answers._Body, "value", watched)
        house.server._output = "base64"
        house.audio = quiet(100)  # 1.6 MB

    async def dies(self) -> None:
        """The process, while it reads. Nothing is written down then."""

        def death() -> None:
            raise Crash

        async def nothing(_: Song) -> None:
            return None

        self.then = death
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._house.pipeline, "_end_large_read", nothing)
            with pytest.raises(Crash):
                await self._house.carry()
        self.then = lambda: None
        self._house.restart()


@pytest.fixture
def reading(house: House, monkeypatch: pytest.MonkeyPatch) -> Reading:
    return Reading(house, monkeypatch)


@pytest.mark.parametrize("sync", [False, True])
async def test_large_answer_is_counted_while_it_is_read(
    house: House, reading: Reading, *, sync: bool
) -> None:
    house.sync = sync
    if sync:  # v1 answers with the file itself, unless something else stands between
        text = base64.b64encode(house.audio).decode()
        house.server.fault = script(submit=[Fault(200, json.dumps({"output": text}))])
    house.restart()
    await house.run()
    await house.has_completed()
    assert house.channel.posts[1] == [house.audio]
    assert reading.counted == [1]
    assert (await house.song()).large_reads == 0


@pytest.mark.parametrize("deaths", [2, 3])
async def test_song_fails_if_its_large_answer_ended_three_processes(
    house: House, reading: Reading, deaths: int
) -> None:
    await house.add_submitted()
    for died in range(1, deaths + 1):
        await reading.dies()
        assert (await house.song()).large_reads == died
    await house.carry()
    assert reading.counted == [1, 2, 3]
    if deaths == 2:
        await house.has_completed()
    else:
        assert await house.has_failed() == "The song service's result could not be fetched."


async def test_stop_and_error_do_not_count_as_deaths(
    house: House, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.add_submitted()
    stops = iter([True, False, False])
    end_large_read = songs.end_large_read

    def stop() -> None:
        if next(stops):
            task.cancel()
        else:
            reading.then = lambda: None
            raise no_space()

    async def impatient(*args: Any) -> bool:
        task.cancel()  # as the runner does every 50 ms
        await asyncio.sleep(0)
        return await end_large_read(*args)

    reading.then = stop
    monkeypatch.setattr(songs, "end_large_read", impatient)
    task = asyncio.create_task(house.carry())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await house.song()).large_reads == 0
    house.restart()
    await house.carry()
    await house.has_completed()
    assert reading.counted == [1, 1, 1]
    assert (await house.song()).large_reads == 0


async def test_large_read_that_cannot_be_uncounted_stays_counted(
    house: House,
    reading: Reading,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def full(*_: object) -> bool:
        raise DiskFullError(Path("songs.db"))

    async def lost(*_: object) -> bool:
        return False

    await house.add_submitted()
    monkeypatch.setattr(songs, "end_large_read", full)
    await house.carry()
    await house.has_completed()
    assert (await house.song()).large_reads == 1
    assert "the reading of its large answer stays counted" in caplog.text
    monkeypatch.setattr(songs, "end_large_read", lost)
    await house.add_submitted(2)
    await house.carry(2)
    assert "nobody had counted that" in caplog.text


@pytest.mark.parametrize("method", ["result", "get_status"])
async def test_song_that_ended_elsewhere_while_it_was_made(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Its status is a 404 then, its result a song."""
    if method == "result":
        song = await house.add_submitted()
    else:
        song = await house.add(state="submitted", request_id="unknown")
    real = getattr(house.api, method)

    async def called(*args: Any) -> Any:
        assert await house.completion.fail(song, "elsewhere")
        return await real(*args)

    monkeypatch.setattr(house.api, method, called)
    await house.carry()
    assert house.channel.posts == {}
    assert await house.entries() == ["hold", "refund"]
    assert (await house.song()).reason == "elsewhere"


# --- a restart at every step --------------------------------------------------------------------


@pytest.mark.parametrize("changes", range(6))
async def test_crash_after_each_commit(house: House, changes: int) -> None:
    """A request id is never asked for twice, wherever it happened."""
    await crash_and_resume(house, changes)
    assert house.submits == (await house.song()).submits == 1


@pytest.mark.parametrize("changes", range(5))
async def test_crash_after_each_commit_in_a_single_call(house: House, changes: int) -> None:
    """A kill within the call is a lost answer; later ones cost nothing."""
    house.restart(sync=True)
    await crash_and_resume(house, changes)
    in_the_call = changes == 0
    assert (await house.song()).submits == 1 + in_the_call
    assert house.submits == 1


async def crash_and_resume(house: House, changes: int) -> None:
    house.channel.crash_after = changes
    await house.add()
    with pytest.raises(Crash):
        await house.start()
    house.restart()
    await house.carry()
    song = await house.song()
    assert (song.status, song.post_id) == ("COMPLETED", 9_001)
    assert len(house.channel.posts[1]) == 1
    assert await house.entries() == ["hold", "settle"]


@pytest.mark.parametrize("carried_out", [False, True])
async def test_crash_during_the_submit(house: House, carried_out: bool) -> None:
    await house.add(state="submitting")
    if carried_out:
        await house.submit()
    await house.carry()
    await house.has_completed()
    assert house.submits == 1
    assert (await house.song()).submits == 2


async def test_second_crash_during_the_submit(house: House) -> None:
    await house.add(state="submitting", submits=2)
    await house.carry()
    assert await house.has_failed() == "The song service's answer was lost twice."
    assert house.submits == 0


@pytest.mark.parametrize("sync", [False, True])
async def test_restart_while_it_is_made(house: House, sync: bool) -> None:
    await house.add_submitted()
    house.restart(sync=sync)
    await house.carry()
    await house.has_completed()
    assert house.submits == 0


@pytest.mark.parametrize("left_over", [b"", b"half of a so"])
async def test_restart_after_the_download(house: House, left_over: bytes) -> None:
    house.put(1, "source")
    house.put(1, "source.part", left_over)
    await house.add(state="downloaded")
    await house.carry()
    await house.has_completed()
    assert house.server.calls == []
    assert house.files() == []


@pytest.mark.parametrize("state", ["downloaded", "ready"])
async def test_post_whose_mark_was_lost_is_found(house: House, state: str) -> None:
    """By a disk that lied and a power cut; what was posted has no file any more."""
    await house.add(state=state)
    house.channel.posts[1] = [house.audio]
    await house.poster.load()
    await house.pipeline.deliver(1)
    await house.has_completed()
    song = await house.song()
    assert song.posting_at == song.requested_at


@pytest.mark.parametrize(("there", "uncertain"), [(True, 0), (True, 3), (True, 99), (False, 0)])
async def test_post_of_a_song_that_the_api_has_forgotten_is_searched_for(
    house: House, there: bool, uncertain: int
) -> None:
    """The power was away for longer than the API keeps a result. After 30 minutes it fails."""
    house.channel.before_find.extend([PostUncertain("503")] * uncertain)
    await house.add(state="submitted", request_id="unknown")
    if there:
        house.channel.posts[1] = [house.audio]
    await house.poster.load()
    await house.carry()
    if uncertain == 99:
        assert (await house.song()).status == "FAILED"
        assert house.time.elapsed >= MINUTES_30.total_seconds()
    else:
        await (house.has_completed() if there else house.has_failed())
        assert house.channel.looked_for == [1] * (1 + uncertain)


@pytest.mark.parametrize("state", ["submitting", "submitted"])
async def test_failed_generation_needs_no_search(house: House, state: str) -> None:
    """The API had it before and says that it failed; or it was handed in here once more."""
    if state == "submitted":
        await house.add_submitted(genres="fail")
    else:
        await house.add(state=state, submits=1, genres="fail")
    await house.poster.load()
    await house.carry()
    await house.has_failed()
    assert house.channel.looked_for == ([1] if state == "submitting" else [])


async def test_song_without_files_is_searched_for_again(house: House) -> None:
    """Its files may be gone because it was posted."""
    await house.add(state="downloaded")
    house.channel.posts[1] = [house.audio]
    house.channel.before_find.append(CannotPost("the history is hidden"))
    await house.poster.load()
    await house.pipeline.deliver(1)
    await house.has_completed()


@pytest.mark.parametrize(
    "found_out",
    [
        [],
        [PostUncertain("the server is not known yet")],
        [PostUncertain("503")] * 200,
        [CannotPost("the history is hidden")],
    ],
    ids=["not there", "not now", "not for 30 minutes", "never"],
)
async def test_inherited_song_is_posted_unless_it_is_found(
    house: House, found_out: list[Exception]
) -> None:
    house.put(1, "1.mp3")
    await house.add(state="ready")
    house.channel.before_find.extend(found_out)
    await house.poster.load()
    await house.pipeline.deliver(1)
    await house.has_completed()


@pytest.mark.parametrize("refusal", [CannotPost("403"), TooLargeToPost("413")])
async def test_undelivered_song_that_could_not_be_found_is_searched_for_before_a_late_post(
    house: House, refusal: Exception
) -> None:
    house.put(1, "1.mp3")
    await house.add(state="ready")
    house.channel.before_find.append(CannotPost("the history is hidden"))
    house.channel.before_post.append(refusal)
    await house.poster.load()
    await house.pipeline.deliver(1)
    await house.is_undelivered()
    house.channel.posts[1] = [house.audio]
    await house.poster.post(1)
    await house.has_completed()


@pytest.mark.parametrize("there", [True, False])
async def test_restart_while_posting(house: House, there: bool) -> None:
    house.put(1, "1.mp3")
    await house.add(state="posting")
    if there:
        house.channel.posts[1] = [house.audio]
    await house.carry()
    await house.has_completed()
    assert house.channel.looked_for == [1]


async def test_restart_while_posting_with_an_unreadable_history(house: House) -> None:
    house.put(1, "1.mp3")
    await house.add(state="posting")
    house.channel.before_find.append(CannotPost("I can't read the channel's history."))
    await house.carry()
    song = await house.is_undelivered(in_doubt=True)
    assert song.reason == "I can't read the channel's history."
    assert house.channel.posts == {}


async def test_restart_while_posting_with_a_late_history(house: House) -> None:
    house.put(1, "1.mp3")
    await house.add(state="posting")
    house.channel.posts[1] = [house.audio]
    house.channel.before_find.extend([PostUncertain("503")] * 3)
    await house.carry()
    await house.has_completed()
    assert house.channel.looked_for == [1] * 4


async def test_crash_right_after_the_post(house: House) -> None:
    house.channel.after_post.append(Crash())
    await house.add()
    with pytest.raises(Crash):
        await house.start()
    assert (await house.song()).state == "posting"
    house.restart()
    await house.carry()
    await house.has_completed()


@pytest.mark.parametrize("state", ["completed", "refunded", "failed", "cancelled"])
async def test_ended_song_stays_as_it_is(house: House, state: str) -> None:
    before = await house.add(state=state)
    await house.carry()
    await house.pipeline.give_up(1)
    assert await house.song() == before
    assert house.server.calls == []


# --- cancelled ----------------------------------------------------------------------------------


async def cancelled(house: House, task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.pipeline.uninterrupted == set()
    house.restart()


@pytest.mark.parametrize("kind", ["submit", "poll", "result", "file"])
async def test_stopped_song_continues_where_it_was(house: House, kind: str) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()
    house.gates[99.0] = gate

    def fault(call: Any) -> Fault | None:
        if kind_of(call) != kind or reached.is_set():
            return None
        reached.set()
        return Fault(delay=99.0)

    house.server.fault = fault
    await house.add()
    task = asyncio.create_task(house.start())
    await reached.wait()
    assert house.pipeline.uninterrupted == ({1} if kind == "submit" else set())
    await cancelled(house, task)
    gate.set()
    await house.carry()
    await house.has_completed()
    assert (await house.song()).submits == (2 if kind == "submit" else 1)


async def test_interrupted_post_is_searched_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()
    real = house.channel.post

    async def post(*args: Any) -> int:
        await real(*args)
        reached.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(house.channel, "post", post)
    await house.add()
    task = asyncio.create_task(house.start())
    await reached.wait()
    assert house.pipeline.uninterrupted == {1}
    await cancelled(house, task)
    await house.carry()
    await house.has_completed()


# --- given up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["submitting", "submitted", "downloaded", "ready"])
async def test_given_up(house: House, state: str) -> None:
    await house.add(state=state)
    await house.pipeline.give_up(1)
    assert "operator" in await house.has_failed()


async def test_given_up_song_is_not_searched_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may be the very thing that nobody foresaw."""

    async def find_post(_: Song) -> int | None:
        raise RuntimeError("a channel of a kind that did not exist")

    monkeypatch.setattr(house.channel, "find_post", find_post)
    await house.add(state="ready")
    await house.poster.load()
    with pytest.raises(RuntimeError):
        await house.pipeline.deliver(1)
    await house.pipeline.give_up(1)
    await house.has_failed()


async def test_given_up_while_posting(house: House) -> None:
    """It may be there: giving the price back would make it free."""
    house.put(1, "1.mp3")
    await house.add(state="posting")
    await house.pipeline.give_up(1)
    await house.is_undelivered(in_doubt=True)
    assert await open_incidents(house) == [Kind.UNDELIVERED]


async def test_unknown_song(house: House) -> None:
    with pytest.raises(RuntimeError):
        await house.pipeline.make(404)


# --- what the operator's budgets count ---------------------------------------------------------


async def counted(house: House, at: datetime = NOON) -> tuple[Tally, Tally]:
    """Of the songs' server and of all together, on a day."""
    day, _ = utc_day(at)
    reader = house.database.reader
    return (
        await budgets.submitted(reader, SERVER, day),
        await budgets.submitted(reader, budgets.ALL, day),
    )


def twice(songs: int, credits: int) -> tuple[Tally, Tally]:
    return (Tally(songs, credits),) * 2


LOST = Fault(503)
BLOCKED = Fault(422, '{"status": "FAILED", "request_id": "a1", "error": "Not this one."}')


@pytest.mark.parametrize(
    ("answers", "songs"),
    [
        ([], 1),
        ([LOST], 2),
        ([LOST, LOST], 2),
        ([LOST, Fault(429)], 2),
        ([BLOCKED], 1),
        ([LOST, BLOCKED], 2),
        ([Fault(500, '{"status": "FAILED"}')], 1),  # it may have been accepted
        ([Fault(400)], 0),
        ([Fault(401)], 0),
        ([Fault(406)], 0),
        ([LOST, Fault(400)], 1),
        ([LOST, Fault(406)], 1),
    ],
)
@pytest.mark.parametrize("sync", [False, True])
async def test_submits_that_may_have_been_accepted_count(
    house: House, answers: list[Fault], songs: int, sync: bool
) -> None:
    house.restart(sync=sync)
    house.server.fault = script(submit=answers)
    await house.run(price=3)
    assert (await house.song()).ended
    assert await counted(house) == twice(songs, 3 * songs)


async def test_submit_is_uncounted_on_the_day_that_counted_it(house: House) -> None:
    """It was sent at the end of a day, and refused at the beginning of the next."""
    house.time.elapsed = timedelta(hours=12).total_seconds() - 5

    def refused(call: Call) -> Fault | None:
        house.time.elapsed += 10
        return Fault(429)

    house.server.fault = refused
    await house.run()
    assert house.time() == NOON + timedelta(hours=12, seconds=5)
    await house.waits_again()
    assert await counted(house) == twice(0, 0)
    assert await counted(house, house.time()) == twice(0, 0)


@pytest.mark.parametrize(
    "budget",
    [
        OperatorBudget("all", 0, 5, None),
        OperatorBudget("each", 0, None, 1),
        OperatorBudget("server", SERVER, 5, 9),
    ],
    ids=lambda budget: budget.scope,
)
async def test_second_submit_beyond_the_budget_fails_the_song(
    house: House, budget: OperatorBudget
) -> None:
    await house.budgets.set(budget)
    house.server.fault = always(submit=LOST)
    await house.run(price=3)
    reason = await house.has_failed()
    assert reason == "The operator's budget for today leaves no second try."
    assert (await house.song()).fault == "account"
    assert house.submits == 1
    assert await counted(house) == twice(1, 3)
    assert await house.free() == FREE


async def test_second_submit_uses_the_next_days_budget(house: House) -> None:
    await house.budgets.set(OperatorBudget("all", 0, 1, 1))
    await house.add()
    async with house.database.write() as connection:
        assert await house.budgets.mark_submitting(connection, await house.song())
    house.time.elapsed = timedelta(hours=12).total_seconds()
    await house.carry()
    await house.has_completed()
    assert await counted(house) == twice(1, 1)
    assert await counted(house, house.time()) == twice(1, 1)


async def test_missing_python_is_retried(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator renews the bot's folder while it runs."""
    program = transcoder._PROGRAM
    house.poster._transcoder = Transcoder()

    async def sleep(seconds: float) -> None:
        monkeypatch.setattr(transcoder, "_PROGRAM", program)
        await house.time.run(seconds)

    house.pipeline._sleep = sleep
    await house.add_submitted()
    assert await house.pipeline.make(1)
    monkeypatch.setattr(transcoder, "_PROGRAM", ("/nowhere/python", *program[1:]))
    await house.pipeline.deliver(1)
    assert (await house.song()).status == "COMPLETED"
