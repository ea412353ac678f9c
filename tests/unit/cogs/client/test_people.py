"""Who sent an interaction, and from where."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from cogs.client.people import requester, roles_of, server_of
from services.errors import NotPermitted
from tests.world import World


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


@pytest.mark.parametrize("where", [{"guild_id": None, "channel_id": 1}, {"guild_id": 1}])
def test_songs_are_asked_for_in_servers_alone(where: dict[str, int]) -> None:
    interaction: Any = SimpleNamespace(**{"channel_id": None, **where})
    with pytest.raises(NotPermitted):
        requester(interaction, at=datetime.now(UTC), message_id=None)


def test_what_is_no_server_is_said() -> None:
    interaction: Any = SimpleNamespace(guild_id=None)
    with pytest.raises(NotPermitted, match="servers only"):
        server_of(interaction)
