"""Songwright's entry point and composition root: configuration -> database -> services -> cogs."""

import argparse
import asyncio
import contextlib
import io
import os
import random
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from functools import cached_property
from time import monotonic
from typing import Any

import aiohttp
from discord.ext import commands

from cogs import quota
from cogs.client.client import Client
from cogs.client.components import OutdatedCog
from cogs.client.discord_internals import set_gateway_url
from cogs.client.registration import Registration
from cogs.credits.credits import CreditsCog
from cogs.operations.operator import OperatorCog
from cogs.operations.owner import OwnerMessages
from cogs.operations.servers import ServersCog
from cogs.settings.audit_log import AuditLog
from cogs.songs import buttons, song
from cogs.songs.announcer import DiscordAnnouncer
from cogs.songs.library import LibraryCog
from commands.check import check
from commands.exit_status import run_printing, status_of
from commands.grant import grant
from commands.health import health
from commands.play import play
from commands.run import run
from commands.servers import list_servers
from db import songs as song_rows
from db.database import Database
from services import logs
from services.amounts import Prices
from services.audio.transcoder import Transcoder
from services.clock import Clock, WatchedClock, utc_now
from services.config import Config, load
from services.credits.budgets import DefaultBudgets, OperatorBudgets, ServerBudget
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.errors import ConfigurationError
from services.operations import data_folder, heartbeat
from services.operations.consistency_check import ConsistencyCheck
from services.operations.housekeeping import Housekeeping
from services.operations.incidents import Incidents
from services.operations.servers import Servers
from services.providers import registry
from services.providers.addresses import Resolver
from services.providers.base import Provider
from services.providers.run_times import Run
from services.reports.export import Export
from services.reports.overview import Overview
from services.reports.usage import Usage
from services.reports.usage_picture import UsageArtist
from services.settings.changelog import Changelog
from services.settings.reader import SettingsReader
from services.settings.server_settings import ServerSettings
from services.settings.settings import Defaults, Limits
from services.songs.completion import SongCompletion
from services.songs.delivery import Delivery
from services.songs.forecast import Forecast
from services.songs.pipeline import Pipeline
from services.songs.queue import Queue
from services.songs.scheduler import Scheduler, Spawn, spawn
from services.songs.songs import Songs

COMPONENTS = (*buttons.PERSISTENT, *quota.PERSISTENT)
FORMS = (song.FORM_ID, *quota.FORMS)
"""The ids of buttons, menus and forms that are in use."""
PAST_RUNS = 100
"""Songs of the past that the pacing starts from."""
TRANSCODERS = 2
GRACE = 5.0
"""Seconds that submits and posts in progress have at a stop. A stop takes 10 at most in all."""
LAST_EDITS = 1.0


class DatabaseServices:
    """The services that need only the database; each is made when it is first needed."""

    def __init__(self, config: Config, database: Database, clock: Clock) -> None:
        self.config = config
        self.database = database
        self.clock = clock

    def _settings_changed(self) -> None:
        """A running bot finds by itself what a terminal command has changed."""

    @cached_property
    def settings_reader(self) -> SettingsReader:
        return SettingsReader(default_settings(self.config))

    @cached_property
    def changelog(self) -> Changelog:
        return Changelog(self.database, clock=self.clock, notify=self._settings_changed)

    @cached_property
    def budget(self) -> ServerBudget:
        return ServerBudget(self.database, self.settings_reader, self.changelog)

    @cached_property
    def credits(self) -> Credits:
        return Credits(self.database, self.settings_reader, self.budget, clock=self.clock)

    @cached_property
    def transfers(self) -> CreditTransfers:
        return CreditTransfers(
            self.database, self.settings_reader, self.credits, self.changelog, clock=self.clock
        )

    @cached_property
    def overview(self) -> Overview:
        return Overview(self.database, self.settings_reader, clock=self.clock)

    @cached_property
    def consistency_check(self) -> ConsistencyCheck:
        return ConsistencyCheck(self.database, self.credits, data_dir=self.config.data_dir)


