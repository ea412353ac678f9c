"""In which servers the bot is a member: what each shard's READY listed, and what came since.

discord.py's cache does not tell: with shards it keeps what a new session no longer lists, and it
leaves out a server that is unavailable when the bot joins it.
"""

from collections.abc import Iterable
from typing import Any, Protocol, cast

import discord

from services.errors import NotPermitted
from services.operations.servers import Shard

NEEDED = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
)
"""What the invitation asks for: what posting songs takes."""


class Presence:
    """The servers that the bot is a member of, those among them that are unavailable for now."""

    def __init__(self) -> None:
        self._server_ids: set[int] = set()

    def __contains__(self, server_id: object) -> bool:
        return server_id in self._server_ids

    def listed(self, shard: Shard, server_ids: Iterable[int]) -> None:
        """A new session began: these are all that its shard has."""
        others = {server_id for server_id in self._server_ids if not shard.serves(server_id)}
        self._server_ids = others.union(server_ids)

    def joined(self, server_id: int) -> None:
        """The bot was added, or a server that it is in is available again."""
        self._server_ids.add(server_id)

    def left(self, server_id: int) -> None:
        """The bot was removed."""
        self._server_ids.discard(server_id)


class HasPresence(Protocol):
    """The client."""

    @property
    def presence(self) -> Presence:
        """See `Presence`."""
        ...


def check_is_member(interaction: discord.Interaction[Any]) -> None:
    """Whether the bot is in the server that an interaction comes from.

    Where it was added with its commands alone (the scope `applications.commands`), they can be
    used, but it sees no channel and can post nowhere.

    Raises:
        NotPermitted: says how to invite the bot.
    """
    server_id = interaction.guild_id
    if server_id is None or server_id in cast("HasPresence", interaction.client).presence:
        return
    link = discord.utils.oauth_url(
        interaction.application_id,
        permissions=NEEDED,
        guild=discord.Object(server_id),
        scopes=("bot", "applications.commands"),
    )
    raise NotPermitted(
        "I'm not a member of this server: only my commands were added, so I can't post songs "
        "here. Nothing was spent. Someone with the Manage Server permission can add me with "
        f"[this link](<{link}>)."
    )
