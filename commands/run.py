"""`bot.py run`: the bot itself, until SIGTERM or SIGINT."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import discord

from cogs.client import discord_internals
from cogs.client.client import Client
from cogs.client.registration import Registration
from commands.exit_status import FAILED, reject
from services.audio.transcoder import Transcoder
from services.config import Config
from services.operations import heartbeat
from services.operations.process_lock import exclusive_process

log = logging.getLogger("songwright")

GOODBYE = 2.0
"""Seconds to wait for Discord at the end of the connection; discord.py would wait for 30."""
TOKEN_REFUSED, OTHER_SHARDS, DISALLOWED_INTENTS = 4004, (4010, 4011), 4014
"""Discord, "Gateway Close Event Codes"."""


class Application(Protocol):
    """The composed bot, as far as it is started and stopped here."""

    client: Client
    transcoder: Transcoder

    @property
    def registration(self) -> Registration:
        """Registers the commands with Discord."""
        ...

    def working(self) -> AbstractAsyncContextManager[Awaitable[object]]:
        """Make songs while the block runs; what it gives ends only by raising."""
        ...


class Compose(Protocol):
    """Makes the bot's parts; starts nothing."""

    def __call__(
        self, config: Config, *, alone: bool
    ) -> AbstractAsyncContextManager[Application]: ...


async def run(config: Config, compose: Compose) -> int:
    """Run the bot until SIGTERM or SIGINT, and return the exit status.

    Raises:
        AlreadyRunning: another process uses the database or the data folder.
        discord.HTTPException, aiohttp.ClientError, OSError: Discord can't be reached.
        Exception: what one of the background loops has raised.
    """
    discord_internals.configure(config.discord_api_url)
    stopped = asyncio.Event()
    _on_signals(stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        locking = asyncio.ensure_future(
            stack.enter_async_context(exclusive_process(config.database_path, config.data_dir))
        )
        await _wait_for_first(locking, stopped.wait())
        if stopped.is_set():
            return 0
        application = await stack.enter_async_context(compose(config, alone=locking.result()))
        await stack.enter_async_context(_close_at_end(application.client))
        try:
            await _serve(application, config, stopped)
        except discord.LoginFailure:
            return reject(
                "DISCORD_TOKEN is refused by Discord. Make a new one on the Bot page of your "
                "application in Discord's developer portal (Reset Token)."
            )
        except (discord.ConnectionClosed, discord.PrivilegedIntentsRequired) as error:
            return _disconnected(getattr(error, "code", DISALLOWED_INTENTS))
    return 0


async def _serve(application: Application, config: Config, stopped: asyncio.Event) -> None:
    """Log in, and make songs until stopped."""
    client = application.client
    login = asyncio.gather(
        client.login(config.discord_token.get_secret_value()),
        application.transcoder.check_sandbox(),
    )
    # A bot that waits for Discord's rate limits is alive: a restart would lengthen them.
    await _wait_for_first(login, heartbeat.beat(config.data_dir), stopped.wait())
    if stopped.is_set():
        return
    _log_who_can_add_it(client, config)
    async with application.working() as loops:
        await _wait_for_first(application.registration.tried(), stopped.wait())
        await _wait_for_first(client.connect(), loops, stopped.wait())


def _disconnected(code: int) -> int:
    """Say why Discord ended the connection, if it would refuse another; return the exit status."""
    if code == TOKEN_REFUSED:
        return reject(
            "DISCORD_TOKEN is refused by Discord: it was reset meanwhile. The new one is on "
            "the Bot page of your application in Discord's developer portal."
        )
    if code in OTHER_SHARDS:
        log.critical(
            "Discord requires more shards for this bot's servers (gateway close code %d). "
            "Start it again: it gets their number at each start.",
            code,
        )
        return FAILED
    return reject(
        f"Discord refuses the way this bot connects (gateway close code {code}). Please update "
        "Songwright; if this is the newest version, report it."
    )


def _log_who_can_add_it(client: Client, config: Config) -> None:
    """Log whether strangers can add the bot to their servers, and so spend the operator's songs."""
    application = client.application
    if application is None or not application.bot_public:
        log.info("the bot is private: only its owner can add it to a server")
    elif config.allowed_servers:
        log.info("the bot is public, but ALLOWED_SERVERS lets only the listed servers make songs")
    else:
        log.warning(
            "the bot is public: anybody can add it to a server and make songs that your account "
            "pays. List your servers in ALLOWED_SERVERS, or switch off Public Bot on the Bot page "
            "of your application in Discord's developer portal"
        )


async def _wait_for_first(*works: Awaitable[object]) -> None:
    """Wait until the first of them ends, raise what it raises, and cancel the others."""
    futures = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in futures:
            future.cancel()
        # Not `wait`: asyncio would log the errors of those that were cancelled, as never retrieved.
        await asyncio.gather(*futures, return_exceptions=True)
    for future in done:
        future.result()


@contextlib.asynccontextmanager
async def _close_at_end(client: Client) -> AsyncIterator[None]:
    """Close the connection at the end; don't wait long for Discord."""
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(GOODBYE):
                await client.close()
        except TimeoutError:
            log.warning("Discord did not answer the end of the connection")
            await client.http.close()


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
