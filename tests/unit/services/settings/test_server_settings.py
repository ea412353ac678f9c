"""Changes of settings: checked, recorded with what was before, and undone."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from db.records import to_ms
from services.amounts import MAX_AMOUNT, MAX_BUDGET, InvalidReason
from services.calendar import Calendar, Every, UnknownTimeZone
from services.errors import InvalidRequest, OutOfRange, Refusal
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BLOCKED_WORDS,
    BUDGET,
    BY_KEY,
    CALENDAR,
    CATALOGUE,
    CHANNELS,
    COOLDOWN,
    GIFTS,
    HOURLY_IN_CHANNEL,
    LEADERBOARD,
    LOG,
    LONGEST,
    MEMBER_ALLOWANCE,
    MOST_STEPS,
    PAUSE,
    POST_IN,
    ROLE_ALLOWANCE,
    UNFINISHED,
    Setting,
)
from services.settings.reader import Settings
from services.settings.refusals import (
    ChangedSince,
    NoSuchChange,
    NotASetting,
    TooManyChannels,
    TooManySet,
    WordTooLong,
)
from services.settings.server_settings import Manager, ServerSettings
from services.settings.settings import Block, Member, Override
from tests.factories import MEMBER, NOON, SERVER, SettableClock
from tests.refusals import refusal
from tests.unit.services.credits.composed import BY, MANAGER, Product

OTHER = Manager(SERVER, MANAGER + 1)
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def server_settings(product: Product) -> ServerSettings:
    return product.server_settings


async def reading(product: Product) -> Settings:
    return await product.credits.settings(SERVER, MEMBER)


def as_value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


EXAMPLES: dict[Setting[Any], tuple[int, Any, Any]] = {
    ALLOWANCE: (0, 20, {"credits": 20}),
    CALENDAR: (
        *(0, Calendar(Every.WEEK, 4, "europe/berlin")),
        {"every": "week", "hour": 4, "zone": "Europe/Berlin"},
    ),
    BUDGET: (0, 9, 9),
    ROLE_ALLOWANCE: (21, None, {"credits": None}),
    MEMBER_ALLOWANCE: (MEMBER, Override(5, LATER), {"credits": 5, "until": to_ms(LATER)}),
    PAUSE: (0, " It is late. ", "It is late."),
    UNFINISHED: (0, 5, 5),
    LONGEST: (0, 60, 60),
    MOST_STEPS: (0, 60, 60),
    COOLDOWN: (0, 60, 60),
    HOURLY_IN_CHANNEL: (0, 5, 5),
    CHANNELS: (0, [3, 1, 3], [1, 3]),
    POST_IN: (0, 7, 7),
    BLOCKED_WORDS: (0, ["spam", "SPAM"], ["spam"]),
    BLOCK: (MEMBER, Block(" Spam. ", LATER), {"reason": "Spam.", "until": to_ms(LATER)}),
    GIFTS: (0, True, True),
    LEADERBOARD: (0, True, True),
    LOG: (0, 31, 31),
}
"""Of each setting: who it is about, a value as typed, and as stored."""


def test_there_is_an_example_of_each_setting() -> None:
    assert set(EXAMPLES) == set(CATALOGUE)
    assert set(BY_KEY.values()) == set(CATALOGUE)


@pytest.mark.parametrize("setting", CATALOGUE, ids=lambda setting: setting.key)
async def test_each_setting_is_set_reset_and_undone(
    product: Product, setting: Setting[Any]
) -> None:
    server_settings, default = product.server_settings, await reading(product)
    subject_id, value, stored = EXAMPLES[setting]
    first = await server_settings.set(BY, setting, value, subject_id)
    assert first is not None
    assert (first.name, first.subject_id, first.actor_id) == (setting.key, subject_id, MANAGER)
    assert as_value(first.after) == stored
    assert await server_settings.set(BY, setting, value, subject_id) is None
    in_force = await reading(product)
    assert in_force != default
    second = await server_settings.reset(OTHER, setting, subject_id)
    assert second is not None
    assert (second.before, second.after) == (first.after, first.before)
    assert await server_settings.to_reset(SERVER) == []
    third = await server_settings.undo(BY, second.number)
    assert (third.undoes, third.after) == (second.number, first.after)
    assert (await reading(product)).values == in_force.values
    await server_settings.undo(BY, first.number)  # its value is in force again
    assert await server_settings.to_reset(SERVER) == []
    assert await product.changes() == [first, second, third, (await product.changes())[-1]]


async def test_several_settings_are_set_together_or_not_at_all(product: Product) -> None:
    done = await product.server_settings.set_all(BY, {UNFINISHED: 5, LONGEST: 240, COOLDOWN: 60})
    assert [change.name for change in done] == ["unfinished", "cooldown"]  # 240 is the default
    before = await reading(product)
    with refusal(OutOfRange("Most steps", 10, 150)):
        await product.server_settings.set_all(BY, {UNFINISHED: 6, MOST_STEPS: 151})
    assert await reading(product) == before


def _with(channel_id: int, now: Sequence[int]) -> Sequence[int]:
    return (*now, channel_id)


async def test_a_value_is_updated_from_the_one_in_force(product: Product) -> None:
    server_settings = product.server_settings
    await asyncio.gather(
        *(server_settings.update(BY, CHANNELS, partial(_with, n)) for n in range(5))
    )
    assert (await reading(product))[CHANNELS] == tuple(range(5))


# --- the calendar ---------------------------------------------------------------------------------


async def test_a_changed_calendar_begins_at_the_end_of_the_running_period(
    product: Product,
) -> None:
    change = await product.server_settings.update(
        BY, CALENDAR, lambda c: replace(c, every=Every.MONTH, zone="Europe/Berlin")
    )
    assert change is not None
    assert change.name == CALENDAR.key
    assert as_value(change.before) == {"every": "day", "hour": 0, "zone": "UTC"}
    assert as_value(change.after) == {"every": "month", "hour": 0, "zone": "Europe/Berlin"}
    timeline = (await reading(product)).timeline
    assert timeline.at(NOON) == Calendar()
    assert timeline.next(NOON) == (
        datetime(2026, 3, 15, tzinfo=UTC),
        Calendar(Every.MONTH, 0, "Europe/Berlin"),
    )
    assert timeline.period(datetime(2026, 3, 20, tzinfo=UTC)).end == datetime(
        2026, 3, 31, 22, tzinfo=UTC
    )


async def test_a_calendar_that_did_not_begin_is_undone_and_changed_again(
    product: Product,
) -> None:
    server_settings = product.server_settings
    await server_settings.update(BY, CALENDAR, lambda c: replace(c, every=Every.WEEK))
    second = await server_settings.update(BY, CALENDAR, lambda c: replace(c, hour=5))
    assert second is not None
    assert as_value(second.after) == {"every": "week", "hour": 5, "zone": "UTC"}
    assert await server_settings.update(BY, CALENDAR, lambda c: replace(c, hour=5)) is None
    with refusal(ChangedSince(1)):
        await server_settings.undo(BY, 1)
    await server_settings.undo(BY, 2)
    await server_settings.undo(BY, 1)
    assert (await reading(product)).timeline.next(NOON) is None
    assert await server_settings.to_reset(SERVER) == []


async def test_a_calendar_in_force_is_undone_from_the_end_of_its_period(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.update(BY, CALENDAR, lambda c: replace(c, every=Every.WEEK))
    clock.advance(days=1)
    await product.server_settings.undo(BY, 1)
    timeline = (await reading(product)).timeline
    assert timeline.at(clock()).every is Every.WEEK
    assert timeline.next(clock()) == (datetime(2026, 3, 16, tzinfo=UTC), Calendar())


# --- undoing --------------------------------------------------------------------------------------


async def test_only_what_nobody_changed_since_is_undone(product: Product) -> None:
    server_settings = product.server_settings
    await server_settings.set(BY, ALLOWANCE, 20)
    await server_settings.set(BY, ROLE_ALLOWANCE, 5, 21)
    await server_settings.set(OTHER, ALLOWANCE, 30)
    with refusal(ChangedSince(1)):
        await server_settings.undo(BY, 1)
    await server_settings.undo(BY, 3)
    with refusal(ChangedSince(3)):
        await server_settings.undo(BY, 3)
    await server_settings.undo(BY, 1)
    settings = await reading(product)
    assert (settings.allowance.credits, settings.roles) == (10, {21: 5})


@pytest.mark.parametrize("number", [0, -1, 2, 10**15])
async def test_a_change_that_does_not_exist_is_not_undone(
    server_settings: ServerSettings, number: int
) -> None:
    await server_settings.set(BY, ALLOWANCE, 20)
    with refusal(NoSuchChange(number)):
        await server_settings.undo(BY, number)
    with refusal(NoSuchChange(1)):
        await server_settings.undo(Manager(SERVER + 1, MANAGER), 1)


async def test_a_grant_is_not_undone(product: Product) -> None:
    await product.grant(4)
    with refusal(NotASetting(1)):
        await product.server_settings.undo(BY, 1)
    assert await product.free() == 14


async def test_undoing_a_reset_is_limited_too(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    most(monkeypatch, ROLE_ALLOWANCE, 1)
    await product.server_settings.set(BY, ROLE_ALLOWANCE, 5, 21)
    await product.server_settings.reset(BY, ROLE_ALLOWANCE, 21)
    await product.server_settings.set(BY, ROLE_ALLOWANCE, 5, 22)
    with refusal(TooManySet(1)):
        await product.server_settings.undo(BY, 2)
    assert (await reading(product)).roles == {22: 5}


# --- back to the defaults -------------------------------------------------------------------------


async def test_all_settings_are_reset_each_as_a_change_and_can_be_undone(
    product: Product,
) -> None:
    server_settings, nothing = product.server_settings, await reading(product)
    await server_settings.set(BY, LOG, 31)
    await server_settings.set(BY, ALLOWANCE, 20)
    await server_settings.set(BY, ROLE_ALLOWANCE, 5, 21)
    await server_settings.update(BY, CALENDAR, lambda c: replace(c, every=Every.WEEK))
    await server_settings.set(BY, BLOCK, Block("Spam."), MEMBER)
    decided = await reading(product)
    to_reset = await server_settings.to_reset(SERVER)
    assert set(to_reset) == {
        *((ALLOWANCE, 0), (ROLE_ALLOWANCE, 21), (BLOCK, MEMBER), (LOG, 0), (CALENDAR, 0))
    }
    assert await server_settings.reset_all(BY) == 5
    assert await reading(product) == nothing
    assert await server_settings.to_reset(SERVER) == []
    assert await server_settings.reset_all(BY) == 0
    # All that was reset is posted in the log channel.
    assert {c.log_channel_id for c in (await product.changes())[5:]} == {31}
    for number in range(6, 11):
        await server_settings.undo(BY, number)
    assert await reading(product) == decided


# --- lists ----------------------------------------------------------------------------------------


async def test_settings_about_roles_are_listed_by_role(server_settings: ServerSettings) -> None:
    for role in (23, 21, 22):
        await server_settings.set(BY, ROLE_ALLOWANCE, role, role)
    found = await server_settings.of_setting(SERVER, ROLE_ALLOWANCE)
    assert found == [(21, 21), (22, 22), (23, 23)]


async def test_ended_blocks_are_not_counted(
    server_settings: ServerSettings, clock: SettableClock
) -> None:
    await server_settings.set(BY, BLOCK, Block("Spam."), 1)
    await server_settings.set(BY, BLOCK, Block("Spam.", LATER), 2)
    assert await server_settings.blocked(SERVER) == 2
    clock.now = LATER
    assert await server_settings.blocked(SERVER) == 1


# --- what is refused ------------------------------------------------------------------------------

TOO_MUCH = [-1, MAX_AMOUNT + 1, 2**63, 10**30, -(10**30)]
ENDS = [
    NOON,
    NOON - timedelta(days=1),
    NOON + timedelta(days=3651),
    datetime.max.replace(tzinfo=UTC),
]


@pytest.mark.parametrize(
    ("setting", "values", "expected"),
    [
        (ALLOWANCE, TOO_MUCH, OutOfRange("Allowance", 0, MAX_AMOUNT)),
        (ROLE_ALLOWANCE, TOO_MUCH, OutOfRange("Role allowance", 0, MAX_AMOUNT)),
        (
            MEMBER_ALLOWANCE,
            list(map(Override, TOO_MUCH)),
            OutOfRange("Member allowance", 0, MAX_AMOUNT),
        ),
        (MEMBER_ALLOWANCE, [Override(1, end) for end in ENDS], InvalidRequest),
        (BUDGET, [0, -1, MAX_BUDGET + 1, 10**30], OutOfRange("Budget", 1, MAX_BUDGET)),
        (BLOCK, [Block("Spam.", end) for end in ENDS], InvalidRequest),
        (BLOCK, list(map(Block, ["", " ", "x" * 201])), InvalidReason),
        (PAUSE, ["x" * 201, "\u200b"], InvalidReason),
        (UNFINISHED, [0, -1, 101, 10**30], OutOfRange("Songs at once", 1, 100)),
        (LONGEST, [9, 241, -(10**30)], OutOfRange("Longest song", 10, 240)),
        (MOST_STEPS, [9, 151, None], OutOfRange("Most steps", 10, 150)),
        (COOLDOWN, [-1, 604_801], OutOfRange("Cooldown", 0, 604_800)),
        (HOURLY_IN_CHANNEL, [0, 1_001], OutOfRange("Songs an hour in a channel", 1, 1_000)),
        (CHANNELS, [range(26)], TooManyChannels(26, 25)),
        (BLOCKED_WORDS, [["x" * 61]], WordTooLong(1, 61, 60)),
        (CALENDAR, [Calendar(zone="Mars/Olympus"), Calendar(zone="")], UnknownTimeZone),
        (CALENDAR, [Calendar(hour=-1), Calendar(hour=24)], OutOfRange("hour", 0, 23)),
    ],
)
async def test_a_value_out_of_bounds_is_refused_and_changes_nothing(
    product: Product,
    setting: Setting[Any],
    values: Sequence[Any],
    expected: Refusal | type[Refusal],
) -> None:
    before = await reading(product)
    for value in values:
        with pytest.raises(expected) if isinstance(expected, type) else refusal(expected):
            await product.server_settings.set(BY, setting, value, EXAMPLES[setting][0])
    assert await reading(product) == before
    assert await product.changes() == []
    assert product.notified == []


def most(monkeypatch: pytest.MonkeyPatch, setting: Setting[Any], count: int) -> None:
    monkeypatch.setitem(vars(setting), "most", count)


@pytest.mark.parametrize("setting", [ROLE_ALLOWANCE, MEMBER_ALLOWANCE, BLOCK])
async def test_roles_or_members_with_a_setting_are_limited(
    product: Product, monkeypatch: pytest.MonkeyPatch, setting: Setting[Any]
) -> None:
    most(monkeypatch, setting, 2)
    server_settings, value = product.server_settings, EXAMPLES[setting][1]
    await server_settings.set(BY, setting, value, 1)
    await server_settings.set(BY, setting, value, 2)
    with refusal(TooManySet(2)):
        await server_settings.set(BY, setting, value, 3)
    assert await server_settings.set(BY, setting, value, 2) is None  # an existing one can be set
    assert len(await product.changes()) == 2


# --- what a block does to songs -------------------------------------------------------------------


async def test_a_block_cancels_and_refunds_what_the_member_has_waiting(product: Product) -> None:
    waiting, started = await product.create(1), await product.create(2, seconds=60)
    others = await product.create(3, who=Member(SERVER, MEMBER + 1))
    assert await product.submit(started)
    await product.server_settings.set(BY, BLOCK, Block("Spam."), MEMBER)
    rows = "SELECT song_id, state, fault FROM songs ORDER BY song_id"
    assert await product.rows(rows) == [
        (waiting.song_id, "cancelled", "server"),
        (started.song_id, "submitting", None),
        (others.song_id, "waiting", None),
    ]
    assert product.redrawn == [waiting.song_id]
    assert await product.free() == 10 - started.price
    assert await product.rows("SELECT entry_id FROM ledger WHERE kind = 'refund'") == [
        (f"refund:{waiting.song_id}",)
    ]


async def test_undoing_an_unblock_cancels_songs_too(product: Product, clock: SettableClock) -> None:
    until = clock() + timedelta(hours=1)
    await product.server_settings.set(BY, BLOCK, Block("Spam.", until), MEMBER)
    for _ in range(2):
        await product.server_settings.reset(BY, BLOCK, MEMBER)
    song = await product.create(1)
    (_, unblocked) = await product.changes()
    undone = await product.server_settings.undo(BY, unblocked.number)
    assert product.redrawn == [song.song_id]
    await product.server_settings.undo(BY, undone.number)
    await product.create(2)
    clock.advance(hours=2)  # the block that would come back is over
    again = (await product.changes())[-1]
    await product.server_settings.undo(BY, again.number)
    assert product.redrawn == [song.song_id]
