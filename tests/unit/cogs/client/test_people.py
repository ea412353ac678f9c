"""Who sent an interaction, and from where."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from cogs.client.people import requester, server_of
from services.errors import NotPermitted


@pytest.mark.parametrize("where", [{"guild_id": None, "channel_id": 1}, {"guild_id": 1}])
def test_songs_are_requested_in_servers_alone(where: dict[str, int]) -> None:
    interaction: Any = SimpleNamespace(**{"channel_id": None, **where})
    with pytest.raises(NotPermitted):
        requester(interaction, at=datetime.now(UTC), message_id=None)


def test_commands_work_in_servers_alone() -> None:
    interaction: Any = SimpleNamespace(guild_id=None)
    with pytest.raises(NotPermitted, match="servers only"):
        server_of(interaction)
