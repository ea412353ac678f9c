"""The client, and the commands that it has."""

from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs.client.client import Client
from tests.world import World

MEMBERS = {"song", "queue", "history", "show", "credits", "gift", "leaderboard", "help"}
COMMANDS = {*MEMBERS, "quota"}


async def nothing(client: Client) -> None:
    """There is nothing to prepare."""


async def test_only_the_guilds_intent_is_asked_for() -> None:
    client = Client(nothing)
    assert client.intents == discord.Intents(guilds=True)
    allowed: Any = client.allowed_mentions
    assert allowed.to_dict() == {"parse": []}


async def test_every_command_is_for_servers_alone(world: World) -> None:
    tree = world.client.tree
    described = [command.to_dict(tree) for command in tree.get_commands()]
    assert {command["name"] for command in described} == COMMANDS
    for command in described:
        assert command["contexts"] == [0], command["name"]
        assert command["integration_types"] == [0], command["name"]


async def test_discord_is_given_descriptions_it_takes(world: World) -> None:
    def check(part: dict[str, Any]) -> None:
        assert 1 <= len(part["description"]) <= 100, part["name"]
        assert part["description"] != "…", part["name"]
        options = part.get("options", [])
        assert len(options) <= 25
        for option in options:
            check(option)

    for command in world.client.tree.get_commands():
        check(command.to_dict(world.client.tree))


async def test_what_looks_like_a_command_by_mention_is_not_answered(world: World) -> None:
    context: Any = None
    await world.client.on_command_error(context, commands.CommandNotFound())
    assert world.posts() == []


async def test_the_tree_answers_with_the_one_handler(world: World) -> None:
    assert isinstance(world.client.tree, app_commands.CommandTree)
    assert world.client.tree.allowed_contexts is not None
    assert world.client.tree.allowed_contexts.to_array() == [0]
