"""What the bot uses of discord.py although it is not documented: it may change with any version."""

from typing import Any

import discord
import pytest
import yarl
from discord.gateway import DiscordWebSocket
from discord.state import AutoShardedConnectionState

from cogs.client import discord_internals
from cogs.client.discord_internals import GatewaySocket, presence_of, template_of
from cogs.client.people import roles_of
from cogs.songs.buttons import CancelMenu
from tests.world import World


async def test_roles_unknown_to_the_cache_count(world: World) -> None:
    """One that was made a moment ago, and all of them while the server is unavailable."""
    state: Any = world.client._connection
    guild = discord.Guild(data={"id": str(2**60), "unavailable": True}, state=state)  # type: ignore[typeddict-item]
    data: Any = {
        "user": {"id": "1", "username": "alice", "discriminator": "0", "avatar": None},
        "roles": ["77"],
        "flags": 0,
    }
    assert roles_of(discord.Member(data=data, guild=guild, state=state)) == frozenset({77, 2**60})
    assert roles_of(discord.User(data=data["user"], state=state)) is None


async def test_the_client_keeps_its_presence_in_its_state(world: World) -> None:
    assert presence_of(world.client) is world.client._connection.presence  # type: ignore[attr-defined]
    assert world.guild.id in world.client.presence


async def test_a_forgotten_thread_is_not_cached(world: World) -> None:
    guild = world.client.get_guild(world.guild.id)
    assert guild is not None
    data: Any = {
        "id": "7",
        "parent_id": str(world.channel.id),
        "owner_id": "1",
        "name": "private",
        "type": 12,
        "message_count": 0,
        "member_count": 0,
        "thread_metadata": {
            "archived": False,
            "auto_archive_duration": 60,
            "archive_timestamp": "2026-01-01T00:00:00+00:00",
        },
    }
    thread = discord.Thread(guild=guild, state=world.client._connection, data=data)
    guild._add_thread(thread)
    discord_internals.forget_thread(thread)
    assert guild.get_thread(7) is None


def test_a_component_has_a_template() -> None:
    assert template_of(CancelMenu).pattern == "queue:cancel"


def test_what_is_replaced_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """An assignment to a name that discord.py has dropped would do nothing."""
    assert discord.http.Route("GET", "/x").url == f"{discord.http.Route.BASE}/x"
    assert discord.shard.DiscordWebSocket in (DiscordWebSocket, GatewaySocket)
    assert isinstance(DiscordWebSocket.DEFAULT_GATEWAY, yarl.URL)
    assert {"warn_nacl", "warn_dave"} <= set(vars(discord.VoiceClient))
    for overridden in ("parse_ready", "parse_guild_create", "parse_guild_delete", "_remove_guild"):
        assert hasattr(AutoShardedConnectionState, overridden)
    assert hasattr(discord.AutoShardedClient, "_get_state")
    assert hasattr(DiscordWebSocket, "received_message")
