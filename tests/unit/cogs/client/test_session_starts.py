"""The gateway sessions that Discord lets a bot begin in a day (discord-api-docs 215)."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import discord
import pytest
from pydantic import SecretStr

import bot
from cogs.client import connection
from cogs.client.connection import POLL_INTERVAL, RESERVE, SessionStarts
from services.config import Config
from tests.wire import DiscordWire, Limits


class Http:
    """discord.py's client, as far as it is asked here: answers in order, the last for ever."""

    def __init__(self, *remaining: int | Exception | None) -> None:
        self.remaining = list(remaining)
        self.asked = 0

    async def get_bot_gateway(self) -> tuple[int, str, dict[str, int | None]]:
        self.asked += 1
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


async def test_no_session_is_begun_while_none_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    sessions, http, slept = starts(0, 0, 0, 5)
    await sessions.take()
    assert (http.asked, slept) == (4, [POLL_INTERVAL] * 3)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "no more gateway sessions for 1000 s (1000 a day)" in line


async def test_discord_is_asked_again_only_near_the_limit() -> None:
    sessions, http, slept = starts(RESERVE + 1, 3)
    await sessions.take()
    assert (http.asked, slept) == (1, [])
    await sessions.take()
    assert http.asked == 2


async def test_a_long_rate_limit_is_waited_out(caplog: pytest.LogCaptureFixture) -> None:
    """No handler of discord.py's expects it: it ended the bot."""
    sessions, http, slept = starts(discord.RateLimited(90.0), 5)
    await sessions.take()
    assert (http.asked, slept) == (2, [90.0])
    assert "rate limited at GET /gateway/bot, retrying in 90 s" in caplog.text


async def test_an_answer_that_is_malformed_is_no_defect_here() -> None:
    """discord.py connects again after this error."""
    sessions, _, _ = starts(None)
    with pytest.raises(discord.GatewayNotFound):
        await sessions.take()


async def test_what_the_login_was_told_counts() -> None:
    sessions, http, _ = starts(0)
    sessions.count({"total": 1000, "remaining": 900, "reset_after": 0, "max_concurrency": 1})
    await sessions.take()
    assert http.asked == 0


async def test_the_wait_is_one_line_however_often_it_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """discord.py gives up a connection that has not identified after 180 s, and logs a trace."""
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(connection, "POLL_INTERVAL", 0.01)
    async with DiscordWire(limits=Limits.none()) as wire:
        monkeypatch.setattr(discord.http.Route, "BASE", wire.api_url)
        gateway = discord.gateway.DiscordWebSocket
        monkeypatch.setattr(gateway, "DEFAULT_GATEWAY", gateway.DEFAULT_GATEWAY)
        settings = Config(
            discord_token=SecretStr(wire.token),
            segmind_api_key=SecretStr("SG_0123456789abcdef"),
            database_url=f"sqlite:///{tmp_path / 'songs.db'}",
            data_dir=tmp_path,
        )
        wire.limit_sessions(0)
        async with bot.composed(settings) as application:
            client = application.client
            client.shard_connect_timeout = 0.1
            await client.login(wire.token)
            connecting = asyncio.ensure_future(client.connect())
            try:
                await asyncio.sleep(0.3)
                assert wire.gateway.identifies == 0
                (line,) = [record.getMessage() for record in caplog.records]
                assert "no more gateway sessions" in line
                client.shard_connect_timeout = 10.0
                wire.limit_sessions(1)
                await asyncio.wait_for(client.wait_until_ready(), 10)
                assert wire.gateway.identifies == 1
            finally:
                connecting.cancel()
                await client.close()
                await asyncio.gather(connecting, return_exceptions=True)
