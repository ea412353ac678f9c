"""Songwright: the composition root and the command line.

The only file where the parts meet: settings -> database -> services -> cogs.
"""

import argparse
import asyncio
import contextlib
import errno
import io
import logging
import os
import random
import signal
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any

import aiohttp
import discord
import yarl

from cogs.client import gateway
from cogs.client.client import Client, Services
from cogs.client.outdated import OutdatedCog
from cogs.client.registration import Registration
from cogs.credits.credits import CreditsCog
from cogs.operations.operator import OperatorCog
from cogs.operations.owner import OwnerMessages
from cogs.operations.servers import ServersCog
from cogs.settings import cog as quota
from cogs.settings.audit_log import AuditLog
from cogs.songs import buttons
from cogs.songs.announcer import DiscordAnnouncer
from cogs.songs.library import LibraryCog
from cogs.songs.song import SongCog
from db import servers as server_rows
from db import songs as song_rows
from db.database import Database
from db.errors import NO_ROOM, DatabaseFileError, SchemaTooNewError, SchemaTooOldError
from services import logs
from services.audio.transcoder import Transcoder
from services.clock import WatchedClock, utc_now
from services.config import Settings, load
from services.credits.amounts import Prices, credits_text
from services.credits.budgets import DefaultBudgets, OperatorBudgets, ServerBudget
from services.credits.credits import Credits
from services.credits.transfers import CreditTransfers
from services.errors import AlreadyRunning, ConfigurationError, Refusal
from services.operations import data_folder, heartbeat
from services.operations.consistency_check import ConsistencyCheck, check_unopened
from services.operations.housekeeping import Housekeeping
from services.operations.incidents import Incidents
from services.operations.process_lock import sole_process
from services.operations.servers import Servers
from services.providers.addresses import Resolver
from services.providers.pacing import Pacer
from services.providers.rate_limiter import RateLimiter
from services.providers.run_times import Run
from services.providers.segmind import SongApi
from services.reports.export import Export
from services.reports.overview import Overview, as_lines, as_table
from services.reports.usage import Usage
from services.reports.usage_picture import UsageArtist
from services.settings.changelog import Changelog
from services.settings.server_settings import ServerSettings
from services.settings.settings import Defaults, Limits, Member, SettingsReader
from services.songs.completion import SongCompletion
from services.songs.delivery import Delivery
from services.songs.forecast import Forecast
from services.songs.pipeline import Pipeline
from services.songs.queue import Queue
from services.songs.scheduler import Scheduler, Spawn, spawn
from services.songs.song_request import MAX_SEED
from services.songs.songs import Songs

log = logging.getLogger("songwright")

WRONG_SETTINGS = 2
LEARNT_FROM = 100
"""Songs of the past that the pacing starts from."""
FITTINGS_AT_ONCE = 2
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_FOLDER = (errno.EEXIST, errno.ENOTDIR)
"""Of a path where something else than a folder stands already."""
IN_WORDS = (AlreadyRunning, SchemaTooOldError, SchemaTooNewError, DatabaseFileError)
"""Errors whose text says what is wrong and what to do."""
UNUSABLE = (
    *IN_WORDS,
    sqlite3.Error,
    OSError,
    aiohttp.ClientError,
    discord.HTTPException,
    discord.GatewayNotFound,
)
"""What the operator understands without a trace: the disk, the network, Discord."""
FAILED = 1
GRACE = 5.0
"""Seconds that submits and posts under way have at a stop. A stop takes 10 at most in all."""
LAST_EDITS = 1.0
GOODBYE = 2.0
"""Seconds that Discord has to answer the end of the connection; discord.py would wait for 30."""
TOKEN_REFUSED, OTHER_SHARDS, DISALLOWED_INTENTS = 4004, (4010, 4011), 4014
"""Discord, "Gateway Close Event Codes"."""


@dataclass(frozen=True, slots=True)
class Application:
    """The parts that run beside Discord's events, once the bot is logged in."""

    client: Client
    database: Database
    scheduler: Scheduler
    announcer: DiscordAnnouncer
    audit_log: AuditLog
    delivery: Delivery
    housekeeping: Housekeeping
    registration: Registration
    transcoder: Transcoder
    settings: Settings

    @contextlib.asynccontextmanager
    async def working(self, spawn: Spawn = spawn) -> AsyncIterator[asyncio.Future[list[None]]]:
        """Songs are made while the block runs; at its end what is under way may come through.

        What it gives is done only when a part has died, and raises what it died of.
        """
        tasks = [
            spawn(self.scheduler.run(), "runner"),
            spawn(self.announcer.run(), "announcer"),
            spawn(self.audit_log.run(), "manager log"),
            spawn(self.delivery.run(), "delivery"),
            spawn(self.housekeeping.run(), "housekeeping"),
            spawn(self.registration.run(), "registration"),
            spawn(heartbeat.beat(self.settings.data_dir), "heartbeat"),
        ]
        parts = asyncio.gather(*tasks)
        try:
            yield parts
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(parts, *tasks, return_exceptions=True)
            await self.scheduler.stop(grace=GRACE)
            await asyncio.gather(
                self.announcer.stop(grace=LAST_EDITS), self.audit_log.stop(grace=LAST_EDITS)
            )


