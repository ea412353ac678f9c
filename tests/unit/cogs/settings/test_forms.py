"""The forms of the panel: filled in with the values in force, and what becomes of what is typed."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import pytest

from cogs.settings.forms import FORMS, Typed, allowance_typed, number_typed
from services.calendar import Calendar, Every
from services.errors import InvalidRequest
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BLOCKED_WORDS,
    BUDGET,
    BY_KEY,
    CALENDAR,
    CHANNELS,
    COOLDOWN,
    LOG,
    LONGEST,
    MEMBER_ALLOWANCE,
    MOST_STEPS,
    PAUSE,
    POST_IN,
    UNFINISHED,
    Setting,
)
from services.settings.settings import Block, Override
from tests.unit.cogs.settings.layouts import buttons_in, filled_in, shown_in
from tests.unit.cogs.settings.quota import (
    NOT_ALLOWED,
    by,
    changed,
    filled,
    opened,
    refused,
    server_settings,
    settings,
    show,
)
from tests.wire.openapi import Description
from tests.world import World, said

LIMITS = {"unfinished": "1", "seconds": "60", "steps": "50", "cooldown": "30"}


def topic_of(form: str) -> str:
    return BY_KEY[form].topic if form in BY_KEY else "member"


def _as_sent(part: Any) -> Any:
    """Without the `None` of what the simulation keeps of fields in labels."""
    if isinstance(part, dict):
        return {name: _as_sent(value) for name, value in part.items() if value is not None}
    return [_as_sent(one) for one in part] if isinstance(part, list) else part


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_is_as_discord_describes_it(world: World, form: str) -> None:
    shown = await show(world)
    name = f"settings:form:{form}:0:{topic_of(form)}:1"
    modal = (await world.press(world.mona, said(shown), name)).modal
    assert modal is not None
    assert 1 <= len(modal["components"]) <= 5
    if description := Description.load():
        route = ("POST", "/interactions/{interaction_id}/{interaction_token}/callback")
        assert description.request_errors(*route, {"type": 9, "data": _as_sent(modal)}) == []


@pytest.mark.parametrize(
    ("form", "typed", "values"),
    [
        ("allowance", {"allowance": "1,500"}, {ALLOWANCE: 1_500}),
        ("allowance", {"allowance": "unlimited"}, {ALLOWANCE: None}),
        (
            "calendar",
            {"every": "week", "hour": ["6"], "zone": "europe/berlin"},
            {CALENDAR: Calendar(Every.WEEK, 6, "Europe/Berlin")},
        ),
        ("budget", {"budget": "500"}, {BUDGET: 500}),
        ("unfinished", LIMITS, {UNFINISHED: 1, LONGEST: 60, MOST_STEPS: 50, COOLDOWN: 30}),
        (
            "blocked_words",
            {"blocked_words": "badger, mush room\nsnake"},
            {BLOCKED_WORDS: ("badger", "mush room", "snake")},
        ),
    ],
)
async def test_a_form_sets_what_is_typed_and_is_filled_in_with_it(
    world: World, form: str, typed: dict[str, Any], values: dict[Setting[Any], Any]
) -> None:
    topic = topic_of(form)
    await filled(world, form, topic, **typed)
    now = await settings(world)
    assert {setting: now[setting] for setting in values} == values
    again = filled_in(await opened(world, form, topic))
    if "hour" in again:
        again["hour"] = [again["hour"]]
    await filled(world, form, topic, **again)
    assert await settings(world) == now
    assert len(await changed(world)) == len(values)


@pytest.mark.parametrize("form", ["budget", "unfinished", "blocked_words", "channels", "log"])
async def test_an_empty_form_returns_to_the_default(world: World, form: str) -> None:
    before = await settings(world)
    values = {BUDGET: 5, UNFINISHED: 1, COOLDOWN: 5, BLOCKED_WORDS: ["x"], LOG: 7, CHANNELS: [7]}
    keys = ("unfinished", "cooldown") if form == "unfinished" else (form,)
    await server_settings(world).set_all(
        by(world), {setting: value for setting, value in values.items() if setting.key in keys}
    )
    empty: Any = [] if form in ("channels", "log") else ""
    names = LIMITS if form == "unfinished" else [form]
    await filled(world, form, topic_of(form), **dict.fromkeys(names, empty))
    assert await settings(world) == before


async def test_channels_are_chosen(world: World) -> None:
    for form, setting, value in (
        ("channels", CHANNELS, (world.channel.id,)),
        ("log", LOG, world.channel.id),
        ("post_in", POST_IN, world.channel.id),
    ):
        await filled(world, form, topic_of(form), **{form: [world.channel]})
        assert (await settings(world))[setting] == value
        form_now = filled_in(await opened(world, form, topic_of(form)))
        assert form_now == {form: [world.channel.id]}


async def test_a_deleted_channel_is_not_filled_in(world: World) -> None:
    await server_settings(world).set_all(by(world), {CHANNELS: [world.channel.id, 77], LOG: 77})
    channels = filled_in(await opened(world, "channels", "limits"))
    assert channels == {"channels": [world.channel.id]}
    assert filled_in(await opened(world, "log", "more")) == {"log": []}


@pytest.mark.parametrize("form", ["channels", "log", "post_in"])
async def test_a_channel_where_the_bot_may_not_write_is_refused(world: World, form: str) -> None:
    silent = discord.PermissionOverwrite(send_messages=False)
    everyone = world.guild.default_role
    hidden = world.guild.create_text_channel("hidden", overwrites={everyone: silent})
    result = await filled(world, form, topic_of(form), **{form: [hidden]})
    assert f"<#{hidden.id}>" in refused(result)
    assert "Send Messages" in refused(result)
    assert await changed(world) == []


async def test_the_reason_of_a_pause_is_typed(world: World) -> None:
    await server_settings(world).set(by(world), PAUSE, "")
    await filled(world, "pause", "limits", pause="upkeep")
    assert filled_in(await opened(world, "pause", "limits")) == {"pause": "upkeep"}
    await filled(world, "pause", "limits", pause="")
    assert (await settings(world))[PAUSE] == ""


# --- roles and members ----------------------------------------------------------------------------


async def test_a_role_is_added_changed_and_removed(world: World) -> None:
    role = world.guild.create_role("boosters")
    form = await opened(world, "role", "roles")
    assert filled_in(form) == {"subject": [], "role": ""}
    result = await world.mona.submit_modal(form, {"subject": [role], "role": "50"})
    assert f"<@&{role.id}>\n50 credits a day" in shown_in(result)
    form = await opened(world, "role", "roles", role.id)
    assert filled_in(form) == {"role": "50", "remove": ""}
    await world.mona.submit_modal(form, {"role": "unlimited"})
    form = await opened(world, "role", "roles", role.id)
    assert filled_in(form)["role"] == "unlimited"
    await world.mona.submit_modal(form, {"role": "", "remove": True})
    assert (await settings(world)).roles == {}


async def test_the_role_of_everyone_and_a_deleted_one_are_refused(world: World) -> None:
    everyone = world.guild.default_role
    result = await filled(world, "role", "roles", subject=[everyone], role="5")
    assert "Everyone has that role" in refused(result)
    for values in (["12345"], []):
        chosen = {"type": 6, "custom_id": "subject", "values": values}
        typed = {"type": 4, "custom_id": "role", "value": "5"}
        data = {
            "custom_id": "settings:form:role:0:roles:1",
            "components": [{"type": 18, "component": field} for field in (chosen, typed)],
        }
        answered = await world.mona._dispatch_interaction(5, world.channel, data)
        assert "That role was deleted meanwhile" in said(answered).content
    assert (await settings(world)).roles == {}


async def test_a_members_allowance_keeps_an_end_that_is_left_as_it_is(world: World) -> None:
    calendar = Calendar(zone="Europe/Berlin")
    await server_settings(world).set(by(world), CALENDAR, calendar)
    world.clock.moved += timedelta(days=1)  # it counts from the next period on
    october = datetime(world.clock().year + 1, 10, 31, 1, 30, 33, tzinfo=UTC)
    until = october - timedelta(days=october.isoweekday() % 7)  # when 02:30 is for the second time
    await server_settings(world).set(
        by(world), MEMBER_ALLOWANCE, Override(5, until), world.alice.id
    )
    changes = await changed(world)
    form = await opened(world, "member", "members", world.alice.id)
    typed = filled_in(form) | {"remove": False}
    assert typed["until"] == f"{until:%Y-%m-%d} 02:30"
    await world.mona.submit_modal(form, typed)
    assert await changed(world) == changes
    form = await opened(world, "member", "members", world.alice.id)
    await world.mona.submit_modal(form, typed | {"member": "6"})
    assert (await settings(world, world.alice))[MEMBER_ALLOWANCE] == Override(6, until)
    form = await opened(world, "member", "members", world.alice.id)
    await world.mona.submit_modal(form, typed | {"until": f"{until:%Y-%m-%d} 03:30"})
    later = until.replace(second=0) + timedelta(hours=1)
    assert (await settings(world, world.alice))[MEMBER_ALLOWANCE] == Override(5, later)


async def test_a_members_allowance_is_removed(world: World) -> None:
    typed = {"subject": [world.alice], "member": "50", "until": "2 days"}
    await filled(world, "member", "members", **typed)
    form = await opened(world, "member", "members", world.alice.id)
    await world.mona.submit_modal(form, {"member": "6", "remove": True})
    assert (await settings(world, world.alice))[MEMBER_ALLOWANCE] is None


async def test_a_member_is_blocked(world: World) -> None:
    result = await filled(world, "block", "blocked", subject=[world.bob], block="was loud")
    assert (await settings(world, world.bob))[BLOCK] == Block("was loud")
    result = await world.mona.click(said(result), label="Unblock")
    assert (await settings(world, world.bob))[BLOCK] is None


# --- below a member's credits ---------------------------------------------------------------------


async def of_alice(world: World, label: str, **typed: Any) -> Any:
    """Send the form that a button below alice's credits opens."""
    form = await world.mona.click(said(await show(world, world.alice)), label=label)
    return await world.mona.submit_modal(form, typed)


