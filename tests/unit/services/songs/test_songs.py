"""Requesting, cancelling and finding songs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db import songs as rows
from db.database import Database
from db.records import TOKEN_LIFETIME, Draft, OperatorBudget, Reason, Song, State, Status
from services.amounts import Prices
from services.credits.budgets import OperatorBudgetExceeded, ServerBudgetExceeded
from services.errors import (
    BudgetExceeded,
    DeniedBySettings,
    NotEnoughCredits,
    NotPermitted,
    Refusal,
    ServerNotAllowed,
    SongsPaused,
)
from services.operations.incidents import Kind
from services.providers.registry import PARAMETERS
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BLOCKED_WORDS,
    BUDGET,
    CHANNELS,
    COOLDOWN,
    LONGEST,
    MOST_STEPS,
    PAUSE,
    POST_IN,
    UNFINISHED,
)
from services.settings.settings import Block, Defaults, Member
from services.songs.admission import (
    BlockedWord,
    Cooldown,
    MemberBlocked,
    ServerPaused,
    SongTooLarge,
    TooManyInProgress,
    WrongChannel,
)
from services.songs.refusals import FormExpired, NotYourSong, TooLateToCancel, UnknownSong
from services.songs.song_request import parse_request
from services.songs.songs import PAGE, Songs
from tests.databases import dump
from tests.factories import (
    APPLICATION,
    CHANNEL,
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_held_song,
    add_song,
)
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, Product, compose, requester


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(database, clock)


@pytest.fixture
def songs(product: Product) -> Songs:
    return product.songs


ELSEWHERE = Member(SERVER + 1, MEMBER)


async def test_a_new_song_waits_and_its_price_is_held(product: Product) -> None:
    request = parse_request(
        PARAMETERS, genres="funk", lyrics="La la", seconds=90, random_seed=lambda: 7
    )
    song = await product.songs.create(requester(5, at=NOON, message_id=6), request)
    assert await rows.get(product.database.reader, 5) == song
    assert (song.status, song.state, song.number) == (Status.QUEUED, State.WAITING, 1)
    assert (song.lyrics, song.seconds, song.seed, song.price) == ("La la", 90, 7, 3)
    assert (song.member_id, song.channel_id, song.application_id) == (MEMBER, CHANNEL, APPLICATION)
    assert (song.message_id, song.token) == (6, "token")
    assert song.token_until == NOON + TOKEN_LIFETIME
    assert await product.free() == 7
    assert len(product.wakes) == 1


async def test_the_same_interaction_twice_is_one_song_and_one_hold(product: Product) -> None:
    found = await asyncio.gather(*(product.create() for _ in range(5)))
    assert found == [found[0]] * 5
    assert await product.free() == 9
    assert (await product.songs.history(SERVER, MEMBER, page=1)).total == 1


async def test_the_same_interaction_is_the_same_song_after_settings_changed(
    product: Product, tmp_path: Path
) -> None:
    song = await product.create()
    await product.server_settings.set_all(
        BY, {PAUSE: "", UNFINISHED: 1, ALLOWANCE: 0, BUDGET: 1, POST_IN: CHANNEL + 1}
    )
    await product.operator.set(OperatorBudget("all", 0, 0, 0))
    await product.incidents.begin(Kind.OUT_OF_CREDITS, "406")

    def lack_permission(channel_id: int) -> bool:
        raise NotPermitted

    request = parse_request(PARAMETERS, genres="funk", random_seed=lambda: 7)
    again = requester(1, at=NOON, may_post_in=lack_permission)
    before = dump(tmp_path)
    assert await product.songs.create(again, request) == song
    assert dump(tmp_path) == before
    with pytest.raises(NotPermitted):
        await product.songs.create(replace(again, interaction_id=2), request)


async def test_racing_requests_do_not_pass_the_limit_of_songs_in_progress(
    product: Product,
) -> None:
    results = await asyncio.gather(
        *(product.create(n) for n in range(1, 51)), return_exceptions=True
    )
    assert Counter(map(type, results)) == {Song: 3, TooManyInProgress: 47}


# --- Refusals -------------------------------------------------------------------------------------

WARNING_TABLES = {f'INSERT INTO "{table}" VALUES' for table in ("changes", "server_periods")}

Lift = Callable[[], Awaitable[object]]


def changed_tables(before: list[str], after: list[str]) -> set[str]:
    """Return the tables with a new, changed or missing row."""
    return {row.partition("(")[0] for row in {*before} ^ {*after}}


async def every_reason(product: Product, clock: SettableClock) -> list[tuple[type[Refusal], Lift]]:
    """Return each refusal of a server where nothing is allowed, in order, and what ends it.

    A song is in progress since the day before, so that a request would also open a period's
    allowance and close the one before.
    """
    settings, operator = product.server_settings, product.operator
    await settings.set(BY, ALLOWANCE, 4)
    assert await product.submit(await product.create(1, seconds=60))  # a block would cancel it
    clock.advance(days=1)
    await operator.set(OperatorBudget("each", 0, 0, None))
    await settings.set_all(
        BY, {UNFINISHED: 1, LONGEST: 60, MOST_STEPS: 40, COOLDOWN: 7 * 86_400, BUDGET: 1}
    )
    await settings.set(BY, BLOCKED_WORDS, ["funk"])
    await settings.set(BY, CHANNELS, [CHANNEL + 1])
    await settings.set(BY, BLOCK, Block("Far too loud."), MEMBER)
    await settings.set(BY, PAUSE, "We sleep.")
    await product.incidents.begin(Kind.KEY_REFUSED, "401")
    return [
        (SongsPaused, lambda: product.incidents.end(Kind.KEY_REFUSED)),
        (ServerPaused, lambda: settings.reset(BY, PAUSE)),
        (MemberBlocked, lambda: settings.reset(BY, BLOCK, MEMBER)),
        (WrongChannel, lambda: settings.set(BY, CHANNELS, [])),
        (SongTooLarge, lambda: settings.set(BY, LONGEST, 240)),
        (SongTooLarge, lambda: settings.set(BY, MOST_STEPS, 150)),
        (BlockedWord, lambda: settings.set(BY, BLOCKED_WORDS, [])),
        (TooManyInProgress, lambda: settings.set(BY, UNFINISHED, 2)),
        (Cooldown, lambda: settings.set(BY, COOLDOWN, 0)),
        (OperatorBudgetExceeded, lambda: operator.drop("each", 0)),
        (NotEnoughCredits, lambda: settings.set(BY, ALLOWANCE, 10)),
        (ServerBudgetExceeded, lambda: settings.set(BY, BUDGET, None)),
    ]


async def test_each_refusal_comes_in_its_order_and_changes_nothing(
    product: Product, clock: SettableClock, tmp_path: Path
) -> None:
    """The form opens unless something refuses that typing lyrics does not change."""
    reasons = await every_reason(product, clock)
    size: dict[str, Any] = {"seconds": 150, "steps": 50}
    request = parse_request(PARAMETERS, genres="funk", random_seed=lambda: 7, **size)
    product.wakes.clear()
    product.notified.clear()
    for reason, lift in reasons:
        before = dump(tmp_path)
        checking = product.songs.check(requester(2, at=clock()), request)
        if issubclass(reason, (SongsPaused, DeniedBySettings)):
            with pytest.raises(reason):
                await checking
        else:
            await checking
        assert dump(tmp_path) == before, reason
        with pytest.raises(reason):
            await product.create(2, **size)
        # The server's managers are warned of its budget: see below.
        warned = reason is ServerBudgetExceeded
        assert changed_tables(before, dump(tmp_path)) <= (WARNING_TABLES if warned else set())
        assert not product.database._writer.in_transaction
        assert (product.wakes, product.notified) == ([], [None] * warned)
        await lift()
        product.notified.clear()
    song = await product.create(2, **size)
    assert (song.number, song.price) == (2, 5)  # no refusal took a number
    assert await product.free() == 5


@pytest.mark.parametrize("kind", [Kind.KEY_REFUSED, Kind.OUT_OF_CREDITS])
async def test_nothing_is_created_while_songs_are_paused(product: Product, kind: Kind) -> None:
    await product.incidents.begin(kind, "401")
    with pytest.raises(SongsPaused):
        await product.create()
    await product.incidents.end(kind)
    assert (await product.create()).number == 1


async def test_a_server_that_is_not_allowed_is_refused(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    product = compose(database, clock, allowed_servers={SERVER + 1})
    before = dump(tmp_path)
    request = parse_request(PARAMETERS, genres="funk", random_seed=lambda: 7)
    for refused in (product.songs.check, product.songs.create):
        with refusal(ServerNotAllowed(SERVER)):
            await refused(requester(1, at=NOON), request)
    elsewhere = requester(1, who=ELSEWHERE, at=NOON)
    await product.songs.check(elsewhere, request)  # and writes no row for the new server
    assert dump(tmp_path) == before
    assert (await product.songs.create(elsewhere, request)).server_id == SERVER + 1


# --- Budgets --------------------------------------------------------------------------------------


async def test_a_refusal_at_the_budget_writes_its_warning_and_nothing_else(
    product: Product, tmp_path: Path
) -> None:
    await product.server_settings.set(BY, BUDGET, 9)
    await product.create(1, seconds=240)
    before = dump(tmp_path)
    for song_id in (2, 3):
        with pytest.raises(BudgetExceeded):
            await product.create(song_id, seconds=60)
    after = dump(tmp_path)
    assert changed_tables(before, after) == WARNING_TABLES
    assert len(set(after) - set(before)) == 2


async def test_a_song_costs_the_operators_price(database: Database, clock: SettableClock) -> None:
    product = compose(database, clock, defaults=Defaults(prices=Prices(seconds=10, steps=150)))
    assert (await product.create(seconds=45, steps=150)).price == 5
    assert product.songs.prices.of(45, 151) == 10


# --- Cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("member", "manager"), [(MEMBER, False), (99, True), (MEMBER, True)])
async def test_the_requester_and_managers_may_cancel(
    product: Product, member: int, manager: bool
) -> None:
    await product.create()
    song = await product.songs.cancel(1, server_id=SERVER, member_id=member, manager=manager)
    assert (song.status, song.ended_at) == (Status.CANCELLED, NOON)
    assert await product.free() == 10


async def test_other_members_and_managers_of_other_servers_may_not_cancel(
    product: Product,
) -> None:
    await product.create()
    with pytest.raises(NotYourSong):
        await product.songs.cancel(1, server_id=SERVER, member_id=99, manager=False)
    for song_id in (1, 404):
        with pytest.raises(UnknownSong):
            await product.songs.cancel(
                song_id, server_id=SERVER + 1, member_id=MEMBER, manager=True
            )
    assert await product.free() == 9


@pytest.mark.parametrize(
    "state", [State.SUBMITTING, State.POSTING, State.COMPLETED, State.CANCELLED]
)
async def test_a_submitted_or_ended_song_cannot_be_cancelled(
    product: Product, state: State
) -> None:
    before = await add_held_song(product.database, product.credits, number=42, state=state)
    with refusal(TooLateToCancel(42, before.status)):
        await product.songs.cancel(1, server_id=SERVER, member_id=MEMBER, manager=False)
    assert await rows.get(product.database.reader, 1) == before


async def test_a_song_submitted_while_it_is_cancelled_goes_on(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    await product.create()
    get = product.songs.get

    async def get_and_submit(song_id: int, *, server_id: int) -> Song:
        song = await get(song_id, server_id=server_id)
        async with product.database.write() as connection:
            await rows.mark_submitting(connection, song_id, at=NOON)
        return song

    monkeypatch.setattr(product.songs, "get", get_and_submit)
    with pytest.raises(TooLateToCancel):
        await product.songs.cancel(1, server_id=SERVER, member_id=MEMBER, manager=False)


# --- Drafts, tokens, history ----------------------------------------------------------------------


async def test_a_draft_belongs_to_its_member(songs: Songs) -> None:
    draft = Draft(7, SERVER, MEMBER, "{}")
    await songs.save_draft(draft)
    assert await songs.draft(7, server_id=SERVER, member_id=MEMBER) == draft
    for wrong in ({"draft_id": 8}, {"server_id": 5}, {"member_id": 5}):
        with pytest.raises(FormExpired):
            await songs.draft(**{"draft_id": 7, "server_id": SERVER, "member_id": MEMBER} | wrong)


async def test_a_pressed_button_renews_the_token(product: Product) -> None:
    await product.create()
    received = NOON + timedelta(minutes=3)
    button = requester(2, at=received, message_id=9, token="newer")
    await product.songs.renew_token(1, button)
    song = await product.songs.get(1, server_id=SERVER)
    assert (song.message_id, song.token) == (9, "newer")
    assert song.token_until == received + TOKEN_LIFETIME


async def test_a_song_is_found_by_its_number(songs: Songs, database: Database) -> None:
    song = await add_song(database, 5, number=42)
    assert await songs.by_number(42, server_id=SERVER) == song
    with refusal(UnknownSong(43)):
        await songs.by_number(43, server_id=SERVER)


async def test_own_songs_are_the_undelivered_then_the_newest(
    songs: Songs, database: Database
) -> None:
    undelivered: dict[str, Any] = {
        "state": State.UNDELIVERED,
        "reason": Reason.CHANNEL_GONE,
        "file": "1.mp3",
    }
    await add_song(database, 1, **undelivered)
    for song_id in (2, 3):
        await add_song(database, song_id)
    assert [song.song_id for song in await songs.own(SERVER, MEMBER)] == [1, 3, 2]


async def test_a_member_without_songs_has_one_empty_page(songs: Songs) -> None:
    for page in (-1, 0, 1, 2):
        found = await songs.history(SERVER, MEMBER, page=page)
        assert (found.songs, found.number, found.pages, found.total) == ([], 1, 1, 0)


@pytest.mark.parametrize(
    ("total", "page", "number", "newest", "length"),
    [
        (PAGE, 2, 1, 10, PAGE),
        (PAGE + 1, 1, 1, 11, PAGE),
        (PAGE + 1, 2, 2, 1, 1),
        (PAGE + 1, 10**30, 2, 1, 1),
        (PAGE + 1, 0, 1, 11, PAGE),
    ],
)
async def test_a_page_out_of_bounds_is_the_nearest_one(
    songs: Songs, database: Database, total: int, page: int, number: int, newest: int, length: int
) -> None:
    for song_id in range(1, total + 1):
        await add_song(database, song_id, state=State.COMPLETED)
    await add_song(database, 50, member_id=99)
    found = await songs.history(SERVER, MEMBER, page=page)
    assert (found.number, found.total) == (number, total)
    assert (found.songs[0].song_id, len(found.songs)) == (newest, length)


async def test_genres_used_are_the_members_then_the_servers(
    songs: Songs, database: Database
) -> None:
    await add_song(database, 1, genres="jazz")
    await add_song(database, 2, genres="funk", member_id=99)
    await add_song(database, 3, genres="punk", server_id=5)
    assert await songs.genres_used(SERVER, MEMBER) == ["jazz", "funk", "jazz"]
