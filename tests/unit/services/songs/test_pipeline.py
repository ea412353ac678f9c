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
from db.records import OperatorBudget, Reason, Song, SongRequest, Tally
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
from services.songs.pipeline import _fault_of
from services.songs.poster import DEFAULT_UPLOAD_LIMIT
from tests.factories import MEMBER, NOON, SERVER, make_server_settings
from tests.world.services import (
    FREE,
    Crash,
    SongWorld,
    always,
    kind_of,
    open_world,
    quiet,
    script,
)

REFUSED = Reason.REQUEST_REJECTED
NOBODY = "http://127.0.0.1:9"
"""Discard's port: nobody listens."""
HTML = Fault(200, "<html>Down for maintenance</html>")
MINUTES_30 = timedelta(minutes=30)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SongWorld]:
    async with open_world(tmp_path) as opened:
        yield opened


def no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


# --- the whole way ------------------------------------------------------------------------------


async def test_from_waiting_to_the_channel(world: SongWorld) -> None:
    await world.add()
    assert await world.free() == FREE - 1
    await world.start()
    await world.has_completed()
    assert world.channel.posts == {1: [world.audio]}
    assert world.channel.names == ["song.mp3"]
    assert world.submits == 1
    assert world.files() == []
    assert await world.free() == FREE - 1
    assert world.channel.shown == [
        ("QUEUED", "submitted"),
        ("PROCESSING", "submitted"),
        ("PROCESSING", "downloaded"),
        ("PROCESSING", "ready"),
        ("PROCESSING", "posting"),
        ("COMPLETED", "ended"),
    ]


async def test_request_is_submitted_and_tagged(world: SongWorld) -> None:
    await world.run(genres="jazz", lyrics="[verse]\nla", steps=60, cfg=5.5, shift=3.0, seed=11)
    assert world.server.calls[0].body == {
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
    (tags,) = world.copying_transcoder.tags
    assert (tags.title, tags.genres, tags.seed, tags.number) == ("la", "jazz", 11, 1)
    assert tags.request == "10 s, 60 steps, cfg 5.5, shift 3, lyrics strength 1"


async def test_single_call(world: SongWorld) -> None:
    world.restart(sync=True)
    await world.run()
    await world.has_completed()
    assert [call.path for call in world.server.calls] == ["/v1/ace-step-music"]
    assert world.channel.shown[0] == ("PROCESSING", "submitting")
    song = await world.song()
    assert (song.run_low, song.run_high) == (10_000, 10_000)


async def test_real_transcoder(world: SongWorld) -> None:
    world.transcoder = Transcoder()
    world.restart()
    await world.run()
    await world.has_completed()
    (audio,) = world.channel.posts[1]
    assert audio.startswith(b"ID3")
    assert len(audio) < DEFAULT_UPLOAD_LIMIT


@pytest.mark.parametrize("audio", [b"I am no music. " * 100, quiet(4)])
async def test_real_transcoder_refuses(world: SongWorld, audio: bytes) -> None:
    world.transcoder = Transcoder()
    world.audio = audio
    world.restart()
    await world.run()
    await world.has_failed()


async def test_run_time_is_stored_and_learnt(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[tuple[str, dict[str, float]]] = []
    for name in ("unfinished", "ended"):
        monkeypatch.setattr(
            world.pacer, name, lambda _, name=name, **ages: reported.append((name, ages))
        )
    world.timing = Timing(2.0, 20.0)
    await world.run()
    song = await world.song()
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
        *((code, Reason.ACCOUNT_REFUSED, "account") for code in (401, 402, 406)),
    ],
)
async def test_refused_submit(world: SongWorld, code: int, reason: str, fault: str) -> None:
    world.server.fault = always(submit=Fault(code, '{"error": "the operator only"}'))
    await world.run()
    assert await world.has_failed() == reason
    assert (await world.song()).fault == fault
    assert world.submits == 1
    assert await world.free() == FREE


@pytest.mark.parametrize(
    ("sync", "body", "fault"),
    [
        (False, '{"status": "FAILED"}', "service"),  # nothing was accepted
        (False, '{"status": "FAILED", "request_id": "a1"}', "request"),
        (True, '{"status": "FAILED"}', "request"),  # the one call is the making, too
    ],
)
async def test_failure_before_acceptance_is_not_the_members_fault(
    world: SongWorld, sync: bool, body: str, fault: str
) -> None:
    world.restart(sync=sync)
    world.server.fault = always(submit=Fault(422, body))
    await world.run()
    await world.has_failed()
    assert (await world.song()).fault == fault
    counts = 1 if fault == "request" else 0
    assert await counted(world) == twice(counts, counts)


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
async def test_lost_answer_is_submitted_once_more(world: SongWorld, answer: Fault) -> None:
    world.server.fault = script(submit=[answer])
    await world.run()
    await world.has_completed()
    assert world.submits == 2
    assert (await world.song()).submits == 2
    assert world.time.slept[0] > 0


async def test_two_lost_answers_fail_the_song(world: SongWorld) -> None:
    world.server.fault = always(submit=Fault(503))
    await world.run()
    assert await world.has_failed() == Reason.ANSWER_LOST_TWICE
    assert world.submits == 2
    assert await world.free() == FREE


@pytest.mark.parametrize("sync", [False, True])
async def test_rate_limited_submit_waits_again_and_does_not_count(
    world: SongWorld, sync: bool
) -> None:
    world.restart(sync=sync)
    world.server.fault = script(submit=[Fault(429, headers={"Retry-After": "7"})])
    await world.run()
    await world.waits_again()
    assert await counted(world) == twice(0, 0)
    assert world.channel.shown[-1] == ("QUEUED", "waiting")
    assert world.rate_limiter.fill == 1.0
    await world.rate_limiter.take()
    assert world.rate_limiter.waited == [pytest.approx(7)]
    await world.start()
    await world.has_completed()
    assert (await world.song()).submits == 1


async def test_submit_without_a_connection_waits_again(world: SongWorld) -> None:
    world.root = NOBODY
    world.restart()
    await world.add()
    with pytest.raises(NotReached):
        await world.start()
    await world.waits_again()
    world.root = world.server.root
    world.restart()
    await world.start()
    await world.has_completed()
    assert (await world.song()).submits == 1


async def test_song_that_waits_again_is_not_changed(world: SongWorld) -> None:
    """From that commit on another task may have it."""
    world.server.fault = script(submit=[Fault(429)])
    await world.add()
    async with world.database.write() as connection:
        await world.budgets.mark_submitting(connection, await world.song())
    assert not await world.pipeline.make(1, fresh=True)
    assert world.time.slept == []


async def test_rate_limit_after_a_lost_answer(world: SongWorld) -> None:
    """It can't wait with those that may be cancelled: it may have been accepted."""
    world.server.fault = script(submit=[Fault(503), Fault(429, headers={"Retry-After": "5"})])
    await world.run()
    await world.has_completed()
    assert world.submits == 3
    assert (await world.song()).submits == 2


