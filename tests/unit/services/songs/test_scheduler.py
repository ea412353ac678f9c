"""Which songs start when, which are resumed, and what a stop leaves."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from db import songs
from db.records import OperatorBudget, Song, SongRequest
from playground.song_api import Call, Fault
from services.errors import CannotPost, NotReached
from services.operations.incidents import Kind
from services.providers.rate_limiter import Call as Budgeted
from services.retry import Backoff
from services.songs.scheduler import ACCOUNT_CHECK_EVERY, MOST_FAILURES
from tests.factories import SERVER
from tests.world.services import (
    FREE,
    House,
    always,
    eventually,
    kind_of,
    open_house,
)

NOBODY = "http://127.0.0.1:9"
"""Discard's port: nobody listens."""
GATE = 99.0
UNTIL_IT_IS_OVER = Backoff().longest
"""Seconds between the checks of a song that waits for the end of a pause."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


def with_places(house: House, at_once: int) -> None:
    house.at_once = at_once
    house.restart()


def behind_a_gate(house: House, kind: str, *, first: int = 1_000) -> asyncio.Event:
    """The first calls of a kind are answered only when the event is set."""
    gate, left = asyncio.Event(), first
    house.gates[GATE] = gate

    def fault(call: Call) -> Fault | None:
        nonlocal left
        if kind_of(call) != kind or left == 0:
            return None
        left -= 1
        return Fault(delay=GATE)

    house.server.fault = fault
    return gate


@dataclass
class Gate:
    """Where something waits: `reached` is set by it, `opened` by the test."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, *_: object) -> None:
        self.reached.set()
        await self.opened.wait()