async def test_a_members_credits_are_shown_again_after_each_form(world: World) -> None:
    result = await of_alice(world, "Grant", amount="5", reason="for winning", expires="7d")
    assert "**15 credits** to spend now." in shown_in(result)
    await world.again()
    assert await world.free() == 15
    world.foreseen = [e for e in world.errors() if not isinstance(e, AssertionError)]
    result = await of_alice(world, "Take", amount="500", reason="misuse")
    assert "**0 credits** to spend now." in shown_in(result)
    result = await of_alice(world, "Own allowance", member="99")
    assert "99 credits a day" in shown_in(result)
    result = await of_alice(world, "Block", block="was loud", until="3d")
    assert re.search(r"\*\*Blocked until <t:\d+:f>\*\*: was loud", shown_in(result))
    result = await world.mona.click(said(result), label="Unblock")
    assert "Block" in buttons_in(said(result).components)


@pytest.mark.parametrize(
    ("label", "typed"),
    [
        ("Own allowance", {"member": "a lot"}),
        ("Own allowance", {"member": "5", "until": "someday"}),
        ("Own allowance", {"member": "5", "until": "2020-01-01"}),
        ("Block", {"block": "   "}),
        ("Block", {"block": "why", "until": "100 years"}),
        ("Grant", {"amount": "0", "reason": "why"}),
        ("Grant", {"amount": "x", "reason": "why"}),
        ("Grant", {"amount": "5", "reason": " "}),
        ("Grant", {"amount": "5", "reason": "why", "expires": "yesterday"}),
        ("Take", {"amount": "1.5", "reason": "why"}),
    ],
)
async def test_a_refused_form_about_a_member_changes_nothing(
    world: World, label: str, typed: dict[str, Any]
) -> None:
    assert refused(await of_alice(world, label, **typed))
    assert await changed(world) == []
    assert await world.free() == 10


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "typed"),
    [
        ("allowance", {"allowance": "many"}),
        ("allowance", {"allowance": "1000001"}),
        ("allowance", {"allowance": "-5"}),
        ("calendar", {"every": "day", "hour": ["0"], "zone": "Mars/Olympus"}),
        ("budget", {"budget": "0"}),
        ("unfinished", LIMITS | {"seconds": "5"}),
        ("unfinished", LIMITS | {"steps": "x"}),
    ],
)
async def test_a_refused_form_changes_nothing(
    world: World, form: str, typed: dict[str, Any]
) -> None:
    assert refused(await filled(world, form, topic_of(form), **typed))
    assert await changed(world) == []


