"""`/quota` as a manager uses it."""

from typing import Any

import simcord

from db import changes
from db.records import Change
from services.settings.reader import Settings
from services.settings.server_settings import Manager, ServerSettings
from tests.world import World, said

NOT_ALLOWED = "Only those with the Manage Server permission can do this."


def by(world: World) -> Manager:
    return Manager(world.guild.id, world.mona.id)


def server_settings(world: World) -> ServerSettings:
    return world.application.server_settings


async def settings(world: World, member: simcord.MemberActor | None = None) -> Settings:
    return await server_settings(world).read(world.guild.id, member.id if member else 0)


async def changed(world: World) -> list[Change]:
    """Changes, newest first."""
    reader = world.application.database.reader
    return await changes.of_server(reader, world.guild.id, limit=50, offset=0)


def quota_id(world: World) -> int:
    command = world.env.backend.find_command("quota", None)
    assert command is not None
    return int(command["id"])


async def quota(world: World, name: str, **options: Any) -> str:
    """Return the ephemeral reply to a manager's command."""
    result = await world.mona.slash(world.channel, f"quota {name}", **options)
    assert result.ephemeral
    return said(result).content


async def show(
    world: World, member: simcord.MemberActor | None = None
) -> simcord.InteractionResult:
    options = {} if member is None else {"member": member}
    return await world.mona.slash(world.channel, "quota show", **options)


async def opened(
    world: World, form: str, topic: str, subject_id: int = 0
) -> simcord.InteractionResult:
    """Open a form from its page of the panel."""
    shown = await show(world)
    if topic != "credits":
        tab = "turn" if topic == "blocked" else "tab"
        await world.press(world.mona, said(shown), f"settings:{tab}:{topic}:1")
    pressed = f"settings:form:{form}:{subject_id}:{topic}:1"
    return await world.mona.click(said(shown), custom_id=pressed)


async def filled(world: World, form: str, topic: str, **typed: Any) -> simcord.InteractionResult:
    """Open a form and send it."""
    return await world.mona.submit_modal(await opened(world, form, topic), typed)


def refused(result: simcord.InteractionResult) -> str:
    """Return the refusal that was sent after the panel."""
    (text,) = result.followups
    assert text.ephemeral
    return text.content


def resolved_role(role_id: int) -> dict[str, Any]:
    """A role as Discord sends it with a command."""
    return {
        "id": str(role_id),
        "name": "gone",
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": 1,
        "permissions": "0",
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


async def quota_with_lost_role(world: World, name: str, *options: dict[str, Any]) -> str:
    """A command with a role that was deleted between its choice and the command's arrival."""
    chosen = {"name": "role", "type": 8, "value": "777"}
    data = {
        "id": str(quota_id(world)),
        "name": "quota",
        "type": 1,
        "options": [{"name": name, "type": 1, "options": [*options, chosen]}],
        "resolved": {"roles": {"777": resolved_role(777)}},
    }
    result = await world.mona._dispatch_interaction(2, world.channel, data)
    return said(result).content
