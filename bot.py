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
    Iterator,
)
from time import monotonic

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
from commands.database_services import DatabaseServices
from commands.exit_status import run_printing, status_of
from commands.grant import grant
from commands.health import health
from commands.play import play
from commands.run import run
from commands.servers import list_servers
from db import songs as song_rows
from db.database import Database
from services import logs
from services.audio.transcoder import Transcoder
from services.clock import WatchedClock, utc_now
from services.config import Config, load
from services.credits.budgets import DefaultBudgets, OperatorBudgets
from services.operations import data_folder, heartbeat
from services.operations.housekeeping import Housekeeping
from services.operations.incidents import Incidents
from services.operations.servers import Servers
from services.providers import registry
from services.providers.addresses import Resolver
from services.providers.base import Provider
from services.providers.run_times import Run
from services.reports.export import Export
from services.reports.usage import Usage
from services.reports.usage_picture import UsageArtist
from services.settings.server_settings import ServerSettings
from services.songs.completion import SongCompletion
from services.songs.delivery import Delivery
from services.songs.pipeline import Pipeline
from services.songs.poster import Poster
from services.songs.queue import Queue
from services.songs.rows import SongRows
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


class Application(DatabaseServices):
    """The bot: all its parts; none is started."""

    def __init__(
        self,
        config: Config,
        database: Database,
        provider: Provider,
        transcoder: Transcoder,
        artist: UsageArtist,
        *,
        alone: bool,
        spawn: Spawn,
        prepare: Callable[[Client], Awaitable[object]],
    ) -> None:
        self.clock = WatchedClock(utc_now, monotonic)
        super().__init__(config, database, self.clock)
        self.provider, self.transcoder, self.artist = provider, transcoder, artist
        self._prepare = prepare
        self.client = Client(self._set_up)
        self.audit_log = AuditLog(
            self.client,
            self.changelog,
            self.settings_reader.defaults,
            spawn=spawn,
            clock=self.clock,
        )
        self.operator = OwnerMessages(self.client)
        self.incidents = Incidents(database, self.operator, clock=self.clock)
        self.registration = Registration(self.client, database, self.incidents)
        self.completion = SongCompletion(database, self.credits, clock=self.clock)
        self.queue = Queue(database, self.credits, provider, clock=self.clock)
        self.announcer = DiscordAnnouncer(self.client, self.queue, clock=self.clock, spawn=spawn)
        self._make_pipeline()
        self._make_songs(alone=alone, spawn=spawn)
        self._make_reports_and_operations()

    def _settings_changed(self) -> None:
        self.audit_log.wake()

    def _make_pipeline(self) -> None:
        """Make what makes and posts songs."""
        config, database, clock = self.config, self.database, self.clock
        self.operator_budgets = OperatorBudgets(
            database,
            clock=clock,
            defaults=DefaultBudgets(
                all_servers=config.daily_songs or None,
                each_server=config.server_daily_songs or None,
            ),
        )
        song_rows = SongRows(database, self.incidents, changed=self.announcer.changed)
        self.poster = Poster(
            song_rows,
            self.completion,
            self.transcoder,
            self.incidents,
            self.announcer,
            data_dir=config.data_dir,
            clock=clock,
        )
        self.pipeline = Pipeline(
            song_rows,
            {self.provider.name: self.provider},
            self.poster,
            self.completion,
            self.incidents,
            self.operator_budgets,
            clock=clock,
        )
        self.delivery = Delivery(database, self.poster, clock=clock)

    def _make_songs(self, *, alone: bool, spawn: Spawn) -> None:
        """Make what takes requests and chooses the next song."""
        database, clock = self.database, self.clock
        self.scheduler = Scheduler(
            database,
            self.pipeline,
            self.provider,
            self.incidents,
            self.operator_budgets,
            clock=clock,
            exclusive=alone,
            spawn=spawn,
        )
        self.songs = Songs(
            database,
            self.settings_reader,
            self.credits,
            self.budget,
            self.operator_budgets,
            self.completion,
            self.incidents,
            clock=clock,
            random_seed=lambda: random.SystemRandom().randint(*registry.PARAMETERS.seed.bounds),
            wake=self.scheduler.wake,
            notify=self.changelog.notify,
            allowed_servers=self.config.allowed_servers,
        )

    def _make_reports_and_operations(self) -> None:
        """Make what managers and the operator use, and what runs on the side."""
        database, clock = self.database, self.clock
        self.server_settings = ServerSettings(
            database,
            self.settings_reader,
            self.changelog,
            self.completion.cancel_waiting,
            clock=clock,
            changed=self.announcer.changed,
        )
        self.usage = Usage(database, clock=clock)
        self.export = Export(database, folder=self.config.data_dir / "exports")
        self.servers = Servers(
            database,
            self.completion,
            self.operator,
            clock=clock,
            allowed=self.config.allowed_servers,
        )
        self.housekeeping = Housekeeping(
            database,
            self.completion,
            self.servers,
            self.incidents,
            data_dir=self.config.data_dir,
            clock=clock,
            changed=self.announcer.changed,
        )

    async def load(self) -> None:
        """Read what an earlier process has left."""
        await self.export.clear()
        await self.incidents.load()
        await self.poster.load()

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
        yield LibraryCog(self.songs, self.queue)
        yield buttons.SongButtons(self.songs, self.queue, self.poster, clock=clock, show=show)
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

    @contextlib.asynccontextmanager
    async def working(self, spawn: Spawn = spawn) -> AsyncIterator[asyncio.Future[list[None]]]:
        """Make songs while the block runs; at its end give songs in progress time to finish.

        The future is done only when a background loop has failed, and raises what it raised.
        """
        loops = {
            "runner": self.scheduler.run(),
            "announcer": self.announcer.run(),
            "audit log": self.audit_log.run(),
            "delivery": self.delivery.run(),
            "housekeeping": self.housekeeping.run(),
            "registration": self.registration.run(),
            "heartbeat": heartbeat.beat(self.config.data_dir),
        }
        tasks = [spawn(loop, name) for name, loop in loops.items()]
        all_loops = asyncio.gather(*tasks)
        try:
            yield all_loops
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(all_loops, *tasks, return_exceptions=True)
            await self.scheduler.stop(grace=GRACE)
            await asyncio.gather(
                self.announcer.stop(grace=LAST_EDITS), self.audit_log.stop(grace=LAST_EDITS)
            )


