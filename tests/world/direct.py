"""The bot and the wire's Discord in one process with no socket between: for inputs by the thousand.

Everything between the gateway's event and the request's body is discord.py's and the bot's own; the
database is a file. Discord's rules are those of `tests.wire`: what it would refuse is noted.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

import aiohttp
from yarl import URL

import bot
from cogs.client.client import Client
from db.database import Database
from services.config import Config
from services.operations.consistency_check import ConsistencyCheck
from tests.wire import DiscordWire, Interaction, payloads
from tests.wire.calls import Answer, Call, Upload
from tests.wire.limits import Limits
from tests.wire.rest import Handler

SOON = 5.0
"""Seconds after which a test gives up waiting for what it started."""

ABSENT = ("/guilds/{guild_id}/members/{user_id}", 404)
"""The one answer that the bot asks for: whether somebody is still a member."""


class Door:
    """discord.py's way out: takes the place of its `aiohttp.ClientSession`."""

    def __init__(self, wire: DiscordWire) -> None:
        self._wire = wire
        self._routes = [
            (method, route, _pattern(route), handler)
            for (method, route), handler in wire._rest.routes().items()
        ]
        self.refused: list[str] = []
        """Every request that was not carried out, and why."""
        self.said: list[str] = []
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
    ) -> "Exchange":
        address = URL(url)
        path = address.raw_path.partition("/api/v10")[2]
        query = dict(address.query) | {name: str(value) for name, value in (params or {}).items()}
        route, handler, named = self._find(method, path)
        call = Call(
            method=method,
            route=route,
            path=path,
            arrived=self._wire.clock.now(),
            params=named,
            query=query,
            authorization=(headers or {}).get("Authorization"),
        )
        _fill(call, data)
        files = [upload.content.decode("utf-8", "replace") for upload in call.uploads]
        self.said += [json.dumps(call.body, ensure_ascii=False), *files]
        answer = self._wire._judge(call, handler)[0]
        if answer.status >= 400 and (route, answer.status) != ABSENT:
            self.refused.append(f"{method} {route}: {answer.status} {answer.body}")
        return Exchange(answer)

    def _find(self, method: str, path: str) -> tuple[str, Handler, dict[str, str]]:
        for known, route, pattern, handler in self._routes:
            if known == method and (found := pattern.fullmatch(path)):
                return route, handler, found.groupdict()
        raise AssertionError(f"{method} {path}: no such route on the wire")

    async def close(self) -> None:
        """As a session's."""


class Exchange:
    """An answer, as much of one as discord.py looks at."""

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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


def _pattern(route: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(route)))


def _fill(call: Call, data: object) -> None:
    """The body, read from what the session was given."""
    if isinstance(data, aiohttp.FormData):
        for about, _, content in data._fields:
            name = about["name"]
            if name == "payload_json":
                call.body = json.loads(content)
            else:
                whole = content if isinstance(content, bytes) else content.read()
                call.uploads.append(Upload(int(name[6:-1]), about["filename"], whole))
    elif data is not None:
        assert isinstance(data, str | bytes)
        call.body = json.loads(data)


class Errors(logging.Handler):
    """What the bot would have told its operator as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []
        self._formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(self._formatter.format(record))


@dataclass
class Bot:
    """The bot, logged in; `base` is the database as it is before each example."""

    application: bot.Application
    wire: DiscordWire
    door: Door
    errors: Errors
    folder: Path
    base: sqlite3.Connection = field(
        default_factory=lambda: sqlite3.connect(":memory:", check_same_thread=False)
    )

    @property
    def client(self) -> Client:
        return self.application.client

    @property
    def database(self) -> Database:
        return self.application.database

    async def hear(self, event: str, payload: dict[str, Any]) -> None:
        """An event of the gateway, until all that it set off has come to an end."""
        before = asyncio.all_tasks()
        self.client._connection.parsers[event](payload)
        while tasks := asyncio.all_tasks() - before:
            _, late = await asyncio.wait(tasks, timeout=SOON)
            assert not late, f"it takes longer than {SOON} s: {late}"

    async def hear_of(self, interaction: Interaction) -> Interaction:
        """Somebody used the bot."""
        await self.hear("INTERACTION_CREATE", interaction.payload)
        return interaction

    async def keep(self) -> None:
        """As the database is now, it will be at the beginning of each example."""
        await self._on_the_writer(lambda connection: connection.backup(self.base))

    async def begin(self) -> None:
        """Forget what came before: each example stands alone, so that it can be repeated."""
        await self._on_the_writer(self.base.backup)
        state = self.wire.state
        state.interactions.clear()
        state.by_token.clear()
        state._nonces.clear()
        self.wire.requests.clear()
        self.door.refused.clear()
        self.door.said.clear()
        self.errors.told.clear()

    async def _on_the_writer(self, work: Any) -> None:
        await self.database._writer.run(work)

    async def wrong(self) -> list[str]:
        """What must not be: an error, a request that Discord refuses, wrong books."""
        checking = ConsistencyCheck(
            self.database, self.application.credits, data_dir=self.application.config.data_dir
        )
        found = [finding.text for finding in await checking.run(fix=False)]
        return [*self.errors.told, *self.door.refused, *self.wire.violations, *found]


class _Spawner:
    """Work of the bot's own that nobody waits for: its errors are told all the same."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=name)


@contextlib.asynccontextmanager
async def bot_at_hand(folder: Path, settings: Config) -> AsyncIterator[Bot]:
    """The bot, logged in to a Discord without limits of rate. It knows of no server yet."""
    wire = DiscordWire(limits=Limits.none(), keep_uploads=False)
    door, errors = Door(wire), Errors()

    async with contextlib.AsyncExitStack() as stack:
        application = await stack.enter_async_context(
            bot.composed(settings, spawn=_Spawner(), prepare=lambda client: client.tree.sync())
        )
        client = application.client
        # No test here is about the pauses between edits, nor about a power cut.
        application.announcer._monotonic = functools.partial(next, itertools.count(0.0, 1000.0))
        await application.database._writer.execute("PRAGMA synchronous = OFF")
        client.shard_count = client._connection.shard_count = 1
        with mock.patch.object(aiohttp, "ClientSession", return_value=door):
            await client.login(wire.token)
        stack.push_async_callback(client.close)
        root = logging.getLogger()
        root.addHandler(errors)
        stack.callback(root.removeHandler, errors)
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: errors.told.append(f"in the loop: {context}")
        )
        yield Bot(application, wire, door, errors, folder)


async def join(bot: Bot, name: str) -> Any:
    """A server with the bot in it; it is told when everything is in it: `tell`."""
    return bot.wire.guild(name)


async def tell(bot: Bot, guild: Any) -> None:
    """The gateway tells the bot of a server."""
    await bot.hear("GUILD_CREATE", payloads.guild_create(guild, bot.wire.state.bot, known=True))