async def test_a_refused_list_of_words_comes_back_as_a_file(world: World) -> None:
    listed = "\n".join(f"word {number}" for number in range(400)) + "\n" + "x" * 61
    result = await filled(world, "blocked_words", "limits", blocked_words=listed)
    (text,) = result.followups
    assert text.ephemeral
    assert world.file(text).decode() == listed
    assert await changed(world) == []


async def test_a_form_outlives_a_restart_while_it_is_being_typed(world: World) -> None:
    form = await opened(world, "allowance", "credits")
    await world.restart()
    result = await world.mona.submit_modal(form, {"allowance": "25"})
    assert "25 credits a day" in shown_in(result)


@pytest.mark.parametrize("form", [*FORMS, "nosuch"])
async def test_only_managers_send_forms(world: World, form: str) -> None:
    names = {"amount", "reason", "zone", *BY_KEY}
    data = {
        "custom_id": f"settings:form:{form}:{world.alice.id}:credits:1",
        "components": [
            {"type": 18, "component": {"type": 4, "custom_id": name, "value": "30"}}
            for name in names
        ],
    }
    result = await world.alice._dispatch_interaction(5, world.channel, data)
    assert said(result).content == NOT_ALLOWED
    assert await changed(world) == []
    if form in ("allowance", "nosuch"):  # without a message, the panel is sent; or that it expired
        result = await world.mona._dispatch_interaction(5, world.channel, data)
        assert said(result).ephemeral
        assert len(await changed(world)) == (form == "allowance")


