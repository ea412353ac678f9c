"""What managers decide: bounded, written down with what stood before, and taken back."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cogs.client.texts import refusal_text
from db.database import Database
from db.records import Change, to_ms
from services.credits.amounts import MAX_AMOUNT, MAX_BUDGET
from services.credits.calendar import Calendar, Every
from services.errors import InvalidRequest, NotPossible
from services.settings.server_settings import (
    CALENDAR,
    MAX_CHANNELS,
    MAX_COOLDOWN,
    MAX_RULES,
    MAX_UNFINISHED,
    Manager,
    ServerSettings,
)
from services.settings.settings import Limits, Member, Name, Rules
from tests.factories import MEMBER, NOON, SERVER, SettableClock
from tests.unit.services.credits.composed import BY, MANAGER, Product, compose

OTHER = Manager(SERVER, MANAGER + 1)
LATER = NOON + timedelta(hours=1)
Decide = Callable[[ServerSettings], Awaitable[Change | None]]


@pytest.fixture
def product(database: Database, clock: SettableClock) -> Product:
    return compose(database, clock)


@pytest.fixture
def server_settings(product: Product) -> ServerSettings:
    return product.server_settings


async def reading(product: Product) -> Rules:
    return await product.credits.rules(SERVER, MEMBER)


def as_value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


EVERY_RULE: list[tuple[Decide, str, int, Any, Decide]] = [
    (
        lambda m: m.set_allowance(BY, 20),
        *("allowance", 0, {"credits": 20}),
        lambda m: m.set_allowance(BY, None),
    ),
    (
        lambda m: m.set_role(BY, 21, None),
        *("role", 21, {"credits": None}),
        lambda m: m.drop_role(BY, 21),
    ),
    (
        lambda m: m.set_member(BY, MEMBER, 5, until=LATER),
        *("member", MEMBER, {"credits": 5, "until": to_ms(LATER)}),
        lambda m: m.drop_member(BY, MEMBER),
    ),
    (
        lambda m: m.set_limits(BY, steps=60, unfinished=3),
        *("limits", 0, {"steps": 60}),
        lambda m: m.set_limits(BY, steps=150),
    ),
    (
        lambda m: m.set_channels(BY, [3, 1, 3]),
        *("channels", 0, [1, 3]),
        lambda m: m.set_channels(BY, []),
    ),
    (
        lambda m: m.block(BY, MEMBER, reason=" Spam. ", until=LATER),
        *("block", MEMBER, {"reason": "Spam.", "until": to_ms(LATER)}),
        lambda m: m.unblock(BY, MEMBER),
    ),
    (
        lambda m: m.set_words(BY, ["spam"]),
        *("words", 0, ["spam"]),
        lambda m: m.set_words(BY, []),
    ),
    (lambda m: m.pause(BY, " It is late. "), "pause", 0, "It is late.", lambda m: m.resume(BY)),
    (lambda m: m.pause(BY), "pause", 0, "", lambda m: m.resume(BY)),
    (lambda m: m.set_budget(BY, 9), "budget", 0, 9, lambda m: m.set_budget(BY, None)),
    (lambda m: m.set_log(BY, 31), "log", 0, 31, lambda m: m.set_log(BY, None)),
    (
        lambda m: m.set_gifts(BY, allowed=True),
        *("gifts", 0, True),
        lambda m: m.set_gifts(BY, allowed=False),
    ),
    (
        lambda m: m.set_leaderboard(BY, allowed=True),
        *("leaderboard", 0, True),
        lambda m: m.set_leaderboard(BY, allowed=False),
    ),
]
NAMES = [rule[1] for rule in EVERY_RULE]


@pytest.mark.parametrize(("decide", "name", "subject", "value", "drop"), EVERY_RULE, ids=NAMES)
async def test_each_rule_is_set_once_changed_and_taken_back(
    product: Product, decide: Decide, name: str, subject: int, value: Any, drop: Decide
) -> None:
    """The second time nothing changes; what stood before stands in each change."""
    server_settings, nothing = product.server_settings, await reading(product)
    first = await decide(server_settings)
    assert first is not None
    assert (first.name, first.subject_id, first.before) == (name, subject, None)
    assert as_value(first.after) == value
    decided = await reading(product)
    assert decided != nothing
    assert await decide(server_settings) is None
    second = await drop(server_settings)
    assert second is not None
    assert second.before == first.after
    assert second.after != first.after
    back = await server_settings.undo(OTHER, second.number)
    assert (back.before, back.after) == (second.after, first.after)
    assert (back.actor_id, back.undoes) == (OTHER.actor_id, second.number)
    assert await reading(product) == decided
    await server_settings.undo(BY, first.number)  # it stands as it did after it
    assert await reading(product) == nothing
    assert [c.number for c in await product.changes()] == [1, 2, 3, 4]


async def test_a_reason_stands_beside_a_block_and_a_pause(server_settings: ServerSettings) -> None:
    changes = [
        await server_settings.block(BY, MEMBER, reason="Spam."),
        await server_settings.pause(BY, "It is late."),
        await server_settings.resume(BY),
        await server_settings.pause(BY, "  "),
    ]
    assert [change and change.reason for change in changes] == ["Spam.", "It is late.", None, None]


async def test_limits_are_changed_one_by_one_and_the_defaults_are_no_rule(
    product: Product,
) -> None:
    server_settings = product.server_settings
    await server_settings.set_limits(BY, unfinished=5, cooldown=60)
    await server_settings.set_limits(BY, seconds=120, cooldown=0)
    assert (await reading(product)).limits == Limits(unfinished=5, seconds=120)
    assert await server_settings.set_limits(BY) is None
    assert await server_settings.set_limits(BY, unfinished=3, seconds=240) is not None
    assert await server_settings.settings_to_reset(SERVER) == []


async def test_channels_and_words_are_added_and_removed(product: Product) -> None:
    server_settings = product.server_settings
    await server_settings.set_channels(BY, [1, 2])
    await server_settings.change_channels(BY, add=[3], remove=[1, 99])
    await server_settings.change_words(BY, add="spam\neggs")
    await server_settings.change_words(BY, add="ham", remove="SPAM")
    rules = await reading(product)
    assert (rules.channels, rules.words) == ((2, 3), ("eggs", "ham"))
    await server_settings.change_words(BY, remove="eggs\nham")
    await server_settings.change_channels(BY, remove=[2, 3])
    rules = await reading(product)
    assert (rules.channels, rules.words) == ((), ())


# --- the calendar ---------------------------------------------------------------------------------


async def test_a_changed_calendar_begins_at_the_end_of_the_running_period(
    product: Product,
) -> None:
    change = await product.server_settings.set_calendar(BY, every="month", zone="Europe/Berlin")
    assert change is not None
    assert change.name == CALENDAR
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


async def test_a_calendar_that_did_not_begin_is_taken_back_and_changed_again(
    product: Product,
) -> None:
    server_settings = product.server_settings
    await server_settings.set_calendar(BY, every="week")
    second = await server_settings.set_calendar(BY, hour=5)
    assert second is not None
    assert as_value(second.after) == {"every": "week", "hour": 5, "zone": "UTC"}
    assert await server_settings.set_calendar(BY, hour=5) is None
    with pytest.raises(NotPossible, match="was changed again since"):
        await server_settings.undo(BY, 1)
    await server_settings.undo(BY, 2)
    await server_settings.undo(BY, 1)
    assert (await reading(product)).timeline.next(NOON) is None
    assert await server_settings.settings_to_reset(SERVER) == []


async def test_a_calendar_in_force_is_taken_back_from_the_end_of_its_period(
    product: Product, clock: SettableClock
) -> None:
    await product.server_settings.set_calendar(BY, every="week")
    clock.advance(days=1)
    await product.server_settings.undo(BY, 1)
    timeline = (await reading(product)).timeline
    assert timeline.at(clock()).every is Every.WEEK
    assert timeline.next(clock()) == (datetime(2026, 3, 16, tzinfo=UTC), Calendar())


# --- undoing --------------------------------------------------------------------------------------


async def test_only_what_nobody_changed_since_is_taken_back(product: Product) -> None:
    server_settings = product.server_settings
    await server_settings.set_allowance(BY, 20)
    await server_settings.set_role(BY, 21, 5)
    await server_settings.set_allowance(OTHER, 30)
    with pytest.raises(NotPossible, match="take the later change back first"):
        await server_settings.undo(BY, 1)
    await server_settings.undo(BY, 3)
    with pytest.raises(NotPossible, match="What change 3 set was changed again"):
        await server_settings.undo(BY, 3)
    await server_settings.undo(BY, 1)
    rules = await reading(product)
    assert (rules.server.credits, rules.roles) == (10, {21: 5})


@pytest.mark.parametrize("number", [0, -1, 2, 10**15])
async def test_what_was_never_done_is_not_taken_back(
    server_settings: ServerSettings, number: int
) -> None:
    await server_settings.set_allowance(BY, 20)
    with pytest.raises(NotPossible, match=f"There is no change {number} in this server"):
        await server_settings.undo(BY, number)
    with pytest.raises(NotPossible, match="There is no change 1"):
        await server_settings.undo(Manager(SERVER + 1, MANAGER), 1)


async def test_what_was_granted_is_not_taken_back_so(product: Product) -> None:
    await product.grant(4)
    with pytest.raises(NotPossible, match="`/quota take`"):
        await product.server_settings.undo(BY, 1)
    assert await product.free() == 14


async def test_taking_back_a_removal_needs_room_too(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAX_RULES, Name.ROLE, 1)
    await product.server_settings.set_role(BY, 21, 5)
    await product.server_settings.drop_role(BY, 21)
    await product.server_settings.set_role(BY, 22, 5)
    with pytest.raises(InvalidRequest, match="This server has 1 such rules"):
        await product.server_settings.undo(BY, 2)
    assert (await reading(product)).roles == {22: 5}


# --- back to the defaults -------------------------------------------------------------------------


async def test_all_settings_go_back_each_as_a_change_and_can_be_taken_back(
    product: Product,
) -> None:
    server_settings, nothing = product.server_settings, await reading(product)
    await server_settings.set_log(BY, 31)
    await server_settings.set_allowance(BY, 20)
    await server_settings.set_role(BY, 21, 5)
    await server_settings.set_calendar(BY, every="week")
    await server_settings.block(BY, MEMBER, reason="Spam.")
    decided = await reading(product)
    to_reset = await server_settings.settings_to_reset(SERVER)
    assert set(to_reset) == {
        *(("allowance", 0), ("role", 21), ("block", MEMBER), ("log", 0), (CALENDAR, 0))
    }
    assert await server_settings.reset_settings(BY) == 5
    assert await reading(product) == nothing
    assert await server_settings.settings_to_reset(SERVER) == []
    assert await server_settings.reset_settings(BY) == 0
    # The log channel hears of all that was reset.
    assert {c.log_channel_id for c in (await product.changes())[5:]} == {31}
    for number in range(6, 11):
        await server_settings.undo(BY, number)
    assert await reading(product) == decided


# --- seeing ---------------------------------------------------------------------------------------


async def test_rules_about_somebody_are_listed_by_whom(server_settings: ServerSettings) -> None:
    for role in (23, 21, 22):
        await server_settings.set_role(BY, role, role)
    assert await server_settings.about(SERVER, Name.ROLE, limit=2) == [
        *((21, {"credits": 21}), (22, {"credits": 22}))
    ]
    assert await server_settings.count(SERVER, Name.ROLE) == 3


async def test_those_whose_block_has_ended_are_not_counted(
    server_settings: ServerSettings, clock: SettableClock
) -> None:
    await server_settings.block(BY, 1, reason="Spam.")
    await server_settings.block(BY, 2, reason="Spam.", until=LATER)
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


def bad(
    *, what: Sequence[Any], decide: Callable[[ServerSettings, Any], Any], text: str
) -> list[Any]:
    return [pytest.param(decide, value, text) for value in what]


@pytest.mark.parametrize(
    ("decide", "value", "text"),
    [
        *bad(what=TOO_MUCH, decide=lambda m, n: m.set_allowance(BY, n), text="0 and 1,000,000"),
        *bad(what=TOO_MUCH, decide=lambda m, n: m.set_role(BY, 2, n), text="0 and 1,000,000"),
        *bad(what=TOO_MUCH, decide=lambda m, n: m.set_member(BY, 3, n), text="0 and 1,000,000"),
        *bad(
            what=[0, -1, MAX_BUDGET + 1, 10**30],
            decide=lambda m, n: m.set_budget(BY, n),
            text="between 1 and 1,000,000,000",
        ),
        *bad(
            what=ENDS,
            decide=lambda m, at: m.set_member(BY, 3, 1, until=at),
            text="like `7d`",
        ),
        *bad(
            what=ENDS,
            decide=lambda m, at: m.block(BY, 3, reason="Spam.", until=at),
            text="like `7d`",
        ),
        *bad(
            what=["", " ", "x" * 201],
            decide=lambda m, why: m.block(BY, 3, reason=why),
            text="give a reason of at most 200",
        ),
        *bad(
            what=["x" * 201, "\u200b"],
            decide=lambda m, why: m.pause(BY, why),
            text="give a reason of at most 200",
        ),
        *bad(
            what=[0, -1, MAX_UNFINISHED + 1, 10**30],
            decide=lambda m, n: m.set_limits(BY, unfinished=n),
            text="songs at once must be between 1 and 100",
        ),
        *bad(
            what=[9, 241, -(10**30)],
            decide=lambda m, n: m.set_limits(BY, seconds=n),
            text="longest song must be between 10 and 240",
        ),
        *bad(
            what=[9, 151],
            decide=lambda m, n: m.set_limits(BY, cooldown=5, steps=n),
            text="most steps must be between 10 and 150",
        ),
        *bad(
            what=[-1, MAX_COOLDOWN + 1],
            decide=lambda m, n: m.set_limits(BY, cooldown=n),
            text="cooldown in seconds must be between 0 and 604,800",
        ),
        *bad(
            what=[range(MAX_CHANNELS + 1)],
            decide=lambda m, ids: m.set_channels(BY, list(ids)),
            text="Those are 26 channels, 25 is the most",
        ),
        *bad(
            what=[range(MAX_CHANNELS + 1)],
            decide=lambda m, ids: m.change_channels(BY, add=ids),
            text="Those are 26 channels, 25 is the most",
        ),
        *bad(
            what=[{"zone": "Mars/Olympus"}, {"zone": ""}],
            decide=lambda m, part: m.set_calendar(BY, **part),
            text="I don't know that time zone",
        ),
        *bad(
            what=[-1, 24, 10**30],
            decide=lambda m, hour: m.set_calendar(BY, hour=hour),
            text="between 0 and 23",
        ),
        *bad(
            what=["year", ""],
            decide=lambda m, every: m.set_calendar(BY, every=every),
            text="`day`, `week` or `month`",
        ),
    ],
)
async def test_bad_input_is_refused_in_a_plain_sentence_and_changes_nothing(
    product: Product, decide: Callable[[ServerSettings, Any], Any], value: Any, text: str
) -> None:
    before = await reading(product)
    with pytest.raises(InvalidRequest) as refused:
        await decide(product.server_settings, value)
    assert text in refusal_text(refused.value)
    assert await reading(product) == before
    assert (
        await product.rows("SELECT server_id FROM settings UNION SELECT server_id FROM calendars")
        == []
    )
    assert await product.changes() == []
    assert product.told == []


@pytest.mark.parametrize(
    ("name", "decide"),
    [
        (Name.ROLE, lambda m, n: m.set_role(BY, n, 5)),
        (Name.MEMBER, lambda m, n: m.set_member(BY, n, 5)),
        (Name.BLOCK, lambda m, n: m.block(BY, n, reason="Spam.")),
    ],
)
async def test_so_many_rules_about_somebody_and_no_more(
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
    name: Name,
    decide: Callable[[ServerSettings, int], Awaitable[Change | None]],
) -> None:
    monkeypatch.setitem(MAX_RULES, name, 2)
    await decide(product.server_settings, 1)
    await decide(product.server_settings, 2)
    with pytest.raises(InvalidRequest, match="This server has 2 such rules, which is the most"):
        await decide(product.server_settings, 3)
    assert await decide(product.server_settings, 2) is None  # one that there is can be set anew
    assert len(await product.changes()) == 2


# --- what a block does to songs -------------------------------------------------------------------


async def test_a_block_cancels_and_refunds_what_the_member_has_waiting(product: Product) -> None:
    waiting, started = await product.ask(1), await product.ask(2, seconds=60)
    others = await product.ask(3, who=Member(SERVER, MEMBER + 1))
    assert await product.submit(started)
    await product.server_settings.block(BY, MEMBER, reason="Spam.")
    rows = "SELECT song_id, status, fault FROM songs ORDER BY song_id"
    assert await product.rows(rows) == [
        (waiting.song_id, "CANCELLED", "server"),
        (started.song_id, "QUEUED", None),
        (others.song_id, "QUEUED", None),
    ]
    assert product.shown == [waiting.song_id]
    assert await product.free() == 10 - started.price
    assert await product.rows("SELECT entry_id FROM ledger WHERE kind = 'refund'") == [
        (f"refund:{waiting.song_id}",)
    ]


async def test_a_block_that_comes_back_cancels_too(product: Product, clock: SettableClock) -> None:
    until = clock() + timedelta(hours=1)
    await product.server_settings.block(BY, MEMBER, reason="Spam.", until=until)
    for _ in range(2):
        await product.server_settings.unblock(BY, MEMBER)
    song = await product.ask(1)
    (_, unblocked) = await product.changes()
    undone = await product.server_settings.undo(BY, unblocked.number)
    assert product.shown == [song.song_id]
    await product.server_settings.undo(BY, undone.number)
    await product.ask(2)
    clock.advance(hours=2)  # the block that would come back is over
    again = (await product.changes())[-1]
    await product.server_settings.undo(BY, again.number)
    assert product.shown == [song.song_id]
