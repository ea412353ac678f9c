"""The playground as a newcomer starts it."""

import asyncio
import contextlib
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import simcord
from simcord.preview import Preview

import bot
from playground import discord as playground
from playground.simcord_internals import serialise_actions
from services.settings.settings import Member
from tests.music import is_mp3


def play_once() -> int:
    return playground.play(bot.composed, once=True)


def test_one_song_from_the_command_to_the_channel(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(playground, "SECONDS", 10)
    monkeypatch.setenv("DISCORD_TOKEN", "not-to-be-read")
    assert play_once() == 0
    shown = capsys.readouterr().out
    places = [
        shown.index(word) for word in ("/song", "QUEUED", "PROCESSING", "COMPLETED", "posted")
    ]
    assert places == sorted(places)
    assert "1-midnight-train-carry-me-home.mp3" in shown
    assert "alice has 9 of 10 credits left" in shown


def test_song_that_fails_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(playground, "GENRES", "funk, fail")
    assert play_once() == 1
    assert "FAILED" in capsys.readouterr().out


def test_song_that_does_not_come_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(playground, "TIMEOUT", 0.0)
    assert play_once() == 1
    assert "in time" in capsys.readouterr().err


def test_ctrl_c_is_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(playground, "_play", interrupted)
    assert play_once() == 0


async def test_page_is_served_while_a_song_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(playground, "SECONDS", 10)
    work = asyncio.create_task(playground._play(bot.composed, once=False, port=None))
    shown = ""
    async with asyncio.timeout(30):
        while "Now try it" not in shown and not work.done():
            await asyncio.sleep(0.05)
            shown += capsys.readouterr().out
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    assert "http://127.0.0.1:" in shown
    assert "posted in #songs" in shown


async def test_refresh_waits_for_an_action_and_is_tried_again() -> None:
    refreshed: list[int] = []
    env = SimpleNamespace(http_requests=[1])

    async def refresh() -> None:
        refreshed.append(len(env.http_requests))
        if len(refreshed) == 1:
            raise simcord.SetupError("busy")

    lock = asyncio.Lock()
    await lock.acquire()
    task = asyncio.create_task(
        playground.keep_fresh(env, SimpleNamespace(refresh=refresh), lock)  # type: ignore[arg-type]
    )
    await asyncio.sleep(1.5 * playground.POLL_INTERVAL)
    assert refreshed == []
    lock.release()
    async with asyncio.timeout(5):
        while len(refreshed) < 2:  # noqa: ASYNC110 - the simulation has no event for it
            await asyncio.sleep(0.01)
    await asyncio.sleep(2 * playground.POLL_INTERVAL)
    assert refreshed == [1, 1], "nothing happened since"
    task.cancel()


async def test_action_is_made_on_what_is_shown_now() -> None:
    class Page:
        def _get_page(self, _: str | None) -> SimpleNamespace:
            return SimpleNamespace(revision=7)

        async def _action(self, context_id: str | None, body: Any) -> Any:
            return context_id, body

    page = Page()
    serialise_actions(page, asyncio.Lock())
    assert await page._action("one", {"published_revision": 3}) == (
        "one",
        {"published_revision": 7},
    )
    assert await page._action(None, {"kind": "resync"}) == (None, {"kind": "resync"})


def test_message_that_shows_no_state_yet() -> None:
    assert playground.status_of(None) == ""
    assert playground.status_of(SimpleNamespace(embeds=[])) == ""
    assert playground.status_of(SimpleNamespace(embeds=[SimpleNamespace(description="-")])) == ""


async def test_first_set_up_of_the_readme_works_and_the_song_is_an_mp3() -> None:
    async with playground.playing(bot.composed) as stage:
        answer = await stage.mona.slash(
            stage.channel, "quota role", role=stage.artists, allowance=60
        )
        assert answer.response is not None
        assert "60 credits" in answer.response.content
        await stage.alice.slash(stage.channel, "credits")
        credits = stage._application.credits
        roles = frozenset({stage.artists.id})
        balance = await credits.balance(Member(stage.guild.id, stage.alice.id, roles))
        assert balance.free == 60
        await stage.alice.slash(
            stage.channel, "song", genres="piano", instrumental=True, seconds=10
        )
        async with asyncio.timeout(30):
            while not any(message.attachments for message in stage.channel.history()):  # noqa: ASYNC110 - the simulation has no event for it
                await asyncio.sleep(0.05)
        (post,) = [message for message in stage.channel.history() if message.attachments]
        assert is_mp3(await post.attachments[0].read())


def test_simcord_has_the_private_parts_in_use() -> None:
    assert inspect.signature(Preview._action).parameters.keys() == {
        *("self", "context_id", "body"),
    }