class Application(DatabaseServices):
    """The bot: all its parts, each made when it is first needed; none is started."""

    clock: WatchedClock

    def __init__(
        self,
        config: Config,
        database: Database,
        session: aiohttp.ClientSession,
        resolver: Resolver,
        transcoder: Transcoder,
        artist: UsageArtist,
        *,
        alone: bool,
        spawn: Spawn,
        prepare: Callable[[Client], Awaitable[object]],
    ) -> None:
        super().__init__(config, database, WatchedClock(utc_now, monotonic))
        self.session = session
        self.resolver = resolver
        self.transcoder = transcoder
        self.artist = artist
        self._alone = alone
        self._spawn = spawn
        self._prepare = prepare
        self.client = Client(self._set_up)
        self._past_runs: Sequence[Run] = ()
        self._api_called = False

    async def load(self) -> None:
        """Read what an earlier process has left."""
        past = await song_rows.run_times(self.database.reader, limit=PAST_RUNS)
        self._past_runs = [Run(r.seconds, r.steps, r.low_ms / 1000, r.high_ms / 1000) for r in past]
        self._api_called = await song_rows.any_submitted(self.database.reader)
        await self.export.clear()
        await self.incidents.load()
        await self.pipeline.load()
        await self.delivery.load()

    @contextlib.asynccontextmanager
    async def working(self, spawn: Spawn = spawn) -> AsyncIterator[asyncio.Future[list[None]]]:
        """Make songs while the block runs; at its end give songs in progress time to finish.

        The future is done only when a background loop has failed, and raises what it raised.
        """
        tasks = [spawn(loop(), name) for name, loop in self._background().items()]
        loops = asyncio.gather(*tasks)
        try:
            yield loops
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(loops, *tasks, return_exceptions=True)
            await self.scheduler.stop(grace=GRACE)
            await asyncio.gather(
                self.announcer.stop(grace=LAST_EDITS), self.audit_log.stop(grace=LAST_EDITS)
            )

    def _background(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """The loops that run beside Discord's events, by the names of their tasks."""
        return {
            "runner": self.scheduler.run,
            "announcer": self.announcer.run,
            "audit log": self.audit_log.run,
            "delivery": self.delivery.run,
            "housekeeping": self.housekeeping.run,
            "registration": self.registration.run,
            "heartbeat": lambda: heartbeat.beat(self.config.data_dir),
        }

    # --- Discord ----------------------------------------------------------------------------------

    @cached_property
    def operator(self) -> OwnerMessages:
        return OwnerMessages(self.client)

    @cached_property
    def registration(self) -> Registration:
        return Registration(self.client, self.database, self.incidents)

    @cached_property
    def audit_log(self) -> AuditLog:
        return AuditLog(
            self.client,
            self.changelog,
            self.settings_reader.defaults,
            spawn=self._spawn,
            clock=self.clock,
        )

    def _settings_changed(self) -> None:
        self.audit_log.wake()

    @cached_property
    def announcer(self) -> DiscordAnnouncer:
        return DiscordAnnouncer(self.client, self.queue, clock=self.clock, spawn=self._spawn)

    async def _set_up(self, client: Client) -> None:
        """Called once the bot is logged in, before any event arrives."""
        await self.add_cogs()
        await self._prepare(client)

    async def add_cogs(self) -> None:
        """Add everything that members can press or type."""
        for cog in self._cogs():
            await self.client.add_cog(cog)
        self.client.add_dynamic_items(*COMPONENTS)

    def _cogs(self) -> Iterator[commands.Cog]:
        show, clock = self.announcer.show, self.clock
        yield song.SongCog(self.songs, self.credits, clock=clock, show=show)
        yield LibraryCog(self.songs, self.queue, self.delivery)
        yield buttons.SongButtons(self.songs, self.queue, self.delivery, clock=clock, show=show)
        yield CreditsCog(self.credits, self.transfers, self.usage, clock=clock)
        yield quota.QuotaCog(
            self.server_settings,
            self.changelog,
            self.credits,
            self.transfers,
            self.budget,
            self.songs,
            self.usage,
            self.artist,
            self.export,
            defaults=self.settings_reader.defaults,
            clock=clock,
        )
        yield ServersCog(
            self.client, self.servers, self.delivery, self.songs, self.credits, show=show
        )
        yield OutdatedCog(COMPONENTS, FORMS)
        if self.config.operator_ids:  # otherwise nobody could use it
            yield OperatorCog(
                self.operator_budgets,
                self.overview,
                operator_ids=self.config.operator_ids,
                wake=self.scheduler.wake,
            )

    # --- the song API -----------------------------------------------------------------------------

    @cached_property
    def provider(self) -> Provider:
        return registry.connect(
            self.config,
            self.session,
            self.resolver,
            runs=self._past_runs,
            called=self._api_called,
            waiting=lambda: self.scheduler.waiting,
        )

    # --- songs ------------------------------------------------------------------------------------

    @cached_property
    def completion(self) -> SongCompletion:
        return SongCompletion(self.database, self.credits, clock=self.clock)

    @cached_property
    def queue(self) -> Queue:
        return Queue(self.database, self.credits, Forecast(self.provider, clock=self.clock))

    @cached_property
    def pipeline(self) -> Pipeline:
        return Pipeline(
            self.database,
            {self.provider.name: self.provider},
            self.transcoder,
            self.completion,
            self.incidents,
            self.operator_budgets,
            self.announcer,
            data_dir=self.config.data_dir,
            clock=self.clock,
        )

    @cached_property
    def scheduler(self) -> Scheduler:
        return Scheduler(
            self.database,
            self.pipeline,
            self.provider,
            self.incidents,
            self.operator_budgets,
            clock=self.clock,
            alone=self._alone,
            spawn=self._spawn,
        )

    @cached_property
    def songs(self) -> Songs:
        return Songs(
            self.database,
            self.settings_reader,
            self.credits,
            self.budget,
            self.operator_budgets,
            self.completion,
            self.incidents,
            clock=self.clock,
            random_seed=lambda: random.SystemRandom().randint(*registry.PARAMETERS.seed.bounds),
            wake=self.scheduler.wake,
            tell=self.changelog.notify,
            allowed_servers=self.config.allowed_servers,
        )

    @cached_property
    def delivery(self) -> Delivery:
        return Delivery(
            self.database,
            self.completion,
            self.transcoder,
            self.incidents,
            self.announcer,
            data_dir=self.config.data_dir,
            clock=self.clock,
        )

    # --- settings and reports ---------------------------------------------------------------------

    @cached_property
    def server_settings(self) -> ServerSettings:
        return ServerSettings(
            self.database,
            self.settings_reader,
            self.changelog,
            self.completion,
            clock=self.clock,
            changed=self.announcer.changed,
        )

    @cached_property
    def usage(self) -> Usage:
        return Usage(self.database, clock=self.clock)

    @cached_property
    def export(self) -> Export:
        return Export(self.database, folder=self.config.data_dir / "exports")

    # --- operations -------------------------------------------------------------------------------

    @cached_property
    def operator_budgets(self) -> OperatorBudgets:
        return OperatorBudgets(
            self.database,
            clock=self.clock,
            defaults=DefaultBudgets(
                all_servers=self.config.daily_songs or None,
                each_server=self.config.server_daily_songs or None,
            ),
        )

    @cached_property
    def incidents(self) -> Incidents:
        return Incidents(self.database, self.operator, clock=self.clock)

    @cached_property
    def servers(self) -> Servers:
        return Servers(
            self.database,
            self.completion,
            self.operator,
            clock=self.clock,
            allowed=self.config.allowed_servers,
        )

    @cached_property
    def housekeeping(self) -> Housekeeping:
        return Housekeeping(
            self.database,
            self.completion,
            self.servers,
            self.incidents,
            data_dir=self.config.data_dir,
            clock=self.clock,
            changed=self.announcer.changed,
        )


def default_settings(config: Config) -> Defaults:
    """What counts where a server has decided nothing."""
    return Defaults(
        allowance=config.default_allowance,
        prices=Prices(config.price_seconds, config.price_steps),
        limits=Limits(cooldown=config.default_cooldown),
        hourly_refunds=config.member_hourly_refunds,
    )


async def prepare_gateway(client: Client) -> None:
    """Ask Discord where to connect, with how many shards, and how often today."""
    shards, address, limit = await client.http.get_bot_gateway()
    client.session_starts.count(limit)
    client.shard_count = shards
    set_gateway_url(address)


@contextlib.asynccontextmanager
async def composed(
    config: Config,
    *,
    alone: bool = True,
    spawn: Spawn = spawn,
    prepare: Callable[[Client], Awaitable[object]] = prepare_gateway,
) -> AsyncIterator[Application]:
    """Open what the bot needs and compose it; nothing is started.

    `alone`: no other process can use the database or the data folder (`exclusive_process`).
    `prepare` is called once the bot is logged in and has its cogs, before any event arrives.

    Raises:
        SchemaTooNewError, sqlite3.Error: the database can't be used.
        ConfigurationError: the data folder holds what may be somebody else's.
        OSError: a folder can't be made.
    """
    known = await Database.is_ours(config.database_path)
    data_folder.claim(config.data_dir, known=known)
    data_folder.restrict_access(config.database_path, config.data_dir)
    async with contextlib.AsyncExitStack() as closing:
        database = await Database.open(config.database_path)
        closing.push_async_callback(database.close)
        resolver = Resolver()
        session = await closing.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver))
        )
        transcoder = Transcoder(at_once=TRANSCODERS)
        closing.push_async_callback(transcoder.close)
        artist = UsageArtist(config.data_dir / "fonts")
        closing.push_async_callback(artist.close)
        application = Application(
            config,
            database,
            session,
            resolver,
            transcoder,
            artist,
            alone=alone,
            spawn=spawn,
            prepare=prepare,
        )
        await application.load()
        yield application


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[DatabaseServices]:
    """Open the database that is there for a terminal command; a bot may be using it.

    Raises:
        ConfigurationError: there is none.
        SchemaTooOldError: its schema can't be brought up to date under a bot that uses it.
    """
    if not config.database_path.exists():
        raise ConfigurationError(
            f"There is no database at {config.database_path}. Run this where the bot runs, or "
            "set DATABASE_URL to its database; the first `bot.py run` makes one."
        )
    database = await Database.open(config.database_path, while_bot_runs=True)
    try:
        yield DatabaseServices(config, database, utc_now)
    finally:
        await database.close()


