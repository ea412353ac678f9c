"""The forms about one role or one member."""

import re
from datetime import timedelta
from typing import Any

import pytest
import simcord

from cogs.settings.places import Page
from services.settings.settings import Name, Rules, Source
from tests.unit.cogs.settings.layouts import buttons_in, filled_in, shown_in
from tests.unit.cogs.settings.test_settings_forms import opened, refused
from tests.unit.cogs.settings.test_show import by, server_settings, show
from tests.world import World, said


async def about_alice(world: World) -> Rules:
    return await world.client.services.credits.rules(world.guild.id, world.alice.id)


async def of_alice(world: World, label: str) -> simcord.InteractionResult:
    """The form that a button below alice's credits opens."""
    return await world.mona.click(said(await show(world, world.alice)), label=label)


async def sent(
    world: World, form: simcord.InteractionResult, **typed: Any
) -> simcord.InteractionResult:
    return await world.mona.submit_modal(form, typed)


# --- roles ----------------------------------------------------------------------------------------


async def test_a_role_is_added_changed_and_removed(world: World) -> None:
    role = world.guild.create_role("boosters")
    form = await opened(world, "role", Page.ROLES)
    assert filled_in(form) == {"role": [], "credits": ""}
    result = await sent(world, form, role=[role], credits="50")
    assert f"<@&{role.id}>\n50 credits a day" in shown_in(result)
    form = await opened(world, "role", Page.ROLES, role.id)
    assert filled_in(form) == {"credits": "50", "remove": ""}
    result = await sent(world, form, credits="unlimited")
    assert f"<@&{role.id}>\nUnlimited" in shown_in(result)
    form = await opened(world, "role", Page.ROLES, role.id)
    assert filled_in(form)["credits"] == "unlimited"
    result = await sent(world, form, credits="", remove=True)
    assert "No role has an allowance of its own." in shown_in(result)


async def test_the_role_of_everyone_is_no_role_to_add(world: World) -> None:
    form = await opened(world, "role", Page.ROLES)
    result = await sent(world, form, role=[world.guild.default_role], credits="5")
    assert "Everyone has that role" in refused(result)


async def test_a_role_deleted_meanwhile_is_refused(world: World) -> None:
    chosen = {"type": 6, "custom_id": "role", "values": ["12345"]}
    typed = {"type": 4, "custom_id": "credits", "value": "5"}
    data = {
        "custom_id": "settings:form:role:0:roles:1",
        "components": [{"type": 18, "component": field} for field in (chosen, typed)],
    }
    answered = await world.mona._dispatch_interaction(5, world.channel, data)
    assert "That role was deleted meanwhile" in said(answered).content
    assert (await server_settings(world).rules(world.guild.id)).roles == {}


async def test_no_role_at_all_is_refused(world: World) -> None:
    data = {"custom_id": "settings:form:role:0:roles:1", "components": []}
    answered = await world.mona._dispatch_interaction(5, world.channel, data)
    assert "That role was deleted meanwhile" in said(answered).content


# --- a member's own allowance ---------------------------------------------------------------------


async def test_a_member_is_added_from_the_settings(world: World) -> None:
    form = await opened(world, "member", Page.MEMBERS)
    assert filled_in(form) == {"member": [], "credits": "", "until": ""}
    result = await sent(world, form, member=[world.alice], credits="50", until="2 days")
    assert re.search(rf"<@{world.alice.id}>\n50 credits a day, until <t:", shown_in(result))
    own = (await about_alice(world)).member
    assert own is not None
    assert own.until is not None
    assert abs(own.until - world.clock() - timedelta(days=2)) < timedelta(seconds=10)


async def test_what_was_filled_in_stays_to_the_second(world: World) -> None:
    until = world.clock().replace(microsecond=0) + timedelta(days=2, seconds=33)
    await server_settings(world).set_member(by(world), world.alice.id, 5, until=until)
    form = await opened(world, "member", Page.MEMBERS, world.alice.id)
    filled = filled_in(form)
    assert filled["until"] == f"{until:%Y-%m-%d %H:%M}"
    result = await sent(world, form, credits="6", until=filled["until"])
    own = (await about_alice(world)).member
    assert own is not None
    assert (own.credits, own.until) == (6, until)
    form = await opened(world, "member", Page.MEMBERS, world.alice.id)
    result = await sent(world, form, credits="6", until="")
    assert f"<@{world.alice.id}>\n6 credits a day\n" in f"{shown_in(result)}\n"
    form = await opened(world, "member", Page.MEMBERS, world.alice.id)
    result = await sent(world, form, credits="6", remove=True)
    assert "No member has an allowance of their own." in shown_in(result)


async def test_an_end_that_is_over_is_to_be_typed_anew(world: World) -> None:
    until = world.clock() + timedelta(hours=1)
    await server_settings(world).set_member(by(world), world.alice.id, 5, until=until)
    world.clock.moved += timedelta(hours=2)
    form = await opened(world, "member", Page.MEMBERS, world.alice.id)
    result = await sent(world, form, credits="6", until=filled_in(form)["until"])
    assert "has passed" in refused(result)


