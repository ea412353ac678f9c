"""The client, and what every command shares."""

from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from cogs.connection.client import Client
from cogs.interactions.people import asker, roles_of, server_of
from cogs.interactions.permissions import check_can_post
from services.errors import NotPermitted
from tests.world import World

MEMBERS = {"song", "queue", "history", "show", "credits", "gift", "leaderboard", "help"}
COMMANDS = {*MEMBERS, "quota"}
EMBEDS = discord.Permissions(
    view_channel=True, send_messages=True, embed_links=True, attach_files=True
)


async def nothing(client: Client) -> None:
    """There is nothing to prepare."""


async def test_only_the_guilds_intent_is_asked_for() -> None:
    client = Client(nothing)
    assert client.intents == discord.Intents(guilds=True)
    allowed: Any = client.allowed_mentions
    assert allowed.to_dict() == {"parse": []}


async def test_roles_that_are_not_known_yet_count(world: World) -> None:
    """One that was made a moment ago, and all of them while the server is unavailable."""
    state: Any = world.client._connection
    gone: Any = {"id": str(2**60), "unavailable": True}
    guild = discord.Guild(data=gone, state=state)
    data: Any = {
        "user": {"id": "1", "username": "alice", "discriminator": "0", "avatar": None},
        "roles": ["77"],
        "flags": 0,
    }
    assert roles_of(discord.Member(data=data, guild=guild, state=state)) == frozenset({77, 2**60})
    assert roles_of(discord.User(data=data["user"], state=state)) is None


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


@pytest.mark.parametrize("where", [{"guild_id": None, "channel_id": 1}, {"guild_id": 1}])
def test_songs_are_asked_for_in_servers_alone(where: dict[str, int]) -> None:
    interaction: Any = SimpleNamespace(**{"channel_id": None, **where})
    with pytest.raises(NotPermitted):
        asker(interaction, message_id=None)


def test_what_is_no_server_is_said() -> None:
    interaction: Any = SimpleNamespace(guild_id=None)
    with pytest.raises(NotPermitted, match="servers only"):
        server_of(interaction)


def test_every_missing_permission_is_named() -> None:
    interaction: Any = SimpleNamespace(channel=None, app_permissions=discord.Permissions.none())
    names = "View Channel, Send Messages, Embed Links, Attach Files, Read Message History"
    with pytest.raises(NotPermitted, match=names):
        check_can_post(interaction)
    interaction.app_permissions = EMBEDS
    with pytest.raises(NotPermitted, match=r"I lack Read Message History\."):
        check_can_post(interaction)


async def test_the_tree_answers_with_the_one_handler(world: World) -> None:
    assert isinstance(world.client.tree, app_commands.CommandTree)
    assert world.client.tree.allowed_contexts is not None
    assert world.client.tree.allowed_contexts.to_array() == [0]