async def prepare_gateway(client: Client) -> None:
    """Get the gateway's address, the number of shards and of sessions left today."""
    shards, address, limit = await client.http.get_bot_gateway()
    client.session_starts.count(limit)
    client.shard_count = shards
    set_gateway_url(address)


async def connect_provider(
    config: Config,
    database: Database,
    session: aiohttp.ClientSession,
    resolver: Resolver,
    *,
    waiting: Callable[[], int],
) -> Provider:
    """Make the song API's client, with what earlier songs say of its pace."""
    past = await song_rows.run_times(database.reader, limit=PAST_RUNS)
    return registry.connect(
        config,
        session,
        resolver,
        runs=[Run(r.seconds, r.steps, r.low_ms / 1000, r.high_ms / 1000) for r in past],
        called=await song_rows.any_submitted(database.reader),
        waiting=waiting,
    )


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
        provider = await connect_provider(
            config, database, session, resolver, waiting=lambda: application.scheduler.waiting
        )
        transcoder = Transcoder(at_once=TRANSCODERS)
        closing.push_async_callback(transcoder.close)
        artist = UsageArtist(config.data_dir / "fonts")
        closing.push_async_callback(artist.close)
        application = Application(
            config,
            database,
            provider,
            transcoder,
            artist,
            alone=alone,
            spawn=spawn,
            prepare=prepare,
        )
        await application.load()
        yield application


def main(arguments: list[str] | None = None) -> int:
    """Run a terminal command and return its exit status."""
    options = _parser().parse_args(arguments)
    # Files made from here on are for this user alone: they hold lyrics and valid tokens.
    os.umask(0o077)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The locale may lack letters of a server's name, say.
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.command == "play":
        return play(composed, once=options.once)
    return status_of(lambda: _run_command(options))


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
    """Parse one of Discord's ids, for argparse."""
    if not typed.isdecimal() or not 0 < int(typed) < 2**63:
        raise argparse.ArgumentTypeError(f"{typed!r} is no id: it is a number of up to 19 digits")
    return int(typed)


def _run_command(options: argparse.Namespace) -> int:
    config = load()
    if options.command == "health":
        return health(config.data_dir)
    logs.set_up(config.log_level, config.log_format, config.secrets)
    match options.command:
        case "servers":
            return run_printing(list_servers(config))
        case "check":
            return run_printing(check(config, fix=options.fix))
        case "grant":
            return run_printing(
                grant(
                    config,
                    server_id=options.server,
                    member_id=options.member,
                    amount=options.amount,
                    reason=options.reason,
                )
            )
        case _:
            return asyncio.run(run(config, composed))


if __name__ == "__main__":
    sys.exit(main())
