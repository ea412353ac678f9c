"""The buttons of the settings, by managers, by others and after a restart."""

from typing import Any

import pytest
import simcord
from simcord.backend import serializers

from cogs.settings.settings_buttons import ACTS, FORMS
from services.settings.settings import Rules
from tests.unit.cogs.settings.layouts import buttons_in, parts, shown_in
from tests.unit.cogs.settings.test_show import NOT_ALLOWED, by, server_settings, show
from tests.world import World, said


async def rules(world: World) -> Rules:
    return await server_settings(world).rules(world.guild.id)


async def pressed(world: World, *labels: str) -> simcord.InteractionResult:
    """Open the settings and press one button after another."""
    result = await show(world)
    for label in labels:
        result = await world.mona.click(said(result), label=label)
    return result


@pytest.mark.parametrize(
    ("tab", "heading"),
    [
        ("Roles", "## Roles"),
        ("Members", "## Members"),
        ("Limits", "## Limits"),
        ("More", "## More"),
    ],
)
async def test_each_tab_opens_its_page_in_place(world: World, tab: str, heading: str) -> None:
    shown = await show(world)
    result = await world.mona.click(said(shown), label=tab)
    assert said(result).id == said(shown).id
    assert heading in shown_in(result)
    assert "## Credits" in shown_in(await world.mona.click(said(result), label="Credits"))


async def test_songs_are_paused_and_resumed_at_once(world: World) -> None:
    result = await pressed(world, "Limits", "Pause")
    assert "**New songs**\n**Paused**\n" in shown_in(result)
    assert (await rules(world)).pause == ""
    result = await world.mona.click(said(result), label="Resume")
    assert "**New songs**\nAllowed\n" in shown_in(result)
    assert (await rules(world)).pause is None


async def test_gifts_and_the_leaderboard_are_toggled_at_once(world: World) -> None:
    shown = await pressed(world, "More")
    for name in ("gifts", "leaderboard"):
        result = await world.mona.click(said(shown), custom_id=f"settings:act:{name}:0:more:1")
        assert getattr(await rules(world), name) is True
        assert f"**{name.capitalize()}**\nAllowed" in shown_in(result)
        result = await world.mona.click(said(shown), custom_id=f"settings:act:no-{name}:0:more:1")
        assert getattr(await rules(world), name) is False
        assert f"**{name.capitalize()}**\nNot allowed (the default)" in shown_in(result)


async def test_a_second_press_on_what_was_shown_before_changes_nothing(world: World) -> None:
    shown = await pressed(world, "More")
    for _ in range(2):
        await world.press(world.mona, said(shown), "settings:act:gifts:0:more:1")
    assert (await rules(world)).gifts
    history = await world.client.services.changelog.history(world.guild.id, page=1)
    assert len(history.changes) == 1


async def test_the_rule_of_a_deleted_role_is_removed(world: World) -> None:
    await server_settings(world).set_role(by(world), 12_345, 50)
    result = await pressed(world, "Roles")
    assert "A role that was deleted" in shown_in(result)
    result = await world.mona.click(said(result), label="Remove")
    assert "No role has an allowance of its own." in shown_in(result)
    assert (await rules(world)).roles == {}


async def test_pages_are_turned_and_kept_after_a_change(world: World) -> None:
    for member_id in range(1, 17):
        await server_settings(world).block(by(world), member_id, reason=f"reason {member_id}")
    result = await pressed(world, "Limits", "Show", "Next", "Next")
    assert "reason 15" in shown_in(result)
    ids = [name for name in _ids(result) if ":unblock:" in name]
    result = await world.mona.click(said(result), custom_id=ids[0])
    assert "reason 15" not in shown_in(result)
    assert "reason 16" in shown_in(result)
    result = await world.mona.click(said(result), label="Unblock")
    assert "reason 14" in shown_in(result)  # the last page is gone
    assert "reason 8\n" in shown_in(result) + "\n"
    result = await world.mona.click(said(result), label="Back")
    assert "reason 1\n" in shown_in(result)


def _ids(result: simcord.InteractionResult) -> list[str]:
    return [part["custom_id"] for part in parts(said(result).components) if "custom_id" in part]


async def test_a_member_is_looked_up(world: World) -> None:
    result = await pressed(world, "Members")
    result = await world.mona.select(said(result), [world.alice], custom_id="settings:member")
    assert f"Credits of <@{world.alice.id}>" in shown_in(result)
    result = await world.mona.click(said(result), label="All settings")
    assert "## Credits\nHow many" in shown_in(result)


async def test_a_bot_that_is_looked_up_has_no_credits(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    shown = await pressed(world, "Members")
    result = await world.mona.select(said(shown), [robot], custom_id="settings:member")
    assert said(result).content == "Bots make no songs: please choose a member."
    assert said(result).id != said(shown).id


# --- later, and by others -------------------------------------------------------------------------


async def test_every_button_outlives_a_restart(world: World) -> None:
    shown = await show(world)
    await world.restart()
    result = await world.mona.click(said(shown), label="More")
    await world.restart()
    result = await world.mona.click(said(result), custom_id="settings:act:gifts:0:more:1")
    assert (await rules(world)).gifts
    await world.restart()
    form = await world.mona.click(said(result), custom_id="settings:form:log:0:more:1")
    assert form.modal is not None


@pytest.mark.parametrize(
    "name",
    [
        *(f"settings:act:{act}:12345:more:1" for act in ACTS),
        *(f"settings:form:{form}:0:more:1" for form in FORMS),
        "settings:tab:more:1",
        "settings:turn:members:3",
    ],
)
async def test_who_does_not_manage_presses_in_vain(world: World, name: str) -> None:
    await server_settings(world).set_role(by(world), 12_345, 50)
    await server_settings(world).pause(by(world))
    await server_settings(world).set_gifts(by(world), allowed=True)
    before = await rules(world)
    result = await world.press(world.alice, said(await show(world)), name)
    assert said(result).content == NOT_ALLOWED
    assert said(result).ephemeral
    assert result.modal is None
    assert await rules(world) == before


async def test_who_does_not_manage_looks_nobody_up(world: World) -> None:
    data: dict[str, Any] = {"values": [str(world.bob.id)]}
    shown = await pressed(world, "Members")
    stored = world.env.backend.get_message(said(shown).channel_id, said(shown).id)
    message = dict(serializers.message_payload(world.env.backend, stored))
    result = await world.alice._dispatch_interaction(
        3,
        world.channel,
        {"custom_id": "settings:member", "component_type": 5, **data},
        extra={"message": message},
        source_message_id=stored.id,
    )
    assert said(result).content == NOT_ALLOWED


@pytest.mark.parametrize("name", ["settings:act:nosuch:0:more:1", "settings:form:nosuch:0:more:1"])
async def test_a_button_of_an_older_version_is_said_to_be_one(world: World, name: str) -> None:
    result = await world.press(world.mona, said(await show(world)), name)
    assert "please open `/quota show` again" in said(result).content


async def test_every_button_of_every_page_is_answered(world: World) -> None:
    await server_settings(world).set_role(by(world), 12_345, 50)
    await server_settings(world).set_member(by(world), world.alice.id, 50)
    for tab in ("Credits", "Roles", "Members", "Limits", "More"):
        labels = [] if tab == "Credits" else [tab]
        for label, name in buttons_in(said(await pressed(world, *labels)).components).items():
            result = await world.press(world.mona, said(await pressed(world, *labels)), name)
            answered = result.modal or result.response
            assert answered, f"{tab}: {label}"
            assert not result.followups
