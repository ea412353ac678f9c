"""A newcomer's Discord, on this machine: the real bot in a simulated server in the browser.

The bot, the database and the HTTP client are the real ones; the song API is the project's own on
loopback, Discord is simcord. Nothing is read from the environment or `.env`, and nothing is kept.
"""

import asyncio
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import discord
import pydantic_settings
import simcord

from playground.simcord_internals import serialise_actions
from playground.song_api import SongApiServer, composing_pool, serve
from services.clock import utc_now
from services.config import Config
from services.settings.settings import Member

GENRES = "funk, pop, female vocals, energetic, 105 BPM"
LYRICS = (
    "[verse]\nStreetlights hum a quiet tune\nI am walking with the moon\n"
    "[chorus]\nMidnight train, carry me home\nMidnight train, I am not alone"
)
SECONDS = 60
PATIENCE = 90.0
"""Seconds that the first song may take: composing it takes about one."""
LOOK_EVERY = 0.2

Compose = Callable[..., AbstractAsyncContextManager[Any]]


class PlaygroundConfig(Config):
    """Configuration from keyword arguments alone, without the environment or `.env`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[pydantic_settings.BaseSettings],  # noqa: ARG003 - pydantic's form
        init_settings: pydantic_settings.PydanticBaseSettingsSource,
        env_settings: pydantic_settings.PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: pydantic_settings.PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: pydantic_settings.PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[pydantic_settings.PydanticBaseSettingsSource, ...]:
        """Only what the caller gives."""
        return (init_settings,)


class Outside:
    """Spawns tasks that are not the simulated bot's, so that their timers run in real time."""

    def __init__(self) -> None:
        self._context = Context()

    def begin(self) -> None:
        """From the main task, once the simulation is up."""
        self._context = copy_context()

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """The `spawn` that the bot is composed with."""
        return self._context.copy().run(asyncio.create_task, work, name=name)


class Playground:
    """One server with what its commands can name, a manager and two members to switch between."""

    def __init__(self, env: simcord.Env, application: Any) -> None:  # noqa: ANN401 - bot.Application
        self.env = env
        self._application = application
        self.guild = guild = env.create_guild("Songwright's playground")
        self.channel = guild.create_text_channel("songs")
        guild.create_text_channel("mod-log")
        server_settings = guild.create_role(
            "managers", permissions=discord.Permissions(manage_guild=True)
        )
        self.artists, regulars = guild.create_role("Artists"), guild.create_role("Regulars")
        self.alice = guild.add_member(env.create_user("alice"), roles=[self.artists, regulars])
        self.bob = guild.add_member(env.create_user("bob"), roles=[regulars])
        self.mona = guild.add_member(env.create_user("mona, the manager"), roles=[server_settings])
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """A line in the terminal, with the seconds since `/song`."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    async def first_song(self, lock: asyncio.Lock) -> bool:
        """Ask for a song and tell its states; whether it arrived in the channel."""
        print(f"\nalice types  /song genres:{GENRES} lyrics:... seconds:{SECONDS}\n", flush=True)
        self._began = time.monotonic()
        async with lock:
            asked = await self.alice.slash(
                self.channel, "song", genres=GENRES, lyrics=LYRICS, seconds=SECONDS, seed=42
            )
        state = ""
        async with asyncio.timeout(PATIENCE):
            while state not in ("COMPLETED", "FAILED", "CANCELLED"):
                await asyncio.sleep(LOOK_EVERY)
                if (now := status_of(asked.response)) and now != state:
                    state = now
                    self.say(state)
        post = next((m for m in self.channel.history() if m.attachments), None)
        if state != "COMPLETED" or post is None:
            self.say("The song did not arrive.")
            return False
        file = post.attachments[0]
        self.say(f"posted in #songs: {file.filename}, {file.size:,} bytes")
        credits = self._application.credits
        alice = await credits.balance(Member(self.guild.id, self.alice.id))
        self.say(f"alice has {alice.free} of {alice.allowance.credits} credits left\n")
        return True


def status_of(message: Any) -> str:  # noqa: ANN401 - a simulated message
    """The state that a status message shows in bold; blank before it shows one."""
    if message is None or not message.embeds:
        return ""
    words = str(message.embeds[0].description or "").split("**")
    return words[1] if len(words) > 1 else ""


async def keep_fresh(env: simcord.Env, page: Any, lock: asyncio.Lock) -> None:  # noqa: ANN401
    """Show in the browser what happened; only then, since a refresh makes its page stale."""
    seen = -1
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if (count := len(env.http_requests)) != seen:
            # Refused while somebody is in the middle of an action: next time, then.
            with contextlib.suppress(simcord.SetupError, TimeoutError):
                async with lock:
                    # The simulation's clock stands in its own year; the bot's times are ours.
                    page.capture_time = utc_now()
                    await page.refresh()
                seen = count


@contextlib.asynccontextmanager
async def playing(compose: Compose) -> AsyncIterator[Playground]:
    """The whole of it, in a temporary folder."""
    outside = Outside()

    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="songwright-")))
        pool = stack.enter_context(composing_pool())
        api = await stack.enter_async_context(serve(SongApiServer(executor=pool)))
        config = PlaygroundConfig(
            discord_token="playground",  # noqa: S106 - no secret
            segmind_api_key=api.key,
            segmind_api_url=api.root,
            database_url=f"sqlite:///{folder / 'songs.db'}",
            data_dir=folder,
        )
        application = await stack.enter_async_context(
            compose(config, spawn=outside, prepare=lambda client: client.tree.sync())
        )
        await application.transcoder.check_sandbox()
        env = await stack.enter_async_context(
            simcord.run(application.client, shard_count=1, check_errors=False)
        )
        outside.begin()
        await stack.enter_async_context(application.working(outside))
        yield Playground(env, application)


async def _play(compose: Compose, *, once: bool, port: int | None) -> int:
    async with playing(compose) as playground:
        lock = asyncio.Lock()
        if once:
            return 0 if await playground.first_song(lock) else 1
        env = playground.env
        viewers = [playground.alice, playground.bob, playground.mona]
        async with env.preview(
            playground.channel,
            viewers=viewers,
            layout="channel",
            port=port,
            presentation_time=utc_now(),
        ) as page:
            serialise_actions(page, lock)
            refreshing = asyncio.create_task(keep_fresh(env, page, lock), name="refresh")
            print(f"\nOpen this address in a browser:\n\n    {page.url}\n", flush=True)
            await playground.first_song(lock)
            print(
                "Now it is yours: type /song in the page, and switch between alice (one of the "
                "Artists and Regulars), bob (one of the Regulars) and mona, who manages the "
                "server: try /quota show as her.\nCtrl+C ends it.",
                flush=True,
            )
            await refreshing
    return 0


def play(compose: Compose, *, once: bool, port: int | None = None) -> int:
    """Open the playground until Ctrl+C, or with `once` stop after one song; the exit status.

    `compose` is bot.py's own: what plays here is what runs there.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        return asyncio.run(_play(compose, once=once, port=port))
    except KeyboardInterrupt:
        return 0
    except TimeoutError:
        print("The song did not arrive in time.", file=sys.stderr)
        return 1