@contextlib.asynccontextmanager
async def composed(
    settings: Settings,
    *,
    alone: bool = True,
    spawn: Spawn = spawn,
    prepare: Callable[[Client], Awaitable[None]] | None = None,
) -> AsyncIterator[Application]:
    """Everything, made and handed to each other; nothing has been started.

    `alone`: no other process can use the database or the data folder (`sole_process`).

    Raises:
        SchemaTooNewError, sqlite3.Error: the database can't be used.
        ConfigurationError: the data folder holds what may be somebody else's.
        OSError: a folder can't be made.
    """
    known = await Database.is_ours(settings.database_path)
    data_folder.claim(settings.data_dir, known=known)
    data_folder.close_to_others(settings.database_path, settings.data_dir)
    async with contextlib.AsyncExitStack() as closing:
        database = await Database.open(settings.database_path)
        closing.push_async_callback(database.close)
        resolver = Resolver()
        session = await closing.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver))
        )
        transcoder = Transcoder(at_once=FITTINGS_AT_ONCE)
        closing.push_async_callback(transcoder.close)
        artist = UsageArtist(settings.data_dir / "fonts")
        closing.push_async_callback(artist.close)
        export = Export(database, folder=settings.data_dir / "exports")
        await export.clear()

        clock = WatchedClock(utc_now, monotonic)
        client = Client(prepare or _prepare)
        operator = OwnerMessages(client)
        incidents = Incidents(database, operator, clock=clock)
        await incidents.load()
        settings_reader = SettingsReader(_defaults(settings))
        changelog = Changelog(
            database,
            clock=clock,
            tell=lambda: audit_log.wake(),  # noqa: PLW0108 - it is made in the next line
        )
        audit_log = AuditLog(client, changelog, settings_reader.defaults, spawn=spawn, clock=clock)
        budget = ServerBudget(database, settings_reader, changelog, clock=clock)
        operator_budgets = OperatorBudgets(
            database,
            clock=clock,
            defaults=DefaultBudgets(
                all_servers=settings.daily_songs or None,
                each_server=settings.server_daily_songs or None,
            ),
        )
        credits = Credits(database, settings_reader, budget, clock=clock)
        completion = SongCompletion(database, credits, clock=clock)
        servers = Servers(
            database, completion, operator, clock=clock, allowed=settings.allowed_servers
        )

        past = await song_rows.run_times(database.reader, limit=LEARNT_FROM)
        # After a restart the last minute counts as full; who never submitted made no calls.
        called = await song_rows.any_submitted(database.reader)
        rate_limiter = RateLimiter(settings.segmind_rpm, full=called)
        pacer = Pacer(
            rate_limiter,
            [Run(r.seconds, r.steps, r.low_ms / 1000, r.high_ms / 1000) for r in past],
            waiting=lambda: scheduler.waiting,
            polled=settings.segmind_mode != "sync",
        )
        api = SongApi(
            session,
            root=settings.segmind_api_url,
            key=settings.segmind_api_key.get_secret_value(),
            rate_limiter=rate_limiter,
            allow=settings.download_allow,
            resolver=resolver,
        )
        forecast = Forecast(
            pacer,
            at_once=settings.segmind_concurrency,
            per_minute=settings.segmind_rpm,
            clock=clock,
        )
        queue = Queue(database, credits, forecast)
        announcer = DiscordAnnouncer(client, queue, clock=clock, spawn=spawn)
        pipeline = Pipeline(
            database,
            api,
            rate_limiter,
            pacer,
            transcoder,
            completion,
            incidents,
            operator_budgets,
            announcer,
            data_dir=settings.data_dir,
            sync=settings.segmind_mode == "sync",
            clock=clock,
        )
        scheduler = Scheduler(
            database,
            pipeline,
            api,
            rate_limiter,
            incidents,
            operator_budgets,
            at_once=settings.segmind_concurrency,
            clock=clock,
            alone=alone,
            spawn=spawn,
        )
        songs = Songs(
            database,
            settings_reader,
            credits,
            budget,
            operator_budgets,
            completion,
            incidents,
            clock=clock,
            random_seed=lambda: random.SystemRandom().randint(0, MAX_SEED),
            wake=scheduler.wake,
            tell=changelog.tell,
            allowed_servers=settings.allowed_servers,
        )
        delivery = Delivery(
            database,
            completion,
            transcoder,
            incidents,
            announcer,
            data_dir=settings.data_dir,
            clock=clock,
        )
        await pipeline.load()
        await delivery.load()
        housekeeping = Housekeeping(
            database,
            completion,
            servers,
            incidents,
            data_dir=settings.data_dir,
            clock=clock,
            changed=announcer.changed,
        )
        client.services = Services(
            songs=songs,
            queue=queue,
            credits=credits,
            server_settings=ServerSettings(
                database,
                settings_reader,
                changelog,
                completion,
                clock=clock,
                changed=announcer.changed,
            ),
            transfers=CreditTransfers(database, settings_reader, credits, changelog, clock=clock),
            usage=Usage(database, clock=clock),
            artist=artist,
            export=export,
            changelog=changelog,
            budget=budget,
            budgets=operator_budgets,
            defaults=settings_reader.defaults,
            overview=Overview(database, settings_reader, clock=clock),
            operator_ids=settings.operator_ids,
            servers=servers,
            delivery=delivery,
            clock=clock,
            wake=scheduler.wake,
            show=announcer.show,
        )
        yield Application(
            client,
            database,
            scheduler,
            announcer,
            audit_log,
            delivery,
            housekeeping,
            Registration(client, database, incidents),
            transcoder,
            settings,
        )


