"""Who sent an interaction, from where and with what, as the services need it."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, cast

import discord

from cogs.client.discord_internals import role_ids
from cogs.client.permissions import check_is_member, check_manages, may_post_in
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
        may_post_in=partial(may_post_in, interaction),
    )


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
