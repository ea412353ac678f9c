"""Who sent an interaction, from where and with what, as the services need it."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, cast

import discord

from cogs.client.discord_internals import role_ids
from cogs.client.permissions import (
    VOICE,
    check_is_member,
    check_manages,
    lacking_to_post,
    permissions_in,
)
from services.errors import NotPermitted
from services.settings.server_settings import Manager
from services.settings.settings import Member
from services.songs.song_request import Interaction


def requester(
    interaction: discord.Interaction, *, at: datetime, message_id: int | None
) -> Interaction:
    """Return who requests a song, and where.

    `at`: when the interaction was received. `message_id`: the status message's.

    Raises:
        NotPermitted: not in a server.
    """
    if interaction.guild_id is None or interaction.channel_id is None:
        raise NotPermitted("Songs are made in servers: please use this there.")
    return Interaction(
        interaction_id=interaction.id,
        application_id=interaction.application_id,
        server_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        member_id=interaction.user.id,
        token=interaction.token,
        received_at=at,
        message_id=message_id,
        parent_id=getattr(interaction.channel, "parent_id", None),
        roles=roles_of(interaction.user) or frozenset(),
        may_post_in=partial(_may_post_in, interaction),
    )


def _may_post_in(interaction: discord.Interaction, channel_id: int) -> bool:
    """Return whether a song that is requested here may be posted in another channel.

    Its requester must see that channel, and nobody there may see what is hidden from them here:
    everyone sees this channel, or just those who see the other. What is age-restricted stays so.

    Raises:
        NotPermitted: names what the bot lacks there.
    """
    guild, here, person = interaction.guild, interaction.channel, interaction.user
    if guild is None or channel_id == interaction.channel_id:
        return False
    origin_id = interaction.channel_id
    if isinstance(here, discord.Thread):
        origin_id = None if here.is_private() else here.parent_id
    # Not `here`: of a channel that the gateway has not announced, it has no overwrites.
    origin, target = guild.get_channel(origin_id or 0), guild.get_channel(channel_id)
    if origin is None or target is None or not isinstance(person, discord.Member):
        return False
    if not target.permissions_for(person).view_channel:
        return False
    same = _views(origin) == _views(target) and origin.type not in VOICE
    if not (same or _is_open(origin)) or (origin.is_nsfw() and not target.is_nsfw()):
        return False
    if missing := lacking_to_post(target, permissions_in(target, guild.me)):
        raise NotPermitted(
            f"Songs of this server are posted in <#{channel_id}>, and I can't post there: I lack "
            f"{', '.join(missing)}. Those who manage the server can give it to me. Nothing was "
            "spent."
        )
    return True


def _is_open(channel: discord.abc.GuildChannel) -> bool:
    """Return whether everyone in the server can read a channel."""
    needed = ("view_channel", "connect") if channel.type in VOICE else ("view_channel",)
    everyone = channel.permissions_for(channel.guild.default_role)
    return all(
        getattr(everyone, name) and False not in _views(channel, name).values() for name in needed
    )


def _views(channel: discord.abc.GuildChannel, name: str = "view_channel") -> dict[int, bool | None]:
    """Return for whom a channel itself grants or denies a permission, except the bot."""
    granted = {who.id: getattr(each, name) for who, each in channel.overwrites.items()}
    me = channel.guild.me.id
    return {who: value for who, value in granted.items() if value is not None and who != me}


def roles_of(person: discord.Member | discord.User) -> frozenset[int] | None:
    """Return a person's roles, as they came with the interaction; None for a former member."""
    return role_ids(person) if isinstance(person, discord.Member) else None


def member_of(
    interaction: discord.Interaction, person: discord.Member | discord.User | None = None
) -> Member:
    """Return the member whose credits it is about: a `person`, or who uses the command.

    Raises:
        NotPermitted: not in a server.
    """
    person = person or interaction.user
    return Member(server_of(interaction), person.id, roles_of(person))


def manager_of(interaction: discord.Interaction) -> Manager:
    """Return the manager, checked.

    Raises:
        NotPermitted: not in a server, or one that the bot is not in, or the person lacks Manage
            Server.
    """
    check_is_member(interaction)
    check_manages(interaction)
    return Manager(server_of(interaction), interaction.user.id)


def server_of(interaction: discord.Interaction) -> int:
    """Return the server's id.

    Raises:
        NotPermitted: not in a server.
    """
    if interaction.guild_id is None:
        raise NotPermitted("This works in servers only.")
    return interaction.guild_id


def data_of(interaction: discord.Interaction) -> Mapping[str, Any]:
    """Return what came with the interaction, as Discord sent it."""
    return cast("Mapping[str, Any]", interaction.data or {})


def typed_text(data: Mapping[str, Any], custom_id: str) -> str:
    """Return the text of one field of a form, at whatever depth Discord nests it."""
    if data.get("custom_id") == custom_id and "value" in data:
        return str(data["value"] or "")
    inner = [*(data.get("components") or ()), *filter(None, [data.get("component")])]
    return next(filter(None, (typed_text(part, custom_id) for part in inner)), "")
