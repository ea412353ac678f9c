"""The panel: its pages, within Discord's limits, and its buttons, by managers and by others."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import simcord

from cogs.settings.channels import GONE
from cogs.settings.components import ACTS
from cogs.settings.forms import FORMS
from cogs.settings.panel import ROWS_SHOWN, PanelData, PanelPage, panel
from services.calendar import Calendar, Every, Timeline
from services.settings import kinds
from services.settings.blocked_words import MAX_WORD, MAX_WORDS
from services.settings.catalogue import (
    BLOCK,
    BUDGET,
    CALENDAR,
    CATALOGUE,
    GIFTS,
    LEADERBOARD,
    LOG,
    MEMBER_ALLOWANCE,
    PAUSE,
    POST_IN,
    ROLE_ALLOWANCE,
    Setting,
    Topic,
)
from services.settings.reader import Settings
from services.settings.server_settings import ServerSettings
from services.settings.settings import Block, Override
from tests.factories import NOON
from tests.unit.cogs.settings.layouts import (
    buttons_in,
    check_limits,
    parts,
    sent_by,
    shown_in,
    text_in,
)
from tests.unit.cogs.settings.quota import NOT_ALLOWED, by, changed, server_settings, settings, show
from tests.unit.cogs.songs.test_announcer import until
from tests.world import World, said

LONG_ID = 9_223_372_036_854_775_807
UNTIL = NOON + timedelta(days=3)
WEEK = Calendar(Every.WEEK, 23, "America/Argentina/ComodRivadavia")


def longest(setting: Setting[Any]) -> Any:
    """A value that takes as many characters as it can."""
    match setting.kind:
        case kinds.Number() as kind:
            return kind.high
        case kinds.Credits():
            return 1_000_000
        case kinds.Toggle():
            return True
        case kinds.Reason():
            return "*" * 200
        case kinds.Channel():
            return LONG_ID
        case kinds.Channels() as kind:
            return tuple(LONG_ID - number for number in range(kind.most))
        case kinds.Words():
            return ("*" * MAX_WORD,) * MAX_WORDS
        case kinds.CreditsUntil():
            return Override(1_000_000, UNTIL)
        case kinds.BlockUntil():
            return Block("*" * 200, UNTIL)
    return WEEK


def data(values: dict[Setting[Any], Any] | None = None, **fields: Any) -> PanelData:
    timeline = fields.pop("timeline", Timeline())
    return PanelData(Settings(values or {}, timeline=timeline), NOON, **fields)


def extreme(topic: Topic) -> PanelData:
    about = {Topic.ROLES: ROLE_ALLOWANCE, Topic.BLOCKED: BLOCK}.get(topic, MEMBER_ALLOWANCE)
    return data(
        {setting: longest(setting) for setting in CATALOGUE},
        timeline=Timeline(((UNTIL, WEEK),)),
        used=999_999_999,
        rows=[(LONG_ID - number, longest(about)) for number in range(ROWS_SHOWN)],
        count=1_000,
        living=frozenset(),
        obstacles={LOG: "I lack View Channel, Send Messages, Embed Links there"},
    )


@pytest.mark.parametrize("topic", Topic)
@pytest.mark.parametrize("number", [1, 2, 1_000_000])
async def test_every_page_is_within_discords_limits(topic: Topic, number: int) -> None:
    check_limits(panel(data(), PanelPage(topic, number)))
    check_limits(panel(extreme(topic), PanelPage(topic, number)))


async def text(topic: Topic, number: int = 1, **fields: Any) -> str:
    return text_in(sent_by(panel(data(**fields), PanelPage(topic, number))))


async def buttons(topic: Topic, number: int = 1, **fields: Any) -> dict[str, str]:
    return buttons_in(sent_by(panel(data(**fields), PanelPage(topic, number))))


async def test_the_budget_is_a_bar_of_what_is_used() -> None:
    shown = await text(Topic.CREDITS, values={BUDGET: 100}, used=50)
    assert f"100 credits a day\n{chr(0x25B0) * 6}{chr(0x25B1) * 6} 50 used in this" in shown


async def test_a_calendar_to_come_is_shown_with_its_moment() -> None:
    calendar = Calendar(Every.MONTH, 6, "Europe/Berlin")
    timeline = Timeline(((UNTIL, calendar),))
    shown = await text(Topic.CREDITS, values={CALENDAR: calendar}, timeline=timeline)
    assert "Every day at 00:00, UTC" in shown
    when = f"<t:{int(UNTIL.timestamp())}:f>"
    assert f"From {when}: Every month, on the 1st at 06:00, Europe/Berlin" in shown


async def test_a_log_channel_that_cannot_be_used_is_shown_as_such() -> None:
    fields: dict[str, Any] = {"values": {LOG: 7}, "obstacles": {LOG: "I lack Embed Links there"}}
    assert "I can't post there" in await text(Topic.MORE, **fields)
    fields |= {"obstacles": {LOG: GONE, POST_IN: GONE}}
    assert "deleted**, so changes are posted nowhere" in await text(Topic.MORE, **fields)
    assert "deleted**, so songs are posted where they are" in await text(Topic.LIMITS, **fields)
    assert "Set a log channel" in await text(Topic.CREDITS, **fields)
    assert "Set a log channel" not in await text(Topic.CREDITS, values={LOG: 7})


async def test_a_deleted_role_can_only_be_removed() -> None:
    rows = [(7, 50)]
    found = await buttons(Topic.ROLES, rows=rows, count=1, living=frozenset({8}))
    assert found["Remove"] == "settings:act:reset:role:7:roles:1"
    assert "Edit" not in found
    assert "Edit" in await buttons(Topic.ROLES, rows=rows, count=1, living=None)


@pytest.mark.parametrize("topic", [Topic.ROLES, Topic.MEMBERS, Topic.BLOCKED])
async def test_neighbouring_pages_can_be_turned_to(topic: Topic) -> None:
    count = 2 * ROWS_SHOWN + 1
    assert "Back" not in await buttons(topic, 1, count=count)
    middle = await buttons(topic, 2, count=count)
    assert middle["Back"] == f"settings:turn:{topic}:1"
    assert middle["Next"] == f"settings:turn:{topic}:3"
    assert "Next" not in await buttons(topic, 3, count=count)
    assert "Next" not in await buttons(topic, 1, count=ROWS_SHOWN)


@pytest.mark.parametrize(
    ("until", "shown"), [(UNTIL, "unlimited until <t:"), (NOON - timedelta(days=1), "(ended <t:")]
)
async def test_an_end_is_shown(until: datetime, shown: str) -> None:
    fields: dict[str, Any] = {"rows": [(5, Override(None, until))], "count": 1}
    assert shown in await text(Topic.MEMBERS, **fields)


# --- buttons --------------------------------------------------------------------------------------


async def pressed(world: World, *labels: str) -> simcord.InteractionResult:
    """Open the panel and press one button after another."""
    result = await show(world)
    for label in labels:
        result = await world.mona.click(said(result), label=label)
    return result


async def test_each_tab_opens_its_page_in_place(world: World) -> None:
    shown = await show(world)
    assert said(shown).ephemeral
    for tab in ("Roles", "Members", "Limits", "More", "Credits"):
        result = await world.mona.click(said(shown), label=tab)
        assert said(result).id == said(shown).id
        assert f"## {tab}" in shown_in(result)


@pytest.mark.parametrize(("slow", "replies"), [(False, ["update"]), (True, ["defer", "edit"])])
async def test_a_page_is_shown_in_one_call_unless_the_database_is_slow(
    world: World, monkeypatch: pytest.MonkeyPatch, slow: bool, replies: list[str]
) -> None:
    """Discord waits 3 s for the first reply; it limits edits, but not that reply."""
    shown = await show(world)
    read, requests = ServerSettings.read, world.env.http_requests
    before = len(requests)

    async def read_slowly(*args: Any) -> Settings:
        await until(lambda: not slow or len(requests) > before)
        return await read(*args)

    monkeypatch.setattr(ServerSettings, "read", read_slowly)
    monkeypatch.setattr("cogs.settings.components.SHOWN_AT_ONCE_WITHIN", 0.01 if slow else 60)
    result = await world.mona.click(said(shown), label="More")
    names = {6: "defer", 7: "update", None: "edit"}
    assert [names[(sent.json or {}).get("type")] for sent in requests[before:]] == replies
    assert "## More" in shown_in(result)


async def test_songs_are_paused_and_resumed_at_once(world: World) -> None:
    result = await pressed(world, "Limits", "Pause")
    assert (await settings(world))[PAUSE] == ""
    await world.mona.click(said(result), label="Resume")
    assert (await settings(world))[PAUSE] is None


@pytest.mark.parametrize("setting", [GIFTS, LEADERBOARD])
async def test_toggles_change_at_once_and_a_second_press_nothing(
    world: World, setting: Setting[bool]
) -> None:
    shown = await pressed(world, "More")
    for act, value in (("on", True), ("reset", False)):
        for _ in range(2):
            name = f"settings:act:{act}:{setting.key}:0:more:1"
            await world.press(world.mona, said(shown), name)
        assert (await settings(world))[setting] is value
    assert len(await changed(world)) == 2


async def test_pages_are_turned_and_stay_after_a_change(world: World) -> None:
    for member_id in range(1, 17):
        await server_settings(world).set(by(world), BLOCK, Block(f"reason {member_id}"), member_id)
    result = await pressed(world, "Limits", "Show", "Next", "Next")
    assert "reason 15" in shown_in(result)
    first = [p["custom_id"] for p in parts(said(result).components) if p.get("label") == "Unblock"]
    result = await world.mona.click(said(result), custom_id=first[0])
    assert "reason 15" not in shown_in(result)
    result = await world.mona.click(said(result), label="Unblock")
    assert "reason 14" in shown_in(result)  # the last page is gone
    result = await world.mona.click(said(result), label="Back")
    assert "reason 1" in shown_in(result)


async def test_roles_are_listed_with_the_highest_first(world: World) -> None:
    for role_id, credits in ((1, 5), (2, None), (3, 50)):
        await server_settings(world).set(by(world), ROLE_ALLOWANCE, credits, role_id)
    result = await pressed(world, "Roles")
    removals = [
        p["custom_id"] for p in parts(said(result).components) if p.get("label") == "Remove"
    ]
    assert [name.split(":")[4] for name in removals] == ["2", "3", "1"]


async def test_a_members_credits_are_explained(world: World) -> None:
    result = await pressed(world, "Members")
    result = await world.mona.select(said(result), [world.alice], custom_id="settings:member")
    assert f"Credits of <@{world.alice.id}>" in shown_in(result)
    result = await world.mona.click(said(result), label="All settings")
    assert "## Credits\n" in shown_in(result)
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    shown = await pressed(world, "Members")
    result = await world.mona.select(said(shown), [robot], custom_id="settings:member")
    assert "Bots make no songs" in said(result).content


async def test_every_button_outlives_a_restart(world: World) -> None:
    shown = await show(world)
    await world.restart()
    result = await world.mona.click(said(shown), label="More")
    await world.restart()
    result = await world.mona.click(said(result), custom_id="settings:act:on:gifts:0:more:1")
    assert (await settings(world))[GIFTS]
    await world.restart()
    form = await world.mona.click(said(result), custom_id="settings:form:log:0:more:1")
    assert form.modal is not None


@pytest.mark.parametrize(
    "name",
    [
        *(f"settings:act:{act}:{key}:12345:more:1" for act, key in ACTS),
        *(f"settings:form:{form}:0:more:1" for form in FORMS),
        "settings:tab:more:1",
        "settings:turn:members:3",
        "settings:turn:member:77",
    ],
)
async def test_members_cannot_use_a_button(world: World, name: str) -> None:
    await server_settings(world).set(by(world), ROLE_ALLOWANCE, 50, 12_345)
    await server_settings(world).set_all(by(world), {PAUSE: "", GIFTS: True})
    before = await settings(world)
    result = await world.press(world.alice, said(await show(world)), name)
    assert said(result).content == NOT_ALLOWED
    assert said(result).ephemeral
    assert result.modal is None
    assert await settings(world) == before


@pytest.mark.parametrize(
    "name",
    [
        "settings:act:on:nosuch:0:more:1",
        "settings:act:on:channels:0:more:1",
        "settings:form:nosuch:0:more:1",
    ],
)
async def test_a_button_of_an_older_version_has_expired(world: World, name: str) -> None:
    result = await world.press(world.mona, said(await show(world)), name)
    assert "has expired" in said(result).content


async def test_every_button_of_every_page_is_answered(world: World) -> None:
    await server_settings(world).set(by(world), ROLE_ALLOWANCE, 50, 12_345)
    await server_settings(world).set(by(world), MEMBER_ALLOWANCE, Override(50), world.alice.id)
    for tab in ("Credits", "Roles", "Members", "Limits", "More"):
        labels = [] if tab == "Credits" else [tab]
        for label, name in buttons_in(said(await pressed(world, *labels)).components).items():
            result = await world.press(world.mona, said(await pressed(world, *labels)), name)
            answered = result.modal or result.response
            assert answered, f"{tab}: {label}"
            assert not result.followups
