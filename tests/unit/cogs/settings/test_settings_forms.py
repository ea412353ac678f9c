"""The forms of the settings: filled in with what stands, and what becomes of what is typed."""

from typing import Any

import discord
import pytest
import simcord

from cogs.settings.places import Page
from services.credits.calendar import Every
from services.settings.settings import Rules
from tests.unit.cogs.settings.layouts import buttons_in, filled_in, shown_in
from tests.unit.cogs.settings.test_show import by, server_settings, show
from tests.wire.openapi import Description
from tests.world import World, said

FORMS = {
    "allowance": Page.CREDITS,
    "refill": Page.CREDITS,
    "budget": Page.CREDITS,
    "limits": Page.LIMITS,
    "channels": Page.LIMITS,
    "words": Page.LIMITS,
    "pause": Page.LIMITS,
    "log": Page.MORE,
}


async def opened(
    world: World, form: str, page: Page | None = None, subject_id: int = 0
) -> simcord.InteractionResult:
    """Press the button of a form on its page."""
    shown = await show(world)
    page = page or FORMS[form]
    pressed = f"settings:form:{form}:{subject_id}:{page}:1"
    if page is not Page.CREDITS:
        await world.mona.click(said(shown), custom_id=f"settings:tab:{page}:1")
    return await world.mona.click(said(shown), custom_id=pressed)


async def filled(world: World, form: str, **typed: Any) -> simcord.InteractionResult:
    """Open a form and send it."""
    return await world.mona.submit_modal(await opened(world, form), typed)


async def rules(world: World) -> Rules:
    return await server_settings(world).rules(world.guild.id)


def refused(result: simcord.InteractionResult) -> str:
    """The sentence that came beside the settings."""
    (told,) = result.followups
    assert told.ephemeral
    return told.content


# --- each form by a manager -----------------------------------------------------------------------


@pytest.mark.parametrize("form", [form for form in FORMS if form != "pause"])
async def test_each_form_is_as_discord_describes_it(world: World, form: str) -> None:
    modal = (await opened(world, form)).modal
    assert modal is not None
    assert 1 <= len(modal["components"]) <= 5
    if description := Description.load():
        route = ("POST", "/interactions/{interaction_id}/{interaction_token}/callback")
        assert description.request_errors(*route, {"type": 9, "data": _as_sent(modal)}) == []


def _as_sent(part: Any) -> Any:
    """Without the `None` of what the simulation keeps of fields in labels."""
    if isinstance(part, dict):
        return {name: _as_sent(value) for name, value in part.items() if value is not None}
    return [_as_sent(one) for one in part] if isinstance(part, list) else part


async def test_the_allowance(world: World) -> None:
    assert filled_in(await opened(world, "allowance")) == {"credits": "10"}
    result = await filled(world, "allowance", credits="1,500")
    assert "**Allowance**\n1,500 credits a day\n" in shown_in(result)
    await filled(world, "allowance", credits="unlimited")
    assert (await rules(world)).server.credits is None
    assert filled_in(await opened(world, "allowance")) == {"credits": "unlimited"}


async def test_the_refill(world: World) -> None:
    form = await opened(world, "refill")
    assert filled_in(form) == {"every": "day", "hour": "0", "zone": "UTC"}
    typed = {"every": "week", "hour": ["6"], "zone": "europe/berlin"}
    result = await world.mona.submit_modal(form, typed)
    assert "on: Every week, on Monday at 06:00, Europe/Berlin" in shown_in(result)
    # What was decided last stands in the form, though it is not in force yet.
    assert filled_in(await opened(world, "refill")) == {
        "every": "week",
        "hour": "6",
        "zone": "Europe/Berlin",
    }
    assert (await rules(world)).timeline.at(world.clock()).every is Every.DAY


async def test_the_budget_and_its_end(world: World) -> None:
    assert filled_in(await opened(world, "budget")) == {"credits": ""}
    result = await filled(world, "budget", credits="500")
    assert "**Budget**\n500 credits a day" in shown_in(result)
    assert filled_in(await opened(world, "budget")) == {"credits": "500"}
    assert "None (the default)" in shown_in(await filled(world, "budget", credits=""))


async def test_the_limits_and_their_defaults(world: World) -> None:
    typed = {"unfinished": "1", "seconds": "60", "steps": "50", "cooldown": "30"}
    result = await filled(world, "limits", **typed)
    assert "1 song at once, 30 s between two songs\nUp to 60 s and 50 steps\n" in shown_in(result)
    assert filled_in(await opened(world, "limits")) == typed
    result = await filled(world, "limits", unfinished="2")
    assert "2 songs at once, no cooldown\nUp to 240 s and 150 steps\n" in shown_in(result)


async def test_the_channels(world: World) -> None:
    other = world.guild.create_text_channel("other")
    result = await filled(world, "channels", channels=[other])
    assert f"**Channels**\n<#{other.id}>\n" in shown_in(result)
    assert filled_in(await opened(world, "channels")) == {"channels": [other.id]}
    assert "Everywhere (the default)" in shown_in(await filled(world, "channels", channels=[]))


async def test_a_deleted_channel_does_not_stand_in_the_form(world: World) -> None:
    await server_settings(world).set_channels(by(world), [world.channel.id, 77])
    await server_settings(world).set_log(by(world), 77)
    assert filled_in(await opened(world, "channels")) == {"channels": [world.channel.id]}
    assert filled_in(await opened(world, "log")) == {"channel": []}


async def test_the_words(world: World) -> None:
    result = await filled(world, "words", words="badger, mush room\nsnake")
    assert "3 words: ||badger, mush room, snake||" in shown_in(result)
    assert filled_in(await opened(world, "words")) == {"words": "badger\nmush room\nsnake"}
    await filled(world, "words", words="")
    assert (await rules(world)).words == ()


