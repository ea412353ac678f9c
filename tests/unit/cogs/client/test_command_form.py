"""Commands in a form that Discord's clients kept from before, or that no client sends."""

from typing import Any

import pytest

from cogs.client.errors import OUTDATED
from tests.world import World, said

AMOUNT = {"name": "amount", "type": 4, "value": 5}
REASON = {"name": "reason", "type": 3, "value": "thanks"}
GENRES = {"name": "genres", "type": 3, "value": "funk"}
INSTRUMENTAL = {"name": "instrumental", "type": 5, "value": True}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([INSTRUMENTAL], id="one that is required is missing"),
        pytest.param([GENRES, {"name": "mood", "type": 3, "value": "sad"}], id="unknown"),
        pytest.param([{**GENRES, "type": 4, "value": 7}, INSTRUMENTAL], id="of another type"),
    ],
)
async def test_options_of_an_older_form_are_told_as_such(
    world: World, options: list[dict[str, Any]]
) -> None:
    result = await world.raw_slash(world.alice, "song", *options)
    assert said(result).content == OUTDATED
    assert await world.rows() == []


async def test_a_command_that_is_gone_is_told_as_such(world: World) -> None:
    world.client.tree.remove_command("queue")
    result = await world.raw_slash(world.alice, "queue")
    assert said(result).content == OUTDATED


async def test_a_command_that_became_a_group_is_told_as_such(world: World) -> None:
    result = await world.raw_slash(world.mona, "quota")
    assert said(result).content == OUTDATED


async def test_somebody_whom_discord_does_not_tell_of_is_nobody(world: World) -> None:
    gift = [{"name": "member", "type": 6, "value": "12345"}, AMOUNT]
    result = await world.raw_slash(world.alice, "gift", *gift)
    assert said(result).content == OUTDATED
    assert await world.free() == 10


async def test_a_choice_that_is_no_longer_offered_is_told_as_such(world: World) -> None:
    what = {"name": "what", "type": 3, "value": "all of it"}
    reset = {"name": "reset", "type": 1, "options": [what]}
    result = await world.raw_slash(world.mona, "quota", reset)
    assert said(result).content == OUTDATED


async def test_a_group_passes_its_options_on(world: World) -> None:
    member = {"name": "member", "type": 6, "value": "12345"}
    grant = {"name": "grant", "type": 1, "options": [AMOUNT, REASON, member]}
    result = await world.raw_slash(world.mona, "quota", grant)
    assert said(result).content == OUTDATED


async def test_while_typing_the_rest_may_be_missing(world: World) -> None:
    """And where it is of an older form, nothing is suggested, and nothing is an error."""
    assert await world.alice.autocomplete(world.channel, "song", "seconds", "6")
