"""What the bot may in a channel."""

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from cogs.interactions.permissions import check_can_post
from services.errors import NotPermitted

EMBEDS = discord.Permissions(
    view_channel=True, send_messages=True, embed_links=True, attach_files=True
)


def test_every_missing_permission_is_named() -> None:
    interaction: Any = SimpleNamespace(channel=None, app_permissions=discord.Permissions.none())
    names = "View Channel, Send Messages, Embed Links, Attach Files, Read Message History"
    with pytest.raises(NotPermitted, match=names):
        check_can_post(interaction)
    interaction.app_permissions = EMBEDS
    with pytest.raises(NotPermitted, match=r"I lack Read Message History\."):
        check_can_post(interaction)