def main(arguments: list[str] | None = None) -> int:
    """Carry out a terminal command; the exit status."""
    options = _parser().parse_args(arguments)
    # What is made from here on is for this user alone: it holds lyrics and live tokens.
    os.umask(0o077)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A server's name, say, under a locale that lacks its letters.
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.command == "play":
        return play(composed, once=options.once)
    return status_of(lambda: _carry_out(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bot.py", description="Songwright, a bot that makes songs"
    )
    subparsers = parser.add_subparsers(dest="command")
    subparsers.add_parser("run", help="start the bot (the default)")
    playing = subparsers.add_parser("play", help="try it in a browser, without a token or a key")
    playing.add_argument("--once", action="store_true", help="stop after one song")
    subparsers.add_parser("health", help="status 0 while the bot is alive")
    subparsers.add_parser("servers", help="list every server with its use")
    checking = subparsers.add_parser("check", help="check the database and its files")
    checking.add_argument("--fix", action="store_true", help="fix what can be fixed")
    granting = subparsers.add_parser("grant", help="give a member credits that don't expire")
    for name in ("server", "member"):
        granting.add_argument(name, type=_id, help=f"the {name}'s id")
    granting.add_argument("amount", type=int, help="how many credits")
    granting.add_argument("--reason", required=True, help="the member sees it in /credits")
    return parser


def _id(typed: str) -> int:
    """One of Discord's ids, for argparse."""
    if not typed.isdecimal() or not 0 < int(typed) < 2**63:
        raise argparse.ArgumentTypeError(f"{typed!r} is no id: it is a number of up to 19 digits")
    return int(typed)


def _carry_out(options: argparse.Namespace) -> int:
    config = load()
    if options.command == "health":
        return health(config.data_dir)
    secrets = (config.discord_token, config.segmind_api_key)
    logs.set_up(
        config.log_level, config.log_format, tuple(secret.get_secret_value() for secret in secrets)
    )
    database_command = {"servers": _servers, "check": _check, "grant": _grant}.get(options.command)
    if database_command is None:
        return asyncio.run(run(config, composed))
    return run_printing(database_command(config, options))


async def _servers(config: Config, _: argparse.Namespace) -> int:
    async with opened(config) as services:
        return await list_servers(services.overview)


async def _check(config: Config, options: argparse.Namespace) -> int:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncIterator[ConsistencyCheck]:
        async with opened(config) as services:
            yield services.consistency_check

    return await check(opening(), config.database_path, fix=options.fix)


async def _grant(config: Config, options: argparse.Namespace) -> int:
    async with opened(config) as services:
        return await grant(
            services.database,
            services.transfers,
            server_id=options.server,
            member_id=options.member,
            amount=options.amount,
            reason=options.reason,
        )


if __name__ == "__main__":
    sys.exit(main())
