"""Whatever keeps Discord from answering a call of the login is waited out."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import discord
import pytest
from pydantic import SecretStr

import bot
from cogs.client import connection
from cogs.client.answers import LONGEST_PAUSE
from cogs.client.connection import retry_after
from services.config import Config
from tests.wire import DiscordWire, Fault, Limits

CALLS = ["/users/@me", "/oauth2/applications/@me", "/gateway/bot"]
HOUR = {"message": "no", "retry_after": 3600.0, "global": False}
CLOUDFLARE = {"Via": "", "Content-Type": "text/html"}


async def logged_in(wire: DiscordWire, tmp_path: Path) -> None:
    settings = Config(
        discord_token=SecretStr(wire.token),
        segmind_api_key=SecretStr("SG_0123456789abcdef"),
        database_url=f"sqlite:///{tmp_path / 'songs.db'}",
        data_dir=tmp_path,
    )
    async with bot.composed(settings) as application:
        try:
            await application.client.login(wire.token)
            assert application.client.http.max_ratelimit_timeout == LONGEST_PAUSE
            assert application.client.shard_count == 1
        finally:
            await application.client.close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of more than a second, which are not waited for."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float, result: Any = None) -> Any:
        if seconds > 1:
            pauses.append(seconds)
        return await sleep(min(seconds, 0.001), result)

    monkeypatch.setattr(asyncio, "sleep", noted)
    return pauses


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> Any:
    async with DiscordWire(limits=Limits.none()) as wire:
        monkeypatch.setattr(discord.http.Route, "BASE", wire.api_url)
        gateway = discord.gateway.DiscordWebSocket
        monkeypatch.setattr(gateway, "DEFAULT_GATEWAY", gateway.DEFAULT_GATEWAY)
        yield wire


@pytest.mark.parametrize("route", CALLS)
async def test_long_rate_limit_is_waited_out_with_one_line(
    wire: DiscordWire,
    tmp_path: Path,
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
    route: str,
) -> None:
    caplog.set_level(logging.WARNING)
    wire.faults.plan(Fault(status=429, body=HOUR), method="GET", route=route)
    await logged_in(wire, tmp_path)
    assert slept == [3600.0]
    (line,) = [r.getMessage() for r in caplog.records]
    assert "Retrying in 3600.00 seconds" in line


async def test_cloudflares_limit_is_waited_out_too(
    wire: DiscordWire, tmp_path: Path, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """It has no `Via`, its body is a page, and discord.py gives up at once."""
    headers = {**CLOUDFLARE, "Retry-After": "900"}
    wire.faults.plan(Fault(status=429, body=b"<html>", headers=headers), route="/users/@me")
    wire.faults.plan(Fault(status=429, body=b"<html>", headers=CLOUDFLARE), route="/gateway/bot")
    await logged_in(wire, tmp_path)
    first, second = slept
    assert first == 900
    assert 30 <= second <= 60
    lines = [r.getMessage() for r in caplog.records if r.name == connection.__name__]
    assert lines[0] == "rate limited at GET /users/@me, retrying in 900 s"
    assert len(lines) == 2


@pytest.mark.parametrize("route", CALLS)
async def test_a_network_that_is_not_up_yet_is_waited_for(
    wire: DiscordWire,
    tmp_path: Path,
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
    route: str,
) -> None:
    """As after a power cut, when the machine is up before its router (Red-DiscordBot 5780)."""
    for _ in range(3):  # aiohttp itself repeats some once
        wire.faults.plan(Fault(cut="before"), method="GET", route=route)
    await logged_in(wire, tmp_path)
    lines = [r.getMessage() for r in caplog.records if r.name == connection.__name__]
    assert lines
    assert all("Discord can't be reached" in line and "retrying in" in line for line in lines)
    assert len(slept) == len(lines)
    assert 2.5 <= slept[0] <= 5


async def test_another_refusal_ends_the_login(wire: DiscordWire, tmp_path: Path) -> None:
    wire.faults.plan(Fault(status=403, body={"message": "no", "code": 0}), route="/users/@me")
    with pytest.raises(discord.Forbidden):
        await logged_in(wire, tmp_path)


def test_who_does_not_say_for_how_long_says_nothing() -> None:
    assert retry_after(discord.RateLimited(70.5)) == 70.5
    assert retry_after(TimeoutError()) == 0
