"""The playground: the real bot in a simulated Discord server in the browser.

Bot, database and HTTP client are the real ones. The song API runs on loopback, Discord is simcord.
Neither the environment nor `.env` is read, and all files are temporary.
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
TIMEOUT = 90.0
"""Seconds that the first song may take: composing it takes about one."""
POLL_INTERVAL = 0.2

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
        """Return the keyword arguments as the only source."""
        return (init_settings,)


class Outside:
    """Spawns tasks outside of the simulation, so that their timers run in real time."""

    def __init__(self) -> None:
        self._context = Context()

    def begin(self) -> None:
        """Take the context of the main task once the simulation runs."""
        self._context = copy_context()

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Spawn a task, as the bot's `spawn`."""
        return self._context.copy().run(asyncio.create_task, work, name=name)


class Playground:
    """A server with channels and roles, a manager and two members to switch between."""

    def __init__(self, env: simcord.Env, application: Any) -> None:  # noqa: ANN401 - bot.Application
        self.env = env
        self._application = application
        self.guild = guild = env.create_guild("Songwright's playground")
        self.channel = guild.create_text_channel("songs")
        guild.create_text_channel("mod-log")
        managers = guild.create_role("managers", permissions=discord.Permissions(manage_guild=True))
        self.artists, regulars = guild.create_role("Artists"), guild.create_role("Regulars")
        self.alice = guild.add_member(env.create_user("alice"), roles=[self.artists, regulars])
        self.bob = guild.add_member(env.create_user("bob"), roles=[regulars])
        self.mona = guild.add_member(env.create_user("mona, the manager"), roles=[managers])
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line with the seconds since `/song`."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    async def first_song(self, lock: asyncio.Lock) -> bool:
        """Request a song and print its states. Return whether it was posted."""
        print(f"\nalice types  /song genres:{GENRES} lyrics:... seconds:{SECONDS}\n", flush=True)
        self._began = time.monotonic()
        async with lock:
            request = await self.alice.slash(
                self.channel, "song", genres=GENRES, lyrics=LYRICS, seconds=SECONDS, seed=42
            )
        state = ""
        async with asyncio.timeout(TIMEOUT):
            while state not in ("COMPLETED", "FAILED", "CANCELLED"):
                await asyncio.sleep(POLL_INTERVAL)
                if (now := status_of(request.response)) and now != state:
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
    """Return the state that a status message shows in bold; blank if none."""
    if message is None or not message.embeds:
        return ""
    parts = str(message.embeds[0].description or "").split("**")
    return parts[1] if len(parts) > 1 else ""


async def keep_fresh(env: simcord.Env, page: Any, lock: asyncio.Lock) -> None:  # noqa: ANN401
    """Refresh the browser when something happened; each refresh makes pending actions stale."""
    seen = -1
    while True:
        await asyncio.sleep(POLL_INTERVAL)
        if (count := len(env.http_requests)) != seen:
            # Refused during an action: retried at the next change.
            with contextlib.suppress(simcord.SetupError, TimeoutError):
                async with lock:
                    # The simulation's clock has its own year; the bot uses the real time.
                    page.capture_time = utc_now()
                    await page.refresh()
                seen = count


@contextlib.asynccontextmanager
async def playing(compose: Compose) -> AsyncIterator[Playground]:
    """Run the playground in a temporary folder."""
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
                "Now try it: type /song in the page, and switch between alice (one of the "
                "Artists and Regulars), bob (one of the Regulars) and mona, who manages the "
                "server: try /quota show as her.\nCtrl+C ends it.",
                flush=True,
            )
            await refreshing
    return 0


def play(compose: Compose, *, once: bool, port: int | None = None) -> int:
    """Run the playground until Ctrl+C, or with `once` for one song. Return the exit status.

    `compose`: bot.py's, so that the playground runs the same bot.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        return asyncio.run(_play(compose, once=once, port=port))
    except KeyboardInterrupt:
        return 0
    except TimeoutError:
        print("The song did not arrive in time.", file=sys.stderr)
        return 1
