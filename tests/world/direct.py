"""The bot and the wire's Discord in one process with no socket between: for inputs by the thousand.

Everything between the gateway's event and the request's body is discord.py's and the bot's own; the
database is a file. What Discord would refuse, by the rules of `tests.wire`, is noted.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from unittest import mock

import aiohttp
from yarl import URL

import bot
from cogs.client.client import Client
from db.database import Database
from services.config import Config
from services.operations.consistency_check import ConsistencyCheck
from tests.wire import DiscordWire, Guild, Interaction, Limits, payloads
from tests.wire.calls import Answer, Call, Upload
from tests.wire.rest import Handler

SOON = 60.0
"""Seconds after which a test gives up waiting for what it started."""
EXPECTED_REFUSAL = ("/guilds/{guild_id}/members/{user_id}", 404)
"""The bot asks whether somebody is still a member."""


class Session:
    """What discord.py gets instead of an `aiohttp.ClientSession`: it calls the wire itself."""

    def __init__(self, wire: DiscordWire) -> None:
        self._wire = wire
        self._routes = [
            (method, route, _pattern(route), handler)
            for (method, route), handler in wire._rest.routes().items()
        ]
        self.refused: list[str] = []
        """Every request that Discord refused, and why."""
        self.sent: list[str] = []
        """What was sent to Discord: each body, and the text of its files."""

    def request(
        self,
        method: str,
        url: str,
        *,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
        **_: object,
    ) -> "Response":
        address = URL(url)
        path = address.raw_path.partition("/api/v10")[2]
        query = dict(address.query) | {name: str(value) for name, value in (params or {}).items()}
        route, handler, named = self._find(method, path)
        authorization = (headers or {}).get("Authorization")
        body, uploads = _read(data)
        now = self._wire.clock.now()
        call = Call(method, route, path, now, named, query, authorization, body, uploads)
        files = [upload.content.decode("utf-8", "replace") for upload in uploads]
        self.sent += [json.dumps(body, ensure_ascii=False), *files]
        answer = self._wire._judge(call, handler)[0]
        if answer.status >= 400 and (route, answer.status) != EXPECTED_REFUSAL:
            self.refused.append(f"{method} {route}: {answer.status} {answer.body}")
        return Response(answer)

    def _find(self, method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
        for known, route, pattern, handler in self._routes:
            if known == method and (found := pattern.fullmatch(path)):
                return route, handler, found.groupdict()
        raise AssertionError(f"{method} {path}: no such route on the wire")

    async def close(self) -> None:
        """Nothing is open."""


class Response:
    """An answer, as far as discord.py reads it."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.reason = ""
        self.headers = {"Via": "1.1 google", **answer.headers}
        self._body = answer.body
        if answer.body is not None:
            self.headers["content-type"] = "application/json"

    async def text(self, encoding: str = "utf-8") -> str:
        return "" if self._body is None else json.dumps(self._body)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


def _pattern(route: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(route)))


def _read(data: object) -> tuple[Any, list[Upload]]:
    """Return the JSON and the files of a body that the session was given."""
    if data is None:
        return None, []
    if not isinstance(data, aiohttp.FormData):
        assert isinstance(data, str | bytes)
        return json.loads(data), []
    body, uploads = None, []
    for about, _, content in data._fields:
        if about["name"] == "payload_json":
            body = json.loads(content)
        else:
            read = content if isinstance(content, bytes) else content.read()
            uploads.append(Upload(int(about["name"][6:-1]), about["filename"], read))
    return body, uploads


class LoggedErrors(logging.Handler):
    """Collects errors that are logged or left in the loop, those that `counts` is true for."""

    def __init__(self, counts: Callable[[logging.LogRecord, str], object]) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[str] = []
        self._counts = counts
        self._formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        line = self._formatter.format(record)
        if self._counts(record, line):
            self.errors.append(line)


@contextlib.contextmanager
def logged_errors(
    loop: asyncio.AbstractEventLoop, counts: Callable[[logging.LogRecord, str], object]
) -> Iterator[LoggedErrors]:
    handler, root = LoggedErrors(counts), logging.getLogger()
    loop.set_exception_handler(lambda _, context: handler.errors.append(f"in the loop: {context}"))
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)


@dataclass
class Bot:
    """The bot, logged in; `base` is the database as it is before each example."""

    application: bot.Application
    wire: DiscordWire
    session: Session
    log: LoggedErrors
    base: sqlite3.Connection = field(
        default_factory=lambda: sqlite3.connect(":memory:", check_same_thread=False)
    )

    @property
    def client(self) -> Client:
        return self.application.client

    @property
    def database(self) -> Database:
        return self.application.database

    async def dispatch(self, event: str, payload: dict[str, Any]) -> None:
        """Dispatch an event of the gateway; wait until all that it started has ended."""
        before = asyncio.all_tasks()
        self.client._connection.parsers[event](payload)
        while tasks := asyncio.all_tasks() - before:
            _, late = await asyncio.wait(tasks, timeout=SOON)
            assert not late, f"it takes longer than {SOON} s: {late}"

    async def interact(self, interaction: Interaction) -> Interaction:
        await self.dispatch("INTERACTION_CREATE", interaction.payload)
        return interaction

    async def announce(self, guild: Guild) -> None:
        """Announce a server to the bot, once everything is in it."""
        payload = payloads.guild_create(guild, self.wire.state.bot, known=True)
        await self.dispatch("GUILD_CREATE", payload)

    async def save(self) -> None:
        """Begin each example with the database as it is now."""
        await self.database._writer.run(lambda connection: connection.backup(self.base))

    async def begin(self) -> None:
        """Forget what came before: each example stands alone, so that it can be repeated."""
        await self.database._writer.run(self.base.backup)
        state = self.wire.state
        for memory in (
            *(state.interactions, state.by_token, state._nonces, self.wire.requests),
            *(self.session.refused, self.session.sent, self.log.errors),
        ):
            memory.clear()

    async def wrong(self) -> list[str]:
        """Return errors, requests that Discord refuses, and inconsistencies of the database."""
        check = ConsistencyCheck(
            self.database, self.application.credits, data_dir=self.application.config.data_dir
        )
        found = [finding.text for finding in await check.run(fix=False)]
        return [*self.log.errors, *self.session.refused, *self.wire.violations, *found]


@contextlib.asynccontextmanager
async def direct_bot(config: Config) -> AsyncIterator[Bot]:
    """Log the bot in to a Discord without rate limits. It knows of no server yet."""
    wire = DiscordWire(limits=Limits.none(), keep_uploads=False)
    session = Session(wire)
    async with contextlib.AsyncExitStack() as stack:
        application = await stack.enter_async_context(
            bot.composed(
                config,
                spawn=lambda work, name: asyncio.create_task(work, name=name),
                prepare=lambda client: client.tree.sync(),
            )
        )
        client = application.client
        # No test here is about the pauses between edits, nor about a power cut.
        application.announcer._monotonic = functools.partial(next, itertools.count(0.0, 1000.0))
        await application.database._writer.execute("PRAGMA synchronous = OFF")
        client.shard_count = client._connection.shard_count = 1
        with mock.patch.object(aiohttp, "ClientSession", return_value=session):
            await client.login(wire.token)
        stack.push_async_callback(client.close)
        loop = asyncio.get_running_loop()
        log = stack.enter_context(
            logged_errors(loop, lambda record, _: record.levelno >= logging.ERROR)
        )
        yield Bot(application, wire, session, log)