def gated_post(house: House, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Posts wait at the gate."""
    real, gate = house.channel.post, Gate()

    async def post(*args: Any) -> int:
        await gate.wait()
        return await real(*args)

    monkeypatch.setattr(house.channel, "post", post)
    return gate


async def until_waiting(house: House, count: int) -> None:
    async def counted() -> bool:
        return house.scheduler.waiting == count

    await eventually(counted)


async def add_songs(house: House, count: int, **fields: Any) -> None:
    for song_id in range(1, count + 1):
        await house.add(song_id, **fields)


async def have_completed(house: House, *song_ids: int) -> None:
    for song_id in song_ids:
        await house.has_completed(song_id)


def submitted_seeds(house: House) -> list[int]:
    return [call.body["seed"] for call in house.server.calls if kind_of(call) == "submit"]


# --- starting -----------------------------------------------------------------------------------


async def test_no_more_songs_at_the_api_than_its_limit(house: House) -> None:
    """A place is taken from the submit to the download."""
    there, most = 0, 0

    def count(call: Call) -> None:
        nonlocal there, most
        there += (kind_of(call) == "submit") - (kind_of(call) == "file")
        most = max(most, there)

    house.server.fault = count
    await add_songs(house, 7)
    with_places(house, 3)
    async with house.running():
        await house.until(*["ended"] * 7)
    assert most <= 3
    assert house.submits == 7


async def test_the_next_song_starts_after_the_download(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the post: Discord may be slow."""
    gate = gated_post(house, monkeypatch)
    await add_songs(house, 3)
    with_places(house, 1)
    async with house.running():
        await house.until("posting", "posting", "posting")
        gate.opened.set()
        await house.until("ended", "ended", "ended")


async def test_servers_take_turns_and_within_one_its_members(house: House) -> None:
    with_places(house, 1)
    people = [(1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (2, 1), (1, 2)]
    for song_id, (server_id, member_id) in enumerate(people, start=1):
        await house.add(song_id, server_id=server_id, member_id=member_id, seed=song_id)
    async with house.running():
        await house.until(*["ended"] * len(people))
    assert submitted_seeds(house) == [1, 5, 4, 6, 2, 7, 3]


async def test_waiting_songs_are_counted(house: House) -> None:
    """Also those requested while there is no place."""
    gate = behind_a_gate(house, "poll")
    with_places(house, 1)
    await house.add(1)
    async with house.running():
        await house.until_submits(1)
        for song_id in (2, 3):
            await house.add(song_id)
        house.scheduler.wake()
        await until_waiting(house, 2)
        gate.set()
        await house.until("ended", "ended", "ended")
    assert house.scheduler.waiting == 0


async def test_a_song_cancelled_before_its_turn_is_not_submitted(house: House) -> None:
    gate = behind_a_gate(house, "submit", first=1)
    with_places(house, 1)
    await house.add(1)
    async with house.running():
        await house.until_submits(1)
        song = await house.add(2)
        assert await house.completion.cancel(song)
        gate.set()
        await house.until("ended", "ended")
    assert (await house.song(2)).status == "CANCELLED"
    assert house.submits == 1


async def test_a_song_cancelled_while_it_waits_for_the_rate_limit_is_not_submitted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = await house.add(1)
    real, found, gate = songs.next_waiting, list[Song | None](), Gate()

    async def next_waiting(connection: Any) -> Song | None:
        found.append(await real(connection))
        return found[-1]

    monkeypatch.setattr(songs, "next_waiting", next_waiting)
    monkeypatch.setattr(house.rate_limiter, "take", gate.wait)
    async with house.running():
        await gate.reached.wait()
        assert await house.completion.cancel(song)
        gate.opened.set()

        async def checked() -> bool:
            return found == [song, None, None]

        await eventually(checked)
    assert house.submits == 0
    assert await house.entries() == ["hold", "refund"]


# --- resuming -----------------------------------------------------------------------------------


async def test_unfinished_songs_are_resumed(house: House) -> None:
    await house.add_submitted(1)
    house.put(2, "source")
    await house.add(2, state="downloaded")
    house.put(3, "3.mp3")
    await house.add(3, state="ready")
    house.put(4, "4.mp3")
    await house.add(4, state="posting")
    house.channel.posts[4] = [house.audio]
    await house.add(5, state="submitting")
    await house.add(6)
    with_places(house, 1)
    async with house.running():
        await house.until(*["ended"] * 6)
    await have_completed(house, 1, 2, 3, 4, 5, 6)
    assert house.submits == 2  # 5 and 6
    assert (await house.song(5)).submits == 2


async def test_a_song_requested_later_starts_and_its_post_is_not_searched_for(
    house: House,
) -> None:
    """Only a song of an earlier process may have been posted."""
    await house.add(1)
    async with house.running():
        await house.until("ended")
        await house.add(2)
        house.scheduler.wake()
        await house.until("ended", "ended")
    await house.has_completed(2)
    assert house.channel.looked_for == [1]


async def test_songs_that_another_process_leaves_later_are_resumed(house: House) -> None:
    """At a rolling deployment the old process ends after the new one has begun."""
    async with house.running():
        await eventually(minutes_are_over(house))
        await house.add_submitted(1)
        house.put(2, "2.mp3")
        await house.add(2, state="ready")
        house.channel.posts[2] = [house.audio]
        await house.add(3, state="submitting")
        house.minutes.put_nowait(None)
        await house.until("ended", "ended", "ended")
    await have_completed(house, 1, 2, 3)
    assert house.submits == 1  # 3, whose answer may be lost
    assert sorted(house.channel.looked_for) == [1, 2, 3]


async def test_songs_that_another_process_may_still_run_are_not_resumed(house: House) -> None:
    """Without locks: its song that is being submitted would be made and paid twice."""
    house.alone = False
    house.restart()
    async with house.running():
        await eventually(minutes_are_over(house))
        await house.add(1, state="submitting")
        await two_minutes(house)
        assert house.scheduler._running == {}
        await house.add(2)
        house.scheduler.wake()
        await house.until("submitting", "ended")
    assert house.submits == 1


async def test_songs_that_run_in_this_process_are_not_resumed(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also not between the mark of a song and its task."""
    caplog.set_level("INFO")
    real = house.scheduler._mark_next

    async def mark_next() -> Song | None:
        song = await real()
        house.minutes.put_nowait(None)
        for _ in range(100):
            await asyncio.sleep(0.001)
        return song

    monkeypatch.setattr(house.scheduler, "_mark_next", mark_next)
    gate = behind_a_gate(house, "poll", first=1)
    await house.add(1)
    async with house.running():
        await house.until_submits(1)
        await two_minutes(house)
        assert list(house.scheduler._running.values()) == [1]
        gate.set()
        await house.until("ended")
    await house.has_completed()
    assert "resumed" not in caplog.text
    assert house.channel.looked_for == [1]  # it waited when the process began


async def test_songs_wait_with_growing_pauses_until_the_api_is_reached(house: House) -> None:
    """Each request for another song wakes the scheduler."""
    house.root = NOBODY
    with_places(house, 2)
    await add_songs(house, 3)

    def come_back() -> None:
        house.scheduler.wake()
        if len(house.pauses) == 4:
            house.api._root = house.api._downloader._root = URL(house.server.root)

    house.after_pause = come_back
    async with house.running():
        await house.until("ended", "ended", "ended")
    for song_id in (1, 2, 3):
        await house.has_completed(song_id)
        assert (await house.song(song_id)).submits == 1
    assert house.submits == 3
    assert house.pauses[0] <= 2 < house.pauses[3]


async def test_a_song_that_waits_again_may_be_started_again_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for another song wakes the scheduler."""
    real, calls, gate = house.api.submit, list[SongRequest](), asyncio.Event()

    async def submit(request: SongRequest) -> str:
        calls.append(request)
        if len(calls) == 1:
            raise NotReached("refused")
        return await real(request)

    async def sleep(seconds: float) -> None:
        await gate.wait()
        await house.time.run(seconds)

    monkeypatch.setattr(house.api, "submit", submit)
    monkeypatch.setattr(house.pipeline, "_sleep", sleep)
    await house.add()
    async with house.running():

        async def submitted() -> bool:
            house.scheduler.wake()
            return (await house.song()).state == "submitted"

        await eventually(submitted)
        gate.set()
        await house.until("ended")
    await house.has_completed()
    assert sum(kind_of(call) == "result" for call in house.server.calls) == 1


async def test_a_song_waiting_for_a_connection_can_be_cancelled(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.root = NOBODY
    house.restart()
    song = await house.add()
    gate = Gate()

    async def sleep(seconds: float) -> None:
        if seconds == ACCOUNT_CHECK_EVERY:
            await asyncio.Event().wait()
        await gate.wait()

    monkeypatch.setattr(house.scheduler, "_sleep", sleep)
    async with house.running():
        await gate.reached.wait()
        assert await house.completion.cancel(song)
        gate.opened.set()
    assert (await house.song()).status == "CANCELLED"


# --- the operator's account ---------------------------------------------------------------------


def paused(house: House) -> Kind | None:
    return house.incidents.paused


async def until_unpaused(house: House) -> None:
    async def over() -> bool:
        return paused(house) is None

    await eventually(over)


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_after_a_refused_key_probes_wait_for_the_account(house: House, code: int) -> None:
    house.server.fault = always(submit=Fault(code), credits=Fault(401))
    with_places(house, 1)
    await add_songs(house, 3)
    async with house.running():
        await house.until("ended", "waiting", "waiting")
        await house.has_failed(1)
        assert paused(house) is Kind.KEY_REFUSED

        await minute(house)
        assert house.submits == 1

        # The balance can be read; songs are still refused. The probe waits again.
        house.server.fault = always(submit=Fault(code))
        await minute(house)
        await house.until_submits(2)
        await house.until("ended", "waiting", "waiting")

        house.server.fault = None
        await minute(house)
        await house.until("ended", "ended", "ended")
    await have_completed(house, 2, 3)
    assert house.submits == 4
    assert paused(house) is None
    assert len(house.owner.told) == 2
    assert await house.free() == FREE - 2


async def minute(house: House) -> None:
    """Let a minute pass, until the account is checked."""

    def checks() -> int:
        return sum(kind_of(call) == "credits" for call in house.server.calls)

    before = checks()
    house.minutes.put_nowait(None)

    async def checked() -> bool:
        return checks() > before

    await eventually(checked)


@pytest.mark.parametrize(("kind", "probes"), [(Kind.KEY_REFUSED, 3), (Kind.OUT_OF_CREDITS, 1)])
async def test_a_song_that_a_firewall_refuses_does_not_keep_songs_paused(
    house: House, kind: Kind, probes: int
) -> None:
    """The account works again, and this song is the only possible probe."""
    await house.incidents.begin(kind, "reported before")
    house.server.fault = always(submit=Fault(403))
    await house.add()
    async with house.running():
        for number in range(1, probes):
            await minute(house)
            await house.until_submits(number)
            await house.until("waiting")
            assert paused(house) is kind
        await minute(house)
        await house.until("ended")
        house.minutes.put_nowait(None)
        await until_unpaused(house)
    assert await house.has_failed() == "The song service did not accept this request."
    assert house.submits == probes
    assert len(house.owner.told) == 2


async def test_songs_that_a_firewall_refuses_take_turns_and_do_not_keep_songs_paused(
    house: House,
) -> None:
    """A start moves its server to the end, so that no song is tried twice in a row."""
    await house.incidents.begin(Kind.KEY_REFUSED, "reported before")
    house.server.fault = always(submit=Fault(403))
    for song_id in (1, 2):
        await house.add(song_id, server_id=song_id, member_id=song_id)
    async with house.running():
        for number in range(1, 5):
            await minute(house)
            await house.until_submits(number)
            await house.until("waiting", "waiting")
        assert paused(house) is Kind.KEY_REFUSED
        await minute(house)
        await house.until("ended", "waiting")
        await minute(house)
        await house.until("ended", "ended")
        house.minutes.put_nowait(None)
        await until_unpaused(house)
    assert house.submits == 6


async def test_songs_are_paused_while_the_account_has_no_credits(house: House) -> None:
    house.server.credits = 1
    with_places(house, 1)
    await add_songs(house, 3)
    async with house.running():
        await house.until("ended", "ended", "waiting")
        await house.has_completed(1)
        await house.has_failed(2)
        assert paused(house) is Kind.OUT_OF_CREDITS
        await minute(house)
        await minute(house)
        assert house.submits == 2
        house.server.credits = 10
        await minute(house)
        await house.until("ended", "ended", "ended")
    await house.has_completed(3)
    assert house.submits == 3
    assert paused(house) is None


async def test_a_pause_survives_a_restart(house: House) -> None:
    await house.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await house.add()
    house.restart()
    await house.incidents.load()
    async with house.running():
        await minute(house)
        await house.until("ended")
    await house.has_completed()
    assert [kind_of(call) for call in house.server.calls[:2]] == ["credits", "submit"]


async def test_a_pause_ends_without_a_probe_if_no_song_waits(house: House) -> None:
    await house.incidents.begin(Kind.KEY_REFUSED, "401")
    async with house.running():
        await minute(house)
        await until_unpaused(house)
    assert house.submits == 0


async def test_a_probe_needs_no_place(house: House) -> None:
    """A song whose polls are refused may have the only one."""
    with_places(house, 1)
    await house.incidents.begin(Kind.KEY_REFUSED, "401")
    gate = behind_a_gate(house, "poll", first=1)
    await house.add_submitted(1)
    await house.add(2)
    async with house.running():
        await minute(house)
        await house.until_submits(1)
        await until_unpaused(house)
        gate.set()
        await house.until("ended", "ended")


async def two_minutes(house: House) -> None:
    """Let two minutes pass: then the work of the first one is done."""
    for _ in range(2):
        house.minutes.put_nowait(None)

    async def taken() -> bool:
        return house.minutes.empty()

    await eventually(taken)


async def test_one_probe_at_a_time(house: House) -> None:
    await house.incidents.begin(Kind.KEY_REFUSED, "401")
    gate = behind_a_gate(house, "submit", first=1)
    await add_songs(house, 2)
    async with house.running():
        await minute(house)
        await house.until_submits(1)
        await two_minutes(house)
        assert await house.states(2) == ["submitting", "waiting"]
        assert house.submits == 1
        gate.set()
        await house.until("ended", "ended")
    await have_completed(house, 1, 2)


async def test_probes_that_may_lose_their_answers_are_limited(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They can't be cancelled any more, and wait for the end of the pause."""
    with_places(house, 2)

    async def sleep(seconds: float) -> None:
        if seconds == UNTIL_IT_IS_OVER:
            await asyncio.Event().wait()

    monkeypatch.setattr(house.pipeline, "_sleep", sleep)
    await house.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    house.server.fault = always(submit=Fault(503))
    await add_songs(house, 3)
    async with house.running():
        for number in (1, 2):
            await minute(house)
            await house.until_submits(number)

            async def lost() -> bool:
                return len(house.pipeline.waiting_for_recovery) == number  # noqa: B023

            await eventually(lost)
        await two_minutes(house)
        assert await house.states(3) == ["submitting", "submitting", "waiting"]
        assert house.submits == 2


async def test_an_unused_probe_is_not_kept_for_the_next_pause(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.incidents.begin(Kind.KEY_REFUSED, "401")
    real, place = house.rate_limiter.take, asyncio.Event()

    async def take(call: Budgeted) -> None:
        if call is Budgeted.SUBMIT:
            await place.wait()
        await real(call)

    monkeypatch.setattr(house.rate_limiter, "take", take)
    song = await house.add(1)
    async with house.running():
        await minute(house)
        await house.completion.cancel(song)
        place.set()
        await minute(house)
        await until_unpaused(house)
        await house.incidents.begin(Kind.KEY_REFUSED, "401")
        await house.add(2)
        house.scheduler.wake()
        await until_waiting(house, 1)
        assert not house.scheduler._may_start()
    assert house.submits == 0


async def test_songs_start_as_soon_as_a_probe_is_accepted(house: House) -> None:
    await house.incidents.begin(Kind.KEY_REFUSED, "401")
    gate = behind_a_gate(house, "poll", first=1)
    await add_songs(house, 2)
    async with house.running():
        await minute(house)
        await house.until("submitted", "waiting")
        await until_unpaused(house)
        house.minutes.put_nowait(None)
        await house.until("submitted", "ended")
        gate.set()
        await house.until("ended", "ended")


async def test_the_check_of_the_account_survives_an_error(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.incidents.begin(Kind.KEY_REFUSED, "401")
    real, errors = house.incidents.account_works, [sqlite3.OperationalError("disk I/O error")]

    async def account_works(*, refusals: int) -> None:
        if errors:
            raise errors.pop()
        await real(refusals=refusals)

    monkeypatch.setattr(house.incidents, "account_works", account_works)
    async with house.running():
        await minute(house)
        await minute(house)
        await until_unpaused(house)


# --- the operator's budgets --------------------------------------------------------------------


async def test_songs_over_a_budget_wait_and_others_go_on_in_fair_order(
    house: House,
) -> None:
    """Server 1 may have two songs, server 2 three credits, server 3 any number."""
    await house.budgets.set(OperatorBudget("each", 0, None, 2))
    await house.budgets.set(OperatorBudget("server", 2, 3, None))
    await house.budgets.set(OperatorBudget("server", 3, None, None))
    with_places(house, 1)
    for song_id, (server_id, price) in enumerate(
        [(1, 9), (1, 9), (1, 9), (2, 2), (2, 2), (2, 1), (3, 9), (3, 9), (3, 9)], start=1
    ):
        member_id = 100 * server_id + song_id
        await house.add(
            song_id, server_id=server_id, member_id=member_id, seed=song_id, price=price
        )
    async with house.running():
        await house.until(
            *("ended", "ended", "waiting"),
            *("ended", "waiting", "ended"),
            *("ended", "ended", "ended"),
        )
        house.minutes.put_nowait(None)
        house.scheduler.wake()
        await house.until_submits(7)
    # Server after server; the second song of server 2 is too expensive, so the third precedes it.
    assert submitted_seeds(house) == [1, 4, 7, 2, 6, 8, 9]
    assert await house.entries(3) == await house.entries(5) == ["hold"]


async def test_songs_waiting_for_a_budget_start_on_the_next_day(house: House) -> None:
    """Without an event: the scheduler checks each minute."""
    await house.budgets.set(OperatorBudget("all", 0, 1, None))
    house.time.elapsed = timedelta(hours=11).total_seconds()
    await add_songs(house, 3)
    async with house.running():
        await house.until("ended", "waiting", "waiting")
        house.minutes.put_nowait(None)
        await eventually(minutes_are_over(house))
        assert await house.states(3) == ["ended", "waiting", "waiting"]
        house.time.elapsed = timedelta(hours=12).total_seconds()
        house.minutes.put_nowait(None)
        await house.until("ended", "ended", "waiting")
    assert house.submits == 2


def minutes_are_over(house: House) -> Callable[[], Awaitable[bool]]:
    """Return whether the scheduler has checked everything, and waits to be woken."""

    async def over() -> bool:
        woken = house.scheduler._woken
        watching = bool(house.minutes._getters)  # type: ignore[attr-defined]
        return watching and bool(woken._waiters) and not woken.is_set()

    return over


async def test_songs_waiting_for_a_budget_start_when_it_is_raised_or_dropped(house: House) -> None:
    await house.budgets.set(OperatorBudget("all", 0, None, 1))
    await house.budgets.set(OperatorBudget("server", SERVER, None, 0))
    await add_songs(house, 3)
    async with house.running():
        house.minutes.put_nowait(None)
        await eventually(minutes_are_over(house))
        assert await house.states(3) == ["waiting", "waiting", "waiting"]
        await house.budgets.drop("server", SERVER)
        house.minutes.put_nowait(None)
        await house.until("ended", "waiting", "waiting")
        await house.budgets.set(OperatorBudget("all", 0, None, 2))
        house.minutes.put_nowait(None)
        await house.until("ended", "ended", "waiting")
    assert house.submits == 2


async def test_a_budget_lowered_while_a_song_waits_for_the_rate_limit_counts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(house.rate_limiter, "take", gate.wait)
    await house.add()
    async with house.running():
        await gate.reached.wait()
        await house.budgets.set(OperatorBudget("all", 0, 0, None))
        gate.opened.set()
        house.minutes.put_nowait(None)
        await eventually(minutes_are_over(house))
    await house.waits_again()
    assert house.submits == 0


async def test_a_pause_ends_although_no_budget_has_room_for_a_probe(house: House) -> None:
    """Otherwise nobody could request a song in another server, whose budget has room."""
    await house.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await house.budgets.set(OperatorBudget("server", SERVER, None, 0))
    await house.add()
    async with house.running():
        await minute(house)
        await until_unpaused(house)
    await house.waits_again()
    assert house.submits == 0


# --- unexpected errors --------------------------------------------------------------------------


def failing(house: House, monkeypatch: pytest.MonkeyPatch, method: str, times: int) -> list[int]:
    """Make a method of the pipeline fail so many times; return the calls of it."""
    real, calls = getattr(house.pipeline, method), list[int]()

    async def fail(song_id: int, **options: bool) -> Any:
        calls.append(song_id)
        if len(calls) <= times:
            raise RuntimeError("unexpected")
        return await real(song_id, **options)

    monkeypatch.setattr(house.pipeline, method, fail)
    return calls


@pytest.mark.parametrize("method", ["make", "deliver"])
async def test_a_step_is_retried_after_an_error(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    calls = failing(house, monkeypatch, method, MOST_FAILURES - 1)
    await house.add()
    async with house.running():
        await house.until("ended")
    await house.has_completed()
    assert len(calls) == MOST_FAILURES
    assert len(house.pauses) == MOST_FAILURES - 1
    assert house.pauses[0] < house.pauses[-1]
    assert caplog.text.count("unexpected") >= MOST_FAILURES - 1


@pytest.mark.parametrize("method", ["make", "deliver"])
async def test_a_song_is_given_up_after_many_errors_until_that_succeeds(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The database may be what fails: the credits must still be refunded."""
    calls = failing(house, monkeypatch, method, 1_000)
    given_up = failing(house, monkeypatch, "give_up", 3)
    await house.add()
    async with house.running():
        await house.until("ended")
        await house.add(2)
    await house.has_failed()
    assert (len(calls), len(given_up)) == (MOST_FAILURES, 4)
    assert await house.free() == FREE - 1


async def test_starting_songs_survives_an_error(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, errors = songs.next_waiting, [sqlite3.OperationalError("database or disk is full")] * 3

    async def next_waiting(connection: Any) -> Any:
        if errors:
            raise errors.pop()
        return await real(connection)

    monkeypatch.setattr(songs, "next_waiting", next_waiting)
    await house.add()
    async with house.running():
        await house.until("ended")
    await house.has_completed()
    assert len(house.pauses) == 3
    assert "database or disk is full" in caplog.text


# --- stopping -----------------------------------------------------------------------------------


def sleeping_forever(house: House, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A song that sleeps does not wake up."""
    gate = Gate()
    monkeypatch.setattr(house.pipeline, "_sleep", gate.wait)
    return gate


async def test_a_song_that_only_waits_is_stopped_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = sleeping_forever(house, monkeypatch)
    await house.add()
    async with house.running():
        await asleep.reached.wait()
        await house.scheduler.stop(grace=1_000)
        assert (await house.song()).state == "submitted"
    house.restart()
    async with house.running():
        await house.until("ended")
    await house.has_completed()
    assert house.submits == 1


async def test_a_stop_waits_for_the_answer_to_a_submit(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeping_forever(house, monkeypatch)
    gate = behind_a_gate(house, "submit")
    await house.add()
    async with house.running():
        await house.until_submits(1)
        stopping = asyncio.create_task(house.scheduler.stop(grace=1_000))
        await asyncio.sleep(0)  # the stop has seen what is in progress
        gate.set()
        await stopping
    song = await house.song()
    assert (song.state, song.submits) == ("submitted", 1)
    house.restart()
    async with house.running():
        await house.until("ended")
    await house.has_completed()
    assert house.submits == 1


@pytest.mark.parametrize("refused", [False, True])
async def test_a_stop_waits_for_the_answer_to_a_post(
    house: House, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    gate = gated_post(house, monkeypatch)
    if refused:
        house.channel.before_post.append(CannotPost("The channel is gone."))
    await house.add()
    async with house.running():
        await gate.reached.wait()
        stopping = asyncio.create_task(house.scheduler.stop(grace=1_000))
        await asyncio.sleep(0)  # as above
        gate.opened.set()
        await stopping
    if not refused:
        await house.has_completed()
    house.restart()
    async with house.running():
        await house.until("ended")
    if refused:
        await house.is_undelivered()
    assert await house.entries() == ["hold", "settle"]


async def test_a_stop_waits_no_longer_than_its_grace(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One song posts and one submits forever: both are resumed as after a crash."""
    posting = gated_post(house, monkeypatch)
    house.put(1, "1.mp3")
    await house.add(1, state="ready")
    submitting = behind_a_gate(house, "submit")
    await house.add(2)
    async with house.running():
        await posting.reached.wait()
        await house.until_submits(1)
        await house.scheduler.stop(grace=0.1)
    assert [(await house.song(n)).state for n in (1, 2)] == ["posting", "submitting"]
    posting.opened.set()
    submitting.set()
    house.restart()
    async with house.running():
        await house.until("ended", "ended")
    await have_completed(house, 1, 2)
    assert (await house.song(2)).submits == 2