async def add_cogs(client: Client) -> None:
    """Everything that members can press or type."""
    for cog in (SongCog, LibraryCog, CreditsCog, quota.QuotaCog, ServersCog, OutdatedCog):
        await client.add_cog(cog(client))
    if client.services.operator_ids:  # else nobody could use it
        await client.add_cog(OperatorCog(client))
    client.add_dynamic_items(*buttons.PERSISTENT, *quota.PERSISTENT)


async def _prepare(client: Client) -> None:
    await add_cogs(client)
    shards, address, limit = await client.http.get_bot_gateway()
    client.session_starts.told(limit)
    # Where discord.py dials. Knowing the count, it does not ask for both once more.
    client.shard_count = shards
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(address)


async def run(settings: Settings) -> int:
    """The real thing, until SIGTERM or SIGINT; the exit status.

    Raises:
        AlreadyRunning: another process uses the database or the data folder.
        discord.HTTPException, aiohttp.ClientError, OSError: Discord can't be reached.
        Exception: whatever a part beside Discord's events has died of.
    """
    discord.http.Route.BASE = settings.discord_api_url
    # There is no voice here whose libraries could be missed.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    gateway.use()
    stopped = asyncio.Event()
    _on_signals(stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        locking = asyncio.ensure_future(
            stack.enter_async_context(sole_process(settings.database_path, settings.data_dir))
        )
        await _first(locking, stopped.wait())
        if stopped.is_set():
            return 0
        application = await stack.enter_async_context(composed(settings, alone=locking.result()))
        client = await stack.enter_async_context(_saying_goodbye(application.client))
        try:
            login = asyncio.gather(
                client.login(settings.discord_token.get_secret_value()),
                application.transcoder.check_sandbox(),
            )
            # Who waits out Discord's limits is alive: a restart would ask again, and lengthen them.
            await _first(login, heartbeat.beat(settings.data_dir), stopped.wait())
            if not stopped.is_set():
                _log_who_can_add_it(client, settings)
                await _first(application.registration.first(), stopped.wait())
                async with application.working() as parts:
                    await _first(client.connect(), parts, stopped.wait())
        except discord.LoginFailure:
            return _refused(
                "DISCORD_TOKEN is refused by Discord. Make a new one on the Bot page of your "
                "application in Discord's developer portal (Reset Token)."
            )
        except (discord.ConnectionClosed, discord.PrivilegedIntentsRequired) as error:
            return _disconnected(getattr(error, "code", DISALLOWED_INTENTS))
    return 0


def _disconnected(code: int) -> int:
    """Discord has ended the connection for a reason that connecting again would not change."""
    if code == TOKEN_REFUSED:
        return _refused(
            "DISCORD_TOKEN is refused by Discord: it was reset meanwhile. The new one is on "
            "the Bot page of your application in Discord's developer portal."
        )
    if code in OTHER_SHARDS:
        log.critical(
            "Discord wants this bot's servers split over more shards (gateway close code %d). "
            "Start it again: it asks for their number at each start.",
            code,
        )
        return FAILED
    return _refused(
        f"Discord refuses the way this bot connects (gateway close code {code}). Please update "
        "Songwright; if this is the newest version, report it."
    )


def _log_who_can_add_it(client: Client, settings: Settings) -> None:
    """Whether strangers can add the bot to their servers, and so spend the operator's songs."""
    application = client.application
    if application is None or not application.bot_public:
        log.info("the bot is private: only its owner can add it to a server")
    elif settings.allowed_servers:
        log.info("the bot is public, but ALLOWED_SERVERS lets only the listed servers make songs")
    else:
        log.warning(
            "the bot is public: anybody can add it to a server and make songs that your account "
            "pays. List your servers in ALLOWED_SERVERS, or switch off Public Bot on the Bot page "
            "of your application in Discord's developer portal"
        )


async def _first(*works: Awaitable[object]) -> None:
    """Until the first of them ends, raising what it raises; the others are cancelled."""
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
async def _saying_goodbye(client: Client) -> AsyncIterator[Client]:
    """Close the connection at the end, however long Discord takes to answer that."""
    try:
        yield client
    finally:
        try:
            async with asyncio.timeout(GOODBYE):
                await client.close()
        except TimeoutError:
            log.warning("Discord did not answer the end of the connection")
            await client.http.close()


def _refused(text: str) -> int:
    print(text, file=sys.stderr)
    return WRONG_SETTINGS


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


async def _list_servers(settings: Settings) -> int:
    """`bot.py servers`, beside a bot that runs or not."""
    async with _opened(settings) as (database, settings_reader):
        overview = Overview(database, settings_reader, clock=utc_now)
        print(as_table(await overview.servers()))
        if undelivered := await overview.undelivered():
            print(f"\n{as_lines(undelivered)}")
    return 0


async def _grant(
    settings: Settings, server_id: int, member_id: int, amount: int, reason: str
) -> int:
    """`bot.py grant`, beside a bot that runs or not."""
    async with _opened(settings) as (database, settings_reader):
        server = await server_rows.get_server(database.reader, server_id)
        if server is None:
            return _refused(f"There is no server {server_id}: `bot.py servers` lists them.")
        if server.left_at is not None:  # a grant would make it look as if the bot were there
            return _refused(f"The bot has left server {server_id}: invite it there again first.")
        changelog, credits = _money(database, settings_reader)
        moved = await CreditTransfers(
            database, settings_reader, credits, changelog, clock=utc_now
        ).grant(
            # What their roles give them is seen when they use a command.
            Member(server_id, member_id, roles=None),
            grant_id=f"operator:{uuid.uuid4()}",
            actor_id=None,
            amount=amount,
            reason=reason,
        )
    print(f"Member {member_id} got {credits_text(amount)} and has {moved.balance.free:,} now.")
    return 0


async def _check(settings: Settings, *, fix: bool) -> int:
    """`bot.py check`; status 1 while something is wrong."""
    try:
        async with _opened(settings) as (database, settings_reader):
            _, credits = _money(database, settings_reader)
            found = await ConsistencyCheck(database, credits, data_dir=settings.data_dir).run(
                fix=fix
            )
    except DatabaseFileError as error:
        if not error.damaged:
            raise
        found = await check_unopened(settings.database_path, error)
    for finding in found:
        print(f"{'fixed  ' if finding.fixed else 'problem'}  {finding.text}")
    wrong = sum(not finding.fixed for finding in found)
    count = "1 problem" if wrong == 1 else f"{wrong:,} problems"
    print(f"{count}, {len(found) - wrong:,} fixed." if found else "No problems found.")
    return FAILED if wrong else 0


def _money(database: Database, settings_reader: SettingsReader) -> tuple[Changelog, Credits]:
    """What moves credits from the command line. What it changes is told by the bot that runs."""
    changelog = Changelog(database, clock=utc_now, tell=lambda: None)
    budget = ServerBudget(database, settings_reader, changelog, clock=utc_now)
    return changelog, Credits(database, settings_reader, budget, clock=utc_now)


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, SettingsReader]]:
    """The database that is there; a bot may be using it.

    Raises:
        ConfigurationError: there is none.
        SchemaTooOldError: its schema can't be brought up to date under a bot that uses it.
    """
    if not settings.database_path.exists():
        raise ConfigurationError(
            f"There is no database at {settings.database_path}. Run this where the bot runs, or "
            "set DATABASE_URL to its database; the first `bot.py run` makes one."
        )
    database = await Database.open(settings.database_path, beside_bot=True)
    try:
        yield database, SettingsReader(_defaults(settings))
    finally:
        await database.close()


