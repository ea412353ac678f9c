"""The gateway sessions that Discord lets a bot begin in a day (discord-api-docs 215)."""

import logging
from typing import Any

import pytest

from cogs.connection.session_starts import ASK_AGAIN, RESERVE, SessionStarts


class Http:
    """discord.py's client, as far as it is asked here: answers in order, the last for ever."""

    def __init__(self, *remaining: int) -> None:
        self.remaining = list(remaining)
        self.asked = 0

    async def get_bot_gateway(self) -> tuple[int, str, dict[str, int]]:
        self.asked += 1
        left = self.remaining.pop(0) if len(self.remaining) > 1 else self.remaining[0]
        return 1, "ws://", {"total": 1000, "remaining": left, "reset_after": 1_000_000}


def starts(*remaining: int) -> tuple[SessionStarts, Http, list[float]]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    http: Any = Http(*remaining)
    return SessionStarts(http, sleep=sleep), http, slept


async def test_no_session_is_begun_while_none_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    sessions, http, slept = starts(0, 0, 0, 5)
    await sessions.take()
    assert (http.asked, slept) == (4, [ASK_AGAIN] * 3)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "no more gateway sessions for 1000 s (1000 a day)" in line


async def test_discord_is_asked_again_only_near_the_limit() -> None:
    sessions, http, slept = starts(RESERVE + 1, 3)
    await sessions.take()
    assert (http.asked, slept) == (1, [])
    await sessions.take()
    assert http.asked == 2


async def test_what_the_login_was_told_counts() -> None:
    sessions, http, _ = starts(0)
    sessions.told({"total": 1000, "remaining": 900, "reset_after": 0, "max_concurrency": 1})
    await sessions.take()
    assert http.asked == 0
