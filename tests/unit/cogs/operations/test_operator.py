"""/operator: what the operator sees and sets, and nobody else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from cogs.operations import operator
from cogs.operations.operator import OperatorCog, overview_card
from db import budgets
from db.records import OperatorBudget, Reason, ServerCount, State, Tally, Undelivered
from services.calendar import Period
from services.credits.budgets import OperatorBudgetExceeded
from services.errors import InvalidRequest, NotPermitted
from services.reports.overview import ServerUse
from tests.factories import NOON, add_song
from tests.world import World, running, said, text_of

DAY = Period(datetime(2026, 3, 14, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC))


@pytest.fixture
async def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> AsyncIterator[World]:
    """One in which mona is the operator, an administrator of the server."""
    world = World(tmp_path, operator_ids=frozenset({1}))
    world.clock.install(monkeypatch)
    async with running(world):
        admins = world.guild.create_role("admins", permissions=discord.Permissions(8))
        world.mona = world.guild.add_member(world.env.create_user("olga"), roles=[admins])
        ids = frozenset({world.mona.id})  # not known before she is there
        cog = world.client.get_cog("OperatorCog")
        assert isinstance(cog, OperatorCog)
        cog._operator_ids = ids
        yield world


async def budget(world: World, **options: Any) -> simcord.InteractionResult:
    return await world.mona.slash(world.channel, "operator budget", **options)


async def test_without_an_operator_there_are_no_such_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.clock.install(monkeypatch)
    async with running(world):
        assert world.env.backend.find_command("operator", None) is None


async def test_a_budget_for_each_server_stops_songs_until_tomorrow(world: World) -> None:
    answer = await budget(world, scope="each", songs=1)
    assert "each server is now 1 song per day" in text_of(said(answer))
    await world.song()
    await world.song(world.bob)
    assert len(await world.rows()) == 1
    (refused,) = world.errors()
    assert isinstance(refused, OperatorBudgetExceeded)
    world.clock.moved += DAY.end - DAY.start
    async with world.working():
        await world.ended()
        await world.song(world.bob)
        await world.ended(2)


async def test_raising_a_budget_starts_waiting_songs(world: World) -> None:
    await world.song()
    await budget(world, scope="all", songs=0)
    async with world.working():
        await world.spawner.rest()
        (song,) = await world.rows()
        assert song.submits == 0
        answer = await budget(world, scope="all", remove=True)
        assert text_of(said(answer)) == (
            "The budget for all servers together was removed. The default applies: 500 songs "
            "per day (UTC), from DAILY_SONGS."
        )
        await world.ended()


async def test_unlimited_wins_over_the_default(world: World) -> None:
    shown = text_of(said(await world.mona.slash(world.channel, "operator show")))
    assert "All servers together: 500 songs per day" in shown
    assert "Each server: 100 songs per day" in shown
    answer = await budget(world, scope="each", unlimited=True)
    assert text_of(said(answer)) == "There is no daily limit for each server from now on."
    shown = text_of(said(await world.mona.slash(world.channel, "operator show")))
    assert "Each server: no limit" in shown
    answer = await budget(world, scope="server", remove=True)
    assert text_of(said(answer)) == (
        f"The budget for server {world.guild.id} was removed. The budget for each server applies "
        "there now."
    )


async def test_a_server_may_have_a_separate_budget(world: World) -> None:
    await budget(world, scope="each", songs=0)
    answer = await budget(world, scope="server", songs=5, credits=1)
    assert f"server {world.guild.id} is now 1 credit and 5 songs per day" in text_of(said(answer))
    await world.song(seconds=60)
    assert [type(error) for error in world.errors()] == [OperatorBudgetExceeded]
    await budget(world, scope="server", credits=2)
    await world.song(seconds=60)
    assert len(await world.rows()) == 1


async def test_operator_sees_todays_usage(world: World) -> None:
    await budget(world, scope="server", songs=5, server="123")
    async with world.working():
        await world.song()
        await world.ended()
    await world.application.servers.rename(world.guild.id, "One")
    shown = text_of(said(await world.mona.slash(world.channel, "operator show")))
    assert "Today: 1 song submitted, 1 credit" in shown
    assert "Server 123: 5 songs per day" in shown
    assert "One" in shown


async def test_operator_sees_undelivered_songs_by_reason(world: World) -> None:
    shown = text_of(said(await world.mona.slash(world.channel, "operator show")))
    assert "Could not be posted" not in shown
    kept = {"state": State.UNDELIVERED, "reason": Reason.CHANNEL_GONE, "file": "1.mp3"}
    for song_id in (1, 2):
        await add_song(world.application.database, song_id, **kept)
    shown = text_of(said(await world.mona.slash(world.channel, "operator show")))
    at = int(NOON.timestamp())
    assert f"Could not be posted: 2 songs: 2, the oldest <t:{at}:R>: The channel is gone." in shown


@pytest.mark.parametrize(
    "options",
    [
        {"scope": "each"},
        {"scope": "each", "songs": 1, "remove": True},
        {"scope": "each", "songs": 1, "unlimited": True},
        {"scope": "each", "unlimited": True, "remove": True},
        {"scope": "each", "songs": 1, "server": "123"},
        {"scope": "server", "songs": 1, "server": "everybody"},
        {"scope": "server", "songs": 1, "server": "0"},
        {"scope": "server", "songs": 1, "server": "9" * 19},
    ],
)
async def test_contradictory_options_are_refused(world: World, options: dict[str, Any]) -> None:
    await budget(world, **options)
    (error,) = world.errors()
    assert isinstance(error, InvalidRequest)
    assert await budgets.operators(world.application.database.reader) == []


async def test_commands_are_refused_to_all_others(world: World) -> None:
    sub = {"type": 1, "name": "budget", "options": []}
    sub["options"] = [
        {"type": 3, "name": "scope", "value": "each"},
        {"type": 4, "name": "songs", "value": 1},
    ]
    await world.raw_slash(world.alice, "operator", sub)
    await world.raw_slash(world.alice, "operator", {"type": 1, "name": "show", "options": []})
    assert [type(error) for error in world.errors()] == [NotPermitted] * 2
    assert await budgets.operators(world.application.database.reader) == []


def test_many_servers_and_budgets_fit_into_a_card() -> None:
    uses = [
        ServerUse(ServerCount(n, "`*" * 50, None, 10**6, 10**6), Tally(10**6, 10**9), 1, None, DAY)
        for n in range(50)
    ]
    budgets = [OperatorBudget("server", 2**62 + n, 10**9, 10**9) for n in range(50)]
    undelivered = [Undelivered(Reason.NO_ACCESS, 10**6, NOON) for _ in range(50)]
    card = overview_card(Tally(10**6, 10**9), budgets, uses, undelivered)
    assert all(len(field.value or "") <= 1_024 for field in card.fields)
    assert len(card) <= 6_000
    assert (card.fields[0].name or "").endswith("50,000,000 songs")
    assert "and 40 more" in (card.fields[1].value or "")
    assert operator.LISTED == 10
