"""What a person does: ask, cancel, look."""

import asyncio
import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db import budgets, changes
from db import songs as rows
from db.database import Database
from db.records import (
    TOKEN_LIFETIME,
    Draft,
    Fault,
    OperatorBudget,
    Song,
    SongRequest,
    State,
    Status,
)
from services.amounts import Prices
from services.credits.budgets import OperatorBudgetExceeded, OperatorBudgets, ServerBudgetExceeded
from services.credits.credits import Credits
from services.errors import (
    BudgetExceeded,
    DeniedBySettings,
    NotEnoughCredits,
    Refusal,
    ServerNotAllowed,
    SongsPaused,
)
from services.operations.incidents import Incidents, Kind
from services.providers.registry import PARAMETERS
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BLOCKED_WORDS,
    BUDGET,
    CHANNELS,
    COOLDOWN,
    LOG,
    LONGEST,
    MOST_STEPS,
    PAUSE,
    UNFINISHED,
)
from services.settings.server_settings import Manager, ServerSettings
from services.settings.settings import Block, Defaults, Limits, Member
from services.songs.admission import (
    MAX_UNDELIVERED,
    MAX_UNDELIVERED_OF_MEMBER,
    BlockedWord,
    Cooldown,
    MemberBlocked,
    MemberHasUndelivered,
    ServerHasUndelivered,
    ServerPaused,
    SongTooLarge,
    TooManyElsewhere,
    TooManyInProgress,
    TooManyRefunds,
    WrongChannel,
)
from services.songs.completion import SongCompletion
from services.songs.refusals import FormExpired, NotYourSong, TooLateToCancel, UnknownSong
from services.songs.song_request import parse_request
from services.songs.songs import PAGE, Interaction, Songs
from tests.factories import (
    APPLICATION,
    CHANNEL,
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_held_song,
    add_song,
    make_credits,
    make_server_settings,
)
from tests.refusals import refusal


class Nobody:
    """An operator who can't be reached."""

    async def notify(self, text: str, *, detail: str = "") -> bool:
        return False


@pytest.fixture
def incidents(database: Database, clock: SettableClock) -> Incidents:
    return Incidents(database, Nobody(), clock=clock)


@pytest.fixture
def wakes() -> list[None]:
    """One for each time that the runner was woken."""
    return []


@pytest.fixture
def told() -> list[None]:
    """One for each time that there may be a warning to tell."""
    return []


def composed(
    database: Database,
    incidents: Incidents,
    clock: SettableClock,
    *,
    credits: Credits | None = None,
    defaults: Defaults = Defaults(),
    wakes: list[None] | None = None,
    told: list[None] | None = None,
    allowed_servers: frozenset[int] = frozenset(),
) -> Songs:
    credits = credits or make_credits(database, clock, defaults=defaults)
    return Songs(
        database,
        credits._settings_reader,
        credits,
        credits._budget,
        OperatorBudgets(database, clock=clock),
        SongCompletion(database, credits, clock=clock),
        incidents,
        clock=clock,
        random_seed=lambda: 7,
        wake=lambda: (wakes if wakes is not None else []).append(None),
        tell=lambda: (told if told is not None else []).append(None),
        allowed_servers=allowed_servers,
    )


@pytest.fixture
def songs(
    database: Database,
    credits: Credits,
    incidents: Incidents,
    clock: SettableClock,
    wakes: list[None],
    told: list[None],
) -> Songs:
    return composed(database, incidents, clock, credits=credits, wakes=wakes, told=told)


AT_ONCE = {limit: Defaults(limits=Limits(unfinished=limit)) for limit in (1, 100)}


def requester(interaction_id: int = 1, **changes: Any) -> Interaction:
    values: dict[str, Any] = {
        "interaction_id": interaction_id,
        "application_id": APPLICATION,
        "server_id": SERVER,
        "channel_id": CHANNEL,
        "member_id": MEMBER,
        "token": f"token-{interaction_id}",
        "received_at": NOON,
    }
    return Interaction(**values | changes)


