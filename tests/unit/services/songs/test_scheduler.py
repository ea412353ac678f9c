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
from db.records import OperatorBudget, Reason, Song, SongRequest
from playground.song_api import Call, Fault
from services.errors import CannotPost, NotReached
from services.operations.incidents import Kind
from services.providers.rate_limiter import Call as Budgeted
from services.retry import Backoff
from services.songs.scheduler import ACCOUNT_CHECK_EVERY, MOST_FAILURES
from tests.factories import SERVER
from tests.world.services import (
    FREE,
    SongWorld,
    always,
    eventually,
    kind_of,
    open_world,
)

NOBODY = "http://127.0.0.1:9"
"""Discard's port: nobody listens."""
GATE = 99.0
UNTIL_IT_IS_OVER = Backoff().longest
"""Seconds between the checks of a song that waits for the end of a pause."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SongWorld]:
    async with open_world(tmp_path) as opened:
        yield opened


def with_places(world: SongWorld, at_once: int) -> None:
    world.at_once = at_once
    world.restart()


def behind_a_gate(world: SongWorld, kind: str, *, first: int = 1_000) -> asyncio.Event:
    """The first calls of a kind are answered only when the event is set."""
    gate, left = asyncio.Event(), first
    world.gates[GATE] = gate

    def fault(call: Call) -> Fault | None:
        nonlocal left
        if kind_of(call) != kind or left == 0:
            return None
        left -= 1
        return Fault(delay=GATE)

    world.server.fault = fault
    return gate


@dataclass
class Gate:
    """Where something waits: `reached` is set by it, `opened` by the test."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, *_: object) -> None:
        self.reached.set()
        await self.opened.wait()


