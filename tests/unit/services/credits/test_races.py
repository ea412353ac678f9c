"""Concurrent requests, on a real file."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.database import Database
from db.records import Reason, Song
from services.errors import NotEnoughCredits
from services.settings.catalogue import ALLOWANCE, GIFTS
from services.settings.refusals import ChangedSince
from services.settings.server_settings import Manager
from services.settings.settings import Defaults, Limits
from tests.factories import MEMBER, SERVER, SettableClock
from tests.unit.services.credits.composed import BY, MANAGER, WHO, Product, compose, member

PATIENT = Defaults(limits=Limits(unfinished=100))
OTHER = Manager(SERVER, MANAGER + 1)


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(database, clock, defaults=PATIENT)


@pytest.fixture
async def other_process(
    database: Database, tmp_path: Path, clock: SettableClock
) -> AsyncIterator[Product]:
    """The same file, opened a second time, as `bot.py grant` does alongside the bot."""
    opened = await Database.open(tmp_path / "songs.db")
    yield compose(opened, clock, defaults=PATIENT)
    await opened.close()


async def check_ledger(product: Product) -> None:
    """Balances, lots and holds agree with each other and with the songs."""
    assert await product.rows("SELECT lot_id FROM lots WHERE remaining < 0") == []
    (in_ledger,) = await product.rows("SELECT coalesce(sum(amount), 0) FROM ledger")
    (in_parts,) = await product.rows("SELECT coalesce(sum(amount), 0) FROM ledger_parts")
    (in_lots,) = await product.rows("SELECT coalesce(sum(remaining), 0) FROM lots")
    assert in_ledger == in_parts == in_lots
    held = await product.rows("SELECT song_id FROM ledger WHERE kind = 'hold' ORDER BY song_id")
    assert held == await product.rows("SELECT song_id FROM songs ORDER BY song_id")
    used = await product.rows("SELECT coalesce(sum(used), 0) FROM server_periods")
    assert used == await product.rows("SELECT coalesce(sum(price), 0) FROM songs")


async def test_fifty_requests_at_once_spend_what_is_there(product: Product) -> None:
    await product.grant(5)
    results = await asyncio.gather(
        *(product.create(n, seconds=60) for n in range(1, 51)), return_exceptions=True
    )
    assert Counter(type(r).__name__ for r in results) == {"Song": 7, "NotEnoughCredits": 43}
    assert await product.free() == 1
    assert await product.rows("SELECT max(number), last_number FROM songs, servers") == [(7, 7)]
    await check_ledger(product)


async def test_interaction_delivered_many_times_at_once_is_one_song(
    product: Product, other_process: Product
) -> None:
    songs = await asyncio.gather(
        *(p.create(1) for p in (product, other_process) for _ in range(10))
    )
    assert {song.number for song in songs} == {1}
    assert await product.free() == 9
    await check_ledger(product)


async def test_gifts_takings_and_songs_at_once_spend_what_is_there(product: Product) -> None:
    await product.server_settings.set(BY, GIFTS, value=True)
    await asyncio.gather(
        *(product.create(n) for n in range(1, 9)),
        *(product.transfers.gift(WHO, member(n), gift_id=100 + n, amount=1) for n in range(1, 9)),
        *(product.take(1, 200 + n) for n in range(8)),
        return_exceptions=True,
    )
    assert await product.free() == 0
    (moved,) = await product.rows(
        "SELECT sum(amount) FROM ledger WHERE member_id = ? AND amount < 0", MEMBER
    )
    assert moved == (-10,)
    await check_ledger(product)


async def test_song_that_ends_in_two_ways_at_once_has_one_end(product: Product) -> None:
    for song_id in range(1, 11):
        song = await product.create(song_id)
        ended = await asyncio.gather(
            product.completion.cancel(song),
            product.completion.fail(song, Reason.MODEL_FAILED),
            product.create(song_id),
        )
        assert ended[:2].count(True) == 1
    assert await product.free() == 10


# --- two managers ---------------------------------------------------------------------------------


async def test_changes_of_two_managers_at_once_form_a_chain(
    product: Product, other_process: Product
) -> None:
    await asyncio.gather(
        *(
            p.server_settings.set(by, ALLOWANCE, credits)
            for p, by, credits in (
                *((product, BY, 20), (other_process, OTHER, 30)),
                *((product, OTHER, 40), (other_process, BY, 50)),
            )
        )
    )
    changes = await product.changes()
    assert [change.number for change in changes] == [1, 2, 3, 4]
    assert {json.loads(c.after or "")["credits"] for c in changes} == {20, 30, 40, 50}
    assert changes[0].before is None
    for earlier, later in itertools.pairwise(changes):
        assert later.before == earlier.after
    settings = await product.server_settings.read(SERVER)
    assert {"credits": settings.allowance.credits} == json.loads(changes[-1].after or "")
    for older in (1, 2, 3):
        with pytest.raises(ChangedSince):
            await product.server_settings.undo(BY, older)
    for number in (4, 3, 2, 1):
        await product.server_settings.undo(OTHER, number)
    assert (await product.server_settings.read(SERVER)).allowance.credits == 10


async def test_allowance_lowered_during_requests_takes_nothing_held(
    product: Product, other_process: Product
) -> None:
    async def lower() -> None:
        for credits in (9, 6, 3, 0):
            await other_process.server_settings.set(BY, ALLOWANCE, credits)
            await asyncio.sleep(0)

    results = await asyncio.gather(
        lower(), *(product.create(n) for n in range(1, 21)), return_exceptions=True
    )
    created = sum(not isinstance(result, BaseException) for result in results[1:])
    assert await product.rows("SELECT count(*) FROM songs") == [(created,)]
    assert created <= 10
    assert await product.free() == 0
    await check_ledger(product)


# --- another process ------------------------------------------------------------------------------


async def test_grants_from_another_process_arrive_during_requests(
    product: Product, other_process: Product
) -> None:
    """No grant is lost, none is doubled, and each song is paid for."""

    async def request_until_granted(song_id: int) -> None:
        for _ in range(1_000):
            try:
                await product.create(song_id)
            except NotEnoughCredits:
                await asyncio.sleep(0)
            else:
                return
        pytest.fail("a granted credit never arrived")

    await asyncio.gather(
        *(request_until_granted(n) for n in range(1, 31)),
        *(other_process.grant(1, n, actor_id=None) for n in range(1, 21)),
        *(product.grant(1, n, actor_id=None) for n in range(1, 21)),  # delivered twice
    )
    assert await product.free() == 0
    assert await other_process.free() == 0
    assert [c.name for c in await product.changes()] == ["grant"] * 20
    await check_ledger(product)


async def test_reset_and_grants_at_once_lose_nothing(
    product: Product, other_process: Product
) -> None:
    await asyncio.gather(
        *(product.grant(2, n, who=member(n)) for n in range(1, 21)),
        *(
            other_process.transfers.reset(BY, reset_id=n, reason="A new season.")
            for n in range(500, 505)
        ),
    )
    await product.transfers.reset(BY, reset_id=600, reason="A new season.")
    assert await product.rows("SELECT sum(amount) FROM ledger WHERE kind = 'take'") == [(-40,)]
    resets = [json.loads(c.after or "") for c in await product.changes() if c.name == "reset"]
    assert sum(facts["credits"] for facts in resets) == 40
    await check_ledger(product)


# --- cancelled tasks ------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_request_leaves_a_complete_song_or_none(
    product: Product, turns: int
) -> None:
    """The next one waiting for the writer gets it."""
    cancelled = asyncio.create_task(product.create(1, seconds=240))
    waiting = asyncio.create_task(product.create(2))
    for _ in range(turns):
        await asyncio.sleep(0)
    cancelled.cancel()
    (outcome,) = await asyncio.gather(cancelled, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError | Song)
    assert (await waiting).song_id == 2
    created = await product.rows("SELECT count(*) FROM songs WHERE song_id = 1")
    assert await product.free() == (1 if created == [(1,)] else 9)
    await check_ledger(product)