async def test_refused_account_after_a_lost_answer(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another song has met the refusal first: this one sits the pause out."""
    world.server.fault = script(submit=[Fault(503), Fault(401)])
    real, sent = world.api.submit, []

    async def submit(request: SongRequest) -> str:
        sent.append(request)
        if len(sent) == 2:
            await world.incidents.begin(Kind.KEY_REFUSED, "another song's")
        return await real(request)

    async def sleep(seconds: float) -> None:
        await world.time.sleep(seconds)
        if world.incidents.paused and world.time.elapsed > 300:
            await world.incidents.account_works(refusals=world.incidents.refusals)

    monkeypatch.setattr(world.api, "submit", submit)
    monkeypatch.setattr(world.pipeline, "_sleep", sleep)
    await world.run()
    await world.has_completed()
    assert world.time.elapsed > 300
    assert world.submits == 3
    assert (await world.song()).submits == 2


async def test_no_connection_after_a_lost_answer(world: SongWorld) -> None:
    await world.add(state="submitting")
    world.root = NOBODY
    world.restart()
    await world.run_song()
    assert await world.has_failed() == Reason.NOT_IN_TIME
    assert world.time.elapsed >= MINUTES_30.total_seconds()
    assert await open_incidents(world) == [Kind.API_DOWN]


async def test_nothing_is_submitted_again_while_songs_are_paused(world: SongWorld) -> None:
    await world.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await world.add(state="submitting")
    await world.run_song()
    assert await world.has_failed() == Reason.ACCOUNT_REFUSED
    assert world.submits == 0


async def open_incidents(world: SongWorld) -> list[str]:
    rows = await world.database.reader.execute_fetchall("SELECT kind FROM incidents")
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
async def test_first_song_fails_and_the_others_wait(
    world: SongWorld, code: int, kind: Kind
) -> None:
    world.server.fault = always(submit=Fault(code), credits=Fault(401))
    for song_id in (1, 2, 3):
        await world.add(song_id)
    await asyncio.gather(*(world.start(song_id) for song_id in (1, 2, 3)))
    found = sorted([(await world.song(song_id)).status for song_id in (1, 2, 3)])
    assert found == ["FAILED", "QUEUED", "QUEUED"]
    for song_id in (1, 2, 3):
        if (await world.song(song_id)).status == "FAILED":
            await world.has_failed(song_id)
        else:
            await world.waits_again(song_id)
    assert world.incidents.paused is kind
    assert len(world.owner.messages) == 1


async def test_accepted_song_ends_the_pause(world: SongWorld) -> None:
    await world.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await world.run()
    assert world.incidents.paused is None
    assert len(world.owner.messages) == 2


@pytest.mark.parametrize("sync", [False, True])
async def test_song_sent_before_a_refusal_ends_no_pause(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    """Of the credits that were left, it had the last: a third song would pay for it too."""
    world.restart(sync=sync)
    call = "make" if sync else "submit"
    real = getattr(world.api, call)

    async def answered_late(*sent: Any) -> Any:
        answer = await real(*sent)
        await world.incidents.begin(Kind.OUT_OF_CREDITS, "another song's 406")
        return answer

    monkeypatch.setattr(world.api, call, answered_late)
    await world.run()
    await world.has_completed()
    assert world.incidents.paused is Kind.OUT_OF_CREDITS
    assert len(world.owner.messages) == 1


# --- no longer wanted while it was submitted ----------------------------------------------------


async def block(
    world: SongWorld, *, until: datetime | None = None, member_id: int = MEMBER
) -> None:
    server_settings = make_server_settings(world.database, world.credits)
    await server_settings.set(Manager(SERVER, 9), BLOCK, Block("Spam.", until), member_id)


async def leave(world: SongWorld) -> None:
    servers = Servers(world.database, world.completion, world.owner, clock=world.clock)
    assert await servers.leave(SERVER) == []


async def submitting(world: SongWorld) -> None:
    await world.add()
    async with world.database.write() as connection:
        assert await world.budgets.mark_submitting(connection, await world.song())


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("answer", ["429", "no connection", "a known refusal"])
@pytest.mark.parametrize("unwanted", [block, leave])
async def test_unwanted_song_that_was_not_accepted_is_cancelled(
    world: SongWorld, unwanted: Callable[[SongWorld], Awaitable[None]], answer: str, sync: bool
) -> None:
    """Its member was blocked, or the bot left its server, while it was submitted."""
    world.sync = sync
    world.root = NOBODY if answer == "no connection" else world.root
    world.restart()
    world.server.fault = always(submit=Fault(429 if answer == "429" else 401))
    if answer == "a known refusal":
        await world.incidents.begin(Kind.KEY_REFUSED, "401")
    await submitting(world)
    await unwanted(world)
    with contextlib.suppress(NotReached):
        await world.run_song(fresh=True)
    song = await world.song()
    assert (song.status, song.state, song.fault) == ("CANCELLED", "cancelled", "server")
    assert await world.entries() == ["hold", "refund"]
    assert await counted(world) == twice(0, 0)
    assert world.channel.shown[-1] == ("CANCELLED", "ended")
    assert not world.poster.folder(1).exists()


async def test_crash_during_the_cancellation_undoes_both_changes(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: Any, **__: Any) -> None:
        raise Crash

    world.server.fault = always(submit=Fault(429))
    await submitting(world)
    await block(world)
    monkeypatch.setattr(world.credits, "refund", crash)
    with pytest.raises(Crash):
        await world.run_song(fresh=True)
    song = await world.song()
    assert (song.status, song.state, song.submits) == ("QUEUED", "submitting", 1)
    assert await world.entries() == ["hold"]


async def test_accepted_song_of_a_blocked_member_is_made(world: SongWorld) -> None:
    await submitting(world)
    await block(world)
    await world.run_song(fresh=True)
    await world.has_completed()


@pytest.mark.parametrize(
    "blocked", [{"until": NOON + timedelta(hours=1)}, {"member_id": MEMBER + 1}]
)
async def test_ended_block_or_one_of_another_member_cancels_nothing(
    world: SongWorld, blocked: dict[str, Any]
) -> None:
    world.server.fault = always(submit=Fault(429, delay=3_600.0))
    await submitting(world)
    await block(world, **blocked)
    await world.run_song(fresh=True)
    await world.waits_again()


# --- one request's refusal ----------------------------------------------------------------------

POISON = "bomb"


def refusing_words(*, code: int = 403) -> Callable[[Call], Fault | None]:
    """A firewall before the API that dislikes the genres of some songs."""

    def fault(call: Call) -> Fault | None:
        poisoned = kind_of(call) == "submit" and call.body["genres"] == POISON
        return Fault(code, "<html>Request blocked</html>") if poisoned else None

    return fault


async def start_as(world: SongWorld, song_id: int, member_id: int, genres: str = POISON) -> None:
    await world.add(song_id, member_id=member_id, genres=genres)
    await world.start(song_id)


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("code", [403, 404])
async def test_firewall_that_refuses_one_song_pauses_nothing(
    world: SongWorld, code: int, sync: bool
) -> None:
    world.restart(sync=sync)
    world.server.fault = refusing_words(code=code)
    await start_as(world, 1, member_id=1)
    assert await world.has_failed(1) == REFUSED
    assert world.incidents.paused is None
    assert world.owner.messages == []
    assert await counted(world) == twice(0, 0)
    await start_as(world, 2, member_id=2, genres="funk")
    await world.has_completed(2)


async def test_refusals_of_one_member_affect_nobody_else(world: SongWorld) -> None:
    """And the account is checked once a minute at most."""
    world.server.fault = refusing_words()
    for song_id in range(1, 7):
        await start_as(world, song_id, member_id=1)
        assert await world.has_failed(song_id) == REFUSED
        world.time.elapsed += 25.0
    assert calls_of(world, "credits") == 2
    assert world.incidents.paused is None


async def test_refusals_of_two_members_pause_songs(world: SongWorld) -> None:
    """A key may read the balance and not submit."""
    world.server.fault = refusing_words()
    await start_as(world, 1, member_id=1)
    world.time.elapsed += 599.0
    await start_as(world, 2, member_id=2)
    assert await world.has_failed(2) == Reason.ACCOUNT_REFUSED
    assert world.incidents.paused is Kind.KEY_REFUSED
    assert len(world.owner.messages) == 1
    await start_as(world, 3, member_id=3)
    await world.waits_again(3)


async def test_two_members_can_pause_songs_only_once(world: SongWorld) -> None:
    """Else one refusal of theirs would do for each pause of the next ten minutes."""
    world.server.fault = refusing_words()
    await start_as(world, 1, member_id=1)
    await start_as(world, 2, member_id=2)
    assert await world.incidents.end(Kind.KEY_REFUSED)
    world.time.elapsed += 61.0
    for song_id in (3, 4):
        await start_as(world, song_id, member_id=2)
        assert await world.has_failed(song_id) == REFUSED
        assert (await world.song(song_id)).fault == "request"
    assert world.incidents.paused is None


@pytest.mark.parametrize("between", ["ten minutes", "an accepted song"])
async def test_unrelated_refusals_pause_nothing(world: SongWorld, between: str) -> None:
    world.server.fault = refusing_words()
    await start_as(world, 1, member_id=1)
    if between == "ten minutes":
        world.time.elapsed += 601.0
    else:
        await start_as(world, 2, member_id=3, genres="funk")
    await start_as(world, 3, member_id=2)
    assert await world.has_failed(3) == REFUSED
    assert world.incidents.paused is None


async def test_simultaneous_refusals_fail_two_songs(world: SongWorld) -> None:
    world.server.fault = refusing_words()
    for song_id in (1, 2, 3, 4):
        await world.add(song_id, member_id=song_id, genres=POISON)
    await asyncio.gather(*(world.start(song_id) for song_id in (1, 2, 3, 4)))
    ends = Counter([(await world.song(song_id)).status for song_id in (1, 2, 3, 4)])
    assert ends == {"FAILED": 2, "QUEUED": 2}
    assert calls_of(world, "credits") == 1
    assert world.incidents.paused is Kind.KEY_REFUSED


@pytest.mark.parametrize("code", [401, 402, 403, 404, 406])
async def test_refused_account_check_blames_the_account(world: SongWorld, code: int) -> None:
    world.server.fault = always(submit=Fault(403), credits=Fault(code))
    await world.run()
    assert await world.has_failed() == Reason.ACCOUNT_REFUSED
    assert world.incidents.paused is Kind.KEY_REFUSED


@pytest.mark.parametrize(
    "answer",
    [Fault(429), Fault(503), Fault(408), Fault(400), Fault(cut="answer"), Fault(200, "<html>")],
    ids=["429", "503", "408", "400", "lost", "HTML"],
)
async def test_inconclusive_account_check_blames_the_request(
    world: SongWorld, answer: Fault
) -> None:
    """It says nothing of the key; so the second member's refusal decides."""
    world.server.fault = always(submit=Fault(403), credits=answer)
    for song_id in (1, 2):
        await start_as(world, song_id, member_id=1)
        assert await world.has_failed(song_id) == REFUSED
    assert world.incidents.paused is None
    await start_as(world, 3, member_id=2)
    assert await world.has_failed(3) == Reason.ACCOUNT_REFUSED
    assert world.incidents.paused is Kind.KEY_REFUSED


@pytest.mark.parametrize("code", [401, 402, 406, 302])
async def test_account_errors_need_no_account_check(world: SongWorld, code: int) -> None:
    world.server.fault = always(submit=Fault(code))
    await world.run()
    assert await world.has_failed() == Reason.ACCOUNT_REFUSED
    assert calls_of(world, "credits") == 0
    assert world.incidents.paused is not None


@pytest.mark.parametrize("path", ["poll", "result"])
async def test_refusal_while_polling_fails_one_song(world: SongWorld, path: str) -> None:
    for song_id in (1, 2, 3):
        await world.add_submitted(song_id)
    fixed_at, refused = world.time.monotonic() + 600.0, always(**{path: Fault(401)})
    world.server.fault = lambda call: refused(call) if world.time.monotonic() < fixed_at else None
    await asyncio.gather(*(world.run_song(song_id) for song_id in (1, 2, 3)))
    ends = Counter([(await world.song(song_id)).status for song_id in (1, 2, 3)])
    assert ends == {"FAILED": 1, "COMPLETED": 2}


async def test_lasting_refusal_fails_songs_at_their_deadline(world: SongWorld) -> None:
    for song_id in (1, 2):
        await world.add_submitted(song_id)
    world.server.fault = always(poll=Fault(403))
    await asyncio.gather(*(world.run_song(song_id) for song_id in (1, 2)))
    for song_id in (1, 2):
        assert await world.has_failed(song_id) == Reason.ACCOUNT_REFUSED
    assert world.incidents.paused is Kind.KEY_REFUSED
    assert world.time.elapsed >= MINUTES_30.total_seconds()
    assert await world.free() == FREE


# --- what the API answers to a look -------------------------------------------------------------


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("genres", ["fail", "blocked"])
async def test_failed_song_says_why(world: SongWorld, genres: str, sync: bool) -> None:
    world.restart(sync=sync)
    await world.run(genres=genres)
    assert await world.has_failed() == Reason.MODEL_FAILED
    song = await world.song()
    assert "because the genres ask for it" in (song.reason_detail or "")
    assert song.fault == "request"
    assert await counted(world) == twice(1, 1)


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
async def test_transient_errors_are_retried(world: SongWorld, kind: str, name: str) -> None:
    world.server.fault = script(**{kind: [TRANSIENT[name]] * 3})
    await world.run()
    await world.has_completed()
    assert world.submits == 1
    assert world.incidents.paused is None


async def test_rate_limited_poll_waits_as_long_as_requested(world: SongWorld) -> None:
    world.server.fault = script(poll=[Fault(429, headers={"Retry-After": "100"})])
    await world.run()
    await world.has_completed()
    (waited,) = world.rate_limiter.waited
    assert 0 < waited < 100


async def test_pauses_grow_while_the_api_fails(world: SongWorld) -> None:
    world.server.fault = script(poll=[Fault(503)] * 8)
    await world.run()
    await world.has_completed()
    first, *_, last = world.time.slept[1:9]
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
async def test_result_that_is_no_song(world: SongWorld, audio: bytes, fault: str) -> None:
    world.audio = audio
    await world.run()
    await world.has_failed()
    assert (await world.song()).fault == fault
    assert await world.free() == FREE


async def test_fact_about_the_audio_is_stored_for_the_member(world: SongWorld) -> None:
    world.copying_transcoder.errors.append(TooShort("12 s"))
    await world.run()
    await world.has_failed()
    song = await world.song()
    assert (song.reason, song.reason_detail) == (Reason.TOO_SHORT, "12 s")


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
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind of error that comes later must not hang a song."""

    async def refuse(*args: Any) -> Any:
        raise SongApiError("something new")

    monkeypatch.setattr(world.api, "get_status", refuse)
    await world.add_submitted()
    await world.run_song()
    assert await world.has_failed() == Reason.SERVICE_FAILED


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


def calls_of(world: SongWorld, kind: str) -> int:
    return sum(kind_of(call) == kind for call in world.server.calls)


@pytest.mark.parametrize("name", NOT_THERE_YET)
async def test_missing_result_is_requested_again(world: SongWorld, name: str) -> None:
    kind, answer = NOT_THERE_YET[name]
    world.server.fault = script(**{kind: [answer] * 3})
    await world.run()
    await world.has_completed()
    assert world.channel.posts[1] == [world.audio]
    assert world.submits == 1


@pytest.mark.parametrize("name", NOT_THERE_YET)
async def test_result_that_stays_missing_fails_within_150_seconds(
    world: SongWorld, name: str
) -> None:
    kind, answer = NOT_THERE_YET[name]
    first: list[float] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) == kind:
            first.append(world.time.elapsed)
            return answer
        return None

    world.server.fault = fault
    await world.run()
    lost = Reason.SONG_GONE if name in ("result 404", "status 404") else Reason.NOT_FETCHED
    assert await world.has_failed() == lost
    assert 119.0 < world.time.elapsed - first[0] <= MOST_WAITED
    assert len(first) > 4
    assert calls_of(world, "result") == (0 if kind == "poll" else 5)
    assert world.submits == 1
    assert await world.free() == FREE


async def test_fresh_address_replaces_a_wrong_one(world: SongWorld) -> None:
    """Its signature was wrong, say: the same one is refused however often."""
    wrong: list[str] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) == "file":
            wrong.append(call.path)
            return Fault(403) if calls_of(world, "result") < 2 else None
        return None

    world.server.fault = fault
    await world.run()
    await world.has_completed()
    assert len(wrong) == 2


async def test_rate_limited_time_is_not_counted(world: SongWorld) -> None:
    """Of 429s and full minutes: they say nothing about the song."""
    late = Fault(429, headers={"Retry-After": "200"})
    world.server.fault = script(file=[Fault(404)] * 4, result=[None, late])
    await world.run()
    await world.has_completed()
    assert sum(world.rate_limiter.waited) > MOST_WAITED


@pytest.mark.parametrize("delay", [10.0, 25.0])
@pytest.mark.parametrize(
    ("kind", "slow"),
    [("file", "file"), ("poll", "poll"), ("result", "result"), ("file", "result")],
)
async def test_slow_answers_are_counted(
    world: SongWorld, kind: str, slow: str, delay: float
) -> None:
    """Also a result that says where the song is, where nothing is there."""
    first: list[float] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) == kind:
            first.append(world.time.elapsed)
            return Fault(404, delay=delay if slow == kind else 0.0)
        return Fault(delay=delay) if kind_of(call) == slow else None

    world.server.fault = fault
    await world.run()
    await world.has_failed()
    answered = first[0] + (delay if slow == kind else 0.0)
    assert world.time.elapsed - answered <= MOST_WAITED


async def test_storage_outage_is_not_counted(world: SongWorld) -> None:
    world.server.fault = script(file=[Fault(404), *[Fault(503)] * 12, Fault(404)])
    await world.run()
    await world.has_completed()
    assert world.time.elapsed > MOST_WAITED


async def test_full_disk_is_not_counted(world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    real, errors = world.api.download, [no_space() for _ in range(12)]

    async def download(*args: Any) -> int:
        if errors and calls_of(world, "file"):
            raise errors.pop()
        return await real(*args)

    world.server.fault = script(file=[Fault(404)] * 2)
    monkeypatch.setattr(world.api, "download", download)
    await world.run()
    await world.has_completed()
    assert world.time.elapsed > MOST_WAITED


async def test_answered_status_restarts_the_wait(world: SongWorld) -> None:
    """Replicas of the API's own database may disagree for a while."""
    world.timing = Timing(2.0, 1_500.0)

    def fault(call: Call) -> Fault | None:
        missing = kind_of(call) == "poll" and calls_of(world, "poll") % 7 != 0
        return Fault(404) if missing else None

    world.server.fault = fault
    await world.run()
    await world.has_completed()
    assert calls_of(world, "poll") > 4 * 7  # each time 31 s or more were waited


@pytest.mark.parametrize("name", ["storage 404", "result null"])
async def test_missing_result_of_an_inherited_song_is_requested_again(
    world: SongWorld, name: str
) -> None:
    kind, answer = NOT_THERE_YET[name]
    world.server.fault = script(**{kind: [answer] * 3})
    await world.add_submitted()
    await world.run_song()
    await world.has_completed()


async def test_missing_result_after_the_deadline_fails_at_once(world: SongWorld) -> None:
    await world.add_submitted()
    world.server.fault = always(file=Fault(404))
    world.time.elapsed = 3_000.0
    await world.run_song()
    await world.has_failed()
    assert world.time.slept == []


@pytest.mark.parametrize(
    ("answers", "ended"), [([Fault(404)] * 3, "posted"), ([Fault(404)] * 99, "failed")]
)
async def test_missing_result_of_a_single_call(
    world: SongWorld, answers: list[Fault], ended: str
) -> None:
    """There is no result to request again, and to make it again is a second submit."""
    world.restart(sync=True)
    url = f"{world.root}/files/{await finished_file(world)}"
    made = Fault(200, f'{{"status": "COMPLETED", "output": "{url}"}}')
    world.server.fault = script(submit=[made], file=answers)
    await world.run()
    if ended == "posted":
        await world.has_completed()
    else:
        assert await world.has_failed() == Reason.NOT_FETCHED
        assert world.time.elapsed < 100 + MOST_WAITED
    assert world.submits == 1


async def test_storage_outage_after_a_single_call_is_a_lost_answer(world: SongWorld) -> None:
    world.restart(sync=True)
    url = f"{world.root}/files/{await finished_file(world)}"
    made = Fault(200, f'{{"status": "COMPLETED", "output": "{url}"}}')
    world.server.fault = script(submit=[made], file=[Fault(503)])
    await world.run()
    await world.has_completed()
    assert world.submits == 2


async def finished_file(world: SongWorld) -> str:
    """The name of a file that the API has made for another song."""
    request_id = await world.submit()
    world.time.elapsed += 100.0
    output = await world.api.result(request_id, Workspace(world.folder / "unused", 0))
    world.server.calls.clear()
    return str(output.url).rsplit("/files/", 1)[1]


# --- results that are lost ----------------------------------------------------------------------


async def test_three_lost_results_in_a_row_are_an_incident(world: SongWorld) -> None:
    """Of whatever kind; the operator hears why, and when it is over. Songs are not paused."""
    world.server.fault = script(file=[Fault(404)] * 99)
    await world.run(1)
    world.audio = b"\0\1\2 no music"
    world.server.fault = None
    await world.run(2)
    assert await open_incidents(world) == []
    world.server.fault = always(result=Fault(200, '{"output": "https://10.0.0.1/a.wav"}'))
    await world.run(3)
    for song_id in (1, 2, 3):
        await world.has_failed(song_id)
    assert await open_incidents(world) == [Kind.RESULTS_LOST]
    rows = await world.database.reader.execute_fetchall("SELECT detail FROM incidents")
    assert "10.0.0.1 is not a public address" in next(iter(rows))["detail"]
    assert world.incidents.paused is None
    assert len(world.owner.messages) == 1

    world.server.fault, world.audio = None, quiet()
    await world.run(4)
    await world.has_completed(4)
    assert await open_incidents(world) == []
    assert len(world.owner.messages) == 2


async def test_lost_results_around_a_playable_one_are_no_incident(world: SongWorld) -> None:
    for song_id in range(1, 6):
        lost = song_id != 3
        world.audio = b"\0\1\2 no music" if lost else quiet()
        await world.run(song_id)
        assert (await world.song(song_id)).status == ("FAILED" if lost else "COMPLETED")
    assert world.owner.messages == []


@pytest.mark.parametrize("seconds", [1, 10])
async def test_short_song_counts_as_playable(world: SongWorld, seconds: int) -> None:
    await world.incidents.begin(Kind.RESULTS_LOST, "song 7")
    world.audio = quiet(seconds)
    await world.run()
    assert await open_incidents(world) == []


async def test_unreachable_storage_is_an_incident_after_two_minutes(
    world: SongWorld,
) -> None:
    """Not only when the songs' half hours are over."""
    opened: list[float] = []

    def fault(call: Call) -> Fault | None:
        if kind_of(call) != "file":
            return None
        if world.owner.messages and not opened:
            opened.append(world.time.elapsed)
        return Fault(503)

    world.server.fault = fault
    began = 0.0
    for song_id in (1, 2, 3):
        began = world.time.elapsed
        await world.run(song_id)
    assert await open_incidents(world) == [Kind.RESULTS_LOST]
    assert 120.0 <= opened[0] - began < 600.0


@pytest.mark.parametrize("how", ["single call", "after an absence", "machine stood still"])
async def test_unreachable_storage_whose_deadline_passes_at_once_is_an_incident(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for song_id in (1, 2, 3):
        if how == "after an absence":
            await world.add_submitted(song_id)
        else:
            await world.add(song_id)
    answers = {"file": Fault(503)}
    if how == "single call":
        world.restart(sync=True)
        url = f"{world.root}/files/{await finished_file(world)}"
        answers["submit"] = Fault(200, f'{{"status": "COMPLETED", "output": "{url}"}}')
    if how == "after an absence":
        world.time.elapsed += 3_000.0
        world.restart()
    world.server.fault = always(**answers)
    transient = world.pipeline._transient

    async def stand_still(error: Exception) -> None:
        await transient(error)
        world.time.elapsed += 3_000.0

    if how == "machine stood still":
        monkeypatch.setattr(world.pipeline, "_transient", stand_still)
    for song_id in (1, 2, 3):
        await (world.run_song if how == "after an absence" else world.start)(song_id)
        await world.has_failed(song_id)
    assert Kind.RESULTS_LOST in await open_incidents(world)


async def test_songs_that_the_api_has_forgotten_are_polled_once_and_no_incident(
    world: SongWorld,
) -> None:
    """Thousands that a start finds forgotten would take the minute of all others."""
    for song_id in (1, 2, 3):
        await world.add(song_id, state="submitted", request_id="unknown")
        await world.run_song(song_id)
        assert await world.has_failed(song_id) == Reason.SONG_GONE
    assert calls_of(world, "poll") == 3
    assert world.owner.messages == []


# --- deadlines and clocks -----------------------------------------------------------------------


async def test_song_fails_half_an_hour_after_its_submit(world: SongWorld) -> None:
    world.timing = Timing(10.0, 1e6)
    await world.run()
    assert await world.has_failed() == Reason.NOT_IN_TIME
    song = await world.song()
    assert song.ended_at is not None
    assert song.submitted_at is not None
    assert MINUTES_30 <= song.ended_at - song.submitted_at < MINUTES_30 + timedelta(minutes=2)


async def test_silent_api_is_an_incident(world: SongWorld) -> None:
    world.server.fault = always(poll=Fault(503))
    await world.run()
    await world.has_failed()
    assert await open_incidents(world) == [Kind.API_DOWN]


@pytest.mark.parametrize("ready", [True, False])
async def test_overdue_song_is_polled_once(world: SongWorld, ready: bool) -> None:
    """The bot was away for long."""
    world.timing = Timing(2.0, 8.0 if ready else 1e6)
    await world.add_submitted()
    world.time.elapsed = 3_000.0
    world.restart()
    await world.run_song()
    await (world.has_completed() if ready else world.has_failed())
    assert world.time.slept == []
    assert world.calls("GET") == 1 + ready


async def test_clock_set_back_before_the_poll(world: SongWorld) -> None:
    before = world.pacer.expected(seconds=60, steps=50)
    await world.add_submitted()
    world.time.setback = timedelta(hours=1)
    await world.run_song()
    await world.has_completed()
    assert world.pacer.expected(seconds=60, steps=50) == before
    song = await world.song()
    assert (song.run_low, song.run_high) == (None, None)


async def test_clock_set_back_while_a_song_is_made(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The looks then make an interval that never was."""

    async def sleep(seconds: float) -> None:
        await world.time.run(seconds)
        if world.time.elapsed > 6:
            world.time.setback = timedelta(hours=1)

    monkeypatch.setattr(world.pipeline, "_sleep", sleep)
    await world.run()
    await world.has_completed()
    song = await world.song()
    assert (song.run_low, song.run_high) == (None, None)


JUMPS = [timedelta(hours=2), timedelta(hours=26), timedelta(hours=-2), timedelta(seconds=-10)]


def jumping(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, jump: timedelta, *, after: float
) -> None:
    """Somebody sets the clock after so many seconds."""

    async def sleep(seconds: float) -> None:
        await world.time.run(seconds)
        world.clock()
        if world.time.elapsed >= after:
            world.time.setback = -jump

    monkeypatch.setattr(world.pipeline, "_sleep", sleep)


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("jump", JUMPS)
async def test_changed_clock_fails_no_song(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, jump: timedelta, sync: bool
) -> None:
    """One was 7 s old when the clock was set by 2 h."""
    world.restart(sync=sync)
    world.timing = Timing(2.0, 100.0)
    jumping(world, monkeypatch, jump, after=7.0)
    world.server.fault = script(submit=[Fault(503)], poll=[Fault(404)] * 4, file=[Fault(404)] * 2)
    world.channel.before_post.extend([PostUncertain("503")] * 3)
    await world.run()
    await world.has_completed()
    assert await open_incidents(world) == []


@pytest.mark.parametrize("jump", JUMPS)
async def test_changed_clock_moves_no_deadline(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    world.timing = Timing(10.0, 1e6)
    jumping(world, monkeypatch, jump, after=600.0)
    await world.run()
    assert await world.has_failed() == Reason.NOT_IN_TIME
    assert 1_799 <= world.time.elapsed < 1_920


async def test_clock_set_back_during_an_absence_moves_no_deadline(
    world: SongWorld,
) -> None:
    world.timing = Timing(10.0, 1e6)
    await world.add_submitted()
    world.time.setback = timedelta(hours=3)
    world.restart()
    await world.run_song()
    await world.has_failed()
    assert 1_799 <= world.time.elapsed < 1_920


@pytest.mark.parametrize("jump", JUMPS)
async def test_changed_clock_while_posting(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    jumping(world, monkeypatch, jump, after=3.5)
    world.channel.before_find.extend([PostUncertain("the server is not known yet")] * 2)
    world.channel.before_post.extend([PostUncertain("503")] * 3)
    world.put(1, "1.mp3")
    await world.add(state="ready")
    await world.poster.load()
    await world.pipeline.deliver(1)
    await world.has_completed()


# --- a full disk --------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [2, 999])
async def test_no_room_for_the_download(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    real, errors = world.api.download, [no_space()] * times

    async def download(*args: Any) -> int:
        if errors:
            raise errors.pop()
        return await real(*args)

    monkeypatch.setattr(world.api, "download", download)
    await world.run()
    assert await open_incidents(world) == [Kind.DISK_NEARLY_FULL]
    assert len(world.owner.messages) == 1
    if times == 2:
        await world.has_completed()
    else:
        await world.has_failed()
        assert world.time.elapsed >= MINUTES_30.total_seconds()


async def test_no_room_in_a_single_call(world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made and is lost: the same as a lost answer."""
    world.restart(sync=True)
    real, errors = world.api.make, [no_space()]

    async def make(*args: Any) -> None:
        if errors:
            raise errors.pop()
        await real(*args)

    monkeypatch.setattr(world.api, "make", make)
    await world.run()
    await world.has_completed()
    assert (await world.song()).submits == 2
    assert await open_incidents(world) == [Kind.DISK_NEARLY_FULL]


@pytest.mark.parametrize(
    ("numbers", "incidents"),
    [([errno.ENOSPC, errno.EDQUOT], [Kind.DISK_NEARLY_FULL]), ([errno.EAGAIN], [])],
    ids=["no room", "no process"],
)
async def test_transcoding_is_retried(
    world: SongWorld, numbers: list[int], incidents: list[str]
) -> None:
    world.copying_transcoder.errors.extend(OSError(number, "No.") for number in numbers)
    await world.run()
    await world.has_completed()
    assert await open_incidents(world) == incidents


async def test_never_room_for_transcoding(world: SongWorld) -> None:
    world.copying_transcoder.errors.extend(no_space() for _ in range(200))
    await world.run()
    assert await world.has_failed() == Reason.NO_ROOM
    assert world.time.elapsed >= MINUTES_30.total_seconds()


# --- to the channel -----------------------------------------------------------------------------


async def test_too_large_file_is_transcoded_to_the_default_limit(world: SongWorld) -> None:
    world.channel.limit = 100 * 2**20
    world.channel.before_post.append(TooLargeToPost("413"))
    large = quiet(700)
    assert len(large) > DEFAULT_UPLOAD_LIMIT
    world.audio = large
    await world.run(seconds=60)
    await world.has_completed()
    assert world.copying_transcoder.limits == [100 * 2**20, DEFAULT_UPLOAD_LIMIT]


async def test_refused_size_below_the_default_limit(world: SongWorld) -> None:
    world.channel.before_post.append(TooLargeToPost("413"))
    await world.run()
    song = await world.is_undelivered()
    assert song.reason == Reason.FILE_SIZE


async def test_too_large_at_every_bit_rate(world: SongWorld) -> None:
    world.channel.limit = 100 * 2**20
    world.channel.before_post.append(TooLargeToPost("413"))
    world.audio = quiet(700)
    await world.add(state="posting")
    world.put(1, "source")
    world.put(1, "1.mp3")
    world.copying_transcoder.errors.append(DoesNotFit("It does not fit."))
    await world.run_song()
    assert await world.has_failed() == Reason.DOES_NOT_FIT


@pytest.mark.parametrize("scope", Scope)
async def test_refused_post_leaves_the_song_undelivered(world: SongWorld, scope: Scope) -> None:
    world.channel.before_post.append(CannotPost(Reason.NO_PERMISSION, scope=scope))
    await world.run()
    song = await world.is_undelivered()
    assert song.reason is Reason.NO_PERMISSION
    assert song.file == "song.mp3"
    assert world.channel.shown[-1] == ("COMPLETED", "ended")
    assert len(world.owner.messages) == (scope is Scope.EVERYBODY)


async def test_refusal_after_a_search_leaves_no_doubt(world: SongWorld) -> None:
    world.channel.before_post.extend([PostUncertain("503"), CannotPost(Reason.NO_PERMISSION)])
    await world.run()
    assert world.channel.searched_for == [1]
    await world.is_undelivered(in_doubt=False)


async def test_post_ends_the_incident(world: SongWorld) -> None:
    await world.incidents.begin(Kind.UNDELIVERED, "song 7")
    await world.run()
    assert await open_incidents(world) == []


@pytest.mark.parametrize("there", [True, False])
async def test_post_that_may_be_there_is_searched_for(world: SongWorld, there: bool) -> None:
    errors = world.channel.after_post if there else world.channel.before_post
    errors.append(PostUncertain("the connection was cut"))
    await world.run()
    await world.has_completed()
    assert world.channel.searched_for == [1]


async def test_posting_ends_after_half_an_hour_without_an_answer(world: SongWorld) -> None:
    world.channel.before_post.extend([PostUncertain("503")] * 200)
    await world.run()
    song = await world.is_undelivered(in_doubt=True)
    assert song.reason == Reason.NO_ANSWER
    assert song.ended_at is not None
    assert song.posting_at is not None
    assert song.ended_at - song.posting_at >= MINUTES_30
    assert await open_incidents(world) == [Kind.UNDELIVERED]


async def test_absence_does_not_count_as_posting_time(world: SongWorld) -> None:
    """The servers are not known yet in a bot's first seconds: that is no half hour of silence."""
    world.put(1, "1.mp3")
    await world.add(state="posting")
    world.time.elapsed = 5_000.0
    world.restart()
    world.channel.before_find.append(PostUncertain("the server is not known yet"))
    await world.run_song()
    await world.has_completed()


@pytest.mark.parametrize("state", ["downloaded", "posting"])
async def test_missing_file_fails_the_song(world: SongWorld, state: str) -> None:
    await world.add(state=state)
    await world.run_song()
    assert await world.has_failed() == Reason.AUDIO_LOST
    assert (await world.song()).fault == "machine"


@pytest.mark.parametrize("error", [None, CannotPost(Reason.NO_PERMISSION)])
async def test_song_that_ended_elsewhere_while_it_was_posted(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    world.put(1, "1.mp3")
    song = await world.add(state="posting")

    async def post(*_: Any) -> int:
        assert await world.completion.fail(song, Reason.MODEL_FAILED)
        if error:
            raise error
        return 5

    monkeypatch.setattr(world.channel, "post", post)
    await world.run_song()
    assert await world.entries() == ["hold", "refund"]
    assert (await world.song()).reason is Reason.MODEL_FAILED


@pytest.mark.parametrize("sync", [False, True])
async def test_download_limit_follows_the_seconds(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, *, sync: bool
) -> None:
    """240 s of the model's own WAV are 92,160,044 bytes."""
    world.restart(sync=sync)
    limits: list[int] = []
    name = "make" if sync else "download"
    real = getattr(world.api, name)

    async def watched(what: object, workspace: Workspace) -> object:
        limits.append(workspace.limit)
        return await real(what, workspace)

    monkeypatch.setattr(world.api, name, watched)
    for number, seconds in enumerate((10, 240), start=1):
        await world.add(number, member_id=number, seconds=seconds)
        await world.start(number)
    assert limits == [world.api.largest_file(10), world.api.largest_file(240)]
    assert limits[1] > 92_160_044


# --- a large answer -----------------------------------------------------------------------------


class Reading:
    """What happens while the large answer of a song is read."""

    def __init__(self, world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counted: list[int] = []
        """What the row said meanwhile."""
        self.then: Callable[[], Any] = lambda: None
        self._world = world
        value = segmind_answers._Body.value

        async def watched(body: segmind_answers._Body) -> object:
            if not body.is_small:
                self.counted.append((await world.song()).large_reads)
                self.then()
            return await value(body)

        monkeypatch.setattr(segmind_answers._Body, "value", watched)
        world.server._output = "base64"
        world.audio = quiet(100)  # 1.6 MB

    async def dies(self) -> None:
        """The process, while it reads. Nothing is written down then."""

        def death() -> None:
            raise Crash

        async def nothing(_: Song) -> None:
            return None

        self.then = death
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._world.pipeline, "_end_large_read", nothing)
            with pytest.raises(Crash):
                await self._world.run_song()
        self.then = lambda: None
        self._world.restart()


@pytest.fixture
def reading(world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> Reading:
    return Reading(world, monkeypatch)


@pytest.mark.parametrize("sync", [False, True])
async def test_large_answer_is_counted_while_it_is_read(
    world: SongWorld, reading: Reading, *, sync: bool
) -> None:
    world.sync = sync
    if sync:  # v1 answers with the file itself, unless something else stands between
        text = base64.b64encode(world.audio).decode()
        world.server.fault = script(submit=[Fault(200, json.dumps({"output": text}))])
    world.restart()
    await world.run()
    await world.has_completed()
    assert world.channel.posts[1] == [world.audio]
    assert reading.counted == [1]
    assert (await world.song()).large_reads == 0


@pytest.mark.parametrize("deaths", [2, 3])
async def test_song_fails_if_its_large_answer_ended_three_processes(
    world: SongWorld, reading: Reading, deaths: int
) -> None:
    await world.add_submitted()
    for died in range(1, deaths + 1):
        await reading.dies()
        assert (await world.song()).large_reads == died
    await world.run_song()
    assert reading.counted == [1, 2, 3]
    if deaths == 2:
        await world.has_completed()
    else:
        assert await world.has_failed() == Reason.NOT_FETCHED


async def test_stop_and_error_do_not_count_as_deaths(
    world: SongWorld, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_submitted()
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
    task = asyncio.create_task(world.run_song())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await world.song()).large_reads == 0
    world.restart()
    await world.run_song()
    await world.has_completed()
    assert reading.counted == [1, 1, 1]
    assert (await world.song()).large_reads == 0


async def test_large_read_that_cannot_be_uncounted_stays_counted(
    world: SongWorld,
    reading: Reading,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def full(*_: object) -> bool:
        raise DiskFullError(Path("songs.db"))

    async def lost(*_: object) -> bool:
        return False

    await world.add_submitted()
    monkeypatch.setattr(songs, "end_large_read", full)
    await world.run_song()
    await world.has_completed()
    assert (await world.song()).large_reads == 1
    assert "the reading of its large answer stays counted" in caplog.text
    monkeypatch.setattr(songs, "end_large_read", lost)
    await world.add_submitted(2)
    await world.run_song(2)
    assert "nobody had counted that" in caplog.text


@pytest.mark.parametrize("method", ["result", "get_status"])
async def test_song_that_ended_elsewhere_while_it_was_made(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Its status is a 404 then, its result a song."""
    if method == "result":
        song = await world.add_submitted()
    else:
        song = await world.add(state="submitted", request_id="unknown")
    real = getattr(world.api, method)

    async def called(*args: Any) -> Any:
        assert await world.completion.fail(song, Reason.MODEL_FAILED)
        return await real(*args)

    monkeypatch.setattr(world.api, method, called)
    await world.run_song()
    assert world.channel.posts == {}
    assert await world.entries() == ["hold", "refund"]
    assert (await world.song()).reason is Reason.MODEL_FAILED


# --- a restart at every step --------------------------------------------------------------------


@pytest.mark.parametrize("changes", range(6))
async def test_crash_after_each_commit(world: SongWorld, changes: int) -> None:
    """A request id is never requested twice, wherever it happened."""
    await crash_and_resume(world, changes)
    assert world.submits == (await world.song()).submits == 1


@pytest.mark.parametrize("changes", range(5))
async def test_crash_after_each_commit_in_a_single_call(world: SongWorld, changes: int) -> None:
    """A kill within the call is a lost answer; later ones cost nothing."""
    world.restart(sync=True)
    await crash_and_resume(world, changes)
    in_the_call = changes == 0
    assert (await world.song()).submits == 1 + in_the_call
    assert world.submits == 1


async def crash_and_resume(world: SongWorld, changes: int) -> None:
    world.channel.crash_after = changes
    await world.add()
    with pytest.raises(Crash):
        await world.start()
    world.restart()
    await world.run_song()
    song = await world.song()
    assert (song.status, song.post_id) == ("COMPLETED", 9_001)
    assert len(world.channel.posts[1]) == 1
    assert await world.entries() == ["hold", "settle"]


@pytest.mark.parametrize("carried_out", [False, True])
async def test_crash_during_the_submit(world: SongWorld, carried_out: bool) -> None:
    await world.add(state="submitting")
    if carried_out:
        await world.submit()
    await world.run_song()
    await world.has_completed()
    assert world.submits == 1
    assert (await world.song()).submits == 2


async def test_second_crash_during_the_submit(world: SongWorld) -> None:
    await world.add(state="submitting", submits=2)
    await world.run_song()
    assert await world.has_failed() == Reason.ANSWER_LOST_TWICE
    assert world.submits == 0


@pytest.mark.parametrize("sync", [False, True])
async def test_restart_while_it_is_made(world: SongWorld, sync: bool) -> None:
    await world.add_submitted()
    world.restart(sync=sync)
    await world.run_song()
    await world.has_completed()
    assert world.submits == 0


@pytest.mark.parametrize("left_over", [b"", b"half of a so"])
async def test_restart_after_the_download(world: SongWorld, left_over: bytes) -> None:
    world.put(1, "source")
    world.put(1, "source.part", left_over)
    await world.add(state="downloaded")
    await world.run_song()
    await world.has_completed()
    assert world.server.calls == []
    assert world.files() == []


@pytest.mark.parametrize("state", ["downloaded", "ready"])
async def test_post_whose_mark_was_lost_is_found(world: SongWorld, state: str) -> None:
    """By a disk that lied and a power cut; what was posted has no file any more."""
    await world.add(state=state)
    world.channel.posts[1] = [world.audio]
    await world.poster.load()
    await world.pipeline.deliver(1)
    await world.has_completed()
    song = await world.song()
    assert song.posting_at == song.requested_at


@pytest.mark.parametrize(("there", "uncertain"), [(True, 0), (True, 3), (True, 99), (False, 0)])
async def test_post_of_a_song_that_the_api_has_forgotten_is_searched_for(
    world: SongWorld, there: bool, uncertain: int
) -> None:
    """The power was away for longer than the API keeps a result. After 30 minutes it fails."""
    world.channel.before_find.extend([PostUncertain("503")] * uncertain)
    await world.add(state="submitted", request_id="unknown")
    if there:
        world.channel.posts[1] = [world.audio]
    await world.poster.load()
    await world.run_song()
    if uncertain == 99:
        assert (await world.song()).status == "FAILED"
        assert world.time.elapsed >= MINUTES_30.total_seconds()
    else:
        await (world.has_completed() if there else world.has_failed())
        assert world.channel.searched_for == [1] * (1 + uncertain)


@pytest.mark.parametrize("state", ["submitting", "submitted"])
async def test_failed_generation_needs_no_search(world: SongWorld, state: str) -> None:
    """The API had it before and says that it failed; or it was handed in here once more."""
    if state == "submitted":
        await world.add_submitted(genres="fail")
    else:
        await world.add(state=state, submits=1, genres="fail")
    await world.poster.load()
    await world.run_song()
    await world.has_failed()
    assert world.channel.searched_for == ([1] if state == "submitting" else [])


async def test_song_without_files_is_searched_for_again(world: SongWorld) -> None:
    """Its files may be gone because it was posted."""
    await world.add(state="downloaded")
    world.channel.posts[1] = [world.audio]
    world.channel.before_find.append(CannotPost(Reason.HISTORY_UNREADABLE))
    await world.poster.load()
    await world.pipeline.deliver(1)
    await world.has_completed()


@pytest.mark.parametrize(
    "found_out",
    [
        [],
        [PostUncertain("the server is not known yet")],
        [PostUncertain("503")] * 200,
        [CannotPost(Reason.HISTORY_UNREADABLE)],
    ],
    ids=["not there", "not now", "not for 30 minutes", "never"],
)
async def test_inherited_song_is_posted_unless_it_is_found(
    world: SongWorld, found_out: list[Exception]
) -> None:
    world.put(1, "1.mp3")
    await world.add(state="ready")
    world.channel.before_find.extend(found_out)
    await world.poster.load()
    await world.pipeline.deliver(1)
    await world.has_completed()


@pytest.mark.parametrize("refusal", [CannotPost(Reason.NO_PERMISSION), TooLargeToPost("413")])
async def test_undelivered_song_that_could_not_be_found_is_searched_for_before_a_late_post(
    world: SongWorld, refusal: Exception
) -> None:
    world.put(1, "1.mp3")
    await world.add(state="ready")
    world.channel.before_find.append(CannotPost(Reason.HISTORY_UNREADABLE))
    world.channel.before_post.append(refusal)
    await world.poster.load()
    await world.pipeline.deliver(1)
    await world.is_undelivered()
    world.channel.posts[1] = [world.audio]
    await world.poster.post(1)
    await world.has_completed()


@pytest.mark.parametrize(("there", "uncertain"), [(True, 0), (True, 3), (False, 0)])
async def test_restart_while_posting(world: SongWorld, there: bool, uncertain: int) -> None:
    world.put(1, "1.mp3")
    await world.add(state="posting")
    if there:
        world.channel.posts[1] = [world.audio]
    world.channel.before_find.extend([PostUncertain("503")] * uncertain)
    await world.run_song()
    await world.has_completed()
    assert world.channel.searched_for == [1] * (1 + uncertain)


async def test_restart_while_posting_with_an_unreadable_history(world: SongWorld) -> None:
    world.put(1, "1.mp3")
    await world.add(state="posting")
    world.channel.before_find.append(CannotPost(Reason.HISTORY_UNREADABLE))
    await world.run_song()
    song = await world.is_undelivered(in_doubt=True)
    assert song.reason is Reason.HISTORY_UNREADABLE
    assert world.channel.posts == {}


async def test_crash_right_after_the_post(world: SongWorld) -> None:
    world.channel.after_post.append(Crash())
    await world.add()
    with pytest.raises(Crash):
        await world.start()
    assert (await world.song()).state == "posting"
    world.restart()
    await world.run_song()
    await world.has_completed()


@pytest.mark.parametrize("state", ["completed", "refunded", "failed", "cancelled"])
async def test_ended_song_stays_as_it_is(world: SongWorld, state: str) -> None:
    before = await world.add(state=state)
    await world.run_song()
    await world.pipeline.give_up(1)
    assert await world.song() == before
    assert world.server.calls == []


# --- cancelled ----------------------------------------------------------------------------------


async def cancelled(world: SongWorld, task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.pipeline.uninterrupted == set()
    world.restart()


@pytest.mark.parametrize("kind", ["submit", "poll", "result", "file"])
async def test_stopped_song_continues_where_it_was(world: SongWorld, kind: str) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()
    world.gates[99.0] = gate

    def fault(call: Any) -> Fault | None:
        if kind_of(call) != kind or reached.is_set():
            return None
        reached.set()
        return Fault(delay=99.0)

    world.server.fault = fault
    await world.add()
    task = asyncio.create_task(world.start())
    await reached.wait()
    assert world.pipeline.uninterrupted == ({1} if kind == "submit" else set())
    await cancelled(world, task)
    gate.set()
    await world.run_song()
    await world.has_completed()
    assert (await world.song()).submits == (2 if kind == "submit" else 1)


async def test_interrupted_post_is_searched_for(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()
    real = world.channel.post

    async def post(*args: Any) -> int:
        await real(*args)
        reached.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(world.channel, "post", post)
    await world.add()
    task = asyncio.create_task(world.start())
    await reached.wait()
    assert world.pipeline.uninterrupted == {1}
    await cancelled(world, task)
    await world.run_song()
    await world.has_completed()


# --- given up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["submitting", "submitted", "downloaded", "ready"])
async def test_given_up(world: SongWorld, state: str) -> None:
    await world.add(state=state)
    await world.pipeline.give_up(1)
    assert await world.has_failed() == Reason.DEFECT


async def test_given_up_song_is_not_searched_for(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may be the very thing that nobody foresaw."""

    async def find_post(_: Song) -> int | None:
        raise RuntimeError("a channel of a kind that did not exist")

    monkeypatch.setattr(world.channel, "find_post", find_post)
    await world.add(state="ready")
    await world.poster.load()
    with pytest.raises(RuntimeError):
        await world.pipeline.deliver(1)
    await world.pipeline.give_up(1)
    await world.has_failed()


async def test_given_up_while_posting(world: SongWorld) -> None:
    """It may be there: giving the price back would make it free."""
    world.put(1, "1.mp3")
    await world.add(state="posting")
    await world.pipeline.give_up(1)
    await world.is_undelivered(in_doubt=True)
    assert await open_incidents(world) == [Kind.UNDELIVERED]


async def test_unknown_song(world: SongWorld) -> None:
    with pytest.raises(RuntimeError):
        await world.pipeline.make(404)


# --- what the operator's budgets count ---------------------------------------------------------


async def counted(world: SongWorld, at: datetime = NOON) -> tuple[Tally, Tally]:
    """Of the songs' server and of all together, on a day."""
    day, _ = utc_day(at)
    reader = world.database.reader
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
    world: SongWorld, answers: list[Fault], songs: int, sync: bool
) -> None:
    world.restart(sync=sync)
    world.server.fault = script(submit=answers)
    await world.run(price=3)
    assert (await world.song()).ended
    assert await counted(world) == twice(songs, 3 * songs)


async def test_submit_is_uncounted_on_the_day_that_counted_it(world: SongWorld) -> None:
    """It was sent at the end of a day, and refused at the beginning of the next."""
    world.time.elapsed = timedelta(hours=12).total_seconds() - 5

    def refused(call: Call) -> Fault | None:
        world.time.elapsed += 10
        return Fault(429)

    world.server.fault = refused
    await world.run()
    assert world.time() == NOON + timedelta(hours=12, seconds=5)
    await world.waits_again()
    assert await counted(world) == twice(0, 0)
    assert await counted(world, world.time()) == twice(0, 0)


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
    world: SongWorld, budget: OperatorBudget
) -> None:
    await world.budgets.set(budget)
    world.server.fault = always(submit=LOST)
    await world.run(price=3)
    reason = await world.has_failed()
    assert reason == Reason.BUDGET_SPENT
    assert (await world.song()).fault == "account"
    assert world.submits == 1
    assert await counted(world) == twice(1, 3)
    assert await world.free() == FREE


async def test_second_submit_uses_the_next_days_budget(world: SongWorld) -> None:
    await world.budgets.set(OperatorBudget("all", 0, 1, 1))
    await world.add()
    async with world.database.write() as connection:
        assert await world.budgets.mark_submitting(connection, await world.song())
    world.time.elapsed = timedelta(hours=12).total_seconds()
    await world.run_song()
    await world.has_completed()
    assert await counted(world) == twice(1, 1)
    assert await counted(world, world.time()) == twice(1, 1)


async def test_missing_python_is_retried(world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator renews the bot's folder while it runs."""
    program = transcoder._PROGRAM
    world.poster._transcoder = Transcoder()

    async def sleep(seconds: float) -> None:
        monkeypatch.setattr(transcoder, "_PROGRAM", program)
        await world.time.run(seconds)

    world.pipeline._sleep = sleep
    await world.add_submitted()
    assert await world.pipeline.make(1)
    monkeypatch.setattr(transcoder, "_PROGRAM", ("/nowhere/python", *program[1:]))
    await world.pipeline.deliver(1)
    assert (await world.song()).status == "COMPLETED"