async def test_the_members_explanation_is_shown_anew(world: World) -> None:
    result = await sent(world, await of_alice(world, "Own allowance"), credits="99")
    assert "99 credits a day: an allowance of their own." in shown_in(result)
    assert (await about_alice(world)).allowance_of((), at=world.clock()).source is Source.MEMBER


async def test_a_bot_gets_no_allowance(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    form = await opened(world, "member", Page.MEMBERS)
    result = await sent(world, form, member=[robot], credits="5")
    assert refused(result) == "Bots make no songs: please choose a member."


# --- blocks ---------------------------------------------------------------------------------------


async def test_a_member_is_blocked_and_unblocked(world: World) -> None:
    form = await of_alice(world, "Block")
    result = await sent(world, form, reason="was loud", until="3d")
    assert re.search(r"\*\*Blocked until <t:\d+:f>\*\*: was loud", shown_in(result))
    assert "Unblock" in buttons_in(said(result).components)
    result = await world.mona.click(said(result), label="Unblock")
    assert "Not blocked." in shown_in(result)


async def test_a_member_is_blocked_from_the_settings(world: World) -> None:
    shown = await show(world)
    await world.mona.click(said(shown), label="Limits")
    await world.mona.click(said(shown), label="Show")
    form = await world.mona.click(said(shown), label="Block a member")
    result = await sent(world, form, member=[world.bob], reason="was loud")
    assert f"<@{world.bob.id}>\nwas loud" in shown_in(result)
    result = await world.mona.click(said(result), label="Unblock")
    assert "Nobody is blocked." in shown_in(result)
    assert await server_settings(world).about(world.guild.id, Name.BLOCK, limit=5) == []


# --- giving and taking ----------------------------------------------------------------------------


async def test_a_grant_that_expires_is_shown_at_once(world: World) -> None:
    form = await of_alice(world, "Grant")
    result = await sent(world, form, amount="5", reason="for winning", expires="7d")
    told = shown_in(result)
    assert "**15 credits** to spend now." in told
    assert re.search(r"`5` granted by <@\d+>: for winning . expires <t:\d+:R>", told)


async def test_a_grant_that_is_delivered_twice_is_given_once(world: World) -> None:
    await sent(world, await of_alice(world, "Grant"), amount="5", reason="for winning")
    await world.again()
    assert await world.free() == 15
    world.foreseen = [e for e in world.errors() if not isinstance(e, AssertionError)]


async def test_taking_stops_at_what_is_there(world: World) -> None:
    await world.song(seconds=60)
    result = await sent(world, await of_alice(world, "Take"), amount="500", reason="misuse")
    assert "**0 credits** to spend now." in shown_in(result)
    assert "Held for songs under way: 2 credits" in shown_in(result)


# --- typed wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "typed", "sentence"),
    [
        ("Own allowance", {"credits": "a lot"}, "Please type the credits as a whole number"),
        ("Own allowance", {"credits": "5", "until": "someday"}, "I can't read that time."),
        ("Own allowance", {"credits": "5", "until": "2020-01-01"}, "That time has passed"),
        ("Block", {"reason": "   "}, "Please give a reason"),
        ("Block", {"reason": "why", "until": "100 years"}, "more than ten years away"),
        ("Grant", {"amount": "0", "reason": "why"}, "must be between 1 and 1,000,000."),
        ("Grant", {"amount": "x", "reason": "why"}, "Please type the credits as a whole number"),
        ("Grant", {"amount": "5", "reason": " "}, "Please give a reason"),
        ("Grant", {"amount": "5", "reason": "why", "expires": "yesterday"}, "read that time"),
        ("Take", {"amount": "1.5", "reason": "why"}, "Please type the credits as a whole number"),
    ],
)
async def test_what_is_typed_wrong_is_said_and_changes_nothing(
    world: World, label: str, typed: dict[str, Any], sentence: str
) -> None:
    before = await about_alice(world)
    result = await sent(world, await of_alice(world, label), **typed)
    assert sentence in refused(result)
    assert await about_alice(world) == before
    assert await world.free() == 10


# --- later, and by others -------------------------------------------------------------------------


async def test_the_buttons_of_a_member_outlive_a_restart(world: World) -> None:
    shown = await show(world, world.alice)
    await world.restart()
    form = await world.mona.click(said(shown), label="Grant")
    await world.restart()
    result = await sent(world, form, amount="5", reason="patience")
    assert "**15 credits** to spend now." in shown_in(result)


@pytest.mark.parametrize("form", ["role", "member", "block", "grant", "take"])
async def test_who_does_not_manage_neither_opens_nor_sends_a_form(world: World, form: str) -> None:
    name = f"settings:form:{form}:{world.alice.id}:member:{world.alice.id}"
    shown = await show(world, world.alice)
    opening = await world.press(world.alice, said(shown), name)
    assert opening.modal is None
    assert "Only those with the Manage Server permission" in said(opening).content
    fields = [("credits", "500"), ("amount", "500"), ("reason", "why")]
    typed = [{"type": 4, "custom_id": field, "value": value} for field, value in fields]
    data = {"custom_id": name, "components": [{"type": 18, "component": one} for one in typed]}
    sending = await world.alice._dispatch_interaction(5, world.channel, data)
    assert "Only those with the Manage Server permission" in said(sending).content
    assert (await about_alice(world)).member is None
    assert await world.free() == 10
