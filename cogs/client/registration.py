"""Registers the commands with Discord, globally, and only when they changed.

Registering is limited for minutes to hours (Discord: 200 creates a day, code 30034), so it must not
stop the bot, which retries while it runs with the commands that are there.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
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
from services.retry import Backoff, Sleep, retry

log = logging.getLogger(__name__)

FIRST_TRY = 10.0
"""Seconds that the start waits for the commands."""
LONGEST_TRY = 120.0
BACKOFF = Backoff(first=30.0, longest=3600.0)
NOTIFY_AFTER = 300.0
"""Seconds without the commands after which the operator is notified; after a refusal at once."""
WRITABLE = (
    *("id", "type", "name", "name_localizations", "description", "description_localizations"),
    *("options", "default_member_permissions", "dm_permission", "contexts", "integration_types"),
    *("nsfw", "handler"),
)
"""The fields of a command that a bulk overwrite takes (Discord, "Application Commands")."""


class Registration:
    """Registers the commands until it succeeds."""

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
        self._waited = 0.0
        self._tried = asyncio.Event()

    async def tried(self) -> None:
        """Wait for the first try of `run`, for `FIRST_TRY` seconds at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), FIRST_TRY)

    async def run(self) -> None:
        """Register the commands, retrying with growing delays; end when it is done."""
        errors = (*TRANSIENT, discord.HTTPException, *NOT_NOW)
        await retry(
            self._register,
            errors,
            self._on_error,
            backoff=BACKOFF,
            at_least=retry_after,
            sleep=self._sleep,
        )
        self._tried.set()
        await self._incidents.end(Kind.COMMANDS_NOT_REGISTERED)

    async def _register(self) -> None:
        async with asyncio.timeout(LONGEST_TRY):
            await register_commands(self._client, self._database)

    async def _on_error(self, error: Exception, pause: float) -> None:
        self._tried.set()
        self._waited += pause
        reason = str(error) or type(error).__name__
        log.warning("the commands are not registered, retrying in %.0f s: %s", pause, reason)
        transient = isinstance(error, (*TRANSIENT, *NOT_NOW)) or retry_after(error)
        if not transient or self._waited >= NOTIFY_AFTER:
            await self._incidents.begin(Kind.COMMANDS_NOT_REGISTERED, reason)


async def register_commands(client: Client, database: Database) -> bool:
    """Bring Discord's commands up to date; return whether that took a change.

    A digest is stored for each application, of what was sent and of what Discord made of it (ids
    and versions). So a change on either side is noticed, and an unchanged start costs one GET.
    """
    if (application_id := client.application_id) is None:
        raise RuntimeError("the bot is not logged in")
    ours = [command.to_dict(client.tree) for command in client.tree.get_commands()]
    # With translations, which an overwrite would otherwise drop. The bot has slash commands alone;
    # Discord makes an Entry Point command where Activities are switched on, and refuses a list
    # without it (50240: serenity 2993).
    route = discord.http.Route(
        "GET", "/applications/{application_id}/commands", application_id=application_id
    )
    with wrap_parse_errors():
        theirs = await client.http.request(route, params={"with_localizations": "true"})
        others = [
            {name: command[name] for name in WRITABLE if command.get(name) is not None}
            for command in theirs
            if int(command.get("type", 1)) != AppCommandType.chat_input.value
        ]
        present = digest(ours, theirs)
    if present == await operations.command_digest(database.reader, application_id):
        return False
    with wrap_parse_errors():
        done = digest(
            ours,
            await client.http.bulk_upsert_global_commands(application_id, payload=[*ours, *others]),
        )
    async with database.write() as connection:
        await operations.set_command_digest(connection, application_id, done)
    log.info("registered %d commands", len(ours))
    return True


def digest(ours: Any, theirs: Any) -> str:  # noqa: ANN401 - JSON
    """Hash what the bot sends and what Discord has."""
    versions = sorted((str(command["id"]), str(command.get("version"))) for command in theirs)
    text = json.dumps([ours, versions], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