def request(**changes: Any) -> SongRequest:
    values: dict[str, Any] = {"genres": "funk", "random_seed": lambda: 7}
    return parse_request(PARAMETERS, **values | changes)


async def free(credits: Credits) -> int:
    return (await credits.balance(Member(SERVER, MEMBER))).free


async def test_a_song_that_is_asked_for_waits_and_is_held(
    songs: Songs, database: Database, credits: Credits, wakes: list[None]
) -> None:
    song = await songs.ask(requester(5, message_id=6), request(lyrics="La la", seconds=90))
    assert await rows.get(database.reader, 5) == song
    assert (song.status, song.state, song.number) == (Status.QUEUED, State.WAITING, 1)
    assert (song.lyrics, song.seconds, song.seed, song.price) == ("La la", 90, 7, 3)
    assert (song.member_id, song.channel_id, song.application_id) == (MEMBER, CHANNEL, APPLICATION)
    assert (song.message_id, song.token) == (6, "token-5")
    assert song.token_until == NOON + TOKEN_LIFETIME
    assert await free(credits) == 7
    assert len(wakes) == 1


async def test_the_same_interaction_twice_is_one_song_and_one_hold(
    songs: Songs, credits: Credits
) -> None:
    found = await asyncio.gather(*(songs.ask(requester(), request()) for _ in range(5)))
    assert found == [found[0]] * 5
    assert await free(credits) == 8
    assert (await songs.history(SERVER, MEMBER, page=1)).total == 1


async def test_the_second_delivery_counts_as_the_first_whatever_happened_between(
    database: Database, credits: Credits, incidents: Incidents, clock: SettableClock
) -> None:
    songs = composed(database, incidents, clock, defaults=AT_ONCE[1])
    song = await songs.ask(requester(), request(seconds=240, steps=50))
    await incidents.begin(Kind.OUT_OF_CREDITS, "406")
    assert await songs.ask(requester(), request(seconds=240, steps=50)) == song


@pytest.mark.parametrize("kind", [Kind.KEY_REFUSED, Kind.OUT_OF_CREDITS])
async def test_while_songs_are_paused_nothing_is_spent(
    songs: Songs, incidents: Incidents, credits: Credits, kind: Kind, wakes: list[None]
) -> None:
    await incidents.begin(kind, "401")
    with pytest.raises(SongsPaused):
        await songs.ask(requester(), request())
    assert await free(credits) == 10
    assert wakes == []
    await incidents.end(kind)
    assert (await songs.ask(requester(), request())).number == 1


async def test_a_member_has_a_number_of_songs_at_once(songs: Songs, credits: Credits) -> None:
    for interaction_id in (1, 2, 3):
        await songs.ask(requester(interaction_id), request(seconds=30))
    with refusal(TooManyInProgress(3, 3)):
        await songs.ask(requester(4), request(seconds=30))
    assert await free(credits) == 7
    # Others, and this member elsewhere, have their own.
    await songs.ask(requester(5, member_id=MEMBER + 1), request())
    await songs.ask(requester(6, server_id=SERVER + 1), request())
    await songs.cancel(2, server_id=SERVER, member_id=MEMBER, manager=False)
    assert (await songs.ask(requester(7), request(seconds=30))).number == 5


async def test_too_few_credits_leave_nothing_not_even_a_gap_in_the_numbers(
    songs: Songs, database: Database, credits: Credits, wakes: list[None]
) -> None:
    with pytest.raises(NotEnoughCredits):
        await songs.ask(requester(1), request(seconds=240, steps=150))
    assert await rows.get(database.reader, 1) is None
    assert wakes == []
    assert (await songs.ask(requester(2), request())).number == 1
    assert await free(credits) == 8