def gated_post(world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Posts wait at the gate."""
    real, gate = world.channel.post, Gate()

    async def post(*args: Any) -> int:
        await gate.wait()
        return await real(*args)

    monkeypatch.setattr(world.channel, "post", post)
    return gate


async def until_waiting(world: SongWorld, count: int) -> None:
    async def counted() -> bool:
        return world.scheduler.waiting == count

    await eventually(counted)


async def add_songs(world: SongWorld, count: int, **fields: Any) -> None:
    for song_id in range(1, count + 1):
        await world.add(song_id, **fields)


async def have_completed(world: SongWorld, *song_ids: int) -> None:
    for song_id in song_ids:
        await world.has_completed(song_id)


def submitted_seeds(world: SongWorld) -> list[int]:
    return [call.body["seed"] for call in world.server.calls if kind_of(call) == "submit"]


# --- starting -----------------------------------------------------------------------------------


async def test_no_more_songs_at_the_api_than_its_limit(world: SongWorld) -> None:
    """A place is taken from the submit to the download."""
    there, most = 0, 0

    def count(call: Call) -> None:
        nonlocal there, most
        there += (kind_of(call) == "submit") - (kind_of(call) == "file")
        most = max(most, there)

    world.server.fault = count
    await add_songs(world, 7)
    with_places(world, 3)
    async with world.running():
        await world.until(*["ended"] * 7)
    assert most <= 3
    assert world.submits == 7


async def test_the_next_song_starts_after_the_download(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the post: Discord may be slow."""
    gate = gated_post(world, monkeypatch)
    await add_songs(world, 3)
    with_places(world, 1)
    async with world.running():
        await world.until("posting", "posting", "posting")
        gate.opened.set()
        await world.until("ended", "ended", "ended")


async def test_servers_take_turns_and_within_one_its_members(world: SongWorld) -> None:
    with_places(world, 1)
    people = [(1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (2, 1), (1, 2)]
    for song_id, (server_id, member_id) in enumerate(people, start=1):
        await world.add(song_id, server_id=server_id, member_id=member_id, seed=song_id)
    async with world.running():
        await world.until(*["ended"] * len(people))
    assert submitted_seeds(world) == [1, 5, 4, 6, 2, 7, 3]


async def test_waiting_songs_are_counted(world: SongWorld) -> None:
    """Also those requested while there is no place."""
    gate = behind_a_gate(world, "poll")
    with_places(world, 1)
    await world.add(1)
    async with world.running():
        await world.until_submits(1)
        for song_id in (2, 3):
            await world.add(song_id)
        world.scheduler.wake()
        await until_waiting(world, 2)
        gate.set()
        await world.until("ended", "ended", "ended")
    assert world.scheduler.waiting == 0


async def test_a_song_cancelled_before_its_turn_is_not_submitted(world: SongWorld) -> None:
    gate = behind_a_gate(world, "submit", first=1)
    with_places(world, 1)
    await world.add(1)
    async with world.running():
        await world.until_submits(1)
        song = await world.add(2)
        assert await world.completion.cancel(song)
        gate.set()
        await world.until("ended", "ended")
    assert (await world.song(2)).status == "CANCELLED"
    assert world.submits == 1


async def test_a_song_cancelled_while_it_waits_for_the_rate_limit_is_not_submitted(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = await world.add(1)
    real, found, gate = songs.next_waiting, list[Song | None](), Gate()

    async def next_waiting(*arguments: Any, **values: Any) -> Song | None:
        found.append(await real(*arguments, **values))
        return found[-1]

    monkeypatch.setattr(songs, "next_waiting", next_waiting)
    monkeypatch.setattr(world.rate_limiter, "take", gate.wait)
    async with world.running():
        await gate.reached.wait()
        assert await world.completion.cancel(song)
        gate.opened.set()

        async def checked() -> bool:
            return found == [song, None, None]

        await eventually(checked)
    assert world.submits == 0
    assert await world.entries() == ["hold", "refund"]


# --- resuming -----------------------------------------------------------------------------------


async def test_unfinished_songs_are_resumed(world: SongWorld) -> None:
    await world.add_submitted(1)
    world.put(2, "source")
    await world.add(2, state="downloaded")
    world.put(3, "3.mp3")
    await world.add(3, state="ready")
    world.put(4, "4.mp3")
    await world.add(4, state="posting")
    world.channel.posts[4] = [world.audio]
    await world.add(5, state="submitting")
    await world.add(6)
    with_places(world, 1)
    async with world.running():
        await world.until(*["ended"] * 6)
    await have_completed(world, 1, 2, 3, 4, 5, 6)
    assert world.submits == 2  # 5 and 6
    assert (await world.song(5)).submits == 2


async def test_a_song_requested_later_starts_and_its_post_is_not_searched_for(
    world: SongWorld,
) -> None:
    """Only a song of an earlier process may have been posted."""
    await world.add(1)
    async with world.running():
        await world.until("ended")
        await world.add(2)
        world.scheduler.wake()
        await world.until("ended", "ended")
    await world.has_completed(2)
    assert world.channel.searched_for == [1]


async def test_songs_that_another_process_leaves_later_are_resumed(world: SongWorld) -> None:
    """At a rolling deployment the old process ends after the new one has begun."""
    async with world.running():
        await eventually(minutes_are_over(world))
        await world.add_submitted(1)
        world.put(2, "2.mp3")
        await world.add(2, state="ready")
        world.channel.posts[2] = [world.audio]
        await world.add(3, state="submitting")
        world.minutes.put_nowait(None)
        await world.until("ended", "ended", "ended")
    await have_completed(world, 1, 2, 3)
    assert world.submits == 1  # 3, whose answer may be lost
    assert sorted(world.channel.searched_for) == [1, 2, 3]


async def test_songs_that_another_process_may_still_run_are_not_resumed(world: SongWorld) -> None:
    """Without locks: its song that is being submitted would be made and paid twice."""
    world.exclusive = False
    world.restart()
    async with world.running():
        await eventually(minutes_are_over(world))
        await world.add(1, state="submitting")
        await two_minutes(world)
        assert world.scheduler._running == {}
        await world.add(2)
        world.scheduler.wake()
        await world.until("submitting", "ended")
    assert world.submits == 1


async def test_songs_that_run_in_this_process_are_not_resumed(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also not between the mark of a song and its task."""
    caplog.set_level("INFO")
    real = world.scheduler._mark_next

    async def mark_next() -> Song | None:
        song = await real()
        world.minutes.put_nowait(None)
        for _ in range(100):
            await asyncio.sleep(0.001)
        return song

    monkeypatch.setattr(world.scheduler, "_mark_next", mark_next)
    gate = behind_a_gate(world, "poll", first=1)
    await world.add(1)
    async with world.running():
        await world.until_submits(1)
        await two_minutes(world)
        assert list(world.scheduler._running.values()) == [1]
        gate.set()
        await world.until("ended")
    await world.has_completed()
    assert "resumed" not in caplog.text
    assert world.channel.searched_for == [1]  # it waited when the process began


async def test_songs_wait_with_growing_pauses_until_the_api_is_reached(world: SongWorld) -> None:
    """Each request for another song wakes the scheduler."""
    world.root = NOBODY
    with_places(world, 2)
    await add_songs(world, 3)

    def come_back() -> None:
        world.scheduler.wake()
        if len(world.pauses) == 4:
            world.api._root = world.api._downloader._root = URL(world.server.root)

    world.after_pause = come_back
    async with world.running():
        await world.until("ended", "ended", "ended")
    for song_id in (1, 2, 3):
        await world.has_completed(song_id)
        assert (await world.song(song_id)).submits == 1
    assert world.submits == 3
    assert world.pauses[0] <= 2 < world.pauses[3]


async def test_a_song_that_waits_again_may_be_started_again_at_once(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for another song wakes the scheduler."""
    real, calls, gate = world.api.submit, list[SongRequest](), asyncio.Event()

    async def submit(request: SongRequest) -> str:
        calls.append(request)
        if len(calls) == 1:
            raise NotReached("refused")
        return await real(request)

    async def sleep(seconds: float) -> None:
        await gate.wait()
        await world.time.run(seconds)

    monkeypatch.setattr(world.api, "submit", submit)
    monkeypatch.setattr(world.pipeline, "_sleep", sleep)
    await world.add()
    async with world.running():

        async def submitted() -> bool:
            world.scheduler.wake()
            return (await world.song()).state == "submitted"

        await eventually(submitted)
        gate.set()
        await world.until("ended")
    await world.has_completed()
    assert sum(kind_of(call) == "result" for call in world.server.calls) == 1


async def test_a_song_waiting_for_a_connection_can_be_cancelled(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.root = NOBODY
    world.restart()
    song = await world.add()
    gate = Gate()

    async def sleep(seconds: float) -> None:
        if seconds == ACCOUNT_CHECK_EVERY:
            await asyncio.Event().wait()
        await gate.wait()

    monkeypatch.setattr(world.scheduler, "_sleep", sleep)
    async with world.running():
        await gate.reached.wait()
        assert await world.completion.cancel(song)
        gate.opened.set()
    assert (await world.song()).status == "CANCELLED"


# --- the operator's account ---------------------------------------------------------------------


def paused(world: SongWorld) -> Kind | None:
    return world.incidents.paused


async def until_unpaused(world: SongWorld) -> None:
    async def over() -> bool:
        return paused(world) is None

    await eventually(over)


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_after_a_refused_key_probes_wait_for_the_account(world: SongWorld, code: int) -> None:
    world.server.fault = always(submit=Fault(code), credits=Fault(401))
    with_places(world, 1)
    await add_songs(world, 3)
    async with world.running():
        await world.until("ended", "waiting", "waiting")
        await world.has_failed(1)
        assert paused(world) is Kind.KEY_REFUSED

        await minute(world)
        assert world.submits == 1

        # The balance can be read; songs are still refused. The probe waits again.
        world.server.fault = always(submit=Fault(code))
        await minute(world)
        await world.until_submits(2)
        await world.until("ended", "waiting", "waiting")

        world.server.fault = None
        await minute(world)
        await world.until("ended", "ended", "ended")
    await have_completed(world, 2, 3)
    assert world.submits == 4
    assert paused(world) is None
    assert len(world.owner.messages) == 2
    assert await world.free() == FREE - 2


async def minute(world: SongWorld) -> None:
    """Let a minute pass, until the account is checked."""

    def checks() -> int:
        return sum(kind_of(call) == "credits" for call in world.server.calls)

    before = checks()
    world.minutes.put_nowait(None)

    async def checked() -> bool:
        return checks() > before

    await eventually(checked)


@pytest.mark.parametrize(("kind", "probes"), [(Kind.KEY_REFUSED, 3), (Kind.OUT_OF_CREDITS, 1)])
async def test_a_song_that_a_firewall_refuses_does_not_keep_songs_paused(
    world: SongWorld, kind: Kind, probes: int
) -> None:
    """The account works again, and this song is the only possible probe."""
    await world.incidents.begin(kind, "reported before")
    world.server.fault = always(submit=Fault(403))
    await world.add()
    async with world.running():
        for number in range(1, probes):
            await minute(world)
            await world.until_submits(number)
            await world.until("waiting")
            assert paused(world) is kind
        await minute(world)
        await world.until("ended")
        world.minutes.put_nowait(None)
        await until_unpaused(world)
    assert await world.has_failed() == Reason.REQUEST_REJECTED
    assert world.submits == probes
    assert len(world.owner.messages) == 2


async def test_songs_that_a_firewall_refuses_take_turns_and_do_not_keep_songs_paused(
    world: SongWorld,
) -> None:
    """A start moves its server to the end, so that no song is tried twice in a row."""
    await world.incidents.begin(Kind.KEY_REFUSED, "reported before")
    world.server.fault = always(submit=Fault(403))
    for song_id in (1, 2):
        await world.add(song_id, server_id=song_id, member_id=song_id)
    async with world.running():
        for number in range(1, 5):
            await minute(world)
            await world.until_submits(number)
            await world.until("waiting", "waiting")
        assert paused(world) is Kind.KEY_REFUSED
        await minute(world)
        await world.until("ended", "waiting")
        await minute(world)
        await world.until("ended", "ended")
        world.minutes.put_nowait(None)
        await until_unpaused(world)
    assert world.submits == 6


async def test_songs_are_paused_while_the_account_has_no_credits(world: SongWorld) -> None:
    world.server.credits = 1
    with_places(world, 1)
    await add_songs(world, 3)
    async with world.running():
        await world.until("ended", "ended", "waiting")
        await world.has_completed(1)
        await world.has_failed(2)
        assert paused(world) is Kind.OUT_OF_CREDITS
        await minute(world)
        await minute(world)
        assert world.submits == 2
        world.server.credits = 10
        await minute(world)
        await world.until("ended", "ended", "ended")
    await world.has_completed(3)
    assert world.submits == 3
    assert paused(world) is None


async def test_a_pause_survives_a_restart(world: SongWorld) -> None:
    await world.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await world.add()
    world.restart()
    await world.incidents.load()
    async with world.running():
        await minute(world)
        await world.until("ended")
    await world.has_completed()
    assert [kind_of(call) for call in world.server.calls[:2]] == ["credits", "submit"]


async def test_a_pause_ends_without_a_probe_if_no_song_waits(world: SongWorld) -> None:
    await world.incidents.begin(Kind.KEY_REFUSED, "401")
    async with world.running():
        await minute(world)
        await until_unpaused(world)
    assert world.submits == 0


async def test_a_probe_needs_no_place(world: SongWorld) -> None:
    """A song whose polls are refused may have the only one."""
    with_places(world, 1)
    await world.incidents.begin(Kind.KEY_REFUSED, "401")
    gate = behind_a_gate(world, "poll", first=1)
    await world.add_submitted(1)
    await world.add(2)
    async with world.running():
        await minute(world)
        await world.until_submits(1)
        await until_unpaused(world)
        gate.set()
        await world.until("ended", "ended")


async def two_minutes(world: SongWorld) -> None:
    """Let two minutes pass: then the work of the first one is done."""
    for _ in range(2):
        world.minutes.put_nowait(None)

    async def taken() -> bool:
        return world.minutes.empty()

    await eventually(taken)


async def test_one_probe_at_a_time(world: SongWorld) -> None:
    await world.incidents.begin(Kind.KEY_REFUSED, "401")
    gate = behind_a_gate(world, "submit", first=1)
    await add_songs(world, 2)
    async with world.running():
        await minute(world)
        await world.until_submits(1)
        await two_minutes(world)
        assert await world.states(2) == ["submitting", "waiting"]
        assert world.submits == 1
        gate.set()
        await world.until("ended", "ended")
    await have_completed(world, 1, 2)


async def test_probes_that_may_lose_their_answers_are_limited(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They can't be cancelled any more, and wait for the end of the pause."""
    with_places(world, 2)

    async def sleep(seconds: float) -> None:
        if seconds == UNTIL_IT_IS_OVER:
            await asyncio.Event().wait()

    monkeypatch.setattr(world.pipeline, "_sleep", sleep)
    await world.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    world.server.fault = always(submit=Fault(503))
    await add_songs(world, 3)
    async with world.running():
        for number in (1, 2):
            await minute(world)
            await world.until_submits(number)

            async def lost() -> bool:
                return len(world.pipeline.waiting_for_recovery) == number  # noqa: B023

            await eventually(lost)
        await two_minutes(world)
        assert await world.states(3) == ["submitting", "submitting", "waiting"]
        assert world.submits == 2


async def test_an_unused_probe_is_not_kept_for_the_next_pause(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.incidents.begin(Kind.KEY_REFUSED, "401")
    real, place = world.rate_limiter.take, asyncio.Event()

    async def take(call: Budgeted) -> None:
        if call is Budgeted.SUBMIT:
            await place.wait()
        await real(call)

    monkeypatch.setattr(world.rate_limiter, "take", take)
    song = await world.add(1)
    async with world.running():
        await minute(world)
        await world.completion.cancel(song)
        place.set()
        await minute(world)
        await until_unpaused(world)
        await world.incidents.begin(Kind.KEY_REFUSED, "401")
        await world.add(2)
        world.scheduler.wake()
        await until_waiting(world, 1)
        assert not world.scheduler._may_start()
    assert world.submits == 0


async def test_songs_start_as_soon_as_a_probe_is_accepted(world: SongWorld) -> None:
    await world.incidents.begin(Kind.KEY_REFUSED, "401")
    gate = behind_a_gate(world, "poll", first=1)
    await add_songs(world, 2)
    async with world.running():
        await minute(world)
        await world.until("submitted", "waiting")
        await until_unpaused(world)
        world.minutes.put_nowait(None)
        await world.until("submitted", "ended")
        gate.set()
        await world.until("ended", "ended")


async def test_the_check_of_the_account_survives_an_error(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.incidents.begin(Kind.KEY_REFUSED, "401")
    real, errors = world.incidents.account_works, [sqlite3.OperationalError("disk I/O error")]

    async def account_works(*, refusals: int) -> None:
        if errors:
            raise errors.pop()
        await real(refusals=refusals)

    monkeypatch.setattr(world.incidents, "account_works", account_works)
    async with world.running():
        await minute(world)
        await minute(world)
        await until_unpaused(world)


# --- the operator's budgets --------------------------------------------------------------------


async def test_songs_over_a_budget_wait_and_others_go_on_in_fair_order(
    world: SongWorld,
) -> None:
    """Server 1 may have two songs, server 2 three credits, server 3 any number."""
    await world.budgets.set(OperatorBudget("each", 0, None, 2))
    await world.budgets.set(OperatorBudget("server", 2, 3, None))
    await world.budgets.set(OperatorBudget("server", 3, None, None))
    with_places(world, 1)
    for song_id, (server_id, price) in enumerate(
        [(1, 9), (1, 9), (1, 9), (2, 2), (2, 2), (2, 1), (3, 9), (3, 9), (3, 9)], start=1
    ):
        member_id = 100 * server_id + song_id
        await world.add(
            song_id, server_id=server_id, member_id=member_id, seed=song_id, price=price
        )
    async with world.running():
        await world.until(
            *("ended", "ended", "waiting"),
            *("ended", "waiting", "ended"),
            *("ended", "ended", "ended"),
        )
        world.minutes.put_nowait(None)
        world.scheduler.wake()
        await world.until_submits(7)
    # Server after server; the second song of server 2 is too expensive, so the third precedes it.
    assert submitted_seeds(world) == [1, 4, 7, 2, 6, 8, 9]
    assert await world.entries(3) == await world.entries(5) == ["hold"]


async def test_songs_waiting_for_a_budget_start_on_the_next_day(world: SongWorld) -> None:
    """Without an event: the scheduler checks each minute."""
    await world.budgets.set(OperatorBudget("all", 0, 1, None))
    world.time.elapsed = timedelta(hours=11).total_seconds()
    await add_songs(world, 3)
    async with world.running():
        await world.until("ended", "waiting", "waiting")
        world.minutes.put_nowait(None)
        await eventually(minutes_are_over(world))
        assert await world.states(3) == ["ended", "waiting", "waiting"]
        world.time.elapsed = timedelta(hours=12).total_seconds()
        world.minutes.put_nowait(None)
        await world.until("ended", "ended", "waiting")
    assert world.submits == 2


def minutes_are_over(world: SongWorld) -> Callable[[], Awaitable[bool]]:
    """Return whether the scheduler has checked everything, and waits to be woken."""

    async def over() -> bool:
        woken = world.scheduler._woken
        watching = bool(world.minutes._getters)  # type: ignore[attr-defined]
        return watching and bool(woken._waiters) and not woken.is_set()

    return over


async def test_songs_waiting_for_a_budget_start_when_it_is_raised_or_dropped(
    world: SongWorld,
) -> None:
    await world.budgets.set(OperatorBudget("all", 0, None, 1))
    await world.budgets.set(OperatorBudget("server", SERVER, None, 0))
    await add_songs(world, 3)
    async with world.running():
        world.minutes.put_nowait(None)
        await eventually(minutes_are_over(world))
        assert await world.states(3) == ["waiting", "waiting", "waiting"]
        await world.budgets.drop("server", SERVER)
        world.minutes.put_nowait(None)
        await world.until("ended", "waiting", "waiting")
        await world.budgets.set(OperatorBudget("all", 0, None, 2))
        world.minutes.put_nowait(None)
        await world.until("ended", "ended", "waiting")
    assert world.submits == 2


async def test_a_budget_lowered_while_a_song_waits_for_the_rate_limit_counts(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(world.rate_limiter, "take", gate.wait)
    await world.add()
    async with world.running():
        await gate.reached.wait()
        await world.budgets.set(OperatorBudget("all", 0, 0, None))
        gate.opened.set()
        world.minutes.put_nowait(None)
        await eventually(minutes_are_over(world))
    await world.waits_again()
    assert world.submits == 0


async def test_a_pause_ends_although_no_budget_has_room_for_a_probe(world: SongWorld) -> None:
    """Otherwise nobody could request a song in another server, whose budget has room."""
    await world.incidents.begin(Kind.OUT_OF_CREDITS, "406")
    await world.budgets.set(OperatorBudget("server", SERVER, None, 0))
    await world.add()
    async with world.running():
        await minute(world)
        await until_unpaused(world)
    await world.waits_again()
    assert world.submits == 0


# --- unexpected errors --------------------------------------------------------------------------


def failing(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, method: str, times: int
) -> list[int]:
    """Make a method of the pipeline fail so many times; return the calls of it."""
    real, calls = getattr(world.pipeline, method), list[int]()

    async def fail(song_id: int, **options: bool) -> Any:
        calls.append(song_id)
        if len(calls) <= times:
            raise RuntimeError("unexpected")
        return await real(song_id, **options)

    monkeypatch.setattr(world.pipeline, method, fail)
    return calls


@pytest.mark.parametrize("method", ["make", "deliver"])
async def test_a_step_is_retried_after_an_error(
    world: SongWorld,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    calls = failing(world, monkeypatch, method, MOST_FAILURES - 1)
    await world.add()
    async with world.running():
        await world.until("ended")
    await world.has_completed()
    assert len(calls) == MOST_FAILURES
    assert len(world.pauses) == MOST_FAILURES - 1
    assert world.pauses[0] < world.pauses[-1]
    assert caplog.text.count("unexpected") >= MOST_FAILURES - 1


@pytest.mark.parametrize("method", ["make", "deliver"])
async def test_a_song_is_given_up_after_many_errors_until_that_succeeds(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The database may be what fails: the credits must still be refunded."""
    calls = failing(world, monkeypatch, method, 1_000)
    given_up = failing(world, monkeypatch, "give_up", 3)
    await world.add()
    async with world.running():
        await world.until("ended")
        await world.add(2)
    await world.has_failed()
    assert (len(calls), len(given_up)) == (MOST_FAILURES, 4)
    assert await world.free() == FREE - 1


async def test_starting_songs_survives_an_error(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, errors = songs.next_waiting, [sqlite3.OperationalError("database or disk is full")] * 3

    async def next_waiting(*arguments: Any, **values: Any) -> Any:
        if errors:
            raise errors.pop()
        return await real(*arguments, **values)

    monkeypatch.setattr(songs, "next_waiting", next_waiting)
    await world.add()
    async with world.running():
        await world.until("ended")
    await world.has_completed()
    assert len(world.pauses) == 3
    assert "database or disk is full" in caplog.text


# --- stopping -----------------------------------------------------------------------------------


def sleeping_forever(world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A song that sleeps does not wake up."""
    gate = Gate()
    monkeypatch.setattr(world.pipeline, "_sleep", gate.wait)
    return gate


async def test_a_song_that_only_waits_is_stopped_at_once(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = sleeping_forever(world, monkeypatch)
    await world.add()
    async with world.running():
        await asleep.reached.wait()
        await world.scheduler.stop(grace=1_000)
        assert (await world.song()).state == "submitted"
    world.restart()
    async with world.running():
        await world.until("ended")
    await world.has_completed()
    assert world.submits == 1


async def test_a_stop_waits_for_the_answer_to_a_submit(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeping_forever(world, monkeypatch)
    gate = behind_a_gate(world, "submit")
    await world.add()
    async with world.running():
        await world.until_submits(1)
        stopping = asyncio.create_task(world.scheduler.stop(grace=1_000))
        await asyncio.sleep(0)  # the stop has seen what is in progress
        gate.set()
        await stopping
    song = await world.song()
    assert (song.state, song.submits) == ("submitted", 1)
    world.restart()
    async with world.running():
        await world.until("ended")
    await world.has_completed()
    assert world.submits == 1


@pytest.mark.parametrize("refused", [False, True])
async def test_a_stop_waits_for_the_answer_to_a_post(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    gate = gated_post(world, monkeypatch)
    if refused:
        world.channel.before_post.append(CannotPost(Reason.CHANNEL_GONE))
    await world.add()
    async with world.running():
        await gate.reached.wait()
        stopping = asyncio.create_task(world.scheduler.stop(grace=1_000))
        await asyncio.sleep(0)  # as above
        gate.opened.set()
        await stopping
    if not refused:
        await world.has_completed()
    world.restart()
    async with world.running():
        await world.until("ended")
    if refused:
        await world.is_undelivered()
    assert await world.entries() == ["hold", "settle"]


async def test_a_stop_waits_no_longer_than_its_grace(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One song posts and one submits forever: both are resumed as after a crash."""
    posting = gated_post(world, monkeypatch)
    world.put(1, "1.mp3")
    await world.add(1, state="ready")
    submitting = behind_a_gate(world, "submit")
    await world.add(2)
    async with world.running():
        await posting.reached.wait()
        await world.until_submits(1)
        await world.scheduler.stop(grace=0.1)
    assert [(await world.song(n)).state for n in (1, 2)] == ["posting", "submitting"]
    posting.opened.set()
    submitting.set()
    world.restart()
    async with world.running():
        await world.until("ended", "ended")
    await have_completed(world, 1, 2)
    assert (await world.song(2)).submits == 2