# --- what was typed -------------------------------------------------------------------------------


def sent(*fields: dict[str, Any], **data: Any) -> Typed:
    labels = [{"type": 18, "component": field} for field in fields]
    return Typed.of({"custom_id": "settings:form", "components": labels, **data})


def test_typed_fields_are_found_in_labels_and_in_rows() -> None:
    row = {"type": 1, "components": [{"type": 4, "custom_id": "old", "value": "way"}]}
    label = {"type": 18, "component": {"type": 4, "custom_id": "new", "value": " way "}}
    typed = Typed.of({"components": [row, {"type": 10}, label]})
    assert (typed.text("old"), typed.text("new"), typed.text("absent")) == ("way", "way", "")


def test_only_ids_count_as_chosen_and_no_bot() -> None:
    typed = sent(
        {"custom_id": "roles", "values": ["12", "x", "9" * 30, "-1", 34]},
        {"custom_id": "box", "value": True},
        {"custom_id": "bot", "values": ["5"]},
        resolved={"users": {"5": {"bot": True}, "6": {}}},
    )
    assert typed.ids("roles") == [12, 34]
    assert typed.ids("box") == typed.ids("absent") == []
    assert typed.member_id("roles") == 12
    for field in ("bot", "box"):
        with pytest.raises(InvalidRequest):
            typed.member_id(field)


@pytest.mark.parametrize(
    ("text", "number"),
    [("20", 20), ("007", 7), ("1,000", 1_000), ("1 000 000", 1_000_000), ("1.000", 1_000)],
)
def test_whole_numbers_may_have_marks_between_thousands(text: str, number: int) -> None:
    assert number_typed("the amount", text) == allowance_typed(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "1,00", "1e3", "9" * 21, "\u00b2"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        number_typed("the amount", text)
    with pytest.raises(InvalidRequest):
        allowance_typed(text)


@pytest.mark.parametrize("text", ["unlimited", "Unlimited", "NO LIMIT", "\N{INFINITY}"])
def test_an_allowance_may_be_unlimited(text: str) -> None:
    assert allowance_typed(text) is None
