"""What waits and runs, as people see it."""

import asyncio
from datetime import timedelta

import pytest

from db import songs
from db.connection import Connection
from db.database import Database
from db.records import State
from services.credits.credits import Credits
from services.settings.catalogue import ALLOWANCE, MEMBER_ALLOWANCE
from services.settings.server_settings import Manager
from services.settings.settings import Member, Override
from services.songs.queue import AFTERWARDS, Queue, View, expected_at
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_held_song,
    add_song,
    make_server_settings,
    make_song,
)
from tests.fake_provider import FakeProvider

OTHER = SERVER + 1
LATER = NOON + timedelta(minutes=10)


@pytest.fixture
def queue(database: Database, credits: Credits, clock: SettableClock) -> Queue:
    return Queue(database, credits, FakeProvider(), clock=clock)


async def viewed(queue: Queue, song_id: int = 1) -> View:
    view = await queue.view(song_id)
    assert view is not None
    return view


async def test_a_waiting_song_has_a_place_among_all_servers(
    queue: Queue, database: Database
) -> None:
    await add_song(database, 1, requested_at=NOON)
    await add_song(database, 2, server_id=OTHER, requested_at=NOON + timedelta(seconds=1))
    await add_song(database, 3, requested_at=NOON + timedelta(seconds=2))
    views = [await viewed(queue, song_id) for song_id in (1, 2, 3)]
    assert [(view.place, view.waiting) for view in views] == [(1, 3), (2, 3), (3, 3)]
    times = [view.expected_at for view in views]
    assert times == sorted(set(times))


async def test_running_and_ended_songs_have_no_place(queue: Queue, database: Database) -> None:
    await add_song(database, 1)
    await add_song(database, 2, state=State.READY)
    await add_song(database, 3, state=State.COMPLETED)
    for song_id in (2, 3):
        view = await viewed(queue, song_id)
        assert (view.place, view.song.song_id) == (None, song_id)
        assert view.expected_at == NOON + timedelta(seconds=AFTERWARDS)


async def test_unknown_song_has_no_view(queue: Queue) -> None:
    assert await queue.view(404) is None


async def test_view_has_the_members_free_credits(
    queue: Queue, database: Database, credits: Credits
) -> None:
    await add_held_song(database, credits, 1, price=4)
    view = await viewed(queue)
    assert view.free == 6


async def test_queue_of_a_server_is_in_order(queue: Queue, database: Database) -> None:
    await add_song(database, 1, requested_at=NOON)
    await add_song(database, 2, requested_at=NOON + timedelta(seconds=1))
    await add_song(database, 3, requested_at=NOON + timedelta(seconds=2), member_id=MEMBER + 1)
    await add_song(database, 4, requested_at=NOON + timedelta(seconds=3), state=State.POSTING)
    await add_song(database, 5, server_id=OTHER)
    await add_song(database, 6, state=State.COMPLETED)
    views = await queue.of_server(SERVER)
    assert [view.song.song_id for view in views] == [4, 1, 3, 2]
    assert [view.place for view in views] == [None, 1, 3, 4]
    assert await queue.of_server(404) == []


async def test_only_editable_messages_are_updated(queue: Queue, database: Database) -> None:
    await add_song(database, 1, token="a", token_until=LATER, requested_at=LATER)
    await add_song(database, 2, requested_at=NOON)
    await add_song(database, 3, token="c", token_until=LATER, state=State.POSTING)
    await add_song(database, 4, token="d", token_until=LATER, state=State.COMPLETED)
    assert await queue.shown_and_waiting() == [(1, 2)]
    assert [song.song_id for song in await queue.shown(ended=False)] == [1, 3]
    assert [song.song_id for song in await queue.shown(ended=True)] == [4]


async def test_a_token_is_forgotten_unless_a_newer_one_has_come(
    queue: Queue, database: Database
) -> None:
    old = await add_song(database, 1, token="old", token_until=LATER)
    without = await add_song(database, 2, state=State.FAILED)
    async with database.write() as connection:
        await songs.set_token(connection, 1, message_id=None, token="new", until=LATER)
    await queue.forget_token(old)
    await queue.forget_token(without)
    (song,) = await queue.shown(ended=False)
    assert song.token == "new"
    await queue.forget_token(song)
    assert await queue.shown(ended=False) == []


async def test_free_credits_are_unknown_in_a_new_period(
    queue: Queue, database: Database, credits: Credits, clock: SettableClock
) -> None:
    """What it gives depends on the member's roles, which come only with what they do."""
    await add_held_song(database, credits, 1, price=4)
    clock.now = NOON.replace(hour=0) + timedelta(days=1, milliseconds=-1)
    view = await viewed(queue)
    assert view.free == 6
    clock.advance(milliseconds=1)
    view = await viewed(queue)
    assert (view.free, view.unlimited) == (None, False)
    await credits.balance(Member(SERVER, MEMBER))
    view = await viewed(queue)
    assert view.free == 10


async def test_view_changes_nothing(
    queue: Queue, database: Database, credits: Credits, clock: SettableClock
) -> None:
    await add_held_song(database, credits, 1)
    clock.advance(days=1)
    (before,) = await database.reader.execute_fetchall("PRAGMA data_version")
    await queue.view(1)
    await queue.of_server(SERVER)
    (after,) = await database.reader.execute_fetchall("PRAGMA data_version")
    assert tuple(after) == tuple(before)


