"""The permissions that a channel requires, by its kind."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import discord
import pytest
from discord import ChannelType

from cogs.client.permissions import (
    INVITED,
    check_can_post,
    lacking_to_post,
    lacking_to_read,
    permissions_in,
)
from services.errors import NotPermitted

EMBEDS = discord.Permissions(
    view_channel=True, send_messages=True, embed_links=True, attach_files=True
)


def channel(kind: ChannelType, *, locked: bool = False) -> Any:
    """A channel, or a thread whose channel is known."""
    if not kind.name.endswith("thread"):
        return SimpleNamespace(type=kind, id=7)
    made = Mock(spec=discord.Thread, type=kind, locked=locked, archived=False, id=7)
    made.is_private = lambda: kind is ChannelType.private_thread
    return made


def test_every_missing_permission_is_named() -> None:
    interaction: Any = SimpleNamespace(
        channel=channel(ChannelType.text),
        guild=None,
        app_permissions=discord.Permissions.none(),
    )
    names = "View Channel, Send Messages, Embed Links, Attach Files, Read Message History"
    with pytest.raises(NotPermitted, match=names):
        check_can_post(interaction)
    interaction.app_permissions = EMBEDS
    with pytest.raises(NotPermitted, match=r"I lack Read Message History\."):
        check_can_post(interaction)


@pytest.mark.parametrize(
    ("kind", "send", "more"),
    [
        (ChannelType.text, "Send Messages", []),
        (ChannelType.news, "Send Messages", []),
        (ChannelType.voice, "Send Messages", ["Connect"]),
        (ChannelType.stage_voice, "Send Messages", ["Connect"]),
        (ChannelType.public_thread, "Send Messages in Threads", []),
        (ChannelType.news_thread, "Send Messages in Threads", []),
        (ChannelType.private_thread, "Send Messages in Threads", []),
        (ChannelType.forum, "Send Messages in Threads", []),
        (ChannelType.media, "Send Messages in Threads", []),
    ],
)
def test_each_kind_of_channel_has_its_requirements(
    kind: ChannelType, send: str, more: list[str]
) -> None:
    where = channel(kind)
    assert lacking_to_post(where, discord.Permissions.none()) == [
        *("View Channel", *more, send, "Embed Links", "Attach Files", "Read Message History"),
    ]
    assert lacking_to_post(where, INVITED) == more
    assert lacking_to_post(where, discord.Permissions(INVITED.value, connect=True)) == []
    assert lacking_to_read(where, EMBEDS) == [*more, "Read Message History"]


@pytest.mark.parametrize("archived", [False, True])
def test_a_locked_thread_requires_manage_threads(archived: bool) -> None:
    thread = channel(ChannelType.public_thread)
    thread.archived = archived
    assert lacking_to_post(thread, INVITED) == []
    thread.locked = True
    assert lacking_to_post(thread, INVITED) == ["Manage Threads (the thread is locked)"]
    moderator = discord.Permissions(INVITED.value, manage_threads=True)
    assert lacking_to_post(thread, moderator) == []


def check_in(where: Any, guild: Any, mine: discord.Permissions = INVITED) -> None:
    interaction: Any = SimpleNamespace(channel=where, guild=guild, app_permissions=mine)
    check_can_post(interaction)


@pytest.mark.parametrize("kind", [ChannelType.private, ChannelType.group, ChannelType.category])
def test_channels_without_songs(kind: ChannelType) -> None:
    with pytest.raises(NotPermitted, match="Please use a text channel"):
        check_in(channel(kind), None)


def test_a_channel_of_an_unknown_kind_is_refused() -> None:
    """discord.py does not even give its id (discord-haskell 40, interactions.py 1466)."""
    with pytest.raises(NotPermitted, match="Please use a text channel"):
        check_in(None, None)


def test_a_private_thread_without_the_bot_is_refused() -> None:
    """JDA 2602, Fire 102, Crownicles 4575: its permissions don't show that."""
    thread = channel(ChannelType.private_thread)
    outside: Any = SimpleNamespace(unavailable=False, get_thread=lambda _: None)
    with pytest.raises(NotPermitted, match=r"not in this private thread.*Mention me"):
        check_in(thread, outside)
    check_in(thread, outside, discord.Permissions(INVITED.value, manage_threads=True))
    check_in(thread, SimpleNamespace(unavailable=False, get_thread=lambda _: thread))
    check_in(thread, SimpleNamespace(unavailable=True, get_thread=lambda _: None))
    check_in(channel(ChannelType.public_thread), outside)


def test_a_thread_of_a_hidden_channel_allows_nothing() -> None:
    thread = channel(ChannelType.public_thread)
    thread.parent = None
    me: Any = object()
    assert permissions_in(thread, me) == discord.Permissions.none()
    thread.parent = object()
    thread.permissions_for = lambda _: INVITED
    assert permissions_in(thread, me) == INVITED
