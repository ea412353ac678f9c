"""The client, and the commands that it has."""

from typing import Any

import discord

from cogs.client.client import Client
from tests.world import World

MEMBERS = {"song", "queue", "history", "show", "credits", "gift", "leaderboard", "help"}
COMMANDS = {*MEMBERS, "quota"}


async def nothing(client: Client) -> None:
    """There is nothing to prepare."""


async def test_the_client_needs_only_the_guilds_intent() -> None:
    client = Client(nothing)
    assert client.intents == discord.Intents(guilds=True)
    allowed: Any = client.allowed_mentions
    assert allowed.to_dict() == {"parse": []}


async def test_every_command_is_for_servers_alone(world: World) -> None:
    tree = world.client.tree
    commands = {command.name: command.to_dict(tree) for command in tree.get_commands()}
    assert commands.keys() == COMMANDS
    managers = discord.Permissions(manage_guild=True).value
    assert commands["quota"]["default_member_permissions"] == managers
    assert commands["song"]["default_member_permissions"] is None
    for command in commands.values():
        assert command["contexts"] == [0], command["name"]
        assert command["integration_types"] == [0], command["name"]


async def test_descriptions_are_within_discords_limits(world: World) -> None:
    def check(part: dict[str, Any]) -> None:
        assert 1 <= len(part["description"]) <= 100, part["name"]
        assert part["description"] != "…", part["name"]
        options = part.get("options", [])
        assert len(options) <= 25
        for option in options:
            check(option)

    for command in world.client.tree.get_commands():
        check(command.to_dict(world.client.tree))