async def test_the_reason_of_a_pause(world: World) -> None:
    await server_settings(world).pause(by(world))
    result = await filled(world, "pause", reason="upkeep")
    assert "**Paused**: upkeep" in shown_in(result)
    assert filled_in(await opened(world, "pause")) == {"reason": "upkeep"}
    await filled(world, "pause", reason="")
    assert (await rules(world)).pause == ""


async def test_the_log_channel(world: World) -> None:
    result = await filled(world, "log", channel=[world.channel])
    assert f"**Log channel**\n<#{world.channel.id}>\n" in shown_in(result)
    assert filled_in(await opened(world, "log")) == {"channel": [world.channel.id]}
    await filled(world, "log", channel=[])
    assert (await rules(world)).log_channel_id is None


# --- typed wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "typed", "sentence"),
    [
        ("allowance", {"credits": "many"}, "Please type the credits as a whole number"),
        ("allowance", {"credits": "1000001"}, "The allowance must be between 0 and 1,000,000"),
        ("allowance", {"credits": "-5"}, "Please type the credits as a whole number"),
        ("refill", {"every": "day", "hour": ["0"], "zone": "Mars/Olympus"}, "zone"),
        ("budget", {"credits": "0"}, "The budget must be between 1 and 1,000,000,000 credits."),
        ("budget", {"credits": "lots"}, "Please type the budget as a whole number"),
        ("limits", {"seconds": "5"}, "The limit of longest song must be between 10 and 240."),
        ("limits", {"steps": "x"}, "Please type “Most steps” as a whole number"),
        ("limits", {"cooldown": "700000"}, "must be between 0 and 604,800."),
    ],
)
async def test_what_is_typed_wrong_is_said_and_changes_nothing(
    world: World, form: str, typed: dict[str, Any], sentence: str
) -> None:
    before = await rules(world)
    assert sentence in refused(await filled(world, form, **typed))
    assert await rules(world) == before


async def test_a_refused_list_of_words_comes_back_as_a_file(world: World) -> None:
    listed = "\n".join(f"word {number}" for number in range(400)) + "\n" + "x" * 61
    result = await filled(world, "words", words=listed)
    (told,) = result.followups
    assert "61 characters long; 60 is the most" in told.content
    assert told.ephemeral
    assert world.file(told).decode() == listed
    assert (await rules(world)).words == ()


async def test_a_log_channel_where_the_bot_may_not_write_is_refused(world: World) -> None:
    silent = discord.PermissionOverwrite(send_messages=False)
    everyone = world.guild.default_role
    hidden = world.guild.create_text_channel("hidden", overwrites={everyone: silent})
    result = await filled(world, "log", channel=[hidden])
    sentence = f"I can't write in <#{hidden.id}>: I lack Send Messages, Embed Links there."
    assert sentence in refused(result)
    assert (await rules(world)).log_channel_id is None


async def test_channels_where_the_bot_may_not_post_are_refused(world: World) -> None:
    silent = discord.PermissionOverwrite(attach_files=False)
    everyone = world.guild.default_role
    hidden = world.guild.create_text_channel("hidden", overwrites={everyone: silent})
    result = await filled(world, "channels", channels=[world.channel, hidden])
    assert f"I lack in <#{hidden.id}> Attach Files." in refused(result)
    assert (await rules(world)).channels == ()


async def test_of_two_managers_the_later_one_counts_and_the_history_has_both(world: World) -> None:
    first, second = await opened(world, "allowance"), await opened(world, "allowance")
    await world.mona.submit_modal(first, {"credits": "20"})
    await world.mona.submit_modal(second, {"credits": "30"})
    assert (await rules(world)).server.credits == 30
    history = await world.client.services.changelog.history(world.guild.id, page=1)
    assert [change.after for change in history.changes] == ['{"credits":30}', '{"credits":20}']


# --- later, and by others -------------------------------------------------------------------------


async def test_a_form_outlives_a_restart_while_it_is_being_typed(world: World) -> None:
    form = await opened(world, "allowance")
    await world.restart()
    result = await world.mona.submit_modal(form, {"credits": "25"})
    assert "**Allowance**\n25 credits a day" in shown_in(result)
    assert "Roles" in buttons_in(said(result).components)


@pytest.mark.parametrize("form", FORMS)
async def test_who_does_not_manage_sends_no_form(world: World, form: str) -> None:
    before = await rules(world)
    data = {
        "custom_id": f"settings:form:{form}:0:credits:1",
        "components": [
            {"type": 18, "component": {"type": 4, "custom_id": name, "value": "30"}}
            for name in ("credits", "zone", "seconds", "words", "reason")
        ],
    }
    result = await world.alice._dispatch_interaction(5, world.channel, data)
    assert "Only those with the Manage Server permission" in said(result).content
    assert await rules(world) == before


async def test_a_form_without_a_message_answers_with_the_settings(world: World) -> None:
    data = {
        "custom_id": "settings:form:allowance:0:credits:1",
        "components": [
            {"type": 18, "component": {"type": 4, "custom_id": "credits", "value": "30"}}
        ],
    }
    result = await world.mona._dispatch_interaction(5, world.channel, data)
    assert said(result).ephemeral
    assert "30 credits a day" in shown_in(result)


async def test_a_form_that_is_not_in_use_any_more_is_said_to_be(world: World) -> None:
    data = {"custom_id": "settings:form:nosuch:0:credits:1", "components": []}
    result = await world.mona._dispatch_interaction(5, world.channel, data)
    assert "please open `/quota show` again" in said(result).content
