"""The commands are given to Discord once, and again when either side has changed."""

from collections.abc import Awaitable, Callable

import discord
import pytest
from discord import app_commands

from cogs.connection.client import Client
from cogs.connection.registration import digest, register_commands
from tests.cogs.test_announcer import Stage, stage

__all__ = ["stage"]  # a fixture


async def test_once(stage: Stage) -> None:
    database = stage.application.database
    assert stage.wire.state.command_puts == 1  # at the start of the bot
    assert not await register_commands(stage.client, database)
    assert stage.wire.state.command_puts == 1


async def test_again_when_ours_differ(stage: Stage) -> None:
    @app_commands.command()
    async def anthem(interaction: discord.Interaction) -> None:
        """A new one."""

    stage.client.tree.add_command(anthem)
    assert await register_commands(stage.client, stage.application.database)
    assert "anthem" in {command["name"] for command in stage.wire.state.commands}
    assert not await register_commands(stage.client, stage.application.database)


async def test_again_when_somebody_else_has_changed_or_removed_them(stage: Stage) -> None:
    database = stage.application.database
    stage.wire.state.commands.pop()
    assert await register_commands(stage.client, database)
    stage.wire.state.commands[0]["version"] = "1"
    assert await register_commands(stage.client, database)
    assert not await register_commands(stage.client, database)


async def test_each_application_has_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test bot and the real one may share a database's copy."""
    database = stage.application.database
    async with database.write() as connection:
        await connection.execute("UPDATE command_sets SET application_id = application_id + 1")
    assert await register_commands(stage.client, database)
    assert len(await (await database.reader.execute("SELECT * FROM command_sets")).fetchall()) == 2  # type: ignore[arg-type]


async def test_they_are_for_servers_and_their_members_only(stage: Stage) -> None:
    for command in stage.wire.state.commands:
        assert command["contexts"] == [0], command["name"]
        assert command["integration_types"] == [0], command["name"]
    offered = {c["name"]: c["default_member_permissions"] for c in stage.wire.state.commands}
    assert offered["quota"] == str(discord.Permissions(manage_guild=True).value)
    assert offered["song"] is None


async def test_not_before_the_login(stage: Stage) -> None:
    async def nothing(_: Client) -> None:
        """Nothing to prepare."""

    prepare: Callable[[Client], Awaitable[None]] = nothing
    with pytest.raises(RuntimeError, match="not logged in"):
        await register_commands(Client(prepare), stage.application.database)


def test_the_digest_is_of_both_sides_and_of_no_order() -> None:
    ours, theirs = [{"name": "song"}], [{"id": "1", "version": "1"}, {"id": "2", "version": "1"}]
    known = digest(ours, theirs)
    assert digest(ours, theirs[::-1]) == known
    assert digest([{"name": "sing"}], theirs) != known
    assert digest(ours, theirs[:1]) != known
    assert digest(ours, [theirs[0], {"id": "2", "version": "2"}]) != known