def _defaults(settings: Settings) -> Defaults:
    return Defaults(
        allowance=settings.default_allowance,
        prices=Prices(settings.price_seconds, settings.price_steps),
        limits=Limits(cooldown=settings.default_cooldown),
        hourly_refunds=settings.member_hourly_refunds,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="bot.py", description="Songwright, a bot that makes songs"
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="start the bot (the default)")
    play = commands.add_parser("play", help="try it in a browser, without a token or a key")
    play.add_argument("--once", action="store_true", help="stop after one song")
    commands.add_parser("health", help="status 0 while the bot is alive")
    commands.add_parser("servers", help="list every server with its use")
    check = commands.add_parser("check", help="hold the database against itself and its files")
    check.add_argument("--fix", action="store_true", help="fix what can be fixed")
    grant = commands.add_parser("grant", help="give a member credits that don't expire")
    for name in ("server", "member"):
        grant.add_argument(name, type=_id, help=f"the {name}'s id")
    grant.add_argument("amount", type=int, help="how many credits")
    grant.add_argument("--reason", required=True, help="the member sees it in /credits")
    options = parser.parse_args(arguments)
    # What is made from here on is for this user alone: it holds lyrics and live tokens.
    os.umask(0o077)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A server's name, say, under a locale that lacks its letters.
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.command == "play":
        return _play(once=options.once)
    try:
        settings = load()
        if options.command == "health":
            if heartbeat.alive(settings.data_dir):
                return 0
            print(
                f"No heartbeat in {settings.data_dir} for {heartbeat.TOO_OLD:.0f} s: the bot is "
                "not running, or hangs. Its log says which.",
                file=sys.stderr,
            )
            return FAILED
        logs.set_up(
            settings.log_level,
            settings.log_format,
            (
                settings.discord_token.get_secret_value(),
                settings.segmind_api_key.get_secret_value(),
            ),
        )
        if options.command == "servers":
            return _printing(_list_servers(settings))
        if options.command == "check":
            return _printing(_check(settings, fix=options.fix))
        if options.command == "grant":
            return _printing(
                _grant(settings, options.server, options.member, options.amount, options.reason)
            )
        return asyncio.run(run(settings))
    except Refusal as error:
        return _refused(str(error))
    except ConfigurationError as error:
        return _refused(str(error))
    except UNUSABLE as error:
        traced = log.isEnabledFor(logging.DEBUG)
        log.critical("can't run: %s", _why(error), exc_info=traced)
        return FAILED
    except Exception:
        log.critical("a defect has ended the bot", exc_info=True)
        return FAILED