async def test_view_of_a_song_that_cost_nothing(
    queue: Queue, database: Database, credits: Credits
) -> None:
    """Also when their rule has changed since, and beside one that was paid for."""
    server_settings, by = make_server_settings(database, credits), Manager(SERVER, 99)
    await add_held_song(database, credits, 1, price=3)
    await server_settings.set(by, MEMBER_ALLOWANCE, Override(None), MEMBER)
    await add_held_song(database, credits, 2, price=4)
    await server_settings.reset(by, MEMBER_ALLOWANCE, MEMBER)
    views = [await queue.view(song_id) for song_id in (1, 2)]
    assert [(view.unlimited, view.free) for view in views if view] == [(False, 7), (True, 7)]


async def test_free_credits_of_unlimited_members_are_unknown(
    queue: Queue, database: Database, credits: Credits
) -> None:
    """They need no allowance, so none was opened for them."""
    await make_server_settings(database, credits).set(Manager(SERVER, 99), ALLOWANCE, None)
    await add_held_song(database, credits, 1)
    view = await viewed(queue)
    assert (view.free, view.unlimited) == (None, True)


async def test_simultaneous_views_share_a_reading(
    queue: Queue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for song_id in range(1, 51):
        await add_song(database, song_id)
    readings = 0

    async def counted(connection: Connection) -> list[int]:
        nonlocal readings
        readings += 1
        return await waiting_in_order(connection)

    waiting_in_order = songs.waiting_in_order
    monkeypatch.setattr(songs, "waiting_in_order", counted)
    views = await asyncio.gather(*(queue.view(song_id) for song_id in range(1, 51)))
    assert sorted(view.place or 0 for view in views if view) == list(range(1, 51))
    assert readings <= 2


async def test_places_are_never_older_than_the_call(
    queue: Queue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, read_on = asyncio.Event(), asyncio.Event()

    async def held(connection: Connection) -> list[int]:
        order = await waiting_in_order(connection)
        reading.set()
        await read_on.wait()
        return order

    waiting_in_order = songs.waiting_in_order
    monkeypatch.setattr(songs, "waiting_in_order", held)
    await add_song(database, 1)
    first = asyncio.create_task(queue.view(1))
    await reading.wait()
    await add_song(database, 2)
    second = asyncio.create_task(queue.view(2))
    await asyncio.sleep(0.01)
    read_on.set()
    views = [await first, await second]
    assert [(view.place, view.waiting) for view in views if view] == [(1, 1), (2, 2)]


async def test_places_are_read_again_after_a_pause(
    database: Database, credits: Credits, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading of 0.02 s is followed by four times as long without one."""
    now, paused = 0.0, []

    async def slow(connection: Connection) -> list[int]:
        nonlocal now
        now += 0.02
        return await waiting_in_order(connection)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        paused.append(seconds)

    waiting_in_order = songs.waiting_in_order
    monkeypatch.setattr(songs, "waiting_in_order", slow)
    queue = Queue(
        database, credits, FakeProvider(), clock=clock, monotonic=lambda: now, sleep=sleep
    )
    await add_song(database, 1)
    for _ in range(3):
        await queue.view(1)
        now += 0.05
    assert paused == pytest.approx([0.0, 0.03, 0.03])


# --- Expected times -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "age", "runs"),
    [
        (State.WAITING, 0, True),
        (State.SUBMITTING, 0, True),
        (State.SUBMITTED, 0, True),
        (State.SUBMITTED, 5, True),
        (State.SUBMITTED, -3_600, True),  # the clock was set back
        (State.DOWNLOADED, 0, False),
        (State.READY, 0, False),
        (State.POSTING, 0, False),
    ],
)
def test_a_song_takes_the_rest_of_its_run_and_the_time_to_post_it(
    state: State, age: int, runs: bool
) -> None:
    provider, now = FakeProvider(), NOON + timedelta(seconds=age)
    seconds = (expected_at(provider, make_song(state=state), now=now) - now).total_seconds()
    run = provider.pacer.expected(seconds=60, steps=50, age=max(0, age)) if runs else 0
    assert seconds == pytest.approx(run + AFTERWARDS)


def test_a_longer_song_takes_longer() -> None:
    provider = FakeProvider()
    longer = expected_at(provider, make_song(seconds=240), now=NOON)
    assert longer > expected_at(provider, make_song(), now=NOON)


@pytest.mark.parametrize(
    ("at_once", "per_minute", "place"),
    [(1, 10_000, 1), (1, 10_000, 5), (8, 10_000, 9), (8, 10_000, 8), (8, 5, 3)],
)
def test_a_song_waits_for_a_slot_or_for_the_accounts_calls(
    at_once: int, per_minute: int, place: int
) -> None:
    song = make_song()
    provider = FakeProvider(at_once=at_once, per_minute=per_minute)
    wait = expected_at(provider, song, now=NOON, place=place) - expected_at(
        provider, song, now=NOON
    )
    slots = (place - 1) // at_once * provider.pacer.expected(seconds=60, steps=50)
    calls = (place - 1) * provider.seconds_per_song
    assert abs(wait - timedelta(seconds=max(slots, calls))) < timedelta(milliseconds=1)