async def test_fifty_who_race_for_the_last_credits_do_not_overspend(
    database: Database, credits: Credits, incidents: Incidents, clock: SettableClock
) -> None:
    songs = composed(database, incidents, clock, defaults=AT_ONCE[100])
    asked = [songs.ask(requester(n), request(seconds=60)) for n in range(1, 51)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert Counter(map(type, results)) == {Song: 5, NotEnoughCredits: 45}
    assert await free(credits) == 0
    assert await rows.price_of_unfinished(database.reader, SERVER, MEMBER) == 10
    made = [song.number for song in results if isinstance(song, Song)]
    assert sorted(made) == [1, 2, 3, 4, 5]


async def test_fifty_who_race_for_the_last_place_do_not_pass_the_limit(songs: Songs) -> None:
    asked = [songs.ask(requester(n), request(seconds=30)) for n in range(1, 51)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert Counter(map(type, results)) == {Song: 3, TooManyInProgress: 47}


async def test_an_ask_that_is_cancelled_is_whole_or_not_at_all(
    songs: Songs, database: Database, credits: Credits
) -> None:
    """Cancelled after every possible number of turns of the loop."""
    outcomes = set()
    for turns in range(120):
        asking = asyncio.create_task(songs.ask(requester(turns + 1), request(seconds=10)))
        for _ in range(turns):
            if asking.done():
                break
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        song = await rows.get(database.reader, turns + 1)
        held = await rows.price_of_unfinished(database.reader, SERVER, MEMBER)
        assert await free(credits) == 10 - held
        assert held == (0 if song is None else 1)
        outcomes.add(song is None)
        if song is not None:
            await songs.cancel(turns + 1, server_id=SERVER, member_id=MEMBER, manager=False)
    assert True in outcomes


async def test_a_server_with_many_undelivered_songs_gets_no_more(
    songs: Songs, database: Database, tmp_path: Path
) -> None:
    """Each is up to 10 MiB for a day."""
    kept = {"state": State.UNDELIVERED, "reason": "The channel is gone.", "file": "song.mp3"}
    for number in range(1, MAX_UNDELIVERED):
        await add_song(database, 100 + number, number=number, member_id=100 + number, **kept)
    async with database.write() as connection:
        await connection.execute("UPDATE servers SET last_number = 100")
    song = await songs.ask(requester(1), request(seconds=30))
    await add_song(database, 200, number=200, member_id=200, **kept)
    await add_song(database, 201, number=201, state=State.COMPLETED, reason="No.")
    before = dump(tmp_path)
    for refused in (songs.check, songs.ask):
        with refusal(ServerHasUndelivered(25)):
            await refused(requester(2), request(seconds=30))
    assert dump(tmp_path) == before
    assert await songs.ask(requester(1), request(seconds=30)) == song
    elsewhere = requester(3, server_id=SERVER + 1)
    await songs.check(elsewhere, request(seconds=30))
    await songs.ask(elsewhere, request(seconds=30))


async def test_no_member_locks_the_others_out_by_undelivered_songs(
    songs: Songs, database: Database, tmp_path: Path
) -> None:
    """A private thread that its owner removes the bot from makes them so, free of charge."""
    kept = {"state": State.UNDELIVERED, "reason": "The channel is gone.", "file": "song.mp3"}
    for number in range(MAX_UNDELIVERED_OF_MEMBER):
        await add_song(database, 101 + number, number=101 + number, **kept)
    await add_song(database, 200, number=200, state=State.COMPLETED, reason="No.")
    before = dump(tmp_path)
    for refused in (songs.check, songs.ask):
        with refusal(MemberHasUndelivered(5)):
            await refused(requester(1), request(seconds=30))
    assert dump(tmp_path) == before
    await songs.ask(requester(2, member_id=MEMBER + 1), request(seconds=30))
    await songs.ask(requester(3, server_id=SERVER + 1), request(seconds=30))


# --- Failing and cancelling on purpose ------------------------------------------------------------

TWO_AN_HOUR = Defaults(limits=Limits(unfinished=100), hourly_refunds=2)


async def test_a_member_cancels_and_fails_only_so_often_in_an_hour(
    database: Database, incidents: Incidents, clock: SettableClock, tmp_path: Path
) -> None:
    """Each accepted submit is paid by the operator, whatever becomes of the song."""
    songs = composed(database, incidents, clock, defaults=TWO_AN_HOUR)
    completion = songs._completion
    first = await songs.ask(requester(1), request(seconds=10))
    await songs.cancel(1, server_id=SERVER, member_id=MEMBER, manager=False)
    clock.advance(minutes=20)
    second = await songs.ask(requester(2, server_id=SERVER + 1), request(seconds=10))
    assert await completion.fail(second, "Blocked.", fault=Fault.REQUEST)
    before = dump(tmp_path)
    with refusal(TooManyRefunds(2, first.requested_at + timedelta(hours=1))):
        await songs.ask(requester(3), request(seconds=10))
    assert dump(tmp_path) == before
    await songs.ask(requester(4, member_id=MEMBER + 1), request(seconds=10))
    clock.advance(minutes=40)
    await songs.ask(requester(5), request(seconds=10))


async def test_songs_in_other_servers_may_all_fail_too(
    database: Database, incidents: Incidents, clock: SettableClock, tmp_path: Path
) -> None:
    """24 songs failed at once in 8 servers, each within its own limit of songs in progress."""
    songs = composed(database, incidents, clock, defaults=TWO_AN_HOUR)
    first = await songs.ask(requester(1), request(seconds=10))
    await songs.ask(requester(2), request(seconds=10))
    before = dump(tmp_path)
    with refusal(TooManyElsewhere(2)):
        await songs.ask(requester(3, server_id=SERVER + 1), request(seconds=10))
    assert dump(tmp_path) == before
    await songs.ask(requester(4), request(seconds=10))
    assert await songs._completion.fail(first, "Lost.")
    await songs.ask(requester(5, server_id=SERVER + 1, member_id=MEMBER + 1), request(seconds=10))


async def test_what_is_not_the_members_doing_counts_for_nothing(
    database: Database, incidents: Incidents, clock: SettableClock
) -> None:
    songs = composed(database, incidents, clock, defaults=TWO_AN_HOUR)
    completion = songs._completion
    for song_id, fault in enumerate((Fault.SERVICE, Fault.ACCOUNT, Fault.MACHINE), start=1):
        song = await songs.ask(requester(song_id), request(seconds=10))
        assert await completion.fail(song, "Lost.", fault=fault)
    for song_id in (4, 5):
        await songs.ask(requester(song_id), request(seconds=10))
        await songs.cancel(song_id, server_id=SERVER, member_id=99, manager=True)
    song = await songs.ask(requester(6), request(seconds=10))
    assert await completion.cancel(song)  # the bot left, say
    await songs.ask(requester(7), request(seconds=10))


async def test_songs_of_a_clock_that_was_set_back_make_nobody_wait(
    database: Database, incidents: Incidents, clock: SettableClock
) -> None:
    songs = composed(database, incidents, clock, defaults=TWO_AN_HOUR)
    for song_id in (1, 2):
        await songs.ask(requester(song_id), request(seconds=10))
        await songs.cancel(song_id, server_id=SERVER, member_id=MEMBER, manager=False)
    clock.advance(hours=-5)
    await songs.ask(requester(3), request(seconds=10))


# --- Whoever may not ------------------------------------------------------------------------------

BY = Manager(SERVER, 99)
ELSEWHERE = CHANNEL + 1


@pytest.fixture
def server_settings(database: Database, credits: Credits) -> ServerSettings:
    return make_server_settings(database, credits)


@pytest.fixture
def operator(database: Database, clock: SettableClock) -> OperatorBudgets:
    return OperatorBudgets(database, clock=clock)


def dump(tmp_path: Path) -> list[str]:
    """The database, row for row."""
    with contextlib.closing(sqlite3.connect(tmp_path / "songs.db")) as connection:
        return list(connection.iterdump())


def changed_tables(before: list[str], after: list[str]) -> set[str]:
    """Where a row is another, or is gone, or is new."""
    return {row.partition("(")[0] for row in {*before} ^ {*after}}


WARNING_TABLES = {f'INSERT INTO "{table}" VALUES' for table in ("changes", "server_periods")}

Lift = Callable[[], Awaitable[object]]


async def every_reason(
    songs: Songs,
    server_settings: ServerSettings,
    operator: OperatorBudgets,
    incidents: Incidents,
    clock: SettableClock,
) -> list[tuple[type[Refusal], Lift]]:
    """A server where nothing goes: each refusal in its order, and what ends it.

    A song is under way since the day before, so that an ask would also open a period's allowance
    and close the one before.
    """
    await server_settings.set(BY, ALLOWANCE, 4)
    song = await songs.ask(requester(1), request(seconds=60))
    async with songs._database.write() as connection:  # a block would cancel what waits
        assert await operator.mark_submitting(connection, song)
    clock.advance(days=1)
    await server_settings.set(BY, BUDGET, 1)
    await operator.set(OperatorBudget("each", 0, 0, None))
    await server_settings.set_all(
        BY, {UNFINISHED: 1, LONGEST: 60, MOST_STEPS: 40, COOLDOWN: 7 * 86_400}
    )
    await server_settings.set(BY, BLOCKED_WORDS, ["funk"])
    await server_settings.set(BY, CHANNELS, [ELSEWHERE])
    await server_settings.set(BY, BLOCK, Block("Far too loud."), MEMBER)
    await server_settings.set(BY, PAUSE, "We sleep.")
    await incidents.begin(Kind.KEY_REFUSED, "401")
    return [
        (SongsPaused, lambda: incidents.end(Kind.KEY_REFUSED)),
        (ServerPaused, lambda: server_settings.reset(BY, PAUSE)),
        (MemberBlocked, lambda: server_settings.reset(BY, BLOCK, MEMBER)),
        (WrongChannel, lambda: server_settings.set(BY, CHANNELS, [])),
        (SongTooLarge, lambda: server_settings.set(BY, LONGEST, 240)),
        (SongTooLarge, lambda: server_settings.set(BY, MOST_STEPS, 150)),
        (BlockedWord, lambda: server_settings.set(BY, BLOCKED_WORDS, [])),
        (TooManyInProgress, lambda: server_settings.set(BY, UNFINISHED, 2)),
        (Cooldown, lambda: server_settings.set(BY, COOLDOWN, 0)),
        (OperatorBudgetExceeded, lambda: operator.drop("each", 0)),
        (NotEnoughCredits, lambda: server_settings.set(BY, ALLOWANCE, 10)),
        (ServerBudgetExceeded, lambda: server_settings.set(BY, BUDGET, None)),
    ]


async def test_each_refusal_comes_in_its_order_and_changes_nothing(
    songs: Songs,
    database: Database,
    server_settings: ServerSettings,
    operator: OperatorBudgets,
    incidents: Incidents,
    credits: Credits,
    clock: SettableClock,
    wakes: list[None],
    told: list[None],
    tmp_path: Path,
) -> None:
    reasons = await every_reason(songs, server_settings, operator, incidents, clock)
    wanted = request(seconds=150, steps=50)
    wakes.clear()
    for reason, lift in reasons:
        before = dump(tmp_path)
        with pytest.raises(reason):
            await songs.ask(requester(2), wanted)
        # Only the server's managers hear of the server's budget: see below.
        hear = WARNING_TABLES if reason is ServerBudgetExceeded else set()
        assert changed_tables(before, dump(tmp_path)) <= hear, reason
        assert not database._writer.in_transaction
        await lift()
    assert (wakes, told) == ([], [])
    song = await songs.ask(requester(2), wanted)
    assert (song.number, song.price) == (2, 5)
    assert await free(credits) == 5


async def test_what_can_be_said_before_the_words_are_typed_is_said_alike(
    songs: Songs,
    server_settings: ServerSettings,
    operator: OperatorBudgets,
    incidents: Incidents,
    clock: SettableClock,
    tmp_path: Path,
) -> None:
    """The pace and the credits may have changed when they were: only `ask` decides on those."""
    wanted = request(seconds=150, steps=50)
    early = (SongsPaused, DeniedBySettings)
    for reason, lift in await every_reason(songs, server_settings, operator, incidents, clock):
        before = dump(tmp_path)
        if issubclass(reason, early):
            with pytest.raises(reason):
                await songs.check(requester(2), wanted)
        else:
            await songs.check(requester(2), wanted)
        assert dump(tmp_path) == before, reason
        await lift()


async def test_a_server_that_is_not_allowed_is_refused_before_anything_is_spent(
    database: Database, incidents: Incidents, clock: SettableClock, tmp_path: Path
) -> None:
    songs = composed(database, incidents, clock, allowed_servers=frozenset({SERVER + 1}))
    before = dump(tmp_path)
    for refused in (songs.check, songs.ask):
        with refusal(ServerNotAllowed(SERVER)):
            await refused(requester(), request())
    assert dump(tmp_path) == before
    elsewhere = requester(server_id=SERVER + 1)
    await songs.check(elsewhere, request())
    assert (await songs.ask(elsewhere, request())).server_id == SERVER + 1


async def test_a_server_that_was_never_seen_is_checked_without_being_written_down(
    songs: Songs, tmp_path: Path
) -> None:
    before = dump(tmp_path)
    await songs.check(requester(), request())
    assert dump(tmp_path) == before


@pytest.mark.parametrize(
    "where",
    [
        {"channel_id": ELSEWHERE},
        {"channel_id": 77, "parent_id": ELSEWHERE},  # a thread counts as its channel
    ],
)
async def test_songs_are_made_where_they_are_allowed(
    songs: Songs, server_settings: ServerSettings, where: dict[str, int]
) -> None:
    await server_settings.set(BY, CHANNELS, [ELSEWHERE])
    assert (await songs.ask(requester(**where), request())).channel_id == where["channel_id"]
    for elsewhere in ({"channel_id": 77}, {"channel_id": 77, "parent_id": CHANNEL}):
        with pytest.raises(DeniedBySettings):
            await songs.ask(requester(2, **elsewhere), request())


async def test_the_same_interaction_is_the_same_song_whatever_was_forbidden_meanwhile(
    songs: Songs,
    server_settings: ServerSettings,
    operator: OperatorBudgets,
    credits: Credits,
    tmp_path: Path,
) -> None:
    song = await songs.ask(requester(), request())
    await server_settings.set(BY, PAUSE, "")
    await server_settings.set(BY, ALLOWANCE, 0)
    await server_settings.set(BY, BUDGET, 1)
    await operator.set(OperatorBudget("all", 0, 0, 0))
    before = dump(tmp_path)
    assert await songs.ask(requester(), request()) == song
    assert dump(tmp_path) == before


async def test_the_budgets_warnings_are_told_once_each(
    songs: Songs,
    server_settings: ServerSettings,
    database: Database,
    told: list[None],
    tmp_path: Path,
) -> None:
    await server_settings.set(BY, LOG, 5_000)
    await server_settings.set(BY, BUDGET, 10)
    counts = []
    for member, seconds in enumerate((210, 30, 30, 30)):
        await songs.ask(requester(member + 1, member_id=member + 1), request(seconds=seconds))
        counts.append(len(told))
    assert counts == [0, 1, 1, 2]  # at 7, 8, 9 and 10 credits
    before = dump(tmp_path)
    with pytest.raises(BudgetExceeded):
        await songs.ask(requester(9, member_id=9), request(seconds=30))
    assert dump(tmp_path) == before
    warnings = [c for c in await changes.to_log(database.reader, limit=9) if c.name == "warning"]
    assert [json.loads(c.after or "")["percent"] for c in warnings] == [80, 100]


async def test_a_refusal_at_the_budget_writes_its_warning_and_nothing_else(
    songs: Songs, server_settings: ServerSettings, tmp_path: Path
) -> None:
    await server_settings.set(BY, BUDGET, 9)
    await songs.ask(requester(1), request(seconds=240))
    before = dump(tmp_path)
    for interaction_id in (2, 3):
        with pytest.raises(BudgetExceeded):
            await songs.ask(requester(interaction_id), request(seconds=60))
    after = dump(tmp_path)
    assert changed_tables(before, after) == WARNING_TABLES
    assert len(set(after) - set(before)) == 2


async def test_fifty_members_do_not_pass_the_servers_budget(
    songs: Songs, server_settings: ServerSettings, database: Database
) -> None:
    await server_settings.set(BY, BUDGET, 15)
    asked = [songs.ask(requester(n, member_id=n), request(seconds=60)) for n in range(1, 51)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert Counter(map(type, results)) == {Song: 7, ServerBudgetExceeded: 43}
    assert await budgets.used(database.reader, SERVER, NOON.replace(hour=0)) == 14


async def test_fifty_members_do_not_pass_the_operators_budget(
    songs: Songs, operator: OperatorBudgets, database: Database
) -> None:
    """What waits in a server is counted for that server, what is submitted for all."""
    await operator.set(OperatorBudget("all", 0, 15, None))
    asked = [
        songs.ask(requester(n, member_id=n, server_id=SERVER + n % 5), request(seconds=60))
        for n in range(1, 51)
    ]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert Counter(map(type, results)) == {Song: 5 * 7, OperatorBudgetExceeded: 15}
    submitted = 0
    for song in [result for result in results if isinstance(result, Song)]:
        async with database.write() as connection:
            submitted += await operator.mark_submitting(connection, song)
    assert submitted == 7


async def test_a_song_costs_what_the_operator_says(
    database: Database, incidents: Incidents, clock: SettableClock
) -> None:
    defaults = Defaults(prices=Prices(seconds=10, steps=150))
    songs = composed(database, incidents, clock, defaults=defaults)
    assert (await songs.ask(requester(), request(seconds=45, steps=150))).price == 5
    assert songs.prices.of(45, 151) == 10


# --- Cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("member", "manager"), [(MEMBER, False), (99, True), (MEMBER, True)])
async def test_the_member_and_those_who_manage_may_cancel(
    songs: Songs, credits: Credits, member: int, manager: bool
) -> None:
    await songs.ask(requester(), request())
    song = await songs.cancel(1, server_id=SERVER, member_id=member, manager=manager)
    assert (song.status, song.ended_at) == (Status.CANCELLED, NOON)
    assert await free(credits) == 10


async def test_another_member_may_not(songs: Songs, database: Database) -> None:
    await songs.ask(requester(), request())
    with pytest.raises(NotYourSong):
        await songs.cancel(1, server_id=SERVER, member_id=99, manager=False)
    assert await rows.price_of_unfinished(database.reader, SERVER, MEMBER) == 2


@pytest.mark.parametrize("song_id", [1, 404])
async def test_a_song_of_another_server_is_not_there(songs: Songs, song_id: int) -> None:
    """Not even for who manages that one."""
    await songs.ask(requester(), request())
    with pytest.raises(UnknownSong):
        await songs.cancel(song_id, server_id=SERVER + 1, member_id=MEMBER, manager=True)
    with pytest.raises(UnknownSong):
        await songs.get(song_id, server_id=SERVER + 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"state": State.SUBMITTING},
        {"state": State.POSTING},
        {"state": State.COMPLETED},
        {"state": State.CANCELLED},
    ],
)
async def test_what_was_submitted_or_is_over_can_not_be_cancelled(
    songs: Songs, database: Database, credits: Credits, fields: dict[str, Any]
) -> None:
    before = await add_held_song(database, credits, number=42, **fields)
    with refusal(TooLateToCancel(42, before.status)):
        await songs.cancel(1, server_id=SERVER, member_id=MEMBER, manager=False)
    assert await rows.get(database.reader, 1) == before


async def test_what_is_submitted_while_it_is_cancelled_goes_on(
    songs: Songs, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await songs.ask(requester(), request())
    get = songs.get

    async def and_then(song_id: int, *, server_id: int) -> Song:
        song = await get(song_id, server_id=server_id)
        async with database.write() as connection:
            await rows.mark_submitting(connection, song_id, at=NOON)
        return song

    monkeypatch.setattr(songs, "get", and_then)
    with pytest.raises(TooLateToCancel):
        await songs.cancel(1, server_id=SERVER, member_id=MEMBER, manager=False)


# --- Drafts, tokens, history ----------------------------------------------------------------------


async def test_a_draft_is_its_members_alone(songs: Songs) -> None:
    draft = Draft(7, SERVER, MEMBER, "{}")
    await songs.keep_draft(draft)
    assert await songs.draft(7, server_id=SERVER, member_id=MEMBER) == draft
    for wrong in ({"draft_id": 8}, {"server_id": 5}, {"member_id": 5}):
        with pytest.raises(FormExpired):
            await songs.draft(**{"draft_id": 7, "server_id": SERVER, "member_id": MEMBER} | wrong)


async def test_a_button_brings_a_newer_token(songs: Songs, clock: SettableClock) -> None:
    await songs.ask(requester(), request())
    received = NOON + timedelta(minutes=3)
    await songs.renew_token(1, requester(2, message_id=9, received_at=received))
    song = await songs.get(1, server_id=SERVER)
    assert (song.message_id, song.token) == (9, "token-2")
    assert song.token_until == received + TOKEN_LIFETIME


async def test_the_history_of_who_never_asked_is_one_empty_page(songs: Songs) -> None:
    for page in (-1, 0, 1, 2):
        found = await songs.history(SERVER, MEMBER, page=page)
        assert (found.songs, found.number, found.pages, found.total) == ([], 1, 1, 0)


@pytest.mark.parametrize(
    ("page", "number", "first", "length"),
    [(1, 1, 11, PAGE), (2, 2, 1, 1), (3, 2, 1, 1), (10**30, 2, 1, 1), (0, 1, 11, PAGE)],
)
async def test_a_page_out_of_bounds_is_the_nearest_one(
    songs: Songs, database: Database, page: int, number: int, first: int, length: int
) -> None:
    for song_id in range(1, PAGE + 2):
        await add_song(database, song_id, state=State.COMPLETED)
    await add_song(database, 50, member_id=99)
    found = await songs.history(SERVER, MEMBER, page=page)
    assert (found.number, found.pages, found.total) == (number, 2, PAGE + 1)
    assert (found.songs[0].song_id, len(found.songs)) == (first, length)


async def test_a_full_page_is_the_last_one(songs: Songs, database: Database) -> None:
    for song_id in range(1, PAGE + 1):
        await add_song(database, song_id, state=State.COMPLETED)
    assert (await songs.history(SERVER, MEMBER, page=1)).pages == 1


async def test_genres_used_are_the_members_then_the_servers(
    songs: Songs, database: Database
) -> None:
    await add_song(database, 1, genres="jazz")
    await add_song(database, 2, genres="funk", member_id=99)
    await add_song(database, 3, genres="punk", server_id=5)
    assert await songs.genres_used(SERVER, MEMBER) == ["jazz", "funk", "jazz"]
