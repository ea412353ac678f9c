"""/quota history with undoing, and /quota log."""

from typing import Any

import discord
import pytest
import simcord
from simcord.components import walk_components

from cogs.settings import history as module
from cogs.settings.channels import obstacle
from services.settings.catalogue import ALLOWANCE, BLOCKED_WORDS, LOG, ROLE_ALLOWANCE
from services.settings.changelog import PAGE
from tests.unit.cogs.settings.layouts import shown_in
from tests.unit.cogs.settings.quota import NOT_ALLOWED, by, server_settings, settings
from tests.world import World, buttons_of, custom_id, said, text_of

MENU = "Undo a change"


async def allow(world: World, *amounts: int) -> None:
    for amount in amounts:
        await server_settings(world).set(by(world), ALLOWANCE, amount)


async def history(world: World, **options: int) -> simcord.InteractionResult:
    return await world.mona.slash(world.channel, "quota history", **options)


def options(result: simcord.InteractionResult) -> list[tuple[str, str]]:
    menus = [part for part in walk_components(said(result).components) if part["type"] == 3]
    return [(option["value"], option["label"]) for menu in menus for option in menu["options"]]


# --- the history ----------------------------------------------------------------------------------


async def test_a_history_without_changes(world: World) -> None:
    result = await history(world)
    assert result.ephemeral
    assert "Nothing was changed here yet" in text_of(result.response)
    assert "Page 1 of 1" in text_of(result.response)
    assert buttons_of(result.response) == []


async def test_pages_turn_also_after_a_restart(world: World) -> None:
    await allow(world, *range(20, 20 + 2 * PAGE + 1))
    result = await history(world)
    assert buttons_of(result.response) == [MENU, "Older"]
    assert "Page 1 of 3" in text_of(result.response)
    await world.restart()
    turned = await world.mona.click(said(result), label="Older")
    assert "Page 2 of 3" in text_of(turned.response)
    assert buttons_of(turned.response) == [MENU, "Newer", "Older"]
    turned = await world.mona.click(said(turned), label="Older")
    assert "**1. Allowance" in text_of(turned.response)
    assert buttons_of(turned.response) == [MENU, "Newer"]


async def test_a_page_that_is_too_long_for_one_embed_takes_two(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DESCRIPTION", 2_000)
    for number in range(2 * PAGE):
        marks = "*a" if number % 2 else "b*"
        await server_settings(world).set(
            by(world), BLOCKED_WORDS, [f"{n}{marks * 20}" for n in range(10)]
        )
    for number in range(2 * PAGE, PAGE, -1):
        await server_settings(world).undo(by(world), number)
    result = await history(world, page=2)
    assert len(said(result).embeds) == 2
    for number in range(PAGE + 1, 2 * PAGE + 1):
        assert f"**{number}. Blocked words**" in text_of(result.response)


# --- undoing ----------------------------------------------------------------------------------


async def test_undoing_a_change_is_shown_at_both_changes(world: World) -> None:
    await allow(world, 20, 30)
    await world.mona.slash(
        world.channel, "quota grant", member=world.alice, amount=5, reason="for winning"
    )
    await server_settings(world).set(by(world), ROLE_ALLOWANCE, 50, 77)
    result = await history(world)
    # Grants can't be undone, and a menu shows no mentions.
    assert options(result) == [
        *(("4", "4. Role allowance of a role"), ("2", "2. Allowance"), ("1", "1. Allowance"))
    ]
    taken = await world.mona.select(said(result), ["2"])
    assert (await settings(world)).allowance.credits == 20
    (reply,), shown = map(text_of, taken.followups), text_of(taken.response)
    assert "Change 2 is undone. **Allowance**: 20 credits a period." in reply
    assert "undoes change 2" in shown
    assert "*undone by change 5*" in shown


@pytest.mark.parametrize("value", ["x", "", "0", "99", "9" * 16, "1 ", None])
async def test_a_forged_choice_changes_nothing(world: World, value: str | None) -> None:
    await allow(world, 20)
    result = await history(world)
    values = [] if value is None else [value]
    pressed = await world.press(world.mona, result.response, "changes:undo", values=values)
    answer = pressed.followups[-1] if value in ("0", "99") else said(pressed)
    assert answer.content.startswith("There is no")
    assert (await settings(world)).allowance.credits == 20


async def test_each_press_checks_who_presses(world: World) -> None:
    await allow(world, *range(20, 20 + PAGE + 1))
    result = await history(world)
    for pressed in (
        await world.press(world.alice, result.response, custom_id(result.response, "Older")),
        await world.press(world.alice, result.response, "changes:undo", values=["1"]),
    ):
        assert said(pressed).content == NOT_ALLOWED
    assert (await settings(world)).allowance.credits == 28


# --- the log's channel ----------------------------------------------------------------------------


async def test_a_log_channel_is_chosen_shown_and_switched_off(world: World) -> None:
    result = await world.mona.slash(world.channel, "quota log")
    assert result.ephemeral
    assert said(result).content.startswith("Changes are posted nowhere.")
    result = await world.mona.slash(world.channel, "quota log", channel=world.channel)
    assert f"is posted in <#{world.channel.id}>" in said(result).content
    assert (await settings(world))[LOG] == world.channel.id
    result = await world.mona.slash(world.channel, "quota log")
    assert f"is posted in <#{world.channel.id}>" in said(result).content
    result = await world.mona.slash(world.channel, "quota log", off=True)
    assert said(result).content.startswith("Changes are posted nowhere.")
    assert (await settings(world))[LOG] is None


async def test_a_deleted_log_channel_is_shown_as_deleted(world: World) -> None:
    logs = world.guild.create_text_channel("logs")
    await world.mona.slash(world.channel, "quota log", channel=logs)
    world.env.backend.delete_channel(logs.id)
    await world.env.settle()
    result = await world.mona.slash(world.channel, "quota log")
    assert said(result).content.startswith("The log channel is gone")
    result = await world.mona.slash(world.channel, "quota show")
    shown = shown_in(result)
    assert "Set a log channel that I can write in" in shown


async def test_an_unset_or_usable_log_channel_has_no_obstacle(world: World) -> None:
    logs = world.guild.create_text_channel("logs")
    await world.mona.slash(world.channel, "quota log", channel=logs)
    guild = world.client.get_guild(world.guild.id)
    assert guild is not None
    assert obstacle(guild, logs.id) is None
    assert obstacle(None, logs.id) is None
    assert obstacle(guild, None) is None


async def test_a_log_channel_together_with_off_is_refused(world: World) -> None:
    result = await world.mona.slash(world.channel, "quota log", channel=world.channel, off=True)
    assert said(result).content == "Choose either a channel or `off`."
    assert (await settings(world))[LOG] is None


@pytest.mark.parametrize(
    ("denied", "named"),
    [
        ({"view_channel": False}, "View Channel, Send Messages, Embed Links"),
        ({"send_messages": False, "embed_links": False}, "Send Messages, Embed Links"),
        ({"embed_links": False}, "Embed Links. Please"),
    ],
)
async def test_a_channel_in_which_the_bot_may_not_write(
    world: World, denied: dict[str, bool], named: str
) -> None:
    assert world.client.user is not None
    overwrites: dict[Any, discord.PermissionOverwrite] = {
        world.client.user: discord.PermissionOverwrite(**denied)
    }
    quiet = world.guild.create_text_channel("quiet", overwrites=overwrites)
    result = await world.mona.slash(world.channel, "quota log", channel=quiet)
    assert named in said(result).content
    assert f"<#{quiet.id}>" in said(result).content
    assert (await settings(world))[LOG] is None
