"""Commands are registered once, and again when they have changed here or at Discord."""

import asyncio
from collections.abc import Callable
from typing import Any

import discord
import pytest
from discord import app_commands

from cogs.client import registration
from cogs.client.registration import (
    BACKOFF,
    NOTIFY_AFTER,
    Registration,
    register_commands,
)
from db import operations
from services.operations.incidents import Incidents
from tests.factories import SettableClock
from tests.unit.cogs.songs.test_announcer import Stage, stage
from tests.unit.services.operations.conftest import FakeOperator
from tests.wire import Fault

__all__ = ["stage"]  # a fixture


async def test_unchanged_commands_are_registered_once(stage: Stage) -> None:
    database = stage.application.database
    assert stage.wire.state.command_puts == 1  # at the start of the bot
    assert not await register_commands(stage.client, database)
    assert stage.wire.state.command_puts == 1


async def test_a_new_command_is_registered(stage: Stage) -> None:
    @app_commands.command()
    async def anthem(interaction: discord.Interaction) -> None:
        """A new one."""

    stage.client.tree.add_command(anthem)
    assert await register_commands(stage.client, stage.application.database)
    assert "anthem" in {command["name"] for command in stage.wire.state.commands}
    assert not await register_commands(stage.client, stage.application.database)


async def test_commands_changed_by_somebody_else_are_registered_again(stage: Stage) -> None:
    database = stage.application.database
    stage.wire.state.commands.pop()
    assert await register_commands(stage.client, database)
    stage.wire.state.commands[0]["version"] = "1"
    assert await register_commands(stage.client, database)
    assert not await register_commands(stage.client, database)


async def test_each_application_is_registered_separately(stage: Stage) -> None:
    """A test bot and the real one may share a database's copy."""
    database = stage.application.database
    async with database.write() as connection:
        await connection.execute("UPDATE command_sets SET application_id = application_id + 1")
    assert await register_commands(stage.client, database)
    assert len(await (await database.reader.execute("SELECT * FROM command_sets")).fetchall()) == 2  # type: ignore[arg-type]


# --- What is not the bot's own --------------------------------------------------------------------

COMMANDS = "/applications/{application_id}/commands"
ENTRY_POINT: dict[str, Any] = {
    "id": "4004",
    "type": 4,
    "name": "launch",
    "name_localizations": {"de": "starten"},
    "description": "",
    "handler": 2,
    "version": "7",
    "contexts": [0, 1],
    "integration_types": [0, 1],
    "nsfw": False,
    "default_member_permissions": None,
}


async def test_entry_point_that_discord_made_is_kept(stage: Stage) -> None:
    """serenity 2993: a list without it is refused with 50240."""
    state, database = stage.wire.state, stage.application.database
    entry = {**ENTRY_POINT, "application_id": str(state.application_id)}
    state.commands.append(dict(entry))
    before = len(state.commands)
    assert await register_commands(stage.client, database)
    assert len(state.commands) == before
    (kept,) = [command for command in state.commands if command["type"] == 4]
    unchanged = entry.keys() - {"version"}
    assert {name: kept[name] for name in unchanged} == {name: entry[name] for name in unchanged}
    assert not await register_commands(stage.client, database)


async def test_command_of_an_older_version_goes(stage: Stage) -> None:
    state = stage.wire.state
    state.commands.append({**state.commands[0], "id": "4005", "name": "sing", "version": "1"})
    assert await register_commands(stage.client, stage.application.database)
    assert "sing" not in {command["name"] for command in state.commands}


# --- What can't be registered now -----------------------------------------------------------------


class Trying:
    """A registration with a simulated clock, and the operator's messages."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.operator = FakeOperator()
        self.slept: list[float] = []
        self.on_sleep: Callable[[], object] = lambda: None
        database = stage.application.database
        self.incidents = Incidents(database, self.operator, clock=SettableClock())
        self.registration = Registration(stage.client, database, self.incidents, sleep=self._sleep)
        stage.wire.state.commands.pop()  # there is something to do

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()

    def answer(self, status: int, body: Any = None, *, times: int = 1, method: str = "PUT") -> None:
        fault = Fault(status=status, body={"message": "no", "code": 0, **(body or {})})
        self.stage.wire.faults.plan(fault, method=method, route=COMMANDS, times=times)

    async def open_incidents(self) -> set[str]:
        rows = await operations.incidents(self.stage.application.database.reader)
        return {row.kind for row in rows}

    async def run(self) -> None:
        puts = self.stage.wire.state.command_puts
        await self.registration.run()
        assert self.stage.wire.state.command_puts == puts + 1


@pytest.fixture
def trying(stage: Stage) -> Trying:
    return Trying(stage)


async def test_long_rate_limit_is_waited_out_while_the_bot_runs(
    trying: Trying, caplog: pytest.LogCaptureFixture
) -> None:
    """AstrBot 8029, JDA 2544: 200 creates a day, then 429 for hours."""
    trying.answer(429, {"retry_after": 5_400.5, "global": False, "code": 30034})
    await trying.run()
    assert trying.slept == [5_400.5]
    began, ended = trying.operator.received
    assert began.startswith("commands_not_registered began")
    assert ended == "commands_not_registered ended"
    assert await trying.open_incidents() == set()
    (line,) = [r.message for r in caplog.records if r.name == registration.__name__]
    assert line.startswith("the commands are not registered, retrying in 5400 s")


@pytest.mark.parametrize(
    ("status", "body", "at_once"),
    [
        (403, {"code": 50001}, True),
        (400, {"code": 30034}, True),
        (503, {}, False),
        (429, {"retry_after": 70.0, "global": False}, False),
    ],
)
async def test_refusal_is_retried_with_growing_delays(
    trying: Trying, status: int, body: dict[str, Any], at_once: bool
) -> None:
    trying.answer(status, body, times=12)
    trying.on_sleep = lambda: notified.append(bool(trying.operator.received))
    notified: list[bool] = []
    await trying.run()
    assert notified[0] is at_once
    assert len(trying.slept) == 12
    for failures, slept in enumerate(trying.slept, start=1):
        nominal = min(BACKOFF.longest, BACKOFF.first * 2 ** (failures - 1))
        assert nominal / 2 <= slept <= max(nominal, 70.0)
    assert sum(trying.slept) > NOTIFY_AFTER
    assert len(trying.operator.received) == 2  # once that it began, once that it is over


async def test_start_waits_for_the_first_try_alone(
    trying: Trying, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying.answer(503)
    running = asyncio.create_task(trying.run())
    await asyncio.wait_for(trying.registration.tried(), 5)
    await running
    assert len(trying.slept) == 1
    monkeypatch.setattr(registration, "FIRST_TRY", 0.01)
    await asyncio.wait_for(Trying(trying.stage).registration.tried(), 5)


async def test_malformed_answer_is_retried(trying: Trying) -> None:
    trying.stage.wire.faults.plan(Fault(status=200, body=[{"a": 1}]), method="GET", route=COMMANDS)
    await trying.run()
    assert len(trying.slept) == 1


async def test_success_is_not_repeated(trying: Trying) -> None:
    await trying.run()
    assert (trying.slept, trying.operator.received) == ([], [])
