"""Every use of discord.py that its documentation does not promise.

`tests/unit/cogs/client/test_discord_internals.py` fails where a new version changes one of them.
"""

import asyncio
import logging
import re
import zlib
from collections.abc import Iterable
from typing import Any, cast

import discord
import yarl
from discord import ui
from discord.ext import commands
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from discord.state import AutoShardedConnectionState

from cogs.client.answers import PARSE_ERRORS
from services.operations.servers import Shard

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds before the next connection: whatever breaks one frame may break each."""


def configure(api_url: str) -> None:
    """Set what holds for the process: the address of the API and the reader of gateway frames."""
    discord.http.Route.BASE = api_url
    # Without voice, the libraries for it are not missed.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    discord.shard.DiscordWebSocket = GatewaySocket  # type: ignore[misc]


def set_gateway_url(url: str) -> None:
    """Set where shards connect to, so that discord.py does not request it once more."""
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)


class GatewaySocket(DiscordWebSocket):
    """Survives a malformed frame, where discord.py's ends the client."""

    async def received_message(self, msg: object, /) -> None:
        """Read a frame; where that fails, reconnect and resume.

        An unreadable frame is then sent again. One that could be read, but not handled, is left
        out, since its number is noted already.

        Raises:
            ReconnectWebSocket: discord.py resumes.
        """
        try:
            await super().received_message(msg)
        except (*PARSE_ERRORS, zlib.error) as error:
            log.warning("malformed gateway frame: %r", error)
            await self.close()
            await asyncio.sleep(PAUSE)
            raise ReconnectWebSocket(self.shard_id) from error


class Presence:
    """The servers that the bot is a member of, the unavailable ones too.

    It is what each shard's READY listed, and what came since. discord.py's cache does not know it:
    with shards it keeps what a new session no longer lists, and it leaves out a server that is
    unavailable when the bot joins it.
    """

    def __init__(self) -> None:
        self._server_ids: set[int] = set()

    def __contains__(self, server_id: object) -> bool:
        return server_id in self._server_ids

    def listed(self, shard: Shard, server_ids: Iterable[int]) -> None:
        """Note all servers of a shard, which a new session lists."""
        others = {server_id for server_id in self._server_ids if not shard.serves(server_id)}
        self._server_ids = others.union(server_ids)

    def joined(self, server_id: int) -> None:
        """Note that the bot was added, or that its server is available again."""
        self._server_ids.add(server_id)

    def left(self, server_id: int) -> None:
        """Note that the bot was removed."""
        self._server_ids.discard(server_id)


class ConnectionState(AutoShardedConnectionState[Any]):
    """Has the presence, and forgets servers that a READY does not list any more.

    Dispatches `shard_session(shard)` at every READY of a shard, and `server_left(server_id)`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - discord.py's
        self.presence = Presence()
        super().__init__(*args, **options)

    @classmethod
    def of(cls, client: commands.AutoShardedBot, **options: Any) -> "ConnectionState":  # noqa: ANN401
        """Make the state of a client, as its `_get_state` must."""
        return cls(
            dispatch=client.dispatch,
            handlers=client._handlers,  # noqa: SLF001
            hooks=client._hooks,  # noqa: SLF001
            http=client.http,
            **options,
        )

    def parse_ready(self, data: Any) -> None:  # noqa: ANN401 - JSON
        """Handle a new session of one shard, with all its servers, the unavailable ones too."""
        super().parse_ready(data)
        shard = Shard(*map(int, data["shard"]))
        self.presence.listed(shard, [int(guild["id"]) for guild in data["guilds"]])
        for guild in self.guilds:
            if shard.serves(guild.id) and guild.id not in self.presence:
                self._remove_guild(guild)
        self.dispatch("shard_session", shard)

    def parse_guild_create(self, data: Any) -> None:  # noqa: ANN401 - JSON
        """Handle a server that the bot has joined, or that is available again."""
        self.presence.joined(int(data["id"]))
        super().parse_guild_create(data)

    def parse_guild_delete(self, data: Any) -> None:  # noqa: ANN401 - JSON
        """Handle a server that has removed the bot, or is unavailable."""
        super().parse_guild_delete(data)
        if not data.get("unavailable"):
            self.presence.left(int(data["id"]))
            self.dispatch("server_left", int(data["id"]))


def presence_of(client: discord.Client) -> Presence:
    """Return the servers that the bot is a member of."""
    return cast("ConnectionState", client._connection).presence  # noqa: SLF001


def role_ids(member: discord.Member) -> frozenset[int]:
    """Return a member's roles. Everyone has the role whose id is the server's.

    `Member.roles` leaves out what discord.py's cache does not know: a role that was just made, and
    every role while the server is unavailable.
    """
    return frozenset((*member._roles, member.guild.id))  # noqa: SLF001


def forget_thread(thread: discord.Thread) -> None:
    """Remove a thread from discord.py's cache."""
    thread.guild._remove_thread(thread)  # noqa: SLF001


def template_of(component: type[ui.DynamicItem[Any]]) -> re.Pattern[str]:
    """Return the pattern of a persistent component's ids."""
    return component.__discord_ui_compiled_template__
