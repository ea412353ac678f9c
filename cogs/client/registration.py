"""Registers the commands with Discord, globally, and only when they changed.

Registering is limited for minutes to hours (Discord: 200 creates a day, code 30034), so it must not
stop the bot: what can't be registered now is retried while the bot runs with what is there.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import discord
from discord import AppCommandType

from cogs.client.answers import TRANSIENT, wrap_parse_errors
from cogs.client.client import Client
from cogs.client.connection import retry_after
from db import operations
from db.database import Database
from db.errors import NOT_NOW
from services.operations.incidents import Incidents, Kind
from services.retry import Backoff

log = logging.getLogger(__name__)

FIRST_TRY = 10.0
"""Seconds that the start waits for the commands."""
LATER_TRY = 120.0
AGAIN = Backoff(first=30.0, longest=3600.0)
NOTIFY_AFTER = 300.0
"""Seconds without the commands after which the operator hears of it; of a refusal at once."""
GIVEN_BACK = (
    *("id", "type", "name", "name_localizations", "description", "description_localizations"),
    *("options", "default_member_permissions", "dm_permission", "contexts", "integration_types"),
    *("nsfw", "handler"),
)
"""The fields of a command that a bulk overwrite takes (Discord, "Application Commands")."""

Sleep = Callable[[float], Awaitable[object]]


class Registration:
    """Registers the commands: once before the bot connects, and then until it succeeds."""

    def __init__(
        self,
        client: Client,
        database: Database,
        incidents: Incidents,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._database = database
        self._incidents = incidents
        self._sleep = sleep
        self._failures = 0
        self._pause = 0.0
        self._waited = 0.0

    async def first(self) -> None:
        """Try once, for `FIRST_TRY` seconds at most."""
        await self._try(within=FIRST_TRY)

    async def run(self) -> None:
        """Retry with growing delays what `first` could not do; ends when it is done."""
        while self._failures:
            await self._sleep(self._pause)
            self._waited += self._pause
            await self._try(within=LATER_TRY)

    async def _try(self, *, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await register_commands(self._client, self._database)
        except (*TRANSIENT, discord.HTTPException, *NOT_NOW) as error:
            await self._failed(error)
        else:
            self._failures = 0
            await self._incidents.end(Kind.COMMANDS_NOT_REGISTERED)

    async def _failed(self, error: BaseException) -> None:
        self._failures += 1
        self._pause = max(retry_after(error), AGAIN.pause(self._failures))
        reason = str(error) or type(error).__name__
        log.warning("the commands are not registered, retrying in %.0f s: %s", self._pause, reason)
        transient = isinstance(error, (*TRANSIENT, *NOT_NOW)) or retry_after(error)
        if not transient or self._waited + self._pause >= NOTIFY_AFTER:
            await self._incidents.begin(Kind.COMMANDS_NOT_REGISTERED, reason)


async def register_commands(client: Client, database: Database) -> bool:
    """Bring Discord's commands up to date; whether that took a change.

    What was given is kept as a digest for each application, together with what Discord made of it
    (ids and versions). So a change on either side is seen, and an unchanged start costs one GET.
    """
    application_id = client.application_id
    if application_id is None:
        raise RuntimeError("the bot is not logged in")
    ours = [command.to_dict(client.tree) for command in client.tree.get_commands()]
    with wrap_parse_errors():
        theirs = await _registered(client, application_id)
        kept = [_given_back(command) for command in theirs if not is_ours(command)]
        present = digest(ours, theirs)
    if present == await operations.command_digest(database.reader, application_id):
        return False
    with wrap_parse_errors():
        done = digest(
            ours,
            await client.http.bulk_upsert_global_commands(application_id, payload=[*ours, *kept]),
        )
    async with database.write() as connection:
        await operations.set_command_digest(connection, application_id, done)
    log.info("registered %d commands", len(ours))
    return True


async def _registered(client: Client, application_id: int) -> list[dict[str, Any]]:
    """What Discord has, with its translations, which an overwrite would otherwise drop."""
    route = discord.http.Route(
        "GET", "/applications/{application_id}/commands", application_id=application_id
    )
    found: list[dict[str, Any]] = await client.http.request(
        route, params={"with_localizations": "true"}
    )
    return found


def is_ours(command: Mapping[str, Any]) -> bool:
    """Whether a registered command is one of the bot's, of this version or an older one.

    The bot has slash commands alone. Discord makes an Entry Point command where Activities are
    switched on, and refuses a list without it (50240: serenity 2993).
    """
    return int(command.get("type", 1)) == AppCommandType.chat_input.value


def _given_back(command: Mapping[str, Any]) -> dict[str, Any]:
    return {name: command[name] for name in GIVEN_BACK if command.get(name) is not None}


def digest(ours: Any, theirs: Any) -> str:  # noqa: ANN401 - JSON
    """One hash over what we give and what Discord says it has."""
    versions = sorted((str(command["id"]), str(command.get("version"))) for command in theirs)
    text = json.dumps([ours, versions], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
