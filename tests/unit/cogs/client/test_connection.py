"""The login and the gateway sessions wait until Discord allows them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import discord
import pytest

import bot
from cogs.client import connection
from cogs.client.answers import LONGEST_PAUSE
from cogs.client.client import Client
from cogs.client.connection import POLL_INTERVAL, RESERVE, SessionStarts
from tests.wire import DiscordWire, Fault, Limits
from tests.world.sockets import local_config

CALLS = ["/users/@me", "/oauth2/applications/@me", "/gateway/bot"]
HOUR = {"message": "no", "retry_after": 3600.0, "global": False}
CLOUDFLARE = {"Via": "", "Content-Type": "text/html"}


@pytest.fixture
async def wire() -> AsyncIterator[DiscordWire]:
    async with DiscordWire(limits=Limits.none()) as wire:
        yield wire


@pytest.fixture
async def client(
    wire: DiscordWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    async with bot.composed(local_config(wire, tmp_path, monkeypatch)) as application:
        yield application.client
        await application.client.close()


async def log_in(client: Client, wire: DiscordWire) -> None:
    await client.login(wire.token)
    assert client.http.max_ratelimit_timeout == LONGEST_PAUSE
    assert client.shard_count == 1


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


@pytest.mark.parametrize("route", CALLS)
async def test_login_waits_for_a_long_rate_limit(
    client: Client,
    wire: DiscordWire,
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
    route: str,
) -> None:
    caplog.set_level(logging.WARNING)
    wire.faults.plan(Fault(status=429, body=HOUR), method="GET", route=route)
    await log_in(client, wire)
    assert slept == [3600.0]
    (line,) = [r.getMessage() for r in caplog.records]
    assert "Retrying in 3600.00 seconds" in line


async def test_login_waits_for_cloudflares_limit(
    client: Client, wire: DiscordWire, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """It has no `Via`, its body is a page, and discord.py gives up at once."""
    headers = {**CLOUDFLARE, "Retry-After": "900"}
    wire.faults.plan(Fault(status=429, body=b"<html>", headers=headers), route="/users/@me")
    wire.faults.plan(Fault(status=429, body=b"<html>", headers=CLOUDFLARE), route="/gateway/bot")
    await log_in(client, wire)
    first, second = slept
    assert first == 900
    assert 30 <= second <= 60
    lines = [r.getMessage() for r in caplog.records if r.name == connection.__name__]
    assert lines[0] == "rate limited at GET /users/@me, retrying in 900 s"
    assert len(lines) == 2


@pytest.mark.parametrize("route", CALLS)
async def test_login_waits_for_the_network(
    client: Client,
    wire: DiscordWire,
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
    route: str,
) -> None:
    """As after a power cut, when the machine is up before its router (Red-DiscordBot 5780)."""
    for _ in range(3):  # aiohttp itself repeats some once
        wire.faults.plan(Fault(cut="before"), method="GET", route=route)
    await log_in(client, wire)
    lines = [r.getMessage() for r in caplog.records if r.name == connection.__name__]
    assert lines
    assert all("Discord can't be reached" in line and "retrying in" in line for line in lines)
    assert len(slept) == len(lines)
    assert 2.5 <= slept[0] <= 5


async def test_login_fails_of_another_refusal(client: Client, wire: DiscordWire) -> None:
    wire.faults.plan(Fault(status=403, body={"message": "no", "code": 0}), route="/users/@me")
    with pytest.raises(discord.Forbidden):
        await log_in(client, wire)


# --- gateway sessions (discord-api-docs 215) ------------------------------------------------------


class Http:
    """discord.py's client: answers in order, the last one again and again."""

    def __init__(self, *remaining: int | Exception | None) -> None:
        self.remaining = list(remaining)
        self.calls = 0

    async def get_bot_gateway(self) -> tuple[int, str, dict[str, int | None]]:
        self.calls += 1
        left = self.remaining.pop(0) if len(self.remaining) > 1 else self.remaining[0]
        if isinstance(left, Exception):
            raise left
        return 1, "ws://", {"total": 1000, "remaining": left, "reset_after": 1_000_000}


def starts(*remaining: int | Exception | None) -> tuple[SessionStarts, Http, list[float]]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    http: Any = Http(*remaining)
    return SessionStarts(http, sleep=sleep), http, slept


async def test_no_session_is_begun_while_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    sessions, http, slept = starts(0, 0, 0, 5)
    await sessions.take()
    assert (http.calls, slept) == (4, [POLL_INTERVAL] * 3)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "no more gateway sessions for 1000 s (1000 a day)" in line


async def test_sessions_are_counted_again_near_the_limit() -> None:
    sessions, http, slept = starts(RESERVE + 1, 3)
    await sessions.take()
    assert (http.calls, slept) == (1, [])
    await sessions.take()
    assert http.calls == 2


async def test_sessions_wait_for_a_long_rate_limit(caplog: pytest.LogCaptureFixture) -> None:
    """discord.py doesn't catch it, so it ended the bot."""
    sessions, http, slept = starts(discord.RateLimited(90.5), 5)
    await sessions.take()
    assert (http.calls, slept) == (2, [90.5])
    assert "rate limited at GET /gateway/bot, retrying in 90 s" in caplog.text


async def test_malformed_answer_makes_discord_py_retry() -> None:
    """discord.py connects again after this error."""
    sessions, _, _ = starts(None)
    with pytest.raises(discord.GatewayNotFound):
        await sessions.take()


async def test_the_logins_answer_counts() -> None:
    sessions, http, _ = starts(0)
    sessions.count({"total": 1000, "remaining": 900, "reset_after": 0, "max_concurrency": 1})
    await sessions.take()
    assert http.calls == 0


async def test_a_wait_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def cancelled(_: float) -> None:
        raise asyncio.CancelledError

    http: Any = Http(0)
    sessions = SessionStarts(http, sleep=cancelled)
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await sessions.take()
    assert len(caplog.records) == 1


async def test_a_start_without_sessions_waits_before_it_connects(
    client: Client,
    wire: DiscordWire,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """discord.py gives up a connection that has not identified after 180 s, and logs a trace."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(connection, "POLL_INTERVAL", 0.01)
    wire.limit_sessions(0)
    client.shard_connect_timeout = 0.1
    await client.login(wire.token)
    connecting = asyncio.ensure_future(client.connect())
    await asyncio.sleep(0.3)
    assert wire.gateway.identifies == 0
    (line,) = [record.getMessage() for record in caplog.records]
    assert "no more gateway sessions" in line
    client.shard_connect_timeout = 10.0
    wire.limit_sessions(1)
    await asyncio.wait_for(client.wait_until_ready(), 10)
    assert wire.gateway.identifies == 1
    connecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await connecting