def _printing(work: Coroutine[Any, Any, int]) -> int:
    """Run a command that prints; FAILED without a word where nobody reads on, as in `| head`."""
    try:
        status = asyncio.run(work)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would flush once more at its end, and complain ("Note on SIGPIPE", its docs).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _why(error: Exception) -> str:
    if isinstance(error, IN_WORDS):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return (
            f"{error.filename or 'a file'} can't be written: {error.strerror}. Make room on that "
            "disk, then run this again."
        )
    if isinstance(error, OSError) and error.filename and error.errno in NOT_ALLOWED:
        return (
            f"{error.filename} can't be used: {error.strerror}. Let the bot's user read and write "
            "it and its folder, then run this again."
        )
    if isinstance(error, OSError) and error.filename and error.errno in NO_FOLDER:
        return (
            f"{error.filename} can't be used: a file stands where a folder is expected. Move it, "
            "or set DATABASE_URL and DATA_DIR to other paths."
        )
    return f"{type(error).__name__}: {error}"


def _id(typed: str) -> int:
    """One of Discord's ids, for argparse."""
    if not typed.isdecimal() or not 0 < int(typed) < 2**63:
        raise argparse.ArgumentTypeError(f"{typed!r} is no id: it is a number of up to 19 digits")
    return int(typed)


def _play(*, once: bool) -> int:
    # Imported here alone: a server does not install what the playground needs.
    try:
        from playground.discord import play  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return _refused(
            f"The playground needs {error.name}, which is not installed: `make play` installs what "
            "it needs, where this platform has it."
        )
    return play(composed, add_cogs, once=once)


if __name__ == "__main__":
    sys.exit(main())
