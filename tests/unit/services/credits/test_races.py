"""Many at once, on a real file: whoever comes last finds what the others have left."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.database import Database
from db.records import Song
from services.errors import NotEnoughCredits
from services.settings.catalogue import ALLOWANCE, COOLDOWN, GIFTS, LONGEST, UNFINISHED
from services.settings.refusals import ChangedSince
from services.settings.server_settings import Manager
from services.settings.settings import Defaults, Limits
from services.songs.admission import TooManyInProgress
from tests.factories import MEMBER, SERVER, SettableClock
from tests.unit.services.credits.composed import BY, MANAGER, WHO, Product, compose, member

PATIENT = Defaults(limits=Limits(unfinished=100))
OTHER = Manager(SERVER, MANAGER + 1)


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(database, clock, defaults=PATIENT)


@pytest.fixture
async def elsewhere(
    database: Database, tmp_path: Path, clock: SettableClock
) -> AsyncIterator[Product]:
    """The same file, opened once more: as `bot.py grant` does beside the bot."""
    opened = await Database.open(tmp_path / "songs.db")
    yield compose(opened, clock, defaults=PATIENT)
    await opened.close()


async def check_the_ledger(product: Product) -> None:
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


async def test_fifty_songs_at_once_spend_the_last_credits_and_no_more(product: Product) -> None:
    await product.grant(5)
    results = await asyncio.gather(
        *(product.ask(n, seconds=60) for n in range(1, 51)), return_exceptions=True
    )
    assert Counter(type(r).__name__ for r in results) == {"Song": 7, "NotEnoughCredits": 43}
    assert await product.free() == 1
    assert await product.rows("SELECT max(number), last_number FROM songs, servers") == [(7, 7)]
    await check_the_ledger(product)


async def test_so_many_at_once_and_no_more_whoever_is_first(
    database: Database, clock: SettableClock
) -> None:
    product = compose(database, clock)
    results = await asyncio.gather(*(product.ask(n) for n in range(1, 21)), return_exceptions=True)
    assert Counter(map(type, results))[TooManyInProgress] == 17
    await check_the_ledger(product)


async def test_one_interaction_at_once_from_everywhere_is_one_song(
    product: Product, elsewhere: Product
) -> None:
    songs = await asyncio.gather(*(p.ask(1) for p in (product, elsewhere) for _ in range(10)))
    assert {song.number for song in songs} == {1}
    assert await product.free() == 9
    await check_the_ledger(product)


async def test_the_last_credits_go_once_to_gifts_takings_and_songs(product: Product) -> None:
    await product.server_settings.set(BY, GIFTS, value=True)
    await asyncio.gather(
        *(product.ask(n) for n in range(1, 9)),
        *(product.transfers.gift(WHO, member(n), gift_id=100 + n, amount=1) for n in range(1, 9)),
        *(product.take(1, 200 + n) for n in range(8)),
        return_exceptions=True,
    )
    assert await product.free() == 0
    (moved,) = await product.rows(
        "SELECT sum(amount) FROM ledger WHERE member_id = ? AND amount < 0", MEMBER
    )
    assert moved == (-10,)
    await check_the_ledger(product)


async def test_a_song_that_ends_in_two_ways_at_once_ends_in_one(product: Product) -> None:
    for song_id in range(1, 11):
        song = await product.ask(song_id)
        ended = await asyncio.gather(
            product.completion.cancel(song),
            product.completion.fail(song, "No."),
            product.ask(song_id),
        )
        assert ended[:2].count(True) == 1
    assert await product.free() == 10


# --- two managers ---------------------------------------------------------------------------------


async def test_two_managers_at_once_are_both_in_the_history_in_a_chain(
    product: Product, elsewhere: Product
) -> None:
    await asyncio.gather(
        *(
            p.server_settings.set(by, ALLOWANCE, credits)
            for p, by, credits in (
                *((product, BY, 20), (elsewhere, OTHER, 30)),
                *((product, OTHER, 40), (elsewhere, BY, 50)),
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


async def test_one_change_is_taken_back_once(product: Product, elsewhere: Product) -> None:
    await product.server_settings.set(BY, ALLOWANCE, 20)
    results = await asyncio.gather(
        *(p.server_settings.undo(by, 1) for p in (product, elsewhere) for by in (BY, OTHER)),
        return_exceptions=True,
    )
    assert Counter(type(r).__name__ for r in results) == {"Change": 1, "ChangedSince": 3}
    assert len(await product.changes()) == 2


async def test_limits_changed_at_once_are_all_kept(product: Product, elsewhere: Product) -> None:
    await asyncio.gather(
        product.server_settings.set(BY, UNFINISHED, 5),
        elsewhere.server_settings.set(OTHER, LONGEST, 60),
        product.server_settings.set(OTHER, COOLDOWN, 9),
    )
    limits = (await product.server_settings.read(SERVER)).limits
    assert limits == Limits(unfinished=5, seconds=60, cooldown=9)


async def test_a_rule_lowered_while_songs_are_asked_for_takes_nothing_that_is_held(
    product: Product, elsewhere: Product
) -> None:
    async def lower() -> None:
        for credits in (9, 6, 3, 0):
            await elsewhere.server_settings.set(BY, ALLOWANCE, credits)
            await asyncio.sleep(0)

    results = await asyncio.gather(
        lower(), *(product.ask(n) for n in range(1, 21)), return_exceptions=True
    )
    asked = sum(not isinstance(result, BaseException) for result in results[1:])
    assert await product.rows("SELECT count(*) FROM songs") == [(asked,)]
    assert asked <= 10
    assert await product.free() == 0
    await check_the_ledger(product)


# --- another process ------------------------------------------------------------------------------


async def test_grants_from_another_process_arrive_while_songs_are_asked_for(
    product: Product, elsewhere: Product
) -> None:
    """No grant is lost, none is doubled, and each song is paid for."""

    async def ask_until_it_is_let(song_id: int) -> None:
        for _ in range(1_000):
            try:
                await product.ask(song_id)
            except NotEnoughCredits:
                await asyncio.sleep(0)
            else:
                return
        pytest.fail("a granted credit never arrived")

    await asyncio.gather(
        *(ask_until_it_is_let(n) for n in range(1, 31)),
        *(elsewhere.grant(1, n, actor_id=None) for n in range(1, 21)),
        *(product.grant(1, n, actor_id=None) for n in range(1, 21)),  # delivered twice
    )
    assert await product.free() == 0
    assert await elsewhere.free() == 0
    assert [c.name for c in await product.changes()] == ["grant"] * 20
    await check_the_ledger(product)


async def test_a_reset_and_grants_at_once_lose_nothing(
    product: Product, elsewhere: Product
) -> None:
    await asyncio.gather(
        *(product.grant(2, n, who=member(n)) for n in range(1, 21)),
        *(
            elsewhere.transfers.reset(BY, reset_id=n, reason="A new season.")
            for n in range(500, 505)
        ),
    )
    await product.transfers.reset(BY, reset_id=600, reason="A new season.")
    assert await product.rows("SELECT sum(amount) FROM ledger WHERE kind = 'take'") == [(-40,)]
    told = [json.loads(c.after or "") for c in await product.changes() if c.name == "reset"]
    assert sum(facts["credits"] for facts in told) == 40
    await check_the_ledger(product)


# --- cancelled tasks ------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(8))
async def test_a_task_cancelled_while_it_asks_leaves_a_whole_song_or_none(
    product: Product, turns: int
) -> None:
    """However far it has come: and whoever waits for the writer next gets it."""
    asking = asyncio.create_task(product.ask(1, seconds=240))
    waiting = asyncio.create_task(product.ask(2))
    for _ in range(turns):
        await asyncio.sleep(0)
    asking.cancel()
    (outcome,) = await asyncio.gather(asking, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError | Song)
    assert (await waiting).song_id == 2
    there = await product.rows("SELECT count(*) FROM songs WHERE song_id = 1")
    assert await product.free() == (1 if there == [(1,)] else 9)
    await check_the_ledger(product)
